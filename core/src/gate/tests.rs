use proptest::prelude::*;

use super::Decision::{Gated, Keep};
use super::*;

fn rule(level: Level, sample_below: f64, expires_at_ms: Option<i64>) -> GateRule {
    GateRule { id: "r".to_owned(), level, unleveled: Unleveled::Keep, sample_below, expires_at_ms }
}

fn gate(level: Level, sample_below: f64, expires_at_ms: Option<i64>) -> Gate {
    Gate::new(vec![rule(level, sample_below, expires_at_ms)], Vec::new())
}

fn line(level: impl Into<Option<Level>>) -> Look {
    Look { level: level.into(), audit: false, task: false }
}

#[test]
fn levels_against_rules() {
    for rule in Level::ALL {
        for level in Level::ALL {
            let expected = if level < rule { Gated } else { Keep };
            assert_eq!(gate(rule, 0.0, None).decide(line(level), 0, 7), expected, "{level} under {rule}");
        }
    }
}

/// `panic: runtime error` in the words of a program that no table knows was shown as INFO, and so dropped by every rule above it.
#[test]
fn a_line_of_no_known_level_passes_unless_the_rule_says_drop() {
    for level in Level::ALL {
        assert_eq!(gate(level, 0.0, None).decide(line(None), 0, 7), Keep, "{level}");
        let drop = GateRule { unleveled: Unleveled::Drop, ..rule(level, 0.0, Some(9)) };
        let gate = Gate::new(vec![drop], Vec::new());
        assert_eq!(gate.decide(line(None), 0, 7), Gated, "{level}");
        assert_eq!(gate.decide(line(Level::Error), 0, 7), Keep, "{level}");
        assert_eq!(gate.decide(line(None), 9, 7), Keep, "{level}: it has ended");
        assert_eq!(gate.decide(Look { audit: true, ..line(None) }, 0, 7), Keep, "{level}");
    }
    let sampled = GateRule { unleveled: Unleveled::Drop, ..rule(Level::Warn, 1.0, None) };
    assert_eq!(Gate::new(vec![sampled], Vec::new()).decide(line(None), 0, 7), Keep);
}

#[test]
fn the_level_of_tasks_is_apart() {
    let (info, task) = (line(Level::Info), Look { task: true, ..line(Level::Info) });
    let decide = |gate: &Gate| (gate.decide(info, 0, 7), gate.decide(task, 0, 7));
    let warn = || vec![rule(Level::Warn, 0.0, None)];
    let debug = || vec![rule(Level::Debug, 0.0, None)];
    for (application, task, expected) in [
        (Vec::new(), Vec::new(), (Keep, Keep)),
        (warn(), Vec::new(), (Gated, Keep)),
        (Vec::new(), warn(), (Keep, Gated)),
        (warn(), debug(), (Gated, Keep)),
        (debug(), warn(), (Keep, Gated)),
        (warn(), warn(), (Gated, Gated)),
    ] {
        assert_eq!(
            decide(&Gate::new(application.clone(), task.clone())),
            expected,
            "{application:?} {task:?}"
        );
    }
}

#[test]
fn a_part_is_kept_and_the_rest_is_not() {
    let kept = |part: f64| {
        let gate = gate(Level::Error, part, None);
        // Lines of equal length: positions in even steps must not fall into a pattern.
        (1..=100_000u64).filter(|at| gate.decide(line(Level::Info), 0, at * 216) == Keep).count()
    };
    assert_eq!((kept(0.0), kept(1.0), kept(f64::NAN), kept(-1.0), kept(9.0)), (0, 100_000, 0, 0, 100_000));
    for part in [0.01, 0.1, 0.5] {
        let expected = 100_000.0 * part;
        let kept = kept(part) as f64;
        assert!((kept - expected).abs() < expected * 0.12, "{kept} kept of {expected}");
    }
}

proptest! {
    #[test]
    fn what_must_pass_passes(
        rule in 0u8..5, level in prop::option::of(0u8..5), part in any::<f64>(), expires in prop::option::of(any::<i64>()),
        now in any::<i64>(), position in any::<u64>(), (audit, task) in any::<(bool, bool)>(),
    ) {
        let rule = Level::from_u8(rule).unwrap();
        let look = Look { level: level.and_then(Level::from_u8), audit, task };
        let gate = gate(rule, part, expires);
        let decision = gate.decide(look, now, position);
        let ended = expires.is_some_and(|expires| now >= expires);
        if audit || task || ended || look.level.is_none_or(|level| level >= rule) {
            prop_assert_eq!(decision, Keep);
        }
        prop_assert_eq!(gate.decide(look, now, position), decision, "the same again");
        prop_assert_eq!(Gate::default().decide(look, now, position), Keep);
    }

    /// A larger sample keeps all that a smaller one keeps.
    #[test]
    fn samples_are_nested(position in any::<u64>(), small in 0.0..1.0f64, more in 0.0..1.0f64) {
        let decide = |part: f64| gate(Level::Error, part, None).decide(line(Level::Info), 0, position);
        if decide(small) == Keep {
            prop_assert_eq!(decide(small + more), Keep);
        }
    }
}
