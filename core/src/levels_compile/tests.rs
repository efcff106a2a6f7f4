use super::*;
use crate::levels::{LabelExpression, LabelOperator};

/// A rule of `namespace` (empty: cluster-wide), made at `since_ms`.
fn candidate(namespace: &str, name: &str, since_ms: i64) -> Candidate {
    let namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
    let id = namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    let rule = serde_json::json!({
        "id": id, "namespace": namespace, "level": "ERROR", "createdAtMs": since_ms, "expiresAtMs": 1_000_000,
    });
    Candidate { rule: serde_json::from_value(rule).unwrap(), since_ms }
}

/// As large as a valid level config can be.
fn large(namespace: &str, name: &str, since_ms: i64) -> Candidate {
    let mut candidate = candidate(namespace, name, since_ms);
    let text = |length: usize, number: usize| format!("{number:0length$}");
    candidate.rule.match_labels = (0..32).map(|number| (text(317, number), text(63, number))).collect();
    let expression = |number| LabelExpression {
        key: text(317, number),
        operator: LabelOperator::In,
        values: (0..64).map(|value| text(63, value)).collect(),
    };
    candidate.rule.match_expressions = (0..16).map(expression).collect();
    candidate.rule.containers = (0..32).map(|number| text(63, number)).collect();
    candidate
}

fn ids(rules: &LevelRules) -> Vec<&str> {
    rules.all().map(|rule| rule.id.as_str()).collect()
}

fn compiled(candidates: Vec<Candidate>) -> Compiled {
    let compiled = compile(candidates.clone(), &LevelRules::default(), 0);
    let bytes = serde_json::to_string(&compiled.rules).unwrap().len();
    assert!(bytes <= 1 << 20, "the API server refuses {bytes} bytes");
    assert_eq!(
        compiled.rules.len() + compiled.left_out.len(),
        candidates.len(),
        "each is in or said to be out"
    );
    let reversed = compile(candidates.into_iter().rev(), &LevelRules::default(), 0);
    assert_eq!(compiled, reversed, "in whatever order they come");
    compiled
}

#[test]
fn the_generation_rises_with_each_change_and_only_then() {
    let until = |name: &str, expires_at_ms| {
        let mut candidate = candidate("", name, 0);
        candidate.rule.expires_at_ms = Some(expires_at_ms);
        candidate
    };
    let compile = |candidates: Vec<Candidate>, previous: &LevelRules, now_ms| {
        super::compile(candidates, previous, now_ms).rules
    };
    let none = LevelRules::default();
    let one = compile(vec![until("b", 100), until("a", 50)], &none, 0);
    assert_eq!((one.generation, ids(&one)), (1, vec!["a", "b"]));
    assert_eq!(compile(vec![until("a", 50), until("b", 100)], &one, 10), one);
    let two = compile(vec![until("a", 50), until("b", 100)], &one, 50);
    assert_eq!((two.generation, two.len()), (2, 1));
    assert_eq!(next_expiry_ms(&two), Some(100));
    assert_eq!(compile(vec![], &two, 200).generation, 3);
    // The same rules as an operator of the version before wrote them: written again, in this version.
    let old = LevelRules { version: 1, ..one.clone() };
    assert_eq!(compile(vec![until("a", 50), until("b", 100)], &old, 10), LevelRules { generation: 2, ..one });
}

/// Twelve objects of 87 KB in one namespace made every write of the one ConfigMap fail: no rule of anybody came into force.
#[test]
fn a_namespace_of_large_configs_takes_no_room_from_others() {
    let mut all: Vec<Candidate> =
        (0..12).map(|number| large("greedy", &format!("l{number:02}"), number)).collect();
    let bytes = bytes_of(&all[0].rule);
    assert!(bytes > 86_000, "{bytes}");
    all.push(candidate("shop", "quiet", 1_000));
    all.push(candidate("", "emergency", 2_000));
    let compiled = compiled(all);
    assert_eq!(ids(&compiled.rules), ["emergency", "greedy/l00", "shop/quiet"]);
    let own = LeftOut::OwnBudget { namespace: Some("greedy".to_owned()) };
    assert!(compiled.left_out.values().all(|why| *why == own), "{:?}", compiled.left_out);
    assert!(own.to_string().contains("namespace greedy use up its budget of 64 rules and 96 KiB"), "{own}");
}

#[test]
fn large_configs_of_many_namespaces_leave_room_for_small_ones() {
    let mut all: Vec<Candidate> =
        (0..12).map(|number| large(&format!("n{number:02}"), "large", number)).collect();
    all.extend((0..200).map(|number| candidate(&format!("small-{number}"), "quiet", 5_000 + number)));
    all.push(large("", "emergency", 9_000));
    let compiled = compiled(all);
    let left_out: Vec<&str> = compiled.left_out.keys().map(String::as_str).collect();
    assert_eq!(left_out, ["n07/large", "n08/large", "n09/large", "n10/large", "n11/large"], "the newest");
    assert!(compiled.left_out.values().all(|why| *why == LeftOut::Budget));
}

#[test]
fn thousands_of_small_configs_take_no_room_from_others() {
    let mut all: Vec<Candidate> =
        (0..4_000).map(|number| candidate("greedy", &format!("s{number:04}"), number)).collect();
    all.push(candidate("shop", "quiet", 9_000));
    all.push(candidate("", "emergency", 9_000));
    let compiled = compiled(all);
    assert_eq!(compiled.rules.len(), LEVEL_RULES_NAMESPACE_MAX + 2);
    let newest = compiled.rules.get("greedy/s0063").map(|rule| rule.created_at_ms);
    assert_eq!(newest, Some(63), "the oldest of the namespace are in");
    assert!(compiled.rules.get("shop/quiet").is_some() && compiled.rules.get("emergency").is_some());

    // As many by as many namespaces: all together they have no room, and each namespace has some.
    let mut all: Vec<Candidate> = (0..12_000)
        .map(|number| candidate(&format!("n{:03}", number / 60), &format!("s{number:05}"), number))
        .collect();
    all.push(candidate("late", "quiet", 99_000));
    let compiled = self::compiled(all);
    assert!(compiled.rules.get("late/quiet").is_some(), "the last namespace, which uses least");
    assert!(compiled.left_out.values().all(|why| *why == LeftOut::Budget) && !compiled.left_out.is_empty());
    let mut by_namespace = BTreeMap::<_, usize>::new();
    for rule in compiled.rules.all().filter(|rule| rule.namespace.as_deref() != Some("late")) {
        *by_namespace.entry(rule.namespace.clone()).or_default() += 1;
    }
    let (least, most) = (by_namespace.values().min().unwrap(), by_namespace.values().max().unwrap());
    assert!(by_namespace.len() == 200 && most - least <= 1, "{least} to {most} rules of each");
}

#[test]
fn cluster_wide_rules_come_first_and_have_a_budget_too() {
    let mut all: Vec<Candidate> = (0..3).map(|number| large("", &format!("l{number}"), number)).collect();
    all.extend((0..12).map(|number| large(&format!("n{number:02}"), "large", -1_000 + number)));
    let compiled = compiled(all);
    assert!(compiled.rules.get("l0").is_some() && compiled.rules.get("l1").is_some());
    assert_eq!(compiled.left_out["l2"], LeftOut::OwnBudget { namespace: None });
    assert!(compiled.rules.get("n05/large").is_some(), "{:?}", compiled.left_out.keys());
}

#[test]
fn what_has_ended_takes_no_room() {
    let mut all: Vec<Candidate> =
        (0..64).map(|number| candidate("a", &format!("old-{number:02}"), number)).collect();
    all.push(candidate("a", "new", 100));
    let before = compile(all.clone(), &LevelRules::default(), 0);
    assert_eq!(before.left_out.keys().collect::<Vec<_>>(), ["a/new"]);
    all[7].rule.expires_at_ms = Some(500);
    let after = compile(all, &before.rules, 500);
    assert!(after.left_out.is_empty() && after.rules.get("a/new").is_some());
}

#[test]
fn the_oldest_default_of_a_scope_is_the_default() {
    let default = |name: &str, scope, since_ms| {
        let mut candidate = candidate("", name, since_ms);
        (candidate.rule.default, candidate.rule.scope) = (true, scope);
        candidate.rule.expires_at_ms = None;
        candidate
    };
    let (app, task) = (RuleScope::Application, RuleScope::Task);
    let mut all =
        vec![default("b", app, 10), default("a", app, 20), default("t", task, 30), default("z", app, 5)];
    // However many rules there are beside them.
    all.extend((0..200).map(|number| candidate("", &format!("r{number:03}"), number)));
    let compiled = compile(all, &LevelRules::default(), 50);
    assert_eq!(compiled.rules.task_rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["t"]);
    assert!(compiled.rules.rules.iter().any(|rule| rule.id == "z"));
    for id in ["a", "b"] {
        let why = LeftOut::SecondDefault { first: "z".to_owned() };
        assert_eq!(compiled.left_out[id], why);
    }
    // An agent of the version before orders by this alone.
    assert_eq!(compiled.rules.get("z").unwrap().created_at_ms, 0);
    assert_eq!(next_expiry_ms(&compiled.rules), Some(1_000_000));
}
