//! What a filter asks for by name, for whoever explains an empty answer.

use super::names::{Field, OriginField};
use super::{Expr, Filter, Is, Test};

impl Filter {
    /// The services that it asks for, as they are written; what stands behind a NOT is not asked for.
    pub fn services_asked(&self) -> Vec<&str> {
        let mut asked = Vec::new();
        services(&self.expr, &mut asked);
        asked
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
    use crate::filter::parse;

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
}
