//! Connections: URL, TLS, password, retries.
