//! The start: memory is filled with what the store holds of unfinished tasks.
//!
//! Order of calls: [`QueueState::load_counts`], [`QueueState::load_states`] with all pages of the family `leases`,
//! [`QueueState::load_routes`] with all pages of `ready`, [`QueueState::loaded`].

use super::lease::Loss;
use super::table::{Lease, Live, Run, Slot};
use super::{DURABLE, QueueState, Turn, belongs_to};
use crate::queue::records::{Batch, CountsRecord, RouteRecord, StateRecord, read, read_id, read_some};
use bytes::Bytes;
use meshwork_proto::UnixMillis;
use meshwork_proto::store::StoreError;
use meshwork_proto::task::TaskStatus;
use std::time::Duration;

/// Leases that are freed in one batch.
const FREED_PER_BATCH: usize = 500;
/// The first look at what may be pruned comes at most so long after the start, whether or not the coordinator of
/// workflows is there.
const FIRST_PRUNE: Duration = Duration::from_secs(3600);

impl QueueState {
    /// How many finished tasks there are.
    ///
    /// # Errors
    /// When the record is damaged.
    pub(crate) fn load_counts(&mut self, value: Option<&Bytes>) -> Result<(), StoreError> {
        self.counts.finished = read_some::<CountsRecord>(value)?.unwrap_or_default();
        Ok(())
    }

    /// A page of tasks that were claimed before.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(crate) fn load_states(&mut self, page: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
        for (key, value) in page {
            let id =
                read_id(key).ok_or_else(|| StoreError::Corrupt("a key of leases is not a task id".into()))?;
            self.arriving.insert(id, read(value)?);
        }
        Ok(())
    }

    /// A page of unfinished tasks.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(crate) fn load_routes(&mut self, now: UnixMillis, page: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
        for (key, value) in page {
            let id =
                read_id(key).ok_or_else(|| StoreError::Corrupt("a key of ready is not a task id".into()))?;
            let route: RouteRecord = read(value)?;
            let state = self.arriving.remove(&id);
            self.insert(now, id, route, state);
        }
        Ok(())
    }

    /// Everything is loaded: leases of this node's own executor are freed if it began with this process (its runs
    /// ended with the last one), and work begins. Gives how many states belonged to no task.
    pub(crate) fn loaded(&mut self, turn: &mut Turn<'_>, new_process: bool) -> usize {
        self.loading = false;
        self.prune_at = turn.now.after(FIRST_PRUNE);
        if new_process {
            let own = self.leases().filter(|(_, _, lease)| belongs_to(&lease.worker, &self.local_peer));
            let own = own.map(|(slot, ..)| slot).collect();
            self.free(turn, own, Loss::OwnerRestarted);
        }
        let double = self.leases_of_taken_keys();
        self.free(turn, double, Loss::KeyTaken);
        let orphans = self.arriving.len();
        self.arriving.clear();
        self.settle(turn);
        orphans
    }

    fn leases(&self) -> impl Iterator<Item = (Slot, &Live, &Lease)> {
        self.leased.values().filter_map(|slot| {
            let live = self.tasks.get(*slot)?;
            Some((*slot, live, live.lease()?))
        })
    }

    /// Leases beside an older one with the same concurrency key. The store keeps the order of commits, but one may have
    /// failed while a later one did not.
    fn leases_of_taken_keys(&self) -> Vec<Slot> {
        let mut keyed: Vec<_> =
            self.leases().filter_map(|(slot, live, _)| Some((live.key?, live.fence(), slot))).collect();
        keyed.sort_unstable();
        keyed.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].2).collect()
    }

    fn free(&mut self, turn: &mut Turn<'_>, slots: Vec<Slot>, loss: Loss) {
        for slots in slots.chunks(FREED_PER_BATCH) {
            let mut batch = Batch::default();
            let mut after = Vec::new();
            for slot in slots {
                after.extend(self.lose(turn, &mut batch, *slot, loss));
            }
            self.commit(turn, batch, DURABLE, after);
        }
    }

    /// Gives an unfinished task what it has from earlier claims; its lease, if one holds, starts afresh.
    pub(super) fn attach(&self, live: &mut Live, state: StateRecord, now: UnixMillis) -> Option<Lease> {
        live.not_before = state.not_before;
        live.queued_at = state.queued_at;
        live.updated = state.updated;
        let running = state.status == TaskStatus::Running;
        let granted = state.history.last().map_or(state.updated, |attempt| attempt.started);
        let lease_time = self.options.lease();
        let lease = state.worker.clone().filter(|_| running).map(|worker| Lease {
            worker,
            granted,
            until: now.after(lease_time),
            timeout_ms: state.lease_timeout_ms,
            timeout_at: state
                .lease_timeout_ms
                .map(|ms| granted.after(Duration::from_millis(ms)).after(lease_time)),
            grace: None,
            progress: None,
        });
        live.run = Some(Box::new(Run {
            attempts: state.attempts,
            failures: state.failures,
            lease_losses: state.lease_losses,
            fence: state.fence,
            reported: state.reported,
            worker: state.worker,
            history: state.history,
            error: state.error,
            cancel: state.cancel,
            lease: None,
        }));
        lease
    }
}
