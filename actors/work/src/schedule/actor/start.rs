//! Making starts, and looking whether the last one has finished.

use super::Scheduler;
use crate::schedule::logic::Failure;
use crate::schedule::records::Made;
use meshwork_kit::{AskError, Ctx};
use meshwork_proto::queue::{self, GetTask, QueueError, Submit};
use meshwork_proto::schedule::Scheduled;
use meshwork_proto::workflow::{self, GetRun, WorkflowError};
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, ScheduleId};
use std::time::Duration;

/// The coordinator may have to read a large definition first.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// Looking takes a read at most.
const LOOKED_WITHIN: Duration = Duration::from_secs(20);

impl Scheduler {
    /// Submits what a start is made of. The key in it gives the same task or run when this is done again.
    pub(super) fn make(&mut self, id: ScheduleId, caller: Caller, what: Scheduled, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (tasks, runs) = (deps.submit_task.clone(), deps.submit_run.clone());
        let making = async move {
            match what {
                Scheduled::Task(spec) => {
                    let submitted = tasks.ask(queue::By { caller, op: Submit(spec) }, MADE_WITHIN).await;
                    answered(submitted).map(|submitted| Made::Task(submitted.id))
                }
                Scheduled::Workflow(run) => {
                    let submitted = runs.ask(workflow::By { caller, op: run }, MADE_WITHIN).await;
                    answered(submitted).map(|submitted| Made::Run(submitted.id))
                }
            }
        };
        ctx.spawn_then(making, move |scheduler, made, ctx| {
            scheduler.step(ctx, |state, turn| state.on_started(turn, id, made));
        });
    }

    /// Finds out whether the last start has finished.
    pub(super) fn look(&mut self, id: ScheduleId, made: Made, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (tasks, runs) = (deps.get_task.clone(), deps.get_run.clone());
        let looking = async move {
            let caller = Caller::Local;
            match made {
                Made::Task(id) => {
                    let get = queue::By { caller, op: GetTask { id, wait_ms: 0 } };
                    match tasks.ask(get, LOOKED_WITHIN).await {
                        // Forgotten: it finished long ago.
                        Ok(Err(QueueError::UnknownTask(_))) => Ok(true),
                        view => answered(view).map(|view| view.status.is_finished()),
                    }
                }
                Made::Run(id) => {
                    let get =
                        workflow::By { caller, op: GetRun { id, wait_ms: 0, seen: None, steps: false } };
                    match runs.ask(get, LOOKED_WITHIN).await {
                        Ok(Err(WorkflowError::UnknownRun(_) | WorkflowError::Moved { .. })) => Ok(true),
                        view => answered(view).map(|view| view.state.is_finished()),
                    }
                }
            }
        };
        ctx.spawn_then(looking, move |scheduler, finished, ctx| {
            scheduler.step(ctx, |state, turn| state.on_looked(turn, id, finished));
        });
    }
}

fn answered<T, E: Coded>(answer: Result<Result<T, E>, AskError>) -> Result<T, Failure> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failure(&error)),
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &dyn Coded) -> Failure {
    // A store that failed has its readers and writers restart: they are back soon.
    let again = error.code().is_transient() || error.code() == ErrorCode::Storage;
    Failure { error: MeshError::from_coded(error), again }
}
