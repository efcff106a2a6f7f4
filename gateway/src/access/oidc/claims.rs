//! Reads from a token's claims whom it names, by the rules of the API server's `--oidc-...` flags, so that a person has the same name in both.
//! The token's signature was checked before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::OidcAccess;

/// How much later than here a token's begin may be: clocks differ. (Its end holds to the second.)
const BEGIN_LATER_MAX_S: f64 = 60.0;
/// Names that begin so are the cluster's own.
const RESERVED: &str = "system:";
/// The API server adds it to everyone whom it knows.
const EVERYBODY: &str = "system:authenticated";
const NO_PREFIX: &str = "-";

/// Somebody, until their token ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub name: String,
    pub groups: Vec<String>,
    /// Seconds since the epoch.
    pub ends_s: i64,
}

#[derive(Clone, Debug)]
pub struct Rules {
    issuer: String,
    client_id: String,
    username_claim: String,
    username_prefix: String,
    groups_claim: Option<String>,
    groups_prefix: String,
    required: BTreeMap<String, String>,
}

impl Rules {
    pub fn new(config: &OidcAccess) -> Rules {
        let username_prefix = match config.username_prefix.as_deref().unwrap_or_default() {
            NO_PREFIX => String::new(),
            "" if config.username_claim != "email" => format!("{}#", config.issuer),
            prefix => prefix.to_owned(),
        };
        Rules {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            username_claim: config.username_claim.clone(),
            username_prefix,
            groups_claim: config.groups_claim.clone(),
            groups_prefix: config.groups_prefix.clone(),
            required: config.required_claims.clone(),
        }
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// # Errors
    /// Why they name nobody; no value of a claim is in it.
    pub fn named(&self, claims: &Map<String, Value>, now_s: f64) -> Result<Named, String> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.issuer.as_str()) {
            return Err("iss is another issuer".to_owned());
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => *one == self.client_id,
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(self.client_id.as_str())),
            _ => false,
        };
        if !is_for_us {
            return Err("aud does not hold the client_id".to_owned());
        }
        let time = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("{name} is no number")),
        };
        let ends_s = time("exp")?.ok_or("exp is missing")?;
        if ends_s <= now_s {
            return Err("it is over".to_owned());
        }
        if time("nbf")?.is_some_and(|begins_s| begins_s > now_s + BEGIN_LATER_MAX_S) {
            return Err("it has not begun".to_owned());
        }
        for (name, value) in &self.required {
            if text(name) != Some(value) {
                return Err(format!("{name} is not what required_claims asks for"));
            }
        }
        let claim = self.username_claim.as_str();
        let name =
            text(claim).filter(|name| !name.is_empty()).ok_or_else(|| format!("{claim} is no text"))?;
        if claim == "email" && !matches!(claims.get("email_verified"), None | Some(Value::Bool(true))) {
            return Err("email_verified is not true".to_owned());
        }
        let name = format!("{}{name}", self.username_prefix);
        let mut groups = self.groups(claims)?;
        if name.starts_with(RESERVED) || groups.iter().any(|group| group.starts_with(RESERVED)) {
            return Err(format!("a name or a group begins with {RESERVED}, as the cluster's own do"));
        }
        groups.push(EVERYBODY.to_owned());
        // A time so far away is cut.
        Ok(Named { name, groups, ends_s: ends_s as i64 })
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
        let Some(claim) = &self.groups_claim else { return Ok(Vec::new()) };
        let wrong = || format!("{claim} is neither a text nor a list of texts");
        let prefixed = |group: &Value| {
            let group = group.as_str().ok_or_else(wrong)?;
            Ok(format!("{}{group}", self.groups_prefix))
        };
        match claims.get(claim) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(groups)) => groups.iter().map(prefixed).collect(),
            Some(group) => Ok(vec![prefixed(group)?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com";
    const NOW_S: f64 = 1_800_000_000.0;

    fn config() -> OidcAccess {
        OidcAccess { issuer: ISSUER.to_owned(), client_id: "cordwood".to_owned(), ..OidcAccess::default() }
    }

    /// Of a good token with these claims more (or, as `absent`, without them).
    fn named(config: &OidcAccess, more: Value) -> Result<Named, String> {
        let mut claims = json!({"iss": ISSUER, "aud": "cordwood", "sub": "anna", "exp": NOW_S + 60.0});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| *value != "absent");
        Rules::new(config).named(claims.as_object().unwrap(), NOW_S)
    }

    #[test]
    fn names_are_those_that_the_api_server_gives() {
        let by = |claim: &str, prefix: Option<&str>| OidcAccess {
            username_claim: claim.to_owned(),
            username_prefix: prefix.map(str::to_owned),
            ..config()
        };
        for (claim, prefix, expected) in [
            ("sub", None, "https://id.example.com#anna"),
            ("sub", Some("-"), "anna"),
            ("sub", Some("oidc:"), "oidc:anna"),
            ("preferred_username", None, "https://id.example.com#anna.b"),
            ("email", None, "anna@example.com"),
            ("email", Some("-"), "anna@example.com"),
            ("email", Some("oidc:"), "oidc:anna@example.com"),
        ] {
            let more = json!({"email": "anna@example.com", "preferred_username": "anna.b"});
            assert_eq!(named(&by(claim, prefix), more).unwrap().name, expected, "{claim} {prefix:?}");
        }
        let email = by("email", None);
        for (verified, expected) in
            [(json!("absent"), true), (json!(true), true), (json!(false), false), (json!("true"), false)]
        {
            let more = json!({"email": "a@example.com", "email_verified": verified});
            assert_eq!(named(&email, more.clone()).is_ok(), expected, "{more}");
        }
        // Nobody's e-mail is asked for.
        assert!(named(&config(), json!({"email_verified": false})).is_ok());
    }

    #[test]
    fn groups_are_those_that_the_api_server_gives() {
        let config = |prefix: &str| OidcAccess {
            groups_claim: Some("groups".to_owned()),
            groups_prefix: prefix.to_owned(),
            ..config()
        };
        for (prefix, groups, expected) in [
            ("", json!("absent"), Some(vec![])),
            ("", json!([]), Some(vec![])),
            ("", json!(["dev", "ops"]), Some(vec!["dev", "ops"])),
            ("oidc:", json!(["dev"]), Some(vec!["oidc:dev"])),
            ("oidc:", json!("dev"), Some(vec!["oidc:dev"])),
            ("", json!(7), None),
            ("", json!(["dev", 7]), None),
            ("", json!({"dev": true}), None),
        ] {
            let found = named(&config(prefix), json!({"groups": groups})).ok().map(|found| found.groups);
            let expected = expected.map(|mut all| {
                all.push("system:authenticated");
                all.into_iter().map(str::to_owned).collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{prefix} {groups}");
        }
        // Nobody asked for them.
        assert_eq!(named(&super::tests::config(), json!({"groups": 7})).unwrap().groups.len(), 1);
    }

    #[test]
    fn names_of_the_cluster_are_nobodys() {
        let config = |name_prefix: &str, group_prefix: &str| OidcAccess {
            username_prefix: Some(name_prefix.to_owned()),
            groups_claim: Some("groups".to_owned()),
            groups_prefix: group_prefix.to_owned(),
            ..config()
        };
        for (name_prefix, group_prefix, claims, expected) in [
            ("-", "", json!({"sub": "system:admin"}), false),
            ("-", "", json!({"sub": "system:serviceaccount:shop:app"}), false),
            ("system:", "", json!({"sub": "anna"}), false),
            ("sys", "", json!({"sub": "tem:anna"}), false),
            ("-", "", json!({"groups": ["system:masters"]}), false),
            ("-", "", json!({"groups": ["dev", "system:masters"]}), false),
            ("-", "", json!({"groups": "system:nodes"}), false),
            ("-", "system:", json!({"groups": ["masters"]}), false),
            ("oidc:", "oidc:", json!({"sub": "system:admin", "groups": ["system:masters"]}), true),
            ("-", "", json!({"sub": "systems"}), true),
        ] {
            let found = named(&config(name_prefix, group_prefix), claims.clone());
            assert_eq!(found.is_ok(), expected, "{name_prefix} {group_prefix} {claims}: {found:?}");
        }
    }

    #[test]
    fn a_token_for_somebody_else_or_another_time_names_nobody() {
        for (claims, expected) in [
            (json!({}), true),
            (json!({"iss": "https://id.example.com/"}), false),
            (json!({"iss": ["https://id.example.com"]}), false),
            (json!({"iss": "absent"}), false),
            (json!({"aud": "other"}), false),
            (json!({"aud": "absent"}), false),
            (json!({"aud": ["other", "cordwood"]}), true),
            (json!({"aud": ["other"]}), false),
            (json!({"aud": []}), false),
            (json!({"aud": {"cordwood": 1}}), false),
            (json!({"exp": NOW_S}), false),
            (json!({"exp": NOW_S + 0.5}), true),
            (json!({"exp": "absent"}), false),
            (json!({"exp": null}), false),
            (json!({"exp": "2100-01-01"}), false),
            (json!({"exp": -1}), false),
            (json!({"nbf": NOW_S - 1.0}), true),
            (json!({"nbf": NOW_S + 59.0}), true),
            (json!({"nbf": NOW_S + 61.0}), false),
            (json!({"nbf": "soon"}), false),
            (json!({"sub": ""}), false),
            (json!({"sub": 7}), false),
            (json!({"sub": null}), false),
            (json!({"sub": "absent"}), false),
        ] {
            assert_eq!(named(&config(), claims.clone()).is_ok(), expected, "{claims}");
        }
        let required = [("hd".to_owned(), "example.com".to_owned())].into();
        let strict = OidcAccess { required_claims: required, ..config() };
        for (hd, expected) in [
            (json!("example.com"), true),
            (json!("absent"), false),
            (json!("example.org"), false),
            (json!(["example.com"]), false),
        ] {
            assert_eq!(named(&strict, json!({"hd": hd})).is_ok(), expected, "{hd}");
        }
    }
}
