//! Makes one filter and one scope of the command line's words and options. An error shows the character where it is.

use anyhow::anyhow;
use cordwood_core::filter::{self, Filter, quoted};
use cordwood_service::Failure;
use cordwood_store::scope::{AdminReason, Scope};

use crate::args::FilterArgs;
use crate::output::escape;

impl FilterArgs {
    /// Anyone who has the database's credentials may see all tenants; naming some narrows it.
    pub fn scope(&self) -> Scope {
        if self.tenant.is_empty() {
            Scope::all(AdminReason::CommandLine)
        } else {
            Scope::of_tenants(self.tenant.clone())
        }
    }

    /// # Errors
    /// Three lines: what is wrong, the expression, a caret under the place.
    pub fn filter(&self) -> Result<Filter, Failure> {
        let expression = self.filter.join(" ");
        // Alone first: positions are those of what was typed.
        if !expression.trim().is_empty() {
            parse(&expression)?;
        }
        parse(&self.combined(&expression))
    }

    fn combined(&self, expression: &str) -> String {
        let mut parts = Vec::new();
        if !expression.trim().is_empty() {
            parts.push(format!("({expression})"));
        }
        if let Some(level) = self.level {
            parts.push(format!("level>={}", level.as_str().to_ascii_lowercase()));
        }
        for (field, value) in [("service", &self.service), ("namespace", &self.namespace), ("pod", &self.pod)]
        {
            if let Some(value) = value {
                parts.push(format!("{field}={}", quoted(value)));
            }
        }
        parts.join(" ")
    }
}

fn parse(expression: &str) -> Result<Filter, Failure> {
    filter::parse(expression).map_err(|error| {
        Failure::Config(anyhow!(Pointed { shown: pointed(expression, error.at, &error.message) }))
    })
}

/// Its text has several lines, which `Failure`'s one-line printing would flatten: see `main`.
#[derive(Debug)]
pub struct Pointed {
    pub shown: String,
}

impl std::fmt::Display for Pointed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for Pointed {}

/// `at`: characters of `expression` before the mistake.
fn pointed(expression: &str, at: usize, message: &str) -> String {
    let before: String = expression.chars().take(at).collect();
    let after: String = expression.chars().skip(at).collect();
    let (before, after) = (escape::one_line(&before), escape::one_line(&after));
    format!("filter: {message}\n  {before}{after}\n  {}^", " ".repeat(escape::width(&before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_mistake() {
        assert_eq!(
            pointed("level>=wran x", 7, "unknown level \"wran\""),
            "filter: unknown level \"wran\"\n  level>=wran x\n         ^"
        );
        assert_eq!(pointed("日本 (", 3, "expected )"), "filter: expected )\n  日本 (\n       ^");
        assert_eq!(pointed("", 5, "empty"), "filter: empty\n  \n  ^");
    }

    #[test]
    fn options_narrow_the_expression() {
        let args = FilterArgs {
            filter: vec!["a".into(), "OR b".into()],
            level: Some(cordwood_core::level::Level::Warn),
            service: Some("it's \"x\"".into()),
            ..FilterArgs::default()
        };
        assert_eq!(args.combined("a OR b"), r#"(a OR b) level>=warn service="it's \"x\"""#);
        assert_eq!(FilterArgs::default().combined("  "), "");
    }
}
