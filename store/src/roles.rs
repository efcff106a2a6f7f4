//! Roles: owner for DDL, writer, reader.
