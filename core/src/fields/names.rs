//! The one table of names: what the common loggers call each field. Names are compared in lower case and without `_`, `-`
//! and `.`, so `trace_id`, `traceId`, `TraceID` and `trace.id` are one row.

use super::key::{Field, Key, LevelKey, Place};
use super::scan::Text;
use super::table::{self, Entry};

impl Field {
    /// From [`Field::as_str`]'s name or any spelling of it (`trace_id`, `TRACE-ID`).
    pub fn from_name(name: &str) -> Option<Field> {
        let given = table::Normal::of(Text { raw: name.as_bytes(), escaped: false })?;
        Field::ALL.into_iter().find(|field| {
            table::Normal::of(Text { raw: field.as_str().as_bytes(), escaped: false })
                .is_some_and(|own| own.bytes() == given.bytes())
        })
    }
}

/// What `key` means at the top of a body.
pub fn lookup(key: Text<'_>) -> Option<Key> {
    let found = TABLE.find(key)?;
    // Only journald's own spelling is a syslog severity; a `priority` may be anybody's.
    if found.key == Key::Level(LevelKey::Syslog) && found.name == "priority" && &*key.bytes() != b"PRIORITY" {
        return None;
    }
    Some(found.key)
}

/// The same as [`lookup`] for what level and audit depend on; most other keys are passed over after a look at three letters.
#[inline]
pub fn lookup_quick(key: Text<'_>) -> Option<Key> {
    // (So most loggers call it.)
    if key.raw == b"level" {
        return Some(Key::Level(LevelKey::Word));
    }
    if key.raw.len() < 3 && key.raw.first() != Some(&b'@') {
        return None;
    }
    if !key.escaped
        && let [first, second, .., last] = key.raw
        && first.is_ascii_alphanumeric()
        && second.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && !TABLE.may_be_quick(*first, *second, *last)
    {
        return None;
    }
    lookup(key).filter(|key| key.matters_quick())
}

/// What `key` means inside of a `place`.
pub fn lookup_in(place: Place, key: Text<'_>) -> Option<Key> {
    use Field::*;
    let field = |field: Field, rank: u8| Some(Key::Field(field, rank));
    match place {
        Place::Fields => lookup(key),
        Place::Log => match table::Normal::of(key)?.bytes() {
            b"level" => Some(Key::Level(LevelKey::Word)),
            b"logger" => field(Logger, 0),
            _ => match lookup(key)? {
                found @ Key::Field(Message | ErrorType | ErrorCode | ErrorStack, _) => Some(found),
                _ => lookup_in(Place::Context, key),
            },
        },
        Place::Context => match lookup(key)? {
            Key::IsAudit => Some(Key::IsAudit),
            found @ Key::Field(
                UserId | SessionId | ImpersonatorId | RequestId | TraceId | SpanId | TaskId,
                _,
            ) => Some(found),
            found @ (Key::Field(Logger, 0) | Key::Place(Place::Error, _)) => Some(found),
            _ => None,
        },
        Place::Span => match table::Normal::of(key)?.bytes() {
            b"id" => field(SpanId, 0),
            _ => lookup_in(Place::Context, key),
        },
        Place::Error => match table::Normal::of(key)?.bytes() {
            b"type" | b"name" | b"class" | b"kind" | b"exceptiontype" | b"errortype" | b"classname"
            | b"exceptionclass" => field(ErrorType, 1),
            b"error" | b"err" | b"exception" | b"values" => Some(Key::Place(Place::Error, None)),
            b"code" | b"errorcode" => field(ErrorCode, 1),
            b"stack" | b"stacktrace" | b"errorstack" | b"traceback" | b"backtrace" | b"stacktracestring" => {
                field(ErrorStack, 1)
            }
            b"message" | b"msg" | b"value" | b"exceptionmessage" | b"errormessage" | b"description" => {
                field(Message, ERROR_MESSAGE_RANK)
            }
            _ => None,
        },
        Place::Location => match table::Normal::of(key)?.bytes() {
            b"file" | b"filename" | b"path" => field(File, 1),
            b"line" | b"lineno" | b"linenumber" => field(Line, 1),
            b"function" | b"func" | b"method" => field(Function, 1),
            _ => None,
        },
        Place::Service => match table::Normal::of(key)?.bytes() {
            b"name" => field(Service, 1),
            b"version" => field(Version, 1),
            b"environment" => field(Environment, 1),
            _ => None,
        },
        Place::Process => match table::Normal::of(key)?.bytes() {
            b"pid" | b"id" => field(Pid, 1),
            _ => None,
        },
        Place::Id(id) => match table::Normal::of(key)?.bytes() {
            b"id" => field(id, 1),
            _ => None,
        },
    }
}

/// An error's own message is the record's only when there is no other; it stays where it is, too.
pub const ERROR_MESSAGE_RANK: u8 = 9;

pub(super) static TABLE: table::Table<NAMES_COUNT> = table::Table::new(NAMES);

const NAMES_COUNT: usize = NAMES.len();

const fn field(name: &'static str, field: Field, rank: u8) -> Entry {
    entry(name, Key::Field(field, rank))
}

const fn level(name: &'static str, key: LevelKey) -> Entry {
    entry(name, Key::Level(key))
}

const fn place(name: &'static str, place: Place) -> Entry {
    entry(name, Key::Place(place, None))
}

const fn entry(name: &'static str, key: Key) -> Entry {
    Entry { name, key, quick: key.matters_quick() }
}

use Field::*;

/// Normalized names. `@` is kept: `@version` (Logstash) is not the application's version.
pub(super) const NAMES: &[Entry] = &[
    level("level", LevelKey::Word),
    level("lvl", LevelKey::Word),
    level("severity", LevelKey::Severity),
    level("sev", LevelKey::Word),
    level("errorseverity", LevelKey::Word),
    level("logseverity", LevelKey::Severity),
    level("severityname", LevelKey::Word),
    level("severitylabel", LevelKey::Word),
    level("levelstring", LevelKey::Word),
    level("levelstr", LevelKey::Word),
    level("leveltext", LevelKey::Word),
    level("levelvalue", LevelKey::Word),
    level("loglvl", LevelKey::Word),
    level("logsyslogseverityname", LevelKey::Word),
    level("logsyslogseveritycode", LevelKey::Syslog),
    level("loglevel", LevelKey::Word),
    level("levelname", LevelKey::Word),
    level("severitytext", LevelKey::Word),
    level("@level", LevelKey::Word),
    level("@l", LevelKey::Word),
    level("severitynumber", LevelKey::OtelNumber),
    level("syslogseverity", LevelKey::Syslog),
    level("syslogseveritycode", LevelKey::Syslog),
    level("sysloglevel", LevelKey::Syslog),
    level("priority", LevelKey::Syslog),
    level("levelno", LevelKey::Python),
    entry("isaudit", Key::IsAudit),
    field("message", Message, 0),
    field("msg", Message, 0),
    field("@message", Message, 0),
    field("@m", Message, 0),
    field("shortmessage", Message, 1),
    field("renderedmessage", Message, 1),
    field("event", Message, 2),
    field("body", Message, 2),
    field("text", Message, 5),
    field("textpayload", Message, 2),
    field("logmessage", Message, 2),
    field("formattedmessage", Message, 2),
    field("stringvalue", Message, 6),
    field("errormessage", Message, ERROR_MESSAGE_RANK),
    field("errormsg", Message, ERROR_MESSAGE_RANK),
    field("errmsg", Message, ERROR_MESSAGE_RANK),
    field("exceptionmessage", Message, ERROR_MESSAGE_RANK),
    field("messagetemplate", Message, 4),
    field("@mt", Message, 4),
    entry("log", Key::Place(Place::Log, Some((Message, 2)))),
    field("logger", Logger, 0),
    field("loggername", Logger, 0),
    field("loglogger", Logger, 0),
    field("sourcecontext", Logger, 0),
    field("target", Logger, 1),
    field("@module", Logger, 1),
    field("name", Logger, 2),
    place("fields", Place::Fields),
    place("record", Place::Fields),
    place("logevent", Place::Fields),
    place("logentry", Place::Fields),
    place("jsonpayload", Place::Fields),
    place("mdc", Place::Context),
    place("context", Place::Context),
    place("contextmap", Place::Context),
    place("ctx", Place::Context),
    place("extra", Place::Context),
    place("properties", Place::Context),
    place("attributes", Place::Context),
    place("span", Place::Span),
    place("trace", Place::Id(TraceId)),
    place("transaction", Place::Id(SpanId)),
    place("user", Place::Id(UserId)),
    place("session", Place::Id(SessionId)),
    place("req", Place::Id(RequestId)),
    place("request", Place::Id(RequestId)),
    place("task", Place::Id(TaskId)),
    field("userid", UserId, 0),
    field("sessionid", SessionId, 0),
    field("impersonatorid", ImpersonatorId, 0),
    field("requestid", RequestId, 0),
    field("reqid", RequestId, 1),
    field("xrequestid", RequestId, 1),
    field("httprequestid", RequestId, 1),
    field("traceid", TraceId, 0),
    field("oteltraceid", TraceId, 1),
    field("ddtraceid", TraceId, 2),
    field("@tr", TraceId, 1),
    field("logginggoogleapiscom/trace", TraceId, 2),
    field("spanid", SpanId, 0),
    field("otelspanid", SpanId, 1),
    field("ddspanid", SpanId, 2),
    field("@sp", SpanId, 1),
    field("logginggoogleapiscom/spanid", SpanId, 2),
    entry("service", Key::Place(Place::Service, Some((Service, 0)))),
    field("servicename", Service, 0),
    field("svc", Service, 1),
    entry("source", Key::Place(Place::Location, Some((Source, 0)))),
    field("component", Source, 1),
    field("subsystem", Source, 2),
    field("module", Source, 3),
    field("action", Action, 0),
    field("eventaction", Action, 1),
    entry("file", Key::Place(Place::Location, Some((File, 0)))),
    field("filename", File, 1),
    field("pathname", File, 0),
    field("sourcefile", File, 0),
    field("codefilepath", File, 0),
    field("codefile", File, 0),
    field("logoriginfilename", File, 0),
    entry("caller", Key::Caller),
    entry("@caller", Key::Caller),
    place("sourcelocation", Place::Location),
    place("logginggoogleapiscom/sourcelocation", Place::Location),
    place("location", Place::Location),
    field("line", Line, 0),
    field("lineno", Line, 0),
    field("linenumber", Line, 0),
    field("sourceline", Line, 0),
    field("codelineno", Line, 0),
    field("codeline", Line, 0),
    field("logoriginfileline", Line, 0),
    field("function", Function, 0),
    field("func", Function, 0),
    field("funcname", Function, 0),
    field("functionname", Function, 0),
    field("codefunction", Function, 0),
    field("codefunc", Function, 0),
    field("logoriginfunction", Function, 0),
    field("taskid", TaskId, 0),
    field("plugin", Plugin, 0),
    field("pluginid", Plugin, 0),
    field("pluginname", Plugin, 1),
    field("pid", Pid, 0),
    field("processid", Pid, 0),
    field("processpid", Pid, 0),
    entry("process", Key::Place(Place::Process, Some((Pid, 1)))),
    place("err", Place::Error),
    place("error", Place::Error),
    place("exception", Place::Error),
    place("thrown", Place::Error),
    place("throwable", Place::Error),
    place("errors", Place::Error),
    place("@x", Place::Error),
    field("errortype", ErrorType, 0),
    field("errorclass", ErrorType, 0),
    field("errorname", ErrorType, 1),
    field("exceptiontype", ErrorType, 0),
    field("exceptionclass", ErrorType, 0),
    field("exctype", ErrorType, 0),
    field("errorcode", ErrorCode, 0),
    field("errcode", ErrorCode, 0),
    field("statecode", ErrorCode, 1),
    field("sqlstatecode", ErrorCode, 1),
    field("sqlstate", ErrorCode, 1),
    field("exceptioncode", ErrorCode, 0),
    field("errorstack", ErrorStack, 0),
    field("errorstacktrace", ErrorStack, 0),
    field("exceptionstacktrace", ErrorStack, 0),
    field("exceptionbacktrace", ErrorStack, 0),
    field("errorbacktrace", ErrorStack, 0),
    field("stack", ErrorStack, 0),
    field("stacktrace", ErrorStack, 0),
    field("backtrace", ErrorStack, 0),
    field("traceback", ErrorStack, 0),
    field("excinfo", ErrorStack, 1),
    field("exctext", ErrorStack, 1),
    field("errorverbose", ErrorStack, 2),
    field("environment", Environment, 0),
    field("env", Environment, 1),
    field("deploymentenvironment", Environment, 0),
    field("deploymentenvironmentname", Environment, 0),
    field("serviceenvironment", Environment, 0),
    field("version", Version, 0),
    field("serviceversion", Version, 0),
    field("appversion", Version, 1),
    field("region", Region, 0),
    field("cloudregion", Region, 0),
    field("awsregion", Region, 1),
    field("metadata", Metadata, 0),
];
