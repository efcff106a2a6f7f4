//! When a run's first line was written, by which its namespace is found where the pod is not known.

use super::*;
use crate::folder::stat_of;

const NONSENSE: &str = "nobody's format\n";
const LINE: &str = "1970-01-01T00:00:07Z stdout F x\n";
const LATER: &str = "1970-01-01T00:00:09Z stdout F x\n";

/// A run with these files; `None` is one that is gone.
fn run_with(folder: &std::path::Path, files: &[Option<&str>]) -> Run {
    let source = Source::Container {
        namespace: "shop".into(),
        pod: "web-1".into(),
        uid: "0b8e".into(),
        container: "app".into(),
        restart: 0,
    };
    let mut run = Run::new(1, source.key(), source, &NodeIdentity::new("n", 1), 0);
    for content in files {
        let path = folder.join("0.log");
        std::fs::write(&path, content.unwrap_or_default()).unwrap();
        let handle = std::fs::File::open(&path).unwrap();
        let stat = stat_of(&handle).unwrap();
        std::fs::remove_file(&path).unwrap();
        let bytes = if content.is_some() { Bytes::File(handle) } else { Bytes::Gone };
        let (seq, id) = (run.take_seq(), FileId::of_whole(content.unwrap_or_default().as_bytes()));
        run.files.push_back(LogFile::new(seq, id, "0.log", stat, bytes, Format::Cri));
    }
    run
}

/// A first line without a time was waited for as if it were still to come, and nothing was ever read.
#[test]
fn the_first_line_that_has_a_time_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{NONSENSE}{LINE}{LATER}");
    let cases: [(&[Option<&str>], Option<i64>); 7] = [
        (&[], None),
        (&[Some(LINE), Some(LATER)], Some(7_000_000)),
        (&[Some(&both)], Some(7_000_000)),
        (&[Some(NONSENSE), Some(LATER)], Some(9_000_000)),
        (&[Some(NONSENSE)], Some(NEVER_US)),
        (&[None, Some(LINE)], Some(7_000_000)),
        (&[None], Some(NEVER_US)),
    ];
    for (files, expected) in cases {
        assert_eq!(run_with(folder.path(), files).first_line_us(), expected, "{files:?}");
    }
}
