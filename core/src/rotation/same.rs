//! Finds which known file a plain file's name stands for when its inode does not tell. Many files of one program begin with the
//! same line, so more of their content is compared.
//! Promises: a copy or an archive of what was read is not read again; a file that only begins like one that was is read.

use crate::identity::FileId;

use super::register::Register;
use super::{Held, Listed};

/// A look into a file that appeared.
pub trait Content {
    /// The hash of the last bytes before `position`, unpacked; `None` where they cannot be read.
    fn marker(&self, position: u64) -> Option<u64>;
    /// Whether the last bytes before `position` are those of a held file, which is not packed. `None`: the held file is packed,
    /// or nothing is left of it.
    fn is_as_held(&self, held: usize, position: u64) -> Option<bool>;
}

/// Which known file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// The place in [`Register::resume`] of a file that is to be read on.
    Resume(usize),
    /// The place in [`Register::done`].
    Done(usize),
    Held(FileId),
}

/// What appeared, and what can be seen in it.
pub(super) struct Seen<'a, C> {
    pub entry: &'a Listed,
    pub size: u64,
    /// The id and the length of its first line.
    pub of_line: FileId,
    pub line_bytes: u64,
    pub content: &'a C,
}

impl<C: Content> Seen<'_, C> {
    /// The known file that this is, under a new name or as a copy; `None`: it is none of them.
    pub fn find_same(&self, register: &Register, held: &[Held]) -> Option<Same> {
        let of_line = |file: FileId| file == self.of_line || register.is_generation(self.of_line, file);
        let (packed, live) = (self.entry.packed, self.entry.live);
        let size = self.size;
        let resume =
            register.resume().iter().enumerate().filter(|(_, file)| !file.done && of_line(file.file));
        let resume = resume.filter(|(_, file)| {
            let says_nothing = !live && (packed || size >= file.size);
            file.marker == 0 || self.holds(file.position, file.marker).unwrap_or(says_nothing)
        });
        if let Some((at, _)) = resume.max_by_key(|(_, file)| file.position) {
            return Some(Same::Resume(at));
        }
        let mut files = held.iter().enumerate();
        if let Some((_, file)) = files.find(|(at, file)| of_line(file.id) && self.is_copy_of(*at, file)) {
            return Some(Same::Held(file.id));
        }
        let same_size = packed || size == 0;
        let at = register.done().iter().position(|file| {
            let says_nothing = same_size || size == file.size;
            of_line(file.file)
                && match file.marker {
                    0 => says_nothing,
                    marker => self.holds(file.position, marker).unwrap_or(says_nothing),
                }
        });
        at.map(Same::Done)
    }

    /// Whether the bytes before `position` are those of `marker`. `None`: so little lies before it that this says nothing.
    fn holds(&self, position: u64, marker: u64) -> Option<bool> {
        if position <= self.line_bytes {
            return None;
        }
        if !self.entry.packed && self.size < position {
            return Some(false);
        }
        Some(self.content.marker(position) == Some(marker))
    }

    /// Whether it is a copy of a file that is held, perhaps one that is still being made.
    fn is_copy_of(&self, at: usize, held: &Held) -> bool {
        let begun = self.size.min(held.position);
        (!self.entry.packed && self.content.is_as_held(at, begun) == Some(true))
            || self.holds(held.position, held.marker) == Some(true)
    }
}
