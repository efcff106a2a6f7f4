//! The names by which expressions call fields.

use crate::fields::{self, Path};

/// A field whose value is text. Level, time, id, category, stream and signature are tests of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Origin(OriginField),
    /// Of the origin; where it has none, of the body.
    Either(OriginField, fields::Field),
    Body(fields::Field),
    /// What the application sent: the path to it.
    Data(Path),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginField {
    Tenant,
    TenantId,
    Namespace,
    Pod,
    Container,
    Node,
    Workload,
    Service,
    Environment,
    Version,
    Region,
    Plugin,
}

/// What a name before a comparison means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Level,
    Time,
    Id,
    Category,
    Stream,
    Signature,
    Field(Field),
}

/// The names as they are shown; found in any case and with `_` anywhere.
const NAMES: &[(&str, Name)] = {
    use OriginField::*;
    use fields::Field as F;
    const fn body(field: F) -> Name {
        Name::Field(Field::Body(field))
    }
    const fn origin(field: OriginField) -> Name {
        Name::Field(Field::Origin(field))
    }
    const fn either(origin: OriginField, body: F) -> Name {
        Name::Field(Field::Either(origin, body))
    }
    &[
        ("level", Name::Level),
        ("severity", Name::Level),
        ("time", Name::Time),
        ("timestamp", Name::Time),
        ("id", Name::Id),
        ("category", Name::Category),
        ("stream", Name::Stream),
        ("service", either(Service, F::Service)),
        ("tenant", origin(Tenant)),
        ("tenantSlug", origin(Tenant)),
        ("tenantId", origin(TenantId)),
        ("namespace", origin(Namespace)),
        ("pod", origin(Pod)),
        ("container", origin(Container)),
        ("node", origin(Node)),
        ("workload", origin(Workload)),
        ("environment", either(Environment, F::Environment)),
        ("version", either(Version, F::Version)),
        ("region", either(Region, F::Region)),
        ("plugin", either(Plugin, F::Plugin)),
        ("userId", body(F::UserId)),
        ("sessionId", body(F::SessionId)),
        ("impersonatorId", body(F::ImpersonatorId)),
        ("requestId", body(F::RequestId)),
        ("traceId", body(F::TraceId)),
        ("spanId", body(F::SpanId)),
        ("source", body(F::Source)),
        ("action", body(F::Action)),
        ("file", body(F::File)),
        ("line", body(F::Line)),
        ("function", body(F::Function)),
        ("logger", body(F::Logger)),
        ("taskId", body(F::TaskId)),
        ("pid", body(F::Pid)),
        ("message", body(F::Message)),
        ("msg", body(F::Message)),
        ("errorType", body(F::ErrorType)),
        ("errorCode", body(F::ErrorCode)),
        ("errorStack", body(F::ErrorStack)),
        ("signature", Name::Signature),
    ]
};

/// All names, as they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

pub(super) fn find(name: &str) -> Option<Name> {
    if let Some(path) = name.strip_prefix("data.") {
        return Path::dotted(path).filter(|_| !path.is_empty()).map(|path| Name::Field(Field::Data(path)));
    }
    let plain: String = name.chars().filter(|&c| c != '_').collect();
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(&plain)).map(|(_, name)| name.clone())
}

/// The message for a name that is none; `rest`: what follows it without a blank.
pub(super) fn unknown(name: &str, rest: &str) -> String {
    let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
    let key = if name.contains(['/', '@']) { format!("\"{name}\"") } else { name.to_owned() };
    let text = super::lex::in_quotes(&format!("{name}{rest}"));
    format!(
        "there is no field {name:?}; write data.{key}{rest} for a key of the application's own, or {text} in quotation marks to \
         search for the text. Fields: {}",
        known.join(", ")
    )
}
