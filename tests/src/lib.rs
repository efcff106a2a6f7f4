//! Whole-system tests: the real parts they run against (`env`), container log files without a node (`generated`), agent
//! and writer as processes (`pipeline`), all of it on a node (`release`), what an older version left (`upgrade`), what parts say of themselves (`http`), what existing clients speak (`clients`), an agent alone on Kafka (`shipped`), messages without an agent (`batches`), and the reconciler that says whether every line
//! arrived exactly once (`reconcile`).

pub mod batches;
pub mod beside_ddl;
pub mod bin;
pub mod clients;
pub mod env;
pub mod generated;
pub mod http;
pub mod javascript;
pub mod kstatus;
pub mod many_agents;
pub mod otlp;
pub mod pipeline;
pub mod policies;
pub mod python;
pub mod reconcile;
pub mod release;
pub mod scale;
pub mod shipped;
pub mod upgrade;

pub use bin::bin;
use serde_json::Value;

/// Puts the keys of `more` into `base`, deep.
pub fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}
