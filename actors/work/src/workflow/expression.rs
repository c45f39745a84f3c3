//! Expressions of workflows: `when`, and every `${...}`, in CEL (the Common Expression Language).
//!
//! Owns: reading them where they stand, with the names that are known there; what they need; what they give. This is
//! the only module that names the `cel` crate.
//!
//! Three kinds, told apart when the definition is read: a *constant* (whatever refers to nothing is worked out then); a
//! *path* such as `steps.a.output.items[0].id`, which is most of them and is followed through the JSON as it is; and a
//! *program*, everything else, which the interpreter of the crate runs over values that borrow from the JSON.
//!
//! Definitions come from other nodes, so nothing here may run without end, exhaust memory or take the coordinator
//! down. The length, the nesting and the loops of an expression are bounded when it is read; what it does is counted
//! against a [`Budget`] while it runs (see `program/meter.rs`).

mod budget;
mod error;
mod functions;
mod json;
mod names;
mod path;
mod program;
mod scan;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use budget::Budget;
pub(crate) use error::EvalError;
pub(crate) use names::{Names, Needs, Reading, nearest};
pub(crate) use path::{Path, Root};
pub(crate) use scope::{RunFacts, Scope, StepOutcome, StepOutputs};
pub(crate) use template::{Node, Piece, Template};
#[cfg(test)]
pub(crate) use tests::any_json;

use error::{Fault, Stop};
use program::Program;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// A step by its place in the definition.
pub(crate) type StepIx = u32;

/// Longest expression in bytes, unless said otherwise.
pub(crate) const MAX_EXPRESSION: usize = 4096;

/// An expression that was read.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    source: Arc<str>,
    code: Code,
    needs: Needs,
}

/// How an expression is evaluated.
#[derive(Debug, Clone)]
enum Code {
    Constant(Value),
    Path(Path),
    Program(Arc<Program>),
}

impl Expression {
    /// Reads an expression, as it stands between `${` and `}`.
    ///
    /// # Errors
    /// What is wrong with it, and at which column.
    pub(crate) fn parse(source: &str, names: &Names<'_>) -> Result<Self, String> {
        let source = source.trim();
        if source.len() > names.reading.max_expression() {
            return Err(format!(
                "expression of {} bytes is longer than the limit of {}: let a step compute it",
                source.len(),
                names.reading.max_expression()
            ));
        }
        if let Some(path) = Path::read(source, names) {
            let needs = path.needs();
            return Ok(Self { source: source.into(), code: Code::Path(path), needs });
        }
        let (program, needs) = Program::compile(source, names).map_err(|fault| fault.shown(source))?;
        let code = match needs.is_empty().then(|| program.evaluate_alone(source)) {
            Some(Ok(value)) => Code::Constant(value),
            // Too much to be worked out here: whoever runs the step does it.
            None | Some(Err(Stop::OutOfBudget)) => Code::Program(Arc::new(program)),
            Some(Err(Stop::Failed(message))) => return Err(Fault::new(message).shown(source)),
        };
        Ok(Self { source: source.into(), code, needs })
    }

    /// Reads a condition, with or without `${` and `}` around it.
    ///
    /// # Errors
    /// As [`Expression::parse`].
    pub(crate) fn parse_condition(text: &str, names: &Names<'_>) -> Result<Self, String> {
        let text = text.trim();
        let inner = match text.strip_prefix("${") {
            Some(rest) if scan::end_of_expression(rest) == Some(rest.len() - 1) => {
                rest.get(..rest.len() - 1).unwrap_or(rest)
            }
            _ => text,
        };
        let read = Self::parse(inner, names)?;
        match read.constant() {
            Some(value) if !value.is_boolean() => Err(format!(
                "condition {inner:?} is always {}: expected true or false",
                clip(&value.to_string())
            )),
            _ => Ok(read),
        }
    }

    /// What it was read from.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Which documents it reads.
    pub(crate) fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Its value, if that is always the same.
    pub(crate) fn constant(&self) -> Option<&Value> {
        match &self.code {
            Code::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The path, if it is nothing else.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.code {
            Code::Path(path) => Some(path),
            _ => None,
        }
    }

    /// Whether it holds; takes from a budget, and what is left of that can be spent on.
    ///
    /// # Errors
    /// When it has no value (a member is missing, types do not fit, it is too much work), or another one than true and
    /// false.
    pub(crate) fn test_within(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        let value = self.value(scope, budget)?;
        value.as_bool().ok_or_else(|| {
            let found = clip(&value.to_string());
            EvalError::new(&self.source, Stop::Failed(format!("gives {found}: expected true or false")))
        })
    }

    /// Its value, borrowed from the scope where it stands there; copies are charged by whoever makes them.
    fn value<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<Cow<'a, Value>, EvalError> {
        let value = match &self.code {
            Code::Constant(value) => Ok(Cow::Borrowed(value)),
            Code::Path(path) => path.resolve(&self.source, scope).map_err(Stop::Failed),
            Code::Program(program) => program.evaluate(scope, budget).map(Cow::Owned),
        };
        value.map_err(|stop| EvalError::new(&self.source, stop))
    }
}

/// The first characters of a text: messages must not grow with what they speak of.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
