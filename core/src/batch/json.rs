//! Writes OTLP values as JSON text, for foreign records that have more than a plain text.
//! Promises: the text never grows beyond its limit (but for closing brackets), whatever the values are; [`Json::finish`] says whether
//! something is missing; the text is valid JSON even when it was cut.

use super::error::{DecodeError, delimited, wire};
use super::wire::{Reader, Wire, WireError, field};

/// Values that are nested deeper are an error.
const DEPTH_MAX: usize = 64;

/// Builds one JSON text.
pub struct Json {
    out: String,
    bytes_max: usize,
    /// Something did not fit.
    cut: bool,
}

impl Json {
    pub fn new(bytes_max: usize) -> Json {
        Json { out: String::new(), bytes_max, cut: false }
    }

    /// The text, and whether something of it is missing.
    pub fn finish(self) -> (String, bool) {
        (self.out, self.cut)
    }

    pub fn bytes_left(&self) -> usize {
        self.bytes_max.saturating_sub(self.out.len())
    }

    /// Appends brackets, or text that is known to fit.
    pub fn push_raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Appends a key, after a comma if a member stands before it. False: there is no room for a member.
    #[must_use]
    pub fn push_key(&mut self, key: &[u8]) -> bool {
        if self.bytes_left() < key.len() + 8 {
            self.cut = true;
            return false;
        }
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
        self.push_string(key);
        self.out.push(':');
        true
    }

    /// Appends a JSON string; bytes that are not UTF-8 become U+FFFD.
    pub fn push_string(&mut self, text: &[u8]) {
        self.out.push('"');
        'all: for chunk in text.utf8_chunks() {
            let broken = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
            for character in chunk.valid().chars().chain(broken.chars()) {
                // An escape has six bytes, and the quote must fit.
                if self.bytes_left() < 7 {
                    self.cut = true;
                    break 'all;
                }
                self.push_character(character);
            }
        }
        self.out.push('"');
    }

    fn push_character(&mut self, character: char) {
        match character {
            '"' => self.out.push_str("\\\""),
            '\\' => self.out.push_str("\\\\"),
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            '\u{8}' => self.out.push_str("\\b"),
            '\u{c}' => self.out.push_str("\\f"),
            control if control < ' ' => self.out.push_str(&format!("\\u{:04x}", control as u32)),
            other => self.out.push(other),
        }
    }

    /// Appends the `KeyValue` messages that are field `number` of `parent` as members of the open object.
    pub fn push_members(&mut self, parent: &[u8], number: u32, depth: usize) -> Result<(), DecodeError> {
        const WHAT: &str = "KeyValue";
        for row in repeated(parent, number) {
            let (mut key, mut value) = (&[][..], None);
            let mut fields = Reader::new(row?);
            while let Some((number, read)) = fields.next_field().map_err(wire(WHAT))? {
                match number {
                    field::KEY_VALUE_KEY => key = delimited(WHAT, number, read)?,
                    field::KEY_VALUE_VALUE => value = Some(delimited(WHAT, number, read)?),
                    _ => {}
                }
            }
            if !self.push_key(key) {
                break;
            }
            self.push_any_value(value.unwrap_or(&[]), depth)?;
        }
        Ok(())
    }

    /// Appends an `AnyValue`. As in OTLP's own JSON, bytes become base64, and numbers that JSON does not have become strings.
    pub fn push_any_value(&mut self, bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
        const WHAT: &str = "AnyValue";
        if depth > DEPTH_MAX {
            return Err(DecodeError::Depth { depth_max: DEPTH_MAX });
        }
        let mut last = None;
        let mut fields = Reader::new(bytes);
        while let Some((number, value)) = fields.next_field().map_err(wire(WHAT))? {
            if (field::VALUE_STRING..=field::VALUE_BYTES).contains(&number) {
                last = Some((number, value));
            }
        }
        match last {
            None => self.out.push_str("null"),
            Some((field::VALUE_STRING, Wire::Delimited(text))) => self.push_string(text),
            Some((field::VALUE_BOOL, Wire::Varint(value))) => {
                self.out.push_str(if value != 0 { "true" } else { "false" })
            }
            Some((field::VALUE_INT, Wire::Varint(value))) => self.out.push_str(&(value as i64).to_string()),
            Some((field::VALUE_DOUBLE, Wire::Fixed64(bits))) => self.push_double(f64::from_bits(bits)),
            Some((field::VALUE_BYTES, Wire::Delimited(bytes))) => self.push_base64(bytes),
            Some((field::VALUE_ARRAY, Wire::Delimited(list))) => {
                self.out.push('[');
                for (index, value) in repeated(list, 1).enumerate() {
                    if self.bytes_left() < 8 {
                        self.cut = true;
                        break;
                    }
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.push_any_value(value?, depth + 1)?;
                }
                self.out.push(']');
            }
            Some((field::VALUE_KVLIST, Wire::Delimited(list))) => {
                self.out.push('{');
                self.push_members(list, 1, depth + 1)?;
                self.out.push('}');
            }
            Some((number, _)) => return Err(DecodeError::Type { what: WHAT, number }),
        }
        Ok(())
    }

    fn push_double(&mut self, value: f64) {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.out.push_str(&number.to_string()),
            None => self.push_string(value.to_string().as_bytes()),
        }
    }

    /// Appends bytes as padded base64 (RFC 4648, section 4); cut only after a whole group of three bytes.
    fn push_base64(&mut self, bytes: &[u8]) {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        self.out.push('"');
        for chunk in bytes.chunks(3) {
            if self.bytes_left() < 5 {
                self.cut = true;
                break;
            }
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
                self.out.push(if at <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        self.out.push('"');
    }
}

/// Iterates over a repeated field. (A list of slices would take eight times as much memory as short values themselves.)
fn repeated(parent: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    const WHAT: &str = "list of values";
    let mut fields = Reader::new(parent);
    let mut next = move || -> Result<Option<&[u8]>, WireError> {
        while let Some((found, value)) = fields.next_field()? {
            if let (true, Wire::Delimited(bytes)) = (found == number, value) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    };
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let item = next().map_err(wire(WHAT)).transpose();
        ended = !matches!(item, Some(Ok(_)));
        item
    })
}
