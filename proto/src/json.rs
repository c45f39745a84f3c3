//! JSON carried as bytes, so that records need no typed model of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A JSON document as UTF-8 bytes, checked once when it entered the node.
///
/// Records and wire messages are bincode, which cannot hold untyped values; JSON travels inside them as bytes and is
/// only parsed where somebody looks into it.
///
/// In human-readable formats it stands as the document itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

impl Json {
    /// The document of a value.
    #[must_use]
    pub fn from_value(value: &Value) -> Self {
        Self(Bytes::from(value.to_string()))
    }

    /// Bytes that are already known to be JSON (written by us, or parsed before).
    #[must_use]
    pub fn from_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Parses the document; bytes that are not JSON after all (a faulty peer) read as `null`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.parse().unwrap_or(Value::Null)
    }

    /// Parses the document.
    ///
    /// # Errors
    /// When the bytes are not JSON.
    pub fn parse(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all (which is no JSON document).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.to_value().serialize(serializer)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Self::from_value(&Value::deserialize(deserializer)?))
        } else {
            Ok(Self(Bytes::deserialize(deserializer)?))
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self::from_value(&value)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may hold secrets and be large: logs get the length only.
        write!(f, "Json({} bytes)", self.0.len())
    }
}
