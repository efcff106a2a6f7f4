//! Writes container log files as containerd and the kubelet do, without a node: CRI lines cut at 16 KiB, rotation by
//! rename while the runtime still writes, older files gzipped. And their ledger.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cordwood_core::identity::{OutputStream, StreamKey};
use cordwood_generator::{Format, Stream};

use crate::reconcile::{Ledger, Written};

/// containerd's `max_container_log_line_size`.
const PART_BYTES_MAX: usize = 16 << 10;

/// Whose log it is.
#[derive(Clone, Debug)]
pub struct Container {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    pub tenant: String,
}

/// When a file is rotated, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    pub bytes: u64,
    pub files_max: usize,
}

/// One run of a container: its stdout and stderr in one file after the other.
pub struct ContainerLog {
    container: Container,
    restart_count: u32,
    folder: PathBuf,
    rotation: Rotation,
    file: BufWriter<File>,
    bytes: u64,
    rotations: u64,
    removed: u64,
    /// Lines that still go into the renamed file, until the runtime "reopens".
    until_reopen: Option<u32>,
    outputs: [Output; 2],
    line: Vec<u8>,
}

struct Output {
    io: OutputStream,
    stream: Stream,
    seq: u64,
}

impl ContainerLog {
    /// `<root>/<namespace>_<pod>_<uid>/<container>/<restart count>.log`.
    pub fn create(
        root: &Path,
        run: &str,
        container: &Container,
        restart_count: u32,
        format: Format,
        rotation: Rotation,
    ) -> Result<ContainerLog> {
        let folder = root
            .join(format!("{}_{}_{}", container.namespace, container.pod, container.uid))
            .join(&container.container);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let output = |io: OutputStream, name: &str| Output {
            io,
            stream: Stream::new(
                run,
                &format!("{}.{}.{restart_count}.{name}", container.pod, container.container),
                format,
            ),
            seq: 0,
        };
        let file = open(&folder.join(format!("{restart_count}.log")))?;
        Ok(ContainerLog {
            container: container.clone(),
            restart_count,
            folder,
            rotation,
            file,
            bytes: 0,
            rotations: 0,
            removed: 0,
            until_reopen: None,
            outputs: [output(OutputStream::Stdout, "out"), output(OutputStream::Stderr, "err")],
            line: Vec::new(),
        })
    }

    /// Writes the next line of one output; rotates when it is time.
    pub fn write(&mut self, io: OutputStream) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        let output = &mut self.outputs[usize::from(io == OutputStream::Stderr)];
        output.seq += 1;
        output.stream.line(output.seq, &mut line);
        let written = self.write_line(io, &line);
        self.line = line;
        written?;
        match self.until_reopen {
            None if self.bytes >= self.rotation.bytes => self.rotate(),
            Some(0) => self.reopen(),
            Some(left) => {
                self.until_reopen = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write_line(&mut self, io: OutputStream, line: &[u8]) -> Result<()> {
        let mut rest = line;
        loop {
            let (part, tag) =
                if rest.len() > PART_BYTES_MAX { (&rest[..PART_BYTES_MAX], 'P') } else { (rest, 'F') };
            let time = jiff::Timestamp::now();
            let head = format!("{time:.9} {} {tag} ", io.as_str());
            self.file.write_all(head.as_bytes()).context("write a line")?;
            self.file.write_all(part).context("write a line")?;
            self.file.write_all(b"\n").context("write a line")?;
            self.bytes += head.len() as u64 + part.len() as u64 + 1;
            rest = &rest[part.len()..];
            if tag == 'F' {
                return Ok(());
            }
        }
    }

    /// Makes what was written visible to readers.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().context("flush the log")
    }

    /// As the kubelet does (pkg/kubelet/logs/container_log_manager.go): drop what is too much, gzip what was rotated
    /// before, rename the current file; the runtime opens a new one a little later.
    fn rotate(&mut self) -> Result<()> {
        let current = self.folder.join(format!("{}.log", self.restart_count));
        let mut rotated = self.rotated()?;
        while rotated.len() + 2 > self.rotation.files_max {
            let oldest = rotated.remove(0);
            fs::remove_file(&oldest).with_context(|| format!("remove {}", oldest.display()))?;
            self.removed += 1;
        }
        for path in rotated.iter().filter(|path| path.extension().is_none_or(|extension| extension != "gz")) {
            gzip(path)?;
        }
        self.rotations += 1;
        // The kubelet's names have a second's resolution; ours never meet, however fast they rotate.
        let from: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().context("a time")?;
        let at = from + jiff::SignedDuration::from_secs(self.rotations as i64);
        let name = format!("{}.log.{}", self.restart_count, at.strftime("%Y%m%d-%H%M%S"));
        fs::rename(&current, self.folder.join(&name)).with_context(|| format!("rename to {name}"))?;
        self.until_reopen = Some(20);
        Ok(())
    }

    fn reopen(&mut self) -> Result<()> {
        self.flush()?;
        self.file = open(&self.folder.join(format!("{}.log", self.restart_count)))?;
        self.bytes = 0;
        self.until_reopen = None;
        Ok(())
    }

    /// Rotated files of this run of the container, the oldest first.
    fn rotated(&self) -> Result<Vec<PathBuf>> {
        let prefix = format!("{}.log.", self.restart_count);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| format!("read {}", self.folder.display()))? {
            let path = entry.context("read the log's folder")?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix)) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Which run of the container this is.
    pub fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// How often it rotated.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Files that were removed because there were too many.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Flushes, and adds what was written to the ledger.
    pub fn close(mut self, ledger: &mut Ledger) -> Result<()> {
        self.flush()?;
        for output in &self.outputs {
            if output.seq == 0 {
                continue;
            }
            let key = StreamKey::of_container(
                &self.container.uid,
                &self.container.container,
                self.restart_count,
                output.io,
            );
            let written = Written {
                lines: output.seq,
                complete: true,
                tenant: self.container.tenant.clone(),
                namespace: self.container.namespace.clone(),
                pod: self.container.pod.clone(),
                stderr: output.io == OutputStream::Stderr,
                stream_key: Some(key.0),
            };
            ledger.streams.insert(output.stream.stream.clone(), written);
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<BufWriter<File>> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    // Flushed at any byte, so that readers meet half a line.
    Ok(BufWriter::with_capacity(32 << 10, file))
}

fn gzip(path: &Path) -> Result<()> {
    let draft =
        path.with_extension(format!("{}.tmp", path.extension().and_then(|e| e.to_str()).unwrap_or_default()));
    let done =
        path.with_extension(format!("{}.gz", path.extension().and_then(|e| e.to_str()).unwrap_or_default()));
    let mut from = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let to = File::create(&draft).with_context(|| format!("create {}", draft.display()))?;
    let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
    std::io::copy(&mut from, &mut encoder).with_context(|| format!("gzip {}", path.display()))?;
    encoder.finish().with_context(|| format!("gzip {}", path.display()))?;
    fs::rename(&draft, &done).with_context(|| format!("rename {}", draft.display()))?;
    fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Rotated, gzipped and current file together hold every line, as the ledger says.
    #[test]
    fn files_hold_what_the_ledger_says() -> Result<()> {
        let root = tempfile::tempdir()?;
        let container = Container {
            namespace: "shop".to_owned(),
            pod: "app-1".to_owned(),
            uid: "u".to_owned(),
            container: "app".to_owned(),
            tenant: "t".to_owned(),
        };
        let rotation = Rotation { bytes: 200_000, files_max: 100 };
        let mut log = ContainerLog::create(root.path(), "r", &container, 0, Format::Json, rotation)?;
        for line in 0..10_000 {
            log.write(if line % 10 == 0 { OutputStream::Stderr } else { OutputStream::Stdout })?;
        }
        log.flush()?;
        assert!(log.rotations() > 5, "{} rotations", log.rotations());
        let mut files = log.rotated()?;
        assert!(
            files.iter().filter(|path| path.extension().is_some_and(|e| e == "gz")).count() > 3,
            "{files:?}"
        );
        // Between rename and reopen there is none.
        files.extend(Some(log.folder.join("0.log")).filter(|path| path.exists()));
        let (mut whole, mut parts) = (0, 0);
        for path in files {
            let mut text = Vec::new();
            if path.extension().is_some_and(|extension| extension == "gz") {
                flate2::read::GzDecoder::new(File::open(&path)?).read_to_end(&mut text)?;
            } else {
                File::open(&path)?.read_to_end(&mut text)?;
            }
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                match cordwood_core::cri::parse(&line[..line.len() - 1]) {
                    Ok(line) if line.partial => parts += 1,
                    Ok(_) => whole += 1,
                    Err(error) => panic!("{error}: {}", String::from_utf8_lossy(line)),
                }
            }
        }
        assert_eq!(whole, 10_000);
        assert!(parts > 60, "{parts} parts");
        let mut ledger = Ledger::default();
        log.close(&mut ledger)?;
        assert_eq!(ledger.lines(), 10_000);
        assert_eq!(ledger.streams["app-1.app.0.err"].lines, 1_000);
        assert_eq!(ledger.streams["app-1.app.0.out"].stream_key.as_deref(), Some("u/app/0/stdout"));
        Ok(())
    }
}
