//! Unfinished tasks in memory: numbers and times only, the rest is in the store.

use super::lanes::{ClassIx, Place, Rank};
use super::names::Name;
use meshwork_proto::task::{Attempt, Progress};
use meshwork_proto::{Fence, MeshError, TaskId, UnixMillis, WorkerId};
use std::collections::BTreeMap;

/// Attempts that a task's history keeps.
const HISTORY: usize = 20;

/// Where a task lies in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

/// What an unfinished task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a time.
    Delayed,
    /// May be claimed, as far as limits allow.
    Ready,
    /// Leased to a worker.
    Leased,
}

/// An unfinished task.
#[derive(Debug)]
pub(crate) struct Live {
    pub id: TaskId,
    pub seq: u64,
    pub queued_at: UnixMillis,
    pub updated: UnixMillis,
    pub not_before: UnixMillis,
    /// 0 = no limit.
    pub timeout_ms: u64,
    /// 0 = no limit.
    pub expires_ms: u64,
    pub class: ClassIx,
    pub task_type: Name,
    pub tenant: Option<Name>,
    pub key: Option<Name>,
    pub submitter: Option<Name>,
    pub max_attempts: u32,
    pub priority: u8,
    pub stage: Stage,
    /// Whether labels, priority or limits differ from what was submitted.
    pub changed: bool,
    /// Whether the coordinator wants to be told of its end; in memory only.
    pub watched: bool,
    /// Nothing until the first claim.
    pub run: Option<Box<Run>>,
}

/// What a task has once it was claimed.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub attempts: u32,
    pub failures: u32,
    pub lease_losses: u32,
    pub fence: Fence,
    pub reported: Fence,
    pub worker: Option<WorkerId>,
    pub history: Vec<Attempt>,
    pub error: Option<MeshError>,
    pub cancel: Option<String>,
    pub lease: Option<Lease>,
}

/// A lease that holds.
#[derive(Debug)]
pub(crate) struct Lease {
    pub worker: WorkerId,
    pub granted: UnixMillis,
    /// Until when, unless renewed.
    pub until: UnixMillis,
    /// Time limit of the attempt.
    pub timeout_ms: Option<u64>,
    /// The owner takes the lease away then, however often it is renewed.
    pub timeout_at: Option<UnixMillis>,
    /// The worker's connection is gone: it has until then.
    pub grace: Option<UnixMillis>,
    pub progress: Option<Progress>,
}

impl Lease {
    /// When it ends, unless something happens before.
    pub(crate) fn due(&self) -> UnixMillis {
        [self.timeout_at, self.grace].into_iter().flatten().fold(self.until, UnixMillis::min)
    }
}

impl Live {
    /// When it expires, if it was never claimed and may not wait for ever.
    pub(crate) fn expires_at(&self) -> Option<UnixMillis> {
        let waits = self.stage != Stage::Leased && self.attempts() == 0 && self.expires_ms > 0;
        waits.then(|| UnixMillis(self.queued_at.0.saturating_add(self.expires_ms)))
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.attempts)
    }

    pub(crate) fn fence(&self) -> Fence {
        self.run.as_ref().map_or(Fence::default(), |run| run.fence)
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.run.as_ref()?.lease.as_ref()
    }

    pub(crate) fn lease_mut(&mut self) -> Option<&mut Lease> {
        self.run.as_mut()?.lease.as_mut()
    }

    /// Where it stands in the lines of tasks that may be claimed.
    pub(crate) fn place(&self, slot: Slot) -> Place {
        let rank = Rank::new(self.priority, self.seq);
        Place { slot, class: self.class, tenant: self.tenant, key: self.key, rank }
    }
}

impl Run {
    /// Notes the beginning of an attempt.
    pub(crate) fn begin(&mut self, fence: Fence, worker: &WorkerId, now: UnixMillis) {
        self.attempts = self.attempts.saturating_add(1);
        self.fence = fence;
        self.worker = Some(worker.clone());
        if self.history.len() >= HISTORY {
            self.history.remove(0);
        }
        self.history.push(Attempt {
            attempt: self.attempts,
            fence,
            worker: worker.clone(),
            started: now,
            ended: None,
            error: None,
        });
    }

    /// Notes the end of the latest attempt.
    pub(crate) fn end(&mut self, now: UnixMillis, error: Option<MeshError>) {
        if let Some(attempt) = self.history.last_mut() {
            attempt.ended = Some(now);
            attempt.error = error;
        }
    }
}

/// The unfinished tasks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Option<Live>>,
    free: Vec<Slot>,
    /// Sorted, so that lists walk it from the newest backwards.
    by_id: BTreeMap<TaskId, Slot>,
}

impl Table {
    #[expect(clippy::expect_used, reason = "the limit of tasks is below four billion")]
    pub(crate) fn insert(&mut self, live: Live) -> Slot {
        let id = live.id;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                Slot(u32::try_from(self.slots.len() - 1).expect("fewer than four billion tasks"))
            }
        };
        if let Some(place) = self.slots.get_mut(slot.0 as usize) {
            *place = Some(live);
        }
        self.by_id.insert(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Live> {
        let live = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.by_id.remove(&live.id);
        self.free.push(slot);
        Some(live)
    }

    pub(crate) fn find(&self, id: TaskId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Live> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Live> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Tasks older than `before` (none: all), the newest first.
    pub(crate) fn newest_before(&self, before: Option<TaskId>) -> impl Iterator<Item = &Live> {
        use std::ops::Bound::{Excluded, Unbounded};
        let end = before.map_or(Unbounded, Excluded);
        self.by_id.range((Unbounded, end)).rev().filter_map(|(_, slot)| self.get(*slot))
    }
}
