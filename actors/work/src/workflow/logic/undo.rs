//! Taking back what completed: one unit after the other, the last one first, each with the attempts of its step.

use super::flight::AttemptEnd;
use super::io::{FlightId, Prepared, Wanted};
use super::live::{Kind, Stage, What};
use super::tasks::is_worth_it;
use super::units::backoff;
use super::{Coordinator, Turn};
use crate::workflow::records::{Ended, Event, Unit};
use meshwork_proto::{ErrorCode, MeshError, RunId};

impl Coordinator {
    /// The next unit is taken back.
    pub(super) fn undo_next(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.undoing.is_some() {
            // Between two attempts.
            return;
        }
        let Some(unit) = live.run.undo.last().copied() else { return self.try_end(turn, id) };
        let flight = self.take_off(id, unit, Kind::Undo, Stage::Preparing);
        self.prepare(turn, flight, Wanted::Undo);
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
            self.emit(turn.now, id, Event::UndoBegun { unit, input: None });
            self.send_task(turn, flight, None);
        }
    }
}
