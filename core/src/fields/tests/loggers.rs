//! What each of the common loggers writes, and what becomes of it.

use super::check;

#[test]
fn json_loggers() {
    check(&[
        // pino
        (
            r#"{"level":30,"time":1700000000000,"pid":7,"hostname":"h","name":"api","reqId":"r1","msg":"hi"}"#,
            r#"INFO requestId=r1 logger=api pid=7 message=hi | {"level":30,"time":1700000000000,"hostname":"h"}"#,
        ),
        (
            r#"{"level":50,"err":{"type":"TypeError","message":"x is not","stack":"TypeError: x\n at a","code":"E1"},"msg":"failed"}"#,
            "ERROR message=failed errorType=TypeError errorCode=E1 errorStack=TypeError: x\n at a | {\"level\":50,\"err\":{\"message\":\"x is not\"}}",
        ),
        // bunyan
        (
            r#"{"name":"svc","hostname":"h","pid":12,"level":40,"msg":"slow","time":"2026-01-01T00:00:00Z","v":0}"#,
            r#"WARN logger=svc pid=12 message=slow | {"hostname":"h","level":40,"time":"2026-01-01T00:00:00Z","v":0}"#,
        ),
        // zap
        (
            r#"{"level":"warn","ts":1.5,"logger":"db","caller":"db/pool.go:42","msg":"retry","stacktrace":"a\nb","attempt":3}"#,
            "WARN file=db/pool.go line=42 logger=db message=retry errorStack=a\nb | {\"ts\":1.5,\"attempt\":3}",
        ),
        // zerolog
        (
            r#"{"level":"error","error":"connection reset","time":"t","message":"send"}"#,
            r#"ERROR message=send | {"error":"connection reset","time":"t"}"#,
        ),
        // logrus
        (
            r#"{"level":"warning","msg":"m","time":"t","func":"main.main","file":"/a/main.go:3"}"#,
            r#"WARN file=/a/main.go line=3 function=main.main message=m | {"level":"warning","time":"t"}"#,
        ),
        // slog
        (
            r#"{"time":"t","level":"INFO","source":{"function":"main.f","file":"m.go","line":9},"msg":"m","user_id":5}"#,
            r#"INFO userId=5 file=m.go line=9 function=main.f message=m | {"time":"t"}"#,
        ),
        // logback (Logstash encoder)
        (
            r#"{"@timestamp":"t","@version":"1","message":"m","logger_name":"com.A","thread_name":"main","level":"ERROR","level_value":40000,"stack_trace":"java.lang.X: y\n\tat z"}"#,
            "ERROR logger=com.A message=m errorStack=java.lang.X: y\n\tat z | {\"@timestamp\":\"t\",\"@version\":\"1\",\"thread_name\":\"main\",\"level_value\":40000}",
        ),
        // log4j2 JsonTemplateLayout / ECS
        (
            r#"{"@timestamp":"t","log.level":"WARN","message":"m","log.logger":"com.B","trace.id":"t1","error.type":"E","error.stack_trace":"s","service.name":"shop"}"#,
            r#"WARN traceId=t1 service=shop logger=com.B message=m errorType=E errorStack=s | {"@timestamp":"t"}"#,
        ),
        (
            r#"{"log":{"level":"error","logger":"x"},"trace":{"id":"t"},"span":{"id":"s"},"user":{"id":"u","name":"n"},"message":"m"}"#,
            r#"ERROR userId=u traceId=t spanId=s logger=x message=m | {"log":{"level":"error"},"user":{"name":"n"}}"#,
        ),
        // log4j2 JsonLayout
        (
            r#"{"level":"FATAL","loggerName":"L","message":"m","contextMap":{"traceId":"t","k":"v"}}"#,
            r#"ERROR traceId=t logger=L message=m | {"level":"FATAL","contextMap":{"k":"v"}}"#,
        ),
        // Serilog (compact)
        (
            r#"{"@t":"t","@l":"Warning","@mt":"Hello {Name}","@m":"Hello Al","@x":"System.Exception: b\n at c","@tr":"t1","SourceContext":"App.X"}"#,
            "WARN traceId=t1 logger=App.X message=Hello Al errorStack=System.Exception: b\n at c | {\"@t\":\"t\",\"@l\":\"Warning\",\"@mt\":\"Hello {Name}\"}",
        ),
        // .NET console
        (
            r#"{"EventId":0,"LogLevel":"Critical","Category":"A.B","Message":"m"}"#,
            r#"ERROR message=m | {"EventId":0,"LogLevel":"Critical","Category":"A.B"}"#,
        ),
        // tracing-subscriber
        (
            r#"{"timestamp":"t","level":"DEBUG","fields":{"message":"hi","order":5},"target":"app::db","filename":"src/a.rs","line_number":7,"span":{"name":"req","request_id":"r"}}"#,
            r#"DEBUG requestId=r file=src/a.rs line=7 logger=app::db message=hi | {"timestamp":"t","fields":{"order":5},"span":{"name":"req"}}"#,
        ),
        // python-json-logger
        (
            r#"{"asctime":"t","levelname":"WARNING","name":"audit.login","message":"m","exc_info":"Traceback\n x","funcName":"f","lineno":3,"process":44}"#,
            "WARN audit line=3 function=f logger=audit.login pid=44 message=m errorStack=Traceback\n x | {\"asctime\":\"t\",\"levelname\":\"WARNING\"}",
        ),
        (r#"{"levelno":30,"message":"m"}"#, r#"WARN message=m | {"levelno":30}"#),
        // structlog
        (r#"{"event":"user_login","level":"info","user_id":"u"}"#, r#"INFO userId=u message=user_login"#),
        // loguru
        (
            r#"{"text":"2026 | ERROR | boom\n","record":{"level":{"icon":"x","name":"ERROR","no":40},"message":"boom","function":"f","line":8,"name":"m","process":{"id":3}}}"#,
            "ERROR line=8 function=f logger=m pid=3 message=boom | {\"text\":\"2026 | ERROR | boom\\n\",\"record\":{\"level\":{\"icon\":\"x\",\"name\":\"ERROR\",\"no\":40},\"process\":{\"id\":3}}}",
        ),
        // winston with colours
        (
            r#"{"level":"\u001b[33mwarn\u001b[39m","message":"m"}"#,
            r#"WARN message=m | {"level":"\u001b[33mwarn\u001b[39m"}"#,
        ),
        // Monolog
        (
            r#"{"message":"m","context":{"user_id":3},"level":300,"level_name":"WARNING","channel":"app"}"#,
            r#"WARN userId=3 message=m | {"level":300,"level_name":"WARNING","channel":"app"}"#,
        ),
        // Google
        (
            r#"{"severity":"NOTICE","message":"m","logging.googleapis.com/trace":"projects/p/traces/t","logging.googleapis.com/sourceLocation":{"file":"a.py","line":"3"}}"#,
            r#"INFO traceId=t file=a.py line=3 message=m | {"severity":"NOTICE"}"#,
        ),
        // OpenTelemetry, journald, GELF
        (
            r#"{"severityText":"odd","severityNumber":21,"body":"m"}"#,
            r#"ERROR message=m | {"severityText":"odd","severityNumber":21}"#,
        ),
        (r#"{"PRIORITY":"4","MESSAGE":"m","_PID":"9"}"#, r#"WARN pid=9 message=m | {"PRIORITY":"4"}"#),
        (r#"{"priority":"3","msg":"m"}"#, r#"INFO message=m | {"priority":"3"}"#),
        (
            r#"{"version":"1.1","short_message":"m","level":3}"#,
            r#"ERROR message=m version=1.1 | {"level":3}"#,
        ),
        (r#"{"level":3,"msg":"m"}"#, r#"INFO message=m | {"level":3}"#),
        (r#"{"syslog_severity":0,"log":"m"}"#, r#"ERROR message=m | {"syslog_severity":0}"#),
        // hclog
        (r#"{"@level":"trace","@message":"m","@module":"plug"}"#, "TRACE logger=plug message=m"),
    ]);
}

#[test]
fn names_in_every_spelling() {
    check(&[
        (
            r#"{"trace_id":"a","spanId":"b","Request-ID":"c","TASK_ID":7,"sessionid":"d","impersonatorId":"e"}"#,
            "INFO sessionId=d impersonatorId=e requestId=c traceId=a spanId=b taskId=7",
        ),
        (r#"{"_msg":"m","lvl":"D"}"#, r#"DEBUG message=m | {"lvl":"D"}"#),
        (r#"{"\u006cevel":"error","ms\u0067":"x"}"#, "ERROR message=x"),
    ]);
}

#[test]
fn what_wins() {
    check(&[
        // The first of two equals; a word that is no level is passed over and stays data.
        (r#"{"level":"warn","level":"error"}"#, r#"WARN | {"level":"error"}"#),
        (r#"{"level":"kids","severity":"error"}"#, r#"ERROR | {"level":"kids"}"#),
        (r#"{"severityNumber":5,"level":"error"}"#, r#"ERROR | {"severityNumber":5}"#),
        (r#"{"fields":{"level":"debug"},"lvl":"warn"}"#, r#"WARN | {"fields":{"level":"debug"}}"#),
        (r#"{"msg":"a","message":"b"}"#, r#"INFO message=a | {"message":"b"}"#),
        (r#"{"err":{"message":"boom"}}"#, r#"INFO message=boom | {"err":{"message":"boom"}}"#),
        // Known fields of a kind that they cannot be are data; nulls and empty ids are nothing.
        (
            r#"{"user_id":{"a":1},"trace_id":null,"span_id":"","line":"x","msg":""}"#,
            r#"INFO message= | {"user_id":{"a":1},"line":"x"}"#,
        ),
        // Whose record it is and where it ran is not the body's to say.
        (
            r#"{"msg":"m","tenant":"other","tenantId":"o","kubernetes":{"namespace":"x"},"namespace":"n","pod":"p","id":"1","stream":"s"}"#,
            r#"INFO message=m | {"tenant":"other","tenantId":"o","kubernetes":{"namespace":"x"},"namespace":"n","pod":"p","id":"1","stream":"s"}"#,
        ),
    ]);
}

#[test]
fn audit() {
    check(&[
        (
            r#"{"is_audit":true,"msg":"m","action":"login","metadata":{"a":1}}"#,
            r#"INFO audit action=login message=m metadata={"a":1}"#,
        ),
        (r#"{"isAudit":"True","msg":"m"}"#, r#"INFO audit message=m | {"isAudit":"True"}"#),
        (
            r#"{"is_audit":false,"msg":"m","metadata":{"a":1}}"#,
            r#"INFO message=m | {"is_audit":false,"metadata":{"a":1}}"#,
        ),
        (r#"{"logger":"audit.user","msg":"m"}"#, "INFO audit logger=audit.user message=m"),
        (r#"{"logger":"audits","msg":"m"}"#, "INFO logger=audits message=m"),
        (r#"{"msg":"\u005bAUDIT] m"}"#, "INFO audit message=[AUDIT] m"),
        (
            r#"{"fields":{"is_audit":true,"message":"m"}}"#,
            r#"INFO audit message=m | {"fields":{"is_audit":true}}"#,
        ),
        ("[AUDIT] a line", "INFO audit message=[AUDIT] a line"),
        ("a [AUDIT] line", "INFO message=a [AUDIT] line"),
    ]);
}

#[test]
fn text_lines() {
    check(&[
        ("plain", "INFO message=plain"),
        ("", "INFO message="),
        ("2026-01-02 03:04:05,678 ERROR foo", "ERROR message=2026-01-02 03:04:05,678 ERROR foo"),
        ("2026-01-02T03:04:05Z [WARN] foo", "WARN message=2026-01-02T03:04:05Z [WARN] foo"),
        ("[2026-01-02] [error] foo", "ERROR message=[2026-01-02] [error] foo"),
        ("level=error msg=x", "ERROR message=level=error msg=x"),
        (r#"time="t" level="debug" msg=x"#, r#"DEBUG message=time="t" level="debug" msg=x"#),
        (
            "E0102 15:04:05.000000       1 main.go:3] x",
            "ERROR message=E0102 15:04:05.000000       1 main.go:3] x",
        ),
        (
            "I0102 15:04:05.000000       1 main.go:3] x ERROR",
            "INFO message=I0102 15:04:05.000000       1 main.go:3] x ERROR",
        ),
        ("warn: disk is filling", "WARN message=warn: disk is filling"),
        ("<3>kernel oops", "ERROR message=<3>kernel oops"),
        ("an error occurred", "INFO message=an error occurred"),
        ("no errors at all, no WARNings", "INFO message=no errors at all, no WARNings"),
        ("12:00 |WARN | x", "WARN message=12:00 |WARN | x"),
        ("INFO:root:x", "INFO message=INFO:root:x"),
        ("DEBUG:root:x", "DEBUG message=DEBUG:root:x"),
        ("\u{1b}[31mERROR\u{1b}[0m x", "ERROR message=\u{1b}[31mERROR\u{1b}[0m x"),
        // An object that breaks off is text; what its members said holds.
        (r#"{"level":"error","msg":"cut he"#, r#"ERROR message={"level":"error","msg":"cut he"#),
        (r#"{"level":"warn"} and more"#, r#"WARN message={"level":"warn"} and more"#),
        ("{main} ERROR x", "ERROR message={main} ERROR x"),
        ("[1,2]", "INFO message=[1,2]"),
    ]);
}
