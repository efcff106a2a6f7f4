//! Files of which nothing can be read any more: which of them are losses.

use crate::checkpoint::FileCheckpoint;
use crate::identity::FileId;
use crate::log_names::older_suffix;

use super::listing::Names;
use super::register::Register;
use super::{Inode, Listed};

/// An archive of which not even the beginning can be unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    pub entry: &'a Listed,
    /// All names of the log.
    pub listed: &'a [Listed],
    /// A file that the agent began to read stands before it: what follows is younger.
    pub after_ours: bool,
}

impl Broken<'_> {
    /// Whether it is what became of a file that is known, so that nothing of it is lost, or its loss is told as that file's.
    /// `held`: names and inodes of open files.
    pub fn is_of_known<'a>(
        &self,
        names: Names<'_>,
        register: &Register,
        held: impl IntoIterator<Item = (&'a str, Inode)>,
    ) -> bool {
        let mut held = held.into_iter();
        if names.plain {
            // Its name says nothing: others have had it before. It is that of ours which is there no more, if one is not.
            let is_here = |inode: Inode| self.listed.iter().any(|entry| entry.inode == inode);
            return !self.after_ours
                || register.remembered().any(|file| !is_here((file.dev, file.ino)))
                || held.any(|(_, inode)| !is_here(inode));
        }
        let suffix = older_suffix(names.live, &self.entry.name);
        let same = |name: &str| older_suffix(names.live, name) == suffix;
        register.remembered().any(|file| same(&file.name)) || held.any(|(name, _)| same(name))
    }
}

/// The id of a file of which no content is known.
pub fn id_of_unread(inode: Inode, mtime_ns: i64) -> FileId {
    FileId::of_whole(format!("{} {} {mtime_ns}", inode.0, inode.1).as_bytes())
}

/// A file that was never read, as far as a loss needs it.
pub fn never_read(id: FileId, name: &str, (dev, ino): Inode) -> FileCheckpoint {
    FileCheckpoint { file: id, name: name.to_owned(), dev, ino, ..FileCheckpoint::default() }
}

/// By a look at a log's folder: whether none of its files has a name any more. `names`: those in the folder, none where the
/// folder is gone.
pub fn is_log_gone<'a>(live: &str, names: impl IntoIterator<Item = &'a str>) -> bool {
    !names.into_iter().any(|name| name == live || older_suffix(live, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_log_is_by_the_names_in_its_folder() {
        let rows: &[(&str, &[&str], bool)] = &[
            ("its live file", &["0.log"], false),
            ("an older file of it alone", &["0.log.20261121-022431"], false),
            ("a packed one", &["0.log.20261121-022431.gz"], false),
            ("files of other runs", &["1.log", "10.log"], true),
            ("nothing", &[], true),
        ];
        for (name, names, gone) in rows {
            assert_eq!(is_log_gone("0.log", names.iter().copied()), *gone, "{name}");
        }
    }

    #[test]
    fn whose_a_broken_archive_is() {
        let listed = |name: &str, ino| Listed {
            name: name.to_owned(),
            inode: (1, ino),
            size: 9,
            mtime_ns: 5,
            packed: name.ends_with(".gz"),
            live: false,
        };
        let kubelet = Names { live: "0.log", plain: false };
        let plain = Names { live: "app.log", plain: true };
        let of = |name: &str, ino| never_read(FileId(7), name, (1, ino));
        let known = |file: FileCheckpoint| Register::new(vec![file], Vec::new(), None);
        let (old, packed) = ("0.log.20261121-022431", "0.log.20261121-022431.gz");
        // (what happened, names, known, held, the archive comes after ours, it is of a known file)
        type Row<'a> = (&'a str, Names<'a>, Register, &'a [(&'a str, Inode)], bool, bool);
        let rows: &[Row<'_>] = &[
            ("a container's: never seen", kubelet, Register::default(), &[], false, false),
            ("a container's: its file was known", kubelet, known(of(old, 2)), &[], false, true),
            ("a container's: its file is open", kubelet, Register::default(), &[(old, (1, 2))], true, true),
            (
                "a container's: another file was known",
                kubelet,
                known(of("0.log.20261120-000000", 2)),
                &[],
                true,
                false,
            ),
            ("a program's: before ours", plain, Register::default(), &[], false, true),
            ("a program's: after ours, all here", plain, known(of("app.log", 3)), &[], true, false),
            ("a program's: after ours, one of ours is gone", plain, known(of("app.log", 2)), &[], true, true),
            (
                "a program's: after ours, an open one is gone",
                plain,
                Register::default(),
                &[("app.log", (1, 2))],
                true,
                true,
            ),
        ];
        for (name, names, register, held, after_ours, expected) in rows {
            let archive = if names.plain { "app.log.1.gz" } else { packed };
            let all = [listed(archive, 9), listed(names.live, 3)];
            let broken = Broken { entry: &all[0], listed: &all, after_ours: *after_ours };
            assert_eq!(broken.is_of_known(*names, register, held.iter().copied()), *expected, "{name}");
        }
    }
}
