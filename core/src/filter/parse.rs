//! Tokens into a syntax tree.

use crate::identity::RecordId;
use crate::level::Level;
use crate::tokens::words;

use super::find::{Needle, Phrase};
use super::lex::{Op, Token, error, lex};
use super::names::{self, Name};
use super::{Expr, Filter, FilterError, Is, Test, eval};

/// Parentheses and NOTs within each other.
const DEPTH_MAX: usize = 64;

/// Reads an expression; an empty one matches everything.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let tokens = lex(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.chars().count(), depth: 0 };
    if tokens.is_empty() {
        return Ok(Filter::all());
    }
    let expr = parser.or()?;
    if let Some((at, _)) = parser.peek() {
        return Err(error(at, "this parenthesis closes nothing"));
    }
    Ok(Filter { expr: std::sync::Arc::new(expr) })
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    end: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<(usize, &'a Token)> {
        self.tokens.get(self.at).map(|(at, token)| (*at, token))
    }

    fn or(&mut self) -> Result<Expr, FilterError> {
        let mut any = vec![self.and()?];
        while matches!(self.peek(), Some((_, Token::Or))) {
            self.at += 1;
            any.push(self.and()?);
        }
        Ok(joined(any, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, FilterError> {
        let mut all = vec![self.not()?];
        loop {
            match self.peek() {
                Some((_, Token::And)) => self.at += 1,
                None | Some((_, Token::Or | Token::Close)) => return Ok(joined(all, Expr::And)),
                Some(_) => {}
            }
            all.push(self.not()?);
        }
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        let Some((at, token)) = self.peek() else {
            return Err(error(self.end, "something to search for is missing at the end"));
        };
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error(at, format!("more than {DEPTH_MAX} parentheses within each other")));
        }
        let expr = match token {
            Token::Not => Expr::Not(Box::new(self.not()?)),
            Token::Open => {
                let expr = self.or()?;
                if !matches!(self.peek(), Some((_, Token::Close))) {
                    return Err(error(at, "this parenthesis is never closed"));
                }
                self.at += 1;
                expr
            }
            Token::Close => {
                return Err(error(at, "something to search for is missing before this parenthesis"));
            }
            Token::And | Token::Or => {
                return Err(error(
                    at,
                    "AND and OR stand between two things; put them in quotation marks to search them",
                ));
            }
            Token::Word(text) => self.word(at, text)?,
            Token::Quoted(text) => Expr::Test(text_test(at, text)?),
            Token::Compare { field, op, value, quoted, value_at } => {
                compare(at, field, *op, value, *quoted, *value_at)?
            }
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn word(&mut self, at: usize, text: &str) -> Result<Expr, FilterError> {
        if names::find(text).is_some()
            && let Some((next_at, Token::Word(next))) = self.peek()
            && ["IN", "EXISTS", "CONTAINS", "LIKE", "REGEXP"].contains(&next.as_str())
        {
            return Err(error(
                next_at,
                format!(
                    "{next} is not understood yet; write {text}=a OR {text}=b for a choice, {text}:* for presence"
                ),
            ));
        }
        Ok(Expr::Test(text_test(at, text)?))
    }
}

/// Flattens, and puts what is cheap to decide first.
fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    parts.sort_by_key(cost);
    join(parts)
}

fn cost(expr: &Expr) -> u32 {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(cost).sum(),
        Expr::Not(expr) => cost(expr),
        Expr::Test(Test::Text(_)) => 10,
        Expr::Test(Test::Field { field: names::Field::Origin(_), .. }) => 2,
        Expr::Test(Test::Field { field: names::Field::Either(..), .. }) => 3,
        Expr::Test(Test::Field { .. }) => 100,
        Expr::Test(_) => 1,
    }
}

fn text_test(at: usize, text: &str) -> Result<Test, FilterError> {
    let phrase = Phrase::new(text);
    phrase.map(Test::Text).ok_or_else(|| error(at, format!("{text:?} has no letter or digit to search for")))
}

fn compare(
    at: usize,
    name: &str,
    op: Op,
    value: &str,
    quoted: bool,
    value_at: usize,
) -> Result<Expr, FilterError> {
    let found = names::find(name).ok_or_else(|| error(at, names::unknown(name)))?;
    let only_equal = |what: &str| match op {
        Op::Has | Op::Equal | Op::NotEqual => Ok(()),
        _ => Err(error(at, format!("{what} can be compared with : = and != only"))),
    };
    let test = match found {
        Name::Level => {
            let level = Level::from_word(value.as_bytes()).ok_or_else(|| {
                error(value_at, format!("{value:?} is not a level; write trace, debug, info, warn or error"))
            })?;
            Test::Level(
                Level::ALL.iter().filter(|l| holds(op, **l as u8, level as u8)).fold(0, |m, l| m | l.bit()),
            )
        }
        Name::Time => return time_test(op, value, value_at),
        Name::Id => {
            only_equal("id")?;
            Test::Id(value.parse::<RecordId>().map_err(|e| error(value_at, e.to_string()))?)
        }
        Name::Category => {
            only_equal("category")?;
            Test::Audit(choice(value, value_at, "audit", "system")?)
        }
        Name::Stream => {
            only_equal("stream")?;
            Test::Stderr(choice(value, value_at, "stderr", "stdout")?)
        }
        Name::Field(field) => {
            let is = match op {
                Op::Has if value == "*" && !quoted => Is::Present,
                Op::Has if eval::is_prose(&field) => Is::Words(Phrase::new(value).ok_or_else(|| {
                    error(value_at, format!("{value:?} has no letter or digit to search for"))
                })?),
                Op::Has => Is::EqualAnyCase(words::lower(value.as_bytes())),
                Op::Equal | Op::NotEqual => Is::Equal(value.to_owned()),
                _ => Is::Order {
                    value: value.to_owned(),
                    number: value.parse::<f64>().ok().filter(|number| !quoted && !number.is_nan()),
                    less: matches!(op, Op::Less | Op::LessOrEqual),
                    equal: matches!(op, Op::LessOrEqual | Op::GreaterOrEqual),
                    greater: matches!(op, Op::Greater | Op::GreaterOrEqual),
                },
            };
            let needle = needle(&field, &is);
            Test::Field { field, is, needle }
        }
    };
    // A level's set is already turned round.
    let negate = op == Op::NotEqual && !matches!(test, Test::Level(_));
    Ok(if negate { Expr::Not(Box::new(Expr::Test(test))) } else { Expr::Test(test) })
}

/// The longest word that a body must have for its field to be so.
fn needle(field: &names::Field, is: &Is) -> Option<Needle> {
    match (field, is) {
        (names::Field::Origin(_) | names::Field::Either(..), _) => None,
        (_, Is::Equal(value) | Is::EqualAnyCase(value)) => Needle::longest(&words::of(value.as_bytes())),
        (_, Is::Words(phrase)) => Needle::longest(&phrase.words),
        (_, Is::Order { .. } | Is::Present) => None,
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

fn choice(value: &str, at: usize, yes: &str, no: &str) -> Result<bool, FilterError> {
    match value {
        value if value.eq_ignore_ascii_case(yes) => Ok(true),
        value if value.eq_ignore_ascii_case(no) => Ok(false),
        _ => Err(error(at, format!("{value:?} is neither {yes} nor {no}"))),
    }
}

/// A time stands for the whole of what it names: `time=2026-11-21` is that day, `time<=...T06:00` includes that minute.
fn time_test(op: Op, value: &str, at: usize) -> Result<Expr, FilterError> {
    let (first_us, last_us) = super::time::range(value).ok_or_else(|| {
        error(
            at,
            format!("{value:?} is not a time; write 2026-11-21, 2026-11-21T06:30 or 2026-11-21T06:30:00.5Z"),
        )
    })?;
    let test = |from_us, to_us| Expr::Test(Test::Time { from_us, to_us });
    Ok(match op {
        Op::Has | Op::Equal => test(first_us, last_us),
        Op::NotEqual => Expr::Not(Box::new(test(first_us, last_us))),
        Op::Less => test(i64::MIN, first_us.saturating_sub(1)),
        Op::LessOrEqual => test(i64::MIN, last_us),
        Op::Greater => test(last_us.saturating_add(1), i64::MAX),
        Op::GreaterOrEqual => test(first_us, i64::MAX),
    })
}
