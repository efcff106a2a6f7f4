//! Names of fields in expressions.

/// A field whose value is text. Level, time, id, category and stream are tests of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Origin(OriginField),
    /// Of the origin; where it has none, of the body.
    Service,
    Body(BodyField),
    /// What the application sent besides: the keys of its path.
    Data(Vec<String>),
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
    Environment,
    Version,
    Region,
    Plugin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BodyField {
    UserId,
    SessionId,
    ImpersonatorId,
    RequestId,
    TraceId,
    SpanId,
    Source,
    Action,
    File,
    Line,
    Function,
    Logger,
    TaskId,
    Pid,
    Message,
    ErrorType,
    ErrorCode,
    ErrorStack,
}

/// What a name before a comparison means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Level,
    Time,
    Id,
    Category,
    Stream,
    Field(Field),
}

/// The names as they are shown; found in any case and with `_` anywhere.
const NAMES: &[(&str, Name)] = {
    use BodyField::*;
    use OriginField::*;
    &[
        ("level", Name::Level),
        ("severity", Name::Level),
        ("time", Name::Time),
        ("timestamp", Name::Time),
        ("id", Name::Id),
        ("category", Name::Category),
        ("stream", Name::Stream),
        ("service", Name::Field(Field::Service)),
        ("tenant", Name::Field(Field::Origin(Tenant))),
        ("tenantSlug", Name::Field(Field::Origin(Tenant))),
        ("tenantId", Name::Field(Field::Origin(TenantId))),
        ("namespace", Name::Field(Field::Origin(Namespace))),
        ("pod", Name::Field(Field::Origin(Pod))),
        ("container", Name::Field(Field::Origin(Container))),
        ("node", Name::Field(Field::Origin(Node))),
        ("workload", Name::Field(Field::Origin(Workload))),
        ("environment", Name::Field(Field::Origin(Environment))),
        ("version", Name::Field(Field::Origin(Version))),
        ("region", Name::Field(Field::Origin(Region))),
        ("plugin", Name::Field(Field::Origin(Plugin))),
        ("userId", Name::Field(Field::Body(UserId))),
        ("sessionId", Name::Field(Field::Body(SessionId))),
        ("impersonatorId", Name::Field(Field::Body(ImpersonatorId))),
        ("requestId", Name::Field(Field::Body(RequestId))),
        ("traceId", Name::Field(Field::Body(TraceId))),
        ("spanId", Name::Field(Field::Body(SpanId))),
        ("source", Name::Field(Field::Body(Source))),
        ("action", Name::Field(Field::Body(Action))),
        ("file", Name::Field(Field::Body(File))),
        ("line", Name::Field(Field::Body(Line))),
        ("function", Name::Field(Field::Body(Function))),
        ("logger", Name::Field(Field::Body(Logger))),
        ("taskId", Name::Field(Field::Body(TaskId))),
        ("pid", Name::Field(Field::Body(Pid))),
        ("message", Name::Field(Field::Body(Message))),
        ("msg", Name::Field(Field::Body(Message))),
        ("errorType", Name::Field(Field::Body(ErrorType))),
        ("errorCode", Name::Field(Field::Body(ErrorCode))),
        ("errorStack", Name::Field(Field::Body(ErrorStack))),
    ]
};

pub(super) fn find(name: &str) -> Option<Name> {
    if let Some(path) = name.strip_prefix("data.") {
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        return keys.iter().all(|key| !key.is_empty()).then_some(Name::Field(Field::Data(keys)));
    }
    let plain: String = name.chars().filter(|&c| c != '_').collect();
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(&plain)).map(|(_, name)| name.clone())
}

/// The message for a name that is none.
pub(super) fn unknown(name: &str) -> String {
    let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
    format!(
        "there is no field {name:?}; write data.{name} for a key of the application's own, or put the text in \
         quotation marks to search for it. Fields: {}",
        known.join(", ")
    )
}
