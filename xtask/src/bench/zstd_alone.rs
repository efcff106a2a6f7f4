//! Measures the CPU that zstd alone needs to compress the same files, at the level and in the batch size of the agent. It is the agent's
//! lower bound: an agent that compresses cannot use less. `reading` prints it beside the agent's CPU.

use anyhow::{Context, Result};
use cordwood_core::limits::BATCH_BYTES_TARGET;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The agent's, by Kafka's client.
const LEVEL: i32 = 1;

/// CPU time of packing all files below `folder` once, in pieces as large as the agent's batches.
///
/// # Errors
/// A file that cannot be read.
pub fn cpu(folder: &Path) -> Result<Duration> {
    let mut zstd = zstd::bulk::Compressor::new(LEVEL)?;
    let mut packed = Vec::new();
    let (mut used, mut folders) = (Duration::ZERO, vec![folder.to_path_buf()]);
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
                folders.push(entry?.path());
            }
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let before = thread_cpu()?;
        for piece in bytes.chunks(BATCH_BYTES_TARGET) {
            packed.clear();
            packed.reserve(zstd::zstd_safe::compress_bound(piece.len()));
            zstd.compress_to_buffer(piece, &mut packed)?;
        }
        used += thread_cpu()? - before;
    }
    Ok(used)
}

/// This thread's time on a processor.
fn thread_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("this thread's CPU time")?;
    let nanoseconds = text.split_whitespace().next().context("a field")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
