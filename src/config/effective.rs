//! What a node runs with, and where each value came from.

use super::schema::{self, Key, Kind};
use super::types::{Hidden, NodeConfig};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody gave one.
    Default,
    /// The configuration file.
    File {
        /// As it was named.
        file: String,
        /// Line, from 1.
        line: u64,
    },
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "file {file}:{line}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One leaf key with its value; secrets are already masked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entry {
    /// Full path; items of lists of sections are numbered: `executor.tools[0].name`.
    pub(crate) key: String,
    /// Value; null when unset.
    pub(crate) value: Value,
    /// Where it came from.
    pub(crate) source: Source,
    /// What the key means.
    pub(crate) meaning: &'static str,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    /// What the node reads.
    pub(crate) node: NodeConfig,
    /// Every leaf key, in the order of the documentation.
    pub(crate) entries: Vec<Entry>,
    /// What is probably a mistake but does no harm, for a person to read.
    pub(crate) warnings: Vec<String>,
}

/// The entries of merged values. `origins` knows every path that somebody gave a value, down to members of items.
pub(super) fn entries(
    values: &BTreeMap<&'static str, Value>,
    origins: &BTreeMap<String, Source>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for key in schema::KEYS {
        let value = values.get(key.path).unwrap_or(&Value::Null);
        match (&key.kind, value) {
            (Kind::Sections(members), Value::Array(items)) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    let prefix = format!("{}[{index}]", key.path);
                    entries.extend(members.iter().map(|member| {
                        let value = item.get(member.path).unwrap_or(&Value::Null);
                        entry(format!("{prefix}.{}", member.path), member, value, origins)
                    }));
                }
            }
            _ => entries.push(entry(key.path.to_owned(), key, value, origins)),
        }
    }
    entries
}

fn entry(path: String, key: &Key, value: &Value, origins: &BTreeMap<String, Source>) -> Entry {
    let source = origins.get(&path).cloned().unwrap_or(Source::Default);
    Entry {
        value: if key.secret { masked(value) } else { value.clone() },
        key: path,
        source,
        meaning: key.meaning,
    }
}

/// A secret value as it may be shown: the names of variables stay, their values and other texts do not.
fn masked(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(map) => map.keys().map(|name| (name.clone(), Value::from(Hidden::MASK))).collect(),
        _ => Value::from(Hidden::MASK),
    }
}
