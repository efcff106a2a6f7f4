//! Keeps what must outlive the operator: which pods got a level, and which level they had before. It is one ConfigMap, which is written before a
//! pod is changed, and only if nobody else has written it meanwhile.

use std::collections::BTreeMap;

use cordwood_core::level::Level;
use cordwood_core::limits::{PUSHED_BYTES_MAX, PUSHED_PODS_MAX};
use cordwood_crds::levels::PushSpec;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde::{Deserialize, Serialize};

use super::ways::{self, Found};

/// Name of the ConfigMap in the release's namespace.
pub const CONFIG_MAP: &str = "cordwood-pushes";
const KEY: &str = "pushes.json";
const VERSION: u32 = 1;

/// A logger of a pod: the pod's UID and the logger's [`ways::target`].
pub type Key = (String, String);

/// One logger of one pod that was told a level, or is about to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub target: String,
    /// UID and id of the level config that decides.
    pub config: String,
    pub config_id: String,
    /// What is put back at the end.
    pub before: Found,
    /// Levels that it was told since `before` was read, the newest last.
    pub levels: Vec<Level>,
    /// Of how many starts of the pod's containers that is true.
    pub starts: i64,
    /// It has taken the newest of the levels.
    pub done: bool,
}

impl Entry {
    pub fn key(&self) -> Key {
        (self.uid.clone(), self.target.clone())
    }

    /// Whether the application has a level that it was told here.
    pub fn has_ours(&self, push: &PushSpec, found: &Found) -> bool {
        self.levels.iter().any(|level| ways::shows(push, *level).is_some_and(|shown| shown.is(found)))
    }
}

/// As the ConfigMap has it.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// By target: how it is asked.
    ways: BTreeMap<String, PushSpec>,
    pods: Vec<Entry>,
    /// By UID of the config: pods made before this time (milliseconds since the epoch) may have been told a level, and nobody knows
    /// any more which one they had.
    #[serde(default)]
    lost: BTreeMap<String, i64>,
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    ways: BTreeMap<String, PushSpec>,
    pods: BTreeMap<Key, Entry>,
    lost: BTreeMap<String, i64>,
    bytes: usize,
}

impl Kept {
    fn of(file: File) -> Kept {
        let mut kept = Kept { lost: file.lost, ..Kept::default() };
        for entry in file.pods {
            // Who may write the ConfigMap may not thereby have other paths asked.
            match file.ways.get(&entry.target) {
                Some(push) if ways::target(push).as_deref() == Some(&entry.target) => {
                    if kept.put(entry.clone(), push).is_err() {
                        tracing::warn!(pod = entry.pod, "no room for what was remembered of a push");
                    }
                }
                _ => tracing::warn!(pod = entry.pod, target = entry.target, "a push that nobody can follow"),
            }
        }
        kept
    }

    /// # Errors
    /// What is no such JSON, or of a newer version.
    fn read(text: &str) -> Result<Kept, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if file.version > VERSION {
            return Err(format!("it is of version {}, this program knows {VERSION}", file.version));
        }
        Ok(Kept::of(file))
    }

    fn text(&self) -> Result<String, kube::Error> {
        let pods = self.pods.values().cloned().collect();
        let file = File { version: VERSION, ways: self.ways.clone(), pods, lost: self.lost.clone() };
        serde_json::to_string(&file).map_err(kube::Error::SerdeError)
    }

    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.pods.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.pods.values()
    }

    /// How the logger of an entry is asked.
    pub fn way(&self, target: &str) -> Option<&PushSpec> {
        self.ways.get(target)
    }

    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.lost.is_empty()
    }

    /// Pods of the config that were made before this are not touched.
    pub fn lost_before_ms(&self, config: &str) -> Option<i64> {
        self.lost.get(config).copied()
    }

    /// Remembers an entry in the place of the one of the same logger.
    ///
    /// # Errors
    /// When there is no room; then nothing has changed.
    pub fn put(&mut self, entry: Entry, push: &PushSpec) -> Result<(), &'static str> {
        let key = entry.key();
        let is_new = !self.pods.contains_key(&key);
        let bytes = bytes_of(&entry) + bytes_of(push);
        if is_new && (self.pods.len() >= PUSHED_PODS_MAX || self.bytes + bytes > PUSHED_BYTES_MAX) {
            return Err("levels were pushed to as many pods as the operator can remember");
        }
        if let Some(before) = self.pods.get(&key) {
            self.bytes -= bytes_of(before) + self.ways.get(&key.1).map_or(0, bytes_of);
        }
        self.bytes += bytes;
        self.ways.insert(key.1.clone(), push.clone());
        self.pods.insert(key, entry);
        Ok(())
    }

    /// It has taken its newest level.
    pub fn is_done(&mut self, key: &Key) {
        if let Some(entry) = self.pods.get_mut(key) {
            self.bytes -= bytes_of(entry);
            entry.done = true;
            self.bytes += bytes_of(entry);
        }
    }

    pub fn forget(&mut self, key: &Key) {
        let Some(entry) = self.pods.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(bytes_of(&entry));
        if let Some(push) = self.ways.get(&key.1) {
            self.bytes = self.bytes.saturating_sub(bytes_of(push));
        }
        if !self.pods.keys().any(|(_, target)| *target == key.1) {
            self.ways.remove(&key.1);
        }
    }

    /// Configs of which it is lost which levels pods had before.
    pub fn lost(&self) -> impl Iterator<Item = &String> {
        self.lost.keys()
    }

    /// Forgets what was lost of configs that are gone.
    pub fn retain_lost(&mut self, is_there: impl Fn(&str) -> bool) {
        self.lost.retain(|config, _| is_there(config));
    }
}

fn bytes_of(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

/// What the ConfigMap has.
pub struct Loaded {
    pub kept: Kept,
    /// Its resource version.
    pub version: Option<String>,
    /// Something was lost, which must be written down.
    pub is_lost: bool,
}

/// What the ConfigMap has. Where there is none, or none that can be read, although levels of `pushed` (UIDs of
/// configs) were pushed, the levels before are lost: that is remembered, and nothing wrong is put back.
///
/// # Errors
/// When the API server does not say it.
pub async fn load(
    api: &Api<ConfigMap>,
    pushed: impl Iterator<Item = String>,
    now_ms: i64,
) -> Result<Loaded, kube::Error> {
    let map = api.get_opt(CONFIG_MAP).await?;
    let version = map.as_ref().and_then(|map| map.metadata.resource_version.clone());
    let text = map.and_then(|map| map.data?.remove(KEY));
    match text.as_deref().map(Kept::read) {
        Some(Ok(kept)) => return Ok(Loaded { kept, version, is_lost: false }),
        Some(Err(reason)) => tracing::error!(reason, "the ConfigMap {CONFIG_MAP} cannot be read"),
        None => {}
    }
    let lost: BTreeMap<String, i64> = pushed.map(|config| (config, now_ms)).collect();
    let is_lost = !lost.is_empty();
    if is_lost {
        tracing::error!(
            configs = lost.len(),
            "which levels pods had before a push is lost: they stay as they are"
        );
    }
    Ok(Loaded { kept: Kept { lost, ..Kept::default() }, version, is_lost })
}

/// Writes it if nobody else has since; the new resource version.
///
/// # Errors
/// A conflict (another replica leads), or an API server that does not take it.
pub async fn save(
    api: &Api<ConfigMap>,
    kept: &Kept,
    version: Option<String>,
) -> Result<Option<String>, kube::Error> {
    let labels = BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "cordwood".to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), "cordwood-operator".to_owned()),
    ]);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.to_owned()),
            labels: Some(labels),
            resource_version: version.clone(),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), kept.text()?)])),
        ..ConfigMap::default()
    };
    let written = match version {
        Some(_) => api.replace(CONFIG_MAP, &PostParams::default(), &map).await?,
        None => api.create(&PostParams::default(), &map).await?,
    };
    Ok(written.metadata.resource_version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn zap(port: u16) -> PushSpec {
        serde_json::from_value(json!({"zap": {"port": port}})).unwrap()
    }

    fn entry(uid: &str, port: u16) -> Entry {
        Entry {
            namespace: "shop".to_owned(),
            pod: "a".to_owned(),
            uid: uid.to_owned(),
            target: ways::target(&zap(port)).unwrap(),
            config: "c".to_owned(),
            config_id: "shop/quiet".to_owned(),
            before: Found::Level("info".to_owned()),
            levels: vec![Level::Warn, Level::Error],
            starts: 2,
            done: false,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut kept = Kept { lost: BTreeMap::from([("x".to_owned(), 7)]), ..Kept::default() };
        kept.put(entry("u", 1), &zap(1)).unwrap();
        kept.put(entry("v", 2), &zap(2)).unwrap();
        kept.is_done(&entry("u", 1).key());
        assert_eq!(Kept::read(&kept.text().unwrap()), Ok(kept.clone()));
        kept.forget(&entry("u", 1).key());
        assert_eq!(kept.way("zap:1/log/level"), None, "nobody needs it any more");
        kept.forget(&entry("v", 2).key());
        assert_eq!((kept.bytes, kept.ways.len(), kept.is_empty()), (0, 0, false));
        kept.retain_lost(|_| false);
        assert!(kept.is_empty());
    }

    /// The format of version 1, which later versions must read.
    #[test]
    fn version_1_is_read() {
        let text = r#"{"version":1,"ways":{"zap:1/log/level":{"zap":{"port":1,"path":"/log/level"}}},
            "pods":[{"namespace":"shop","pod":"a","uid":"u","target":"zap:1/log/level","config":"c","configId":"shop/quiet",
            "before":{"level":"info"},"levels":["WARN","ERROR"],"starts":2,"done":false}]}"#;
        let kept = Kept::read(text).unwrap();
        assert_eq!(kept.get(&entry("u", 1).key()), Some(&entry("u", 1)));
        assert!(Kept::read("{\"version\":2,\"ways\":{},\"pods\":[]}").is_err());
        assert!(Kept::read("{").is_err());
    }

    /// Who may write the ConfigMap may not have other paths asked.
    #[test]
    fn a_way_that_is_not_the_target_is_not_followed() {
        let mut kept = Kept::default();
        kept.put(entry("u", 1), &zap(1)).unwrap();
        let mut file: Value = serde_json::from_str(&kept.text().unwrap()).unwrap();
        file["ways"]["zap:1/log/level"]["zap"]["path"] = json!("/admin");
        assert_eq!(Kept::read(&file.to_string()), Ok(Kept::default()));
    }

    #[test]
    fn it_has_bounds() {
        let mut kept = Kept::default();
        let put = |kept: &mut Kept, number: usize| kept.put(entry(&format!("u{number}"), 1), &zap(1));
        let taken = (0..PUSHED_PODS_MAX + 10).filter(|number| put(&mut kept, *number).is_ok()).count();
        assert!(taken <= PUSHED_PODS_MAX && taken > 100, "{taken}");
        assert!(kept.text().unwrap().len() < 1 << 20);
        put(&mut kept, 0).unwrap();
        kept.forget(&entry("u1", 1).key());
        put(&mut kept, 99_999).unwrap();
    }
}
