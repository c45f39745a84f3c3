//! How much an evaluation may do: every value that an operation takes or makes is counted.

use super::error::Stop;
use super::{json, values};
use cel::ExecutionError;
use cel::common::types::{CelBytes, CelList, CelMap, CelOptional, CelString, Kind, Type};
use cel::common::value::{StaticVal, Val};
use regex::Regex;
use serde_json::Value;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Work that may still be done, in units: a unit is a value looked at or made (some 100 nanoseconds and, for one that
/// is made, some 64 bytes), or 32 bytes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget(u64);

impl Budget {
    /// What an actor may spend on its own thread: some milliseconds.
    pub(crate) fn inline() -> Self {
        Self(20_000)
    }

    /// What a thread for blocking work may spend: below a second or two, and some 128 MiB.
    pub(crate) fn full() -> Self {
        Self(2_000_000)
    }

    #[cfg(test)]
    pub(super) fn of_units(units: u64) -> Self {
        Self(units)
    }

    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self(0)
    }

    /// What reading an expression of this length may spend on working out that it is constant.
    pub(super) fn of_constant(len: usize) -> Self {
        Self(20 + 4 * u64::try_from(len).unwrap_or_default())
    }

    /// Takes the price of a copy of a value; false when there is not as much left.
    ///
    /// A copy is cheap against an operation of the interpreter.
    pub(super) fn take_copy(&mut self, value: &Value) -> bool {
        self.take(1 + price_of_copy(value) / 512)
    }

    /// Takes the price of a text that is put together; false when there is not as much left.
    pub(super) fn take_text(&mut self, len: usize) -> bool {
        self.take(1 + units(len) / 16)
    }

    fn take(&mut self, price: u64) -> bool {
        match self.0.checked_sub(price) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => {
                self.0 = 0;
                false
            }
        }
    }
}

/// What is copied with a value, in bytes or so.
fn price_of_copy(value: &Value) -> u64 {
    let len = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    match value {
        Value::String(text) => 32 + len(text.len()),
        Value::Array(items) => items.iter().fold(32, |sum, item| sum + price_of_copy(item)),
        Value::Object(members) => {
            members.iter().fold(32, |sum, (name, item)| sum + 64 + len(name.len()) + price_of_copy(item))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
    }
}

fn units(bytes: usize) -> u64 {
    u64::try_from(bytes / 32).unwrap_or(u64::MAX)
}

/// Compiled patterns by their text.
pub(super) type Patterns = BTreeMap<String, Regex>;

/// Deepest value; JSON that is nested deeper cannot be read again.
pub(super) const MAX_DEPTH: usize = 100;

static METER_TYPE: Type = Type::new_unspecified_type("meter");

/// Counts what a program does. It is a value of the program (named `@meter`, which no author can write), so that the
/// functions that are put around the operations of the program reach it.
#[derive(Debug)]
pub(super) struct Meter {
    // The interpreter asks that values be shareable; only one thread uses it.
    left: AtomicU64,
    patterns: Arc<Patterns>,
    /// What the program gave.
    result: OnceLock<Result<Value, Stop>>,
}

/// Stands for an empty budget: once it is overdrawn every further charge fails, so that an error that an expression
/// ignores (`false && error`) does not let it go on.
const OVERDRAWN: u64 = u64::MAX;

impl Meter {
    pub(super) fn new(budget: Budget, patterns: Arc<Patterns>) -> Self {
        Self { left: AtomicU64::new(budget.0.min(OVERDRAWN - 1)), patterns, result: OnceLock::new() }
    }

    /// What is left; none when more was asked for than there was.
    pub(super) fn left(&self) -> Option<Budget> {
        let left = self.left.load(Ordering::Relaxed);
        (left != OVERDRAWN).then_some(Budget(left))
    }

    /// Keeps what the program gave.
    pub(super) fn give(&self, value: &dyn Val) {
        self.result.get_or_init(|| json::of(value, self));
    }

    /// What the program gave.
    pub(super) fn result(self) -> Result<Value, Stop> {
        self.result.into_inner().unwrap_or(Err(Stop::OutOfBudget))
    }

    /// Counts work.
    pub(super) fn charge(&self, price: u64) -> Result<(), ExecutionError> {
        let left = self.left.load(Ordering::Relaxed);
        let rest = if left == OVERDRAWN { None } else { left.checked_sub(price) };
        self.left.store(rest.unwrap_or(OVERDRAWN), Ordering::Relaxed);
        rest.map(|_| ()).ok_or_else(|| ExecutionError::function_error("budget", "exhausted"))
    }

    /// Counts a piece of text that is read or made.
    pub(super) fn charge_text(&self, len: usize) -> Result<(), ExecutionError> {
        self.charge(1 + units(len))
    }

    /// Counts a value that an operation looks at without copying it.
    pub(super) fn charge_look(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        match value.downcast_ref::<CelString<'_>>() {
            Some(text) => self.charge_text(text.len() / 2),
            None => self.charge(1),
        }
    }

    /// Counts a value that is copied: all of it, but what borrows from JSON, of which only the reference is copied.
    pub(super) fn charge_copy(&self, value: &dyn Val) -> Result<(), ExecutionError> {
        self.charge_copy_at(value, 0)
    }

    fn charge_copy_at(&self, value: &dyn Val, depth: usize) -> Result<(), ExecutionError> {
        if depth > MAX_DEPTH {
            return Err(ExecutionError::function_error(
                "value",
                format!("is nested deeper than {MAX_DEPTH}"),
            ));
        }
        match value.get_type().kind() {
            Kind::String => {
                self.charge_text(value.downcast_ref::<CelString<'_>>().map_or(0, |text| text.len()))
            }
            Kind::Bytes => {
                self.charge_text(value.downcast_ref::<CelBytes<'_>>().map_or(0, |bytes| bytes.len()))
            }
            Kind::List => match value.downcast_ref::<CelList<'_>>() {
                Some(list) => {
                    self.charge(1)?;
                    list.iter().try_for_each(|item| self.charge_copy_at(item.as_ref(), depth + 1))
                }
                None => self.charge(1 + values::length(value)),
            },
            Kind::Map => match value.downcast_ref::<CelMap<'_>>() {
                Some(map) => {
                    self.charge(1)?;
                    map.iter().try_for_each(|(key, item)| {
                        self.charge_copy_at(key.inner(), depth + 1)?;
                        self.charge_copy_at(item.as_ref(), depth + 1)
                    })
                }
                None => self.charge(1),
            },
            _ => match value.downcast_ref::<CelOptional<'_>>().and_then(CelOptional::option) {
                Some(inner) => self.charge_copy_at(inner, depth + 1),
                None => self.charge(1),
            },
        }
    }

    /// A pattern: one of the program's own, compiled when it was read, or one that it made.
    pub(super) fn pattern(&self, text: &str) -> Result<Regex, ExecutionError> {
        if let Some(known) = self.patterns.get(text) {
            return Ok(known.clone());
        }
        self.charge(2000 + 50 * u64::try_from(text.len()).unwrap_or(u64::MAX / 100))?;
        compile_pattern(text).map_err(|error| ExecutionError::function_error("matches", error))
    }
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &METER_TYPE
    }

    fn cel_type() -> &'static Type {
        &METER_TYPE
    }

    /// The interpreter copies what it puts into lists and maps; no program can put this there.
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        let left = self.left.load(Ordering::Relaxed);
        Box::new(Self {
            left: AtomicU64::new(left),
            patterns: Arc::clone(&self.patterns),
            result: OnceLock::new(),
        })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

/// Compiles a pattern within bounds (the engine itself takes linear time).
pub(super) fn compile_pattern(text: &str) -> Result<Regex, String> {
    const MAX_PATTERN: usize = 1024;
    const MAX_COMPILED: usize = 256 * 1024;
    if text.len() > MAX_PATTERN {
        return Err(format!("pattern of {} bytes is longer than {MAX_PATTERN}", text.len()));
    }
    let compiled =
        regex::RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
    compiled.map_err(|error| {
        // The crate draws a picture of several lines; its last one says what is wrong.
        let error = error.to_string();
        format!("pattern {:?}: {}", super::clip(text), error.lines().last().unwrap_or_default().trim())
    })
}
