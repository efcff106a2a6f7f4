//! Reads the tenant that a line itself names, in namespaces that are marked for it: for services that serve many tenants.
//! Promises: what a line names is held to the same rules as a namespace's label; a line that names two names none.

use serde::Deserialize;
use serde_json::Value;

use super::{Decided, Labels, Refused, Tenancy};
use crate::limits::LINE_TENANT_BYTES_MAX;

/// The top level of a body; a field that is there twice is an error.
#[derive(Deserialize)]
struct Named {
    #[serde(alias = "tenantSlug", alias = "tenant_slug")]
    tenant: Option<Value>,
    #[serde(alias = "tenantId")]
    tenant_id: Option<Value>,
}

impl Tenancy {
    /// Whose a line is by its own `tenant` (`tenantSlug`, `tenant_slug`) and `tenantId` (`tenant_id`); `None`: it names nobody. Of an
    /// id alone the tenant is the one to which the configuration gives it, else the id itself.
    pub fn of_body(&self, body: &[u8]) -> Option<Decided> {
        // (Most bodies of other programs name none, and are not read.)
        memchr::memmem::find(body, b"tenant")?;
        let named: Named = serde_json::from_slice(body).ok()?;
        let (tenant, id) = (text(named.tenant.as_ref()), text(named.tenant_id.as_ref()));
        let tenant = match (tenant, &id) {
            (Some(tenant), _) => tenant,
            (None, Some(id)) => {
                let known = self.rules.iter().find(|(_, _, known)| known == id);
                known.map_or_else(|| id.clone(), |(_, of, _)| of.clone())
            }
            (None, None) => return None,
        };
        if let Some(odd) = [Some(&tenant), id.as_ref()].into_iter().flatten().find(|name| !is_name(name)) {
            let shown = odd[..odd.floor_char_boundary(LINE_TENANT_BYTES_MAX)].to_owned();
            return Some(Decided::nobody(Some(Refused::Tenant(shown))));
        }
        Some(self.labelled(&tenant, &Labels { tenant_id: id, ..Labels::default() }))
    }
}

/// A text that says something, or a whole number.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// What the value of a label may be.
fn is_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= LINE_TENANT_BYTES_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, NamespaceTenant, Tenants};
    use super::*;
    use crate::origin::UNASSIGNED;

    #[test]
    fn a_line_names_its_tenant_within_what_is_allowed() {
        let rule = NamespaceTenant {
            namespace: "bank-*".into(),
            tenant: "bank".into(),
            tenant_id: Some("7".into()),
        };
        let tenants = |allowed: Option<&[&str]>| Tenants {
            authority: Authority::Configuration,
            allowed: allowed.map(|all| all.iter().map(|&one| one.to_owned()).collect()),
            namespaces: vec![rule.clone()],
            from_namespace_name: true,
        };
        let any = Tenancy::new(&tenants(None));
        let some = Tenancy::new(&tenants(Some(&["bank", "acme", "1?"])));
        const NOBODY: Option<(&str, &str)> = Some((UNASSIGNED, UNASSIGNED));
        let long = format!(r#"{{"tenant":"{}"}}"#, "a".repeat(64));
        for (body, anybody, allowed) in [
            (r#"{"tenant":"acme"}"#, Some(("acme", "acme")), Some(("acme", "acme"))),
            (r#"{"tenantSlug":"acme","tenantId":"17"}"#, Some(("acme", "17")), Some(("acme", "17"))),
            (r#"{"tenant_slug":"acme","tenant_id":17}"#, Some(("acme", "17")), Some(("acme", "17"))),
            (r#" {"msg":"x","tenant":"evil"}"#, Some(("evil", "evil")), NOBODY),
            // By its id.
            (r#"{"tenantId":"7"}"#, Some(("bank", "7")), Some(("bank", "7"))),
            (r#"{"tenantId":17}"#, Some(("17", "17")), Some(("17", "17"))),
            (r#"{"tenantId":"27"}"#, Some(("27", "27")), NOBODY),
            (r#"{"tenant":"acme","tenantId":"7"}"#, NOBODY, NOBODY),
            (r#"{"tenant":"bank","tenantId":"8"}"#, Some(("bank", "7")), Some(("bank", "7"))),
            // What names nobody, or two.
            (r#"{"msg":"the tenant is acme"}"#, None, None),
            (r#"{"tenant":""}"#, None, None),
            (r#"{"tenant":null,"tenantId":{}}"#, None, None),
            (r#"{"tenant":"acme","tenant":"bank"}"#, None, None),
            (r#"{"tenant":"acme","tenantSlug":"bank"}"#, None, None),
            (r#"{"data":{"tenant":"acme"}}"#, None, None),
            (r#"["tenant"]"#, None, None),
            (r#"tenant=acme"#, None, None),
            (r#"x {"tenant":"acme"}"#, None, None),
            (r#"{"tenant":"acme""#, None, None),
            // What is no name.
            (r#"{"tenant":"a b"}"#, NOBODY, NOBODY),
            (r#"{"tenant":"*"}"#, NOBODY, NOBODY),
            (r#"{"tenant":"acme","tenantId":"\u0000"}"#, NOBODY, NOBODY),
            (long.as_str(), NOBODY, NOBODY),
        ] {
            for (tenancy, expected) in [(&any, anybody), (&some, allowed)] {
                let decided = tenancy.of_body(body.as_bytes());
                let said = decided.as_ref().map(|one| (one.tenant.as_str(), one.tenant_id.as_str()));
                assert_eq!(said, expected, "{body}");
            }
        }
    }
}
