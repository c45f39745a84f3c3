//! Who waits: claims for work, readers for the end of a task.

use super::lanes::{ClassIx, ClassSpec};
use super::{Answer, QueueState, Ticket, Turn};
use meshwork_proto::queue::{Claimed, Offer};
use meshwork_proto::{Caller, PeerId, TaskId, UnixMillis, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

/// A listener that was told of work has so long to claim it before another one is told.
const NUDGE: Duration = Duration::from_millis(100);

/// A claim that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub ticket: Ticket,
    pub worker: WorkerId,
    pub peer: Option<PeerId>,
    pub local: bool,
    pub offer: Rc<Offer>,
    pub credits: u32,
    pub since: UnixMillis,
}

/// Order among waiting claims: this node's own executor first, then who waits longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaiterKey {
    remote: bool,
    seq: u64,
}

/// Claims that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next: u64,
    by_key: BTreeMap<WaiterKey, (Waiter, UnixMillis)>,
    by_ticket: BTreeMap<Ticket, WaiterKey>,
    deadlines: BTreeSet<(UnixMillis, WaiterKey)>,
    nudges: BTreeSet<ClassIx>,
    nudge_at: Option<UnixMillis>,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn add(&mut self, waiter: Waiter, until: UnixMillis) {
        let key = WaiterKey { remote: !waiter.local, seq: self.next };
        self.next += 1;
        self.by_ticket.insert(waiter.ticket, key);
        self.deadlines.insert((until, key));
        self.by_key.insert(key, (waiter, until));
    }

    pub(crate) fn remove(&mut self, key: WaiterKey) -> Option<Waiter> {
        let (waiter, until) = self.by_key.remove(&key)?;
        self.by_ticket.remove(&waiter.ticket);
        self.deadlines.remove(&(until, key));
        Some(waiter)
    }

    pub(crate) fn forget(&mut self, ticket: Ticket) -> bool {
        let key = self.by_ticket.get(&ticket).copied();
        key.is_some_and(|key| self.remove(key).is_some())
    }

    /// The first behind `after` that fits the class: one that takes work, or one that only listens.
    pub(crate) fn next_for(
        &self,
        class: &ClassSpec,
        after: Option<WaiterKey>,
        listens: bool,
    ) -> Option<WaiterKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let fits = |waiter: &Waiter| {
            (waiter.credits == 0) == listens
                && waiter.offer.tools.get(&class.tool).is_some_and(|room| *room > 0)
                && class.admits(&waiter.offer, waiter.peer.as_ref())
        };
        let mut waiting = self.by_key.range((from, Bound::Unbounded));
        waiting.find(|(_, (waiter, _))| fits(waiter)).map(|(key, _)| *key)
    }

    pub(crate) fn nudge_later(&mut self, now: UnixMillis, class: ClassIx) {
        self.nudges.insert(class);
        self.nudge_at.get_or_insert(now.after(NUDGE));
    }

    /// Classes whose listeners may be told again by `now`.
    pub(crate) fn take_nudges(&mut self, now: UnixMillis) -> BTreeSet<ClassIx> {
        if self.nudge_at.is_some_and(|at| at <= now) {
            self.nudge_at = None;
            return std::mem::take(&mut self.nudges);
        }
        BTreeSet::new()
    }

    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        let wait = self.deadlines.first().map(|(at, _)| *at);
        wait.into_iter().chain(self.nudge_at).min()
    }

    fn take_overdue(&mut self, now: UnixMillis) -> Option<Waiter> {
        let (at, key) = *self.deadlines.first()?;
        if at > now { None } else { self.remove(key) }
    }
}

/// Readers that wait for the end of a task.
#[derive(Debug, Default)]
pub(crate) struct Getters {
    by_task: BTreeMap<TaskId, Vec<Ticket>>,
    by_ticket: BTreeMap<Ticket, (TaskId, Caller, UnixMillis)>,
    deadlines: BTreeSet<(UnixMillis, Ticket)>,
}

impl Getters {
    pub(crate) fn len(&self) -> usize {
        self.by_ticket.len()
    }

    pub(crate) fn add(&mut self, ticket: Ticket, caller: Caller, id: TaskId, until: UnixMillis) {
        self.by_task.entry(id).or_default().push(ticket);
        self.by_ticket.insert(ticket, (id, caller, until));
        self.deadlines.insert((until, ticket));
    }

    pub(crate) fn forget(&mut self, ticket: Ticket) -> bool {
        self.remove(ticket).is_some()
    }

    /// All that wait for this task; they wait no more.
    pub(crate) fn take(&mut self, id: TaskId) -> Vec<(Ticket, Caller)> {
        let tickets = self.by_task.remove(&id).unwrap_or_default();
        let mut taken = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            if let Some((_, caller, until)) = self.by_ticket.remove(&ticket) {
                self.deadlines.remove(&(until, ticket));
                taken.push((ticket, caller));
            }
        }
        taken
    }

    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn take_overdue(&mut self, now: UnixMillis) -> Option<(Ticket, TaskId, Caller)> {
        let (at, ticket) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.remove(ticket)
    }

    fn remove(&mut self, ticket: Ticket) -> Option<(Ticket, TaskId, Caller)> {
        let (id, caller, until) = self.by_ticket.remove(&ticket)?;
        self.deadlines.remove(&(until, ticket));
        if let Some(tickets) = self.by_task.get_mut(&id) {
            tickets.retain(|waiting| *waiting != ticket);
            if tickets.is_empty() {
                self.by_task.remove(&id);
            }
        }
        Some((ticket, id, caller))
    }
}

impl QueueState {
    /// Answers everybody whose wait is over.
    pub(super) fn end_waits(&mut self, turn: &mut Turn<'_>) {
        while let Some(waiter) = self.waiters.take_overdue(turn.now) {
            turn.answer(waiter.ticket, Answer::Claimed(Claimed::default()));
        }
        while let Some((ticket, id, caller)) = self.getters.take_overdue(turn.now) {
            self.view(turn, ticket, caller, id);
        }
    }
}
