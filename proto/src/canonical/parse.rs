//! The strict reader: RFC 8259 to the letter, with the extra refusals of `mcpp-jcs-v1` and two limits.
//!
//! It is written by hand because a serde visitor no longer sees how a number was written (`1e400` or an integer of
//! thirty digits) and cannot tell where a duplicate key stood.

use super::error::shortened;
use super::{CanonicalError, Limits, MAX_SAFE_INTEGER, Place};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

type Parsed<T> = Result<T, CanonicalError>;

/// Reads one JSON text.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Parsed<Value> {
    if bytes.len() > limits.max_bytes {
        return Err(CanonicalError::TooLarge { len: bytes.len(), max: limits.max_bytes });
    }
    let text = utf8(bytes)?;
    let mut parser = Parser { text, pos: 0, depth: 0, max_depth: limits.max_depth };
    if text.starts_with('\u{feff}') {
        return Err(parser.syntax(0, "the text starts with a byte-order mark"));
    }
    parser.skip_whitespace();
    let value = parser.value()?;
    parser.skip_whitespace();
    if parser.pos == text.len() { Ok(value) } else { Err(parser.unexpected("the end of the text")) }
}

/// The bytes as text. Surrogates in UTF-8's manner (`ED A0 80`) get their own reason, like escaped ones.
fn utf8(bytes: &[u8]) -> Parsed<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let at = Place::at_byte(offset);
        match bytes.get(offset..offset + 3) {
            Some(&[0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF]) => {
                let unit = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
                CanonicalError::LoneSurrogate { unit, at }
            }
            _ => CanonicalError::Syntax { problem: "the bytes are not UTF-8".into(), at },
        }
    })
}

/// A position in a text.
///
/// `pos` never stands inside a character: it moves over ASCII bytes, or over a string's bytes up to an ASCII one.
struct Parser<'a> {
    text: &'a str,
    pos: usize,
    depth: u8,
    max_depth: u8,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Parsed<Value> {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() => self.literal(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn array(&mut self) -> Parsed<Value> {
        self.open()?;
        let mut items = Vec::new();
        self.skip_whitespace();
        if !self.eat(b']') {
            loop {
                let item = self.value().map_err(|error| error.within(&items.len().to_string()))?;
                items.push(item);
                if self.ends(b']', "',' or ']' behind an item of an array")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Parsed<Value> {
        self.open()?;
        let mut members = Map::new();
        self.skip_whitespace();
        if !self.eat(b'}') {
            loop {
                self.member(&mut members)?;
                if self.ends(b'}', "',' or '}' behind a member of an object")? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Object(members))
    }

    fn member(&mut self, members: &mut Map<String, Value>) -> Parsed<()> {
        let start = self.pos;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        let slot = match members.entry(key) {
            Entry::Vacant(slot) => slot,
            Entry::Occupied(taken) => {
                let key = shortened(taken.key());
                return Err(CanonicalError::DuplicateKey { key, at: Place::at_byte(start) });
            }
        };
        self.skip_whitespace();
        if !self.eat(b':') {
            return Err(self.unexpected("':' behind a key"));
        }
        self.skip_whitespace();
        let value = self.value().map_err(|error| error.within(slot.key()))?;
        slot.insert(value);
        Ok(())
    }

    /// Enters an array or object.
    fn open(&mut self) -> Parsed<()> {
        if self.depth >= self.max_depth {
            return Err(CanonicalError::TooDeep { max: self.max_depth, at: Place::at_byte(self.pos) });
        }
        self.depth += 1;
        self.pos += 1;
        Ok(())
    }

    /// Behind an item: true at the closing bracket, false at a comma, which is followed by another item.
    fn ends(&mut self, close: u8, expected: &str) -> Parsed<bool> {
        self.skip_whitespace();
        if self.eat(close) {
            return Ok(true);
        }
        if !self.eat(b',') {
            return Err(self.unexpected(expected));
        }
        self.skip_whitespace();
        Ok(false)
    }

    fn literal(&mut self) -> Parsed<Value> {
        let start = self.pos;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.pos += 1;
        }
        match &self.text[start..self.pos] {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "NaN" | "Infinity" => Err(self.not_finite(start)),
            other => {
                Err(CanonicalError::InvalidLiteral { token: shortened(other), at: Place::at_byte(start) })
            }
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let start = self.pos;
        self.eat(b'-');
        match self.peek() {
            Some(b'0') => {
                self.pos += 1;
                if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    return Err(self.syntax(start, "a number starts with a needless zero"));
                }
            }
            Some(b'1'..=b'9') => self.digits()?,
            Some(b'I') if self.text[self.pos..].starts_with("Infinity") => {
                self.pos += "Infinity".len();
                return Err(self.not_finite(start));
            }
            _ => return Err(self.unexpected("a digit")),
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        if whole { self.integer(start) } else { self.double(start) }
    }

    /// At least one digit.
    fn digits(&mut self) -> Parsed<()> {
        let start = self.pos;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.pos += 1;
        }
        if self.pos > start { Ok(()) } else { Err(self.unexpected("a digit")) }
    }

    /// A number written without fraction and exponent.
    fn integer(&self, start: usize) -> Parsed<Value> {
        let token = &self.text[start..self.pos];
        match token.parse::<i64>() {
            Ok(number) if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number) => Ok(Value::from(number)),
            _ => Err(CanonicalError::UnsafeInteger { token: shortened(token), at: Place::at_byte(start) }),
        }
    }

    /// A number written with fraction or exponent; a whole one becomes an integer, so that `1.0` equals `1`.
    fn double(&self, start: usize) -> Parsed<Value> {
        let token = &self.text[start..self.pos];
        let number: f64 = token.parse().map_err(|_| self.syntax(start, "a number cannot be read"))?;
        if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER as f64 {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within ±(2^53 - 1)")]
            return Ok(Value::from(number as i64));
        }
        Number::from_f64(number).map(Value::Number).ok_or_else(|| self.not_finite(start))
    }

    fn string(&mut self) -> Parsed<String> {
        let start = self.pos;
        self.pos += 1;
        let mut out = String::new();
        let mut run = self.pos;
        loop {
            match self.peek() {
                Some(b'"') => {
                    out.push_str(&self.text[run..self.pos]);
                    self.pos += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[run..self.pos]);
                    out.push(self.escape()?);
                    run = self.pos;
                }
                Some(0..=0x1F) => {
                    return Err(self.syntax(self.pos, "a control character inside a string is not escaped"));
                }
                Some(_) => self.pos += 1,
                None => return Err(self.syntax(start, "a string has no closing quote")),
            }
        }
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Parsed<char> {
        let start = self.pos;
        let plain = match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(start),
            _ => {
                return Err(
                    self.syntax(start, "an escape is none of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")
                );
            }
        };
        self.pos = start + 2;
        Ok(plain)
    }

    fn unicode_escape(&mut self, start: usize) -> Parsed<char> {
        let Some(unit) = self.code_unit(start) else {
            return Err(self.syntax(start, "\\u is not followed by four hexadecimal digits"));
        };
        self.pos = start + 6;
        let lone = CanonicalError::LoneSurrogate { unit, at: Place::at_byte(start) };
        let code = match unit {
            0xD800..=0xDBFF => match self.code_unit(self.pos) {
                Some(low @ 0xDC00..=0xDFFF) => {
                    self.pos += 6;
                    0x1_0000 + ((u32::from(unit) - 0xD800) << 10) + (u32::from(low) - 0xDC00)
                }
                _ => return Err(lone),
            },
            other => u32::from(other),
        };
        char::from_u32(code).ok_or(lone)
    }

    /// The code unit of the `\uXXXX` at this offset, if there is one.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let escape = self.text.as_bytes().get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0_u16, |unit, byte| {
            let digit = char::from(*byte).to_digit(16)?;
            Some((unit << 4) | u16::try_from(digit).ok()?)
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.pos += 1;
        }
    }

    fn syntax(&self, offset: usize, problem: &str) -> CanonicalError {
        CanonicalError::Syntax { problem: problem.into(), at: Place::at_byte(offset) }
    }

    fn unexpected(&self, expected: &str) -> CanonicalError {
        match self.text[self.pos..].chars().next() {
            Some(found) => self.syntax(self.pos, &format!("found {found:?} instead of {expected}")),
            None => self.syntax(self.pos, &format!("the text ends instead of {expected}")),
        }
    }

    fn not_finite(&self, start: usize) -> CanonicalError {
        CanonicalError::NotFinite { token: shortened(&self.text[start..self.pos]), at: Place::at_byte(start) }
    }
}
