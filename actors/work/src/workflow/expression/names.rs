//! The names that an expression may use where it stands, and those that it does use.

use super::StepIx;
use super::budget::{Patterns, compile_pattern};
use super::error::Fault;
use regex::Regex;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};

/// What an expression may refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// Steps by id.
    pub(crate) steps: &'a HashMap<&'a str, StepIx>,
    /// Declared inputs.
    pub(crate) inputs: &'a BTreeSet<&'a str>,
    /// Whether there is an item: `item` and `index` stand for something.
    pub(crate) item: bool,
    /// What all expressions of the definition share.
    pub(crate) reading: &'a Reading,
}

/// The reading of one definition: what its expressions may take together, and what they share.
///
/// A program takes some hundred times as much memory as its text.
#[derive(Debug)]
pub(crate) struct Reading {
    max_expression: usize,
    programs_left: Cell<usize>,
    patterns: RefCell<Patterns>,
}

/// Most bytes of expressions that are more than paths, in one definition.
const MAX_PROGRAMS: usize = 1024 * 1024;
/// Most different patterns in one definition.
const MAX_PATTERNS: usize = 256;

impl Reading {
    /// The start of it, with the longest expression in bytes.
    pub(crate) fn new(max_expression: usize) -> Self {
        Self { max_expression, programs_left: Cell::new(MAX_PROGRAMS), patterns: RefCell::default() }
    }

    /// Longest expression in bytes.
    pub(super) fn max_expression(&self) -> usize {
        self.max_expression
    }

    /// Counts a program.
    pub(super) fn take_program(&self, len: usize) -> Result<(), Fault> {
        let left = self.programs_left.get().checked_sub(len);
        self.programs_left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            Fault::new(format!(
                "expressions that are more than paths have more than {MAX_PROGRAMS} bytes together: \
                 use several workflows, or let steps compute them"
            ))
        })
    }

    /// A pattern, compiled once for all that use it.
    pub(super) fn pattern(&self, text: &str) -> Result<Regex, String> {
        let mut patterns = self.patterns.borrow_mut();
        if let Some(known) = patterns.get(text) {
            return Ok(known.clone());
        }
        if patterns.len() == MAX_PATTERNS {
            return Err(format!("the definition has more than {MAX_PATTERNS} different patterns"));
        }
        let compiled = compile_pattern(text)?;
        patterns.insert(text.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

/// The documents that an expression, or a template, reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// Steps of which the output, the error or the state is read.
    pub(crate) steps: BTreeSet<StepIx>,
    /// Whether inputs are.
    pub(crate) inputs: bool,
    /// Whether the item, or its index, is.
    pub(crate) item: bool,
    /// Whether facts of the run are.
    pub(crate) run: bool,
}

impl Needs {
    /// Whether nothing is read: the value is always the same.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && !self.inputs && !self.item && !self.run
    }

    /// Adds what another one reads.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.steps.extend(&other.steps);
        self.inputs |= other.inputs;
        self.item |= other.item;
        self.run |= other.run;
    }
}

/// Most candidates that are compared: a definition may have ten thousand steps, and a hundred wrong names.
const MAX_COMPARED: usize = 500;
/// Longest name that is compared, in characters: the measure is quadratic.
const MAX_NAME: usize = 80;

/// The known name that a mistyped one was probably meant to be.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(MAX_NAME).collect();
    let length = typed.chars().count();
    // One wrong letter in three is still recognisable; for short names two are, if something else is right.
    let most = (length / 3).max(2).min(length.saturating_sub(1));
    let mut best: Option<(usize, &'a str)> = None;
    for name in known.into_iter().take(MAX_COMPARED).filter(|name| name.len() <= 4 * MAX_NAME) {
        let distance = strsim::damerau_levenshtein(&typed, name);
        if distance <= most && best.is_none_or(|(so_far, _)| distance < so_far) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The end of a sentence about an unknown name: the nearest one, or some of those that there are.
pub(super) fn instead<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    const SHOWN: usize = 8;
    if let Some(name) = nearest(typed, known.clone()) {
        return format!("did you mean {name:?}?");
    }
    let some: Vec<&str> = known.clone().into_iter().take(SHOWN).collect();
    match known.into_iter().nth(SHOWN) {
        _ if some.is_empty() => "there is none".to_owned(),
        None => format!("expected one of {}", some.join(", ")),
        Some(_) => format!("expected one of {}, ...", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_name_and_another_word_finds_none() {
        let known = ["fetch", "build", "publish"];
        assert_eq!(nearest("fecth", known), Some("fetch"));
        assert_eq!(nearest("publsh", known), Some("publish"));
        assert_eq!(nearest("zebra_crossing", known), None);
        assert_eq!(nearest("a", ["b"]), None, "of one letter nothing is right");
    }

    #[test]
    fn without_a_near_name_some_of_the_known_ones_are_shown() {
        assert_eq!(instead("xyzzy", ["one", "two"]), "expected one of one, two");
        assert_eq!(instead("x", []), "there is none");
        let many: Vec<String> = (0..20).map(|n| format!("name_{n}")).collect();
        assert!(instead("q", many.iter().map(String::as_str)).ends_with("name_7, ..."));
    }
}
