//! What happens at a time: each run has its own list, and the coordinator knows the first entry of each.

use super::live::{Stage, What};
use super::{Coordinator, DUE_PER_TURN, Turn};
use crate::workflow::records::Unit;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{RunId, UnixMillis};

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

    pub(super) fn drop_timers(&mut self, id: RunId) {
        if let Some(live) = self.runs.get_mut(&id) {
            live.timers.retain(|(_, what)| *what == What::Tell);
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
            What::Move => self.export_again(turn, id),
            What::Unit(unit) => self.unit_due(turn, id, unit),
            What::Undo => self.undo_again(turn, id),
            What::Again(flight) => self.submit_again(turn, flight),
            What::SubTimeout(flight) => self.sub_timed_out(turn, flight),
            What::Tell => self.tell(turn, id),
        }
    }

    /// The back-off of a unit is over, or its wait.
    fn unit_due(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        match live.run.unit_state(unit) {
            Some(StepState::Retrying) => {
                live.try_again(unit);
                self.enqueue(id);
            }
            Some(StepState::Waiting) => self.wait_over(turn, id, unit),
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
