//! The table of open connections, and which of them is closed for a new one when the table is full.
//!
//! Only a connection without a question of a known caller can be closed so. The table takes the address that has the most such
//! connections, and of these the one that has been idle for longest. A flood of unknown callers therefore displaces itself. A known caller
//! may have as many questions under way as their share says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The leading bits of an IPv6 address that name a host: one host has all addresses that begin so.
const HOST_BITS: u32 = 64;

#[derive(Debug)]
pub struct ConnectionTable {
    connections_max: usize,
    rows: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Open connections by number.
    taken: HashMap<u64, Taken>,
    /// Idle connections (no question of a known caller is under way), by address; the one that has been idle for longest first.
    idle: HashMap<IpAddr, BTreeMap<u64, u64>>,
    /// How many idle connections an address has.
    counts: BTreeSet<(usize, IpAddr)>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    host: IpAddr,
    /// Questions of known callers that are under way.
    asked: usize,
    /// When it became idle, as a number of the table: its key in `idle`.
    since: u64,
    displaced: CancellationToken,
}

/// A connection's row in the table. Dropping it removes the row.
#[derive(Debug)]
pub struct ConnectionRow(Connection);

/// The connection on which a request came.
#[derive(Clone, Debug)]
pub struct Connection {
    table: Arc<ConnectionTable>,
    number: u64,
    displaced: CancellationToken,
}

/// A question of a known caller: while it is under way, its connection is not displaced.
#[derive(Debug)]
pub struct Question(Connection);

impl ConnectionTable {
    pub fn new(connections_max: usize) -> Arc<ConnectionTable> {
        Arc::new(ConnectionTable { connections_max, rows: Mutex::default() })
    }

    /// Adds a row for a new connection; `true`: another connection was displaced for it. `None`: the table is full, and a question of a
    /// known caller is under way on every connection.
    pub fn open(self: &Arc<ConnectionTable>, address: IpAddr) -> Option<(ConnectionRow, bool)> {
        let mut table = self.lock();
        let is_full = table.taken.len() >= self.connections_max;
        if is_full && !table.displace() {
            return None;
        }
        let displaced = CancellationToken::new();
        let number = table.number();
        let taken = Taken { host: host(address), asked: 0, since: 0, displaced: displaced.clone() };
        table.taken.insert(number, taken);
        table.mark_idle(number);
        Some((ConnectionRow(Connection { table: Arc::clone(self), number, displaced }), is_full))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionRow {
    pub fn connection(&self) -> Connection {
        self.0.clone()
    }
}

impl Drop for ConnectionRow {
    fn drop(&mut self) {
        let mut table = self.0.table.lock();
        table.mark_busy(self.0.number);
        table.taken.remove(&self.0.number);
    }
}

impl Connection {
    /// A known caller asks a question on this connection.
    pub fn question(&self) -> Question {
        let mut table = self.table.lock();
        table.mark_busy(self.number);
        if let Some(taken) = table.taken.get_mut(&self.number) {
            taken.asked += 1;
        }
        Question(self.clone())
    }

    /// Returns when another connection has displaced this one.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Question {
    /// Keeps the question under way until its connection is closed.
    pub fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut table = self.0.table.lock();
        let Some(taken) = table.taken.get_mut(&self.0.number) else { return };
        taken.asked -= 1;
        if taken.asked == 0 {
            table.mark_idle(self.0.number);
        }
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on no question of a known caller is under way on it.
    fn mark_idle(&mut self, number: u64) {
        let since = self.number();
        let Some(taken) = self.taken.get_mut(&number) else { return };
        taken.since = since;
        let (host, idle) = (taken.host, self.idle.entry(taken.host).or_default());
        self.counts.remove(&(idle.len(), host));
        idle.insert(since, number);
        self.counts.insert((idle.len(), host));
    }

    fn mark_busy(&mut self, number: u64) {
        let Some(Taken { host, since, .. }) = self.taken.get(&number) else { return };
        let Some(idle) = self.idle.get_mut(host) else { return };
        let before = idle.len();
        if idle.remove(since).is_none() {
            return;
        }
        self.counts.remove(&(before, *host));
        if idle.is_empty() {
            self.idle.remove(host);
        } else {
            self.counts.insert((idle.len(), *host));
        }
    }

    /// Closes the connection that is displaced next. False: no connection is idle.
    fn displace(&mut self) -> bool {
        let most = self.counts.last().and_then(|(_, host)| self.idle.get(host));
        let Some(number) = most.and_then(|idle| idle.values().next().copied()) else { return false };
        self.mark_busy(number);
        if let Some(taken) = self.taken.remove(&number) {
            taken.displaced.cancel();
        }
        true
    }
}

fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn open(table: &Arc<ConnectionTable>, address: &str) -> ConnectionRow {
        table.open(at(address)).unwrap().0
    }

    fn is_displaced(place: &ConnectionRow) -> bool {
        place.0.displaced.is_cancelled()
    }

    #[test]
    fn the_address_with_the_most_loses_its_oldest() {
        let table = ConnectionTable::new(4);
        let one = open(&table, "10.0.0.1");
        let many: Vec<ConnectionRow> = (0..3).map(|_| open(&table, "10.0.0.2")).collect();
        let (new, displaces) = table.open(at("10.0.0.3")).unwrap();
        assert!(displaces && is_displaced(&many[0]));
        assert!(![&one, &many[1], &many[2], &new].into_iter().any(is_displaced));
        // A connection that was displaced does not remove another row.
        drop(many);
        assert_eq!(table.lock().taken.len(), 2);
        assert!(!table.open(at("10.0.0.3")).unwrap().1);
        drop((one, new));
        assert!(table.lock().idle.is_empty() && table.lock().counts.is_empty());
    }

    #[test]
    fn a_question_that_is_under_way_is_not_displaced() {
        let table = ConnectionTable::new(2);
        let (one, other) = (open(&table, "10.0.0.1"), open(&table, "10.0.0.1"));
        let (first, second) = (one.connection().question(), one.connection().question());
        let third = other.connection().question();
        assert!(table.open(at("10.0.0.2")).is_none());
        drop(first);
        assert!(table.open(at("10.0.0.2")).is_none());
        drop(second);
        let (new, displaces) = table.open(at("10.0.0.2")).unwrap();
        assert!(displaces && is_displaced(&one) && !is_displaced(&other));
        // Of a connection that is gone a question counts for nothing.
        let late = one.connection().question();
        drop((late, one));
        third.stays();
        assert!(table.open(at("10.0.0.3")).is_some() && is_displaced(&new) && !is_displaced(&other));
        drop((new, other));
        assert!(table.lock().taken.is_empty() && table.lock().counts.is_empty());
    }

    #[test]
    fn who_asked_last_leaves_last() {
        let table = ConnectionTable::new(2);
        let (one, other) = (open(&table, "::1"), open(&table, "::1"));
        drop(one.connection().question());
        table.open(at("::1")).unwrap();
        assert!(is_displaced(&other) && !is_displaced(&one));
    }

    #[test]
    fn a_host_is_one_whatever_it_calls_itself() {
        assert_eq!(host(at("::ffff:10.0.0.1")), at("10.0.0.1"));
        assert_eq!(host(at("2001:db8:1:2:a:b:c:d")), host(at("2001:db8:1:2:f::1")));
        assert_ne!(host(at("2001:db8:1:2::1")), host(at("2001:db8:1:3::1")));
    }

    #[test]
    fn a_table_without_rows_takes_no_connection() {
        assert!(ConnectionTable::new(0).open(at("10.0.0.1")).is_none());
    }
}
