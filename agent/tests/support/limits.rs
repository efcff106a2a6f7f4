//! What tests set of an agent's limits.

/// How much an agent may hold, and how often it looks.
#[derive(Clone, Copy)]
pub struct Limits {
    pub batch_bytes_max: usize,
    pub memory_bytes_max: usize,
    pub held_removed_bytes_max: u64,
    pub scan_interval_ms: u64,
    pub unfinished_wait_ms: u64,
    pub open_files_max: usize,
    pub rotation_grace_ms: u64,
    /// A test whose store is full at the end waits for as long; one that needs all that was read to arrive sets more.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_bytes_max: 4096,
            memory_bytes_max: 65536,
            held_removed_bytes_max: 1 << 30,
            scan_interval_ms: 100,
            unfinished_wait_ms: 600_000,
            open_files_max: 10_000,
            rotation_grace_ms: 20,
            drain_ms: 300,
        }
    }
}
