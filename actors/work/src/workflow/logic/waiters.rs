//! Readers that wait for the end of a run, or for news of it.

use super::live::Waiter;
use super::run::Phase;
use super::{Coordinator, Ticket, Turn};
use meshwork_proto::workflow::{GetRun, WorkflowError};
use meshwork_proto::{RunId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who waits, by when the wait ends.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_ticket: BTreeMap<Ticket, (RunId, UnixMillis)>,
    deadlines: BTreeSet<(UnixMillis, Ticket)>,
}

impl Waits {
    pub(super) fn len(&self) -> usize {
        self.by_ticket.len()
    }

    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn add(&mut self, ticket: Ticket, id: RunId, until: UnixMillis) {
        self.by_ticket.insert(ticket, (id, until));
        self.deadlines.insert((until, ticket));
    }

    fn remove(&mut self, ticket: Ticket) -> Option<RunId> {
        let (id, until) = self.by_ticket.remove(&ticket)?;
        self.deadlines.remove(&(until, ticket));
        Some(id)
    }
}

impl Coordinator {
    /// Answers with the run as it is, now or when there is something to tell.
    pub(super) fn get(&mut self, turn: &mut Turn<'_>, ticket: Ticket, get: GetRun) {
        let GetRun { id, wait_ms, seen, steps } = get;
        let wait = Duration::from_millis(wait_ms).min(self.options.max_wait());
        let Some(live) = self.runs.get_mut(&id) else { return };
        let news = seen.is_some_and(|seen| seen != live.run.seq);
        let room = self.waits.len() < self.options.max_waiters as usize;
        if wait.is_zero() || news || !live.run.is_active() || !room {
            return self.show(turn, ticket, id, steps);
        }
        let until = turn.now.after(wait);
        live.waiters.push(Waiter { ticket, seen, steps });
        self.waits.add(ticket, id, until);
    }

    /// Readers that may wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waits.len()
    }

    pub(super) fn forget_wait(&mut self, ticket: Ticket) -> bool {
        let Some(id) = self.waits.remove(ticket) else { return false };
        if let Some(live) = self.runs.get_mut(&id) {
            live.waiters.retain(|waiter| waiter.ticket != ticket);
        }
        true
    }

    /// Answers everybody whose wait is over.
    pub(super) fn end_waits(&mut self, turn: &mut Turn<'_>) {
        while let Some(&(_, ticket)) = self.waits.deadlines.first().filter(|(at, _)| *at <= turn.now) {
            let Some(id) = self.waits.remove(ticket) else { return };
            // Of a run that has just ended nothing is told before that is on the disk; then everybody is.
            let Some(live) = self.runs.get_mut(&id).filter(|live| !live.ending) else { continue };
            let place = live.waiters.iter().position(|waiter| waiter.ticket == ticket);
            let Some(waiter) = place.map(|place| live.waiters.swap_remove(place)) else { continue };
            self.answer_waiter(turn, id, &waiter);
        }
    }

    /// Tells news to those who wait for them.
    pub(super) fn tell(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.telling = false;
        if live.ending {
            // They are told of the end when it is on the disk.
            return;
        }
        let seq = live.run.seq;
        let news = |waiter: &Waiter| waiter.seen.is_some_and(|seen| seen != seq);
        let (told, waiting): (Vec<_>, Vec<_>) = live.waiters.drain(..).partition(news);
        live.waiters = waiting;
        self.answer_waiters(turn, id, told);
    }

    /// The run is finished: everybody is told.
    pub(super) fn tell_all(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let told = std::mem::take(&mut live.waiters);
        self.answer_waiters(turn, id, told);
    }

    fn answer_waiters(&mut self, turn: &mut Turn<'_>, id: RunId, told: Vec<Waiter>) {
        for waiter in told {
            self.waits.remove(waiter.ticket);
            self.answer_waiter(turn, id, &waiter);
        }
    }

    fn answer_waiter(&mut self, turn: &mut Turn<'_>, id: RunId, waiter: &Waiter) {
        if let Some(Phase::Moved(to)) = self.runs.get(&id).map(|live| &live.run.phase) {
            return turn.refuse(waiter.ticket, WorkflowError::Moved { id, to: to.clone() });
        }
        self.show(turn, waiter.ticket, id, waiter.steps);
    }
}
