//! Commits, in their order.

use super::Scheduler;
use crate::schedule::logic::CommitId;
use meshwork_kit::{AskError, Ctx, Slot};
use meshwork_proto::store::{Commit, StoreError};
use std::time::Duration;

/// A commit that is not answered by then is one of which nobody knows whether it took effect.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Sends commits in their order, as far as there are places. How many wait is bounded by the starts that may be
    /// under way and the requests that the ports admit.
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
            ctx.spawn_then(place, |scheduler, place, ctx| {
                scheduler.waiting_for_place = false;
                match place {
                    Ok(slot) => scheduler.send_first(slot, ctx),
                    Err(error) => scheduler.lose_first(&error, ctx),
                }
                scheduler.step(ctx, |_, _| {});
            });
        }
    }

    fn send_first(&mut self, slot: Slot<Commit>, ctx: &mut Ctx<'_, Self>) {
        let Some((id, commit)) = self.outbox.pop_front() else { return };
        // Delivered here and now, so the order is that of the outbox.
        let answer = slot.ask(commit, COMMIT_WITHIN);
        ctx.spawn_then(answer, move |scheduler, answer, ctx| {
            let result = answer.unwrap_or_else(|error| Err(unanswered(&error)));
            scheduler.committed(id, result, ctx);
        });
    }

    fn lose_first(&mut self, error: &AskError, ctx: &mut Ctx<'_, Self>) {
        if let Some((id, _)) = self.outbox.pop_front() {
            self.committed(id, Err(unanswered(error)), ctx);
        }
    }

    fn committed(&mut self, id: CommitId, result: Result<(), StoreError>, ctx: &mut Ctx<'_, Self>) {
        self.step(ctx, |state, turn| state.on_commit(turn, id, result));
    }
}

/// The store did not answer: whether a commit took effect is unknown.
pub(super) fn unanswered(error: &AskError) -> StoreError {
    match error {
        AskError::Closed { .. } => StoreError::Stopping,
        AskError::Full { .. } | AskError::Timeout { .. } => StoreError::Database(error.to_string()),
    }
}
