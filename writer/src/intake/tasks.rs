//! Which records are lines of tasks, besides.

use cordwood_core::origin::Origin;
use cordwood_core::record::{Flags, Record};
use cordwood_core::task::TaskRecord;
use cordwood_store::commit::TaskRow;

use super::batch::Shared;
use super::pending::Pending;

/// What limits cut of the lines of tasks; the records themselves are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCuts {
    /// Records that are in no task's log, because its id is too long.
    pub ids: u64,
    pub messages: u64,
    pub metadata: u64,
}

impl Pending {
    /// A record of a message that may name tasks.
    pub fn task_record(&mut self, shared: &Shared<'_>, record: &Record<'_>, origin: &Origin) {
        let line = match TaskRecord::of(record, origin) {
            TaskRecord::None => return,
            TaskRecord::IdTooLong => {
                self.task_cuts.ids += 1;
                return;
            }
            TaskRecord::Line(line) => line,
        };
        self.task_cuts.messages += u64::from(line.is_message_cut);
        self.task_cuts.metadata += u64::from(line.is_metadata_cut);
        self.tasks.push(TaskRow {
            tenant: shared.tenant.clone(),
            namespace: shared.namespace.clone(),
            audit: record.flags.has(Flags::AUDIT),
            time_us: record.time_us,
            id: record.id,
            line,
        });
    }
}
