//! Decides which records are also lines of a task.

use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::task::TaskRecord;
use cordwood_store::commit::TaskRow;

use super::shared::Shared;

/// What limits cut of the lines of tasks; the records themselves are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCuts {
    /// Records that are in no task's log, because its id is too long.
    pub ids: u64,
    pub messages: u64,
    pub metadata: u64,
}

impl TaskCuts {
    /// The line of a task that a record is, of a message that may name tasks. What is cut of it is counted.
    pub fn line(&mut self, shared: &Shared<'_>, record: &Record<'_>, origin: &Origin) -> Option<TaskRow> {
        let line = match TaskRecord::of(record, origin) {
            TaskRecord::None => return None,
            TaskRecord::IdTooLong => {
                self.ids += 1;
                return None;
            }
            TaskRecord::Line(line) => line,
        };
        self.messages += u64::from(line.is_message_cut);
        self.metadata += u64::from(line.is_metadata_cut);
        Some(TaskRow {
            tenant: shared.tenant.clone(),
            namespace: shared.namespace.clone(),
            audit: record.flags.has(Flags::AUDIT),
            time_us: record.time_us,
            id: record.id,
            line,
        })
    }
}
