//! What docs/operations.md gives to Argo CD (health in Lua) and to Flux (`healthCheckExprs` in CEL), taken from the document and run as these
//! programs run it.
//!
//! Argo CD (util/lua/lua.go): Lua 5.1 with the base and table libraries, the object as the global `obj`; the answer is a table with `status`
//! and `message`. Flux (RFC 0009): an object whose `observedGeneration` is another is in progress; then `inProgress`, `failed` and `current`
//! are asked in this order, with the object's top-level fields as variables; if none is true, it is in progress.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cel::Value as Cel;
use cel::parser::Parser;
use cordwood_tests::kstatus::Kstatus;
use mlua::serde::SerializeOptions;
use mlua::{Lua, LuaOptions, LuaSerdeExt as _, StdLib, Table};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../../docs/operations.md");
const ARGO_KEY: &str = "resource.customizations.health.cordwood.dev_LogRetentionPolicy";
/// What Argo CD takes for a health.
const HEALTHS: [&str; 6] = ["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"];

/// The one YAML block of the document that has this text.
fn block(text: &str) -> Result<Value> {
    let blocks = DOCUMENT.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let found: Vec<&str> = blocks.filter(|block| block.contains(text)).collect();
    ensure!(found.len() == 1, "{} blocks of docs/operations.md have {text}", found.len());
    Ok(serde_yaml::from_str(found[0])?)
}

/// What Argo CD shows of an object: its health and the message.
fn argo(object: &Value) -> Result<(String, String)> {
    let config = block(ARGO_KEY)?;
    let script = config["data"][ARGO_KEY].as_str().context("the script")?;
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default())?;
    // What is null is nil there.
    let plain = SerializeOptions::new()
        .set_array_metatable(false)
        .serialize_none_to_null(false)
        .serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, plain)?)?;
    let answer: Table = lua.load(script).eval()?;
    let (status, message): (String, String) = (answer.get("status")?, answer.get("message")?);
    ensure!(HEALTHS.contains(&status.as_str()), "{status:?} is no health");
    ensure!(answer.pairs::<String, String>().count() == 2, "more than status and message");
    Ok((status, message))
}

/// What Flux makes of an object, by kstatus's names.
fn flux(object: &Value) -> Result<&'static str> {
    let (observed, generation) = (&object["status"]["observedGeneration"], &object["metadata"]["generation"]);
    if observed.is_i64() && observed != generation {
        return Ok("InProgress");
    }
    let kustomization = block("healthCheckExprs")?;
    let check = &kustomization["spec"]["healthCheckExprs"][0];
    for (field, status) in [("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")] {
        let expression = check[field].as_str().with_context(|| format!("no {field}"))?;
        let parsed = Parser::new().enable_optional_syntax(true).parse(expression);
        let parsed = parsed.map_err(|errors| anyhow!("{field}: {errors}"))?;
        let mut context = cel::Context::default();
        for (name, value) in object.as_object().context("an object")? {
            context.add_variable(name.as_str(), value).map_err(|error| anyhow!("{name}: {error}"))?;
        }
        match Cel::resolve(&parsed, &context).map_err(|error| anyhow!("{field}: {error}"))? {
            Cel::Bool(true) => return Ok(status),
            Cel::Bool(false) => {}
            other => bail!("{field} is {other:?}"),
        }
    }
    Ok("InProgress")
}

/// Both say of an object what kstatus says, and Argo CD shows the message of `Ready`.
pub fn agree(object: &Value, wanted: &Kstatus) -> Result<()> {
    let (health, status) = match wanted {
        Kstatus::Current => ("Healthy", "Current"),
        Kstatus::InProgress(_) => ("Progressing", "InProgress"),
        Kstatus::Failed(_) => ("Degraded", "Failed"),
        Kstatus::Terminating => bail!("a deletion is seen by the programs themselves"),
    };
    let conditions = object["status"]["conditions"].as_array().context("conditions")?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("Ready")?;
    let message = ready["message"].as_str().context("a message")?;
    let said = argo(object)?;
    ensure!(said == (health.to_owned(), message.to_owned()), "Argo CD: {said:?}, not {health}: {message}");
    let said = flux(object)?;
    ensure!(said == status, "Flux: {said}, not {status}");
    Ok(())
}

/// An object of generation 2 with these conditions, each `type=status` with the message `why TYPE`.
fn object(observed: i64, conditions: &[(&str, &str)]) -> Value {
    let condition = |(kind, status): &(&str, &str)| {
        json!({
            "type": kind, "status": status, "reason": "Why", "message": format!("why {kind}"),
            "observedGeneration": observed, "lastTransitionTime": "2026-11-18T12:00:00Z",
        })
    };
    json!({
        "apiVersion": "cordwood.dev/v1alpha1",
        "kind": "LogRetentionPolicy",
        "metadata": {"name": "shop", "generation": 2},
        "spec": {"suspend": false},
        "status": {
            "observedGeneration": observed,
            "conditions": conditions.iter().map(condition).collect::<Vec<_>>(),
            "oldestRecord": null,
        },
    })
}

#[test]
fn what_the_document_gives_to_argo_cd_and_flux_runs() -> Result<()> {
    const IN_FORCE: [(&str, &str); 3] = [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")];
    const ON_ITS_WAY: [(&str, &str); 3] = [("Ready", "False"), ("Reconciling", "True"), ("Stalled", "False")];
    const STUCK: [(&str, &str); 3] = [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")];
    const UNSEEN: &str = "the operator has not seen it yet";
    let held = [&IN_FORCE[..], &[("Accepted", "True"), ("Held", "True")]].concat();
    for (name, object, health, message, status) in [
        ("in force", object(2, &IN_FORCE), "Healthy", "why Ready", "Current"),
        ("in force, and something waits", object(2, &held), "Healthy", "why Ready", "Current"),
        ("on its way", object(2, &ON_ITS_WAY), "Progressing", "why Ready", "InProgress"),
        ("stuck", object(2, &STUCK), "Degraded", "why Ready", "Failed"),
        ("neither", object(2, &[("Ready", "False")]), "Progressing", "why Ready", "InProgress"),
        ("in force before an edit", object(1, &IN_FORCE), "Progressing", UNSEEN, "InProgress"),
        ("stuck before an edit", object(1, &STUCK), "Progressing", UNSEEN, "InProgress"),
        ("of a version without Ready", object(2, &[("Valid", "True")]), "Progressing", UNSEEN, "InProgress"),
        ("without conditions", object(2, &[]), "Progressing", UNSEEN, "InProgress"),
    ] {
        assert_eq!(argo(&object)?, (health.to_owned(), message.to_owned()), "{name}");
        assert_eq!(flux(&object)?, status, "{name}");
    }
    // What the operator has not seen has no status: Argo CD waits; Flux has no answer, and asks again.
    let mut fresh = object(2, &[]);
    fresh.as_object_mut().context("an object")?.remove("status");
    assert_eq!(argo(&fresh)?, ("Progressing".to_owned(), UNSEEN.to_owned()));
    assert!(flux(&fresh).is_err());
    fresh["status"] = json!({});
    assert_eq!((argo(&fresh)?.0.as_str(), flux(&fresh)?), ("Progressing", "InProgress"));
    Ok(())
}
