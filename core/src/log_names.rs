//! Decides by their names which log files outside of `/var/log/pods` are older files of which live file. Rotation writes numbers and dates
//! behind the live file's name (`app.log.1`, `app.log-20251230.gz`, `app.log.2026-11-21`), or a date before its extension
//! (`hello-20251230-154522.log`). A number before the extension is no sign: `worker-1.log` is the file of a worker.

use std::borrow::Cow;

/// What `name` adds to the name of the live file that it is an older file of; `None`: it is none.
pub fn older_suffix<'a>(live: &str, name: &'a str) -> Option<&'a str> {
    let (unpacked, packed) = match name.strip_suffix(".gz") {
        Some(unpacked) => (unpacked, true),
        None => (name, false),
    };
    if let Some(suffix) = unpacked.strip_prefix(live) {
        if is_behind(suffix) {
            return Some(&suffix[1..]);
        }
        return (packed && suffix.is_empty()).then_some("gz");
    }
    let (stem, extension) = live.rsplit_once('.')?;
    let suffix = unpacked.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
    (!stem.is_empty() && is_date(suffix)).then(|| &suffix[1..])
}

/// Whether `name` has a date before the extension of `live`, of which it is an older file: a pattern `*.log` names it too.
pub fn has_date_inside(live: &str, name: &str) -> bool {
    older_suffix(live, name).is_some() && !name.starts_with(live)
}

/// The names of live files that `name` can be an older file of.
pub fn live_names(name: &str) -> Vec<Cow<'_, str>> {
    let unpacked = name.strip_suffix(".gz").unwrap_or(name);
    let mut lives = Vec::new();
    if unpacked.len() < name.len() {
        lives.push(Cow::Borrowed(unpacked));
    }
    let extension = unpacked.rfind('.').unwrap_or(unpacked.len());
    for (at, _) in unpacked.match_indices(SEPARATORS).filter(|(at, _)| *at > 0) {
        if is_behind(&unpacked[at..]) {
            lives.push(Cow::Borrowed(&unpacked[..at]));
        }
        if at < extension && is_date(&unpacked[at..extension]) {
            lives.push(Cow::Owned(format!("{}{}", &unpacked[..at], &unpacked[extension..])));
        }
    }
    lives
}

const SEPARATORS: [char; 3] = ['.', '-', '_'];

/// `.1`, `-20251230`, `.2026-11-21T02:24:31`, `.old`: what stands behind a live file's name.
fn is_behind(suffix: &str) -> bool {
    groups(suffix).is_some() || matches!(suffix, ".old" | ".bak")
}

/// `-20251230-154522`, `.2026-11-21`, `-2026-11-21-2`: what stands before an extension.
fn is_date(suffix: &str) -> bool {
    let Some(groups) = groups(suffix) else { return false };
    let number = |group: &str| group.parse::<u32>().unwrap_or(0);
    let is_day =
        |month: &str, day: &str| (1..=12).contains(&number(month)) && (1..=31).contains(&number(day));
    match groups[..] {
        [date, ..] if date.len() == 8 => is_day(&date[4..6], &date[6..8]),
        [year, month, day, ..] => year.len() == 4 && month.len() == 2 && day.len() == 2 && is_day(month, day),
        _ => false,
    }
}

/// The numbers of a suffix in which each follows a separator.
fn groups(suffix: &str) -> Option<Vec<&str>> {
    let rest = suffix.strip_prefix(SEPARATORS)?;
    let groups: Vec<&str> = rest.split(['.', '-', '_', 'T', ':']).collect();
    let is_number =
        |group: &&str| (1..=14).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit());
    groups.iter().all(is_number).then_some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_files_of_a_live_one() {
        let cases = [
            ("0.log", "0.log.20261121-022431", Some("20261121-022431")),
            ("0.log", "0.log.20261121-022431.gz", Some("20261121-022431")),
            ("app.log", "app.log.1", Some("1")),
            ("app.log", "app.log.12.gz", Some("12")),
            ("app.log", "app.log-20251230", Some("20251230")),
            ("app.log", "app.log.2026-11-21", Some("2026-11-21")),
            ("app.log", "app.log.2026-11-21T02:24:31", Some("2026-11-21T02:24:31")),
            ("app.log", "app.log.2026-11-21.3.gz", Some("2026-11-21.3")),
            ("app.log", "app.log.old", Some("old")),
            ("app.log", "app.log.gz", Some("gz")),
            ("hello.log", "hello-20251230-154522.log", Some("20251230-154522")),
            ("hello.log", "hello-20251230-154522.log.gz", Some("20251230-154522")),
            ("app.log", "app.2026-11-21.log", Some("2026-11-21")),
            ("app.log", "app-2026-11-21-2.log", Some("2026-11-21-2")),
            ("syslog", "syslog.1", Some("1")),
        ];
        for (live, name, expected) in cases {
            assert_eq!(older_suffix(live, name), expected, "{name}");
            assert!(
                live_names(name).iter().any(|candidate| candidate == live),
                "{name}: {:?}",
                live_names(name)
            );
        }
        assert!(has_date_inside("hello.log", "hello-20251230-154522.log"));
        assert!(!has_date_inside("hello.log", "hello.log-20251230"));
    }

    #[test]
    fn files_beside_a_live_one() {
        let cases = [
            ("app.log", "app.log"),
            ("app.log", "app.log.offset"),
            ("app.log", "app.log.1.offset"),
            ("app.log", "app.log.pos"),
            ("app.log", "app.log.lock"),
            ("app.log", "app.log.json"),
            ("app.log", "app.log.swp"),
            ("app.log", "app.log-audit"),
            ("0.log", "0.log.20261121-022431.tmp"),
            ("0.log", "0.log.20261121-022431.gz.tmp"),
            ("0.log", "10.log"),
            ("0.log", "1.log.20261121-022431"),
            ("0.log", "0.log."),
            ("app.log", "app.log..1"),
            ("app.log", "app.log.123456789012345"),
            ("worker.log", "worker-1.log"),
            ("worker.log", "worker-20.log"),
            ("hello.log", "hello-20259930-154522.log"),
            ("hello.log", "hello-world-20251230-154522.log"),
            ("hello.log", "hello-20251230-154522.txt"),
            ("hello.log", "other-20251230-154522.log"),
            ("x", "x.log"),
            (".log", "-20251230.log"),
        ];
        for (live, name) in cases {
            assert_eq!(older_suffix(live, name), None, "{name}");
            assert!(
                !live_names(name).iter().any(|candidate| candidate == live),
                "{name}: {:?}",
                live_names(name)
            );
        }
    }
}
