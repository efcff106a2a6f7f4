//! Answers leave out a field that has no value: in what is read, null stands only where it is written.

use serde_json::Value;

/// What is written with nulls, and what is sent to the gateway, which takes a null for an absent field.
const WITH_NULLS: [&str; 2] = ["PluginLine", "Quiet"];

pub fn say(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        if !WITH_NULLS.contains(&name.as_str()) {
            without_null(schema);
        }
    }
}

fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(without_null);
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            let Some(Value::Array(forms)) = fields.get_mut("oneOf") else { return };
            forms.retain(|form| form["type"] != "null");
            if forms.len() == 1
                && let Some(Value::Object(only)) = forms.pop()
            {
                fields.remove("oneOf");
                fields.extend(only);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
