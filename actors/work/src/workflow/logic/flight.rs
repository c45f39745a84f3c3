//! What is under way, and how it ends: an end counts once, and only for the attempt that it belongs to.

use super::io::{FlightId, Wanted};
use super::live::{Flight, Kind, Stage, WHOLE};
use super::run::Phase;
use super::tasks::is_worth_it;
use super::{Coordinator, Turn};
use crate::workflow::records::{Ended, Event, How, Unit};
use meshwork_proto::queue::Submitted;
use meshwork_proto::task::{Payload, TaskStatus};
use meshwork_proto::{Cid, ErrorCode, MeshError, RunId};

/// Longest message of an error that is kept, in bytes.
const MAX_MESSAGE: usize = 2048;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttemptEnd {
    /// With a result.
    Completed(Payload, Cid),
    /// With an error.
    Failed(MeshError),
    /// It was given up.
    Cancelled,
}

impl AttemptEnd {
    /// The end of a task.
    pub(super) fn of(status: TaskStatus, output: Option<(Payload, Cid)>, error: Option<MeshError>) -> Self {
        let unknown =
            || MeshError::new(ErrorCode::Internal, "the task ended without a result and without an error");
        match (status, output) {
            (TaskStatus::Completed, Some((output, cid))) => Self::Completed(output, cid),
            (TaskStatus::Cancelled, _) => Self::Cancelled,
            _ => Self::Failed(error.unwrap_or_else(unknown)),
        }
    }

    /// An error is kept in events and views: whoever told it must not make them large.
    fn clipped(self) -> Self {
        match self {
            Self::Failed(mut error) if error.message.len() > MAX_MESSAGE => {
                let end = (0..=MAX_MESSAGE).rev().find(|end| error.message.is_char_boundary(*end));
                error.message.truncate(end.unwrap_or(0));
                error.message.push_str("...");
                Self::Failed(error)
            }
            other => other,
        }
    }

    /// The queue knows nothing of the task any more.
    pub(super) fn lost() -> Self {
        let message = "the queue does not know the task of this attempt any more";
        Self::Failed(MeshError::new(ErrorCode::UnknownTask, message))
    }
}

impl Coordinator {
    /// What was under way has ended.
    pub(super) fn attempt_ended(&mut self, turn: &mut Turn<'_>, id: FlightId, end: AttemptEnd, by: Ended) {
        let Some(flight) = self.land(id) else { return };
        let end = end.clipped();
        if flight.kind == Kind::Undo {
            return self.undo_ended(turn, flight.run, flight.unit, end, by);
        }
        let Some(live) = self.runs.get(&flight.run) else { return };
        match live.run.phase {
            Phase::Running => self.ended_while_running(turn, &flight, end, by),
            Phase::Ending(_) => {
                self.ended_while_ending(turn, flight.run, flight.unit, end, by);
                self.try_end(turn, flight.run);
            }
            Phase::Pending | Phase::Finished(_) | Phase::Moved(_) => {}
        }
        self.try_move(turn, flight.run);
    }

    fn ended_while_running(&mut self, turn: &mut Turn<'_>, flight: &Flight, end: AttemptEnd, by: Ended) {
        let (id, unit) = (flight.run, flight.unit);
        let retry = is_worth_it(&end);
        match end {
            AttemptEnd::Completed(output, cid) => self.complete(turn, id, unit, (output, cid), How::Ran, by),
            AttemptEnd::Failed(error) => self.attempt_failed(turn, id, unit, error, retry, by),
            AttemptEnd::Cancelled if flight.stop => self.withdraw(turn, id, unit),
            AttemptEnd::Cancelled => {
                let error = MeshError::new(ErrorCode::Cancelled, "its task was cancelled");
                self.attempt_failed(turn, id, unit, error, false, by);
            }
        }
    }

    /// The run fails or is cancelled: what completes all the same has happened, and may have to be taken back.
    fn ended_while_ending(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        unit: Unit,
        end: AttemptEnd,
        ended: Ended,
    ) {
        let event = match end {
            AttemptEnd::Completed(output, output_cid) => {
                self.totals.units_completed += 1;
                Event::Completed { unit, output, output_cid, how: How::Ran, ended }
            }
            AttemptEnd::Failed(error) => Event::Failed { unit, error, retry_at: None, ended },
            AttemptEnd::Cancelled => Event::Dropped { unit },
        };
        self.emit(turn.now, id, event);
    }

    /// An attempt was taken back, because the run moves: it has not begun.
    pub(super) fn withdraw(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        self.emit(turn.now, id, Event::Withdrawn { unit });
        if let Some(live) = self.runs.get_mut(&id) {
            live.reopen(unit);
        }
        self.enqueue(id);
    }

    /// What is under way for a run is given up.
    pub(super) fn stop_flights(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        for flight in flights {
            self.stop_flight(turn, flight);
        }
    }

    fn stop_flight(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.stop = true;
        let (run, unit) = (flight.run, flight.unit);
        match flight.stage {
            Stage::Preparing => {
                self.land(id);
            }
            // It was refused and nobody has it; if it is being submitted, the answer decides.
            Stage::Submitting { unsure: false } if flight.refused > 0 && flight.trouble.is_some() => {
                self.land(id);
                self.emit(turn.now, run, Event::Dropped { unit });
            }
            Stage::Submitting { .. } => {}
            Stage::Away { task: Some(task) } => self.cancel_task(id, task, "its run is ending"),
            Stage::Away { task: None } => self.stop_sub(turn, id),
        }
    }

    /// What does not stop is not waited for any more (but sub-workflows, if they are kept): what comes of it later is
    /// ignored.
    pub(super) fn abandon_flights(&mut self, turn: &mut Turn<'_>, id: RunId, keep_parts: bool) {
        let Some(live) = self.runs.get(&id) else { return };
        let flights: Vec<FlightId> = live.flights.values().copied().collect();
        for flight in flights {
            if keep_parts && self.flights.get(&flight).is_some_and(|flight| flight.kind == Kind::Sub) {
                continue;
            }
            let Some(landed) = self.land(flight) else { continue };
            let begun = landed.stage != Stage::Preparing && landed.unit != WHOLE;
            if begun && landed.kind != Kind::Undo {
                self.emit(turn.now, id, Event::Dropped { unit: landed.unit });
            }
        }
    }

    /// An evaluation that could not be done is done again.
    pub(super) fn prepare_again(&mut self, turn: &mut Turn<'_>, id: FlightId) {
        let Some(flight) = self.flights.get(&id).cloned() else { return };
        let Some(live) = self.runs.get(&flight.run) else { return };
        let step = live.run.step(flight.unit.step);
        let wanted = match (flight.kind, step.and_then(|step| step.items.as_ref())) {
            (Kind::Undo, _) => Wanted::Undo,
            _ if flight.unit == WHOLE => Wanted::Output,
            (_, Some(items)) if flight.unit.item.is_none() => Wanted::Gather(items.ends().to_vec()),
            (_, None)
                if live.run.definition(flight.unit.step).is_some_and(|step| step.for_each.is_some()) =>
            {
                Wanted::Items
            }
            _ => Wanted::Input,
        };
        self.prepare(turn, id, wanted);
    }

    /// The queue says where a task stands: one that waits for a worker need not be waited for when the run moves.
    pub(super) fn seen(&mut self, id: FlightId, submitted: Submitted) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(live) = self.runs.get(&flight.run) else { return };
        let moves = live.run.moving.is_some() && live.run.phase == Phase::Running;
        if moves && !flight.stop && submitted.status == TaskStatus::Queued {
            flight.stop = true;
            self.cancel_task(id, submitted.id, "its run moves to another peer");
        }
    }
}
