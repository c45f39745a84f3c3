//! The order of time: when which schedule has something to do, and what becomes of it when the clock is set.

use super::entry::Work;
use super::io::{Note, Turn};
use super::{BACKOFF, MAX_UNDER_WAY, Schedules, TAKEN_UP_PER_TURN};
use meshwork_proto::{ScheduleId, UnixMillis};
use std::time::Duration;

/// A clock that goes back by less corrects itself: times that were dealt with stay so. One that goes back by more was
/// wrong before: times begin anew from where it is, or nothing would happen until it is there again.
const CORRECTION: Duration = Duration::from_secs(3600);

impl Schedules {
    /// Does what is due; call it again at [`Schedules::next_due`], and now and then: the clock may be set.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        self.go_on(turn);
    }

    /// When [`Schedules::tick`] has something to do next, by the clock on the wall.
    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        let idle = self.loading || self.dead.is_some() || self.under_way >= MAX_UNDER_WAY;
        self.order.first().map(|(at, _)| *at).filter(|_| !idle)
    }

    /// Takes up what is due, as much as may be under way.
    pub(super) fn go_on(&mut self, turn: &mut Turn<'_>) {
        if self.loading || self.dead.is_some() {
            return;
        }
        self.look_at_clock(turn);
        for _ in 0..TAKEN_UP_PER_TURN {
            if self.under_way >= MAX_UNDER_WAY {
                return;
            }
            let Some((at, id)) = self.order.first().copied().filter(|(at, _)| *at <= turn.now) else {
                return;
            };
            self.order.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stands = None;
            }
            self.take_up(turn, id);
            self.place(id);
        }
    }

    /// Puts a schedule where it stands in the order of time.
    pub(super) fn place(&mut self, id: ScheduleId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let due = entry.due();
        if due == entry.stands {
            return;
        }
        if let Some(before) = std::mem::replace(&mut entry.stands, due) {
            self.order.remove(&(before, id));
        }
        if let Some(at) = due {
            self.order.insert((at, id));
        }
    }

    /// What a schedule is doing from now on.
    pub(super) fn set_work(&mut self, id: ScheduleId, work: Work) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.is_under_way();
        entry.work = work;
        let now = entry.is_under_way();
        self.under_way = (self.under_way + usize::from(now)).saturating_sub(usize::from(before));
        self.place(id);
    }

    fn look_at_clock(&mut self, turn: &mut Turn<'_>) {
        let before = std::mem::replace(&mut self.seen, turn.now);
        let back = before.since(turn.now);
        if back.is_zero() {
            return;
        }
        turn.note(Note::ClockWentBack(back));
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.begin_anew(turn.now, id);
        }
    }

    /// A schedule that is ahead of the clock by too much is set to where the clock is.
    pub(super) fn begin_anew(&mut self, now: UnixMillis, id: ScheduleId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.progress.cursor > now.after(CORRECTION) {
            entry.progress.cursor = now;
            entry.next = entry.times.next_after(now);
        }
        if let Work::Waiting { until, .. } = &mut entry.work {
            *until = (*until).min(now.after(BACKOFF.max));
        }
        self.place(id);
    }
}
