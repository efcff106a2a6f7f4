use super::*;
use crate::gate::Decision::{Gated, Keep};
use crate::gate::Look;

fn rule(id: &str) -> LevelRule {
    LevelRule {
        id: id.to_owned(),
        namespace: None,
        match_labels: BTreeMap::new(),
        match_expressions: Vec::new(),
        containers: Vec::new(),
        service: None,
        scope: RuleScope::Application,
        default: false,
        level: Level::Error,
        unleveled: Unleveled::Keep,
        sample_below: 0.0,
        debug_scopes: None,
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
    let target = GateTarget {
        namespace: "shop",
        labels: Some(&labels),
        container: "main",
        service: "checkout",
        is_exempt: false,
    };
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
    let target = GateTarget {
        namespace: "shop",
        labels: None,
        container: "main",
        service: "checkout",
        is_exempt: false,
    };
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
    let target = GateTarget {
        namespace: "shop",
        labels: Some(&labels),
        container: "main",
        service: "",
        is_exempt: false,
    };
    let gate = LevelRules::of(1, rules).gate_for(&target);
    gate.in_force(RuleScope::Application, now_ms).map(|rule| rule.id.clone())
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
    // A default gives way to every rule, and is there again when the rule has ended.
    let default = |id: &str, created_at_ms| LevelRule { default: true, ..wide(id, created_at_ms) };
    let rules = vec![default("always", 99), until(wide("w", 1), 100), until(own("o", 1), 50)];
    for (now_ms, id) in [(49, "o"), (50, "w"), (100, "always"), (i64::MAX, "always")] {
        assert_eq!(in_force(rules.clone(), now_ms).as_deref(), Some(id), "at {now_ms}");
    }
    assert_eq!(in_force(vec![LevelRule { scope: RuleScope::Task, ..wide("task", 1) }], 0), None);
}

#[test]
fn as_json_and_back() {
    let json = r#"{"version":2,"generation":7,"rules":[{"id":"shop/quiet","namespace":"shop","matchLabels":{"app":"checkout"},"matchExpressions":[{"key":"tier","operator":"In","values":["web"]}],"containers":["main"],"service":"checkout","level":"ERROR","unleveled":"drop","sampleBelow":0.01,"expiresAtMs":1795227871123,"createdAtMs":5}],"taskRules":[{"id":"tasks","scope":"task","default":true,"level":"INFO","sampleBelow":0.0,"debugScopes":true,"createdAtMs":0}]}"#;
    let rules = LevelRules::from_json(json).unwrap();
    assert_eq!(serde_json::to_string(&rules).unwrap(), json);
    assert_eq!((rules.len(), rules.get("tasks").unwrap().scope), (2, RuleScope::Task));
}

/// What an agent of the version before did with rules of this one: it knew the fields of [`Old`], and no others.
#[test]
fn an_agent_of_the_version_before_holds_no_record_to_what_it_cannot_tell() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Old {
        generation: u64,
        rules: Vec<OldRule>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct OldRule {
        id: String,
        level: Level,
        expires_at_ms: Option<i64>,
        created_at_ms: i64,
    }
    let candidate = |rule: LevelRule| crate::levels_compile::Candidate { since_ms: rule.created_at_ms, rule };
    let rules = [
        LevelRule { scope: RuleScope::Task, level: Level::Warn, created_at_ms: 5, ..rule("task") },
        LevelRule { default: true, level: Level::Info, created_at_ms: 9, ..rule("default") },
        LevelRule { expires_at_ms: Some(100), created_at_ms: 5, ..rule("quiet") },
    ];
    let rules = crate::levels_compile::compile(rules.map(candidate), &LevelRules::default(), 0).rules;
    let mut old: Old = serde_json::from_str(&serde_json::to_string(&rules).unwrap()).unwrap();
    assert_eq!(old.generation, 1, "it says that it has them");
    // Its order: the newest first.
    old.rules.sort_by_key(|rule| -rule.created_at_ms);
    let seen: Vec<_> =
        old.rules.iter().map(|rule| (rule.id.as_str(), rule.level, rule.expires_at_ms)).collect();
    assert_eq!(seen, [("quiet", Level::Error, Some(100)), ("default", Level::Info, None)]);
}

#[test]
fn rules_of_other_versions() {
    // Of the version before: what it did not know of is absent. A line of no known level passes.
    let old = r#"{"generation":1,"rules":[{"id":"r","level":"WARN"}]}"#;
    let old = LevelRules::from_json(old).unwrap();
    assert_eq!(
        (old.version, old.rules.as_slice()),
        (1, &[LevelRule { level: Level::Warn, ..rule("r") }][..])
    );
    // A field of a later operator that may be left out.
    let more = r#"{"version":2,"generation":3,"rules":[{"id":"r","level":"WARN","colour":"red"}],"mood":1}"#;
    assert_eq!(LevelRules::from_json(more).unwrap().rules, old.rules);
    // A later format: nobody here knows what these rules would have to drop.
    let next = r#"{"version":3,"generation":4,"rules":"elsewhere"}"#;
    let error = LevelRules::from_json(next).unwrap_err();
    assert!(error.contains("version 3, this program knows up to 2: upgrade it"), "{error}");
    assert!(LevelRules::from_json("{").is_err());
}

#[test]
fn the_gate_of_a_rule_drops_what_it_says() {
    let labels = labels("app=checkout");
    let target = GateTarget {
        namespace: "shop",
        labels: Some(&labels),
        container: "main",
        service: "",
        is_exempt: false,
    };
    let warn = LevelRule { level: Level::Warn, expires_at_ms: Some(10), ..rule("r") };
    let debug = LevelRule { scope: RuleScope::Task, level: Level::Info, ..rule("t") };
    let gate = LevelRules::of(1, [warn, debug]).gate_for(&target);
    let decide = |level: Level, task: bool, now_ms| {
        gate.decide(Look { level: Some(level), audit: false, task }, now_ms, 1)
    };
    assert_eq!(decide(Level::Info, false, 9), Gated);
    assert_eq!(decide(Level::Warn, false, 9), Keep);
    assert_eq!(decide(Level::Info, false, 10), Keep);
    assert_eq!((decide(Level::Info, true, 9), decide(Level::Debug, true, 9)), (Keep, Gated));
    let other = GateTarget { namespace: "other", ..target };
    let own = LevelRules::of(2, [LevelRule { namespace: Some("shop".into()), ..rule("r") }]);
    assert_eq!(own.gate_for(&other), Gate::default());
}

/// What a namespace that is exempt from others' rules is held to.
#[test]
fn an_exempt_namespace_is_held_to_its_own_rules_alone() {
    let rule = |id: &str, more: serde_json::Value| -> LevelRule {
        let mut rule = serde_json::json!({"id": id, "level": "ERROR"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(rule).unwrap()
    };
    let json = |text: &str| serde_json::from_str(text).unwrap();
    let rules = LevelRules::of(
        1,
        [
            rule("wide", json("{}")),
            rule("default", json(r#"{"default": true}"#)),
            rule("wide-task", json(r#"{"scope": "task"}"#)),
            rule("shop/own", json(r#"{"namespace": "shop", "containers": ["main"]}"#)),
        ],
    );
    let labels = BTreeMap::new();
    let in_force = |container: &str, is_exempt: bool, scope| {
        let target =
            GateTarget { namespace: "shop", labels: Some(&labels), container, service: "", is_exempt };
        rules.gate_for(&target).in_force(scope, 0).map(|rule| rule.id.clone()).unwrap_or_default()
    };
    for (container, is_exempt, application, task) in [
        ("main", false, "shop/own", "wide-task"),
        ("other", false, "wide", "wide-task"),
        ("main", true, "shop/own", ""),
        ("other", true, "", ""),
    ] {
        assert_eq!(in_force(container, is_exempt, RuleScope::Application), application, "{container}");
        assert_eq!(in_force(container, is_exempt, RuleScope::Task), task, "{container}");
    }
}
