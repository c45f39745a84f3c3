//! Why JSON is refused, and where.

use crate::{Coded, ErrorCode};
use std::fmt;

/// Longest piece of foreign text that an error repeats, in characters.
const MAX_QUOTED: usize = 64;

/// Where in a JSON text or value something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Offset of the first byte concerned; `None` when a value was written, not a text read.
    pub offset: Option<usize>,
    /// JSON pointer (RFC 6901) to the value concerned, long keys shortened; empty for the whole document.
    pub path: String,
}

impl Place {
    /// A place in a text whose path is not known yet.
    pub(super) fn at_byte(offset: usize) -> Self {
        Self { offset: Some(offset), path: String::new() }
    }

    /// Puts a key in front of the path.
    pub(super) fn push_front(&mut self, key: &str) {
        let escaped = shortened(key).replace('~', "~0").replace('/', "~1");
        self.path.insert_str(0, &escaped);
        self.path.insert(0, '/');
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the document" } else { &self.path };
        match self.offset {
            Some(offset) => write!(f, "at byte {offset} in {path}"),
            None => write!(f, "in {path}"),
        }
    }
}

/// Why JSON is refused. [`CanonicalError::reason_code`] gives the code that other implementations also use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A key appears twice in one object; the path is that of the object.
    #[error("key {key:?} appears twice {at}: each key of an object may appear once")]
    DuplicateKey {
        /// The key, shortened.
        key: String,
        /// The second of them.
        at: Place,
    },
    /// Half of a surrogate pair, which is no character.
    #[error("lone surrogate U+{unit:04X} {at}: a text consists of whole characters")]
    LoneSurrogate {
        /// The UTF-16 code unit.
        unit: u16,
        /// Where it is.
        at: Place,
    },
    /// An integer that a double cannot hold without doubt.
    #[error("integer {token} {at} is outside ±9007199254740991: write it as a string")]
    UnsafeInteger {
        /// The number as written, shortened.
        token: String,
        /// Where it is.
        at: Place,
    },
    /// `NaN`, an infinity, or a number beyond the range of a double.
    #[error("{token} {at} is not a finite number: JSON has no other")]
    NotFinite {
        /// The number as written, shortened.
        token: String,
        /// Where it is.
        at: Place,
    },
    /// A bare word other than `true`, `false` and `null`.
    #[error("{token:?} {at} is not a JSON literal: there are true, false and null, in lower case")]
    InvalidLiteral {
        /// The word, shortened.
        token: String,
        /// Where it is.
        at: Place,
    },
    /// Not JSON in another way.
    #[error("not JSON {at}: {problem}")]
    Syntax {
        /// What is wrong and what was expected.
        problem: String,
        /// Where it is.
        at: Place,
    },
    /// More arrays and objects are open than the reader accepts.
    #[error("more than {max} arrays and objects are nested {at}")]
    TooDeep {
        /// The limit.
        max: u8,
        /// The first that is one too many.
        at: Place,
    },
    /// The text is longer than the reader accepts.
    #[error("JSON text of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// JSON, but not in its canonical form.
    #[error("bytes differ from their canonical form ({}) {at}", super::ALGORITHM)]
    NotCanonical {
        /// The first byte that differs.
        at: Place,
    },
    /// A value written nests without end, or at least deeper than can be told apart from that.
    #[error("value refers to itself or nests deeper than {max} levels {at}")]
    Endless {
        /// The limit.
        max: u8,
        /// Where it became too deep.
        at: Place,
    },
    /// A value written holds something that JSON has no form for.
    #[error("no JSON form {at}: {problem}")]
    Unsupported {
        /// What it is.
        problem: String,
        /// Where it is.
        at: Place,
    },
}

impl CanonicalError {
    /// The reason code of the `mcpp-jcs-v1` specification (the two limits have codes of our own).
    #[must_use]
    pub const fn reason_code(&self) -> &'static str {
        match self {
            Self::DuplicateKey { .. } => "reject_duplicate_keys",
            Self::LoneSurrogate { .. } => "reject_lone_surrogate",
            Self::UnsafeInteger { .. } => "reject_unsafe_integer",
            Self::NotFinite { .. } => "reject_nan_infinity",
            Self::InvalidLiteral { .. } => "reject_invalid_json_literal",
            Self::Syntax { .. } => "reject_invalid_json",
            Self::TooDeep { .. } => "reject_depth_limit",
            Self::TooLarge { .. } => "reject_size_limit",
            Self::NotCanonical { .. } => "reject_non_canonical_bytes",
            Self::Endless { .. } => "reject_cycles",
            Self::Unsupported { .. } => "reject_unsupported_type",
        }
    }

    /// Where it is wrong; `None` when the whole text is too large.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::DuplicateKey { at, .. }
            | Self::LoneSurrogate { at, .. }
            | Self::UnsafeInteger { at, .. }
            | Self::NotFinite { at, .. }
            | Self::InvalidLiteral { at, .. }
            | Self::Syntax { at, .. }
            | Self::TooDeep { at, .. }
            | Self::NotCanonical { at }
            | Self::Endless { at, .. }
            | Self::Unsupported { at, .. } => Some(at),
            Self::TooLarge { .. } => None,
        }
    }

    /// The same error, seen from the object or array that holds the value under `key`.
    #[must_use]
    pub(super) fn within(mut self, key: &str) -> Self {
        match &mut self {
            Self::DuplicateKey { at, .. }
            | Self::LoneSurrogate { at, .. }
            | Self::UnsafeInteger { at, .. }
            | Self::NotFinite { at, .. }
            | Self::InvalidLiteral { at, .. }
            | Self::Syntax { at, .. }
            | Self::TooDeep { at, .. }
            | Self::NotCanonical { at }
            | Self::Endless { at, .. }
            | Self::Unsupported { at, .. } => at.push_front(key),
            Self::TooLarge { .. } => {}
        }
        self
    }
}

impl Coded for CanonicalError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidJson,
        }
    }
}

impl serde::ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::Unsupported { problem: problem.to_string(), at: Place::default() }
    }
}

/// The start of a foreign text, for error messages.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_json_pointers_and_long_keys_are_shortened() {
        let long = "k".repeat(10_000);
        let error =
            CanonicalError::NotCanonical { at: Place::at_byte(3) }.within("0").within("a/b~c").within(&long);
        let path = &error.place().unwrap().path;
        assert_eq!(path, &format!("/{}…/a~1b~0c/0", "k".repeat(MAX_QUOTED)));
        assert!(error.to_string().contains("at byte 3 in /kkk"));
    }

    #[test]
    fn only_the_size_limit_maps_to_too_large() {
        assert_eq!(CanonicalError::TooLarge { len: 2, max: 1 }.code(), ErrorCode::TooLarge);
        assert_eq!(CanonicalError::TooDeep { max: 1, at: Place::default() }.code(), ErrorCode::InvalidJson);
    }
}
