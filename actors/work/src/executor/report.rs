//! Reporting the end of an attempt until its owner has it.
//!
//! A report that was lost on its way is sent again: at the owner it is idempotent, and its fence protects it from coming
//! too late. The work is done, so trying goes on for a while after our lease is over: an owner that was restarting
//! still knows the fence.

use super::logic::Source;
use super::renew::LeaseGuard;
use super::stop::{Stop, StopReason};
use super::work::{Work, is_final};
use meshwork_kit::Backoff;
use meshwork_proto::queue::{Finish, Outcome};
use meshwork_proto::{ErrorCode, MeshError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for one answer: the owner answers when the report is on its disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts.
const RETRY: Backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// How long reports are repeated while the lease holds or may still be restored by its owner.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// How long a task that goes back is reported: its lease ends soon anyway.
const GIVE_UP_RELEASE_AFTER: Duration = Duration::from_secs(10);

/// Reports until the owner has accepted or refused it, or until it is too late.
pub(super) async fn finish(work: &Work, owner: &Source, lease: &LeaseGuard, outcome: Outcome, stop: &Stop) {
    let (id, fence) = lease.key();
    let is_release = matches!(outcome, Outcome::Released { .. });
    let deadline = Instant::now() + if is_release { GIVE_UP_RELEASE_AFTER } else { GIVE_UP_AFTER };
    let mut rng = work.rng();
    let mut report = Finish { id, fence, worker: work.worker.clone(), outcome };
    for attempt in 1.. {
        let Err(error) = work.ask(owner, report.clone(), ANSWER_WITHIN).await else {
            return work.metrics.report("accepted");
        };
        if is_final(&error) {
            match instead(&report.outcome, &error) {
                Some(outcome) => report.outcome = outcome,
                None => {
                    tracing::warn!(%owner, task = %id, "owner refused the report of an attempt: {error}");
                    return work.metrics.report("refused");
                }
            }
        }
        if stop.requested() == Some(StopReason::Lost) || Instant::now() >= deadline {
            tracing::warn!(%owner, task = %id, attempt, "report of an attempt was given up: {error}");
            return work.metrics.report("given_up");
        }
        tracing::debug!(%owner, task = %id, attempt, "report of an attempt is sent again: {error}");
        work.metrics.report("retried");
        let pause = RETRY.delay(attempt, &mut rng);
        tokio::select! {
            // The lease may be lost because the report arrived and only its answer did not: either way it is over.
            () = lost(stop) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn lost(stop: &Stop) {
    if stop.lease_gone().await != StopReason::Lost {
        // Over by our clock only: the owner may know better.
        std::future::pending::<()>().await;
    }
}

/// What to report instead when the owner does not take a result as it is.
fn instead(outcome: &Outcome, error: &MeshError) -> Option<Outcome> {
    let about_result =
        matches!(error.code, ErrorCode::TooLarge | ErrorCode::InvalidArgument | ErrorCode::InvalidJson);
    let is_result = matches!(outcome, Outcome::Completed { .. });
    (about_result && is_result).then(|| {
        let message = format!("the owner of the task does not take the result: {error}");
        Outcome::Failed { error: MeshError::new(ErrorCode::ToolOutput, message), retry: false }
    })
}
