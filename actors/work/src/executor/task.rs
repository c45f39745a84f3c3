//! One attempt of a task: from the grant to the report.

use super::board::{Entry, Reservation, Run, Slot};
use super::leases::LeaseKey;
use super::logic::Source;
use super::payload;
use super::progress::ProgressSink;
use super::renew::LeaseGuard;
use super::report;
use super::stop::{Stop, StopReason};
use super::tool::{Call, Ended, TaskTag};
use super::work::Work;
use futures::FutureExt;
use meshwork_proto::executor::{ToolError, ToolOutput};
use meshwork_proto::queue::Outcome;
use meshwork_proto::task::{TOOL_CALL, TaskGrant};
use meshwork_proto::{ErrorCode, Json, MeshError, UnixMillis};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// A running attempt and what ends with it.
struct Attempt {
    work: Arc<Work>,
    source: Source,
    grant: TaskGrant,
    stop: Stop,
    sink: ProgressSink,
}

/// Starts a grant in a place of the reservation; what cannot start goes back to its owner.
pub(super) fn start(
    work: &Arc<Work>,
    source: &Source,
    grant: TaskGrant,
    sent: UnixMillis,
    reservation: &mut Reservation,
) {
    let key: LeaseKey = (grant.id, grant.fence);
    let slot = reservation.take(&grant.tool);
    let stop = Stop::new();
    let run = Run {
        tool: grant.tool.clone(),
        source: source.clone(),
        attempt: grant.attempt,
        since: sent,
        stop: stop.clone(),
    };
    let Some(entry) = work.board.enter(key, run) else {
        tracing::warn!(owner = %source, task = %grant.id, "owner granted an attempt that runs here already: ignored");
        return;
    };
    let renewer = work.renewer(source);
    let sink = renewer.sink(key);
    let lease = renewer.hold(key, sent, Duration::from_millis(grant.lease_ms), stop.clone(), sink.clone());
    let attempt = Attempt { work: Arc::clone(work), source: source.clone(), grant, stop, sink };
    work.runtime.spawn(attempt.live(slot, entry, lease));
}

impl Attempt {
    async fn live(self, slot: Option<Slot>, _entry: Entry, lease: LeaseGuard) {
        let outcome = match slot {
            Some(_) if self.work.board.is_draining() => released("the worker is draining"),
            None => released("the worker did not offer this tool, or has no more room for it"),
            Some(slot) => {
                let outcome = AssertUnwindSafe(self.run()).catch_unwind().await;
                // The place is for the next one while the report is under way.
                drop(slot);
                outcome.unwrap_or_else(|_| {
                    let message = format!("{} ended by a fault of the worker (panic)", self.grant.tool);
                    Some(Outcome::Failed { error: MeshError::new(ErrorCode::Internal, message), retry: true })
                })
            }
        };
        if let Some(outcome) = outcome {
            report::finish(&self.work, &self.source, &lease, outcome, &self.stop).await;
        }
    }

    /// What to report; none if nothing is to be.
    async fn run(&self) -> Option<Outcome> {
        let arguments = tokio::select! {
            biased;
            reason = self.stop.wanted() => return after_stop(reason),
            arguments = self.arguments() => arguments,
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(outcome) => return Some(outcome),
        };
        let grant = &self.grant;
        let tool = match self.work.board.find(&grant.tool) {
            Ok(tool) => tool,
            Err(error) => return released(&error.to_string()),
        };
        let call = Call {
            tool,
            arguments,
            timeout: grant.timeout_ms.map(Duration::from_millis),
            stop: self.stop.clone(),
            sink: self.sink.clone(),
            task: Some(TaskTag { id: grant.id, attempt: grant.attempt, fence: grant.fence }),
        };
        match self.work.tools.run(call).await {
            Ended::Stopped(reason) => after_stop(reason),
            Ended::Failed(error) => Some(failed(&error)),
            Ended::Done(output) => Some(self.completed(output).await),
        }
    }

    /// The tool's arguments: the payload, or for `tool.call` its member `arguments`.
    async fn arguments(&self) -> Result<Json, Outcome> {
        let payload = payload::load(&self.work, &self.source, &self.grant.payload).await;
        let payload = payload.map_err(|error| {
            let retry = error.code != ErrorCode::TooLarge;
            Outcome::Failed { error, retry }
        })?;
        if self.grant.task_type != TOOL_CALL {
            return Ok(payload);
        }
        let tool = self.grant.tool.clone();
        let wrong = |problem: String| failed(&ToolError::Arguments { tool: TOOL_CALL.to_owned(), problem });
        let resolved = super::tool::crunch(payload.len(), move || payload::tool_call(&payload, &tool)).await;
        resolved.map_err(|error| wrong(format!("payload could not be parsed: {error}")))?.map_err(wrong)
    }

    async fn completed(&self, output: ToolOutput) -> Outcome {
        match payload::store(&self.work, &self.grant.tool, output).await {
            Ok((output, output_cid)) => Outcome::Completed { output, output_cid },
            Err((error, retry)) => Outcome::Failed { error, retry },
        }
    }
}

fn failed(error: &ToolError) -> Outcome {
    Outcome::Failed { error: error.to_mesh_error(), retry: error.may_retry() }
}

#[expect(clippy::unnecessary_wraps, reason = "every caller reports it as what there is to report")]
fn released(reason: &str) -> Option<Outcome> {
    Some(Outcome::Released { reason: reason.to_owned() })
}

fn after_stop(reason: StopReason) -> Option<Outcome> {
    match reason {
        StopReason::Cancelled => {
            let error = MeshError::new(ErrorCode::Cancelled, "the task was cancelled while it ran");
            Some(Outcome::Failed { error, retry: false })
        }
        StopReason::Released { .. } => released("the worker is draining"),
        StopReason::AskerGone | StopReason::Expired | StopReason::Lost => None,
    }
}
