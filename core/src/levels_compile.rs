//! Level rules of one generation from all level configs: what agents are told, and when it must be thought over again.

use crate::levels::{LevelRule, LevelRules};

/// The rules to publish. Expired ones are left out; order does not matter to agents, so it is by id. The generation rises
/// only when the rules differ from `previous`: publishing again the same is no change.
pub fn compile(rules: impl IntoIterator<Item = LevelRule>, previous: &LevelRules, now_ms: i64) -> LevelRules {
    let mut rules: Vec<LevelRule> =
        rules.into_iter().filter(|rule| rule.expires_at_ms.is_none_or(|expires| expires > now_ms)).collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    let generation = if rules == previous.rules { previous.generation } else { previous.generation + 1 };
    LevelRules { generation, rules }
}

/// When the first of the rules expires.
pub fn next_expiry_ms(rules: &LevelRules) -> Option<i64> {
    rules.rules.iter().filter_map(|rule| rule.expires_at_ms).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;

    fn rule(id: &str, expires_at_ms: i64) -> LevelRule {
        LevelRule {
            id: id.to_owned(),
            namespace: None,
            match_labels: std::collections::BTreeMap::new(),
            match_expressions: Vec::new(),
            containers: Vec::new(),
            service: None,
            level: Level::Error,
            sample_below: 0.0,
            expires_at_ms: Some(expires_at_ms),
            created_at_ms: 0,
        }
    }

    #[test]
    fn the_generation_rises_with_each_change_and_only_then() {
        let none = LevelRules::default();
        let one = compile([rule("b", 100), rule("a", 50)], &none, 0);
        assert_eq!((one.generation, one.rules.len(), one.rules[0].id.as_str()), (1, 2, "a"));
        assert_eq!(compile([rule("a", 50), rule("b", 100)], &one, 10), one);
        let two = compile([rule("a", 50), rule("b", 100)], &one, 50);
        assert_eq!((two.generation, two.rules.len()), (2, 1));
        assert_eq!(next_expiry_ms(&two), Some(100));
        assert_eq!(compile([], &two, 200).generation, 3);
    }
}
