//! What a level config's status says, without a cluster.

use cordwood_core::agents::AgentStatus;
use cordwood_core::levels::rivals::rivals;
use cordwood_crds::{LogLevelConfig, Problem};
use serde_json::json;

use super::*;
use crate::conditions::PROGRESS;

const NOW_MS: i64 = 1_795_003_200_000;

fn compiled(spec: serde_json::Value) -> Compiled {
    let config: LogLevelConfig = serde_json::from_value(json!({
        "apiVersion": "cordwood.dev/v1alpha1", "kind": "LogLevelConfig",
        "metadata": {"name": "quiet", "namespace": "shop", "uid": "u", "generation": 1}, "spec": spec,
    }))
    .unwrap();
    let config = LevelObject::from(config);
    let rule = config.to_rule(NOW_MS, i64::MAX);
    Compiled { config, started_at_ms: NOW_MS, rule, capped: false, in_release: false }
}

fn published(rules: LevelRules) -> Published {
    let rivals = rivals(&rules);
    Published { rules, version: None, compiled: Vec::new(), left_out: BTreeMap::new(), rivals }
}

fn said(status: &LogLevelConfigStatus, kind: &str) -> Option<(String, String)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()))
}

/// Which of `Ready`, `Reconciling` and `Stalled` holds, and why. Each condition says something.
fn progress(status: &LogLevelConfigStatus) -> (String, String) {
    assert!(status.conditions.iter().all(|one| !one.message.is_empty()), "{:?}", status.conditions);
    let holds = |one: &&Condition| PROGRESS.contains(&one.type_.as_str()) && one.status == "True";
    let held: Vec<&Condition> = status.conditions.iter().filter(holds).collect();
    assert_eq!(held.len(), 1, "{held:?}");
    (held[0].type_.clone(), held[0].reason.clone())
}

fn is(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

#[test]
fn applied_when_every_agent_has_the_generation_and_silent_after_the_end() {
    let one = compiled(json!({"level": "ERROR", "duration": "5m"}));
    let rules = published(LevelRules::of(4, [one.rule.clone().unwrap()]));
    let agent = |pod: &str, rules_generation| Agent {
        pod: pod.to_owned(),
        node: String::new(),
        runs: true,
        answer: Ok(AgentStatus { rules_generation, ..AgentStatus::default() }),
    };
    let before = LogLevelConfigStatus::default();
    let behind = [agent("a", Some(4)), agent("b", None)];
    let part = status(&one, &before, &rules, &seen(&behind, Some((2, 1))), NOW_MS);
    assert_eq!(said(&part, "Applied"), is("False", "AgentsBehind"));
    assert_eq!(progress(&part), ("Reconciling".to_owned(), "AgentsBehind".to_owned()));
    assert_eq!((part.agents.as_deref(), part.rules_generation), (Some("1/2"), Some(4)));
    let all = [agent("a", Some(4)), agent("b", Some(4))];
    let whole = status(&one, &part, &rules, &seen(&all, Some((2, 0))), NOW_MS);
    assert_eq!(said(&whole, "Applied"), is("True", "AllAgents"));
    assert_eq!(progress(&whole), ("Ready".to_owned(), "AllAgents".to_owned()));
    assert_eq!((whole.agents.as_deref(), whole.workloads_matched), (Some("2/2"), Some(2)));
    // It ends; then other rules come, and agents that lag: nothing more is said of it.
    let ended = |generation| published(LevelRules::of(generation, []));
    let over = status(&one, &whole, &ended(5), &seen(&all, None), NOW_MS);
    assert_eq!(said(&over, "Active"), is("False", "Expired"));
    assert_eq!(progress(&over), ("Ready".to_owned(), "Expired".to_owned()));
    assert_eq!(said(&over, "Applied"), is("False", "NotInForce"));
    assert_eq!((over.agents.as_deref(), over.rules_generation), (None, Some(4)));
    assert_eq!(status(&one, &over, &ended(9), &seen(&behind, None), NOW_MS + 60_000), over);
}

fn seen(agents: &[Agent], workloads: Option<(i64, i64)>) -> Seen<'_> {
    let workloads = workloads.map(|(matched, failed)| Workloads { matched, failed });
    Seen { agents, workloads, exempt: 0, pushed: None }
}

#[test]
fn it_is_named_which_agents_lag_and_what_is_exempt() {
    let one = compiled(json!({"level": "ERROR", "duration": "5m"}));
    let rules = published(LevelRules::of(4, [one.rule.clone().unwrap()]));
    let agent = |node: &str, answer: Result<Option<u64>, &str>| Agent {
        pod: format!("agent-{node}"),
        node: node.to_owned(),
        runs: true,
        answer: answer
            .map(|rules_generation| AgentStatus { rules_generation, ..AgentStatus::default() })
            .map_err(str::to_owned),
    };
    let agents = [
        agent("n3", Err("no answer within 500 ms")),
        agent("n1", Ok(Some(4))),
        agent("n2", Ok(Some(3))),
        agent("", Ok(None)),
    ];
    let told = status(&one, &LogLevelConfigStatus::default(), &rules, &seen(&agents, Some((7, 2))), NOW_MS);
    let message = |kind: &str| {
        told.conditions.iter().find(|found| found.type_ == kind).map(|found| found.message.as_str())
    };
    assert_eq!(
        message("Applied"),
        Some(
            "1 of 4 agents have rules generation 4; behind: agent- (it names no generation), n2 (generation 3), n3 (no answer within 500 ms)"
        )
    );
    assert_eq!(message("Active"), Some("lines below ERROR are dropped until 2026-11-18T12:05:00Z"));
    let counted = (told.workloads_matched, told.workloads_applied, told.workloads_failed);
    assert_eq!(counted, (Some(7), Some(5), Some(2)));
    let many: Vec<Agent> = (0..9).map(|number| agent(&format!("n{number}"), Ok(Some(1)))).collect();
    assert!(who_is_behind(&many, &rules.rules).ends_with("n4 (generation 1) and 4 more"));

    let rule = one.rule.clone().unwrap();
    let wide = LevelRule { namespace: None, ..rule.clone() };
    let default = LevelRule { default: true, expires_at_ms: None, ..wide.clone() };
    assert_eq!(in_force(&rule, 2), "lines below ERROR are dropped until 2026-11-18T12:05:00Z");
    assert!(in_force(&wide, 1).ends_with("Z; 1 namespace takes its own level configs alone"));
    assert_eq!(
        in_force(&default, 2),
        "lines below ERROR are dropped, where no other level config of this scope is in force; 2 namespaces take their own level configs alone"
    );
}

/// Nobody takes what cannot be followed for success.
#[test]
fn what_is_invalid_is_never_ready() {
    let mut one = compiled(json!({"level": "ERROR", "duration": "5m"}));
    let good = one.rule.clone().unwrap();
    one.rule = Err(vec![Problem { field: "spec.level".to_owned(), message: "is no level".to_owned() }]);
    let tell =
        |rules| status(&one, &LogLevelConfigStatus::default(), &published(rules), &seen(&[], None), NOW_MS);
    for rules in [LevelRules::default(), LevelRules::of(1, [good])] {
        assert_eq!(progress(&tell(rules)), ("Stalled".to_owned(), "Invalid".to_owned()));
    }
}

#[test]
fn a_push_that_is_not_allowed_says_so() {
    let plain = compiled(json!({"level": "ERROR", "duration": "5m"}));
    let push = compiled(json!({"level": "ERROR", "duration": "5m", "push": {"zap": {"port": 80}}}));
    let none = published(LevelRules::default());
    let tell = |one| status(one, &LogLevelConfigStatus::default(), &none, &seen(&[], None), 0);
    assert_eq!(said(&tell(&plain), "Pushed"), None);
    assert_eq!(said(&tell(&push), "Pushed"), is("False", "Disabled"));
    assert_eq!(said(&tell(&push), "Accepted"), is("True", "Accepted"));
}

#[test]
fn what_has_no_room_and_what_meets_another_says_so() {
    let one = compiled(json!({"level": "ERROR", "duration": "5m", "debugScopes": true}));
    let tell = |published: &Published| {
        status(&one, &LogLevelConfigStatus::default(), published, &seen(&[], None), NOW_MS)
    };
    let mut full = published(LevelRules::default());
    let why = LeftOut::OwnBudget { namespace: Some("shop".to_owned()) };
    full.left_out.insert("shop/quiet".to_owned(), why);
    let status = tell(&full);
    assert_eq!(said(&status, "Accepted"), is("False", "TooMany"));
    assert_eq!(said(&status, "Active"), is("False", "TooMany"));
    assert_eq!(progress(&status), ("Stalled".to_owned(), "TooMany".to_owned()));
    assert_eq!(said(&status, "Conflict"), is("False", "NoConflict"));
    assert_eq!(said(&status, "DebugScopes"), is("False", "NotSupported"));

    let mine = one.rule.clone().unwrap();
    let wide = LevelRule { id: "wide".to_owned(), namespace: None, ..mine.clone() };
    let status = tell(&published(LevelRules::of(1, [mine, wide])));
    assert_eq!(said(&status, "Conflict"), is("True", "SameRecords"));
    let message = &status.conditions.iter().find(|found| found.type_ == "Conflict").unwrap().message;
    assert!(message.starts_with("it goes before wide"), "{message}");
}

#[test]
fn what_was_for_the_whole_cluster_says_that_it_is_no_more() {
    let mut one = compiled(json!({"level": "WARN", "duration": "5m", "unleveled": "drop", "scope": "task"}));
    one.in_release = true;
    let rules = published(LevelRules::of(1, [one.rule.clone().unwrap()]));
    let status = status(&one, &LogLevelConfigStatus::default(), &rules, &seen(&[], None), NOW_MS);
    assert_eq!(said(&status, "Accepted"), is("True", "OwnNamespaceOnly"));
    let active = &status.conditions[0].message;
    assert!(
        active.starts_with("lines of tasks below WARN and of no known level are dropped until "),
        "{active}"
    );
}
