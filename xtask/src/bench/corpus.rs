//! The corpora that the benchmarks store. One is generated: JSON lines of about 216 bytes of 200 pods in 50 tenants (by Zipf's law) with 20
//! services. The other is the lines of log files that are found on the machine. Both are written as the kubelet writes log files. Prints
//! nothing.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::random::Random;

pub const TENANTS: usize = 50;
const SERVICES: [&str; 20] = [
    "api", "checkout", "cart", "payment", "search", "catalog", "users", "auth", "mailer", "billing",
    "orders", "stock", "ship", "media", "events", "audit", "gateway", "worker", "report", "export",
];
const PODS: usize = 200;
/// Of logs that were found: spread over many tenants, few lines would measure nothing but half-filled pages.
const FOUND_LINES_PER_POD: usize = 10_000;
/// That requests are made for.
pub const PATHS: [&str; 8] = [
    "/v1/orders",
    "/v1/users/me",
    "/v2/cart/items",
    "/healthz",
    "/v1/search",
    "/v1/payments/charge",
    "/static/app.js",
    "/v1/stock",
];
const TEXTS: [&str; 12] = [
    "request handled",
    "cache miss, loading from store",
    "connection accepted",
    "order placed",
    "payment authorized",
    "session renewed",
    "retrying after timeout",
    "message queued for delivery",
    "index refreshed",
    "user signed in",
    "stock reserved",
    "connection reset by peer",
];
/// One line in so many holds each of these words.
pub const RARE_WORD: (&str, u64) = ("quetzalcoatl", 1_000_000);
pub const COMMON_WORD: &str = "request";
/// Each in a sixth or a twelfth of the lines, never in the same.
pub const COMMON_WORDS: (&str, &str) = ("connection", "timeout");
/// Each in one line of 720, after the text it goes with, so about one to a block: never in the same, nor with the two above.
pub const SELDOM_WORDS: [(&str, &str); 2] =
    [("backordered", "order placed"), ("restocked", "stock reserved")];
const SELDOM: u64 = 60;

pub enum Corpus {
    Generated { lines: u64 },
    Found { lines: Vec<Vec<u8>> },
}

/// What was written for the container's account: lines and their bytes, newline included, without the runtime's prefix.
#[derive(Clone, Copy, Default)]
pub struct Written {
    pub lines: u64,
    pub bytes: u64,
}

impl Corpus {
    /// Lines of all text files below the folders.
    ///
    /// # Errors
    /// None for a file that cannot be read: it is left out.
    pub fn found(folders: &[PathBuf], bytes_max: u64) -> Result<Corpus> {
        let (mut lines, mut left) = (Vec::new(), bytes_max);
        let mut stack: Vec<PathBuf> = folders.to_vec();
        while let Some(path) = stack.pop() {
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                stack.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
                continue;
            }
            let is_log = path
                .extension()
                .is_none_or(|e| ["log", "txt", "err", "out"].contains(&e.to_string_lossy().as_ref()));
            let Ok(bytes) = fs::read(&path) else { continue };
            if !is_log || bytes.is_empty() || bytes.iter().take(4096).any(|&byte| byte == 0) {
                continue;
            }
            for line in
                bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && line.len() < 16_000)
            {
                left = left.saturating_sub(line.len() as u64 + 1);
                if left == 0 {
                    return Ok(Corpus::Found { lines });
                }
                lines.push(line.to_vec());
            }
        }
        Ok(Corpus::Found { lines })
    }

    pub fn lines(&self) -> u64 {
        match self {
            Corpus::Generated { lines } => *lines,
            Corpus::Found { lines } => lines.len() as u64,
        }
    }

    pub fn pods(&self) -> usize {
        match self {
            Corpus::Generated { .. } => PODS,
            Corpus::Found { lines } => (lines.len() / FOUND_LINES_PER_POD).clamp(1, PODS),
        }
    }

    /// Each line with its pod and time. Times end at `now_us` and begin a minute before.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn each(&self, now_us: i64, mut each: impl FnMut(usize, i64, &[u8]) -> Result<()>) -> Result<()> {
        let (count, number) = (self.lines(), self.pods());
        let (mut body, mut random) = (Vec::new(), Random::new(7));
        for n in 0..count {
            body.clear();
            let pod = match self {
                Corpus::Generated { .. } => {
                    // Pods write in bursts, as they do.
                    let pod = (random.below(4) as usize * 50 + (n / 64 % 50) as usize) % PODS;
                    line(n, pod, &mut random, &mut body);
                    pod
                }
                Corpus::Found { lines } => {
                    // What stood in one file stays together.
                    body.extend_from_slice(&lines[n as usize]);
                    n as usize * number / lines.len()
                }
            };
            each(pod, now_us - 60_000_000 + (n * 60_000_000 / count) as i64, &body)?;
        }
        Ok(())
    }

    /// Writes all of it below `pods`, one file per pod. Times end at `now_us` and begin a minute before.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, pods: &Path, now_us: i64) -> Result<Written> {
        let mut files = (0..self.pods()).map(|pod| Pod::create(pods, pod)).collect::<Result<Vec<_>>>()?;
        let mut written = Written::default();
        self.each(now_us, |pod, time_us, body| {
            files[pod].write(time_us, body)?;
            written.lines += 1;
            written.bytes += body.len() as u64 + 1;
            Ok(())
        })?;
        for file in files {
            file.file.into_inner().context("flush a log file")?;
        }
        Ok(written)
    }
}

/// Namespace, which is the tenant, and name of a pod.
pub fn names(pod: usize) -> (String, String) {
    // Zipf: the tenant of rank r has a share of 1/r.
    let tenant = (TENANTS as f64).powf(pod as f64 / PODS as f64) as usize % TENANTS;
    (format!("tenant-{tenant}"), format!("{}-{pod}", SERVICES[pod % SERVICES.len()]))
}

/// A pod's one log file.
pub struct Pod {
    file: BufWriter<File>,
}

impl Pod {
    /// # Errors
    /// A folder or file that cannot be made.
    pub fn create(pods: &Path, pod: usize) -> Result<Pod> {
        let (namespace, name) = names(pod);
        Pod::named(pods, &namespace, &name, 0)
    }

    /// That of a container's start with this number. A pod's name ends in `-<number>`, and begins with its container's.
    ///
    /// # Errors
    /// A folder or file that cannot be made.
    pub fn named(pods: &Path, namespace: &str, name: &str, run: u64) -> Result<Pod> {
        let (container, number) = name.rsplit_once('-').context("a pod's name with a number")?;
        let folder =
            pods.join(format!("{namespace}_{name}_00000000-0000-4000-8000-{number:0>12}/{container}"));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let path = folder.join(format!("{run}.log"));
        Ok(Pod {
            file: BufWriter::with_capacity(
                1 << 16,
                File::create(&path).with_context(|| format!("create {}", path.display()))?,
            ),
        })
    }

    /// # Errors
    /// A full disk.
    pub fn write(&mut self, time_us: i64, body: &[u8]) -> Result<()> {
        let time = jiff::Timestamp::from_microsecond(time_us)?;
        write!(self.file, "{time:.9} stdout F ")?;
        self.file.write_all(body)?;
        Ok(self.file.write_all(b"\n")?)
    }

    /// # Errors
    /// A full disk.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

/// One generated line, about 216 bytes.
pub fn line(n: u64, pod: usize, random: &mut Random, out: &mut Vec<u8>) {
    let level = match random.below(100) {
        0 => "error",
        1..=4 => "warn",
        5..=24 => "debug",
        _ => "info",
    };
    let text = TEXTS[random.below(TEXTS.len() as u64) as usize];
    let seldom = || SELDOM_WORDS.iter().find(|(_, with)| n.is_multiple_of(SELDOM) && *with == text);
    let rare =
        if n % RARE_WORD.1 == RARE_WORD.1 / 2 { RARE_WORD.0 } else { seldom().map_or("", |(word, _)| word) };
    let _ = write!(
        out,
        r#"{{"level":"{level}","service":"{}","msg":"{text}{}{rare}","path":"{}","status":{},"duration_ms":{},"trace_id":"{:016x}{:016x}","user":"u{}","attempt":{},"region":"eu-west-1"}}"#,
        SERVICES[pod % SERVICES.len()],
        if rare.is_empty() { "" } else { " " },
        PATHS[random.below(8) as usize],
        [200, 200, 200, 201, 204, 404, 500][random.below(7) as usize],
        random.below(3_000),
        random.next(),
        random.next(),
        random.below(100_000),
        random.below(4),
    );
}
