//! Decides which kind of value a column has. A few values show which kinds are possible; all values show what each kind costs.

use super::super::columns::{put_varint, zigzag};
use super::node::{Column, Node, texts};
use super::streams::Stream;
use super::values::{TimeForm, UUID_CHARS, parse_decimal, parse_digits, parse_hex};
use super::{ints, tag};

/// Hex digits shorter than this are texts or numbers.
const HEX_CHARS_MIN: usize = 8;
const HEX_CHARS_MAX: usize = 128;
/// Longer constant text around a number is no number's.
const AFFIX_BYTES_MAX: usize = 64;
const ZONE_BYTES_MAX: usize = 32;

/// The kind of all values of a column but its exceptions.
#[derive(Clone, PartialEq, Eq)]
enum Kind<'v> {
    Integers { prefix: &'v [u8], suffix: &'v [u8], digits: usize },
    Hex { chars: usize, upper: bool, dashed: bool },
    Times { form: TimeForm, zone: &'v [u8] },
    Decimals,
}

/// The cheapest kind that most values are of, and about how many bits it takes. `only`: no other kind than the one of this first byte.
pub(super) fn typed(column: &Column<'_, '_>, only: Option<u8>) -> Option<(Node, u64)> {
    let values = column.values;
    let mut kinds = Vec::new();
    for place in [0, values.len() / 3, values.len() / 2, values.len() - 1] {
        guess(values[place], &mut kinds);
    }
    let mut best: Option<(Node, u64)> = None;
    for kind in kinds.into_iter().filter(|kind| only.is_none_or(|only| only == kind.tag())) {
        if let Some((node, bits)) = kind.write(column)
            && best.as_ref().is_none_or(|&(_, least)| bits < least)
        {
            best = Some((node, bits));
        }
    }
    best
}

fn guess<'v>(value: &'v [u8], kinds: &mut Vec<Kind<'v>>) {
    let mut add = |kind| {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    if let Some((form, zone)) = TimeForm::of(value) {
        if zone.len() <= ZONE_BYTES_MAX {
            add(Kind::Times { form, zone });
        }
        return;
    }
    let has_letter = |letters: std::ops::RangeInclusive<u8>| value.iter().any(|byte| letters.contains(byte));
    let upper = has_letter(b'A'..=b'F');
    let dashed = value.len() == UUID_CHARS && value[8] == b'-';
    let is_long = value.len() >= 16 || has_letter(b'a'..=b'f') || upper;
    if dashed || (is_long && value.len().is_multiple_of(2)) {
        let fits = (HEX_CHARS_MIN..=HEX_CHARS_MAX).contains(&value.len());
        if fits && parse_hex(value, upper, dashed, &mut Vec::new()).is_some() {
            add(Kind::Hex { chars: value.len(), upper, dashed });
        }
    }
    let Some(last) = value.iter().rposition(u8::is_ascii_digit) else { return };
    let first = value[..=last].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
    let (prefix, run, suffix) = (&value[..first], &value[first..=last], &value[last + 1..]);
    if prefix.len() <= AFFIX_BYTES_MAX && suffix.len() <= AFFIX_BYTES_MAX {
        let is_padded = run[0] == b'0' && run.len() > 1;
        add(Kind::Integers { prefix, suffix, digits: if is_padded { run.len() } else { 0 } });
    }
    if suffix.is_empty() && parse_decimal(value).is_some() {
        add(Kind::Decimals);
    }
}

/// The values of a column that are not of its kind.
#[derive(Default)]
struct Exceptions<'v> {
    places: Vec<u64>,
    values: Vec<&'v [u8]>,
}

impl<'v> Exceptions<'v> {
    /// Describes them in `node`; answers about how many bits they take.
    fn write(&self, node: &mut Node) -> u64 {
        put_varint(&mut node.description, self.values.len() as u64);
        if self.values.is_empty() {
            return 0;
        }
        let places = ints::encode(&self.places);
        let bits = places.bits + self.values.iter().map(|value| value.len() as u64 * 5 + 16).sum::<u64>();
        node.streams.push(Stream::of_integers(places));
        node.take(texts(&self.values));
        bits
    }
}

/// The numbers that `parse` makes of the values; those it makes none of are exceptions. `None`: too many are.
fn numbers<'v, N: Copy + Default>(
    values: &[&'v [u8]],
    mut parse: impl FnMut(usize, &'v [u8]) -> Option<N>,
) -> Option<(Vec<N>, Exceptions<'v>)> {
    let (mut numbers, mut exceptions) = (Vec::with_capacity(values.len()), Exceptions::default());
    let exceptions_max = values.len() / 4;
    for (place, &value) in values.iter().enumerate() {
        let number = parse(place, value).unwrap_or_else(|| {
            exceptions.places.push(place as u64);
            exceptions.values.push(value);
            numbers.last().copied().unwrap_or_default()
        });
        if exceptions.places.len() > exceptions_max {
            return None;
        }
        numbers.push(number);
    }
    Some((numbers, exceptions))
}

impl Kind<'_> {
    fn tag(&self) -> u8 {
        match self {
            Kind::Integers { .. } => tag::INTEGERS,
            Kind::Hex { .. } => tag::HEX,
            Kind::Times { .. } => tag::TIMES,
            Kind::Decimals => tag::DECIMALS,
        }
    }

    fn write(&self, column: &Column<'_, '_>) -> Option<(Node, u64)> {
        let mut node = Node::default();
        let values = column.values;
        match *self {
            Kind::Integers { prefix, suffix, digits } => {
                let parse =
                    |_, value: &[u8]| parse_digits(value.strip_prefix(prefix)?.strip_suffix(suffix)?, digits);
                let (numbers, exceptions) = numbers(values, parse)?;
                node.description.push(self.tag());
                node.put_text(prefix);
                node.put_text(suffix);
                put_varint(&mut node.description, digits as u64);
                let mut bits = exceptions.write(&mut node) + node.description.len() as u64 * 6;
                bits += node.put_ints(&numbers);
                Some((node, bits))
            }
            Kind::Hex { chars, upper, dashed } => {
                let bytes_each = if dashed { 16 } else { chars / 2 };
                let mut bytes = Vec::with_capacity(values.len() * bytes_each);
                let parse = |_, value: &[u8]| {
                    let is_hex =
                        value.len() == chars && parse_hex(value, upper, dashed, &mut bytes).is_some();
                    if !is_hex {
                        bytes.resize(bytes.len() + bytes_each, 0);
                    }
                    is_hex.then_some(())
                };
                let (_, exceptions) = numbers(values, parse)?;
                node.description.push(self.tag());
                node.description.push(u8::from(upper) | u8::from(dashed) << 1);
                put_varint(&mut node.description, bytes_each as u64);
                let bits = exceptions.write(&mut node) + ints::entropy_bits(bytes.iter().copied());
                node.streams.push(Stream::new(bytes));
                Some((node, bits))
            }
            Kind::Times { form, zone } => {
                let parse = |_, value: &[u8]| form.parse(value.strip_suffix(zone)?);
                let (numbers, exceptions) = numbers(values, parse)?;
                node.description.extend_from_slice(&[
                    self.tag(),
                    form.between,
                    form.point,
                    form.digits as u8,
                ]);
                node.put_text(zone);
                let bits = exceptions.write(&mut node);
                let since_1970 = ints::encode(&numbers.iter().map(|&time| zigzag(time)).collect::<Vec<_>>());
                let of_record = |(place, &time): (usize, &i64)| {
                    zigzag(time.wrapping_sub(form.of_record(column.time_us(place))))
                };
                let of_record = ints::encode(&numbers.iter().enumerate().map(of_record).collect::<Vec<_>>());
                let is_of_record = of_record.bits < since_1970.bits;
                node.description.push(u8::from(is_of_record));
                let times = if is_of_record { of_record } else { since_1970 };
                let bits = bits + times.bits;
                node.streams.push(Stream::of_integers(times));
                Some((node, bits))
            }
            Kind::Decimals => {
                let (numbers, exceptions) = numbers(values, |_, value| parse_decimal(value))?;
                node.description.push(self.tag());
                let mut bits = exceptions.write(&mut node);
                let scales: Vec<u64> = numbers.iter().map(|&(_, scale)| scale as u64).collect();
                let mantissas: Vec<u64> = numbers.iter().map(|&(mantissa, _)| zigzag(mantissa)).collect();
                bits += node.put_ints(&scales);
                bits += node.put_ints(&mantissas);
                Some((node, bits))
            }
        }
    }
}
