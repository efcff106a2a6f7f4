//! Finds the values of a column that may hold a sought text, without putting bodies together. Constant text, lists and texts are searched
//! once; numbers are written out only if their digits can match. Promise: no value that holds the text is left out. (A value that is named
//! holds the text or its beginning.)

use super::super::{BlockError, Sought};
use super::BODIES_BYTES_MAX;
use super::column::{Column, Exceptions, Split, Texts};
use super::values::{FRACTION_DIGITS_MAX, hex_digit};

/// Decimal digits of a number of 64 bits.
const DIGITS_MAX: usize = 20;

/// Some values of a column, by their index in it.
#[derive(Debug)]
pub(super) enum Places {
    None,
    All,
    Some(Vec<bool>),
}

impl Places {
    fn has(&self, place: usize) -> bool {
        match self {
            Places::None => false,
            Places::All => true,
            // Only a column that no program writes has fewer marks than values.
            Places::Some(marks) => marks.get(place).copied().unwrap_or(true),
        }
    }

    /// Of so many values.
    pub fn marks(self, count: usize) -> Vec<bool> {
        match self {
            Places::None => vec![false; count],
            Places::All => vec![true; count],
            Places::Some(mut marks) => {
                marks.resize(count, true);
                marks
            }
        }
    }
}

impl From<Option<Vec<bool>>> for Places {
    fn from(marks: Option<Vec<bool>>) -> Places {
        marks.map_or(Places::None, Places::Some)
    }
}

/// An error: damage within the values.
pub(super) fn look(column: &Column, sought: Sought<'_>) -> Result<Places, BlockError> {
    let (may_hold, exceptions, count) = match column {
        Column::Constant(text) => return Ok(if sought.is_in(text) { Places::All } else { Places::None }),
        Column::Texts(texts) => return Ok(in_texts(texts, sought).into()),
        Column::Dictionary { table, indexes } => {
            let of = |marks: Vec<bool>| -> Vec<bool> {
                indexes.iter().map(|&index| marks.get(index as usize).copied().unwrap_or(true)).collect()
            };
            return Ok(in_texts(table, sought).map(of).into());
        }
        Column::Split(split) => return in_split(split, sought),
        Column::Integers(integers) => {
            let longest = digits(integers.values.iter().copied().max().unwrap_or(0)).max(integers.digits);
            let may_hold = is_of_number(&integers.prefix, longest, &integers.suffix, sought);
            (may_hold, &integers.exceptions, integers.values.len())
        }
        Column::Hex { bytes, bytes_each, exceptions, .. } => {
            let count = bytes.len().checked_div(*bytes_each).unwrap_or(0);
            (is_of_hex(bytes, *bytes_each, sought), exceptions.as_ref(), count)
        }
        Column::Times { form, zone, values, exceptions } => {
            let beside = || zone.iter().copied().chain([form.between, form.point]);
            let may_hold = match sought {
                Sought::Letters { lower, .. } => {
                    let is_beside = |byte: u8| beside().any(|known| known.to_ascii_lowercase() == byte);
                    // Seconds, point, fraction and zone are the longest run of letters and digits.
                    lower.len() <= 3 + FRACTION_DIGITS_MAX + zone.len()
                        && lower.iter().all(|&byte| byte.is_ascii_digit() || is_beside(byte))
                }
                Sought::Begin { byte, .. } => beside().any(|known| known == byte),
            };
            (may_hold, exceptions.as_ref(), values.len())
        }
        Column::Decimals { mantissas, exceptions, .. } => {
            let may_hold = match sought {
                Sought::Letters { lower, .. } => {
                    lower.len() <= DIGITS_MAX && lower.iter().all(u8::is_ascii_digit)
                }
                Sought::Begin { .. } => false,
            };
            (may_hold, exceptions.as_ref(), mantissas.len())
        }
    };
    if !may_hold {
        return Ok(in_exceptions(exceptions, sought, count).into());
    }
    let (mut text, mut marks) = (Vec::new(), Vec::with_capacity(count));
    for place in 0..count {
        text.clear();
        column.put(place, &mut text, BODIES_BYTES_MAX)?;
        marks.push(sought.is_in(&text));
    }
    Ok(Places::Some(marks))
}

/// Which of them have it; `None`: none has.
fn in_texts(texts: &Texts, sought: Sought<'_>) -> Option<Vec<bool>> {
    let (mut marks, mut from) = (None, 0);
    while let Some(at) = texts.bytes.get(from..).and_then(|rest| sought.find_in_many(rest)) {
        let place = texts.ends.partition_point(|&end| end as usize <= from + at);
        let Some(&end) = texts.ends.get(place) else { break };
        // What lies across two texts is in neither.
        if texts.get(place).is_some_and(|text| sought.is_in(text)) {
            marks.get_or_insert_with(|| vec![false; texts.ends.len()])[place] = true;
        }
        from = end as usize;
    }
    marks
}

/// By place in their column, which has so many values.
fn in_exceptions(exceptions: &Exceptions, sought: Sought<'_>, count: usize) -> Option<Vec<bool>> {
    let of_texts = in_texts(&exceptions.texts, sought)?;
    let mut marks = vec![false; count];
    for (&place, has) in exceptions.places.iter().zip(of_texts) {
        if let (true, Some(mark)) = (has, marks.get_mut(place as usize)) {
            *mark = true;
        }
    }
    Some(marks)
}

fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Whether it can be in a number of so many digits with these texts around it.
fn is_of_number(prefix: &[u8], digits: usize, suffix: &[u8], sought: Sought<'_>) -> bool {
    match sought {
        Sought::Letters { lower, .. } if lower.iter().any(u8::is_ascii_digit) => {
            let beside = prefix.iter().chain(suffix);
            lower.len() <= prefix.len() + digits + suffix.len()
                && lower.iter().all(|byte| {
                    byte.is_ascii_digit() || beside.clone().any(|known| known.eq_ignore_ascii_case(byte))
                })
        }
        // It holds no digit, so it lies on one side of them.
        Sought::Letters { .. } => sought.is_in(prefix) || sought.is_in(suffix),
        Sought::Begin { byte, .. } => prefix.contains(&byte) || suffix.contains(&byte),
    }
}

/// Whether these are hex digits that stand in these bytes, but for the first and the last, which may be half a byte.
fn is_of_hex(bytes: &[u8], bytes_each: usize, sought: Sought<'_>) -> bool {
    let Sought::Letters { lower, .. } = sought else { return false };
    let digits: Option<Vec<u8>> = lower.iter().map(|&byte| hex_digit(byte, false)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() <= 2 * bytes_each) else { return false };
    [&digits[..], digits.get(1..).unwrap_or_default()].into_iter().any(|digits| {
        let whole: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        memchr::memmem::find(bytes, &whole).is_some()
    })
}

fn in_split(split: &Split, sought: Sought<'_>) -> Result<Places, BlockError> {
    let columns: Vec<Places> =
        split.columns.iter().map(|column| look(column, sought)).collect::<Result<_, _>>()?;
    let literals = in_texts(&split.literals, sought);
    let across = shapes_across(split, sought);
    let is_nowhere = columns.iter().all(|places| matches!(places, Places::None));
    if is_nowhere && literals.is_none() && across.is_none() {
        return Ok(Places::None);
    }
    let in_shape =
        |id: usize| literals.as_ref().is_some_and(|literals| literals[split.literals_of(id)].contains(&true));
    let in_shapes: Vec<bool> = (0..split.shapes()).map(in_shape).collect();
    let (mut text, mut marks) = (Vec::new(), Vec::with_capacity(split.ids.len()));
    for (place, &id) in split.ids.iter().enumerate() {
        let id = id as usize;
        let of_slots = split.slot_columns[split.slots_of(id)].iter().map(|&column| &columns[column as usize]);
        let in_cell = |(slot, places): (usize, &Places)| match places {
            Places::None => false,
            places => split.cells.get(place, slot).is_some_and(|cell| places.has(cell)),
        };
        let mut has = in_shapes[id] || of_slots.enumerate().any(in_cell);
        if !has && across.as_ref().is_some_and(|shapes| shapes[id]) {
            text.clear();
            split.put(place, &mut text, BODIES_BYTES_MAX)?;
            has = sought.is_in(&text);
        }
        marks.push(has);
    }
    Ok(Places::Some(marks))
}

/// In which shapes letters may lie across a cut; `None`: in none.
fn shapes_across(split: &Split, sought: Sought<'_>) -> Option<Vec<bool>> {
    let Sought::Letters { lower, .. } = sought else { return None };
    let mut marks = None;
    for id in 0..split.shapes() {
        if (0..split.slots_of(id).len()).any(|slot| is_across(split, id, slot, lower)) {
            marks.get_or_insert_with(|| vec![false; split.shapes()])[id] = true;
        }
    }
    marks
}

/// Whether the letters may begin in the literal before a slot, or anywhere before it, and go on in the slot; or the same of the slot and
/// the literal after it. A value may be empty, unless it is a number.
fn is_across(split: &Split, id: usize, slot: usize, lower: &[u8]) -> bool {
    let slots = split.slots_of(id);
    let (goes_back, goes_on) = (slot > 0, slot + 1 < slots.len());
    let first = split.literals_of(id).start + slot;
    let [before, after] = [first, first + 1].map(|literal| split.literals.get(literal).unwrap_or_default());
    let enters = before.last().map_or(goes_back, u8::is_ascii_alphanumeric);
    let leaves = after.first().map_or(goes_on, u8::is_ascii_alphanumeric);
    if !enters && !leaves {
        return false;
    }
    let column = &split.columns[split.slot_columns[slots.start + slot] as usize];
    let (begins_with_digit, ends_with_digit) = match column {
        Column::Integers(integers) if integers.exceptions.places.is_empty() => {
            (integers.prefix.is_empty(), integers.suffix.is_empty())
        }
        _ => (false, false),
    };
    (1..lower.len()).any(|cut| {
        let (head, tail) = lower.split_at(cut);
        let may_enter = enters && (!begins_with_digit || tail[0].is_ascii_digit());
        let may_leave = leaves && (!ends_with_digit || head[cut - 1].is_ascii_digit());
        (may_enter && is_end_of(head, before, goes_back)) || (may_leave && is_begin_of(tail, after, goes_on))
    })
}

/// Whether a text that ends with the literal can end so; `goes_back`: a value stands before the literal.
fn is_end_of(head: &[u8], literal: &[u8], goes_back: bool) -> bool {
    match literal.len().checked_sub(head.len()) {
        Some(from) => literal[from..].eq_ignore_ascii_case(head),
        None => goes_back && head[head.len() - literal.len()..].eq_ignore_ascii_case(literal),
    }
}

/// The same of a begin.
fn is_begin_of(tail: &[u8], literal: &[u8], goes_on: bool) -> bool {
    match literal.get(..tail.len()) {
        Some(begin) => begin.eq_ignore_ascii_case(tail),
        None => goes_on && tail[..literal.len()].eq_ignore_ascii_case(literal),
    }
}
