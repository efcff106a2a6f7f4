//! The one table of names: what the common loggers call each field.

/// A field of FEATURES section 1 that a body can give.
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
    Signature,
    Environment,
    Version,
    Region,
    Metadata,
}

impl Field {
    pub const ALL: [Field; 25] = [
        Field::UserId,
        Field::SessionId,
        Field::ImpersonatorId,
        Field::RequestId,
        Field::TraceId,
        Field::SpanId,
        Field::Service,
        Field::Source,
        Field::Action,
        Field::File,
        Field::Line,
        Field::Function,
        Field::Logger,
        Field::TaskId,
        Field::Plugin,
        Field::Pid,
        Field::Message,
        Field::ErrorType,
        Field::ErrorCode,
        Field::ErrorStack,
        Field::Signature,
        Field::Environment,
        Field::Version,
        Field::Region,
        Field::Metadata,
    ];

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
            Field::Signature => "signature",
            Field::Environment => "environment",
            Field::Version => "version",
            Field::Region => "region",
            Field::Metadata => "metadata",
        }
    }
}
