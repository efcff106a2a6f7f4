//! Groups the errors that the records of a transaction tell of, and counts them. Two numbers are bounded: groups (a program may write
//! another message with every record) and rows (a program may write another service with every record).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cordwood_core::entry::service_shown;
use cordwood_core::level::Level;
use cordwood_core::limits::{
    NAME_BYTES_MAX, SIGNATURES_ALL_PER_MINUTE_MAX, SIGNATURES_PER_MINUTE_MAX, TASK_ID_BYTES_MAX,
};
use cordwood_core::origin::{Origin, clean_name};
use cordwood_core::record::{Flags, Record};
use cordwood_core::signature::{Signature, error_group, is_grouped};
use cordwood_core::task::hiding_task;
use cordwood_store::commit::ErrorRow;

use super::Intake;
use super::shared::{MINUTE_US, Shared};

const HOUR_US: i64 = 60 * MINUTE_US;

/// Of a transaction in the making.
#[derive(Debug, Default)]
pub struct Errors {
    rows: HashMap<Key, ErrorRow>,
    /// Records that are counted under [`Signature::OTHER`].
    pub others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    hour: i64,
    signature: Signature,
    tenant: Arc<str>,
    namespace: Arc<str>,
    service: Arc<str>,
    level: Level,
    audit: bool,
    task_id: Arc<str>,
}

impl Errors {
    pub fn take_rows(&mut self) -> Vec<ErrorRow> {
        std::mem::take(&mut self.rows).into_values().collect()
    }

    fn add(&mut self, key: Key, record: &Record<'_>, text: impl FnOnce() -> (String, String)) {
        let last = (record.time_us, record.id);
        match self.rows.entry(key) {
            Entry::Occupied(mut known) => {
                let row = known.get_mut();
                row.count += 1;
                row.first_us = row.first_us.min(record.time_us);
                if row.last < last {
                    row.last = last;
                    (row.error_type, row.message) = text();
                }
            }
            Entry::Vacant(new) => {
                let (error_type, message) = text();
                let key = new.key().clone();
                new.insert(ErrorRow {
                    hour_us: key.hour * HOUR_US,
                    signature: key.signature,
                    tenant: key.tenant,
                    namespace: key.namespace,
                    service: key.service,
                    level: key.level,
                    audit: key.audit,
                    task_id: key.task_id,
                    count: 1,
                    first_us: record.time_us,
                    last,
                    error_type,
                    message,
                });
            }
        }
    }
}

impl Intake {
    /// Counts a record that is stored, if it tells of an error.
    pub(super) fn count_error(&mut self, shared: &Shared<'_>, record: &Record<'_>, now_us: i64) {
        if !is_grouped(record.level) {
            return;
        }
        let minute = now_us.div_euclid(MINUTE_US);
        let mut group = error_group(record.body);
        if !self.signatures.counts_apart(minute, &shared.tenant, group.signature) {
            self.pending.errors.others += 1;
            group.signature = Signature::OTHER;
            group.error_type.clear();
            group.message.clear();
        }
        let task_id = hiding_task(record).filter(|id| id.len() <= TASK_ID_BYTES_MAX).unwrap_or_default();
        let key = Key {
            hour: record.time_us.div_euclid(HOUR_US),
            signature: group.signature,
            tenant: shared.tenant.clone(),
            namespace: shared.namespace.clone(),
            service: self.error_service(shared, record.body, minute),
            level: record.level,
            audit: record.flags.has(Flags::AUDIT),
            task_id: self.intern(&task_id),
        };
        self.pending.errors.add(key, record, || (storable(group.error_type), storable(group.message)));
    }

    /// The service as records show it.
    fn error_service(&mut self, shared: &Shared<'_>, body: &[u8], minute: i64) -> Arc<str> {
        let origin: &Origin = shared.origin;
        let mut own = service_shown(body, origin).into_owned();
        if own == *shared.service {
            return shared.service.clone();
        }
        clean_name(&mut own, NAME_BYTES_MAX);
        let is_apart = self.services.counts_apart(minute, &shared.tenant, &shared.service, &own);
        if is_apart { self.intern(&own) } else { shared.service.clone() }
    }
}

/// PostgreSQL holds no NUL in a text.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// Which signatures are counted apart within a minute of storing.
#[derive(Debug, Default)]
pub struct Signatures {
    minute: i64,
    seen: HashMap<Arc<str>, HashSet<Signature>>,
    count: usize,
}

impl Signatures {
    fn counts_apart(&mut self, minute: i64, tenant: &Arc<str>, signature: Signature) -> bool {
        if self.minute != minute {
            self.minute = minute;
            self.seen.clear();
            self.count = 0;
        }
        if self.seen.get(tenant).is_some_and(|seen| seen.contains(&signature)) {
            return true;
        }
        if self.count >= SIGNATURES_ALL_PER_MINUTE_MAX {
            return false;
        }
        let seen = self.seen.entry(tenant.clone()).or_default();
        let has_room = seen.len() < SIGNATURES_PER_MINUTE_MAX;
        if has_room {
            seen.insert(signature);
            self.count += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_message_in_every_record_is_counted_under_other() {
        let mut signatures = Signatures::default();
        let (tenant, other): (Arc<str>, Arc<str>) = ("t".into(), "o".into());
        fn is(signatures: &mut Signatures, minute: i64, tenant: &Arc<str>, n: i64) -> bool {
            signatures.counts_apart(minute, tenant, Signature::from_columns(n, 2))
        }
        assert!(is(&mut signatures, 7, &tenant, -1));
        let apart = (0..10_000).filter(|n| is(&mut signatures, 7, &tenant, *n)).count();
        assert_eq!(apart, SIGNATURES_PER_MINUTE_MAX - 1);
        assert!(is(&mut signatures, 7, &tenant, -1), "what was there before the flood is counted on");
        assert!(is(&mut signatures, 7, &other, 9_999), "another tenant has its own");
        assert!(is(&mut signatures, 8, &tenant, 9_999), "and another minute");
        let tenants = (0..100_000).map(|n| Arc::from(n.to_string()));
        let apart = tenants.filter(|tenant| is(&mut signatures, 9, tenant, 1)).count();
        assert_eq!((apart, signatures.seen.len()), (SIGNATURES_ALL_PER_MINUTE_MAX, apart));
    }
}
