//! Attempts in the queue of this node: submitted, given up, asked after.

use super::WorkflowActor;
use super::stored::{Reader, unasked};
use crate::workflow::logic::{FlightId, QUEUE_WITHIN, Refused, SubmitTask};
use meshwork_kit::{AskError, Ctx};
use meshwork_proto::queue::{By, Cancel, QueueError, StepsKnown, SubmitStep, Submitted, WatchTask};
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::{Caller, Cid, ErrorCode, RunId, TaskId};
use std::time::Duration;

/// How often the queue is asked to give up a task.
const CANCELS: u32 = 5;
/// The first wait between two of these.
const CANCEL_AGAIN: Duration = Duration::from_millis(200);

impl WorkflowActor {
    pub(super) fn submit_task(&mut self, task: SubmitTask, ctx: &mut Ctx<'_, Self>) {
        let SubmitTask { flight, run, spec, read } = task;
        let port = self.shared.deps.submit_step.clone();
        let reader = read.map(|seq| (self.reader(ctx), seq));
        let submitted = async move {
            let spec = match reader {
                Some((reader, seq)) => with_input(&reader, run, seq, spec).await?,
                None => spec,
            };
            let by = By { caller: Caller::Local, op: SubmitStep(spec) };
            told(port.ask(by, QUEUE_WITHIN).await)
        };
        ctx.spawn_then(submitted, move |actor, result, ctx| {
            actor.step(ctx, |state, turn| state.submitted(turn, flight, result));
        });
    }

    pub(super) fn cancel_task(
        &mut self,
        flight: FlightId,
        task: TaskId,
        reason: String,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let port = self.shared.deps.cancel.clone();
        let cancelled = async move {
            let mut wait = CANCEL_AGAIN;
            let mut tries = 1;
            loop {
                let op = Cancel { id: task, reason: Some(reason.clone()) };
                let result = told(port.ask(By { caller: Caller::Local, op }, QUEUE_WITHIN).await);
                match result {
                    Err(refused) if refused.again && tries < CANCELS => {}
                    result => return result,
                }
                tokio::time::sleep(wait).await;
                wait *= 2;
                tries += 1;
            }
        };
        ctx.spawn_then(cancelled, move |actor, result, ctx| {
            if let Err(refused) = &result {
                // Finished meanwhile, most likely: its end has been told, or is asked for.
                tracing::debug!(%task, "task of a workflow was not cancelled: {}", refused.error);
            }
            actor.step(ctx, |state, turn| state.asked_after(turn, flight, result));
        });
    }

    /// The queue keeps what is finished until then; for a while at least, should it not hear this.
    pub(super) fn tell_steps_known(&self) {
        if let Err(error) = self.shared.deps.steps_known.tell(StepsKnown) {
            tracing::debug!("the queue was not told that all steps are known: {error}");
        }
    }

    pub(super) fn watch_task(&mut self, flight: FlightId, task: TaskId, ctx: &mut Ctx<'_, Self>) {
        let port = self.shared.deps.watch.clone();
        let watched = async move {
            let by = By { caller: Caller::Local, op: WatchTask { id: task } };
            told(port.ask(by, QUEUE_WITHIN).await)
        };
        ctx.spawn_then(watched, move |actor, result, ctx| {
            actor.step(ctx, |state, turn| state.asked_after(turn, flight, result));
        });
    }
}

/// The specification with its input, which is in an event of the run.
async fn with_input(reader: &Reader, run: RunId, seq: u64, spec: TaskSpec) -> Result<TaskSpec, Refused> {
    let payload = reader.event_payload(run, seq).await.map_err(|error| match error.code {
        // It never comes again.
        ErrorCode::Corrupt => Refused { again: false, ..Refused::for_now(error) },
        _ => Refused::for_now(error),
    })?;
    let input_cid = match &payload {
        Payload::Inline(json) => Cid::of(json.bytes()),
        Payload::Stored { cid, .. } => *cid,
    };
    Ok(TaskSpec { payload, input_cid, ..spec })
}

fn told(answer: Result<Result<Submitted, QueueError>, AskError>) -> Result<Submitted, Refused> {
    match answer {
        Ok(Ok(submitted)) => Ok(submitted),
        Ok(Err(error)) => Err(Refused::of(&error)),
        // The queue had no place: it was not asked.
        Err(error @ AskError::Full { .. }) => Err(Refused::for_now(unasked(&error))),
        Err(error) => Err(Refused::no_answer(unasked(&error))),
    }
}
