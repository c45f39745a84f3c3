//! Definitions ready to be run, shared by all runs of the same one.

use crate::workflow::WorkflowOptions;
use crate::workflow::definition::{Limits, Workflow};
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{Problem, WorkflowError};
use meshwork_proto::{Cid, Json};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Definitions that stay at hand although no run uses them.
const KEPT: usize = 128;
/// Definitions up to this many bytes are read on the actor's own thread.
const SMALL: usize = 4 * 1024;
/// How long it is taken to be true that a workflow fits its tools.
const CHECKED: Duration = Duration::from_secs(10);
/// So many are known before those that nobody uses any more are looked for.
const TIDY_AT: usize = 1024;

/// What was accepted once is run, whatever the limits are now.
pub(super) const ANY: Limits =
    Limits { max_steps: u32::MAX, max_items: u32::MAX, max_depth: u8::MAX, max_expression: usize::MAX };

/// Definitions by the content id of their document.
#[derive(Debug, Default)]
pub(super) struct Definitions(RefCell<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashMap<Cid, Weak<Workflow>>,
    latest: VecDeque<Arc<Workflow>>,
    tidy_at: usize,
    /// Workflows whose tools were looked at lately, and fit.
    checked: VecDeque<(Weak<Workflow>, Instant)>,
}

impl Definitions {
    pub(super) fn get(&self, cid: &Cid) -> Option<Arc<Workflow>> {
        self.0.borrow().all.get(cid).and_then(Weak::upgrade)
    }

    fn keep(&self, cid: Cid, workflow: &Arc<Workflow>) {
        let mut known = self.0.borrow_mut();
        if known.all.len() >= known.tidy_at.max(TIDY_AT) {
            known.all.retain(|_, workflow| workflow.strong_count() > 0);
            // The next time when half as many have come again: looking for them stays cheap.
            known.tidy_at = known.all.len() + known.all.len() / 2;
        }
        known.all.insert(cid, Arc::downgrade(workflow));
        known.latest.push_back(Arc::clone(workflow));
        if known.latest.len() > KEPT {
            known.latest.pop_front();
        }
    }

    /// Whether somebody served its tools lately, and they took what it gives them.
    pub(super) fn was_checked(&self, workflow: &Arc<Workflow>) -> bool {
        let known = self.0.borrow();
        let mut checked = known.checked.iter().rev().filter(|(_, when)| when.elapsed() < CHECKED);
        checked.any(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(workflow)))
    }

    pub(super) fn set_checked(&self, workflow: &Arc<Workflow>) {
        let checked = &mut self.0.borrow_mut().checked;
        checked.push_back((Arc::downgrade(workflow), Instant::now()));
        if checked.len() > KEPT {
            checked.pop_front();
        }
    }

    /// Reads a definition that was submitted; its content id is known to be right.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) async fn compile(
        &self,
        runtime: &Handle,
        cid: Cid,
        document: Json,
        limits: Limits,
    ) -> Result<Arc<Workflow>, WorkflowError> {
        if let Some(workflow) = self.get(&cid) {
            return Ok(workflow);
        }
        let workflow = Arc::new(parse(runtime, document, limits).await?.map_err(WorkflowError::Invalid)?);
        self.keep(cid, &workflow);
        Ok(workflow)
    }

    /// Reads a definition that the store or another peer has.
    ///
    /// # Errors
    /// When it is not what its content id says, or this version of meshwork cannot run it.
    pub(super) async fn compile_stored(
        &self,
        runtime: &Handle,
        cid: Cid,
        document: Json,
        limits: Limits,
    ) -> Result<Arc<Workflow>, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt(format!("definition {cid}: {problem}"));
        let found = Cid::of(document.bytes());
        if found != cid {
            return Err(corrupt(format!("its content id is {found}")));
        }
        let parsed = parse(runtime, document, limits).await;
        let parsed = parsed.map_err(|error| corrupt(error.to_string()))?;
        let workflow = parsed.map_err(|problems| corrupt(WorkflowError::Invalid(problems).to_string()))?;
        let workflow = Arc::new(workflow);
        self.keep(cid, &workflow);
        Ok(workflow)
    }
}

/// Reads a definition, a large one on a thread of its own.
async fn parse(
    runtime: &Handle,
    document: Json,
    limits: Limits,
) -> Result<Result<Workflow, Vec<Problem>>, WorkflowError> {
    let small = document.len() <= SMALL;
    let read = move || {
        let value: Value = document.parse().map_err(|error| {
            let message = format!("is not JSON: {error}");
            vec![Problem { step: None, field: "definition".into(), message }]
        })?;
        Workflow::parse(&value, &limits)
    };
    if small {
        return Ok(read());
    }
    let read = runtime.spawn_blocking(read).await;
    read.map_err(|error| WorkflowError::Unavailable(format!("the definition could not be read: {error}")))
}

/// What definitions may be like here.
pub(super) fn limits(options: &WorkflowOptions) -> Limits {
    Limits {
        max_steps: options.max_steps,
        max_items: options.max_items,
        max_depth: options.max_depth,
        max_expression: options.max_expression_bytes as usize,
    }
}
