//! What bodies are looked through for without being put together: a body is a row of pieces, and each piece is looked into once, however
//! many bodies have it.

/// Something that a body may hold.
#[derive(Clone, Copy)]
pub enum Sought<'s> {
    /// ASCII letters and digits, here in lower case, there in either; `find` says where they first are. They may lie across a cut.
    Letters { lower: &'s [u8], find: &'s dyn Fn(&[u8]) -> Option<usize> },
    /// What begins with this byte (no letter, no digit, none of `-.:`), and whose end may lie in another piece: `may_begin` is asked with
    /// what follows the byte in its piece.
    Begin { byte: u8, may_begin: &'s dyn Fn(&[u8]) -> bool },
}

impl Sought<'_> {
    /// Whether a piece has it, or its begin.
    pub(super) fn is_in(&self, piece: &[u8]) -> bool {
        match self {
            Sought::Letters { find, .. } => find(piece).is_some(),
            Sought::Begin { byte, may_begin } => {
                memchr::memchr_iter(*byte, piece).any(|at| may_begin(&piece[at + 1..]))
            }
        }
    }

    /// Where the first piece may be that has it, of pieces that lie one after the other.
    pub(super) fn find_in_many(&self, pieces: &[u8]) -> Option<usize> {
        match self {
            Sought::Letters { find, .. } => find(pieces),
            Sought::Begin { byte, .. } => memchr::memchr(*byte, pieces),
        }
    }
}
