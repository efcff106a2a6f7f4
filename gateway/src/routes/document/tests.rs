use std::collections::BTreeSet;

use cordwood_crds::levels::DURATION_MS_MAX;

use super::*;

/// Each place of the document with its schema, as `path/of/names`.
fn walk(at: &str, value: &Value, see: &mut dyn FnMut(&str, &Value)) {
    see(at, value);
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| walk(&format!("{at}/{name}"), value, see));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(at, item, see)),
        _ => {}
    }
}

#[test]
fn every_parameter_says_what_it_accepts() {
    let mut document = document();
    for (method, path, operation) in operations(&mut document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            let one = if schema["type"] == "array" { &schema["items"] } else { schema };
            let is_bounded = schema["type"] != "array" || schema["maxItems"].is_u64();
            let says = match one["type"].as_str() {
                Some("string") => ["enum", "pattern", "format"].iter().any(|word| !one[word].is_null()),
                Some("integer") => one["minimum"].is_u64() && one["maximum"].is_u64(),
                Some("boolean") => true,
                _ => one["anyOf"].is_array(),
            };
            assert!(
                says && is_bounded,
                "{method} {path}, {}: say in accepted.rs what it accepts; now {schema}",
                parameter["name"]
            );
        }
    }
}

#[test]
fn every_object_says_what_it_holds() {
    let document = document();
    let mut bare = BTreeSet::new();
    let mut missing = BTreeSet::new();
    walk("", &document["components"]["schemas"], &mut |at, value| {
        let is_object = value["type"] == "object";
        if is_object && value["properties"].is_null() && value["additionalProperties"].is_null() {
            bare.insert(at.to_owned());
        }
        if let Some(name) = value["$ref"].as_str() {
            let name = name.trim_start_matches("#/components/schemas/");
            if document["components"]["schemas"][name].is_null() {
                missing.insert(name.to_owned());
            }
        }
    });
    assert!(bare.is_empty() && missing.is_empty(), "{bare:?} {missing:?}");
    let whole = document.to_string();
    assert!(!whole.contains("x-kubernetes-"));
    // What a level may last.
    let quiet = &document["components"]["schemas"]["Quiet"]["properties"];
    assert_eq!(quiet["ttlSeconds"]["maximum"], DURATION_MS_MAX / 1000);
}

#[test]
fn null_stands_where_it_is_written_alone() {
    let document = document();
    let mut with_null = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        walk("", schema, &mut |_, value| {
            if value == "null" {
                with_null.insert(name.as_str());
            }
        });
    }
    assert_eq!(with_null, BTreeSet::from(["PluginLine", "Quiet"]));
}

#[test]
fn resources_are_those_of_the_definitions() {
    let schemas = &document()["components"]["schemas"];
    for kind in ["LogRetentionPolicy", "LogLevelConfig", "ClusterLogLevelConfig"] {
        assert_eq!(schemas[kind]["properties"]["kind"]["enum"][0], kind);
        assert_eq!(schemas[kind]["properties"]["apiVersion"]["enum"][0], "cordwood.dev/v1alpha1");
        for part in ["Spec", "Status"] {
            assert!(schemas[format!("{kind}{part}")]["properties"].is_object(), "{kind}{part}");
        }
    }
    let level = &schemas["LogLevelConfigSpec"]["properties"]["level"];
    assert!(level["enum"].as_array().unwrap().contains(&Value::from("DEBUG")), "{level}");
}
