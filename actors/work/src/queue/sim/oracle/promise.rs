//! What was promised about one task.

use super::{Before, Cause, GRACE, LEASE};
use crate::queue::logic::Peek;
use crate::queue::records::finished_key;
use crate::queue::sim::node::{Node, peer};
use meshwork_proto::store::Family;
use meshwork_proto::task::{TaskSpec, TaskStatus};
use meshwork_proto::{Cid, Fence, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};

/// A lease that, by what the queue said, holds.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) fence: Fence,
    pub(super) worker: WorkerId,
    pub(super) until: u64,
    /// Its time limit and a lease.
    pub(super) limit: Option<u64>,
    /// It was seen later than it was granted: it may end earlier than expected.
    pub(super) vague: bool,
}

/// A task that was accepted, and what is known of it.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) owner: usize,
    pub(super) spec: TaskSpec,
    /// How it ended, as somebody was told.
    pub(super) ended: Option<TaskStatus>,
    pub(super) output: Option<Cid>,
    /// Somebody was told that it will be cancelled.
    pub(super) cancelled: bool,
    pub(super) highest: Fence,
    pub(super) attempts: u32,
    pub(super) live: Option<Live>,
    pub(super) completions: BTreeSet<Fence>,
    pub(super) failures: BTreeSet<Fence>,
    pub(super) changed: bool,
    /// Resubmissions that were asked for and not seen yet.
    pub(super) revivals: u32,
    /// It was accepted without anybody being told, and may have gone far when it became known.
    pub(super) unknown: bool,
    /// Its queue said that the coordinator will be told of its end.
    pub(super) watched: bool,
}

impl Promise {
    /// What was accepted is there: in memory, on its way, or finished in the store.
    pub(super) fn check_there(&mut self, id: TaskId, peek: Option<&Peek>, node: &Node) -> Result<(), String> {
        let on_its_way = node.state.as_ref().is_some_and(|state| state.is_busy(id));
        if peek.is_none() && !on_its_way && node.written.get(Family::Tasks, &finished_key(id)).is_none() {
            return Err(format!("{id} was accepted and is lost"));
        }
        let Some(ended) = self.ended.filter(|_| peek.is_some()) else { return Ok(()) };
        if self.revivals == 0 {
            return Err(format!("{id} was {ended} and is in the queue again"));
        }
        self.revive();
        Ok(())
    }

    /// A result does not change.
    pub(super) fn has_output(&mut self, id: TaskId, seen: Option<Cid>) -> Result<(), String> {
        match self.output {
            Some(known) if seen != Some(known) => {
                Err(format!("the result of {id} changed from {known} to {seen:?}"))
            }
            _ => {
                self.output = seen;
                Ok(())
            }
        }
    }

    /// It starts over.
    pub(super) fn revive(&mut self) {
        self.revivals = self.revivals.saturating_sub(1);
        self.ended = None;
        self.output = None;
        self.cancelled = false;
        self.attempts = 0;
        self.completions.clear();
        self.failures.clear();
    }

    pub(super) fn check_growth(&mut self, id: TaskId, peek: &Peek) -> Result<(), String> {
        if peek.attempts < self.attempts && self.revivals == 0 {
            return Err(format!("attempts of {id} fell from {} to {}", self.attempts, peek.attempts));
        }
        self.attempts = peek.attempts;
        Ok(())
    }

    /// Whether the lease is a new one; and that the one before had ended, and that fences grow.
    pub(super) fn check_lease(
        &mut self,
        id: TaskId,
        now: u64,
        peek: &Peek,
        cause: &Cause,
        before: &Before,
        lost: &BTreeMap<usize, u64>,
    ) -> Result<bool, String> {
        let held = peek.holder.as_ref().map(|worker| (peek.fence, worker));
        let same =
            |live: &Live| held.is_some_and(|(fence, worker)| live.fence == fence && live.worker == *worker);
        if let Some(live) = &self.live {
            let overdue = live.until.min(live.limit.unwrap_or(u64::MAX)) + 1000 < now;
            if same(live) {
                return if overdue {
                    Err(format!("the lease of {id} goes on after its end: {live:?}"))
                } else {
                    Ok(false)
                };
            }
            if !node_lost(self, lost, now) {
                self.check_lease_end(id, now, cause, before)?;
            }
            self.live = None;
        }
        let Some((fence, worker)) = held else { return Ok(false) };
        if fence <= self.highest {
            return Err(format!("{id} was granted with fence {fence} after {}", self.highest));
        }
        self.highest = fence;
        let limit = self.spec.timeout_ms.map(|ms| now + ms + LEASE);
        let vague = self.unknown;
        self.live = Some(Live { fence, worker: worker.clone(), until: now + LEASE, limit, vague });
        Ok(true)
    }

    /// A lease ends by its holder's report, at its time, or because whoever claimed it had gone.
    pub(super) fn check_lease_end(
        &self,
        id: TaskId,
        now: u64,
        cause: &Cause,
        before: &Before,
    ) -> Result<(), String> {
        let Some(live) = &self.live else { return Ok(()) };
        let over = live.vague || now >= live.until.min(live.limit.unwrap_or(u64::MAX));
        let rightly = match cause {
            Cause::Finish(finish) => {
                let held = before.get(&id).and_then(Option::as_ref);
                let held = held.is_some_and(|peek| peek.fence == live.fence);
                held && finish.id == id && finish.fence == live.fence && finish.worker == live.worker
            }
            Cause::Tick => over,
            Cause::Start | Cause::Read => true,
            Cause::Other => false,
        };
        if rightly {
            return Ok(());
        }
        Err(format!("the lease of {id} with fence {} ended before its time: {cause:?}", live.fence))
    }
}

/// Whether the holder's connection is gone for longer than the grace time.
pub(super) fn node_lost(promise: &Promise, lost: &BTreeMap<usize, u64>, now: u64) -> bool {
    let Some(live) = &promise.live else { return false };
    lost.iter().any(|(of, since)| live.worker.peer() == Some(peer(*of)) && *since + GRACE <= now)
}
