//! Takes the parameters of a request one by one. A parameter that is left over is an error.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::Uri;
use cordwood_core::limits::PARAMETER_CHARACTERS_MAX;

use crate::problem::Problem;

/// Of one name.
pub const VALUES_MAX: usize = 100;

/// The fields of a record's own data.
pub const DATA: Option<&str> = Some("data.");

/// A longer text asks for nothing that a person means.
fn is_too_long(value: &str) -> bool {
    value.len() > PARAMETER_CHARACTERS_MAX && value.chars().nth(PARAMETER_CHARACTERS_MAX).is_some()
}

#[derive(Debug)]
pub struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    /// `known`: the names of this route; names that begin with `open` too.
    pub fn read(uri: &Uri, known: &[&[&str]], open: Option<&str>) -> Result<Parameters, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| {
            Problem::parameter("", "the part of the address after ? is not of the form name=value&...")
        })?;
        // What is no UTF-8 is decoded to this character.
        let is_asked_for = uri.query().unwrap_or_default().to_ascii_uppercase().contains("%EF%BF%BD");
        let is_broken = |text: &String| !is_asked_for && text.contains('\u{fffd}');
        if let Some((name, _)) = pairs.iter().find(|(name, value)| is_broken(name) || is_broken(value)) {
            return Err(Problem::parameter(name, "is not UTF-8"));
        }
        Parameters::of(pairs.0, known, open)
    }

    pub fn of(
        pairs: Vec<(String, String)>,
        known: &[&[&str]],
        open: Option<&str>,
    ) -> Result<Parameters, Problem> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            let names = || known.iter().flat_map(|names| names.iter());
            let is_open = open.is_some_and(|open| name.len() > open.len() && name.starts_with(open));
            if !is_open && !names().any(|known| *known == name) {
                let names: Vec<&str> = names().copied().collect();
                let more = open.map(|open| format!(", {open}<key>")).unwrap_or_default();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let detail = format!("there is no such parameter here; there are: {known}{more}");
                return Err(Problem::parameter(name, detail));
            }
            let fault = if is_too_long(&value) {
                "longer than 16384 characters"
            } else if value.contains('\0') || name.contains('\0') {
                "holds a NUL, which no field does"
            } else {
                all.entry(name).or_default().push(value);
                continue;
            };
            return Err(Problem::parameter(name, fault));
        }
        if let Some((name, _)) = all.iter().find(|(_, values)| values.len() > VALUES_MAX) {
            return Err(Problem::parameter(name, format!("given more than {VALUES_MAX} times")));
        }
        Ok(Parameters(all))
    }

    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(mut values) = self.0.remove(name) else { return Ok(None) };
        match (values.pop(), values.is_empty()) {
            (Some(value), true) => Ok(Some(value)),
            _ => Err(Problem::parameter(name, "given twice")),
        }
    }

    /// As often as it is given, never empty.
    pub fn all(&mut self, name: &str) -> Result<Vec<String>, Problem> {
        let values = self.0.remove(name).unwrap_or_default();
        match values.iter().any(String::is_empty) {
            true => Err(Problem::parameter(name, "is empty: leave it out")),
            false => Ok(values),
        }
    }

    /// The names that begin so.
    pub fn begin_with(&self, open: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(open)).cloned().collect()
    }

    /// As often as it is given; an empty value is one too.
    pub fn one_or_more(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }

    /// The names of the form `data.<key>`.
    pub fn data_fields(&self) -> Result<Vec<String>, Problem> {
        let fields: Vec<String> = self.0.keys().filter(|name| name.starts_with("data.")).cloned().collect();
        let is_plain = |name: &String| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && !name.ends_with('.')
        };
        match fields.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(Problem::parameter(
                name,
                "write such a key in filter, in quotation marks: data.\"any key\"=value",
            )),
            None => Ok(fields),
        }
    }
}
