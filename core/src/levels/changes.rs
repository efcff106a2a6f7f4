//! Compares two generations of level rules: which rules began, changed and ended. Each is an audit record.

use std::fmt;

use serde::Serialize;

use super::{LevelRule, LevelRules};

/// What became of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Became {
    Began,
    Changed,
    /// At its time.
    Expired,
    /// Before its time: its resource is gone, or it has no room any more.
    Removed,
}

/// One rule that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleChange<'a> {
    pub became: Became,
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<&'a LevelRule>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<&'a LevelRule>,
}

impl RuleChange<'_> {
    /// What an audit record calls it.
    pub fn action(&self) -> &'static str {
        match self.became {
            Became::Began => "level-rule-began",
            Became::Changed => "level-rule-changed",
            Became::Expired | Became::Removed => "level-rule-ended",
        }
    }
}

impl fmt::Display for RuleChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rule) = self.after.or(self.before) else { return Ok(()) };
        let what = match self.became {
            Became::Began => "began",
            Became::Changed => "changed",
            Became::Expired => "has expired",
            Became::Removed => "was removed",
        };
        write!(f, "level rule {} {what}", rule.id)?;
        match (&rule.namespace, self.after) {
            (Some(namespace), Some(rule)) => {
                write!(f, ": lines below {} in namespace {namespace}", rule.level)
            }
            (None, Some(rule)) => write!(f, ": lines below {} in all namespaces", rule.level),
            (_, None) => Ok(()),
        }
    }
}

/// All rules that differ, by id.
pub fn changes<'a>(before: &'a LevelRules, after: &'a LevelRules, now_ms: i64) -> Vec<RuleChange<'a>> {
    let ended = before.all().filter(|rule| after.get(&rule.id).is_none()).map(|rule| {
        let is_over = rule.expires_at_ms.is_some_and(|end| end <= now_ms);
        let became = if is_over { Became::Expired } else { Became::Removed };
        RuleChange { became, before: Some(rule), after: None }
    });
    let others = after.all().filter_map(|rule| match before.get(&rule.id) {
        None => Some(RuleChange { became: Became::Began, before: None, after: Some(rule) }),
        Some(was) if was != rule => {
            Some(RuleChange { became: Became::Changed, before: Some(was), after: Some(rule) })
        }
        Some(_) => None,
    });
    let mut found: Vec<RuleChange<'_>> = ended.chain(others).collect();
    found.sort_by(|a, b| a.id().cmp(b.id()));
    found
}

impl<'a> RuleChange<'a> {
    fn id(&self) -> &'a str {
        self.after.or(self.before).map_or("", |rule| rule.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(id: &str, level: &str, expires_at_ms: Option<i64>) -> LevelRule {
        let namespace = id.split_once('/').map(|(namespace, _)| namespace);
        let rule = json!({"id": id, "level": level, "expiresAtMs": expires_at_ms, "namespace": namespace});
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn each_rule_that_began_changed_or_ended_is_told_once() {
        let before = LevelRules::of(
            7,
            [
                rule("same", "WARN", Some(99)),
                rule("shop/over", "WARN", Some(50)),
                rule("shop/gone", "WARN", Some(51)),
                rule("default", "INFO", None),
            ],
        );
        let after = LevelRules::of(
            8,
            [
                rule("same", "WARN", Some(99)),
                rule("shop/new", "ERROR", Some(80)),
                rule("default", "DEBUG", None),
            ],
        );
        let said: Vec<String> = changes(&before, &after, 50)
            .iter()
            .map(|change| format!("{}: {change}", change.action()))
            .collect();
        assert_eq!(
            said,
            [
                "level-rule-changed: level rule default changed: lines below DEBUG in all namespaces",
                "level-rule-ended: level rule shop/gone was removed",
                "level-rule-began: level rule shop/new began: lines below ERROR in namespace shop",
                "level-rule-ended: level rule shop/over has expired",
            ]
        );
        assert_eq!(changes(&after, &after, 50), []);
        let metadata = serde_json::to_value(&changes(&before, &after, 50)[0]).unwrap();
        assert_eq!(metadata["became"], "changed");
        assert_eq!(
            (&metadata["before"]["level"], &metadata["after"]["level"]),
            (&json!("INFO"), &json!("DEBUG"))
        );
    }
}
