//! Writes a line for people, in development: `15:30:45.123 INFO  shop::cart: paid orderId=17 (src/cart.rs:12)`.
//! Promises: nothing that a text holds moves the cursor or colours the terminal.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const RESET: &str = "\u{1b}[0m";
const DIM: &str = "\u{1b}[2m";

/// The text of one JSON line.
pub fn render(line: &[u8], is_coloured: bool) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(line) else { return line.to_vec() };
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (time, level, message) = (take("timestamp"), take("level"), take("message"));
    let (logger, source) = (take("logger"), take("source"));
    let (file, number, stack) = (take("file"), take("line"), take("errorStack"));
    let colour = |code: &'static str| if is_coloured { code } else { "" };
    let (dim, reset) = (colour(DIM), colour(RESET));
    let of_level = colour(match level.as_str() {
        "ERROR" => "\u{1b}[1;31m",
        "WARN" => "\u{1b}[33m",
        "INFO" => "\u{1b}[32m",
        "DEBUG" => "\u{1b}[36m",
        _ => DIM,
    });
    let clock = time.get(11..23).unwrap_or(&time);
    let mut out = format!("{dim}{clock}{reset} {of_level}{level:<5}{reset} {}", printable(&logger));
    if !source.is_empty() {
        let _ = write!(out, "[{}]", printable(&source));
    }
    let _ = write!(out, ": {}", printable(&message));
    for (name, value) in shown(&fields) {
        let _ = write!(out, " {dim}{}={reset}{}", printable(name), printable(&short(value)));
    }
    if !file.is_empty() {
        let _ = write!(out, " {dim}({}:{number}){reset}", printable(&file));
    }
    out.push('\n');
    for of_stack in stack.lines() {
        let _ = writeln!(out, "    {}", printable(of_stack));
    }
    out.into_bytes()
}

/// The process's own fields are the same in every line and say nothing to who sits before it.
fn shown(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    fields.iter().filter(|(name, _)| {
        !["service", "environment", "version", "region", "function"].contains(&name.as_str())
    })
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains([' ', '=', '"']) => text.clone(),
        other => other.to_string(),
    }
}

/// The text without what a terminal obeys; its lines go on indented.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\n    "),
            '\t' => out.push('\t'),
            other if other.is_control() => out.extend(other.escape_unicode()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_readable_and_harmless() {
        let line = br#"{"timestamp":"2025-12-30T15:30:45.123456Z","level":"WARN","message":"a\u001b[31mb\nnext","service":"shop","logger":"shop::cart","source":"api","orderId":17,"note":"two words","file":"src/a.rs","line":12,"errorStack":"E: x\nCaused by: y"}"#;
        let text = String::from_utf8(render(line, false)).expect("UTF-8");
        let expected = "15:30:45.123 WARN  shop::cart[api]: a\\u{1b}[31mb\n    next note=\"two words\" orderId=17 (src/a.rs:12)\n    E: x\n    Caused by: y\n";
        assert_eq!(text, expected);
        let coloured = String::from_utf8(render(line, true)).expect("UTF-8");
        assert!(coloured.contains("\u{1b}[33mWARN "), "{coloured:?}");
    }
}
