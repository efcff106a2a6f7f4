//! What every long-running part shares: its configuration file, its log, its health endpoints, its end.
