//! Canonical JSON: the one byte form of a value that digests, content ids and signatures are made over.
//!
//! This is `mcpp-jcs-v1`, which is RFC 8785 (JCS) with strict reading: duplicate keys, lone surrogates, integers that
//! a double cannot hold, `NaN`, a byte-order mark and trailing data are refused, never repaired, each with a stable
//! reason code. [`parse_strict`] reads untrusted bytes, [`to_canonical`] writes any serde value.
//!
//! One corner of the specification does not close: a *fraction or exponent* token such as `1e20` is legal and its
//! canonical form is the integer token `100000000000000000000`, which is refused when it is read again. It concerns
//! numbers from 2^53 up to 1e21; whoever needs such a number writes it as a string.

mod error;
mod parse;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reading;
mod serializer;
mod writer;

pub use error::{CanonicalError, Place};

use crate::Cid;
use serde::Serialize;
use serde_json::Value;

/// Name of the algorithm, as it is written into the `canonicalization` field of new artifacts.
pub const ALGORITHM: &str = "mcpp-jcs-v1";
/// Largest integer that a double holds without doubt, 2^53 - 1; the smallest is its negative.
pub const MAX_SAFE_INTEGER: i64 = 9_007_199_254_740_991;
/// Arrays and objects that may be open at the same time, unless said otherwise.
pub const DEFAULT_MAX_DEPTH: u8 = 128;
/// Length of a text in bytes that is read, unless said otherwise.
pub const DEFAULT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// What a reader of untrusted JSON accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text in bytes.
    pub max_bytes: usize,
    /// Arrays and objects open at the same time. (At most 255, so that no text can exhaust a stack.)
    pub max_depth: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: DEFAULT_MAX_BYTES, max_depth: DEFAULT_MAX_DEPTH }
    }
}

/// Reads untrusted JSON.
///
/// Numbers come back in one form each, so that equal numbers are equal values: whole ones within
/// ±[`MAX_SAFE_INTEGER`] as integers (also `1.0`, `1e3` and `-0`), all others as doubles.
///
/// # Errors
/// The first thing that is wrong, with its reason code, byte offset and path.
pub fn parse_strict(bytes: &[u8], limits: &Limits) -> Result<Value, CanonicalError> {
    parse::parse(bytes, limits)
}

/// Reads bytes that claim to be canonical, and refuses them if they are not exactly that.
///
/// # Errors
/// As [`parse_strict`], and [`CanonicalError::NotCanonical`] with the first byte that differs.
pub fn parse_canonical(bytes: &[u8], limits: &Limits) -> Result<Value, CanonicalError> {
    let value = parse_strict(bytes, limits)?;
    let right = to_canonical(&value)?;
    if right == bytes {
        return Ok(value);
    }
    let same = right.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(CanonicalError::NotCanonical { at: Place::at_byte(same) })
}

/// The canonical form of untrusted JSON, read with the default [`Limits`].
///
/// # Errors
/// As [`parse_strict`].
pub fn canonicalize(bytes: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    to_canonical(&parse_strict(bytes, &Limits::default())?)
}

/// The canonical form of a value: a [`Value`] or any type that serde can write as JSON.
///
/// Unlike `serde_json::to_value` it refuses what JSON cannot say instead of coercing it: `NaN` (which that makes
/// `null`), raw bytes, keys that are not strings, and two fields with one name (by `#[serde(flatten)]`).
///
/// # Errors
/// [`CanonicalError`] with the path to what cannot be written. A value that nests deeper than
/// [`DEFAULT_MAX_DEPTH`] is refused as endless, because one that refers to itself looks the same.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    writer::write(value, DEFAULT_MAX_DEPTH)
}

/// The content id of a value: that of its canonical form.
///
/// # Errors
/// As [`to_canonical`].
pub fn canonical_cid<T: Serialize + ?Sized>(value: &T) -> Result<Cid, CanonicalError> {
    Ok(Cid::of(&to_canonical(value)?))
}
