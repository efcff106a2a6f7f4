//! The moment, as the reader saw it last: what one step of reading takes for now.

/// Intervals are measured on the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub mono_ms: i64,
    pub wall_ns: i64,
}
