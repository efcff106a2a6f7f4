//! Places behind the acknowledged position of a file at which the agent sent an unfinished record. An agent that reads the file
//! again ends the record at the same place.

use cordwood_core::checkpoint::{Cut, CutOf};

/// The places (file positions), in ascending order.
#[derive(Clone, Debug, Default)]
pub struct Cuts(Vec<Cut>);

impl Cuts {
    /// The places that the checkpoint has.
    pub fn new(cuts: Vec<Cut>) -> Cuts {
        Cuts(cuts)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a place, at which every later reading of the file ends the record.
    pub fn add(&mut self, cut: Cut) {
        if let Err(place) = self.0.binary_search(&cut) {
            self.0.insert(place, cut);
        }
    }

    /// The bytes of `given` (read at `position`) that lie before the next cut, and whether they end at it.
    pub fn split<'a>(&self, given: &'a [u8], position: u64) -> (&'a [u8], bool) {
        let next = self.0.iter().map(|cut| cut.at).find(|at| *at > position);
        let len = next.and_then(|at| usize::try_from(at - position).ok());
        match len.filter(|len| *len <= given.len()) {
            Some(len) => (&given[..len], true),
            None => (given, false),
        }
    }

    /// What was sent unfinished at this place.
    pub fn at(&self, position: u64) -> Vec<CutOf> {
        self.0.iter().filter(|cut| cut.at == position).map(|cut| cut.what).collect()
    }

    /// The places behind a file position, for the checkpoint.
    pub fn behind(&self, position: u64) -> Vec<Cut> {
        self.0.iter().filter(|cut| cut.at > position).copied().collect()
    }

    /// Removes the places up to the acknowledged position.
    pub fn acknowledged(&mut self, position: u64) {
        self.0.retain(|cut| cut.at > position);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use cordwood_core::identity::OutputStream;

    use super::*;

    #[test]
    fn bytes_end_at_the_next_cut() {
        let mut cuts = Cuts::default();
        let record = |at| Cut { at, what: CutOf::Record(OutputStream::Stdout) };
        [30, 10, 30].into_iter().for_each(|at| cuts.add(record(at)));
        cuts.add(Cut { at: 30, what: CutOf::Line });
        let bytes = [0; 15];
        // (position, how many bytes lie before the next cut, a cut ends them)
        for (position, len, ends) in
            [(0, 10, true), (10, 15, false), (15, 15, true), (20, 10, true), (30, 15, false)]
        {
            let (before, at_cut) = cuts.split(&bytes, position);
            assert_eq!((before.len(), at_cut), (len, ends), "at {position}");
        }
        assert_eq!((cuts.at(10).len(), cuts.at(30).len(), cuts.at(29).len()), (1, 2, 0));
        cuts.acknowledged(10);
        assert_eq!(cuts.behind(0).len(), 2);
    }
}
