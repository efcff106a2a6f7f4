//! The writer's transaction.
