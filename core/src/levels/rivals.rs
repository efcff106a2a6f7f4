//! Finds rules that can be about the same records. The one of higher precedence decides, and the statuses of both say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{LabelOperator, LevelRule, LevelRules};

/// Ids that are named of many.
const NAMED_MAX: usize = 5;

/// Of one rule: those that can match the same records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rivals {
    /// This one decides, not they.
    pub behind: Named,
    /// They decide, not this one.
    pub before: Named,
}

/// Some ids, of how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    pub ids: Vec<String>,
    pub count: usize,
}

impl Named {
    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.ids.len() < NAMED_MAX {
            self.ids.push(id.to_owned());
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ids.join(", "))?;
        match self.count - self.ids.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Rivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.behind.count > 0 {
            write!(f, "it goes before {}", self.behind)?;
        }
        if self.before.count > 0 {
            let and = if self.behind.count > 0 { "; " } else { "" };
            write!(f, "{and}where both match, {} decides instead of it", self.before)?;
        }
        f.write_str(" (a rule of the pod's own namespace goes before a cluster-wide one, then the newest)")
    }
}

/// Of each rule that has any. A default has none: to give way to every other rule is what it is for.
pub fn rivals(rules: &LevelRules) -> BTreeMap<String, Rivals> {
    let mut found = BTreeMap::<String, Rivals>::new();
    for scope in [&rules.rules, &rules.task_rules] {
        let mut places = BTreeMap::<Option<&str>, Vec<&LevelRule>>::new();
        for rule in scope.iter().filter(|rule| !rule.default) {
            places.entry(rule.namespace.as_deref()).or_default().push(rule);
        }
        let wide = places.remove(&None).unwrap_or_default();
        compare(&wide, &[], &mut found);
        for own in places.values() {
            compare(own, &wide, &mut found);
        }
    }
    found
}

/// All of `own` with each other and with `wide`.
fn compare(own: &[&LevelRule], wide: &[&LevelRule], found: &mut BTreeMap<String, Rivals>) {
    for (place, a) in own.iter().enumerate() {
        for b in own[place + 1..].iter().chain(wide).filter(|b| can_meet(a, b)) {
            let (winner, other) = if a.precedence() > b.precedence() { (a, b) } else { (b, a) };
            found.entry(winner.id.clone()).or_default().behind.add(&other.id);
            found.entry(other.id.clone()).or_default().before.add(&winner.id);
        }
    }
}

/// Whether one container can be meant by both, as far as the rules themselves say.
fn can_meet(a: &LevelRule, b: &LevelRule) -> bool {
    let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    agree(&a.namespace, &b.namespace)
        && agree(&a.service, &b.service)
        && (a.containers.is_empty()
            || b.containers.is_empty()
            || a.containers.iter().any(|name| b.containers.contains(name)))
        && can_be_labelled([a, b])
}

/// What rules ask of one label's value.
#[derive(Default)]
struct Asked<'a> {
    /// One of these; `None`: any.
    values: Option<BTreeSet<&'a str>>,
    not: BTreeSet<&'a str>,
    exists: bool,
    absent: bool,
}

/// Whether a pod can have labels that all the rules' selectors take.
fn can_be_labelled(rules: [&LevelRule; 2]) -> bool {
    let mut asked = BTreeMap::<&str, Asked<'_>>::new();
    for rule in rules {
        for (key, value) in &rule.match_labels {
            asked.entry(key).or_default().one_of([value.as_str()].into());
        }
        for expression in &rule.match_expressions {
            let asked = asked.entry(&expression.key).or_default();
            let values = expression.values.iter().map(String::as_str);
            match expression.operator {
                LabelOperator::In => asked.one_of(values.collect()),
                LabelOperator::NotIn => asked.not.extend(values),
                LabelOperator::Exists => asked.exists = true,
                LabelOperator::DoesNotExist => asked.absent = true,
            }
        }
    }
    asked.values().all(Asked::can_be)
}

impl<'a> Asked<'a> {
    fn one_of(&mut self, values: BTreeSet<&'a str>) {
        self.exists = true;
        self.values = Some(match self.values.take() {
            Some(known) => known.intersection(&values).copied().collect(),
            None => values,
        });
    }

    fn can_be(&self) -> bool {
        if self.absent {
            return !self.exists;
        }
        self.values.as_ref().is_none_or(|values| values.iter().any(|value| !self.not.contains(value)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(id: &str, created_at_ms: i64, what: serde_json::Value) -> LevelRule {
        let mut rule = json!({"id": id, "level": "WARN", "createdAtMs": created_at_ms});
        rule.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        serde_json::from_value(rule).unwrap()
    }

    #[test]
    fn rules_that_cannot_mean_one_container_are_no_rivals() {
        let labels = |key: &str, value: &str| json!({"matchLabels": {key: value}});
        let by = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        for (meet, a, b) in [
            (true, json!({}), json!({})),
            (true, json!({"namespace": "n"}), json!({"namespace": "n"})),
            (false, json!({"namespace": "n"}), json!({"namespace": "m"})),
            (true, json!({"namespace": "n"}), json!({})),
            (false, json!({"service": "a"}), json!({"service": "b"})),
            (true, json!({"service": "a"}), json!({"containers": ["x"]})),
            (false, json!({"containers": ["x", "y"]}), json!({"containers": ["z"]})),
            (true, json!({"containers": ["x", "y"]}), json!({"containers": ["y"]})),
            (false, json!({"scope": "task"}), json!({})),
            (true, json!({"scope": "task"}), json!({"scope": "task"})),
            (false, json!({"default": true}), json!({})),
            (true, labels("app", "a"), labels("tier", "b")),
            (false, labels("app", "a"), labels("app", "b")),
            (true, labels("app", "a"), by("In", &["a", "b"])),
            (false, labels("app", "a"), by("In", &["b", "c"])),
            (false, labels("app", "a"), by("NotIn", &["a"])),
            (true, labels("app", "a"), by("NotIn", &["b"])),
            (true, labels("app", "a"), by("Exists", &[])),
            (false, labels("app", "a"), by("DoesNotExist", &[])),
            (false, by("Exists", &[]), by("DoesNotExist", &[])),
            (true, by("NotIn", &["a"]), by("DoesNotExist", &[])),
            (false, by("In", &["a", "b"]), by("NotIn", &["b", "a"])),
        ] {
            let rules = LevelRules::of(1, [rule("a", 1, a.clone()), rule("b", 2, b.clone())]);
            let found = rivals(&rules);
            assert_eq!((found.len(), found.is_empty()), (if meet { 2 } else { 0 }, !meet), "{a} {b}");
        }
    }

    #[test]
    fn both_say_who_decides() {
        let rules = LevelRules::of(
            1,
            [
                rule("wide", 9, json!({})),
                rule("shop/old", 1, json!({"namespace": "shop"})),
                rule("shop/new", 2, json!({"namespace": "shop"})),
            ],
        );
        let said: Vec<String> = rivals(&rules).values().map(ToString::to_string).collect();
        assert!(said[0].starts_with("it goes before shop/old, wide ("), "{said:?}");
        assert!(
            said[1].starts_with("it goes before wide; where both match, shop/new decides instead of it (")
        );
        assert!(said[2].starts_with("where both match, shop/old, shop/new decides instead of it ("));

        let many = (0..9).map(|number| rule(&format!("n/{number}"), number, json!({"namespace": "n"})));
        let said = rivals(&LevelRules::of(1, many))["n/8"].to_string();
        assert!(said.starts_with("it goes before n/0, n/1, n/2, n/3, n/4 and 3 more ("), "{said}");
    }
}
