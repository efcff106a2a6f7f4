//! What partitions, classes and routes PostgreSQL has.
