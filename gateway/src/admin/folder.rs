//! Reads and writes the resources in the folder that standalone follows. A resource that is written here gets a file of its own. A file that a
//! person keeps is never written, so its comments stay. A change after which the folder would be invalid as a whole is refused.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cordwood_crds::in_force::{Source, in_force, sources};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::{Kind, Place, StatusOf, version};
use crate::problem::Problem;

/// Files of this name are written here and by nobody else.
const OWN: &str = "api_";
const HEAD: &str = "# Written by Cordwood's HTTP API, which may write it again: comments are lost.\n";
/// Bytes of a file's name, with room for what is added.
const NAME_BYTES_MAX: usize = 200;

pub struct Folder {
    dir: PathBuf,
    status: StatusOf,
    /// One change at a time.
    writing: Mutex<()>,
}

/// A resource and where it stands.
struct Found {
    object: Value,
    path: PathBuf,
}

impl Folder {
    pub fn new(dir: PathBuf, status: StatusOf) -> Folder {
        Folder { dir, status, writing: Mutex::default() }
    }

    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, Problem> {
        let found = self.found(kind)?;
        let objects = found.into_iter().map(|found| found.object);
        let is_wanted = |object: &Value| {
            namespace.is_none_or(|namespace| {
                object["metadata"]["namespace"].as_str().unwrap_or_default() == namespace
            })
        };
        Ok(objects.filter(is_wanted).map(|object| self.with_status(kind, object)).collect())
    }

    pub async fn get(&self, place: &Place) -> Result<Option<Value>, Problem> {
        let found = self.found(place.kind)?.into_iter().find(|found| is_at(&found.object, place));
        Ok(found.map(|found| self.with_status(place.kind, found.object)))
    }

    pub async fn put(&self, place: &Place, spec: &Value, before: Option<&Value>) -> Result<Value, Problem> {
        self.write(place, spec, &Value::Null, before).await
    }

    /// The spec stays as it is.
    pub async fn annotate(
        &self,
        place: &Place,
        annotations: &Value,
        before: &Value,
    ) -> Result<Value, Problem> {
        let mut all = before["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        all.extend(annotations.as_object().cloned().unwrap_or_default());
        self.write(place, &before["spec"], &Value::Object(all), Some(before)).await
    }

    async fn write(
        &self,
        place: &Place,
        spec: &Value,
        annotations: &Value,
        before: Option<&Value>,
    ) -> Result<Value, Problem> {
        let _one = self.writing.lock().await;
        let path = self.own_path_of(place, before)?;
        let mut metadata = json!({"name": place.name});
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        if !place.namespace.is_empty() {
            metadata["namespace"] = json!(place.namespace);
        }
        let object = json!({
            "apiVersion": "cordwood.dev/v1alpha1", "kind": place.kind.name(), "metadata": metadata, "spec": spec,
        });
        let body = serde_yaml::to_string(&object).map_err(|error| failed(&path, &error))?;
        let text = format!("{HEAD}{body}");
        self.check(&path, Some(&text))?;
        write(&self.dir, &path, &text).map_err(|error| failed(&path, &error))?;
        Ok(self.with_status(place.kind, with_version(object)))
    }

    pub async fn delete(&self, place: &Place, before: &Value) -> Result<(), Problem> {
        let _one = self.writing.lock().await;
        let path = self.own_path_of(place, Some(before))?;
        self.check(&path, None)?;
        std::fs::remove_file(&path).map_err(|error| failed(&path, &error))
    }

    /// The file that a resource has or gets; what is there is as it was read.
    fn own_path_of(&self, place: &Place, before: Option<&Value>) -> Result<PathBuf, Problem> {
        let now = self.found(place.kind)?.into_iter().find(|found| is_at(&found.object, place));
        let own = self.dir.join(file_name(place));
        match (now, before) {
            (None, None) => Ok(own),
            (Some(now), Some(before)) if version(&now.object) == version(before) => {
                if now.path == own {
                    Ok(own)
                } else {
                    Err(Problem::kept_by_hand(&now.path))
                }
            }
            _ => Err(Problem::changed_meanwhile()),
        }
    }

    /// Whether the folder can be followed with this file as it would be.
    fn check(&self, path: &Path, text: Option<&str>) -> Result<(), Problem> {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let mut all = sources(&self.dir).map_err(|error| failed(&self.dir, &error))?;
        let before = in_force(&all, now_ms);
        all.retain(|source| source.path != path);
        if let Some(text) = text {
            all.push(Source { path: path.to_owned(), text: Ok(text.to_owned()), changed_ms: now_ms });
        }
        let Err(problems) = in_force(&all, now_ms) else { return Ok(()) };
        match before {
            Ok(_) => Err(Problem::does_not_fit(problems.join("; "))),
            Err(problems) => Err(Problem::broken_folder(problems.join("; "))),
        }
    }

    fn found(&self, kind: Kind) -> Result<Vec<Found>, Problem> {
        let sources = sources(&self.dir).map_err(|error| failed(&self.dir, &error))?;
        let mut found = Vec::new();
        for source in sources {
            for document in serde_yaml::Deserializer::from_str(source.text.as_deref().unwrap_or_default()) {
                // What is no YAML is told by who follows the folder, and nothing can be read behind it.
                let Ok(object) = Value::deserialize(document) else { break };
                if object["kind"] == kind.name() && object["metadata"]["name"].is_string() {
                    found.push(Found { object: with_version(object), path: source.path.clone() });
                }
            }
        }
        Ok(found)
    }

    fn with_status(&self, kind: Kind, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let id = match (kind, object["metadata"]["namespace"].as_str()) {
            (Kind::Levels, namespace) => format!("{}/{name}", namespace.unwrap_or("default")),
            _ => name.to_owned(),
        };
        if let Some(status) = (self.status)(kind.name(), &id) {
            object["status"] = status;
        }
        object
    }
}

fn is_at(object: &Value, place: &Place) -> bool {
    let metadata = &object["metadata"];
    metadata["name"] == place.name.as_str()
        && metadata["namespace"].as_str().unwrap_or_default() == place.namespace
}

/// What names this very content.
fn with_version(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    let spec = object["spec"].to_string();
    let hash = Sha256::digest(spec.as_bytes());
    let version: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if object["metadata"].is_object() {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    object
}

/// `_` is in no name of a resource.
fn file_name(place: &Place) -> String {
    let mut stem = format!("{OWN}{}_{}_{}", place.kind.plural(), place.namespace, place.name);
    if stem.len() > NAME_BYTES_MAX {
        let hash = Sha256::digest(stem.as_bytes());
        stem.truncate(NAME_BYTES_MAX);
        stem.extend(hash.iter().take(8).map(|byte| format!("{byte:02x}")));
    }
    format!("{stem}.yaml")
}

/// Whole or not at all. The name that it has meanwhile is no resource's.
fn write(dir: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = dir.join(format!(".{OWN}{}", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(path = %path.display(), %error, "the folder of resources");
    Problem::no_folder()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn folder(dir: &Path) -> Folder {
        Folder::new(dir.to_owned(), Arc::new(|kind, id| Some(json!(format!("{kind} {id}")))))
    }

    fn policy(name: &str) -> Place {
        Place { kind: Kind::Retention, namespace: String::new(), name: name.to_owned() }
    }

    #[tokio::test]
    async fn a_resource_has_a_file_of_its_own_and_those_of_people_stay() {
        let dir = tempfile::tempdir().unwrap();
        let by_hand = "# why\napiVersion: cordwood.dev/v1alpha1\nkind: LogRetentionPolicy\nmetadata: {name: hand}\nspec: {}\n";
        std::fs::write(dir.path().join("hand.yaml"), by_hand).unwrap();
        let folder = folder(dir.path());
        let spec = json!({"retention": {"info": "3d"}});
        let made = folder.put(&policy("shop"), &spec, None).await.unwrap();
        assert_eq!((&made["spec"], &made["status"]), (&spec, &json!("LogRetentionPolicy shop")));
        let names = |objects: &[Value]| -> Vec<String> {
            objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&folder.list(Kind::Retention, None).await.unwrap()), ["shop", "hand"]);
        assert_eq!(folder.get(&policy("shop")).await.unwrap().unwrap(), made);
        // Who has not seen it as it is changes nothing.
        let other = json!({"retention": {"info": "4d"}});
        assert!(folder.put(&policy("shop"), &other, None).await.is_err());
        let changed = folder.put(&policy("shop"), &other, Some(&made)).await.unwrap();
        assert!(folder.put(&policy("shop"), &spec, Some(&made)).await.is_err());
        assert_ne!(version(&changed), version(&made));
        // An approval leaves the spec as it is, and a change of the spec leaves none.
        let named = json!({"cordwood.dev/approve-plan": "686788921e15984c"});
        let approved = folder.annotate(&policy("shop"), &named, &changed).await.unwrap();
        assert_eq!((&approved["spec"], &approved["metadata"]["annotations"]), (&other, &named));
        assert_eq!(folder.get(&policy("shop")).await.unwrap().unwrap(), approved);
        let changed = folder.put(&policy("shop"), &other, Some(&approved)).await.unwrap();
        assert!(changed["metadata"]["annotations"].is_null());
        // A person's file is not written.
        let hand = folder.get(&policy("hand")).await.unwrap().unwrap();
        let refused = folder.put(&policy("hand"), &spec, Some(&hand)).await.unwrap_err();
        assert!(refused.detail().contains("hand.yaml"), "{}", refused.detail());
        assert!(folder.delete(&policy("hand"), &hand).await.is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("hand.yaml")).unwrap(), by_hand);
        folder.delete(&policy("shop"), &changed).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_the_folder_as_a_whole_does_not_bear_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let default =
            |name: &str| Place { kind: Kind::ClusterLevels, namespace: String::new(), name: name.to_owned() };
        let spec = json!({"level": "INFO", "default": true});
        folder.put(&default("first"), &spec, None).await.unwrap();
        let refused = folder.put(&default("second"), &spec, None).await.unwrap_err();
        assert!(refused.detail().contains("one per scope"), "{}", refused.detail());
        std::fs::write(dir.path().join("broken.yaml"), "kind: [").unwrap();
        let refused = folder.put(&policy("shop"), &json!({}), None).await.unwrap_err();
        assert!(refused.detail().contains("broken.yaml"), "{}", refused.detail());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn two_resources_never_have_one_file() {
        let place = |namespace: &str, name: &str| Place {
            kind: Kind::Levels,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let long = "a".repeat(253);
        let names =
            [place("a", "b"), place("", "a.b"), place("a.b", ""), place(&long, "b"), place(&long, "c")];
        let names: std::collections::BTreeSet<String> = names.iter().map(file_name).collect();
        assert_eq!(names.len(), 5);
        assert!(names.iter().all(|name| name.len() <= 255));
    }
}
