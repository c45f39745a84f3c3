//! Programs: expressions that the interpreter of the `cel` crate runs.
//!
//! Of the crate's two parsers this uses the one written by hand. The other, generated one is twenty times slower, and
//! it recovers from errors in code that is not known to be free of panics. Both build the same tree; `check` then looks
//! at every name and call in it, so that mistakes show when a definition is submitted, and `meter` puts the counting
//! of work into it.

mod check;
mod fail;
mod meter;

use super::budget::{Budget, Meter, Patterns};
use super::error::{Fault, Stop};
use super::functions::FUNCTIONS;
use super::names::{Names, Needs};
use super::scope::{RunFacts, Scope, StepOutcome, StepOutputs};
use super::values::{self, Steps};
use super::{StepIx, scan};
use cel::common::types::CelInt;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::parser::PrattParser;
use cel::{Context, IdedExpr};
use meshwork_proto::{RunId, UnixMillis};
use serde_json::Value;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Levels of expressions within expressions that the parser goes down.
const MAX_PARSE_DEPTH: u16 = 32;

/// A program that was read.
pub(super) struct Program {
    tree: IdedExpr,
    /// The steps that it refers to.
    steps: Box<[(Box<str>, StepIx)]>,
    patterns: Arc<Patterns>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Program {
    /// Reads a program and checks everything that can be checked without values.
    pub(super) fn compile(source: &str, names: &Names<'_>) -> Result<(Self, Needs), Fault> {
        if source.is_empty() {
            return Err(Fault::new("is empty: write ${...} with something in it"));
        }
        scan::check_size(source)?;
        names.reading.take_program(source.len())?;
        let parser = PrattParser::new().max_recursion_depth(MAX_PARSE_DEPTH).enable_optional_syntax(true);
        // The parser is not ours, and its input comes from anywhere: a fault in it must not end the coordinator.
        let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(source)));
        let mut tree = match parsed {
            Ok(Ok(tree)) => tree,
            Ok(Err(errors)) => return Err(fail::syntax(source, &errors)),
            Err(_) => return Err(Fault::new("cannot be read: write it in another way")),
        };
        let found = check::check(source, &tree, names)?;
        meter::put_into_program(&mut tree);
        let program = Self { tree, steps: found.steps, patterns: Arc::new(found.patterns) };
        Ok((program, found.needs))
    }

    /// The value of a program that needs nothing, within a budget in proportion to its source: there may be thousands.
    pub(super) fn evaluate_alone(&self, source: &str) -> Result<Value, Stop> {
        struct None;
        impl StepOutputs for None {
            fn of(&self, _: StepIx) -> StepOutcome<'_> {
                StepOutcome::Nothing
            }
        }
        let run = RunFacts { id: RunId::from_bytes([0; 16]), created: UnixMillis(0) };
        let scope = Scope { inputs: &Value::Null, steps: &None, item: Option::None, run };
        self.evaluate(&scope, &mut Budget::of_constant(source.len()))
    }

    /// The value of the program.
    pub(super) fn evaluate(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, Stop> {
        let variables = Variables::new(self, scope, *budget);
        // Neither is the interpreter ours: see above.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::with_env(Arc::clone(&FUNCTIONS));
            context.set_variable_resolver(&variables);
            // Not `resolve_val`, which would give the value itself: that one is compiled into its callers, and where ours
            // are not optimised each level of an expression would take some 45 KiB of stack.
            cel::Value::resolve(&self.tree, &context).map_err(|error| Stop::Failed(fail::execution(&error)))
        }));
        // An expression may ignore errors (`error || true`), but not that it was stopped.
        let Some(left) = variables.meter.left() else {
            *budget = Budget::nothing();
            return Err(Stop::OutOfBudget);
        };
        *budget = left;
        match result {
            Ok(Ok(_)) => variables.meter.result(),
            Ok(Err(stop)) => Err(stop),
            Err(_) => Err(Stop::Failed("cannot be evaluated: write it in another way".to_owned())),
        }
    }
}

/// The names of a program and what they stand for.
pub(super) struct Variables<'a> {
    program: &'a Program,
    scope: &'a Scope<'a>,
    /// The errors of its steps, as JSON.
    errors: Vec<Option<Value>>,
    run: Value,
    meter: Meter,
}

impl<'a> Variables<'a> {
    fn new(program: &'a Program, scope: &'a Scope<'a>, budget: Budget) -> Self {
        let errors = program.steps.iter().map(|(_, step)| scope.steps.of(*step).error()).collect();
        let run = serde_json::json!({"id": scope.run.id.to_string(), "created_s": scope.run.created_s()});
        let meter = Meter::new(budget, Arc::clone(&program.patterns));
        Self { program, scope, errors, run, meter }
    }

    /// The place of a step among those that the program refers to.
    pub(super) fn step(&self, id: &str) -> Option<usize> {
        self.program.steps.iter().position(|(name, _)| **name == *id)
    }

    /// What became of a step.
    pub(super) fn outcome(&self, step: usize) -> StepOutcome<'a> {
        match self.program.steps.get(step) {
            Some((_, step)) => self.scope.steps.of(*step),
            None => StepOutcome::Nothing,
        }
    }

    /// Its error as JSON.
    pub(super) fn error(&self, step: usize) -> Option<&Value> {
        self.errors.get(step).and_then(Option::as_ref)
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(match name {
            meter::METER => CowVal::Borrowed(&self.meter as &dyn Val),
            "inputs" => CowVal::Owned(values::boxed(self.scope.inputs)),
            "steps" => CowVal::owned(Steps { variables: self, step: None }),
            "item" => CowVal::Owned(values::boxed(self.scope.item?.0)),
            "index" => CowVal::owned(CelInt::from(i64::from(self.scope.item?.1))),
            "run" => CowVal::Owned(values::boxed(&self.run)),
            _ => return None,
        })
    }
}
