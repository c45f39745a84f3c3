//! The canonical writer: JCS text, straight into one buffer.
//!
//! Members are written as they come; when an object closes and they did not come in the order of their UTF-16 code
//! units, their finished texts are put into that order.

use super::{CanonicalError, MAX_SAFE_INTEGER, Place};
use serde::Serialize;

/// What writing a part of a value gives.
pub(super) type Written = Result<(), CanonicalError>;

/// Writes a value that nests at most `max_depth` levels.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, max_depth: u8) -> Result<Vec<u8>, CanonicalError> {
    let mut writer = Writer { out: Vec::with_capacity(128), open: Vec::new(), max_depth };
    match value.serialize(&mut writer) {
        Ok(()) => Ok(writer.out),
        // Containers stay open when a part of them fails: they are the path to it.
        Err(error) => Err(writer.open.iter().rev().fold(error, |error, open| match open.current() {
            Some(key) => error.within(&key),
            None => error,
        })),
    }
}

/// The text so far and the containers that are open in it.
pub(super) struct Writer {
    out: Vec<u8>,
    open: Vec<Container>,
    max_depth: u8,
}

/// An array or object that is being written.
enum Container {
    Array { len: usize },
    Object { start: usize, members: Vec<Member> },
}

impl Container {
    /// Index or key of the part that is being written.
    fn current(&self) -> Option<String> {
        match self {
            Self::Array { len } => len.checked_sub(1).map(|index| index.to_string()),
            Self::Object { members, .. } => members.last().map(|member| member.key.clone()),
        }
    }
}

/// A member of an object and where its text starts.
struct Member {
    key: String,
    start: usize,
}

impl Writer {
    pub(super) fn literal(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn integer(&mut self, number: i128) -> Written {
        let limit = i128::from(MAX_SAFE_INTEGER);
        if !(-limit..=limit).contains(&number) {
            return Err(CanonicalError::UnsafeInteger { token: number.to_string(), at: Place::default() });
        }
        self.double(number as f64)
    }

    pub(super) fn double(&mut self, number: f64) -> Written {
        if !number.is_finite() {
            return Err(CanonicalError::NotFinite { token: number.to_string(), at: Place::default() });
        }
        self.out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
        Ok(())
    }

    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut run = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                0x08 => b"\\b",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                0x0C => b"\\f",
                b'\r' => b"\\r",
                0..=0x1F => &control_escape(byte),
                _ => continue,
            };
            self.out.extend_from_slice(&text.as_bytes()[run..at]);
            self.out.extend_from_slice(escape);
            run = at + 1;
        }
        self.out.extend_from_slice(&text.as_bytes()[run..]);
        self.out.push(b'"');
    }

    pub(super) fn begin_array(&mut self) -> Written {
        self.begin(b'[', |_| Container::Array { len: 0 })
    }

    /// Called in front of each item.
    pub(super) fn item(&mut self) {
        if let Some(Container::Array { len }) = self.open.last_mut() {
            *len += 1;
            if *len > 1 {
                self.out.push(b',');
            }
        }
    }

    pub(super) fn end_array(&mut self) {
        self.open.pop();
        self.out.push(b']');
    }

    pub(super) fn begin_object(&mut self) -> Written {
        self.begin(b'{', |start| Container::Object { start, members: Vec::new() })
    }

    /// Called in front of each value.
    pub(super) fn key(&mut self, key: &str) {
        if let Some(Container::Object { members, .. }) = self.open.last_mut() {
            if !members.is_empty() {
                self.out.push(b',');
            }
            members.push(Member { key: key.to_owned(), start: self.out.len() });
            self.string(key);
            self.out.push(b':');
        }
    }

    pub(super) fn end_object(&mut self) -> Written {
        if let Some(Container::Object { start, members }) = self.open.pop() {
            let in_order = members.windows(2).all(|pair| utf16_order(&pair[0].key, &pair[1].key).is_lt());
            if !in_order {
                self.reorder(start, &members)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn begin(&mut self, bracket: u8, container: impl FnOnce(usize) -> Container) -> Written {
        if self.open.len() >= usize::from(self.max_depth) {
            return Err(CanonicalError::Endless { max: self.max_depth, at: Place::default() });
        }
        self.out.push(bracket);
        self.open.push(container(self.out.len()));
        Ok(())
    }

    /// Puts the texts of an object's members, which start at `start`, into canonical order.
    fn reorder(&mut self, start: usize, members: &[Member]) -> Written {
        let texts = self.out.split_off(start);
        // A member's text ends in front of the comma that the next one follows.
        let ends = members.iter().skip(1).map(|next| next.start - 1).chain([start + texts.len()]);
        let mut spans: Vec<_> = members.iter().zip(ends).collect();
        spans.sort_by(|(a, _), (b, _)| utf16_order(&a.key, &b.key));
        if let Some(twice) = spans.windows(2).find(|pair| pair[0].0.key == pair[1].0.key) {
            let key = super::error::shortened(&twice[0].0.key);
            return Err(CanonicalError::DuplicateKey { key, at: Place::default() });
        }
        for (index, (member, end)) in spans.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&texts[member.start - start..end - start]);
        }
        Ok(())
    }
}

/// Order of two keys by their UTF-16 code units, which is not that of their characters or UTF-8 bytes.
fn utf16_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// `\u00xx` in lower case.
fn control_escape(byte: u8) -> [u8; 6] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [b'\\', b'u', b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xF)]]
}
