//! Tells which services and namespaces a filter names, and of which levels it matches every record: to explain an empty answer, to ask
//! about rights, and to count whole blocks.

use super::names::{Field, OriginField};
use super::{Expr, Filter, Is, Test};
use crate::level::Level;

impl Filter {
    /// The services that it asks for, as they are written; what stands behind a NOT is not asked for.
    pub fn services_asked(&self) -> Vec<&str> {
        let mut asked = Vec::new();
        services(&self.expr, &mut asked);
        asked
    }

    /// The namespaces of which every record that matches has one; `None`: it may be any. A name that is compared without regard to case
    /// counts in lower case, as names of namespaces are.
    pub fn namespaces_asked(&self) -> Option<Vec<String>> {
        namespaces(&self.expr, true)
    }

    /// The levels (bits) of which it matches every record, whatever else that is. It may match some of others.
    pub fn levels_matched(&self) -> u8 {
        levels(&self.expr, true)
    }
}

/// The levels (bits) of which every record answers `wanted`, whatever else it is. Of other levels nothing is known.
fn levels(expr: &Expr, wanted: bool) -> u8 {
    let every = Level::ALL.into_iter().fold(0, |bits, level| bits | level.bit());
    match (expr, wanted) {
        (Expr::And(parts), true) | (Expr::Or(parts), false) => {
            parts.iter().fold(every, |bits, part| bits & levels(part, wanted))
        }
        (Expr::Or(parts), true) | (Expr::And(parts), false) => {
            parts.iter().fold(0, |bits, part| bits | levels(part, wanted))
        }
        (Expr::Not(part), wanted) => levels(part, !wanted),
        (Expr::Test(Test::Level(mask)), true) => mask & every,
        (Expr::Test(Test::Level(mask)), false) => !mask & every,
        (Expr::Test(_), _) => 0,
    }
}

/// Of the records for which `expr` is `wanted`.
fn namespaces(expr: &Expr, wanted: bool) -> Option<Vec<String>> {
    match (expr, wanted) {
        (Expr::And(parts), true) | (Expr::Or(parts), false) => {
            parts.iter().filter_map(|part| namespaces(part, wanted)).min_by_key(Vec::len)
        }
        (Expr::Or(parts), true) | (Expr::And(parts), false) => {
            let each: Option<Vec<Vec<String>>> = parts.iter().map(|part| namespaces(part, wanted)).collect();
            each.filter(|each| !each.is_empty()).map(|each| each.concat())
        }
        (Expr::Not(part), wanted) => namespaces(part, !wanted),
        (
            Expr::Test(Test::Field {
                field: Field::Origin(OriginField::Namespace),
                is: Is::Equal(name) | Is::EqualAnyCase(name),
                ..
            }),
            true,
        ) => Some(vec![name.clone()]),
        (Expr::Test(_), _) => None,
    }
}

fn services<'a>(expr: &'a Expr, asked: &mut Vec<&'a str>) {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| services(part, asked)),
        Expr::Test(Test::Field {
            field: Field::Either(OriginField::Service, _),
            is: Is::Equal(value) | Is::EqualAnyCase(value),
            ..
        }) => asked.push(value),
        Expr::Not(_) | Expr::Test(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::filter::{Filter, parse};

    #[test]
    fn namespaces_are_those_of_every_record_that_matches() {
        for (expression, asked) in [
            ("namespace=shop", Some(vec!["shop"])),
            ("namespace:Shop error", Some(vec!["shop"])),
            ("namespace=shop OR namespace=bank", Some(vec!["shop", "bank"])),
            ("namespace IN (shop, bank)", Some(vec!["shop", "bank"])),
            ("namespace IN (shop, bank) namespace=shop", Some(vec!["shop"])),
            ("NOT (NOT namespace=shop)", Some(vec!["shop"])),
            ("NOT (namespace!=shop OR error)", Some(vec!["shop"])),
            ("namespace=shop OR error", None),
            ("namespace:sh*", None),
            ("namespace!=shop", None),
            ("NOT namespace=shop", None),
            ("data.namespace=shop", None),
            ("shop", None),
            ("", None),
        ] {
            let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(parse(expression).unwrap().namespaces_asked(), asked.map(names), "{expression}");
        }
    }

    #[test]
    fn services_are_found_wherever_they_are_asked_for() {
        for (expression, asked) in [
            ("service:Payments", vec!["payments"]),
            ("service=Payments error", vec!["Payments"]),
            ("(service=a OR service:b) NOT service=c", vec!["a", "b"]),
            ("payments data.service:payments", vec![]),
            ("service!=a", vec![]),
            ("", vec![]),
        ] {
            let filter = parse(expression).unwrap();
            let mut found = filter.services_asked();
            found.sort_unstable();
            assert_eq!(found, asked, "{expression}");
        }
    }

    #[test]
    fn levels_that_match_whatever_else() {
        for (text, expected) in [
            ("level>=warn", 0b11000),
            ("level=info OR level=error", 0b10100),
            ("NOT level=info", 0b11011),
            ("level>=info level<=warn", 0b01100),
            ("level>=warn disk", 0),
            ("level>=warn OR disk", 0b11000),
            ("NOT (level=info OR disk)", 0),
            ("NOT (level=info disk)", 0b11011),
            ("NOT disk", 0),
            ("service=checkout", 0),
            ("time>=2026-11-21T06:00:00Z", 0),
            ("category=system", 0),
        ] {
            assert_eq!(parse(text).unwrap().levels_matched(), expected, "{text}");
        }
        assert_eq!(Filter::all().levels_matched(), 0b11111);
        assert_eq!(Filter::any_of([]).levels_matched(), 0);
    }
}
