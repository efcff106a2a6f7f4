//! The messages that a WebSocket's client sends.

use std::collections::BTreeMap;

use cordwood_core::filter::Filter;
use serde::Deserialize;

use super::session::After;
use crate::problem::Problem;
use crate::question::{DATA, FILTERS, Parameters, Which};

/// A frame of the reader.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Ask {
    Start {
        #[serde(default)]
        filter: Asked,
        after: Option<String>,
        credit: u32,
    },
    /// So many records more.
    Credit { n: u32 },
    /// Other records from here on.
    Filter { filter: Asked },
    /// No more until there is credit again.
    Pause,
}

/// Which records: an expression, or the parameters of a search by their names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "an expression, or an object of parameters with texts or lists of texts")]
pub enum Asked {
    Expression(String),
    Parameters(BTreeMap<String, Values>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    One(String),
    Many(Vec<String>),
}

impl Default for Asked {
    fn default() -> Asked {
        Asked::Parameters(BTreeMap::new())
    }
}

impl Ask {
    pub fn read(text: &str) -> Result<Ask, Problem> {
        serde_json::from_str(text).map_err(|error| {
            let what = "start {filter, after, credit}, credit {n}, filter {filter} or pause";
            Problem::parameter("frame", format!("this frame is none of {what}: {error}"))
        })
    }
}

impl Asked {
    /// Read beside the threads that all streams share.
    pub async fn filter(self) -> Result<Filter, Problem> {
        let read = tokio::task::spawn_blocking(move || self.read()).await;
        read.unwrap_or_else(|error| {
            tracing::error!(%error, "a filter could not be read");
            Err(Problem::internal())
        })
    }

    fn read(self) -> Result<Filter, Problem> {
        let pairs: Vec<(String, String)> = match self {
            Asked::Expression(expression) => vec![("filter".to_owned(), expression)],
            Asked::Parameters(parameters) => {
                let pairs = parameters.into_iter().flat_map(|(name, values)| {
                    let values = match values {
                        Values::One(value) => vec![value],
                        Values::Many(values) => values,
                    };
                    values.into_iter().map(move |value| (name.clone(), value))
                });
                pairs.collect()
            }
        };
        let mut parameters = Parameters::of(pairs, &[&FILTERS], DATA)?;
        // No parameter here is a time.
        Ok(Which::take(&mut parameters, 0)?.filter)
    }
}

pub fn after(text: Option<&str>) -> Result<After, Problem> {
    After::read(text).map_err(|why| Problem::parameter("after", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_mistakes_say_where_they_are() {
        for (text, expected) in [
            (r#"{"type":"start","credit":5}"#, ""),
            (r#"{"type":"start","filter":"level>=warn","after":"1.0-0-0","credit":5}"#, ""),
            (
                r#"{"type":"start","filter":{"minLevel":"warn","service":["a","b"],"data.x":"1"},"credit":0}"#,
                "",
            ),
            (r#"{"type":"start","filter":"level>=wran","credit":5}"#, "filter at 7"),
            (r#"{"type":"start","filter":{"servce":"a"},"credit":5}"#, "servce"),
            (r#"{"type":"start","filter":{"from":"-1h"},"credit":5}"#, "from"),
            (r#"{"type":"start","after":"v1~x","credit":5}"#, "after"),
            (r#"{"type":"start"}"#, "frame"),
            (r#"{"type":"start","credit":-1}"#, "frame"),
            (r#"{"type":"start","credit":1,"more":1}"#, "frame"),
            (r#"{"type":"stop"}"#, "frame"),
            (r#"{"type":"filter"}"#, "frame"),
            ("[]", "frame"),
            ("", "frame"),
        ] {
            let read = Ask::read(text).and_then(|ask| {
                let Ask::Start { filter, after: from, .. } = ask else { return Ok(()) };
                filter.read()?;
                after(from.as_deref())?;
                Ok(())
            });
            let at = read.err().map(|problem| {
                let position = problem.position().map_or(String::new(), |position| format!(" at {position}"));
                format!("{}{position}", problem.at().unwrap_or_default())
            });
            assert_eq!(at.unwrap_or_default(), expected, "{text}");
        }
    }
}
