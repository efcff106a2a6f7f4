//! Approves a plan that waits, by annotations on its policy that the operator reads. The plan's name covers the spec's generation and what the
//! plan drops, so an approval of one plan never applies to another.

use axum::response::{IntoResponse, Response};
use cordwood_core::retention::APPROVE_ANNOTATION;
use cordwood_crds::APPROVED_BY_ANNOTATION;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::resource::{Body, Resource};
use super::{Administrator, Kind, Place, Verb};
use crate::Gateway;
use crate::problem::Problem;
use crate::routes::json as answer;

/// Which plan is approved.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "for the document; it is read field by field, so that each mistake names its field"
)]
pub struct Approve {
    /// `status.approval.plan` of the policy.
    pub plan: String,
}

/// Approves the plan that the body names, if it is the one that waits.
///
/// # Errors
/// The same where the policy is not there and where it may not be changed.
pub async fn approve(
    gateway: &Gateway,
    who: &Administrator,
    place: &Place,
    body: Body,
) -> Result<Response, Problem> {
    let administration = gateway.administration()?;
    if !gateway.may(who, Verb::Update, place).await? {
        return Err(Problem::no_resource());
    }
    let plan = plan_of(body)?;
    let policy = administration.get(place).await?.ok_or_else(Problem::no_resource)?;
    match policy["status"]["approval"]["plan"].as_str() {
        Some(waits) if waits == plan => {}
        Some(waits) => return Err(Problem::another_plan(waits)),
        None => return Err(Problem::no_plan()),
    }
    let annotations = json!({APPROVE_ANNOTATION: plan, APPROVED_BY_ANNOTATION: who.identity.name()});
    let after = administration.annotate(place, &annotations, &policy).await?;
    who.look.about("resource", format!("{}//{}", Kind::Retention.plural(), place.name));
    who.look.about("approved_plan", plan);
    Ok(answer(&Resource::from(after))?.into_response())
}

fn plan_of(Body(mut fields): Body) -> Result<String, Problem> {
    let one = |field: &str, message: &str| Problem::invalid([(field.to_owned(), message.to_owned())]);
    let plan = match fields.remove("plan") {
        Some(Value::String(plan)) if !plan.trim().is_empty() => plan.trim().to_owned(),
        Some(Value::Null) | None => return Err(one("plan", "missing: status.approval.plan of the policy")),
        Some(_) => return Err(one("plan", "must be status.approval.plan of the policy")),
    };
    match fields.keys().next() {
        Some(other) => Err(one(other, "unknown field; known is plan")),
        None => Ok(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_one_plan() {
        let read = |value: Value| {
            let Value::Object(fields) = value else { panic!("an object") };
            plan_of(Body(fields)).map_err(|problem| format!("{problem:?}"))
        };
        assert_eq!(read(json!({"plan": " 686788921e15984c\n"})).unwrap(), "686788921e15984c");
        for (body, field) in [
            (json!({}), "plan"),
            (json!({"plan": null}), "plan"),
            (json!({"plan": ""}), "plan"),
            (json!({"plan": 5}), "plan"),
            (json!({"plan": "a", "by": "me"}), "by"),
        ] {
            let said = read(body.clone()).unwrap_err();
            assert!(said.contains(field), "{body}: {said}");
        }
    }
}
