//! Keeps all logs: those that are read, by number, key and folder, and those of the checkpoint that the agent has not found yet.
//! Promise: only this file holds which logs are read in every round and which wait for their owner. Code that changes what the
//! checkpoint says of a log calls [`Logs::set_changed`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cordwood_core::checkpoint::{Checkpoint, LogCheckpoint};
use cordwood_core::identity::NodeIdentity;
use cordwood_core::pipeline::Pipeline;

use crate::begun::Unfinished;
use crate::clock::Clock;
use crate::container_log::ContainerLog;
use crate::discover::FolderKey;
use crate::remembered::Remembered;
use crate::source::Source;

pub(super) struct Logs {
    /// The node whose plain files these are; it is part of their streams' keys.
    node: NodeIdentity,
    remembered: Remembered,
    by_number: BTreeMap<u64, ContainerLog>,
    by_key: HashMap<String, u64>,
    by_folder: HashMap<FolderKey, BTreeSet<u64>>,
    /// Logs that have a turn in every round; the others wait for inotify.
    active: BTreeSet<u64>,
    /// Logs whose owner is not known yet.
    waiting: BTreeSet<u64>,
    /// Bytes of records whose ends were not read yet, by log.
    unfinished: Unfinished,
    /// The number that a log got last.
    last_number: u64,
    /// Whether the last checkpoint is outdated.
    changed: bool,
}

impl Logs {
    pub fn new(node: NodeIdentity, remembered: Remembered) -> Logs {
        Logs {
            node,
            remembered,
            by_number: BTreeMap::new(),
            by_key: HashMap::new(),
            by_folder: HashMap::new(),
            active: BTreeSet::new(),
            waiting: BTreeSet::new(),
            unfinished: Unfinished::default(),
            last_number: 0,
            changed: false,
        }
    }

    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    pub fn get(&self, id: u64) -> Option<&ContainerLog> {
        self.by_number.get(&id)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut ContainerLog> {
        self.by_number.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &ContainerLog> {
        self.by_number.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ContainerLog> {
        self.by_number.values_mut()
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.by_number.keys().copied().collect()
    }

    pub fn number_of(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// Keys of all logs, also of those of the checkpoint that were not seen yet.
    pub fn known_keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str).chain(self.remembered.unseen())
    }

    /// Whether a log was read, perhaps before the start.
    pub fn is_known(&self, key: &str) -> bool {
        self.by_key.contains_key(key) || self.remembered.is_unseen(key)
    }

    /// Adds a log, which continues where the checkpoint says. It waits for its owner.
    pub fn add(&mut self, source: Source, clock: Clock) -> u64 {
        let key = source.key();
        self.last_number += 1;
        let id = self.last_number;
        let mut log = ContainerLog::new(id, source, &self.node, clock.mono_ms);
        if let Some(resume) = self.remembered.take(&key) {
            log.resume(resume);
        }
        self.by_number.insert(id, log);
        self.by_key.insert(key, id);
        self.waiting.insert(id);
        id
    }

    /// Removes a log that is read to its end and has no files any more.
    pub fn remove(&mut self, id: u64) {
        let Some(log) = self.by_number.remove(&id) else { return };
        let (key, generations) = log.into_remembered();
        tracing::debug!(log = key, "read to its end");
        self.by_key.remove(&key);
        self.remembered.gone(key, generations);
        self.active.remove(&id);
        self.by_folder.values_mut().for_each(|logs| {
            logs.remove(&id);
        });
        self.by_folder.retain(|_, logs| !logs.is_empty());
        self.changed = true;
    }

    pub fn put_into_folder(&mut self, key: &FolderKey, id: u64) {
        self.by_folder.entry(key.clone()).or_default().insert(id);
    }

    pub fn in_folder(&self, key: &FolderKey) -> Vec<u64> {
        self.by_folder.get(key).into_iter().flatten().copied().collect()
    }

    pub fn folders(&self) -> impl Iterator<Item = (&FolderKey, &BTreeSet<u64>)> {
        self.by_folder.iter()
    }

    /// The folders in which any of these lies.
    pub fn folders_of(&self, ids: &BTreeSet<u64>) -> Vec<FolderKey> {
        let holds = |logs: &BTreeSet<u64>| ids.iter().any(|id| logs.contains(id));
        self.by_folder.iter().filter(|(_, logs)| holds(logs)).map(|(key, _)| key.clone()).collect()
    }

    pub fn active(&self) -> &BTreeSet<u64> {
        &self.active
    }

    pub fn is_active(&self, id: u64) -> bool {
        self.active.contains(&id)
    }

    /// Gives the log a turn in every round from now on.
    pub fn activate(&mut self, id: u64) {
        self.active.insert(id);
    }

    pub fn activate_all(&mut self) {
        self.active.extend(self.by_number.keys());
    }

    /// Activates the log because something was written to it, or may have been.
    pub fn data_came(&mut self, id: u64, clock: Clock) {
        if let Some(log) = self.by_number.get_mut(&id) {
            log.meter.data_came(clock.mono_ms);
            self.active.insert(id);
        }
    }

    /// Gives the log no more turns until inotify reports a write.
    pub fn rest(&mut self, id: u64) {
        self.active.remove(&id);
    }

    pub fn waiting(&self) -> &BTreeSet<u64> {
        &self.waiting
    }

    pub fn waits_no_longer(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    pub fn unfinished(&self) -> &Unfinished {
        &self.unfinished
    }

    /// Measures again how many bytes of unfinished records a log holds.
    pub fn note_unfinished(&mut self, id: u64) {
        match self.by_number.get(&id) {
            Some(log) => self.unfinished.note(id, log.pipeline()),
            None => self.unfinished.note(id, &Pipeline::new()),
        }
    }

    /// Measures all logs again that may have read, sent or flushed something since the last call.
    pub fn note_all_unfinished(&mut self) {
        let begun: Vec<u64> = self.unfinished.logs().chain(self.active.iter().copied()).collect();
        begun.into_iter().for_each(|id| self.note_unfinished(id));
    }

    /// Keys of the logs of the checkpoint that the agent has not found yet.
    pub fn unseen_keys(&self) -> Vec<String> {
        self.remembered.unseen().map(str::to_owned).collect()
    }

    pub fn unseen(&self, key: &str) -> Option<&LogCheckpoint> {
        self.remembered.get(key)
    }

    /// Forgets a log of the checkpoint that is gone. Returns what the checkpoint said of it.
    pub fn forget_unseen(&mut self, key: &str) -> Option<LogCheckpoint> {
        let log = self.remembered.remove(key)?;
        self.remembered.gone(log.key.clone(), log.generations.clone());
        Some(log)
    }

    /// Notes that the last checkpoint is outdated.
    pub fn set_changed(&mut self) {
        self.changed = true;
    }

    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// How far all logs are read and acknowledged, for the next start. `clean`: everything that was sent is acknowledged.
    pub fn checkpoint(&self, clean: bool) -> Checkpoint {
        let mut logs: Vec<LogCheckpoint> = self.by_number.values().map(ContainerLog::checkpoint).collect();
        logs.extend(self.remembered.all().cloned());
        Checkpoint { node: Some(self.node.clone()), clean, logs }
    }

    /// The checkpoint for the disk. Nothing counts as changed after it.
    pub fn take_checkpoint(&mut self) -> Checkpoint {
        self.changed = false;
        self.checkpoint(false)
    }
}
