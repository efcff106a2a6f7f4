//! Finds the files to read: paths and globs as typed, made absolute. A mistake is reported before anything starts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cordwood_agent::config::literal;

/// One input of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Absolute; wildcards only in the last part, what is none behind a backslash.
    pub pattern: String,
    /// Whether it names one file.
    pub is_file: bool,
}

const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// `now`: only what is there now will be read.
///
/// # Errors
/// A path that is not there, not a regular file, not readable, or not text; a pattern that nothing can match.
pub fn resolve(arguments: &[String], now: bool) -> Result<Vec<Input>> {
    let here = std::env::current_dir().context("find the current folder")?;
    let mut inputs = Vec::new();
    for argument in arguments.iter().filter(|argument| *argument != "-") {
        let path = here.join(argument);
        // A file whose name has a wildcard in it, because the shell expanded it, is a file.
        if path.exists() || !argument.contains(WILDCARDS) {
            inputs.push(file(&path, argument)?);
            continue;
        }
        let Some(name) = path.file_name() else { bail!("{argument}: names no file") };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folders = expand(folder)?;
        if folders.is_empty() {
            bail!("{argument}: there is no such folder");
        }
        let name = name.to_str().context("not a UTF-8 name")?;
        let matcher = globset::Glob::new(name).with_context(|| format!("{argument}: not a pattern"))?;
        let matcher = matcher.compile_matcher();
        let mut found = !now;
        for folder in folders {
            let Some(text) = folder.to_str() else { bail!("{argument}: not a UTF-8 name") };
            let pattern = format!("{}/{name}", literal(text.trim_end_matches('/')));
            let mut entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            found =
                found || entries.any(|entry| matcher.is_match(entry.file_name()) && entry.path().is_file());
            inputs.push(Input { pattern, is_file: false });
        }
        if !found {
            bail!("{argument}: no file matches it");
        }
    }
    inputs.dedup();
    Ok(inputs)
}

fn file(path: &Path, argument: &str) -> Result<Input> {
    let path = path.canonicalize().with_context(|| format!("open {argument}"))?;
    let metadata = path.metadata().with_context(|| format!("open {argument}"))?;
    if metadata.is_dir() {
        bail!(
            "{argument} is a folder: name its files, for example '{}/*.log'",
            argument.trim_end_matches('/')
        );
    }
    if !metadata.is_file() {
        bail!("{argument} is not a regular file: pipe it in instead, `cordwood standalone - < {argument}`");
    }
    let mut head = [0u8; 2];
    let read = std::fs::File::open(&path)
        .and_then(|mut file| std::io::Read::read(&mut file, &mut head))
        .with_context(|| format!("open {argument}"))?;
    if read == 2 && head == [0x1f, 0x8b] {
        bail!("{argument} is compressed: `zcat {argument} | cordwood standalone -`");
    }
    let Some(text) = path.to_str() else { bail!("{argument}: not a UTF-8 name") };
    Ok(Input { pattern: literal(text), is_file: true })
}

/// Folders that exist now for a pattern of folders. (New files in them are found later too; new folders are not.)
fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components().skip(1) {
        let part = part.as_os_str().to_str().context("not a UTF-8 name")?;
        // A folder that is called so is meant, also when its name has a wildcard in it.
        if !part.contains(WILDCARDS) || found.iter().any(|folder| folder.join(part).is_dir()) {
            found.iter_mut().for_each(|folder| folder.push(part));
            continue;
        }
        let glob =
            globset::Glob::new(part).with_context(|| format!("{part}: not a pattern"))?.compile_matcher();
        let mut next = Vec::new();
        for folder in found {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if glob.is_match(entry.file_name()) && entry.path().is_dir() {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|folder| folder.is_dir());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_absolute_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["a1", "a2"] {
            std::fs::create_dir(root.join(folder)).unwrap();
            std::fs::write(root.join(folder).join("x.log"), "line\n").unwrap();
        }
        std::fs::write(root.join("odd[1].log"), "line\n").unwrap();
        std::fs::write(root.join("z.gz"), [0x1f, 0x8b, 8]).unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        let patterns = |arguments: &[String]| {
            resolve(arguments, true)
                .map(|inputs| inputs.into_iter().map(|input| input.pattern).collect::<Vec<_>>())
        };
        assert_eq!(patterns(&[at("a1/x.log"), "-".into()]).unwrap(), [at("a1/x.log")]);
        assert_eq!(patterns(&[at("*.log")]).unwrap(), [at("*.log")]);
        assert_eq!(patterns(&[at("a?/*.log")]).unwrap(), [at("a1/*.log"), at("a2/*.log")]);
        assert_eq!(patterns(&[at("odd[1].log")]).unwrap(), [at("odd\\[1\\].log")]);
        for name in ["{3f25}.log", "back\\slash.log", "x {1} [a]/y.log"] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), "line\n").unwrap();
            assert_eq!(patterns(&[at(name)]).unwrap(), [literal(&at(name))]);
        }
        let odd_folder = literal(&at("x {1} [a]"));
        assert_eq!(patterns(&[at("x {1} [a]/*.log")]).unwrap(), [format!("{odd_folder}/*.log")]);
        assert_eq!(patterns(&[at("a1/{x,y}.log")]).unwrap(), [at("a1/{x,y}.log")]);
        // It may come yet, where files are followed.
        assert!(resolve(&[at("*.txt")], false).is_ok());
        for (argument, expected) in [
            ("none.log", "No such file"),
            ("a1", "is a folder: name its files"),
            ("z.gz", "is compressed: `zcat"),
            ("b*/x", "there is no such folder"),
            ("*.txt", "no file matches it"),
            ("{a,b}.txt", "no file matches it"),
        ] {
            let message = format!("{:#}", patterns(&[at(argument)]).unwrap_err());
            assert!(message.contains(expected), "{argument}: {message}");
        }
    }
}
