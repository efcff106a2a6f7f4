//! Finds the logs of a folder by the names in it. A container has one log for each restart count. Of other programs' files, a live file
//! has a log, and its older files belong to that log.

use std::collections::{BTreeSet, HashSet};

use crate::log_names::{has_date_inside, live_names};

/// The restart counts of a container that have a log in its folder.
pub fn restart_counts<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<u32> {
    let number_of = |name: &str| {
        let (number, rest) = name.split_once('.')?;
        (rest == "log" || rest.starts_with("log.")).then(|| number.parse().ok())?
    };
    names.into_iter().filter_map(number_of).collect()
}

/// The live files of other programs' logs, by name. `known`: those that were live before. `is_asked_for`: a pattern names it.
/// `is_file`: it is a regular file.
pub fn live_files(
    names: &[String],
    known: &HashSet<&str>,
    is_asked_for: impl Fn(&str) -> bool,
    is_file: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let here: HashSet<&str> = names.iter().map(String::as_str).collect();
    // A live file may just be renamed, its successor not made yet: then it is only known. (A folder `x` beside `x.1` is nobody's
    // live file, nor is a link `app.log` to the file of today.)
    let is_live =
        |name: &str| known.contains(name) || (here.contains(name) && is_asked_for(name) && is_file(name));
    let mut lives = BTreeSet::new();
    for name in names {
        let candidates = live_names(name);
        let live = candidates.iter().find(|live| is_live(live));
        // What was read as a file of its own stays one.
        match live.filter(|live| !(known.contains(name.as_str()) && has_date_inside(live, name))) {
            Some(live) if !here.contains(&**live) => {
                lives.insert(live.to_string());
            }
            Some(_) => {}
            None if is_asked_for(name) => {
                lives.insert(name.clone());
            }
            None => {}
        }
    }
    lives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_restart_counts_a_container_has() {
        let names =
            ["0.log.20261121-022431.gz", "1.log", "1.log.20261121-022431", "x.log", "2.logs", "3", "-1.log"];
        assert_eq!(restart_counts(names).into_iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn which_files_are_live() {
        // (what is there, the names, those that are no files, those that were live before, those that are live)
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            ("a file and its older ones", &["app.log", "app.log.1", "app.log.2.gz"], &[], &[], &["app.log"]),
            ("two files", &["a.log", "b.log"], &[], &[], &["a.log", "b.log"]),
            (
                "a date before the extension",
                &["hello.log", "hello-20251230-154522.log"],
                &[],
                &[],
                &["hello.log"],
            ),
            (
                "the number of a worker",
                &["worker.log", "worker-1.log"],
                &[],
                &[],
                &["worker-1.log", "worker.log"],
            ),
            ("a state file beside it", &["app.log", "app.log.offset"], &[], &[], &["app.log"]),
            ("renamed, its successor not made yet", &["app.log.1"], &[], &["app.log"], &["app.log"]),
            ("dated, its successor not made yet", &["app-20251230.log"], &[], &["app.log"], &["app.log"]),
            (
                "dated, and never seen under another name",
                &["app-20251230.log"],
                &[],
                &[],
                &["app-20251230.log"],
            ),
            ("a folder beside it", &["x.log", "x.log.1.log"], &["x.log"], &[], &["x.log", "x.log.1.log"]),
            (
                "a link to the file of today",
                &["app.log", "app-20251230.log"],
                &["app.log"],
                &[],
                &["app-20251230.log", "app.log"],
            ),
            (
                "what was read by itself stays so",
                &["app.log", "app-20251230.log"],
                &[],
                &["app-20251230.log"],
                &["app-20251230.log", "app.log"],
            ),
            ("nothing", &[], &[], &["app.log"], &[]),
        ];
        for (name, names, no_files, known, expected) in rows {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let known = known.iter().copied().collect();
            let found =
                live_files(&names, &known, |name| name.ends_with(".log"), |name| !no_files.contains(&name));
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), *expected, "{name}");
        }
    }
}
