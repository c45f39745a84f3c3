//! Between the logic and the store: commits in order, and what may be done when they have been sent; reads beside them.

use super::WorkflowActor;
use crate::workflow::logic::{CommitId, Found, ReadId, ReadPlan};
use bytes::Bytes;
use meshwork_kit::{AskError, Ctx, Port, Slot};
use meshwork_proto::store::{Commit, Family, ReadKeys, Scan, StoreError};
use std::time::Duration;
use tokio::time::Instant;

/// A commit that is not answered by then is one of which nobody knows whether it took effect.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
/// A read that is not answered by then has failed.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(20);
/// So many commits without a place at the store, and nothing is started that can wait.
const STALLED_AT: usize = 256;
/// So few, and work goes on.
const FLOWING_AT: usize = 64;

impl WorkflowActor {
    /// Sends commits in their order, as far as there are places.
    pub(super) fn send_commits(&mut self, ctx: &mut Ctx<'_, Self>) {
        while !self.waiting_for_place && !self.outbox.is_empty() {
            let commit = &self.shared.deps.commit;
            if let Ok(slot) = commit.try_slot() {
                self.send_first(slot, ctx);
                continue;
            }
            // Full, or closed: then the wait ends at once and says so.
            self.waiting_for_place = true;
            let commit = commit.clone();
            let place = async move { commit.slot(COMMIT_WITHIN).await };
            ctx.spawn_then(place, |actor, place, ctx| {
                actor.waiting_for_place = false;
                match place {
                    Ok(slot) => actor.send_first(slot, ctx),
                    Err(error) => actor.lose_first(error, ctx),
                }
                actor.step(ctx, |_, _| {});
            });
        }
        self.watch_stall(ctx);
    }

    fn send_first(&mut self, slot: Slot<Commit>, ctx: &mut Ctx<'_, Self>) {
        let Some(leaving) = self.outbox.pop_front() else { return };
        // Delivered here and now, so the order is that of the outbox, and what is done about it comes behind it.
        let answer = slot.ask(leaving.commit, COMMIT_WITHIN);
        let (id, sent) = (leaving.id, Instant::now());
        ctx.spawn_then(answer, move |actor, answer, ctx| {
            actor.shared.metrics.committed(sent.elapsed());
            let result = answer.unwrap_or_else(|error| Err(unanswered(&error)));
            actor.committed(id, result, ctx);
        });
        for effect in leaving.then {
            self.carry_out(effect, ctx);
        }
    }

    fn lose_first(&mut self, error: AskError, ctx: &mut Ctx<'_, Self>) {
        if let Some(leaving) = self.outbox.pop_front() {
            self.committed(leaving.id, Err(unanswered(&error)), ctx);
        }
    }

    fn committed(&mut self, id: CommitId, result: Result<(), StoreError>, ctx: &mut Ctx<'_, Self>) {
        self.step(ctx, |state, turn| state.on_commit(turn, id, result));
    }

    fn watch_stall(&mut self, ctx: &mut Ctx<'_, Self>) {
        let waiting = self.outbox.len();
        let stalled = if self.stalled { waiting > FLOWING_AT } else { waiting >= STALLED_AT };
        if stalled != self.stalled {
            self.stalled = stalled;
            if stalled {
                tracing::warn!(waiting, "the store is behind: no step is started until it has caught up");
            }
            self.step(ctx, |state, turn| state.set_stalled(turn, stalled));
        }
    }

    /// Reads beside the mailbox; the result comes back as a turn of its own.
    pub(super) fn read(&mut self, id: ReadId, plan: ReadPlan, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (keys, scan) = (deps.read_keys.clone(), deps.scan.clone());
        let reading = async move {
            match plan {
                ReadPlan::Range(range) => read_range(&scan, range).await.map(Found::Entries),
                ReadPlan::Keys(wanted) => read_many(&keys, wanted).await.map(Found::Values),
            }
        };
        ctx.spawn_then(reading, move |actor, found, ctx| {
            actor.step(ctx, |state, turn| state.on_read(turn, id, found));
        });
    }
}

/// Reads a range.
pub(super) async fn read_range(port: &Port<Scan>, scan: Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    port.ask(scan, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))
}

/// Reads values, in the order of their keys.
pub(super) async fn read_many(
    port: &Port<ReadKeys>,
    keys: Vec<Bytes>,
) -> Result<Vec<Option<Bytes>>, StoreError> {
    let wanted = ReadKeys { family: Family::Workflows, keys };
    port.ask(wanted, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))
}

/// The store did not answer: whether a commit took effect is unknown.
pub(super) fn unanswered(error: &AskError) -> StoreError {
    match error {
        AskError::Closed { .. } => StoreError::Stopping,
        AskError::Full { .. } | AskError::Timeout { .. } => StoreError::Database(error.to_string()),
    }
}
