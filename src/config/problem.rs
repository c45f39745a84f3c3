//! What is wrong with a configuration: every problem, each with its place.

use meshwork_proto::{Coded, ErrorCode};
use serde::Serialize;
use std::fmt;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Problem {
    /// Where: `file:line:column`, the name of a variable, or a flag.
    pub(crate) place: String,
    /// The key it is about, when it is about one.
    pub(crate) key: Option<String>,
    /// What is wrong, with which value, and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key} {}", self.place, self.message),
            None => write!(f, "{}: {}", self.place, self.message),
        }
    }
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// At least one problem, in the order of the layers: file, environment, flags, then what concerns several keys.
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// An error with one problem that belongs to no key.
    #[must_use]
    pub(crate) fn one(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { place: place.into(), key: None, message: message.into() }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "configuration cannot be used: {only}"),
            several => {
                write!(f, "configuration cannot be used, {} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Coded for ConfigError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }
}
