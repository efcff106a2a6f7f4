//! An expression's characters as tokens with their positions.

use super::FilterError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A bare word.
    Word(String),
    Quoted(String),
    Compare {
        field: String,
        op: Op,
        value: String,
        quoted: bool,
        /// Characters before the value.
        value_at: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Has,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Expressions longer than this are refused.
const CHARACTERS_MAX: usize = 16_384;

pub(super) fn lex(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > CHARACTERS_MAX {
        return Err(error(CHARACTERS_MAX, format!("an expression has at most {CHARACTERS_MAX} characters")));
    }
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

pub(super) fn error(at: usize, message: impl Into<String>) -> FilterError {
    FilterError { at, message: message.into() }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<(usize, Token)>, FilterError> {
        self.skip_spaces();
        let at = self.at;
        let Some(&c) = self.chars.get(at) else { return Ok(None) };
        let token = match c {
            '(' => self.one(Token::Open),
            ')' => self.one(Token::Close),
            '"' => Token::Quoted(self.quoted()?),
            ':' | '=' | '!' | '<' | '>' if self.peek_op().is_some() => {
                return Err(error(at, "a comparison needs a field before it, as in service=checkout"));
            }
            _ => self.word_or_compare(at)?,
        };
        Ok(Some((at, token)))
    }

    fn one(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn skip_spaces(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        while let Some(&c) = self.chars.get(self.at) {
            self.at += 1;
            match c {
                '"' => return Ok(text),
                '\\' if matches!(self.chars.get(self.at), Some('"' | '\\')) => {
                    text.push(self.chars[self.at]);
                    self.at += 1;
                }
                c => text.push(c),
            }
        }
        Err(error(start, "this quotation mark is never closed"))
    }

    fn peek_op(&self) -> Option<(Op, usize)> {
        let second = self.chars.get(self.at + 1) == Some(&'=');
        Some(match self.chars.get(self.at)? {
            ':' => (Op::Has, 1),
            '=' => (Op::Equal, if second { 2 } else { 1 }),
            '!' if second => (Op::NotEqual, 2),
            '<' if second => (Op::LessOrEqual, 2),
            '<' => (Op::Less, 1),
            '>' if second => (Op::GreaterOrEqual, 2),
            '>' => (Op::Greater, 1),
            _ => return None,
        })
    }

    fn word_or_compare(&mut self, start: usize) -> Result<Token, FilterError> {
        while let Some(&c) = self.chars.get(self.at) {
            if c.is_whitespace() || matches!(c, '(' | ')' | '"') || self.peek_op().is_some() {
                break;
            }
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match word.as_str() {
            "AND" => return Ok(Token::And),
            "OR" => return Ok(Token::Or),
            "NOT" => return Ok(Token::Not),
            _ => {}
        }
        let word_end = self.at;
        self.skip_spaces();
        let Some((op, width)) = self.peek_op() else {
            self.at = word_end;
            return Ok(Token::Word(word));
        };
        self.at += width;
        self.skip_spaces();
        let value_at = self.at;
        let quoted = self.chars.get(self.at) == Some(&'"');
        let value = if quoted { self.quoted()? } else { self.bare_value() };
        if value.is_empty() && !quoted {
            return Err(error(value_at, format!("{word} is compared with nothing: write a value, or \"\"")));
        }
        Ok(Token::Compare { field: word, op, value, quoted, value_at })
    }

    /// Up to a space or parenthesis: times and addresses need no quotes.
    fn bare_value(&mut self) -> String {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|&c| !c.is_whitespace() && !matches!(c, '(' | ')')) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }
}
