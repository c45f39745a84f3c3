//! Stories about expressions.

mod bounds;
mod faithful;
mod paths;
mod programs;
mod templates;

pub(crate) use paths::any_json;

use super::{
    Budget, EvalError, Expression, Names, Reading, RunFacts, Scope, StepIx, StepOutcome, StepOutputs,
    Template,
};
use meshwork_proto::{ErrorCode, MeshError, RunId, UnixMillis};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// With all that there is to spend.
impl Expression {
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        self.value(scope, &mut Budget::full()).map(Cow::into_owned)
    }

    pub(crate) fn test(&self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        self.test_within(scope, &mut Budget::full())
    }
}

impl Template {
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        self.evaluate_within(scope, &mut Budget::full())
    }
}

/// A run with three steps: `done` has an output, `skipped` has none, `failed` has an error.
pub(super) struct World {
    pub(super) inputs: Value,
    pub(super) output: Value,
    pub(super) item: Value,
    error: MeshError,
}

impl World {
    pub(super) fn new(inputs: Value, output: Value) -> Self {
        let error = MeshError::new(ErrorCode::ToolFailed, "it broke");
        Self { inputs, output, item: json!({"n": 7}), error }
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        let run = RunFacts { id: RunId::from_bytes([7; 16]), created: UnixMillis(1_700_000_000_123) };
        Scope { inputs: &self.inputs, steps: self, item: Some((&self.item, 3)), run }
    }

    /// Reads an expression with the names of this world.
    pub(super) fn read(&self, source: &str) -> Result<Expression, String> {
        self.with_names(|names| Expression::parse(source, names))
    }

    pub(super) fn with_names<T>(&self, then: impl FnOnce(&Names<'_>) -> T) -> T {
        let steps: HashMap<&str, StepIx> = [("done", 0), ("skipped", 1), ("failed", 2)].into();
        let inputs: BTreeSet<&str> =
            self.inputs.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        then(&Names {
            steps: &steps,
            inputs: &inputs,
            item: true,
            reading: &Reading::new(super::MAX_EXPRESSION),
        })
    }

    pub(super) fn eval(&self, source: &str) -> Result<Value, String> {
        self.read(source)?.evaluate(&self.scope()).map_err(|error| error.to_string())
    }

    pub(super) fn template(&self, value: Value) -> (Template, Vec<(String, String)>) {
        let mut problems = Vec::new();
        let mut report = |field: &str, message: String| problems.push((field.to_owned(), message));
        let template = self.with_names(|names| Template::parse(value, names, &mut report));
        (template, problems)
    }
}

impl StepOutputs for World {
    fn of(&self, step: StepIx) -> StepOutcome<'_> {
        match step {
            0 => StepOutcome::Output(&self.output),
            1 => StepOutcome::Nothing,
            _ => StepOutcome::Failed(&self.error),
        }
    }
}

/// A world with something of everything.
pub(super) fn world() -> World {
    World::new(
        json!({"who": "world", "n": 5, "x": 1.5, "list": [3, 1, 2], "nested": {"a": {"b": [10, {"c": "deep"}]}}, "none": null}),
        json!({"text": "hello world", "count": 2, "tags": ["a", "b"], "ok": true, "map": {"k": 1, "l": 2}}),
    )
}
