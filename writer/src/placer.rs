//! Decides for each record at sealing to which class and table partition it goes, or that it is carried, or that it has expired. It
//! decides by the round's snapshot of routes and leaves, and passes the record to `core::seal`, which packs it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use cordwood_core::block::{Block, BlockBuilder, Choices, Format};
use cordwood_core::level::LevelGroup;
use cordwood_core::limits::SEAL_WANTED_LEAVES_MAX;
use cordwood_core::origin::{Origin, OriginId};
use cordwood_core::record::Record;
use cordwood_core::retention::catalogue::{Catalogue, LeafState};
use cordwood_core::retention::class::{ClassId, Keeps, PolicyLevel, leaves_per_round_max};
use cordwood_core::retention::hold::Takes;
use cordwood_core::retention::policy::PerLevel;
use cordwood_core::retention::routes::{RouteKey, Routes, Target};
use cordwood_core::seal::{Leaf, LeafPacker, SealedBlock, SegmentIndex};
use cordwood_store::commit::BlockRow;
use cordwood_store::contents::{LeafKey, LeafNamespace};
use cordwood_store::seal::{Placed, Placer, WantedLeaf};

/// zstd's level for sealed blocks: they live for weeks, so a third of the encoder's speed for a sixth of the bytes is worth it.
/// Above it is little more to gain.
const SEALED_LEVEL: i32 = 5;
/// Carried blocks are read again in the next round.
const CARRIED_LEVEL: i32 = 1;
const ORIGINS_MAX: usize = 100_000;

/// The [`Placer`] of one round.
pub struct RecordPlacer {
    now_us: i64,
    /// A record that is older than its retention by this clock has expired.
    horizon_us: i64,
    routes: Option<Routes>,
    /// Attached leaves by class: beginning -> end.
    leaves: HashMap<ClassId, BTreeMap<i64, i64>, RandomState>,
    keeps: HashMap<ClassId, Keeps, RandomState>,
    /// What legal holds match stays, whatever its class says.
    held: Takes,
    origins: HashMap<OriginId, Known, RandomState>,
    packer: LeafPacker,
    tenant: Arc<str>,
    carried: [BlockBuilder; 2],
    expired: HashMap<i32, (u64, u64)>,
    damaged: u64,
    why_carried: Option<String>,
    /// Leaves that get records of this round, at most `filled_max`.
    filled: HashSet<Leaf, RandomState>,
    /// Records of the tenant by leaf and namespace.
    namespaces: HashMap<Leaf, HashMap<String, u64, RandomState>, RandomState>,
    filled_max: usize,
    wanted: BTreeSet<WantedLeaf>,
    postponed: bool,
}

/// An origin, and where its records go.
struct Known {
    origin: Origin,
    /// A legal hold matches its records.
    is_held: bool,
    /// By category: system, audit.
    targets: [PerLevel<Option<Target>>; 2],
}

/// Where one record goes.
enum Place {
    Leaf(Leaf),
    /// Nowhere: it has expired, by this class.
    Expired(i32),
    /// Carried, because its leaf does not exist yet.
    Missing(WantedLeaf),
    /// Carried, because this round fills no more leaves.
    Later,
    /// Carried for another reason, which is said.
    Carry(String),
}

impl RecordPlacer {
    /// `now_us`: this machine's clock. What is older than its retention by it and by PostgreSQL's is expired: there is no
    /// grace period here, and a clock that runs ahead takes away nothing alone.
    pub fn new(now_us: i64) -> RecordPlacer {
        RecordPlacer {
            now_us,
            horizon_us: now_us,
            routes: None,
            leaves: HashMap::default(),
            keeps: HashMap::default(),
            held: Takes::default(),
            origins: HashMap::default(),
            packer: LeafPacker::new(SEALED_LEVEL),
            tenant: "".into(),
            carried: [BlockBuilder::new(), BlockBuilder::new()],
            expired: HashMap::new(),
            damaged: 0,
            why_carried: None,
            filled: HashSet::default(),
            namespaces: HashMap::default(),
            filled_max: usize::MAX,
            wanted: BTreeSet::new(),
            postponed: false,
        }
    }

    /// Writes sealed blocks in `format` in place of [`Format::One`]; [`Format::Three`] only in [leaves that may have an
    /// index](Placer::index). Carried blocks are always of [`Format::One`].
    #[must_use]
    pub fn of_format(mut self, format: Format) -> RecordPlacer {
        self.packer = self.packer.of_format(format);
        self
    }

    /// Takes over the choices that the round before made for columns.
    #[must_use]
    pub fn with_choices(mut self, choices: Choices) -> RecordPlacer {
        self.packer = self.packer.with_choices(choices);
        self
    }

    /// Gives away the choices that this round made for columns.
    pub fn take_choices(&mut self) -> Choices {
        self.packer.take_choices()
    }

    /// Fills at most so many table partitions, even if the server has locks for more.
    #[must_use]
    pub fn with_leaves_max(mut self, leaves: usize) -> RecordPlacer {
        self.filled_max = leaves;
        self
    }

    /// Why the first of the carried records was carried.
    pub fn why_carried(&self) -> Option<&str> {
        self.why_carried.as_deref()
    }

    /// Whether the operator has said which record falls into which class.
    pub fn has_routes(&self) -> bool {
        self.routes.is_some()
    }

    /// Blocks that did not open.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The longer of what the route and the class say counts.
    fn keeps(&self, target: Target) -> Keeps {
        let of_class = self.keeps.get(&target.class);
        let of_route = Keeps { retention_us: target.retention_us, held: false };
        of_class.map_or(of_route, |of_class| Keeps {
            retention_us: of_class.retention_us.max(target.retention_us),
            held: of_class.held,
        })
    }

    /// Judges a record's own time by the longer of what its route and its class promise.
    fn settle_time(&self, known: &Known, record: &mut Record<'_>, stored_us: Option<i64>) {
        let (audit, level) = (record.flags.is_kept_as_audit(), PolicyLevel::of(record.level));
        if let Some(target) = known.targets[usize::from(audit)].get(level) {
            record.settle_time(self.now_us, stored_us, self.keeps(*target).retention_us);
        }
    }

    fn place(&self, known: &Known, record: &Record<'_>) -> Place {
        let audit = record.flags.is_kept_as_audit();
        let level = PolicyLevel::of(record.level);
        let Some(target) = *known.targets[usize::from(audit)].get(level) else {
            return Place::Carry(format!("no retention class for tenant {}", known.origin.tenant));
        };
        let keeps = self.keeps(target);
        let keeps = Keeps { held: keeps.held || known.is_held, ..keeps };
        let leaf = self.leaves.get(&target.class).and_then(|leaves| {
            let (from_us, to_us) = leaves.range(..=record.time_us).next_back()?;
            (record.time_us < *to_us).then_some(Leaf {
                class: target.class.0,
                from_us: *from_us,
                to_us: *to_us,
            })
        });
        match leaf {
            _ if keeps.is_expired(record.time_us, self.horizon_us) => Place::Expired(target.class.0),
            Some(leaf) if self.filled.len() < self.filled_max || self.filled.contains(&leaf) => {
                Place::Leaf(leaf)
            }
            Some(_) => Place::Later,
            None => {
                let (from_us, to_us) = keeps.bucket_us(record.time_us);
                Place::Missing((target.class.0, from_us, to_us))
            }
        }
    }

    fn carry(&mut self, record: &Record<'_>, origin: &Origin, output: &mut Placed) {
        let group = record.level.group();
        let builder = &mut self.carried[group as usize];
        if !builder.push(record, origin) {
            let block = builder.finish(CARRIED_LEVEL);
            output.carried.push(BlockRow::of(group as i32, self.tenant.clone(), block));
            // An empty block takes any record.
            let _ = builder.push(record, origin);
        }
    }

    fn flush_carried(&mut self, output: &mut Placed) {
        for group in [LevelGroup::BelowWarn, LevelGroup::WarnAndAbove] {
            let builder = &mut self.carried[group as usize];
            if !builder.is_empty() {
                let block = builder.finish(CARRIED_LEVEL);
                output.carried.push(BlockRow::of(group as i32, self.tenant.clone(), block));
            }
        }
    }
}

impl RecordPlacer {
    fn note_namespace(&mut self, leaf: Leaf, namespace: &str) {
        let namespaces = self.namespaces.entry(leaf).or_default();
        match namespaces.get_mut(namespace) {
            Some(records) => *records += 1,
            None => {
                namespaces.insert(namespace.to_owned(), 1);
            }
        }
    }

    fn flush_namespaces(&mut self, output: &mut Placed) {
        for (leaf, namespaces) in std::mem::take(&mut self.namespaces) {
            let leaf = (leaf.class, leaf.from_us);
            output.namespaces.extend(namespaces.into_iter().map(|(namespace, records)| LeafNamespace {
                leaf,
                tenant: self.tenant.clone(),
                namespace,
                records,
            }));
        }
    }
}

impl Placer for RecordPlacer {
    fn begin(&mut self, catalogue: Catalogue, now_us: i64) {
        self.now_us = self.now_us.min(now_us);
        // Clocks that jump together take nothing away, either.
        self.horizon_us = catalogue.horizon.map_or(self.now_us, |horizon| self.now_us.min(horizon.at_us));
        for leaf in catalogue.leaves.iter().filter(|leaf| matches!(leaf.state, LeafState::Attached)) {
            self.leaves.entry(leaf.class).or_default().insert(leaf.from_us, leaf.to_us);
        }
        for class in &catalogue.classes {
            self.keeps.insert(class.id, class.keeps());
        }
        self.filled_max = self.filled_max.min(catalogue.lock_slots.map_or(usize::MAX, leaves_per_round_max));
        self.held = Takes::of(&catalogue.holds);
        self.routes = catalogue.routes;
    }

    fn index(&mut self, leaves: Vec<LeafKey>) {
        let known = |(class, from_us): LeafKey| {
            let to_us = *self.leaves.get(&ClassId(class))?.get(&from_us)?;
            Some(Leaf { class, from_us, to_us })
        };
        self.packer.index(leaves.into_iter().filter_map(known));
    }

    fn block(
        &mut self,
        block: &BlockRow,
        stored_us: Option<i64>,
        output: &mut Placed,
    ) -> Result<(), Vec<OriginId>> {
        if self.tenant != block.tenant {
            self.flush_carried(output);
            self.flush_namespaces(output);
            self.tenant = block.tenant.clone();
        }
        let opened =
            Block::open(&block.payload).and_then(|opened| opened.bodies().map(|_| ()).map(|()| opened));
        let Ok(opened) = opened else {
            // Damage must not stop the rest: it stays where it is, as it is.
            self.damaged += 1;
            output.carried.push(block.clone());
            return Ok(());
        };
        let missing: Vec<OriginId> =
            opened.origins().iter().filter(|id| !self.origins.contains_key(id)).copied().collect();
        if !missing.is_empty() {
            if self.origins.len() > ORIGINS_MAX {
                self.origins.clear();
                return Err(opened.origins().to_vec());
            }
            return Err(missing);
        }
        let tenant = self.tenant.clone();
        // Out of `self`, so that its origins can be borrowed while the rest changes.
        let origins = std::mem::take(&mut self.origins);
        for index in 0..opened.len() {
            let (Ok(mut record), Some(known)) =
                (opened.record(index), origins.get(&opened.origins()[opened.origin_place(index)]))
            else {
                continue;
            };
            self.settle_time(known, &mut record, stored_us);
            match self.place(known, &record) {
                Place::Leaf(leaf) => {
                    self.filled.insert(leaf);
                    self.note_namespace(leaf, &known.origin.namespace);
                    let mut emit = |block| output.sealed.push(sealed(block));
                    self.packer.push(&tenant, leaf, &record, &known.origin, &mut emit);
                }
                Place::Expired(class) => {
                    let counters = self.expired.entry(class).or_default();
                    counters.0 += 1;
                    counters.1 += record.body.len() as u64;
                }
                Place::Missing(leaf) => {
                    if self.wanted.len() < SEAL_WANTED_LEAVES_MAX {
                        self.wanted.insert(leaf);
                    }
                    self.why_carried.get_or_insert_with(|| why_missing(leaf));
                    self.carry(&record, &known.origin, output);
                }
                Place::Later => {
                    self.postponed = true;
                    self.carry(&record, &known.origin, output);
                }
                Place::Carry(why) => {
                    self.why_carried.get_or_insert(why);
                    self.carry(&record, &known.origin, output);
                }
            }
        }
        self.origins = origins;
        Ok(())
    }

    fn learn(&mut self, origins: HashMap<OriginId, Origin>) {
        for (id, origin) in origins {
            let targets = |audit| match &self.routes {
                Some(routes) => routes.targets(&RouteKey {
                    tenant: &origin.tenant,
                    namespace: &origin.namespace,
                    service: &origin.service,
                    audit,
                }),
                None => PerLevel::of(|_| None),
            };
            let targets = [targets(false), targets(true)];
            let is_held = self.held.takes(&origin.tenant, &origin.namespace);
            self.origins.insert(id, Known { origin, is_held, targets });
        }
    }

    fn finish(&mut self, output: &mut Placed) {
        self.flush_carried(output);
        self.flush_namespaces(output);
        self.packer.finish(&mut |block| output.sealed.push(sealed(block)));
        output.expired = std::mem::take(&mut self.expired);
        output.wanted = std::mem::take(&mut self.wanted);
        output.postponed = self.postponed;
    }

    fn next_index(&mut self) -> Option<SegmentIndex> {
        self.packer.next_index()
    }
}

fn sealed(block: SealedBlock) -> (i64, BlockRow) {
    (block.leaf.from_us, BlockRow::of(block.leaf.class, block.tenant.into(), block.block))
}

fn why_missing((class, from_us, _): WantedLeaf) -> String {
    let from = jiff::Timestamp::from_microsecond(from_us).unwrap_or_default();
    format!("class {class} has no table partition from {from} on")
}

#[cfg(test)]
mod tests {
    use cordwood_core::identity::RecordId;
    use cordwood_core::level::Level;
    use cordwood_core::record::Flags;
    use cordwood_core::retention::class::Class;

    use super::*;

    const HOUR_US: i64 = 3_600_000_000;
    const NOW_US: i64 = 1_795_000_000_000_000;

    /// A placer that knows one class of 7 days, and one origin whose records go there by routes of `routed_us`.
    fn placer(legal_hold: bool, routed_us: i64) -> (RecordPlacer, Known) {
        let class = Class {
            id: ClassId(5),
            policy: "p".to_owned(),
            policy_uid: String::new(),
            level: PolicyLevel::Info,
            retention_us: 7 * 24 * HOUR_US,
            grace_us: 0,
            legal_hold,
            wanted: None,
            approved: None,
            has_table: true,
        };
        let mut placer = RecordPlacer::new(NOW_US);
        placer.begin(Catalogue { classes: vec![class], ..Catalogue::default() }, NOW_US);
        let target = Some(Target { class: ClassId(5), retention_us: routed_us });
        let targets = [PerLevel::of(|_| target), PerLevel::of(|_| target)];
        (placer, Known { origin: Origin::default(), is_held: false, targets })
    }

    fn record(time_us: i64) -> Record<'static> {
        Record {
            time_us,
            original_time_us: None,
            level: Level::Info,
            flags: Flags::default(),
            origin: OriginId(1),
            id: RecordId { topic_partition: 0, kafka_offset: 1, index: 0 },
            body: b"a line",
        }
    }

    #[test]
    fn a_record_under_a_legal_hold_asks_for_a_leaf_of_its_classs_width() {
        let ages_us = [0, HOUR_US, 6 * 24 * HOUR_US, 90 * 24 * HOUR_US, 3650 * 24 * HOUR_US];
        for (routed_us, age_us) in
            [HOUR_US, 7 * 24 * HOUR_US].into_iter().flat_map(|us| ages_us.map(|age| (us, age)))
        {
            let (placer, known) = placer(true, routed_us);
            let time_us = NOW_US - age_us;
            let Place::Missing((5, from_us, to_us)) = placer.place(&known, &record(time_us)) else {
                panic!("{age_us}: a record under a hold never expires, and there is no leaf");
            };
            assert_eq!((to_us - from_us) / HOUR_US, 12, "of a record {age_us} us old");
            assert!(from_us <= time_us && time_us < to_us);
        }
    }

    /// The class no longer keeps it, but a hold of another policy does.
    #[test]
    fn a_record_that_a_hold_matches_never_expires() {
        let (placer, known) = placer(false, HOUR_US);
        let known = Known { is_held: true, ..known };
        let old = record(NOW_US - 90 * 24 * HOUR_US);
        assert!(matches!(placer.place(&known, &old), Place::Missing((5, ..))));
    }

    /// A line that begins with `[AUDIT]` was kept for as long as audit records are, no matter who wrote it.
    #[test]
    fn a_record_is_kept_as_an_audit_record_where_its_agent_believed_it() {
        let (mut placer, mut known) = placer(false, HOUR_US);
        for (class, days) in [(ClassId(5), 7), (ClassId(6), 7 * 365)] {
            placer.keeps.insert(class, Keeps { retention_us: days * 24 * HOUR_US, held: false });
        }
        known.targets = [5, 6]
            .map(|class| PerLevel::of(|_| Some(Target { class: ClassId(class), retention_us: HOUR_US })));
        // The second of them is what an agent of an older version sends: it kept its retention by an upgrade.
        for (flags, expected) in [
            (Flags::default(), 5),
            (Flags::AUDIT, 6),
            (Flags::AUDIT | Flags::STDERR, 6),
            (Flags::AUDIT | Flags::AUDIT_CLAIMED, 5),
            (Flags::AUDIT_CLAIMED, 5),
        ] {
            let young = Record { flags, ..record(NOW_US - HOUR_US) };
            let place = placer.place(&known, &young);
            assert!(matches!(place, Place::Missing((class, ..)) if class == expected), "{flags:?}");
            // How old it may be is by the same class.
            let old = NOW_US - 30 * 24 * HOUR_US;
            let mut late = Record { flags, ..record(old) };
            placer.settle_time(&known, &mut late, Some(NOW_US));
            assert_eq!(late.time_us == old, expected == 6, "{flags:?}");
        }
    }

    #[test]
    fn without_a_hold_the_longer_of_what_class_and_route_say_counts() {
        let (placer, known) = placer(false, HOUR_US);
        let place = |age_us| placer.place(&known, &record(NOW_US - age_us));
        assert!(
            matches!(place(6 * 24 * HOUR_US), Place::Missing((5, from_us, to_us)) if to_us - from_us == 12 * HOUR_US)
        );
        assert!(matches!(place(8 * 24 * HOUR_US), Place::Expired(5)));
    }
}
