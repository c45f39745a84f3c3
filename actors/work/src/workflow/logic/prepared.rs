//! What becomes of what was evaluated.

use super::io::{FlightId, Prepared, Wanted};
use super::live::{Kind, Stage, WHOLE, What};
use super::{Coordinator, Turn};
use crate::workflow::definition::{Action, Wait};
use crate::workflow::records::{Ended, Event, How, Unit};
use meshwork_kit::Backoff;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::RunState;
use meshwork_proto::{Cid, ErrorCode, MeshError, RunId, UnixMillis};
use std::time::Duration;

/// How long is waited before something is tried again that could not be done now.
pub(super) const AGAIN: Backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(10));

impl Coordinator {
    /// An evaluation is done. (What it makes possible is started by [`Coordinator::go_on`]: evaluations come many at a
    /// time.)
    pub(crate) fn prepared(&mut self, turn: &mut Turn<'_>, id: FlightId, prepared: Prepared) {
        let Some(flight) = self.flights.get(&id).filter(|flight| flight.stage == Stage::Preparing) else {
            return;
        };
        let (run, unit, kind) = (flight.run, flight.unit, flight.kind);
        if let Prepared::Unavailable(error) = prepared {
            return self.try_again_later(turn, id, error.message);
        }
        if kind == Kind::Undo {
            return self.undo_prepared(turn, id, prepared);
        }
        let Some(live) = self.runs.get(&run) else { return };
        let may_begin = live.run.may_start();
        // Results of items are put together once, whatever comes of it.
        let items = live.run.step(unit.step).and_then(|step| step.items.as_ref());
        let gathers = unit.item.is_none() && items.is_some();
        let finishes = unit == WHOLE || gathers || matches!(prepared, Prepared::Output { .. });
        if !may_begin && !finishes {
            // Paused, or about to move: it begins when the run goes on.
            self.land(id);
            self.offer(run, unit.step);
            return self.try_move(turn, run);
        }
        match prepared {
            Prepared::Input { input, input_cid } => self.begin(turn, id, Some((input, input_cid))),
            other => {
                self.land(id);
                self.decide_prepared(turn, run, unit, other);
                self.try_move(turn, run);
            }
        }
    }

    fn decide_prepared(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, prepared: Prepared) {
        match prepared {
            Prepared::Skip => {
                self.totals.units_skipped += 1;
                self.emit(turn.now, id, Event::Skipped { unit });
                self.after_unit(turn, id, unit);
            }
            Prepared::Items { count, items } => self.items_known(turn, id, unit, count, items),
            Prepared::Cached { output, output_cid } => {
                self.totals.units_cached += 1;
                self.complete(turn, id, unit, (output, output_cid), How::Cached, Ended::default());
            }
            Prepared::Wait { until } => self.wait(turn, id, unit, until),
            Prepared::Output { output, output_cid } if unit == WHOLE => {
                self.finish(turn, id, RunState::Completed, Some((output, output_cid)), None);
            }
            Prepared::Output { output, output_cid } => {
                self.complete(turn, id, unit, (output, output_cid), How::Gathered, Ended::default());
            }
            Prepared::Failed(error) if unit == WHOLE => {
                let message = format!("output of the workflow: {}", error.message);
                let (step, error, compensate) = (None, MeshError::new(error.code, message), false);
                self.begin_ending(turn, id, Event::Failing { step, error, compensate });
            }
            // What was evaluated once gives the same again.
            Prepared::Failed(error) => self.attempt_failed(turn, id, unit, error, false, Ended::default()),
            Prepared::Input { .. } | Prepared::Unavailable(_) => {}
        }
    }

    fn items_known(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, count: u32, items: Payload) {
        let step = unit.step;
        let Some(live) = self.runs.get(&id) else { return };
        let (held, max) = (live.run.total_items(), u64::from(self.options.max_items));
        if held + u64::from(count) > max {
            let message = format!(
                "for_each gives {count} items, with {held} of other steps: the limit for a run is {max} items \
                 together"
            );
            let error = MeshError::new(ErrorCode::TooLarge, message);
            return self.attempt_failed(turn, id, unit, error, false, Ended::default());
        }
        self.emit(turn.now, id, Event::Items { step, count, items });
        self.after_items(id, step);
    }

    /// A unit waits for a signal or a time.
    fn wait(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, until: Option<UnixMillis>) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Some(definition) = live.run.definition(unit.step) else { return };
        let Action::Wait(wait) = &definition.action else { return };
        let limit = match wait {
            Wait::Signal { name, timeout_ms } => {
                if let Some(signal) = live.run.signals.iter().find(|signal| signal.name == *name) {
                    let (seq, payload) = (signal.seq, signal.payload.clone());
                    let output_cid = Cid::of(payload.bytes());
                    let output = (Payload::Inline(payload), output_cid);
                    return self.complete(turn, id, unit, output, How::Signal(seq), Ended::default());
                }
                let name = name.clone();
                let limit = timeout_ms.or(definition.timeout_ms);
                live.want(&name, unit);
                limit.map(|ms| turn.now.after(Duration::from_millis(ms)))
            }
            Wait::For { ms } => Some(turn.now.after(Duration::from_millis(*ms))),
            Wait::Until(_) => {
                self.emit(turn.now, id, Event::Waiting { unit, until });
                return self.wait_for_wall(turn, id, unit, until.unwrap_or(turn.wall));
            }
        };
        self.emit(turn.now, id, Event::Waiting { unit, until: limit });
        if let Some(at) = limit {
            self.set_unit_timer(id, at, unit);
        }
    }

    /// The wait of a unit is over: its time came, or no signal did.
    pub(super) fn wait_over(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Some(definition) = live.run.definition(unit.step) else { return };
        let Action::Wait(Wait::Signal { name, .. }) = &definition.action else {
            return self.complete(turn, id, unit, super::null(), How::Waited, Ended::default());
        };
        let name = name.clone();
        live.want_no_more(&name, unit);
        let message = format!("signal {name:?} did not come in time");
        let error = MeshError::new(ErrorCode::Timeout, message);
        self.attempt_failed(turn, id, unit, error, true, Ended::default());
    }

    /// The results of a step's items are written down: they are put together.
    pub(super) fn gather(&mut self, turn: &mut Turn<'_>, id: RunId, step: u32) {
        let Some(live) = self.runs.get(&id) else { return };
        let unit = Unit::step(step);
        let wanted = live.run.may_go_on() && !live.exported && !live.flights.contains_key(&unit);
        let Some(run) = live.run.step(step).filter(|run| wanted && !run.state.is_finished()) else { return };
        let Some(items) = run.items.as_ref().filter(|items| items.are_finished()) else { return };
        let max = self.options.max_output_bytes;
        if items.bytes > max {
            let message = format!(
                "results of {} items have {} bytes together: the limit is {max} bytes",
                items.counts.total, items.bytes
            );
            let error = MeshError::new(ErrorCode::TooLarge, message);
            return self.attempt_failed(turn, id, unit, error, false, Ended::default());
        }
        let ends = items.ends().to_vec();
        let flight = self.take_off(id, unit, Kind::Evaluation, Stage::Preparing);
        self.prepare(turn, flight, Wanted::Gather(ends));
    }

    /// All steps are finished: the result of the run is evaluated.
    pub(super) fn want_output(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.may_go_on() && !live.exported && !live.flights.contains_key(&WHOLE) {
            let flight = self.take_off(id, WHOLE, Kind::Evaluation, Stage::Preparing);
            self.prepare(turn, flight, Wanted::Output);
        }
    }

    /// Something could not be done now, and is tried again after a while.
    pub(super) fn try_again_later(&mut self, turn: &mut Turn<'_>, id: FlightId, trouble: String) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.refused = flight.refused.saturating_add(1);
        flight.trouble = Some(trouble);
        let (run, refused) = (flight.run, flight.refused);
        let at = turn.now.after(AGAIN.delay(refused, &mut self.rng));
        self.set_timer(run, at, What::Again(id));
    }
}
