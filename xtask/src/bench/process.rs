//! Reads from `/proc` what CPU and memory a process has used, and formats numbers for the table. The other benchmarks take their CPU and
//! memory from here. Prints nothing.

use anyhow::{Context, Result};
use std::time::Duration;

/// CPU time of all its threads so far, user and system.
///
/// # Errors
/// When the process is gone.
pub fn cpu(id: u32) -> Result<Duration> {
    let fields = stat(id)?;
    // utime and stime, in ticks of 10 ms.
    let ticks: u64 = fields.get(11..13).context("times")?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
    // An idle process takes a few ticks in a whole look. The threads that live tell theirs in nanoseconds.
    let of_thread = |folder: std::fs::DirEntry| {
        let text = std::fs::read_to_string(folder.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id}"))?;
    let living: u64 = threads.flatten().filter_map(of_thread).sum();
    Ok(Duration::from_millis(ticks * 10).max(Duration::from_nanos(living)))
}

/// CPU time of a process, of those of its children that ended, and of those that live: all of PostgreSQL by its first process. One that
/// ends in the moment of the look is counted as one that ended, or not at all.
///
/// # Errors
/// When the process is gone.
pub fn family_cpu(id: u32) -> Result<Duration> {
    let mut all = ended_children_cpu(id)? + cpu(id)?;
    for entry in std::fs::read_dir("/proc").context("the list of processes")?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if parent(child) == Some(id) {
            all += cpu(child).unwrap_or_default();
        }
    }
    Ok(all)
}

/// Fields of a process's `stat` behind its name, the first of them its state.
fn stat(id: u32) -> Result<Vec<String>> {
    let stat =
        std::fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id}"))?;
    let after_name = stat.rsplit_once(')').context("a stat line")?.1;
    Ok(after_name.split_whitespace().map(str::to_owned).collect())
}

fn parent(id: u32) -> Option<u32> {
    stat(id).ok()?.get(1)?.parse().ok()
}

fn ended_children_cpu(id: u32) -> Result<Duration> {
    let stat = stat(id)?;
    let ticks: u64 = stat.get(13..15).context("times")?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// (resident now, most ever), in bytes.
///
/// # Errors
/// When the process is gone.
pub fn memory(id: u32) -> Result<(u64, u64)> {
    let status =
        std::fs::read_to_string(format!("/proc/{id}/status")).with_context(|| format!("process {id}"))?;
    let of = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
    };
    Ok((of("VmRSS:"), of("VmHWM:")))
}

pub fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

pub fn thousands(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.2}M", rate / 1e6) } else { format!("{:.0}k", rate / 1e3) }
}
