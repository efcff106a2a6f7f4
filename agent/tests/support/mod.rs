//! A container that writes as containerd does and is rotated as the kubelet does it; a store that admits as the writer
//! does; an agent between them.

mod limits;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cordwood_agent::{
    Ack, Config, ContextSource, Ending, Environment, Refused, Sink, Static, Telemetry, Waker,
};
use cordwood_core::admit::admit;
use cordwood_core::batch::{Provenance, decode};
use cordwood_core::identity::StreamKey;
use cordwood_core::limits::MESSAGE_BYTES_MAX;
use cordwood_core::ranges::Ranges;
use cordwood_core::record::Flags;
use cordwood_service::Health;
pub use limits::Limits;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub async fn wait_until(at_most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < at_most {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    holds()
}

/// Writes records as CRI lines, and knows what it wrote.
pub struct Container {
    pub folder: PathBuf,
    live: String,
    file: File,
    nanos: u64,
    rotations: u32,
    half: Option<Vec<u8>>,
    /// Record that has begun, by output.
    open: [Option<String>; 2],
    /// (stdout or stderr, body), in order of their ends.
    pub written: Vec<(usize, String)>,
}

impl Container {
    pub fn new(root: &Path, pod: &str, name: &str, restart: u32) -> Container {
        let folder = root.join("pods").join(pod).join(name);
        fs::create_dir_all(&folder).unwrap();
        let live = format!("{restart}.log");
        let file = OpenOptions::new().create(true).append(true).open(folder.join(&live)).unwrap();
        Container {
            folder,
            live,
            file,
            nanos: 0,
            rotations: 0,
            half: None,
            open: [None, None],
            written: Vec::new(),
        }
    }

    fn line(&mut self, io: usize, tag: char, content: &str) -> Vec<u8> {
        self.nanos += 1;
        let name = ["stdout", "stderr"][io];
        let (seconds, nanos) = (self.nanos / 1_000_000_000, self.nanos % 1_000_000_000);
        format!("2026-11-21T02:24:{seconds:02}.{nanos:09}Z {name} {tag} {content}\n").into_bytes()
    }

    pub fn write_lines(&mut self, count: usize, random: &mut StdRng) {
        self.write_the_other_half();
        let mut bytes = Vec::new();
        for _ in 0..count {
            let io = usize::from(random.random_bool(0.3));
            let number = self.written.len();
            let content = format!("{number}-{}-{}", self.nanos, "x".repeat(random.random_range(0..300)));
            let partial = random.random_bool(0.1);
            bytes.extend(self.line(io, if partial { 'P' } else { 'F' }, &content));
            let open = self.open[io].get_or_insert_default();
            open.push_str(&content);
            if !partial {
                let record = self.open[io].take().unwrap();
                self.written.push((io, record));
            }
        }
        self.file.write_all(&bytes).unwrap();
    }

    /// Ends what has begun, so that everything written is a record.
    pub fn end_records(&mut self) {
        self.write_the_other_half();
        for io in 0..2 {
            if let Some(record) = self.open[io].take() {
                let line = self.line(io, 'F', "");
                self.file.write_all(&line).unwrap();
                self.written.push((io, record));
            }
        }
    }

    /// A line that no runtime writes.
    pub fn write_nonsense(&mut self, line: &str) {
        self.file.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.written.push((0, line.to_owned()));
    }

    /// Parts of one record of stdout; [`Container::end_records`] ends it.
    pub fn write_parts(&mut self, count: usize, content: &str) {
        for _ in 0..count {
            let line = self.line(0, 'P', content);
            self.file.write_all(&line).unwrap();
            self.open[0].get_or_insert_default().push_str(content);
        }
    }

    /// A whole record of stderr.
    pub fn write_stderr(&mut self, content: &str) {
        let line = self.line(1, 'F', content);
        self.file.write_all(&line).unwrap();
        self.written.push((1, content.to_owned()));
    }

    /// A record whose end never comes.
    pub fn write_partial(&mut self) {
        let line = self.line(0, 'P', "unfinished");
        self.file.write_all(&line).unwrap();
        self.written.push((0, "unfinished".to_owned()));
    }

    pub fn write_half_a_line(&mut self) {
        if self.half.is_none() {
            let line = self.line(0, 'F', "in two writes");
            let at = line.len() / 2;
            self.file.write_all(&line[..at]).unwrap();
            let record = self.open[0].take().unwrap_or_default() + "in two writes";
            self.written.push((0, record));
            self.half = Some(line[at..].to_vec());
        }
    }

    pub fn write_the_other_half(&mut self) {
        if let Some(half) = self.half.take() {
            self.file.write_all(&half).unwrap();
        }
    }

    /// The kubelet renames, then tells the runtime to open again.
    pub fn rotate(&mut self) {
        if self.rename() {
            self.reopen();
        }
    }

    /// False: there is nothing to rotate. Until [`Container::reopen`] lines go on into the renamed file.
    pub fn rename(&mut self) -> bool {
        self.write_the_other_half();
        self.rotations += 1;
        let old = self.folder.join(&self.live);
        if !fs::metadata(&old).is_ok_and(|stat| stat.len() > 0) {
            return false;
        }
        fs::rename(&old, self.folder.join(format!("{}.20261121-{:06}", self.live, self.rotations))).unwrap();
        true
    }

    pub fn reopen(&mut self) {
        self.write_the_other_half();
        let live = self.folder.join(&self.live);
        self.file = OpenOptions::new().create(true).append(true).open(&live).unwrap();
    }

    fn rotated(&self, packed: bool) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(".log.2026112"))
            .filter(|path| packed || path.extension().is_none_or(|extension| extension != "gz"))
            .collect();
        paths.sort();
        paths
    }

    /// The oldest that is not packed yet, through a temporary name, as the kubelet does it.
    pub fn pack_oldest(&mut self) {
        let Some(path) = self.rotated(false).into_iter().next() else { return };
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let temporary = self.folder.join(format!("{name}.tmp"));
        let mut packer =
            flate2::write::GzEncoder::new(File::create(&temporary).unwrap(), flate2::Compression::fast());
        packer.write_all(&fs::read(&path).unwrap()).unwrap();
        packer.finish().unwrap();
        fs::rename(&temporary, self.folder.join(format!("{name}.gz"))).unwrap();
        fs::remove_file(&path).unwrap();
    }

    pub fn remove_rotated(&mut self) {
        for path in self.rotated(true) {
            fs::remove_file(path).unwrap();
        }
    }

    /// What is written from now on goes to a file without a name.
    pub fn remove_live(&mut self) {
        fs::remove_file(self.folder.join(&self.live)).unwrap();
    }

    pub fn truncate(&mut self) {
        self.file.set_len(0).unwrap();
    }

    pub fn remove_pod(&mut self) {
        fs::remove_dir_all(self.folder.parent().unwrap()).unwrap();
    }
}

/// What the writer and PostgreSQL would hold.
#[derive(Clone)]
pub struct Store(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    watermarks: HashMap<(StreamKey, u64), Ranges>,
    /// Bodies by output, in order of admission.
    records: BTreeMap<usize, Vec<String>>,
    losses: Vec<String>,
    /// Bodies that were cut.
    cut: Vec<String>,
    tenants: BTreeSet<String>,
    message_bytes_max: usize,
    duplicates: usize,
    full: bool,
    fail_next: bool,
    broken: bool,
    sent: usize,
    lazy: bool,
    /// It takes and does not say so.
    mute: bool,
    unsaid: Vec<Ack>,
    incomplete: usize,
}

impl Store {
    pub fn new(seed: u64) -> Store {
        Store(Arc::new(Mutex::new(Inner {
            lazy: seed.is_multiple_of(2),
            message_bytes_max: MESSAGE_BYTES_MAX,
            ..Inner::default()
        })))
    }

    /// What was stored of a file before, under a key of its own: its lines up to `end`.
    pub fn put(&self, stream: StreamKey, file: u64, end: u64, lines: &[String]) {
        let mut inner = self.0.lock().unwrap();
        inner.watermarks.insert((stream, file), Ranges::from_iter([(0, end)]));
        inner.records.entry(0).or_default().extend_from_slice(lines);
    }

    /// The streams that something is stored of.
    pub fn streams(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().watermarks.keys().map(|(stream, _)| stream.as_str().to_owned()).collect()
    }

    /// From now on what is stored is not acknowledged.
    pub fn set_mute(&self, mute: bool) {
        self.0.lock().unwrap().mute = mute;
    }

    /// What was taken and not acknowledged is acknowledged now.
    pub fn acknowledge_all(&self) {
        let unsaid = std::mem::take(&mut self.0.lock().unwrap().unsaid);
        unsaid.into_iter().for_each(Ack::acknowledge);
    }

    /// Records that are flagged incomplete.
    pub fn incomplete(&self) -> usize {
        self.0.lock().unwrap().incomplete
    }

    pub fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    pub fn fail_next(&self) {
        self.0.lock().unwrap().fail_next = true;
    }

    /// From now on it takes messages of this size at the most.
    pub fn set_message_bytes_max(&self, message_bytes_max: usize) {
        self.0.lock().unwrap().message_bytes_max = message_bytes_max;
    }

    pub fn cut(&self) -> Vec<String> {
        self.0.lock().unwrap().cut.clone()
    }

    pub fn tenants(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().tenants.clone()
    }

    /// Stderr's bodies.
    pub fn stderr(&self) -> Vec<String> {
        self.0.lock().unwrap().records.get(&1).cloned().unwrap_or_default()
    }

    /// All of stdout's bodies, one behind the other.
    pub fn stdout(&self) -> String {
        self.0.lock().unwrap().records.get(&0).map(|bodies| bodies.concat()).unwrap_or_default()
    }

    /// stdout's bodies, in order of admission.
    pub fn bodies(&self) -> Vec<String> {
        self.0.lock().unwrap().records.get(&0).cloned().unwrap_or_default()
    }

    /// Stdout's bodies, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut bodies = self.0.lock().unwrap().records.get(&0).cloned().unwrap_or_default();
        bodies.sort();
        bodies
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().records.values().map(Vec::len).sum()
    }

    pub fn duplicates(&self) -> usize {
        self.0.lock().unwrap().duplicates
    }

    pub fn losses(&self) -> Vec<String> {
        self.0.lock().unwrap().losses.clone()
    }

    /// Each output holds what was written to it: nothing more, nothing less, nothing else, in order.
    pub fn compare(&self, written: &[(usize, String)], context: &str) {
        let inner = self.0.lock().unwrap();
        for io in 0..2 {
            let expected: Vec<&String> =
                written.iter().filter(|record| record.0 == io).map(|record| &record.1).collect();
            let empty = Vec::new();
            let stored: Vec<&String> = inner.records.get(&io).unwrap_or(&empty).iter().collect();
            if let Some(at) =
                (0..expected.len().max(stored.len())).find(|at| expected.get(*at) != stored.get(*at))
            {
                panic!(
                    "{context}: output {io} differs at {at}: {:?} instead of {:?} ({} of {} records)",
                    stored.get(at),
                    expected.get(at),
                    stored.len(),
                    expected.len()
                );
            }
        }
    }
}

impl Inner {
    fn take(&mut self, key: &StreamKey, payload: &[u8]) {
        for batch in decode(&bytes::Bytes::copy_from_slice(payload), Provenance::Agent).unwrap() {
            let header = batch.header.unwrap();
            assert_eq!(&header.stream, key);
            assert_eq!(
                batch.origin.namespace.as_str(),
                if header.stream.as_str().starts_with("file:") { "" } else { "shop" }
            );
            self.tenants.insert(batch.origin.tenant.clone());
            let place = (header.stream.clone(), header.file.0);
            let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
            assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "positions rise");
            let held = self.watermarks.entry(place).or_default();
            let admission = admit(held, header.prev, header.end, &positions);
            held.add_all(&admission.added);
            assert_eq!(admission.loss, None, "a hole before {header:?}");
            self.duplicates += admission.duplicates;
            for record in admission.new.iter().flat_map(|range| &batch.records[range.clone()]) {
                let body = String::from_utf8(record.body.to_vec()).unwrap();
                if record.flags.has(Flags::LOSS) {
                    self.losses.push(body);
                } else {
                    self.incomplete += usize::from(record.flags.has(Flags::INCOMPLETE));
                    if record.flags.has(Flags::TRUNCATED) {
                        self.cut.push(body.clone());
                    }
                    self.records.entry(header.io as usize).or_default().push(body);
                }
            }
        }
    }
}

impl Sink for Store {
    fn send(&mut self, key: &StreamKey, payload: Vec<u8>, ack: Ack) -> Result<(), Refused> {
        let mut inner = self.0.lock().unwrap();
        if inner.broken {
            return Err(Refused::Broken("broken".to_owned()));
        }
        if inner.full {
            return Err(Refused::Full { payload, ack });
        }
        if key.as_str().len() + payload.len() > inner.message_bytes_max {
            drop(inner);
            // As a broker does it: everything that is on its way fails.
            ack.fail("too large".to_owned());
            self.0.lock().unwrap().broken = true;
            return Ok(());
        }
        inner.sent += 1;
        if std::mem::take(&mut inner.fail_next) {
            // Nothing after a failed one is stored, as with a gapless producer.
            inner.broken = true;
            ack.fail("as the script says".to_owned());
            return Ok(());
        }
        inner.take(key, &payload);
        if inner.mute {
            inner.unsaid.push(ack);
            return Ok(());
        }
        let lazy = inner.lazy && inner.sent.is_multiple_of(3);
        drop(inner);
        if lazy {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                ack.acknowledge();
            });
        } else {
            ack.acknowledge();
        }
        Ok(())
    }

    fn message_bytes_max(&self) -> usize {
        self.0.lock().unwrap().message_bytes_max
    }

    fn reset(&mut self) {
        self.0.lock().unwrap().broken = false;
    }
}

pub struct Agent {
    state: PathBuf,
    telemetry: Telemetry,
    shutdown: CancellationToken,
    ending: Ending,
    task: JoinHandle<anyhow::Result<()>>,
    _rules: tokio::sync::watch::Sender<Arc<cordwood_core::levels::LevelRules>>,
}

impl Agent {
    /// Reads the containers' logs below `pods`.
    pub fn start(root: &Path, store: &Store) -> Agent {
        Agent::start_limited(root, store, Limits::default())
    }

    pub fn start_limited(root: &Path, store: &Store, limits: Limits) -> Agent {
        Agent::start_with(root, store, &format!("pods_dir: {}/pods", root.display()), limits)
    }

    /// Reads the files `logs/*.log`.
    pub fn start_plain(root: &Path, store: &Store) -> Agent {
        Agent::start_with(
            root,
            store,
            &format!("pods_dir: null, files: [{{paths: ['{}/logs/*.log']}}]", root.display()),
            Limits::default(),
        )
    }

    pub fn start_with(root: &Path, store: &Store, inputs: &str, limits: Limits) -> Agent {
        Agent::start_node("n", &root.join("state"), store.clone(), inputs, limits)
    }

    /// Sends what containers below `pods` write to this sink.
    pub fn start_sink(root: &Path, sink: impl Sink + 'static, limits: Limits) -> Agent {
        let inputs = format!("pods_dir: {}/pods", root.display());
        Agent::start_node("n", &root.join("state"), sink, &inputs, limits)
    }

    /// One of several nodes, each with its own state.
    pub fn start_node(
        node: &str,
        state: &Path,
        sink: impl Sink + 'static,
        inputs: &str,
        limits: Limits,
    ) -> Agent {
        let Limits {
            batch_bytes_max,
            memory_bytes_max,
            held_removed_bytes_max,
            scan_interval_ms,
            unfinished_wait_ms,
            open_files_max,
            rotation_grace_ms,
            drain_ms,
        } = limits;
        let yaml = format!(
            "{{node: {node}, {inputs}, state_dir: {state}, kubernetes: {{enabled: false}}, batch: {{linger_ms: 5, \
             bytes_max: {batch_bytes_max}, counters_ms: 100}}, read: {{memory_bytes_max: {memory_bytes_max}, poll_interval_ms: 3, \
             scan_interval_ms: {scan_interval_ms}, held_removed_bytes_max: {held_removed_bytes_max}, \
             open_files_max: {open_files_max}, unfinished_wait_ms: {unfinished_wait_ms}, checkpoint_interval_ms: 5, rotation_grace_ms: {rotation_grace_ms}, drain_ms: {drain_ms}}}}}",
            state = state.display()
        );
        let config: Config = cordwood_service::parse_config(Path::new("test"), &yaml).unwrap();
        let config = config.resolve(|_| None).unwrap();
        let registry = prometheus::Registry::new();
        let telemetry = Telemetry::new(&registry).unwrap();
        let shutdown = CancellationToken::new();
        let ending = Ending::from(shutdown.clone());
        let (rules, receiver) = tokio::sync::watch::channel(Arc::default());
        let context = ContextSource::Static(Arc::new(Static::new(&config)));
        let environment = Environment {
            context,
            rules: receiver,
            waker: Waker::new().unwrap(),
            telemetry: telemetry.clone(),
            health: Health::new(&[]),
        };
        let running = cordwood_agent::run(config, sink, environment, ending.clone());
        let task = tokio::spawn(running);
        Agent { state: state.to_owned(), telemetry, shutdown, ending, task, _rules: rules }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Nothing more is written: what has no end goes too.
    pub async fn stop_with_all(self) {
        self.ending.end_with_all();
        self.task.await.unwrap().unwrap();
    }

    /// Without regard to what becomes of what is not acknowledged.
    pub async fn stop_at_once(self) {
        self.shutdown.cancel();
        let _ = self.task.await;
    }

    pub fn is_stalled(&self) -> bool {
        self.telemetry.status().stalled
    }

    /// The checkpoint as it is on disk now.
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        fs::read(self.state.join("checkpoint")).ok()
    }

    pub fn files(&self) -> usize {
        self.telemetry.status().files
    }

    pub fn logs(&self) -> usize {
        self.telemetry.status().logs
    }

    pub fn held_bytes(&self) -> usize {
        self.telemetry.status().held_bytes
    }

    pub fn lag_bytes(&self) -> u64 {
        self.telemetry.status().lag_bytes
    }

    #[allow(clippy::print_stderr)]
    pub fn explain(&self) {
        let checkpoint = self.checkpoint().unwrap_or_default();
        eprintln!("{:#?}\n{}", self.telemetry.status(), String::from_utf8_lossy(&checkpoint));
    }
}

/// Puts an older checkpoint back (or none), or half of it.
pub fn put_checkpoint(root: &Path, bytes: Option<&[u8]>, torn: bool) {
    let path = root.join("state/checkpoint");
    match bytes {
        None => {
            let _ = fs::remove_file(path);
        }
        Some(bytes) => fs::write(path, if torn { &bytes[..bytes.len() / 2] } else { bytes }).unwrap(),
    }
}
