//! Deletes the watermarks of files that no agent can send again and no writer can read again.
//!
//! Deleting a watermark too early would record a loss that is none, or store a line twice. So the rows of a file are deleted together,
//! and only if all of the following hold:
//! - It is a file of a container. A plain file (`file:`) may lie on its node for years, and is read from its begin when a checkpoint is
//!   lost.
//! - The runtime has deleted it, and writes it no more: [`LOG_FILES_MAX`] newer files of the same container run are known; or the run
//!   after the next one of the same container is (the kubelet keeps the last ended run's files, and none before); or nothing of its
//!   whole pod has come for [`POD_QUIET_DAYS_MIN`] days. Only the last is a guess: a pod may be silent for as long and live.
//! - It has not moved for [`WATERMARK_QUIET_DAYS_MIN`] days, nor since the oldest record that any class may still keep: what would come
//!   again, retention has dropped.
//! - No message of it waits in Kafka: the topic partition that brought it last was read for as many days since (`positions`). A topic
//!   that keeps messages for longer than that, and of which as much is unread, is not provided for; docs/operations.md says so.
//!
//! What the rows counted for `audit` goes with them.

use cordwood_core::limits::{LOG_FILES_MAX, POD_QUIET_DAYS_MIN, WATERMARK_QUIET_DAYS_MIN};
use tokio_postgres::Client;

use crate::error::StoreError;

/// A key is `<pod uid>/<container>/<run>/<stdout|stderr>`. $1: before every record that is kept; $2: files.
/// A row that moved meanwhile stays: the last condition is asked again of the row as it is then. The rows are locked in the order
/// of their keys, as the writers lock theirs ([`crate::watermarks`]), so that neither waits for the other in a circle.
const DELETE: &str = "with container_files as (\
      select stream, file, min(first_seen) as begun, max(w.updated) as moved, \
        split_part(stream, '/', 1) as pod, split_part(stream, '/', 2) as container, split_part(stream, '/', 3)::bigint as run, \
        bool_and(coalesce(p.updated > w.updated + $3 * interval '1 day', false)) as read_on \
      from watermarks w left join positions p using (topic_partition) \
      where stream ~ '^[^/:]+/[^/]+/[0-9]{1,10}/(stdout|stderr)$' group by stream, file), \
    judged as (\
      select stream, file, moved, read_on, run, \
        row_number() over (partition by stream order by begun desc, file) - 1 as newer_files, \
        max(run) over (partition by pod, container) as newest_run, max(moved) over (partition by pod) as pod_moved \
      from container_files), \
    dead as (\
      select stream, file from judged \
      where read_on and moved < least($1::timestamptz, now() - $3 * interval '1 day') \
        and (newer_files >= $4 or newest_run >= run + 2 or pod_moved < now() - $5 * interval '1 day') \
      order by moved limit $2), \
    locked as (\
      select w.ctid as place from watermarks w join dead d on w.stream = d.stream and w.file = d.file \
      where w.updated < least($1::timestamptz, now() - $3 * interval '1 day') \
      order by w.stream collate \"C\", w.file, w.topic_partition for update of w) \
    delete from watermarks where ctid = any(array(select place from locked))";

/// At the most so many files' rows go; returns how many rows that were. `limit`: before every record that is kept.
pub(crate) async fn delete(client: &Client, limit: jiff::Timestamp, files: i64) -> Result<u64, StoreError> {
    let days = |days: u32| f64::from(days);
    let (quiet, pod_quiet) = (days(WATERMARK_QUIET_DAYS_MIN), days(POD_QUIET_DAYS_MIN));
    client
        .execute(DELETE, &[&limit, &files, &quiet, &i64::from(LOG_FILES_MAX), &pod_quiet])
        .await
        .map_err(StoreError::sql("prune", "watermarks of files that cannot come again"))
}
