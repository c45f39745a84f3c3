//! Taking back what completed: one unit after the other, the last one first, each with the attempts of its step.

use super::end::seconds;
use super::flight::AttemptEnd;
use super::io::{FlightId, Prepared, Wanted};
use super::live::{Flight, Kind, Stage, What};
use super::tasks::is_worth_it;
use super::units::backoff;
use super::{Coordinator, Turn};
use crate::workflow::records::{Ended, Event, Unit};
use meshwork_proto::{ErrorCode, MeshError, PeerId, RunId};
use std::time::Duration;

impl Coordinator {
    /// The next unit is taken back.
    pub(super) fn undo_next(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.undoing.is_some() {
            // Between two attempts.
            return;
        }
        let Some(unit) = live.run.undo.last().map(|done| done.unit) else { return self.try_end(turn, id) };
        let flight = self.take_off(id, unit, Kind::Undo, Stage::Preparing);
        self.limit_undo(turn, id, unit);
        self.prepare(turn, flight, Wanted::Undo);
    }

    /// An attempt to take a unit back has its time: it may be that nobody ever serves its tool again.
    pub(super) fn limit_undo(&mut self, turn: &Turn<'_>, id: RunId, unit: Unit) {
        self.unlimit_undo(id);
        let at = turn.now.after(self.undo_limit(id, unit));
        if let Some(live) = self.runs.get_mut(&id) {
            live.undo_limit = Some(at);
        }
        self.set_timer(id, at, What::UndoTimeout);
    }

    fn unlimit_undo(&mut self, id: RunId) {
        let at = self.runs.get_mut(&id).and_then(|live| live.undo_limit.take());
        self.drop_timer(id, at, What::UndoTimeout);
    }

    /// How long an attempt may wait for its worker and run.
    fn undo_limit(&self, id: RunId, unit: Unit) -> Duration {
        let runs = self.runs.get(&id).and_then(|live| live.run.definition(unit.step)?.timeout_ms);
        self.options.undo_within().saturating_add(Duration::from_millis(runs.unwrap_or_default()))
    }

    /// The attempt to take a unit back that is under way, if there is one.
    pub(super) fn undo_flight(&self, id: RunId) -> Option<FlightId> {
        let flights = &self.runs.get(&id)?.flights;
        flights
            .values()
            .copied()
            .find(|id| self.flights.get(id).is_some_and(|flight| flight.kind == Kind::Undo))
    }

    /// The attempt under way is not waited for any more.
    pub(super) fn undo_timed_out(&mut self, turn: &mut Turn<'_>, id: RunId) {
        if let Some(live) = self.runs.get_mut(&id) {
            live.undo_limit = None;
        }
        let Some(flight) = self.drop_undo(id, "it took too long to take its step back") else { return };
        let unit = flight.unit;
        let limit = self.undo_limit(id, unit).as_millis();
        let limit = seconds(u64::try_from(limit).unwrap_or(u64::MAX));
        let message = match &flight.trouble {
            Some(trouble) => format!("it was not taken back within {limit} s: {trouble}"),
            None => format!("nobody took it back within {limit} s"),
        };
        // Without an input there is nothing that could be submitted again.
        let again = flight.stage != Stage::Preparing;
        let error = MeshError::new(ErrorCode::Timeout, message);
        self.undo_failed(turn, id, unit, error, again, Ended::default());
    }

    /// Somebody has had enough of waiting: what is not taken back yet stays as it is.
    pub(super) fn give_up_undo(&mut self, turn: &mut Turn<'_>, id: RunId, by: Option<PeerId>) {
        self.drop_undo(id, "taking back was given up");
        self.unlimit_undo(id);
        self.emit(turn.now, id, Event::UndoGivenUp { by });
        if self.runs.get(&id).is_some_and(|live| live.waits_for_parts) {
            self.abandon_flights(turn, id, false);
        }
        self.try_end(turn, id);
    }

    /// The attempt under way is given up; if it is being submitted, it is as soon as its task is known.
    fn drop_undo(&mut self, id: RunId, reason: &str) -> Option<Flight> {
        let flight = self.undo_flight(id)?;
        let landed = self.land(flight)?;
        if let Some(task) = landed.task() {
            self.cancel_task(flight, task, reason);
        }
        Some(landed)
    }

    /// The input of a compensation was evaluated.
    pub(super) fn undo_prepared(&mut self, turn: &mut Turn<'_>, id: FlightId, prepared: Prepared) {
        match prepared {
            Prepared::Input { input, input_cid } => {
                let Some(flight) = self.flights.get_mut(&id) else { return };
                flight.stage = Stage::Submitting { unsure: false };
                let (run, unit) = (flight.run, flight.unit);
                let at_hand = Some((input.clone(), input_cid));
                self.emit(turn.now, run, Event::UndoBegun { unit, input: Some((input, input_cid)) });
                self.send_task(turn, id, at_hand);
            }
            Prepared::Failed(error) => {
                let Some(flight) = self.land(id) else { return };
                self.unlimit_undo(flight.run);
                self.undo_failed(turn, flight.run, flight.unit, error, false, Ended::default());
            }
            _ => {}
        }
    }

    /// An attempt to take a unit back has ended.
    pub(super) fn undo_ended(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        unit: Unit,
        end: AttemptEnd,
        ended: Ended,
    ) {
        let retry = is_worth_it(&end);
        self.unlimit_undo(id);
        match end {
            AttemptEnd::Completed(..) => {
                self.totals.compensated += 1;
                self.emit(turn.now, id, Event::Undone { unit, ended });
                self.try_end(turn, id);
            }
            AttemptEnd::Failed(error) => self.undo_failed(turn, id, unit, error, retry, ended),
            AttemptEnd::Cancelled => {
                let error = MeshError::new(ErrorCode::Cancelled, "the task that takes it back was cancelled");
                self.undo_failed(turn, id, unit, error, false, ended);
            }
        }
    }

    fn undo_failed(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        unit: Unit,
        error: MeshError,
        retry: bool,
        ended: Ended,
    ) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(definition) = live.run.definition(unit.step) else { return };
        let undoing = live.run.undoing.as_ref().filter(|undoing| undoing.unit == unit);
        let failed = undoing.map_or(0, |undoing| undoing.tries.failed) + 1;
        let again = retry && failed < definition.retry.max_attempts;
        let retry_at = again.then(|| turn.now.after(backoff(&definition.retry).delay(failed, &mut self.rng)));
        self.emit(turn.now, id, Event::UndoFailed { unit, error, retry_at, ended });
        match retry_at {
            Some(at) => self.set_timer(id, at, What::Undo),
            None => self.try_end(turn, id),
        }
    }

    /// The back-off of a compensation is over.
    pub(super) fn undo_again(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(unit) = live.run.undoing.as_ref().map(|undoing| undoing.unit) else { return };
        if live.flights.is_empty() {
            let flight = self.take_off(id, unit, Kind::Undo, Stage::Submitting { unsure: false });
            self.limit_undo(turn, id, unit);
            self.emit(turn.now, id, Event::UndoBegun { unit, input: None });
            self.send_task(turn, flight, None);
        }
    }
}
