//! Records in the form of the monitor's protocol, exactly as existing clients expect it.

use cordwood_core::entry::{Entry, timestamp_ms};
use cordwood_core::fields;
use cordwood_core::origin::Origin;
use cordwood_core::record::Flags;
use cordwood_store::search::OwnedRecord;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// A frame. What a record does not say is left out.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Told<'a> {
    SystemLog {
        #[serde(flatten)]
        said: Said<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        module: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        function: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
    },
    AuditLog {
        #[serde(flatten)]
        said: Said<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a RawValue>,
    },
}

#[derive(Debug, Serialize)]
struct Said<'a> {
    timestamp: String,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logger: Option<&'a str>,
    message: &'a str,
}

pub fn frame(record: &OwnedRecord, origin: &Origin) -> serde_json::Result<Box<RawValue>> {
    let record = record.as_record();
    let entry = Entry::new(&record, origin);
    let said = Said {
        timestamp: timestamp_ms(record.time_us),
        level: record.level.as_str(),
        logger: entry.logger.as_deref(),
        message: entry.message.as_deref().unwrap_or_default(),
    };
    if record.flags.has(Flags::AUDIT) {
        let (action, metadata) = (entry.action.as_deref(), entry.metadata.as_deref());
        return to_raw_value(&Told::AuditLog { said, action, metadata });
    }
    let named = fields::read(record.body).at("module");
    let module = named.as_deref().or_else(|| entry.file.as_deref().and_then(stem));
    to_raw_value(&Told::SystemLog { said, module, function: entry.function.as_deref(), line: entry.line })
}

/// A file's name without folders and the last extension.
fn stem(path: &str) -> Option<&str> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    (!stem.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_a_files_stem() {
        for (path, expected) in [
            ("/app/madrox/server.py", Some("server")),
            ("server.py", Some("server")),
            (r"C:\app\server.test.py", Some("server.test")),
            (".env", Some(".env")),
            ("main", Some("main")),
            ("/app/", None),
            ("", None),
        ] {
            assert_eq!(stem(path), expected, "{path}");
        }
    }
}
