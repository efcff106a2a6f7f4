mod agree;
mod bad;
mod cases;
mod kinds;
mod loggers;

use super::*;

/// The fields of a body as one line of text: `LEVEL [audit] field=value ... | data`.
fn show(body: &str) -> String {
    let fields = read(body.as_bytes());
    let quick = quick(body.as_bytes());
    assert_eq!((fields.level, fields.audit), (quick.level, quick.audit), "quick and read differ for {body}");
    let mut out = fields.level.to_string();
    if fields.audit {
        out.push_str(" audit");
    }
    for field in Field::ALL {
        if let Some(text) = fields.get(field) {
            out.push_str(&format!(" {}={text}", field.as_str()));
        }
    }
    if let Some(data) = fields.data_json() {
        out.push_str(&format!(" | {data}"));
    }
    out
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    for (body, expected) in rows {
        assert_eq!(show(body), *expected, "body: {body}");
    }
}

/// A file of Windows, or a container's output with its line ends.
#[test]
fn a_carriage_return_at_the_end_is_not_of_the_message() {
    let message = |body: &'static str| read(body.as_bytes()).get(Field::Message).map(str::to_owned);
    assert_eq!(message("windows line\r").as_deref(), Some("windows line"));
    assert_eq!(message("in\rside").as_deref(), Some("in\rside"));
    assert_eq!(message("{\"msg\":\"windows json\"}\r").as_deref(), Some("windows json"));
}
