//! Parses an expression into a syntax tree, or says at which character it is wrong and what to write instead.

use crate::fields::Path;
use crate::limits::{FILTER_DEPTH_MAX, FILTER_PATTERNS_MAX};

use super::bare::{self, Bare};
use super::compare::{self, Subject, Value};
use super::lex::{Cursor, Op, error, in_quotes, op_at};
use super::names::{self, Field, Name};
use super::phrase::Phrase;
use super::{Expr, Filter, FilterError, Test};

/// Reads an expression; an empty one matches everything.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser { cursor: Cursor::new(text)?, depth: 0, patterns: 0 };
    parser.cursor.skip_spaces();
    if parser.cursor.peek().is_none() {
        return Ok(Filter::all());
    }
    let expr = parser.or()?;
    if parser.cursor.peek().is_some() {
        return Err(error(parser.cursor.at, "this parenthesis closes nothing"));
    }
    Ok(Filter { expr: std::sync::Arc::new(expr) })
}

struct Parser {
    cursor: Cursor,
    depth: usize,
    patterns: usize,
}

impl Parser {
    fn or(&mut self) -> Result<Expr, FilterError> {
        let mut any = vec![self.and()?];
        while self.skip_operator(&["OR", "||"]) {
            any.push(self.and()?);
        }
        Ok(joined(any, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr, FilterError> {
        let mut all = vec![self.not()?];
        loop {
            if !self.skip_operator(&["AND", "&&"]) {
                let ends = self.cursor.is_at("OR") || self.cursor.is_at("||");
                if ends || matches!(self.cursor.peek(), None | Some(')')) {
                    return Ok(joined(all, Expr::And));
                }
            }
            all.push(self.not()?);
        }
    }

    fn skip_operator(&mut self, spellings: &[&str]) -> bool {
        self.cursor.skip_spaces();
        spellings.iter().any(|spelling| self.cursor.skip(spelling))
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        self.cursor.skip_spaces();
        let at = self.cursor.at;
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return Err(error(at, format!("more than {FILTER_DEPTH_MAX} parentheses within each other")));
        }
        let expr = if self.cursor.skip("NOT") || self.skip_sign()? {
            Expr::Not(Box::new(self.not()?))
        } else {
            self.one()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// `-` or `!` directly before what is not wanted.
    fn skip_sign(&mut self) -> Result<bool, FilterError> {
        let (sign, next) = (self.cursor.peek(), self.cursor.peek_at(1));
        let (Some(sign @ ('-' | '!')), Some(next)) = (sign, next) else { return Ok(false) };
        let bare = self.cursor.bare();
        let rest = bare.trim_start_matches('-');
        if sign == '-' && (next.is_ascii_digit() || next == '-') && !rest.is_empty() {
            return Err(error(
                self.cursor.at,
                format!(
                    "write NOT {rest} to leave it out, or {} to search for it as it stands",
                    in_quotes(&bare)
                ),
            ));
        }
        let negates = match sign {
            '!' => next != '=' && !next.is_whitespace() && next != ')',
            _ => next.is_alphanumeric() || "\"'(_*/@#$.[!\u{201c}\u{201e}".contains(next),
        };
        self.cursor.at += usize::from(negates);
        Ok(negates)
    }

    fn one(&mut self) -> Result<Expr, FilterError> {
        let at = self.cursor.at;
        match self.cursor.peek() {
            None => return Err(error(at, "something to search for is missing at the end")),
            Some('(') => return self.group(),
            Some(')') => {
                return Err(error(at, "something to search for is missing before this parenthesis"));
            }
            Some(_) => {}
        }
        if let Some(text) = self.cursor.quoted()? {
            if let Some((op, _)) = self.cursor.op()
                && op != Op::NotEqual
            {
                return Err(error(
                    at,
                    format!("write data.{} for a key of the application's own", in_quotes(&text)),
                ));
            }
            return Ok(Expr::Test(text_test(at, &text)?));
        }
        if let Some((path, written)) = self.quoted_path()? {
            return self.of_field(at, &Name::Field(Field::Data(path)), &written);
        }
        let bare = self.cursor.bare();
        if ["AND", "OR", "&&", "||"].contains(&bare.as_str()) {
            return Err(error(
                at,
                "AND and OR stand between two things; put them in quotation marks to search them",
            ));
        }
        match bare::meaning(&bare) {
            Bare::NoField => Err(error(
                at,
                "a comparison needs a field before it, as in service=checkout; put text in quotation marks to search for it",
            )),
            Bare::Compare(len) => {
                self.cursor.at += len;
                self.refuse_other_operators(at, &bare)?;
                let written = self.cursor.since(at);
                let name = self.name(at, &written)?;
                self.of_field(at, &name, &written)
            }
            Bare::Text => {
                self.cursor.at += bare.chars().count();
                bare::doubt(&bare).map_or_else(|| bare_text(at, &bare), |message| Err(error(at, message)))
            }
            Bare::Word => self.word(at, &bare),
        }
    }

    fn group(&mut self) -> Result<Expr, FilterError> {
        let at = self.cursor.at;
        self.cursor.at += 1;
        let expr = self.or()?;
        if self.cursor.peek() != Some(')') {
            return Err(error(at, "this parenthesis is never closed"));
        }
        self.cursor.at += 1;
        Ok(expr)
    }

    /// A piece without an operator in it; one may follow after a blank.
    fn word(&mut self, at: usize, bare: &str) -> Result<Expr, FilterError> {
        self.refuse_other_operators(at, bare)?;
        self.cursor.at += bare.chars().count();
        let end = self.cursor.at;
        if bare == "EXISTS" {
            return self.exists_before(at);
        }
        let parenthesis = self.cursor.peek() == Some('(');
        self.cursor.skip_spaces();
        let next = self.cursor.bare();
        let compares = self.cursor.op().is_some() && bare::meaning(&next) != Bare::Text;
        let is_operator = self.keyword().is_some();
        if !parenthesis && (compares || is_operator) {
            let name = self.name(at, bare)?;
            return self.of_field(at, &name, bare);
        }
        if names::find(bare).is_some()
            && let Some(capitals) = self.lower_case_operator(&next)
        {
            let message = format!(
                "write {capitals} in capitals for the operator, or {} to search for these words",
                in_quotes(&format!("{bare} {next}"))
            );
            return Err(error(self.cursor.at, message));
        }
        self.cursor.at = end;
        match bare::doubt(bare) {
            Some(message) => Err(error(at, message)),
            None => bare_text(at, bare),
        }
    }

    /// `field~"..."` and the like, of other languages.
    fn refuse_other_operators(&self, at: usize, bare: &str) -> Result<(), FilterError> {
        let Some(tilde) = bare.find('~') else { return Ok(()) };
        let name = bare[..tilde].trim_end_matches(['!', '=']);
        if names::find(name).is_none() {
            return Ok(());
        }
        let not = if bare[..tilde].ends_with('!') { "NOT " } else { "" };
        Err(error(at, format!("write {name} {not}REGEXP \"...\" for a regular expression")))
    }

    fn name(&self, at: usize, written: &str) -> Result<Name, FilterError> {
        if written.starts_with("data.") && written.contains('*') {
            let message = "a key has a whole name; write the text alone to search for it under any key, or data.\"a*b\" for a key \
                           with a star";
            return Err(error(at, message));
        }
        names::find(written).ok_or_else(|| {
            let rest: String = self.cursor.bare();
            error(at, names::unknown(written, &rest))
        })
    }

    /// `data."any key"`, `data.order."a.b".c`: the path and how it was written.
    fn quoted_path(&mut self) -> Result<Option<(Path, String)>, FilterError> {
        let (start, bare) = (self.cursor.at, self.cursor.bare());
        let Some(names) = bare.strip_prefix("data.").filter(|_| bare.ends_with('.')) else { return Ok(None) };
        if bare::meaning(&bare) != Bare::Word || self.cursor.peek_at(bare.chars().count()) != Some('"') {
            return Ok(None);
        }
        self.cursor.at += bare.chars().count();
        let plain = |text: &str| -> Vec<(String, bool)> {
            text.split('.').filter(|name| !name.is_empty()).map(|name| (name.to_owned(), false)).collect()
        };
        let mut all = plain(names);
        loop {
            all.extend(self.cursor.quoted()?.map(|name| (name, true)));
            if self.cursor.peek() != Some('.') {
                break;
            }
            let rest = self.cursor.bare();
            let len = rest.char_indices().position(|(at, _)| op_at(&rest[at..]).is_some());
            let part: String = rest.chars().take(len.unwrap_or(usize::MAX)).collect();
            self.cursor.at += part.chars().count();
            all.extend(plain(&part));
            if !part.ends_with('.') {
                break;
            }
        }
        let written = self.cursor.since(start);
        let path = Path::new(all.into_iter()).ok_or_else(|| error(start, "a path has at most 16 keys"))?;
        Ok(Some((path, written)))
    }

    /// What is asked of a field whose name was just read.
    fn of_field(&mut self, at: usize, name: &Name, written: &str) -> Result<Expr, FilterError> {
        let subject = Subject { name, written, at };
        self.cursor.skip_spaces();
        if let Some((op, width)) = self.cursor.op() {
            self.cursor.at += width;
            let value = self.value(written)?;
            return compare::compare(subject, op, &value);
        }
        let Some((negate, keyword)) = self.keyword() else {
            let how =
                format!("a comparison is missing after {written}, as in {written}=value or {written} EXISTS");
            return Err(error(self.cursor.at, how));
        };
        if negate {
            self.cursor.skip("NOT");
            self.cursor.skip_spaces();
        }
        self.patterns += usize::from(["LIKE", "REGEXP"].contains(&keyword));
        if self.patterns > FILTER_PATTERNS_MAX {
            return Err(error(
                self.cursor.at,
                format!("more than {FILTER_PATTERNS_MAX} of LIKE and REGEXP in one expression"),
            ));
        }
        self.cursor.skip(keyword);
        let expr = match keyword {
            "EXISTS" => compare::exists(subject)?,
            "IN" => compare::is_in(subject, &self.list(written)?)?,
            "CONTAINS" => compare::contains(subject, &self.value(written)?)?,
            "LIKE" => compare::like(subject, &self.value(written)?)?,
            _ => compare::regexp(subject, &self.value(written)?)?,
        };
        Ok(if negate { Expr::Not(Box::new(expr)) } else { expr })
    }

    /// The operator that stands next, and whether NOT is before it.
    fn keyword(&mut self) -> Option<(bool, &'static str)> {
        let start = self.cursor.at;
        let negate = self.cursor.skip("NOT");
        self.cursor.skip_spaces();
        let found = KEYWORDS.into_iter().find(|keyword| self.cursor.is_at(keyword));
        self.cursor.at = start;
        found.map(|keyword| (negate, keyword))
    }

    /// An operator that is not in capitals, if what follows it makes it one.
    fn lower_case_operator(&self, next: &str) -> Option<&'static str> {
        let is_next = |keyword: &&str| next.eq_ignore_ascii_case(keyword) && *keyword != "EXISTS";
        let capitals = KEYWORDS.into_iter().find(is_next)?;
        let len = next.chars().count();
        let after = (len..).find_map(|ahead| match self.cursor.peek_at(ahead) {
            Some(c) if c.is_whitespace() => None,
            c => Some(c),
        });
        let wanted = if capitals == "IN" { '(' } else { '"' };
        (after == Some(Some(wanted))).then_some(capitals)
    }

    fn value(&mut self, written: &str) -> Result<Value, FilterError> {
        self.cursor.skip_spaces();
        let at = self.cursor.at;
        if let Some(text) = self.cursor.quoted()? {
            return Ok(Value { text, quoted: true, at });
        }
        let text = self.cursor.bare_value();
        if text.is_empty() {
            let message = match self.cursor.peek() {
                Some('(') => format!("write {written} IN (a, b) for any of several values"),
                _ => format!("{written} is compared with nothing: write a value, or \"\""),
            };
            return Err(error(at, message));
        }
        Ok(Value { text, quoted: false, at })
    }

    fn list(&mut self, written: &str) -> Result<Vec<Value>, FilterError> {
        self.cursor.skip_spaces();
        let start = self.cursor.at;
        if self.cursor.peek() != Some('(') {
            return Err(error(start, format!("write {written} IN (a, \"b c\")")));
        }
        self.cursor.at += 1;
        let mut values = Vec::new();
        loop {
            self.cursor.skip_spaces();
            let at = self.cursor.at;
            if let Some(text) = self.cursor.quoted()? {
                values.push(Value { text, quoted: true, at });
            } else {
                while self
                    .cursor
                    .peek()
                    .is_some_and(|c| !c.is_whitespace() && !matches!(c, ',' | '(' | ')' | '"'))
                {
                    self.cursor.at += 1;
                }
                let text = self.cursor.since(at);
                if text.is_empty() {
                    return Err(error(at, "a value is missing in this list"));
                }
                values.push(Value { text, quoted: false, at });
            }
            self.cursor.skip_spaces();
            match self.cursor.peek() {
                Some(',') => self.cursor.at += 1,
                Some(')') => break,
                None => return Err(error(start, "this parenthesis is never closed")),
                Some(_) => return Err(error(self.cursor.at, "a comma is missing before this value")),
            }
        }
        self.cursor.at += 1;
        Ok(values)
    }

    /// `EXISTS field`, `EXISTS (field)`.
    fn exists_before(&mut self, at: usize) -> Result<Expr, FilterError> {
        self.cursor.skip_spaces();
        let parenthesis = self.cursor.peek() == Some('(');
        self.cursor.at += usize::from(parenthesis);
        self.cursor.skip_spaces();
        let name_at = self.cursor.at;
        let (name, written) = match self.quoted_path()? {
            Some((path, written)) => (Name::Field(Field::Data(path)), written),
            None => {
                let bare = self.cursor.bare();
                if bare.is_empty() {
                    return Err(error(at, "EXISTS wants a field, as in userId EXISTS"));
                }
                self.cursor.at += bare.chars().count();
                (self.name(name_at, &bare)?, bare)
            }
        };
        self.cursor.skip_spaces();
        if parenthesis {
            if self.cursor.peek() != Some(')') {
                return Err(error(name_at - 1, "this parenthesis is never closed"));
            }
            self.cursor.at += 1;
        }
        compare::exists(Subject { name: &name, written: &written, at: name_at })
    }
}

const KEYWORDS: [&str; 5] = ["IN", "EXISTS", "CONTAINS", "LIKE", "REGEXP"];

fn bare_text(at: usize, bare: &str) -> Result<Expr, FilterError> {
    match bare {
        "*" | "*:*" => Ok(Expr::And(Vec::new())),
        bare if bare.contains('*') => {
            let phrase = Phrase::pattern(bare).map_err(|message| error(at, message))?;
            Ok(Expr::Test(Test::Text { phrase, written: bare.to_owned() }))
        }
        bare => Ok(Expr::Test(text_test(at, bare)?)),
    }
}

fn text_test(at: usize, text: &str) -> Result<Test, FilterError> {
    let phrase = Phrase::new(text)
        .ok_or_else(|| error(at, format!("{text:?} has no letter or digit to search for")))?;
    Ok(Test::Text { phrase, written: text.to_owned() })
}

/// Puts what is cheap to decide first.
pub(super) fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
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
        Expr::Test(Test::Text { .. }) => 10,
        Expr::Test(Test::Field { field: Field::Origin(_), .. }) => 2,
        Expr::Test(Test::Field { field: Field::Either(..), .. }) => 3,
        Expr::Test(Test::Field { .. } | Test::Signature(_)) => 100,
        Expr::Test(_) => 1,
    }
}
