//! Kafka positions and watermarks.
