//! What happens at a time: each run has its own list, and the coordinator knows the first entry of each.

use super::live::{Stage, What};
use super::run::Undoing;
use super::units::backoff;
use super::{Coordinator, DUE_PER_TURN, Turn};
use crate::workflow::definition::{Action, Wait};
use crate::workflow::records::Unit;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{RunId, UnixMillis};
use std::time::Duration;

/// The clock on the wall is looked at so often at least while somebody waits for it: it may be set, or have gone on
/// while the machine slept.
const LOOK_AT_WALL: Duration = Duration::from_secs(10);
/// A node was not down for so long: its clock was set, or had never been set before.
const NOT_DOWN: Duration = Duration::from_secs(365 * 24 * 3600);

impl Coordinator {
    pub(super) fn set_timer(&mut self, id: RunId, at: UnixMillis, what: What) {
        if let Some(live) = self.runs.get_mut(&id) {
            live.timers.insert((at, what));
            self.rearm(id);
        }
    }

    pub(super) fn drop_timer(&mut self, id: RunId, at: Option<UnixMillis>, what: What) {
        if let (Some(live), Some(at)) = (self.runs.get_mut(&id), at)
            && live.timers.remove(&(at, what))
        {
            self.rearm(id);
        }
    }

    /// The next attempt or the end of the wait of a unit; another time that was set for it is not meant any more.
    pub(super) fn set_unit_timer(&mut self, id: RunId, at: UnixMillis, unit: Unit) {
        self.drop_unit_timer(id, unit);
        if let Some(live) = self.runs.get_mut(&id) {
            live.unit_timers.insert(unit, at);
        }
        self.set_timer(id, at, What::Unit(unit));
    }

    pub(super) fn drop_unit_timer(&mut self, id: RunId, unit: Unit) {
        let at = self.runs.get_mut(&id).and_then(|live| live.unit_timers.remove(&unit));
        self.drop_timer(id, at, What::Unit(unit));
    }

    /// A unit waits for a time that people planned: it comes by the clock on the wall, which may be set meanwhile.
    pub(super) fn wait_for_wall(&mut self, turn: &Turn<'_>, id: RunId, unit: Unit, until: UnixMillis) {
        let left = until.since(turn.wall).min(LOOK_AT_WALL);
        self.set_unit_timer(id, turn.now.after(left), unit);
    }

    /// A unit waits on after a restart, or at another peer.
    pub(super) fn revive_timer(&mut self, turn: &Turn<'_>, id: RunId, unit: Unit, due: UnixMillis) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(definition) = live.run.definition(unit.step) else { return };
        let waits = live.run.unit_state(unit) == Some(StepState::Waiting);
        let span = match (&definition.action, waits) {
            (Action::Wait(Wait::Until(_)), true) => return self.wait_for_wall(turn, id, unit, due),
            (Action::Wait(Wait::For { ms }), true) => Duration::from_millis(*ms),
            (Action::Wait(Wait::Signal { timeout_ms, .. }), true) => {
                timeout_ms.or(definition.timeout_ms).map_or(Duration::MAX, Duration::from_millis)
            }
            _ => {
                let failed = live.run.tries(unit).map_or(0, |tries| tries.failed);
                backoff(&definition.retry).full_delay(failed)
            }
        };
        let at = planned(turn.now, live.run.last, due, span);
        self.set_unit_timer(id, at, unit);
    }

    /// A compensation waits for its next attempt, after a restart or at another peer.
    pub(super) fn revive_undo_timer(
        &mut self,
        turn: &Turn<'_>,
        id: RunId,
        undoing: &Undoing,
        due: UnixMillis,
    ) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(definition) = live.run.definition(undoing.unit.step) else { return };
        let span = backoff(&definition.retry).full_delay(undoing.tries.failed);
        let at = planned(turn.now, live.run.last, due, span);
        self.set_timer(id, at, What::Undo);
    }

    pub(super) fn drop_timers(&mut self, id: RunId) {
        if let Some(live) = self.runs.get_mut(&id) {
            live.timers.retain(|(_, what)| *what == What::Tell);
            live.unit_timers.clear();
            live.undo_limit = None;
            self.rearm(id);
        }
    }

    pub(super) fn rearm(&mut self, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let first = live.timers.first().map(|(at, _)| *at);
        if first == live.armed {
            return;
        }
        if let Some(armed) = std::mem::replace(&mut live.armed, first) {
            self.due.remove(&(armed, id));
        }
        if let Some(first) = first {
            self.due.insert((first, id));
        }
    }

    pub(super) fn work_off_due(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..DUE_PER_TURN {
            let Some(&(at, id)) = self.due.first().filter(|(at, _)| *at <= turn.now) else { return };
            let next = self.runs.get_mut(&id).and_then(|live| live.timers.pop_first());
            match next {
                Some((_, what)) => {
                    self.rearm(id);
                    self.on_due(turn, id, what);
                }
                None => {
                    self.due.remove(&(at, id));
                }
            }
        }
    }

    fn on_due(&mut self, turn: &mut Turn<'_>, id: RunId, what: What) {
        match what {
            What::Timeout => self.run_timed_out(turn, id),
            What::Stop => self.stop_waiting(turn, id),
            What::MoveOn => self.move_on(turn, id),
            What::Move => self.export(turn, id),
            What::Unit(unit) => self.unit_due(turn, id, unit),
            What::Undo => self.undo_again(turn, id),
            What::UndoTimeout => self.undo_timed_out(turn, id),
            What::Again(flight) => self.submit_again(turn, flight),
            What::SubTimeout(flight) => self.sub_timed_out(turn, flight),
            What::Tell => self.tell(turn, id),
        }
    }

    /// The back-off of a unit is over, or its wait.
    fn unit_due(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.unit_timers.remove(&unit);
        match live.run.unit_state(unit) {
            Some(StepState::Retrying) => {
                live.try_again(unit);
                self.enqueue(id);
            }
            Some(StepState::Waiting) => {
                let definition = live.run.definition(unit.step);
                let by_wall =
                    definition.is_some_and(|step| matches!(step.action, Action::Wait(Wait::Until(_))));
                let until = live.run.tries(unit).and_then(|tries| tries.due);
                match until.filter(|until| by_wall && *until > turn.wall) {
                    Some(until) => self.wait_for_wall(turn, id, unit, until),
                    None => self.wait_over(turn, id, unit),
                }
            }
            _ => {}
        }
    }

    /// Asks after tasks whose end may not have been heard.
    pub(super) fn watch_tasks(&mut self, turn: &mut Turn<'_>) {
        let every = self.options.reconcile();
        for _ in 0..DUE_PER_TURN {
            let Some(&(_, id)) = self.watch.front().filter(|(at, _)| *at <= turn.now) else { return };
            self.watch.pop_front();
            let Some(flight) = self.flights.get(&id) else { continue };
            let Stage::Away { task: Some(task) } = flight.stage else { continue };
            self.watch.push_back((turn.now.after(every), id));
            turn.out.push(super::Effect::WatchTask { flight: id, task });
        }
    }
}

/// When something is due that was planned before a restart, or by another peer's clock, for at most `span` ahead.
///
/// The time in which the node was down counts. But if the clock was set meanwhile (it is behind the last event of the run,
/// or years ahead), nobody knows how long that was: then the rest of the time begins now.
pub(super) fn planned(now: UnixMillis, last: UnixMillis, due: UnixMillis, span: Duration) -> UnixMillis {
    let set = last > now || now.since(last) > NOT_DOWN;
    let due = if set { now.after(due.since(last)) } else { due };
    due.min(now.after(span))
}
