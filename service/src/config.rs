//! Reads configuration files: YAML. Unknown keys are refused; every error names the file and the key.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("configuration {}: {key}: {message}", path.display())]
    Key { path: PathBuf, key: String, message: String },
    #[error("configuration {}: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("read the secret that {key} names, {}: {source}", path.display())]
    Secret { key: String, path: PathBuf, source: std::io::Error },
}

/// Reads and parses a file. `T` must say `#[serde(deny_unknown_fields)]`; an empty file is an empty mapping.
///
/// # Errors
/// One line that names the file, and the path of the key (`kafka.sasl.mechanism`) where one is at fault.
pub fn load_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse_config(path, &text)
}

/// [`load_config`] for a text that is already here; `path` is what errors call it.
///
/// # Errors
/// As [`load_config`].
pub fn parse_config<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    let text = if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        "{}"
    } else {
        text
    };
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let key = error.path().to_string();
        let message = error.inner().to_string();
        if key == "." {
            ConfigError::Syntax { path: path.into(), message }
        } else {
            // The YAML parser says the key, or the mapping it stands in, again in front of its message.
            let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
            let stripped =
                [key.as_str(), parent].iter().find_map(|said| message.strip_prefix(&format!("{said}: ")));
            let message = stripped.unwrap_or(&message).to_owned();
            ConfigError::Key { path: path.into(), key, message }
        }
    })
}

/// The content of a file that holds one secret, without the line's end. `key` is the setting that names the file.
///
/// # Errors
/// When the file cannot be read as text.
pub fn read_secret(key: &str, path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Secret {
        key: key.to_owned(),
        path: path.into(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Outer {
        kafka: Inner,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        linger_ms: u32,
    }

    fn error(text: &str) -> String {
        parse_config::<Outer>(Path::new("agent.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_file_and_the_key() {
        let cases = [
            ("kafka: {linger_ms: soon}", "agent.yaml: kafka.linger_ms:"),
            (
                "kafka: {lingerms: 1}",
                "agent.yaml: kafka.lingerms: unknown field `lingerms`, expected `linger_ms`",
            ),
            ("kafak: {}", "unknown field `kafak`, expected `kafka`"),
            ("kafka: [", "agent.yaml: "),
        ];
        for (text, expected) in cases {
            let message = error(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config: Outer = parse_config(Path::new("x"), "# nothing yet\n\n").unwrap();
        assert_eq!(config.kafka.linger_ms, 0);
    }
}
