//! Paths: expressions that only walk into a document, such as `steps.a.output.items[0].id`.
//!
//! They are most of all expressions and are what a run spends its time on, so they never see the interpreter. They give
//! exactly what it would give for the same text (a property test compares the two).

use super::scope::{Scope, StepOutcome};
use super::{Names, Needs, StepIx, clip};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A way into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) root: Root,
    /// How much of the source is the root.
    root_len: usize,
    rest: Box<[Segment]>,
}

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// `inputs`
    Inputs,
    /// `steps.<id>.output`
    Output(StepIx),
    /// `steps.<id>.error`
    Error(StepIx),
    /// `steps.<id>.state`
    State(StepIx),
    /// `item`
    Item,
    /// `index`
    Index,
    /// `run.id`
    RunId,
    /// `run.created_s`
    RunCreated,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A member of an object.
    Member(Box<str>),
    /// An element of a list.
    At(usize),
}

impl Path {
    /// Reads a path; none when it is anything else, or when it names something that is not there (the compiler of
    /// programs says so).
    pub(super) fn read(source: &str, names: &Names<'_>) -> Option<Self> {
        let (first, mut rest) = identifier(source)?;
        let mut member = || -> Option<&str> {
            let (name, behind) = identifier(rest.strip_prefix('.')?)?;
            rest = behind;
            Some(name)
        };
        let root = match first {
            "inputs" => Root::Inputs,
            "item" if names.item => Root::Item,
            "index" if names.item => Root::Index,
            "run" => match member()? {
                "id" => Root::RunId,
                "created_s" => Root::RunCreated,
                _ => return None,
            },
            "steps" => {
                let step = *names.steps.get(member()?)?;
                match member()? {
                    "output" => Root::Output(step),
                    "error" => Root::Error(step),
                    "state" => Root::State(step),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let root_len = source.len() - rest.len();
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, behind) = segment(rest)?;
            segments.push(segment);
            rest = behind;
        }
        if root == Root::Inputs
            && let Some(Segment::Member(name)) = segments.first()
            && !names.inputs.contains(&**name)
        {
            return None;
        }
        Some(Self { root, root_len, rest: segments.into() })
    }

    /// What it reads.
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        match self.root {
            Root::Inputs => needs.inputs = true,
            Root::Output(step) | Root::Error(step) | Root::State(step) => {
                needs.steps.insert(step);
            }
            Root::Item | Root::Index => needs.item = true,
            Root::RunId | Root::RunCreated => needs.run = true,
        }
        needs
    }

    /// The members that it goes through behind its root; none if it goes through a list.
    pub(crate) fn members(&self) -> Option<Vec<&str>> {
        let member = |segment: &'_ Segment| matches!(segment, Segment::Member(_));
        self.rest.iter().all(member).then(|| {
            let names = self.rest.iter().filter_map(|segment| match segment {
                Segment::Member(name) => Some(&**name),
                Segment::At(_) => None,
            });
            names.collect()
        })
    }

    /// The value at its end; the source is for messages.
    pub(super) fn resolve<'a>(&self, source: &str, scope: &Scope<'a>) -> Result<Cow<'a, Value>, String> {
        let start = match self.root {
            Root::Inputs => Cow::Borrowed(scope.inputs),
            Root::Output(step) => match scope.steps.of(step) {
                StepOutcome::Output(value) => Cow::Borrowed(value),
                // Whatever would be in the output of a step without one is null.
                StepOutcome::Nothing | StepOutcome::Failed(_) => return Ok(Cow::Owned(Value::Null)),
            },
            Root::Error(step) => match scope.steps.of(step).error() {
                Some(error) => Cow::Owned(error),
                None => return Ok(Cow::Owned(Value::Null)),
            },
            Root::State(step) => Cow::Owned(Value::from(scope.steps.of(step).state())),
            Root::Item => Cow::Borrowed(scope.item.ok_or("there is no item here")?.0),
            Root::Index => Cow::Owned(Value::from(scope.item.ok_or("there is no item here")?.1)),
            Root::RunId => Cow::Owned(Value::from(scope.run.id.to_string())),
            Root::RunCreated => Cow::Owned(scope.run.created_s()),
        };
        match start {
            Cow::Borrowed(value) => self.follow(source, value).map(Cow::Borrowed),
            Cow::Owned(value) if self.rest.is_empty() => Ok(Cow::Owned(value)),
            Cow::Owned(value) => self.follow(source, &value).cloned().map(Cow::Owned),
        }
    }

    fn follow<'v>(&self, source: &str, start: &'v Value) -> Result<&'v Value, String> {
        let mut value = start;
        for (depth, segment) in self.rest.iter().enumerate() {
            let next = match (segment, value) {
                (Segment::Member(name), Value::Object(members)) => members.get(&**name),
                (Segment::At(index), Value::Array(items)) => items.get(*index),
                _ => None,
            };
            value = next.ok_or_else(|| self.missing(source, depth, segment, value))?;
        }
        Ok(value)
    }

    /// The sentence about a segment that leads nowhere.
    fn missing(&self, source: &str, depth: usize, segment: &Segment, value: &Value) -> String {
        const SHOWN: usize = 8;
        let root = source.get(..self.root_len).unwrap_or_default();
        let walked: String = self.rest.iter().take(depth).map(ToString::to_string).collect();
        let place = clip(&format!("{root}{walked}"));
        match (segment, value) {
            (Segment::Member(name), Value::Object(members)) if members.is_empty() => {
                format!("{place} has no member {:?}: it has none at all", clip(name))
            }
            (Segment::Member(name), Value::Object(members)) => {
                let mut known: Vec<String> = members.keys().take(SHOWN).map(|name| clip(name)).collect();
                if members.len() > SHOWN {
                    known.push("...".to_owned());
                }
                let known = known.join(", ");
                let name = clip(name);
                format!(
                    "{place} has no member {name:?}, it has {known}: if it may be missing, ask has(...) first"
                )
            }
            (Segment::At(index), Value::Array(items)) => {
                format!("{place} has no element {index}: it is a list of {}", items.len())
            }
            (Segment::Member(name), other) => {
                format!("{place} is {}: it has no members, {:?} is asked for", kind(other), clip(name))
            }
            (Segment::At(index), other) => {
                format!("{place} is {}: it has no elements, number {index} is asked for", kind(other))
            }
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => write!(f, ".{name}"),
            Self::At(index) => write!(f, "[{index}]"),
        }
    }
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An identifier and what stands behind it.
fn identifier(text: &str) -> Option<(&str, &str)> {
    let end =
        text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let first = name.bytes().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

/// A segment (`.name`, `[0]`, `["name"]`, `['name']`) and what stands behind it.
fn segment(text: &str) -> Option<(Segment, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let (name, rest) = identifier(rest)?;
        return Some((Segment::Member(name.into()), rest));
    }
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let quoted = |quote: char| inside.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(name) = quoted('"').or_else(|| quoted('\'')) {
        // Anything that the grammar of strings would read in another way is left to it.
        let plain = !name.is_empty() && !name.contains(['"', '\'', '\\', '\n', '\r']);
        return plain.then(|| (Segment::Member(name.into()), rest));
    }
    let digits = !inside.is_empty() && inside.len() <= 9 && inside.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (inside == "0" || !inside.starts_with('0'));
    let index = plain.then(|| inside.parse().ok()).flatten()?;
    Some((Segment::At(index), rest))
}
