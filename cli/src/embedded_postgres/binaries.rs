//! Finds the PostgreSQL programs to run: the newest of 15 to 18 that is installed, or the version that created the folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

pub const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    /// 15, 16, ...
    pub major: u32,
}

impl Binaries {
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// `made_by`: the version in an existing data folder's `PG_VERSION`; another one cannot read it.
///
/// # Errors
/// When there is none, or none of the version wanted; says what to install.
pub fn find(data: &Path, made_by: Option<u32>) -> Result<Binaries, EmbeddedError> {
    let (dirs, looked) = places();
    let mut found: Vec<Binaries> = dirs
        .into_iter()
        .filter(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file())
        .filter_map(|dir| Some(Binaries { major: version(&dir)?, dir }))
        .filter(|binaries| SUPPORTED.contains(&binaries.major))
        .collect();
    // Stable: of equal versions the earlier place stays first.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    if found.is_empty() {
        return Err(EmbeddedError::NoBinaries { looked });
    }
    let Some(wanted) = made_by else { return Ok(found.swap_remove(0)) };
    let versions = found.iter().map(|b| b.major.to_string()).collect::<Vec<_>>().join(" and ");
    found.into_iter().find(|binaries| binaries.major == wanted).ok_or_else(|| EmbeddedError::OtherVersion {
        path: data.to_owned(),
        wanted,
        found: versions,
    })
}

fn places() -> (Vec<PathBuf>, String) {
    if let Some(dir) = std::env::var_os("CORDWOOD_POSTGRES_BIN") {
        let dir = PathBuf::from(dir);
        let looked = format!("CORDWOOD_POSTGRES_BIN={}", dir.display());
        return (vec![dir], looked);
    }
    let mut dirs = Vec::new();
    // Debian and Ubuntu; Red Hat's own repository; Homebrew.
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path().join("bin"))
                .filter(|dir| dir.is_dir()),
        );
    }
    dirs.sort();
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path));
    }
    (dirs, "/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, Homebrew and PATH".to_owned())
}

/// `postgres (PostgreSQL) 15.14 (Debian ...)` -> 15.
fn version(dir: &Path) -> Option<u32> {
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<u32> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_major_version_is_the_first_number() {
        let cases = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18.1", Some(18)),
            ("postgres (PostgreSQL) 19beta1", Some(19)),
            ("postgres", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }
}
