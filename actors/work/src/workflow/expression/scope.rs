//! What an expression is evaluated over.

use super::StepIx;
use meshwork_proto::{MeshError, RunId, UnixMillis};
use serde_json::{Value, json};

/// The documents of a run, as one of its expressions sees them.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The inputs of the run by name, defaults filled in.
    pub(crate) inputs: &'a Value,
    /// What became of steps.
    pub(crate) steps: &'a dyn StepOutputs,
    /// The item and its index, inside a `for_each`.
    pub(crate) item: Option<(&'a Value, u32)>,
    /// The run.
    pub(crate) run: RunFacts,
}

/// Where outputs of steps come from.
///
/// Only asked for steps that the expression needs (see `Needs`), all of which are finished by then.
pub(crate) trait StepOutputs: Send + Sync {
    /// What became of a step.
    fn of(&self, step: StepIx) -> StepOutcome<'_>;
}

/// What became of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StepOutcome<'a> {
    /// It completed.
    Output(&'a Value),
    /// It was skipped.
    Nothing,
    /// It failed, and the run goes on.
    Failed(&'a MeshError),
}

impl StepOutcome<'_> {
    /// The value of `steps.<id>.state`.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::Output(_) => "completed",
            Self::Nothing => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    /// The value of `steps.<id>.error`, if there is an error.
    pub(super) fn error(self) -> Option<Value> {
        match self {
            Self::Failed(error) => Some(json!({"code": error.code.as_str(), "message": error.message})),
            Self::Output(_) | Self::Nothing => None,
        }
    }
}

/// What an expression may know of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunFacts {
    /// `run.id`.
    pub(crate) id: RunId,
    /// `run.created_s`, in seconds since 1970.
    pub(crate) created: UnixMillis,
}

impl RunFacts {
    /// The value of `run.created_s`.
    pub(super) fn created_s(self) -> Value {
        Value::from(self.created.0 / 1000)
    }
}
