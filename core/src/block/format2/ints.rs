//! Writes a column of integers as bytes: as a constant, runs, byte planes, or byte planes of differences, whichever is estimated to pack
//! best.
//!
//! Byte planes: the lowest byte of all values, then the next higher of all, so that bytes that are alike lie together.

use std::sync::LazyLock;

use super::super::BlockError;
use super::super::columns::{Reader, put_varint, unzigzag, zigzag};

const CONSTANT: u8 = 0;
const RUNS: u8 = 1;
const PLANES: u8 = 2;
const DELTA_PLANES: u8 = 3;

/// An encoded column of integers, and its estimated size once it is packed, in bits, by the entropy of each plane's bytes.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub bits: u64,
    /// Where the bytes before the planes end, and where each plane ends; empty if there are no planes.
    pub ends: Vec<usize>,
}

pub(super) fn encode(values: &[u64]) -> Encoded {
    let Some(&first) = values.first() else {
        return Encoded { bytes: vec![CONSTANT, 0], bits: 16, ends: Vec::new() };
    };
    let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if changes == 0 {
        let mut bytes = vec![CONSTANT];
        put_varint(&mut bytes, first);
        let bits = bytes.len() as u64 * 8;
        return Encoded { bytes, bits, ends: Vec::new() };
    }
    let deltas: Vec<u64> =
        values.windows(2).map(|pair| zigzag(pair[1].wrapping_sub(pair[0]) as i64)).collect();
    let plain = planes_bits(values);
    let delta = planes_bits(&deltas) + 24;
    let mut best = if delta < plain {
        let mut bytes = vec![DELTA_PLANES];
        put_varint(&mut bytes, first);
        let ends = put_planes(&mut bytes, &deltas);
        Encoded { bytes, bits: delta, ends }
    } else {
        let mut bytes = vec![PLANES];
        let ends = put_planes(&mut bytes, values);
        Encoded { bytes, bits: plain, ends }
    };
    if changes < values.len() / 4 {
        let mut bytes = vec![RUNS];
        for run in values.chunk_by(|a, b| a == b) {
            put_varint(&mut bytes, run[0]);
            put_varint(&mut bytes, run.len() as u64);
        }
        let bits = bytes.len() as u64 * 6;
        if bits < best.bits {
            best = Encoded { bytes, bits, ends: Vec::new() };
        }
    }
    best
}

fn base_and_width(values: &[u64]) -> (u64, usize) {
    let base = values.iter().copied().min().unwrap_or(0);
    let top = values.iter().copied().max().unwrap_or(0) - base;
    (base, (u64::BITS - top.leading_zeros()).div_ceil(8) as usize)
}

/// Returns where the bytes before the planes end, and where each plane ends.
fn put_planes(out: &mut Vec<u8>, values: &[u64]) -> Vec<usize> {
    let (base, width) = base_and_width(values);
    put_varint(out, base);
    out.push(width as u8);
    let mut ends = vec![out.len()];
    for plane in 0..width {
        out.extend(values.iter().map(|&value| ((value - base) >> (8 * plane)) as u8));
        ends.push(out.len());
    }
    ends
}

fn planes_bits(values: &[u64]) -> u64 {
    let (base, width) = base_and_width(values);
    let planes =
        (0..width).map(|plane| entropy_bits(values.iter().map(|&v| ((v - base) >> (8 * plane)) as u8)));
    planes.sum::<u64>() + 40
}

/// Of the counts that blocks have; a logarithm takes ten times as long as a look here.
static PRODUCTS: LazyLock<Vec<f64>> = LazyLock::new(|| (0..4096).map(product).collect());

/// A number times its logarithm to the base 2.
fn product(count: u32) -> f64 {
    if count == 0 { 0.0 } else { f64::from(count) * f64::from(count).log2() }
}

/// Of the bytes by how often each is there, and roughly of the table that says so.
pub(super) fn entropy_bits(bytes: impl Iterator<Item = u8>) -> u64 {
    let (mut counts, mut total) = ([0u32; 256], 0u32);
    for byte in bytes {
        counts[usize::from(byte)] += 1;
        total += 1;
    }
    let products = &*PRODUCTS;
    let of = |count: u32| products.get(count as usize).copied().unwrap_or_else(|| product(count));
    let (mut bits, mut distinct) = (of(total), 0u64);
    for count in counts.into_iter().filter(|&count| count > 0) {
        bits -= of(count);
        distinct += 1;
    }
    if distinct <= 1 { 24 } else { (bits as u64 + 4 * distinct).min(u64::from(total) * 8) }
}

/// `count` integers of a whole stream.
pub(super) fn decode(bytes: &[u8], count: usize, what: &'static str) -> Result<Vec<u64>, BlockError> {
    let reader = &mut Reader::new(bytes);
    let values = match reader.byte(what)? {
        CONSTANT => vec![reader.varint(what)?; count],
        RUNS => {
            let mut values = Vec::with_capacity(count);
            while values.len() < count {
                let value = reader.varint(what)?;
                let run = reader.bounded(what, count - values.len())?;
                if run == 0 {
                    return Err(BlockError::Invalid(what));
                }
                values.extend(std::iter::repeat_n(value, run));
            }
            values
        }
        PLANES => read_planes(reader, count, what)?,
        DELTA_PLANES => {
            let mut value = reader.varint(what)?;
            let mut values = read_planes(reader, count.saturating_sub(1), what)?;
            for delta in &mut values {
                let before = value;
                value = value.wrapping_add(unzigzag(*delta) as u64);
                *delta = before;
            }
            if count > 0 {
                values.push(value);
            }
            values
        }
        _ => return Err(BlockError::Invalid(what)),
    };
    if reader.is_empty() { Ok(values) } else { Err(BlockError::Invalid(what)) }
}

fn read_planes(reader: &mut Reader<'_>, count: usize, what: &'static str) -> Result<Vec<u64>, BlockError> {
    let base = reader.varint(what)?;
    let width = reader.byte(what)?;
    if width > 8 {
        return Err(BlockError::Invalid(what));
    }
    let planes = (0..width).map(|_| reader.take(count, what)).collect::<Result<Vec<_>, _>>()?;
    let mut values = vec![0u64; count];
    for (place, plane) in planes.iter().enumerate() {
        for (value, &byte) in values.iter_mut().zip(*plane) {
            *value |= u64::from(byte) << (8 * place);
        }
    }
    values.iter_mut().for_each(|value| *value = value.wrapping_add(base));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(values in prop::collection::vec(
            prop_oneof![0..4u64, 1_000..1_300u64, any::<u64>(), Just(u64::MAX), Just(7)], 0..200,
        ), runs in 1..20usize) {
            let values: Vec<u64> = values.into_iter().flat_map(|v| std::iter::repeat_n(v, runs)).collect();
            prop_assert_eq!(decode(&encode(&values).bytes, values.len(), "test"), Ok(values));
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0..100usize) {
            let _ = decode(&bytes, count, "test");
        }
    }
}
