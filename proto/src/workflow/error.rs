//! Why the coordinator refused.

use crate::{Coded, ErrorCode, PeerId, RunId};
use serde::{Deserialize, Serialize};
use std::fmt;

use super::RunState;

/// One thing that is wrong with a definition or with inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Id of the step; none = the workflow itself or its inputs.
    pub step: Option<String>,
    /// Path of the field, such as `input.text`, `needs[1]` or `inputs.who`.
    pub field: String,
    /// What is wrong, with which value, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step {step}: {}: {}", self.field, self.message),
            None => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

/// Why the coordinator refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// The definition or the inputs break rules.
    #[error("workflow cannot be run: {}", shown(.0))]
    Invalid(Vec<Problem>),
    /// No such run, or not the caller's to see.
    #[error("no workflow run {0} on this node: check the id and the peer it was submitted to")]
    UnknownRun(RunId),
    /// The state does not allow it.
    #[error("workflow run {id} is {state}: {wanted}")]
    WrongState {
        /// Which run.
        id: RunId,
        /// Its state.
        state: RunState,
        /// What the operation needs.
        wanted: String,
    },
    /// Another peer coordinates the run now: ask there.
    #[error("workflow run {id} is coordinated by peer {to} now: ask there")]
    Moved {
        /// Which run.
        id: RunId,
        /// Who has it.
        to: PeerId,
    },
    /// The idempotency key stands for another run.
    #[error(
        "idempotency key {key:?} was used for another definition or other inputs by workflow run {first}: use another key"
    )]
    IdempotencyConflict {
        /// The key.
        key: String,
        /// The run that used it.
        first: RunId,
    },
    /// As many runs as there may be.
    #[error("node holds {held} of at most {max} unfinished workflow runs: wait until some are finished")]
    Full {
        /// Unfinished runs.
        held: u64,
        /// The limit.
        max: u64,
    },
    /// Something is larger than the limit.
    #[error("{what} of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// An argument is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// The node is draining.
    #[error("node is draining and takes no new work: submit to another peer")]
    Draining,
    /// The coordinator cannot answer now.
    #[error("{0}")]
    Unavailable(String),
    /// The store failed or is full.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A document could not be stored or read.
    #[error(transparent)]
    Artifact(#[from] crate::artifact::ArtifactError),
}

/// Most problems shown in one sentence.
const MAX_SHOWN: usize = 5;

fn shown(problems: &[Problem]) -> String {
    let mut text = problems.iter().take(MAX_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if problems.len() > MAX_SHOWN {
        text.push_str(&format!("; and {} more", problems.len() - MAX_SHOWN));
    }
    text
}

impl Coded for WorkflowError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidWorkflow,
            Self::UnknownRun(_) => ErrorCode::UnknownWorkflow,
            Self::WrongState { .. } => ErrorCode::WrongState,
            Self::Moved { .. } => ErrorCode::Moved,
            Self::IdempotencyConflict { .. } => ErrorCode::IdempotencyConflict,
            Self::Full { .. } => ErrorCode::QueueFull,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::InvalidArgument(_) => ErrorCode::InvalidArgument,
            Self::Draining => ErrorCode::Draining,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Store(error) => error.code(),
            Self::Artifact(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_workflow_names_steps_and_fields_and_never_grows_without_bound() {
        let problem = |n: usize| Problem {
            step: Some(format!("s{n}")),
            field: "tool".into(),
            message: "nobody serves \"x\"".into(),
        };
        let text = WorkflowError::Invalid((0..1000).map(problem).collect()).to_string();
        assert!(text.contains("step s0: tool: nobody serves \"x\""), "{text}");
        assert!(text.contains("and 995 more") && text.len() < 400, "{text}");
    }
}
