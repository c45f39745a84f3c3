//! Between the logic and the store: commits in order, reads beside them.

use super::Queue;
use crate::queue::logic::CommitId;
use crate::queue::logic::{Found, ReadId, ReadPlan};
use meshwork_kit::{AskError, Ctx, Port, Slot};
use meshwork_proto::store::{Commit, ReadKey, ReadKeys, Scan, StoreError};
use std::time::Duration;

/// A commit that is not answered by then is one of which nobody knows whether it took effect.
const COMMIT_WITHIN: Duration = Duration::from_secs(60);
/// A read that is not answered by then has failed.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(20);
/// So many commits without a place at the store, and nothing is added that can wait.
const STALLED_AT: usize = 256;
/// So few, and work goes on.
const FLOWING_AT: usize = 64;

impl Queue {
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
            ctx.spawn_then(place, |queue, place, ctx| {
                queue.waiting_for_place = false;
                match place {
                    Ok(slot) => queue.send_first(slot, ctx),
                    Err(error) => queue.lose_first(error, ctx),
                }
                queue.step(ctx, |_, _| {});
            });
        }
        self.watch_stall(ctx);
    }

    fn send_first(&mut self, slot: Slot<Commit>, ctx: &mut Ctx<'_, Self>) {
        let Some((id, commit)) = self.outbox.pop_front() else { return };
        // Delivered here and now, so the order is that of the outbox.
        let answer = slot.ask(commit, COMMIT_WITHIN);
        ctx.spawn_then(answer, move |queue, answer, ctx| {
            let result = answer.unwrap_or_else(|error| Err(unanswered(&error)));
            queue.committed(id, result, ctx);
        });
    }

    fn lose_first(&mut self, error: AskError, ctx: &mut Ctx<'_, Self>) {
        if let Some((id, _)) = self.outbox.pop_front() {
            self.committed(id, Err(unanswered(&error)), ctx);
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
                tracing::warn!(waiting, "the store is behind: no task is granted until it has caught up");
            }
            self.step(ctx, |state, turn| state.set_stalled(turn, stalled));
        }
    }

    /// Reads beside the mailbox; the result comes back as a turn of its own.
    pub(super) fn read(&mut self, id: ReadId, plan: ReadPlan, ctx: &mut Ctx<'_, Self>) {
        let deps = &self.shared.deps;
        let (key, keys, scan) = (deps.read_key.clone(), deps.read_keys.clone(), deps.scan.clone());
        let reading = async move {
            match plan {
                ReadPlan::Range(range) => read_range(&scan, range).await.map(Found::Entries),
                ReadPlan::Keys(groups) => {
                    let mut values = Vec::with_capacity(groups.len());
                    for (family, wanted) in groups {
                        values.push(read_group(&key, &keys, family, wanted).await?);
                    }
                    Ok(Found::Values(values))
                }
            }
        };
        ctx.spawn_then(reading, move |queue, found, ctx| {
            queue.step(ctx, |state, turn| state.on_read(turn, id, found));
        });
    }
}

/// Reads a range.
pub(super) async fn read_range(
    port: &Port<Scan>,
    scan: Scan,
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreError> {
    port.ask(scan, READ_WITHIN).await.unwrap_or_else(|error| Err(unanswered(&error)))
}

async fn read_group(
    one: &Port<ReadKey>,
    many: &Port<ReadKeys>,
    family: meshwork_proto::store::Family,
    mut keys: Vec<bytes::Bytes>,
) -> Result<Vec<Option<bytes::Bytes>>, StoreError> {
    match (keys.pop(), keys.is_empty()) {
        (None, _) => Ok(Vec::new()),
        (Some(key), true) => {
            let value = one.ask(ReadKey { family, key }, READ_WITHIN).await;
            value.unwrap_or_else(|error| Err(unanswered(&error))).map(|value| vec![value])
        }
        (Some(last), false) => {
            keys.push(last);
            let values = many.ask(ReadKeys { family, keys }, READ_WITHIN).await;
            values.unwrap_or_else(|error| Err(unanswered(&error)))
        }
    }
}

/// The store did not answer: whether a commit took effect is unknown.
pub(super) fn unanswered(error: &AskError) -> StoreError {
    match error {
        AskError::Closed { .. } => StoreError::Stopping,
        AskError::Full { .. } | AskError::Timeout { .. } => StoreError::Database(error.to_string()),
    }
}
