//! Forgetting finished tasks when they were kept long enough, a bounded number at a time.

use super::busy::Busy;
use super::{After, Found, QueueState, ReadPlan, Reading, Turn, WRITTEN};
use crate::queue::records::{
    Batch, SpecRecord, StateRecord, counts_key, finished_key, id_key, idempotency_key, metadata_key,
    prune_key, read_prune_key, read_some, spec_key, status_key,
};
use bytes::Bytes;
use meshwork_proto::store::{Family, Scan, StoreError};
use meshwork_proto::{TaskId, UnixMillis};
use std::time::Duration;

/// Tasks in one batch.
const PER_BATCH: u32 = 200;
/// How often is looked at least, when nothing is due before.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often is looked at most, when something was left.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// The first look comes so long after the coordinator of workflows knows of all its steps.
const FIRST_LOOK: Duration = Duration::from_secs(1);

impl QueueState {
    /// The coordinator of workflows has asked again after every step that was under way before the start. One that ended
    /// while nobody listened may be older than what is kept: forgotten before it is asked after, it would run again.
    pub(crate) fn steps_known(&mut self, turn: &Turn<'_>) {
        self.prune_at = self.prune_at.min(turn.now.after(FIRST_LOOK));
    }

    pub(super) fn prune_if_due(&mut self, turn: &mut Turn<'_>) {
        if self.pruning || turn.now < self.prune_at {
            return;
        }
        self.pruning = true;
        let (family, from) = (Family::Delayed, Bytes::new());
        let scan = Scan { family, from, after: false, to: None, limit: PER_BATCH, reverse: false };
        self.read(turn, ReadPlan::Range(scan), Reading::PruneScan);
    }

    pub(super) fn on_prune_scan(&mut self, turn: &mut Turn<'_>, result: Result<Found, StoreError>) {
        let entries = match result {
            Ok(found) => found.entries(),
            Err(error) => return self.prune_later(turn, &error),
        };
        let retention = self.options.retention();
        let finished: Vec<_> = entries.iter().filter_map(|(key, _)| read_prune_key(key)).collect();
        let due = |time: UnixMillis| time.after(retention) <= turn.now;
        let ids: Vec<_> =
            finished.iter().filter(|(time, id)| due(*time) && !self.busy.contains_key(id)).copied().collect();
        if ids.is_empty() {
            let next = finished.first().map_or(UnixMillis(u64::MAX), |(time, _)| time.after(retention));
            self.prune_at = next.clamp(turn.now.after(LOOK_SOON), turn.now.after(LOOK_EVERY));
            self.pruning = false;
            return;
        }
        for (_, id) in &ids {
            self.busy.insert(*id, Busy::default());
        }
        let keys = ids.iter().flat_map(|(_, id)| [spec_key(*id), finished_key(*id)]).collect();
        self.read(turn, ReadPlan::Keys(vec![(Family::Tasks, keys)]), Reading::Prune(ids));
    }

    pub(super) fn on_prune_read(
        &mut self,
        turn: &mut Turn<'_>,
        ids: Vec<(UnixMillis, TaskId)>,
        result: Result<Found, StoreError>,
    ) {
        let mut batch = Batch::default();
        let pruned = result.and_then(|found| {
            for (place, (time, id)) in ids.iter().enumerate() {
                let spec = read_some(found.value(0, place * 2))?;
                let state = read_some(found.value(0, place * 2 + 1))?;
                self.prune_one(&mut batch, *time, *id, spec.as_ref(), state.as_ref());
            }
            Ok(())
        });
        if let Err(error) = pruned {
            self.prune_later(turn, &error);
            return ids.into_iter().for_each(|(_, id)| self.unbusy(turn, id));
        }
        batch.put(Family::Tasks, counts_key(), &self.counts.finished);
        let after = ids.iter().map(|(_, id)| After::Unbusy(*id)).chain([After::PruneMore]).collect();
        // There may be more that is due: the next look comes with the acknowledgement of this one.
        self.prune_at = turn.now;
        self.totals.pruned += ids.len() as u64;
        self.commit(turn, batch, WRITTEN, after);
    }

    fn prune_one(
        &mut self,
        batch: &mut Batch,
        finished: UnixMillis,
        id: TaskId,
        spec: Option<&SpecRecord>,
        state: Option<&StateRecord>,
    ) {
        batch.delete(Family::Delayed, prune_key(finished, id));
        for key in [spec_key(id), metadata_key(id), finished_key(id)] {
            batch.delete(Family::Tasks, key);
        }
        batch.delete(Family::Results, id_key(id));
        if let Some(record) = spec {
            if let Some(cid) = record.spec.payload.stored_cid() {
                batch.unpin(*cid, id);
            }
            if let Some(key) = &record.spec.idempotency_key {
                batch.delete(Family::Idempotency, idempotency_key(record.submitter.as_ref(), key));
            }
        }
        if let Some(state) = state {
            batch.delete(Family::Tasks, status_key(state.status, id));
            if let Some(cid) = state.stored_output {
                batch.unpin(cid, id);
            }
            if let Some(count) = self.counts.finished.of_mut(state.status) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn prune_later(&mut self, turn: &Turn<'_>, error: &StoreError) {
        tracing::warn!(%error, "finished tasks could not be looked through for pruning; trying again in a minute");
        self.pruning = false;
        self.prune_at = turn.now.after(LOOK_EVERY);
    }
}
