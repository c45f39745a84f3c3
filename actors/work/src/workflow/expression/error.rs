//! What goes wrong with expressions: when they are read, and when they are evaluated.

use super::clip;
use meshwork_proto::{Coded, ErrorCode};

/// An expression gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("${{{expression}}}: {message}")]
pub(crate) struct EvalError {
    /// The expression, shortened.
    expression: String,
    /// What is wrong, and what would be right.
    message: String,
    out_of_budget: bool,
}

impl EvalError {
    pub(super) fn new(expression: &str, stop: Stop) -> Self {
        let (message, out_of_budget) = match stop {
            Stop::Failed(message) => (message, false),
            Stop::OutOfBudget => {
                let message =
                    "takes more work or memory than an expression may: let a step with a tool compute it";
                (message.to_owned(), true)
            }
        };
        Self { expression: clip(expression), message, out_of_budget }
    }

    /// Whether only the budget was too small: with a larger one there may be a value.
    pub(crate) fn is_out_of_budget(&self) -> bool {
        self.out_of_budget
    }
}

impl Coded for EvalError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Expression
    }
}

/// Why an evaluation ended without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// There is none.
    Failed(String),
    /// It was stopped.
    OutOfBudget,
}

/// Something wrong in the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, in bytes from its start.
    pub(super) at: Option<usize>,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

impl Fault {
    /// A fault of the expression as a whole.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into() }
    }

    /// A fault at a byte of it.
    pub(super) fn at(at: usize, message: impl Into<String>) -> Self {
        Self { at: Some(at), message: message.into() }
    }

    /// The sentence for a person, with the place as line and column.
    pub(super) fn shown(&self, source: &str) -> String {
        let text = clip(source);
        let Some(before) = self.at.and_then(|at| source.get(..at.min(source.len()))) else {
            return format!("expression {text:?}: {}", self.message);
        };
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        match before.matches('\n').count() {
            0 => format!("expression {text:?}, column {column}: {}", self.message),
            lines => format!("expression {text:?}, line {}, column {column}: {}", lines + 1, self.message),
        }
    }
}
