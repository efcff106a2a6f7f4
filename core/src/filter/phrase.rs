//! Matches phrases: words that follow each other in one value. A word may be a pattern.

use crate::limits::FILTER_STARS_MAX;
use crate::tokens::Token;
use crate::tokens::values::{self, Visit};
use crate::tokens::words::{self, Kind};

use super::find::Needle;
use super::stars::Stars;

/// One piece or more.
#[derive(Clone, Debug)]
pub(super) struct Phrase {
    pieces: Vec<Piece>,
    needle: Option<Needle>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// A word in any of its readings.
    Word(Vec<Vec<u8>>),
    Pattern(Stars),
    /// A character of a run without spaces; `joined`: it directly follows the one before.
    Character {
        utf8: Vec<u8>,
        joined: bool,
    },
}

impl Phrase {
    /// `None`: there is no word in the text.
    pub fn new(text: &str) -> Option<Phrase> {
        Phrase::of(pieces(text))
    }

    fn of(pieces: Vec<Piece>) -> Option<Phrase> {
        let parts = pieces.iter().flat_map(|piece| match piece {
            // Each reading ends as the shortest does.
            Piece::Word(readings) => {
                readings.iter().min_by_key(|word| word.len()).map(Vec::as_slice).into_iter().collect()
            }
            Piece::Pattern(stars) => stars.parts().collect::<Vec<_>>(),
            Piece::Character { .. } => Vec::new(),
        });
        let needle = Needle::longest(parts);
        (!pieces.is_empty()).then_some(Phrase { pieces, needle })
    }

    /// Of a text in which `*` stands for any letters of a word, or alone for any word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn pattern(text: &str) -> Result<Phrase, String> {
        let mut all: Vec<Piece> = Vec::new();
        // The last piece is a pattern, or a word, that what follows directly goes on with.
        let mut open = false;
        let fragments: Vec<&str> = text.split('*').collect();
        if fragments.len() > FILTER_STARS_MAX + 1 {
            return Err(format!("more than {FILTER_STARS_MAX} stars in one piece of text"));
        }
        for (place, fragment) in fragments.iter().enumerate() {
            let begins = fragment.chars().next().is_some_and(words::is_of_word);
            let mut inside = pieces(fragment);
            if place > 0 {
                let goes_on = begins && !inside.is_empty();
                let before = if open { all.pop() } else { None };
                let after = if goes_on { Some(inside.remove(0)) } else { None };
                match (before, after) {
                    (
                        before @ (None | Some(Piece::Word(_) | Piece::Pattern(_))),
                        after @ (None | Some(Piece::Word(_))),
                    ) => {
                        let mut parts = match before {
                            Some(Piece::Word(readings)) => vec![first(readings)],
                            Some(Piece::Pattern(stars)) => stars.parts().map(<[u8]>::to_vec).collect(),
                            _ => vec![Vec::new()],
                        };
                        parts.push(match after {
                            Some(Piece::Word(readings)) => first(readings),
                            _ => Vec::new(),
                        });
                        all.push(Piece::Pattern(Stars::of(parts)));
                    }
                    // Parts of a run without spaces are found anyway.
                    (Some(run @ Piece::Character { .. }), None)
                    | (None, Some(run @ Piece::Character { .. })) => {
                        all.push(run);
                    }
                    (before, after) => {
                        let beside = |piece: Option<Piece>| match piece {
                            Some(Piece::Character { utf8, .. }) => {
                                String::from_utf8_lossy(&utf8).into_owned()
                            }
                            Some(Piece::Word(readings)) => {
                                String::from_utf8_lossy(&first(readings)).into_owned()
                            }
                            _ => String::new(),
                        };
                        return Err(format!(
                            "* between {:?} and {:?}, one of which is written without spaces, is not understood; write both \
                             parts, with a space between them",
                            beside(before),
                            beside(after)
                        ));
                    }
                }
            }
            all.append(&mut inside);
            open = match fragment.chars().next_back() {
                Some(last) => words::is_of_word(last),
                // Two stars, or one at either end.
                None => place > 0 && matches!(all.last(), Some(Piece::Pattern(_) | Piece::Character { .. })),
            };
        }
        let says_nothing =
            |piece: &Piece| matches!(piece, Piece::Pattern(stars) if stars.parts().all(<[u8]>::is_empty));
        if all.iter().all(says_nothing) {
            return Err(format!("{text:?} has no letter or digit to search for; * alone is every record"));
        }
        Phrase::of(all).ok_or_else(String::new)
    }

    /// Letters that are in every body that holds the phrase.
    pub fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }

    pub fn into_needle(self) -> Option<Needle> {
        self.needle
    }

    /// All of: any of: a token of every record that holds the phrase in one of its values.
    pub fn clauses(&self) -> Vec<Vec<Token>> {
        let mut clauses = Vec::new();
        let mut before: &[u8] = &[];
        for piece in &self.pieces {
            let clause = match piece {
                Piece::Word(readings) => readings.iter().map(|word| Token::word(word)).collect(),
                Piece::Character { utf8, joined: true } => vec![Token::neighbours(before, utf8)],
                Piece::Character { .. } | Piece::Pattern(_) => Vec::new(),
            };
            if let Piece::Character { utf8, .. } = piece {
                before = utf8;
            }
            if !clause.is_empty() && !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
        clauses
    }

    /// No part of it is a token.
    pub fn is_unindexed(&self) -> bool {
        self.clauses().is_empty()
    }

    pub fn is_in_body(&self, body: &[u8]) -> bool {
        if self.needle.as_ref().is_some_and(|needle| !needle.may_be_in(body)) {
            return false;
        }
        let mut search = Search { phrase: self, found: false };
        values::visit(body, &mut search);
        search.found
    }

    pub fn is_in_text(&self, text: &str) -> bool {
        let mut search = Search { phrase: self, found: false };
        search.value(None, text.as_bytes());
        search.found
    }
}

fn first(mut readings: Vec<Vec<u8>>) -> Vec<u8> {
    readings.swap_remove(0)
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    words::for_each(text.as_bytes(), &mut |kind, word| match (kind, pieces.last_mut()) {
        (Kind::Again, Some(Piece::Word(readings))) => readings.push(word.to_vec()),
        (Kind::Word | Kind::Again, _) => pieces.push(Piece::Word(vec![word.to_vec()])),
        (Kind::First | Kind::Next, _) => {
            pieces.push(Piece::Character { utf8: word.to_vec(), joined: kind == Kind::Next });
        }
    });
    pieces
}

impl Piece {
    fn is(&self, kind: Kind, word: &[u8]) -> bool {
        match self {
            Piece::Word(readings) => readings.iter().any(|reading| reading == word) && kind.is_word(),
            Piece::Pattern(stars) => stars.matches(word),
            Piece::Character { utf8, joined } => {
                utf8 == word && (kind == Kind::Next || (kind == Kind::First && !joined))
            }
        }
    }
}

impl Kind {
    fn is_word(self) -> bool {
        matches!(self, Kind::Word | Kind::Again)
    }
}

struct Search<'a> {
    phrase: &'a Phrase,
    found: bool,
}

impl Visit for Search<'_> {
    fn value(&mut self, _: Option<&[u8]>, text: &[u8]) {
        if self.found {
            return;
        }
        let wanted = &self.phrase.pieces;
        if let [one] = wanted.as_slice() {
            return words::for_each(text, &mut |kind, word| self.found |= one.is(kind, word));
        }
        // How many pieces of the phrase precede, for each beginning that still holds: before the last place, and after it.
        let (mut before, mut after): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        words::for_each(text, &mut |kind, word| {
            if kind != Kind::Again {
                std::mem::swap(&mut before, &mut after);
                after.clear();
                before.push(0);
            }
            for &precede in &before {
                if wanted[precede].is(kind, word) {
                    if precede + 1 == wanted.len() {
                        self.found = true;
                    } else if !after.contains(&(precede + 1)) {
                        after.push(precede + 1);
                    }
                }
            }
        });
    }
}
