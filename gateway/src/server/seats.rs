//! Which connections have a place. While all are taken, a new connection gets the place of one on which nobody who is known has a question
//! under way: of the address that has the most such connections, the one that has been so for longest. A flood of strangers, who need not say
//! who they are, thus displaces itself; whoever is known may have as many questions under way as their share says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Of an IPv6 address: one host has all that begin so.
const HOST_BITS: u32 = 64;

#[derive(Debug)]
pub struct Seats {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// By number.
    taken: HashMap<u64, Taken>,
    /// Of those on which nobody who is known has a question under way: by address, the one that is so for longest first.
    idle: HashMap<IpAddr, BTreeMap<u64, u64>>,
    /// How many an address has of these.
    counts: BTreeSet<(usize, IpAddr)>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    host: IpAddr,
    /// Questions of whoever is known.
    asked: usize,
    /// Its place among the idle ones.
    since: u64,
    displaced: CancellationToken,
}

/// A connection's place. Given back when dropped.
#[derive(Debug)]
pub struct Place(Seat);

/// The place on which a request came.
#[derive(Clone, Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    displaced: CancellationToken,
}

/// A question of somebody who is known: while it is under way nobody displaces it.
#[derive(Debug)]
pub struct Question(Seat);

impl Seats {
    pub fn new(most: usize) -> Arc<Seats> {
        Arc::new(Seats { most, table: Mutex::default() })
    }

    /// For a new connection, and whether another had to leave. `None`: on all of them a question is under way.
    pub fn take(self: &Arc<Seats>, address: IpAddr) -> Option<(Place, bool)> {
        let mut table = self.table();
        let is_full = table.taken.len() >= self.most;
        if is_full && !table.displace() {
            return None;
        }
        let displaced = CancellationToken::new();
        let number = table.number();
        let taken = Taken { host: host(address), asked: 0, since: 0, displaced: displaced.clone() };
        table.taken.insert(number, taken);
        table.rest(number);
        Some((Place(Seat { seats: Arc::clone(self), number, displaced }), is_full))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn seat(&self) -> Seat {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.0.seats.table();
        table.unrest(self.0.number);
        table.taken.remove(&self.0.number);
    }
}

impl Seat {
    /// Somebody who is known asks.
    pub fn question(&self) -> Question {
        let mut table = self.seats.table();
        table.unrest(self.number);
        if let Some(taken) = table.taken.get_mut(&self.number) {
            taken.asked += 1;
        }
        Question(self.clone())
    }

    /// When another connection has its place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Question {
    /// It is under way as long as its connection is open.
    pub fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut table = self.0.seats.table();
        let Some(taken) = table.taken.get_mut(&self.0.number) else { return };
        taken.asked -= 1;
        if taken.asked == 0 {
            table.rest(self.0.number);
        }
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on nobody who is known has a question under way on it.
    fn rest(&mut self, number: u64) {
        let since = self.number();
        let Some(taken) = self.taken.get_mut(&number) else { return };
        taken.since = since;
        let (host, idle) = (taken.host, self.idle.entry(taken.host).or_default());
        self.counts.remove(&(idle.len(), host));
        idle.insert(since, number);
        self.counts.insert((idle.len(), host));
    }

    fn unrest(&mut self, number: u64) {
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

    /// False: there is none that could.
    fn displace(&mut self) -> bool {
        let most = self.counts.last().and_then(|(_, host)| self.idle.get(host));
        let Some(number) = most.and_then(|idle| idle.values().next().copied()) else { return false };
        self.unrest(number);
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

    fn take(seats: &Arc<Seats>, address: &str) -> Place {
        seats.take(at(address)).unwrap().0
    }

    fn is_displaced(place: &Place) -> bool {
        place.0.displaced.is_cancelled()
    }

    #[test]
    fn the_address_with_the_most_loses_its_oldest() {
        let seats = Seats::new(4);
        let one = take(&seats, "10.0.0.1");
        let many: Vec<Place> = (0..3).map(|_| take(&seats, "10.0.0.2")).collect();
        let (new, displaces) = seats.take(at("10.0.0.3")).unwrap();
        assert!(displaces && is_displaced(&many[0]));
        assert!(![&one, &many[1], &many[2], &new].into_iter().any(is_displaced));
        // Whose place went gives none back.
        drop(many);
        assert_eq!(seats.table().taken.len(), 2);
        assert!(!seats.take(at("10.0.0.3")).unwrap().1);
        drop((one, new));
        assert!(seats.table().idle.is_empty() && seats.table().counts.is_empty());
    }

    #[test]
    fn a_question_that_is_under_way_is_not_displaced() {
        let seats = Seats::new(2);
        let (one, other) = (take(&seats, "10.0.0.1"), take(&seats, "10.0.0.1"));
        let (first, second) = (one.seat().question(), one.seat().question());
        let third = other.seat().question();
        assert!(seats.take(at("10.0.0.2")).is_none());
        drop(first);
        assert!(seats.take(at("10.0.0.2")).is_none());
        drop(second);
        let (new, displaces) = seats.take(at("10.0.0.2")).unwrap();
        assert!(displaces && is_displaced(&one) && !is_displaced(&other));
        // Of a connection that is gone a question counts for nothing.
        let late = one.seat().question();
        drop((late, one));
        third.stays();
        assert!(seats.take(at("10.0.0.3")).is_some() && is_displaced(&new) && !is_displaced(&other));
        drop((new, other));
        assert!(seats.table().taken.is_empty() && seats.table().counts.is_empty());
    }

    #[test]
    fn who_asked_last_leaves_last() {
        let seats = Seats::new(2);
        let (one, other) = (take(&seats, "::1"), take(&seats, "::1"));
        drop(one.seat().question());
        seats.take(at("::1")).unwrap();
        assert!(is_displaced(&other) && !is_displaced(&one));
    }

    #[test]
    fn a_host_is_one_whatever_it_calls_itself() {
        assert_eq!(host(at("::ffff:10.0.0.1")), at("10.0.0.1"));
        assert_eq!(host(at("2001:db8:1:2:a:b:c:d")), host(at("2001:db8:1:2:f::1")));
        assert_ne!(host(at("2001:db8:1:2::1")), host(at("2001:db8:1:3::1")));
    }

    #[test]
    fn where_there_is_no_place_there_is_none() {
        assert!(Seats::new(0).take(at("10.0.0.1")).is_none());
    }
}
