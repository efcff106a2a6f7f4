//! Reads one object that the API server returned. Another version of the definition may have stored it with fields of another type:
//! then this one object is invalid, and the others are still read.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Problem, problem};

/// One of our kinds.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// An object of which only this is known. Its spec says nothing.
    fn without_spec(metadata: ObjectMeta, status: Value) -> Self;
}

/// An object and, when its spec cannot be read, why: then `object` is [`Kind::without_spec`].
#[derive(Clone, Debug, PartialEq)]
pub struct Read<K> {
    pub object: K,
    pub problem: Option<Problem>,
}

impl<K> Read<K> {
    /// The same, of another type.
    pub fn map<T>(self, make: impl FnOnce(K) -> T) -> Read<T> {
        Read { object: make(self.object), problem: self.problem }
    }

    /// What follows from the object, or everything that is wrong with it.
    pub fn follow<T>(&self, make: impl FnOnce(&K) -> Result<T, Vec<Problem>>) -> Result<T, Vec<Problem>> {
        match &self.problem {
            Some(problem) => Err(vec![problem.clone()]),
            None => make(&self.object),
        }
    }
}

/// Reads what it can. A status that cannot be read is left out: the operator writes another.
pub fn read<K: Kind>(mut object: DynamicObject) -> Read<K> {
    if let Ok(object) = object.clone().try_parse() {
        return Read { object, problem: None };
    }
    let status = object.data.get_mut("status").map(Value::take).unwrap_or_default();
    match object.clone().try_parse() {
        Ok(object) => Read { object, problem: None },
        Err(error) => Read {
            object: K::without_spec(object.metadata, status),
            problem: Some(problem("spec", error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{LogLevelConfig, LogRetentionPolicy};

    fn of<K: Kind>(spec: Value, status: Value) -> Read<K> {
        let object = json!({"metadata": {"name": "a", "uid": "u"}, "spec": spec, "status": status});
        read(serde_json::from_value(object).unwrap())
    }

    /// One such object made list and watch fail for all.
    #[test]
    fn an_object_of_another_version_keeps_its_name() {
        let policy = of::<LogRetentionPolicy>(json!({"priority": 7}), json!({"partitions": 4}));
        assert_eq!((policy.object.spec.priority, policy.problem), (7, None));
        assert_eq!(policy.object.status.unwrap().partitions, Some(4));

        let status = of::<LogRetentionPolicy>(json!({"priority": 7}), json!({"partitions": "four"}));
        assert_eq!((status.object.spec.priority, status.problem), (7, None));
        assert_eq!(status.object.status, None);

        let spec = of::<LogRetentionPolicy>(json!({"priority": "high"}), json!({"partitions": 4}));
        assert_eq!(spec.object.metadata.uid.as_deref(), Some("u"));
        assert_eq!(spec.object.status.unwrap().partitions, Some(4));
        assert!(spec.problem.unwrap().message.contains("\"high\", expected i32"));

        let level = of::<LogLevelConfig>(json!({"level": 30}), json!("?"));
        assert_eq!((level.object.metadata.name.as_deref(), &level.object.status), (Some("a"), &None));
        assert_eq!(level.problem.unwrap().field, "spec");
    }
}
