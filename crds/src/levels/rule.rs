//! Converts a level config into the rule that agents take, or lists everything that is wrong with it.

use cordwood_core::levels::{LabelExpression, LabelOperator, LevelRule};
use cordwood_core::retention::duration;

use super::push::ONE_PUSH;
use super::{LevelFields, LevelObject, OperatorSpec, Requirement};
use crate::schema;
use crate::{Problem, problem};

pub(super) const BOTH_ENDS: &str = "give either duration or expiresAt, not both";
pub(super) const DEFAULT_ENDS: &str = "a default has no end: remove duration, expiresAt and ttlAfterExpiry";
pub(super) const DEFAULT_SELECTS: &str =
    "a default is for everything: remove selector, containers and service";

impl LevelObject {
    /// The rule, or everything that is wrong with it. `started_at_ms`: see [`LevelObject::started_at_ms`]. `cap_ms`: the longest
    /// that a rule may last; a default lasts until it is deleted.
    pub fn to_rule(&self, started_at_ms: i64, cap_ms: i64) -> Result<LevelRule, Vec<Problem>> {
        let fields = &self.fields;
        let mut problems = Vec::new();
        let end = if self.default { self.no_end(&mut problems) } else { fields.end_ms(started_at_ms) };
        let below = fields.sample.map_or(0.0, |sample| sample.below);
        if !(0.0..=1.0).contains(&below) {
            problems.push(problem("spec.sample.below", "must be from 0 (keep none) to 1 (keep all)"));
        }
        for requirement in &fields.selector.match_expressions {
            let needs = matches!(requirement.operator, OperatorSpec::In | OperatorSpec::NotIn);
            if needs == requirement.values.is_empty() {
                let message =
                    if needs { "In and NotIn need values" } else { "Exists and DoesNotExist take no values" };
                problems.push(problem("spec.selector.matchExpressions", message));
            }
        }
        problems.extend(fields.spelling());
        let expires_at_ms = match end {
            Ok(end) => end.map(|at| at.min(started_at_ms.saturating_add(cap_ms))),
            Err(found) => {
                problems.push(found);
                None
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(LevelRule {
            id: self.id(),
            namespace: self.namespace().map(str::to_owned),
            match_labels: fields.selector.match_labels.clone(),
            match_expressions: fields.selector.match_expressions.iter().map(expression).collect(),
            containers: fields.containers.clone(),
            service: fields.service.clone(),
            scope: fields.scope.into(),
            default: self.default,
            level: fields.level.into(),
            unleveled: fields.unleveled.into(),
            sample_below: below,
            debug_scopes: fields.debug_scopes,
            expires_at_ms,
            created_at_ms: started_at_ms,
        })
    }

    /// That a default says neither an end nor for whom it is.
    fn no_end(&self, problems: &mut Vec<Problem>) -> Result<Option<i64>, Problem> {
        let fields = &self.fields;
        let selects = !fields.selector.match_labels.is_empty()
            || !fields.selector.match_expressions.is_empty()
            || !fields.containers.is_empty()
            || fields.service.is_some();
        if selects {
            problems.push(problem("spec.default", DEFAULT_SELECTS));
        }
        if fields.duration.is_some() || fields.expires_at.is_some() || fields.ttl_after_expiry.is_some() {
            return Err(problem("spec.default", DEFAULT_ENDS));
        }
        Ok(None)
    }
}

impl LevelFields {
    /// How long the resource stays after it has ended; `None`: until somebody deletes it.
    pub fn ttl_ms(&self) -> Option<i64> {
        duration::parse(self.ttl_after_expiry.as_deref()?).ok().map(|us| us / 1000)
    }

    /// When it ends.
    fn end_ms(&self, started_at_ms: i64) -> Result<Option<i64>, Problem> {
        match (&self.duration, &self.expires_at) {
            (Some(_), Some(_)) => Err(problem("spec.duration", BOTH_ENDS)),
            (None, None) => Err(problem("spec.duration", "give duration (such as 30m) or expiresAt")),
            (None, Some(time)) => Ok(Some(time.0.as_millisecond())),
            (Some(text), None) => match duration::parse(text) {
                Ok(us) if us > 0 && schema::matches(schema::LEVEL_DURATION, text) => {
                    Ok(Some(started_at_ms.saturating_add(us / 1000)))
                }
                Ok(_) => Err(problem("spec.duration", schema::LEVEL_DURATION_MESSAGE)),
                Err(error) => Err(problem("spec.duration", error.to_string())),
            },
        }
    }
}

impl LevelFields {
    /// What is wrong with names, labels, paths, by the patterns of the API server's rules.
    fn spelling(&self) -> Vec<Problem> {
        let spec = self;
        let mut problems = Vec::new();
        let mut check = |is_good: bool, field: &str, message: &str| {
            if !is_good {
                problems.push(problem(field, message));
            }
        };
        for (key, value) in &spec.selector.match_labels {
            let field = "spec.selector.matchLabels";
            check(schema::matches(schema::LABEL_KEY, key), field, schema::LABEL_KEY_MESSAGE);
            check(schema::matches(schema::LABEL_VALUE, value), field, schema::LABEL_VALUE_MESSAGE);
        }
        for requirement in &spec.selector.match_expressions {
            let field = "spec.selector.matchExpressions";
            check(schema::matches(schema::LABEL_KEY, &requirement.key), field, schema::LABEL_KEY_MESSAGE);
            for value in &requirement.values {
                check(schema::matches(schema::LABEL_VALUE, value), field, schema::LABEL_VALUE_MESSAGE);
            }
        }
        for name in &spec.containers {
            let is_name = schema::matches(schema::CONTAINER_NAME, name);
            check(is_name, "spec.containers", schema::CONTAINER_NAME_MESSAGE);
        }
        if let Some(text) = &spec.ttl_after_expiry {
            let is_one = text == "0s" || (!text.is_empty() && schema::matches(schema::DURATION, text));
            check(is_one, "spec.ttlAfterExpiry", schema::GRACE_MESSAGE);
        }
        let Some(push) = &spec.push else { return problems };
        let ways = [
            push.spring_boot.is_some(),
            push.zap.is_some(),
            push.envoy.is_some(),
            push.cordwood.is_some(),
            push.http.is_some(),
        ];
        check(ways.iter().filter(|way| **way).count() == 1, "spec.push", ONE_PUSH);
        let paths = [push.zap.as_ref().map(|zap| &zap.path), push.http.as_ref().map(|http| &http.path)];
        for path in paths.into_iter().flatten() {
            let is_path =
                schema::matches(schema::HTTP_PATH, path) && !path.contains("..") && !path.contains("//");
            check(is_path, "spec.push", schema::HTTP_PATH_MESSAGE);
        }
        problems
    }
}

fn expression(requirement: &Requirement) -> LabelExpression {
    LabelExpression {
        key: requirement.key.clone(),
        operator: match requirement.operator {
            OperatorSpec::In => LabelOperator::In,
            OperatorSpec::NotIn => LabelOperator::NotIn,
            OperatorSpec::Exists => LabelOperator::Exists,
            OperatorSpec::DoesNotExist => LabelOperator::DoesNotExist,
        },
        values: requirement.values.clone(),
    }
}
