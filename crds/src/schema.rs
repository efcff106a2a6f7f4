//! Pieces of schema that several fields share: durations, globs, quantities, each with CEL rules whose message says what to do.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Numbers without leading zeros, so that no part and no whole is zero, and few enough digits that nothing overflows.
pub(crate) const DURATION: &str = "^([1-9][0-9]?y)?([1-9][0-9]{0,2}w)?([1-9][0-9]{0,3}d)?([1-9][0-9]{0,4}h)?([1-9][0-9]{0,5}m)?([1-9][0-9]{0,6}s)?$";

pub(crate) const LEVEL_DURATION: &str =
    "^([1-7]d)?([1-9][0-9]{0,2}h)?([1-9][0-9]{0,4}m)?([1-9][0-9]{0,5}s)?$";
pub(crate) const CONTAINER_NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
pub(crate) const LABEL_KEY: &str =
    "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$";
pub(crate) const HTTP_PATH: &str = "^/[A-Za-z0-9/_.~-]*$";

pub(crate) const DURATION_MESSAGE: &str = "must be a duration such as 30d, 12h or 1h30m: whole numbers above zero with the units y, w, d, h, m, s, largest first, at most 99y";
pub(crate) const GRACE_MESSAGE: &str = "must be 0s or a duration such as 24h or 1h30m: whole numbers above zero with the units y, w, d, h, m, s, largest first, at most 99y";
pub(crate) const LEVEL_DURATION_MESSAGE: &str = "must be a duration such as 30m, 1h30m or 90s: whole numbers above zero with the units d, h, m, s, largest first, at most 7d";
pub(crate) const CONTAINER_NAME_MESSAGE: &str =
    "must be the name of a container, as in the pod's spec: lower-case letters, digits and '-'";
pub(crate) const LABEL_KEY_MESSAGE: &str = "keys must be label names such as app or app.kubernetes.io/name";
pub(crate) const LABEL_VALUE_MESSAGE: &str =
    "values must be label values: at most 63 letters, digits, '-', '_' and '.'";
pub(crate) const HTTP_PATH_MESSAGE: &str = "must be a path on the pod itself that begins with '/', such as /log/level: no scheme, host, query or '..'";

pub(crate) const DETACH_PER_PASS: std::ops::RangeInclusive<i64> = 1..=100_000;
pub(crate) const DETACH_PER_PASS_MESSAGE: &str = "must be a number of table partitions from 1 to 100000: leave it out for as many as dropLimit.partitions, or set suspend: true to detach none";

/// Whether a text is what one of the patterns here says: the very text of the rule that the API server has.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// A retention: at least a minute.
pub fn retention(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self.size() > 0 && self.matches('{DURATION}')"),
            "message": DURATION_MESSAGE,
        }, {
            "rule": "!self.matches('^[1-9][0-9]*s$') || self.matches('^([6-9][0-9]|[1-9][0-9]{2,6})s$')",
            "message": "must be at least 1m",
        }],
    })
}

/// A grace period: may be nothing.
pub fn grace(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self == '0s' || (self.size() > 0 && self.matches('{DURATION}'))"),
            "message": GRACE_MESSAGE,
        }],
    })
}

/// How long a level rule lasts: at most some days.
pub fn level_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 16,
        "x-kubernetes-validations": [{
            "rule": format!("self.size() > 0 && self.matches('{LEVEL_DURATION}')"),
            "message": LEVEL_DURATION_MESSAGE,
        }],
    })
}

/// A TCP port. (OpenAPI knows no format for unsigned numbers: the API server warns of one.)
pub fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65_535})
}

/// A number of table partitions.
pub fn partitions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 100_000})
}

/// How many table partitions one pass detaches: where a rule says so, the answer says what to do.
pub fn detach_per_pass(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "x-kubernetes-validations": [{
            "rule": format!("self >= {} && self <= {}", DETACH_PER_PASS.start(), DETACH_PER_PASS.end()),
            "message": DETACH_PER_PASS_MESSAGE,
        }],
    })
}

/// A list of globs over names.
pub fn globs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "string",
            "maxLength": 253,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^[A-Za-z0-9_.:/@*?-]+$')",
                "message": "must be a pattern of letters, digits, '-', '_', '.', ':', '/', '@' and the wildcards '*' (any text) and '?' (one character)",
            }],
        },
        "x-kubernetes-list-type": "set",
    })
}

/// Names of containers.
pub fn container_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": format!("self.matches('{CONTAINER_NAME}')"),
                "message": CONTAINER_NAME_MESSAGE,
            }],
        },
        "x-kubernetes-list-type": "set",
    })
}

/// An HTTP path on the pod itself.
pub fn http_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 256,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{HTTP_PATH}') && !self.contains('..') && !self.contains('//')"),
            "message": HTTP_PATH_MESSAGE,
        }],
    })
}

/// A list of `metav1.Condition`, merged by type.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    let mut schema = Vec::<Condition>::json_schema(generator);
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), vec!["type"].into());
    schema
}

/// A Kubernetes quantity of bytes: `50Gi`, `500M`, or a plain number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub String);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(number) => Bytes(number.to_string()),
            Either::Text(text) => Bytes(text),
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Bytes {
    /// The number of bytes: a whole number with one of the suffixes k, M, G, T, P, Ki, Mi, Gi, Ti, Pi.
    pub fn count(&self) -> Option<i64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = self.0.split_at(digits);
        let factor: i64 = match suffix {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "P" => 1_000_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            "Pi" => 1 << 50,
            _ => return None,
        };
        number.parse::<i64>().ok()?.checked_mul(factor)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 20,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^[0-9]{1,15}([kMGTP]|[KMGTP]i)?$') && quantity(string(self)).isLessThan(quantity('8Ei'))",
                "message": "must be a number of bytes such as 50Gi, 500Mi or 1000000, not negative",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted() {
        let rows = [
            ("50Gi", Some(50 << 30)),
            ("0", Some(0)),
            ("1k", Some(1000)),
            ("5Ki", Some(5120)),
            ("-1", None),
            ("1.5Gi", None),
            ("lots", None),
            ("", None),
            ("99999999999999999999", None),
            ("9000Pi", None),
        ];
        for (text, count) in rows {
            assert_eq!(Bytes(text.to_owned()).count(), count, "{text}");
        }
    }
}
