//! Fresh blocks and the ring tables.
