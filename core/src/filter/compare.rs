//! Turns comparisons of a field with values into tests of the syntax tree.

use crate::decimal::{self, Decimal};
use crate::identity::RecordId;
use crate::level::Level;
use crate::limits::FILTER_PATTERN_BYTES_MAX;
use crate::signature::{Signature, is_grouped};
use crate::tokens::words;

use super::find::Needle;
use super::lex::{Op, error, in_quotes};
use super::names::{Field, Name};
use super::phrase::Phrase;
use super::stars::Stars;
use super::{Expr, FilterError, Is, Test, eval, literal, time};

/// One side of a comparison.
#[derive(Debug)]
pub(super) struct Value {
    pub text: String,
    pub quoted: bool,
    /// Characters before it.
    pub at: usize,
}

/// What is compared: a field, where its name stands, and as what it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub name: &'a Name,
    pub written: &'a str,
    pub at: usize,
}

impl Subject<'_> {
    fn test(&self, field: &Field, is: Is, how: &str) -> Expr {
        let needle = needle(field, &is);
        let written = format!("{}{how}", self.written);
        Expr::Test(Test::Field { field: field.clone(), is, needle, written })
    }
}

pub(super) fn compare(subject: Subject<'_>, op: Op, value: &Value) -> Result<Expr, FilterError> {
    if !value.quoted {
        refuse_look_alikes(subject, op, value)?;
    }
    let is_any = op == Op::Has && value.text == "*" && !value.quoted;
    let only_equal = |what: &str| match op {
        Op::Has | Op::Equal | Op::NotEqual => Ok(()),
        _ => Err(error(subject.at, format!("{what} can be compared with : = and != only"))),
    };
    let test = match subject.name {
        Name::Field(field) => return field_compare(subject, field, op, value),
        _ if is_any => return exists(subject),
        Name::Time => return time_test(op, &value.text, value.at),
        Name::Level if value.text.eq_ignore_ascii_case("unknown") => {
            only_equal("level unknown")?;
            Test::Unleveled(true)
        }
        Name::Level => {
            let level = Level::from_word(value.text.as_bytes()).ok_or_else(|| {
                let text = &value.text;
                error(
                    value.at,
                    format!("{text:?} is not a level; write trace, debug, info, warn, error or unknown"),
                )
            })?;
            Test::Level(
                Level::ALL.iter().filter(|l| holds(op, **l as u8, level as u8)).fold(0, |m, l| m | l.bit()),
            )
        }
        Name::Id => {
            only_equal("id")?;
            return id_test(op, &value.text, value.at);
        }
        Name::Category => {
            only_equal("category")?;
            Test::Audit(choice(value, "audit", "system")?)
        }
        Name::Stream => {
            only_equal("stream")?;
            Test::Stderr(choice(value, "stderr", "stdout")?)
        }
        Name::Signature => {
            only_equal("signature")?;
            Test::Signature(signature(op, value)?)
        }
    };
    // A level's set is already turned round.
    let negate = op == Op::NotEqual && !matches!(test, Test::Level(_));
    Ok(if negate { not(Expr::Test(test)) } else { Expr::Test(test) })
}

fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}

/// What is no value here, but is one in other languages.
fn refuse_look_alikes(subject: Subject<'_>, op: Op, value: &Value) -> Result<(), FilterError> {
    let (name, text) = (subject.written, value.text.as_str());
    let instead = match (op, text.chars().next()) {
        (Op::Equal | Op::Has, Some('~')) => {
            format!("write {name} REGEXP \"...\" for a regular expression")
        }
        (Op::Equal, Some('>' | '<')) => format!("write {name}{}={}", &text[..1], &text[1..]),
        (Op::Less, Some('>')) => format!("write {name}!={}", &text[1..]),
        (Op::Equal | Op::NotEqual, _) if text.contains('*') => {
            let pattern = if op == Op::NotEqual { "NOT " } else { "" };
            format!("= compares as it stands; write {pattern}{name}:{text} for a pattern")
        }
        (Op::Has, Some('[' | '{'))
            if text[1..].starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with(']') =>
        {
            format!("write {name}>={} {name}<=... for a range", &text[1..])
        }
        _ => return Ok(()),
    };
    Err(error(value.at, format!("{instead}, or {} in quotation marks for the text itself", in_quotes(text))))
}

fn field_compare(subject: Subject<'_>, field: &Field, op: Op, value: &Value) -> Result<Expr, FilterError> {
    let text = value.text.as_str();
    let has_stars = !value.quoted && text.contains('*');
    let number = || Decimal::parse(text).filter(|_| !value.quoted);
    let is = match op {
        Op::Has if has_stars && text == "*" => Is::Present,
        Op::Has if eval::is_prose(field) && has_stars => {
            Is::Words(Phrase::pattern(text).map_err(|message| error(value.at, message))?)
        }
        Op::Has if eval::is_prose(field) => Is::Words(
            Phrase::new(text)
                .ok_or_else(|| error(value.at, format!("{text:?} has no letter or digit to search for")))?,
        ),
        Op::Has if has_stars => Is::Stars(Stars::new(&words::lower(text.as_bytes()))),
        Op::Has => match (field, number()) {
            (Field::Data(_), Some(number)) => Is::Number { text: text.to_owned(), number },
            _ => Is::EqualAnyCase(words::lower(text.as_bytes())),
        },
        Op::Equal | Op::NotEqual => match (field, number()) {
            (Field::Data(_), Some(number)) => Is::Number { text: text.to_owned(), number },
            _ => Is::Equal(text.to_owned()),
        },
        Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => Is::Order {
            value: text.to_owned(),
            number: number(),
            less: matches!(op, Op::Less | Op::LessOrEqual),
            equal: matches!(op, Op::LessOrEqual | Op::GreaterOrEqual),
            greater: matches!(op, Op::Greater | Op::GreaterOrEqual),
        },
    };
    let how = match op {
        Op::Has => format!(":{text}"),
        Op::Equal | Op::NotEqual => format!("={text}"),
        Op::Less | Op::LessOrEqual => format!("<{text}"),
        Op::Greater | Op::GreaterOrEqual => format!(">{text}"),
    };
    let test = subject.test(field, is, &how);
    Ok(if op == Op::NotEqual { not(test) } else { test })
}

pub(super) fn exists(subject: Subject<'_>) -> Result<Expr, FilterError> {
    Ok(match subject.name {
        Name::Field(field) => subject.test(field, Is::Present, " EXISTS"),
        Name::Signature => {
            let grouped = Level::ALL.iter().filter(|level| is_grouped(**level));
            Expr::Test(Test::Level(grouped.fold(0, |mask, level| mask | level.bit())))
        }
        // Every record has one.
        _ => Expr::And(Vec::new()),
    })
}

pub(super) fn is_in(subject: Subject<'_>, values: &[Value]) -> Result<Expr, FilterError> {
    let any = values.iter().map(|value| {
        // What stands in a list is a value, whatever it looks like.
        let is_number = Decimal::parse(&value.text).is_some();
        let quoted = value.quoted || !is_number;
        compare(subject, Op::Equal, &Value { text: value.text.clone(), quoted, at: value.at })
    });
    Ok(Expr::Or(any.collect::<Result<_, _>>()?))
}

fn text_field(subject: Subject<'_>, operator: &str) -> Result<Field, FilterError> {
    match subject.name {
        Name::Field(field) => Ok(field.clone()),
        _ => Err(error(
            subject.at,
            format!(
                "{operator} asks for text, which {} is not; compare it with = or IN (...)",
                subject.written
            ),
        )),
    }
}

pub(super) fn contains(subject: Subject<'_>, value: &Value) -> Result<Expr, FilterError> {
    let field = text_field(subject, "CONTAINS")?;
    let lower = words::lower(value.text.as_bytes());
    if lower.is_empty() {
        return Err(error(
            value.at,
            "every value contains nothing; write EXISTS to ask whether there is one",
        ));
    }
    let words = literal::whole_words(&value.text);
    Ok(subject.test(&field, Is::Contains { lower, words }, &format!(" CONTAINS {}", in_quotes(&value.text))))
}

/// SQL's: `%` is any text, `_` one character, `\%` and `\_` are themselves; the whole value, as it is written.
pub(super) fn like(subject: Subject<'_>, value: &Value) -> Result<Expr, FilterError> {
    let field = text_field(subject, "LIKE")?;
    let mut pattern = String::from(r"\A");
    let mut texts = vec![String::new()];
    let mut chars = value.text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '%' | '_' => {
                pattern.push_str(if c == '%' { "(?s:.*)" } else { "(?s:.)" });
                texts.push(String::new());
                continue;
            }
            '\\' => chars.next_if(|next| matches!(next, '%' | '_' | '\\')).unwrap_or(c),
            c => c,
        };
        pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
        if let Some(text) = texts.last_mut() {
            text.push(c);
        }
    }
    pattern.push_str(r"\z");
    let how = format!(" LIKE {}", in_quotes(&value.text));
    matches(subject, &field, &pattern, &texts, &how).map_err(|_| {
        error(value.at, "this pattern of LIKE is too large: write a shorter one, with fewer % and _")
    })
}

pub(super) fn regexp(subject: Subject<'_>, value: &Value) -> Result<Expr, FilterError> {
    let field = text_field(subject, "REGEXP")?;
    let how = format!(" REGEXP {}", in_quotes(&value.text));
    matches(subject, &field, &value.text, &literal::required(&value.text), &how)
        .map_err(|wrong| error(value.at, regex_message(&wrong)))
}

fn matches(
    subject: Subject<'_>,
    field: &Field,
    pattern: &str,
    texts: &[String],
    how: &str,
) -> Result<Expr, regex::Error> {
    let regex = regex::RegexBuilder::new(pattern)
        .size_limit(FILTER_PATTERN_BYTES_MAX)
        .dfa_size_limit(FILTER_PATTERN_BYTES_MAX)
        .nest_limit(literal::NESTING_MAX)
        .build()?;
    let words = texts.iter().flat_map(|text| literal::whole_words(text)).collect();
    let needle = if in_body_alone(field) { literal::needle(texts) } else { None };
    let written = format!("{}{how}", subject.written);
    Ok(Expr::Test(Test::Field { field: field.clone(), is: Is::Matches { regex, words }, needle, written }))
}

/// The last line of what the parser says is the reason.
fn regex_message(wrong: &regex::Error) -> String {
    match wrong {
        regex::Error::CompiledTooBig(_) => {
            "this regular expression is too large: write a shorter one, with smaller repetitions".to_owned()
        }
        wrong => {
            let text = wrong.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("this is no regular expression: {reason}")
        }
    }
}

fn in_body_alone(field: &Field) -> bool {
    matches!(field, Field::Body(_) | Field::Data(_))
}

/// The longest letters that a body must have for its field to be so.
fn needle(field: &Field, is: &Is) -> Option<Needle> {
    if !in_body_alone(field) {
        return None;
    }
    match is {
        Is::Equal(value) | Is::EqualAnyCase(value) => Phrase::new(value)?.into_needle(),
        Is::Words(phrase) => Needle::longest(phrase.needle().map(Needle::letters)),
        Is::Stars(stars) => {
            let parts: Vec<String> =
                stars.parts().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
            literal::needle(&parts)
        }
        Is::Contains { lower, .. } => literal::needle(std::slice::from_ref(lower)),
        // The whole part, which is in all that equal it.
        Is::Number { text, number } if decimal::is_plain(text) => {
            let canonical = number.canonical();
            let whole = canonical.trim_start_matches('-').split(['.', 'e']).next().unwrap_or_default();
            Needle::longest([whole.as_bytes()]).filter(|_| decimal::is_plain(&canonical))
        }
        Is::Number { .. } | Is::Matches { .. } | Is::Order { .. } | Is::Present => None,
    }
}

fn holds(op: Op, left: u8, right: u8) -> bool {
    match op {
        Op::Has | Op::Equal => left == right,
        Op::NotEqual => left != right,
        Op::Less => left < right,
        Op::LessOrEqual => left <= right,
        Op::Greater => left > right,
        Op::GreaterOrEqual => left >= right,
    }
}

fn choice(value: &Value, yes: &str, no: &str) -> Result<bool, FilterError> {
    match value.text.as_str() {
        text if text.eq_ignore_ascii_case(yes) => Ok(true),
        text if text.eq_ignore_ascii_case(no) => Ok(false),
        text => Err(error(value.at, format!("{text:?} is neither {yes} nor {no}"))),
    }
}

/// `<time>.<record id>` is a record's permanent name, which says where it lies in time; the record id alone names it too.
fn id_test(op: Op, value: &str, at: usize) -> Result<Expr, FilterError> {
    let (time, id) = match value.split_once('.') {
        Some((time, id)) => (Some(time), id),
        None => (None, value),
    };
    let id = Expr::Test(Test::Id(id.parse::<RecordId>().map_err(|e| error(at, e.to_string()))?));
    let test = match time {
        Some(time) => {
            let time_us = time.parse::<i64>().map_err(|_| {
                error(at, format!("{time:?} before the record id is no time in microseconds since 1970"))
            })?;
            Expr::And(vec![Expr::Test(Test::Time { from_us: time_us, to_us: time_us }), id])
        }
        None => id,
    };
    Ok(if op == Op::NotEqual { not(test) } else { test })
}

/// `:` takes it in any case, as of other fields.
fn signature(op: Op, value: &Value) -> Result<Signature, FilterError> {
    let text = if op == Op::Has { value.text.to_ascii_lowercase() } else { value.text.clone() };
    let signature: Signature =
        text.parse().map_err(|wrong| error(value.at, format!("{text:?} is none: {wrong}")))?;
    if signature == Signature::OTHER {
        return Err(error(
            value.at,
            "v2:other is what was counted together because a tenant had too many groups at once: no record says that it is of it; \
             each record has a signature of its own",
        ));
    }
    Ok(signature)
}

/// A time stands for the whole of what it names: `time=2026-11-21` is that day, `time<=...T06:00` includes that minute.
fn time_test(op: Op, value: &str, at: usize) -> Result<Expr, FilterError> {
    let (first_us, last_us) = time::range(value).ok_or_else(|| {
        error(
            at,
            format!("{value:?} is not a time; write 2026-11-21, 2026-11-21T06:30 or 2026-11-21T06:30:00.5Z"),
        )
    })?;
    let test = |from_us, to_us| Expr::Test(Test::Time { from_us, to_us });
    Ok(match op {
        Op::Has | Op::Equal => test(first_us, last_us),
        Op::NotEqual => not(test(first_us, last_us)),
        Op::Less => test(i64::MIN, first_us.saturating_sub(1)),
        Op::LessOrEqual => test(i64::MIN, last_us),
        Op::Greater => test(last_us.saturating_add(1), i64::MAX),
        Op::GreaterOrEqual => test(first_us, i64::MAX),
    })
}
