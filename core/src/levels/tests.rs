use super::*;
use crate::gate::Decision::{Gated, Keep};

fn rule(id: &str) -> LevelRule {
    LevelRule {
        id: id.to_owned(),
        namespace: None,
        match_labels: BTreeMap::new(),
        match_expressions: Vec::new(),
        containers: Vec::new(),
        service: None,
        level: Level::Error,
        sample_below: 0.0,
        expires_at_ms: None,
        created_at_ms: 0,
    }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn expression(key: &str, operator: LabelOperator, values: &[&str]) -> LabelExpression {
    LabelExpression {
        key: key.to_owned(),
        operator,
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    }
}

#[test]
fn which_containers_a_rule_means() {
    use LabelOperator::*;
    let labels = labels("app=checkout tier=web");
    let target =
        GateTarget { namespace: "shop", labels: Some(&labels), container: "main", service: "checkout" };
    let expressions = |rows: &[LabelExpression]| LevelRule { match_expressions: rows.to_vec(), ..rule("r") };
    let strings = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    for (matches, rule) in [
        (true, rule("everything")),
        (true, LevelRule { namespace: Some("shop".into()), ..rule("r") }),
        (false, LevelRule { namespace: Some("shop-eu".into()), ..rule("r") }),
        (true, LevelRule { match_labels: super::tests::labels("app=checkout"), ..rule("r") }),
        (false, LevelRule { match_labels: super::tests::labels("app=checkout tier=db"), ..rule("r") }),
        (false, LevelRule { match_labels: super::tests::labels("missing=x"), ..rule("r") }),
        (true, LevelRule { containers: strings(&["side", "main"]), ..rule("r") }),
        (false, LevelRule { containers: strings(&["side"]), ..rule("r") }),
        (true, LevelRule { service: Some("checkout".into()), ..rule("r") }),
        (false, LevelRule { service: Some("cart".into()), ..rule("r") }),
        (true, expressions(&[expression("app", In, &["cart", "checkout"])])),
        (false, expressions(&[expression("app", In, &["cart"])])),
        (false, expressions(&[expression("missing", In, &["x"])])),
        (true, expressions(&[expression("app", NotIn, &["cart"])])),
        (false, expressions(&[expression("app", NotIn, &["checkout"])])),
        (true, expressions(&[expression("missing", NotIn, &["x"])])),
        (true, expressions(&[expression("app", Exists, &[])])),
        (false, expressions(&[expression("missing", Exists, &[])])),
        (true, expressions(&[expression("missing", DoesNotExist, &[])])),
        (false, expressions(&[expression("app", Exists, &[]), expression("tier", DoesNotExist, &[])])),
    ] {
        assert_eq!(rule.matches(&target), matches, "{rule:?}");
    }
}

/// Of a pod that is remembered only by its name: `DoesNotExist` matched every such one, and dropped lines that no rule meant.
#[test]
fn labels_that_nobody_knows_are_not_absent_labels() {
    use LabelOperator::*;
    let target = GateTarget { namespace: "shop", labels: None, container: "main", service: "checkout" };
    let by = |row| LevelRule { match_expressions: vec![row], ..rule("r") };
    for rule in [
        by(expression("debug", DoesNotExist, &[])),
        by(expression("debug", NotIn, &["on"])),
        by(expression("debug", Exists, &[])),
        LevelRule { match_labels: labels("app=checkout"), ..rule("r") },
    ] {
        assert!(!rule.matches(&target), "{rule:?}");
    }
    assert!(
        LevelRule { namespace: Some("shop".into()), service: Some("checkout".into()), ..rule("r") }
            .matches(&target)
    );
}

fn in_force(rules: Vec<LevelRule>, now_ms: i64) -> Option<String> {
    let labels = BTreeMap::new();
    let target = GateTarget { namespace: "shop", labels: Some(&labels), container: "main", service: "" };
    let gate = LevelRules { generation: 1, rules }.gate_for(&target);
    gate.in_force(now_ms).map(|rule| rule.id.clone())
}

#[test]
fn the_most_specific_then_the_newest_is_in_force() {
    let own =
        |id: &str, created_at_ms| LevelRule { namespace: Some("shop".into()), created_at_ms, ..rule(id) };
    let wide = |id: &str, created_at_ms| LevelRule { created_at_ms, ..rule(id) };
    let until = |rule: LevelRule, expires_at_ms| LevelRule { expires_at_ms: Some(expires_at_ms), ..rule };
    assert_eq!(in_force(vec![], 0), None);
    assert_eq!(in_force(vec![wide("new", 9), own("old", 1)], 0).as_deref(), Some("old"));
    assert_eq!(in_force(vec![own("a", 1), own("b", 2), wide("c", 3)], 0).as_deref(), Some("b"));
    assert_eq!(in_force(vec![own("a", 1), own("b", 1)], 0).as_deref(), Some("b"));
    // When it expires, the next one is: to the millisecond.
    let rules = vec![until(own("short", 5), 100), until(own("long", 4), 200), wide("wide", 9)];
    for (now_ms, id) in [(99, "short"), (100, "long"), (199, "long"), (200, "wide"), (i64::MAX, "wide")] {
        assert_eq!(in_force(rules.clone(), now_ms).as_deref(), Some(id), "at {now_ms}");
    }
    assert_eq!(in_force(vec![until(wide("x", 1), 100)], 100), None);
}

#[test]
fn as_json_and_back() {
    let json = r#"{"generation":7,"rules":[{"id":"shop/quiet","namespace":"shop","matchLabels":{"app":"checkout"},"matchExpressions":[{"key":"tier","operator":"In","values":["web"]}],"containers":["main"],"service":"checkout","level":"ERROR","sampleBelow":0.01,"expiresAtMs":1795227871123,"createdAtMs":5}]}"#;
    let rules: LevelRules = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&rules).unwrap(), json);
    // What an older operator does not know of is absent, and means "every".
    let rules: LevelRules =
        serde_json::from_str(r#"{"generation":1,"rules":[{"id":"r","level":"WARN"}]}"#).unwrap();
    assert_eq!(rules.rules, [LevelRule { level: Level::Warn, ..rule("r") }]);
}

#[test]
fn the_gate_of_a_rule_drops_what_it_says() {
    let labels = labels("app=checkout");
    let target = GateTarget { namespace: "shop", labels: Some(&labels), container: "main", service: "" };
    let rules = LevelRules {
        generation: 1,
        rules: vec![LevelRule { level: Level::Warn, expires_at_ms: Some(10), ..rule("r") }],
    };
    let gate = rules.gate_for(&target);
    assert_eq!(gate.decide(Level::Info, false, 9, 1), Gated);
    assert_eq!(gate.decide(Level::Warn, false, 9, 1), Keep);
    assert_eq!(gate.decide(Level::Info, false, 10, 1), Keep);
    let other = GateTarget { namespace: "other", ..target };
    let own =
        LevelRules { generation: 2, rules: vec![LevelRule { namespace: Some("shop".into()), ..rule("r") }] };
    assert_eq!(own.gate_for(&other), Gate::default());
}
