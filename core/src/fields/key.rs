//! The meanings that a name in a body can have.

/// A field that a body can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    UserId,
    SessionId,
    ImpersonatorId,
    RequestId,
    TraceId,
    SpanId,
    Service,
    Source,
    Action,
    File,
    Line,
    Function,
    Logger,
    TaskId,
    Plugin,
    Pid,
    Message,
    ErrorType,
    ErrorCode,
    ErrorStack,
    Environment,
    Version,
    Region,
    /// Only of audit records; otherwise it is data.
    Metadata,
}

impl Field {
    pub const COUNT: usize = 24;

    pub const ALL: [Field; Field::COUNT] = {
        use Field::*;
        [
            UserId,
            SessionId,
            ImpersonatorId,
            RequestId,
            TraceId,
            SpanId,
            Service,
            Source,
            Action,
            File,
            Line,
            Function,
            Logger,
            TaskId,
            Plugin,
            Pid,
            Message,
            ErrorType,
            ErrorCode,
            ErrorStack,
            Environment,
            Version,
            Region,
            Metadata,
        ]
    };

    /// The name under which an entry shows it (camelCase).
    pub fn as_str(self) -> &'static str {
        match self {
            Field::UserId => "userId",
            Field::SessionId => "sessionId",
            Field::ImpersonatorId => "impersonatorId",
            Field::RequestId => "requestId",
            Field::TraceId => "traceId",
            Field::SpanId => "spanId",
            Field::Service => "service",
            Field::Source => "source",
            Field::Action => "action",
            Field::File => "file",
            Field::Line => "line",
            Field::Function => "function",
            Field::Logger => "logger",
            Field::TaskId => "taskId",
            Field::Plugin => "plugin",
            Field::Pid => "pid",
            Field::Message => "message",
            Field::ErrorType => "errorType",
            Field::ErrorCode => "errorCode",
            Field::ErrorStack => "errorStack",
            Field::Environment => "environment",
            Field::Version => "version",
            Field::Region => "region",
            Field::Metadata => "metadata",
        }
    }
}

/// How a level is written in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelKey {
    /// A word, or a number of the common loggers.
    Word,
    /// The same, in whose numbers Google's are.
    Severity,
    /// OpenTelemetry's severity number, 1 to 24.
    OtelNumber,
    /// Syslog's severity, 0 to 7.
    Syslog,
    /// Python's `levelno`.
    Python,
}

/// An object whose members are fields of the record too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Members mean what they mean at the top: `fields` (tracing), `record` (loguru), a message that is an object.
    Fields,
    /// `log` (ECS): level and logger; and what any record may say of itself.
    Log,
    /// Context that frameworks add, and what libraries let callers add: only ids and `is_audit` are looked for.
    Context,
    /// An error.
    Error,
    /// File, line and function.
    Location,
    Service,
    Process,
    /// Its `id` is this field.
    Id(Field),
    /// A tracing span: its `id`, and context.
    Span,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The field, and how sure the name is: the lowest rank that is present wins, then the first.
    Field(Field, u8),
    Level(LevelKey),
    IsAudit,
    /// An object of this kind; the second is what it means when it is a string or a number.
    Place(Place, Option<(Field, u8)>),
    /// `file:line` in one text, or an object.
    Caller,
}

impl Key {
    /// Whether level, audit or task can depend on it.
    pub(super) const fn matters_quick(self) -> bool {
        matches!(
            self,
            Key::Level(_)
                | Key::IsAudit
                | Key::Field(Field::Message | Field::Logger | Field::TaskId, _)
                | Key::Place(
                    Place::Fields | Place::Log | Place::Context | Place::Span | Place::Id(Field::TaskId),
                    _
                )
        )
    }
}
