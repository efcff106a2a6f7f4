use proptest::prelude::*;

use super::Decision::{Gated, Keep};
use super::*;

fn gate(level: Level, sample_below: f64, expires_at_ms: Option<i64>) -> Gate {
    Gate::new(vec![GateRule { id: "r".to_owned(), level, sample_below, expires_at_ms }])
}

#[test]
fn levels_against_rules() {
    for rule in Level::ALL {
        for line in Level::ALL {
            let expected = if line < rule { Gated } else { Keep };
            assert_eq!(gate(rule, 0.0, None).decide(line, false, 0, 7), expected, "{line} under {rule}");
        }
    }
}

#[test]
fn a_part_is_kept_and_the_rest_is_not() {
    let kept = |part: f64| {
        let gate = gate(Level::Error, part, None);
        // Lines of equal length: positions in even steps must not fall into a pattern.
        (1..=100_000u64).filter(|line| gate.decide(Level::Info, false, 0, line * 216) == Keep).count()
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
        rule in 0u8..5, line in 0u8..5, part in any::<f64>(), expires in prop::option::of(any::<i64>()), now in any::<i64>(),
        position in any::<u64>(), audit in any::<bool>(),
    ) {
        let (rule, line) = (Level::from_u8(rule).unwrap(), Level::from_u8(line).unwrap());
        let gate = gate(rule, part, expires);
        let decision = gate.decide(line, audit, now, position);
        if audit || line >= rule || expires.is_some_and(|expires| now >= expires) {
            prop_assert_eq!(decision, Keep);
        }
        prop_assert_eq!(gate.decide(line, audit, now, position), decision, "the same again");
        prop_assert_eq!(Gate::default().decide(line, audit, now, position), Keep);
    }

    /// A larger sample keeps all that a smaller one keeps.
    #[test]
    fn samples_are_nested(position in any::<u64>(), small in 0.0..1.0f64, more in 0.0..1.0f64) {
        let decide = |part: f64| gate(Level::Error, part, None).decide(Level::Info, false, 0, position);
        if decide(small) == Keep {
            prop_assert_eq!(decide(small + more), Keep);
        }
    }
}
