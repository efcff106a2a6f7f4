//! Builds a row to insert: each column is named once, beside its type and its value, and gives the parts of the statement.

use tokio_postgres::types::ToSql;

type Value<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Columns in their order, each with name, type and value. Names and types are constants of the program, never taken from data.
#[derive(Default)]
pub(super) struct Row<'a> {
    columns: Vec<(&'static str, &'static str, Value<'a>)>,
}

impl<'a> Row<'a> {
    pub fn new() -> Row<'a> {
        Row::default()
    }

    #[must_use]
    pub fn with(
        mut self,
        column: &'static str,
        sql_type: &'static str,
        value: impl ToSql + Sync + Send + 'a,
    ) -> Row<'a> {
        self.columns.push((column, sql_type, Box::new(value)));
        self
    }

    /// The columns of both rows, those of `other` last.
    #[must_use]
    pub fn and(mut self, other: Row<'a>) -> Row<'a> {
        self.columns.extend(other.columns);
        self
    }

    /// The list of columns: `a, b`.
    pub fn columns(&self) -> String {
        self.list(|_, name, _| name.to_owned())
    }

    /// The list of values: `$1::int4, $2::text`.
    pub fn placeholders(&self) -> String {
        self.list(|number, _, sql_type| format!("${number}::{sql_type}"))
    }

    /// The assignments of an upsert: `a = excluded.a, b = excluded.b`.
    pub fn assignments(&self) -> String {
        self.list(|_, name, _| format!("{name} = excluded.{name}"))
    }

    /// The parameters for [`Row::placeholders`].
    pub fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(|(_, _, value)| &**value as &(dyn ToSql + Sync)).collect()
    }

    fn list(&self, item: impl Fn(usize, &'static str, &'static str) -> String) -> String {
        let items =
            self.columns.iter().zip(1..).map(|((name, sql_type, _), number)| item(number, name, sql_type));
        items.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_has_its_place_in_every_list() {
        let row = Row::new().with("id", "int4", 7).and(Row::new().with("policy", "text", "shop"));
        assert_eq!(row.columns(), "id, policy");
        assert_eq!(row.placeholders(), "$1::int4, $2::text");
        assert_eq!(row.assignments(), "id = excluded.id, policy = excluded.policy");
        assert_eq!(row.values().len(), 2);
    }
}
