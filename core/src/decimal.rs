//! Compares numbers exactly as they are written, however long: 64-bit ids, amounts in wei, ratios with twenty digits.

use std::cmp::Ordering;

/// The value is `0.DIGITS * 10^point`, with its sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// ASCII, without zeros at either end; empty: zero.
    digits: Vec<u8>,
    point: i64,
}

/// Exponents beyond this are taken for this.
const EXPONENT_MAX: i64 = 1 << 40;
/// A number with more zeros than this beside its digits is written with an exponent.
const ZEROS_MAX: i64 = 40;

impl Decimal {
    /// A sign, digits with or without a point, an exponent; nothing else, and no blanks.
    pub fn parse(text: &str) -> Option<Decimal> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes.first()? {
            b'-' => (true, &bytes[1..]),
            b'+' => (false, &bytes[1..]),
            _ => (false, bytes),
        };
        let (number, exponent) = match bytes.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&bytes[..at], exponent(&bytes[at + 1..])?),
            None => (bytes, 0),
        };
        let (whole, fraction) = match number.iter().position(|&byte| byte == b'.') {
            Some(at) => (&number[..at], &number[at + 1..]),
            None => (number, &number[..0]),
        };
        let mut digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..leading);
        digits.truncate(digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1));
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, point: 0 });
        }
        let point = whole.len() as i64 - leading as i64 + exponent;
        Some(Decimal { negative, digits, point })
    }

    /// The one way of writing that equal numbers share. A whole number without leading zeros is written so already.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(self.digits.len() + 4);
        let count = self.digits.len() as i64;
        let digits = String::from_utf8_lossy(&self.digits);
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        if self.negative {
            out.push('-');
        }
        if count == 0 {
            out.push('0');
        } else if self.point >= count && self.point - count <= ZEROS_MAX {
            out.push_str(&digits);
            out.push_str(&zeros(self.point - count));
        } else if (1..count).contains(&self.point) {
            let (whole, fraction) = digits.split_at(self.point as usize);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        } else if self.point <= 0 && -self.point <= ZEROS_MAX {
            out.push_str("0.");
            out.push_str(&zeros(-self.point));
            out.push_str(&digits);
        } else {
            out.push_str(&format!("{digits}e{}", self.point - count));
        }
        out
    }
}

fn exponent(bytes: &[u8]) -> Option<i64> {
    let (sign, digits) = match bytes.first()? {
        b'-' => (-1, &bytes[1..]),
        b'+' => (1, &bytes[1..]),
        _ => (1, bytes),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0i64, |value, digit| {
        digit.is_ascii_digit().then(|| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX))
    })?;
    Some(sign * value)
}

/// Whether it is written without an exponent. Only such numbers equal each other however they are written: their whole part is
/// in all of them.
pub fn is_plain(number: &str) -> bool {
    !number.contains(['e', 'E'])
}

/// The canonical text of a plain number that is written otherwise (`1.50`, `-0`); `None` for what is canonical or no number.
pub fn canonical_unless_written_so(number: &[u8]) -> Option<String> {
    if is_canonical_at_a_glance(number) {
        return None;
    }
    let text = std::str::from_utf8(number).ok().filter(|text| is_plain(text))?;
    let canonical = Decimal::parse(text)?.canonical();
    (canonical != text).then_some(canonical)
}

/// Nearly all numbers are written so: no zero at the beginning but that of `0.`, none at the end of a fraction.
fn is_canonical_at_a_glance(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let (whole, fraction) = match digits.iter().position(|&byte| byte == b'.') {
        Some(point) => (&digits[..point], Some(&digits[point + 1..])),
        None => (digits, None),
    };
    let is_whole = match whole {
        [b'0'] => fraction.is_some(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_fraction = |fraction: &[u8]| match fraction {
        [rest @ .., b'1'..=b'9'] => rest.iter().all(u8::is_ascii_digit) && fraction.len() as i64 <= ZEROS_MAX,
        _ => false,
    };
    is_whole && fraction.is_none_or(is_fraction)
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let sign = |number: &Decimal| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || (self.point, &self.digits).cmp(&(other.point, &other.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => size(),
            _ => size().reverse(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_number() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0", "0"),
            ("+7", "7"),
            ("007", "7"),
            ("1.50", "1.5"),
            ("0.25", "0.25"),
            ("-0.5", "-0.5"),
            ("00.5", "0.5"),
            ("0.0", "0"),
            (".5", "0.5"),
            ("5.", "5"),
            ("5e2", "500"),
            ("5.03E+2", "503"),
            ("12e-3", "0.012"),
            ("-1.25", "-1.25"),
            ("1e999", "1e999"),
            ("1e99999999999999999999", "1e1099511627776"),
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            ),
        ] {
            let number = Decimal::parse(text).expect(text);
            assert_eq!(number.canonical(), canonical, "{text}");
            let again = Decimal::parse(canonical).expect(canonical);
            assert_eq!(again.canonical(), canonical);
            let told = canonical_unless_written_so(text.as_bytes());
            assert_eq!(told.as_deref(), (text != canonical && is_plain(text)).then_some(canonical), "{text}");
        }
        for text in
            ["", "-", ".", "e5", "1e", "1e+", "0x10", "1_000", "inf", "NaN", " 1", "1 ", "1.2.3", "--1"]
        {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn neighbours_beyond_floats_are_told_apart() {
        for (less, greater) in [
            ("1610521604143693811", "1610521604143693812"),
            ("9223372036854775806", "9223372036854775807"),
            ("-2", "-1"),
            ("-1", "0"),
            ("0", "1e-300"),
            ("0.1234567890123456788", "0.1234567890123456789"),
            ("99", "100"),
            ("1e400", "1e401"),
            ("-1e400", "-1e399"),
        ] {
            assert!(
                Decimal::parse(less).expect(less) < Decimal::parse(greater).expect(greater),
                "{less} {greater}"
            );
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_compare_as_they_are(a in any::<i128>(), b in any::<i128>(), zeros in 0..4usize) {
            let [a_text, b_text] = [a, b].map(|n| n.to_string());
            let (one, other) = (Decimal::parse(&a_text).expect("a number"), Decimal::parse(&b_text).expect("a number"));
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            prop_assert_eq!(one.canonical(), a_text.clone());
            let longer = format!("{a_text}.{}", "0".repeat(zeros));
            prop_assert_eq!(Decimal::parse(&longer), Some(one));
        }
    }
}
