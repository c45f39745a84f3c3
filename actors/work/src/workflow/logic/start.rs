//! Who may start something, in turn: runs take their places, and each run that has something to start starts one thing
//! at a time.

use super::due::planned;
use super::io::Wanted;
use super::live::{Flight, Kind, Stage, What};
use super::{Coordinator, FlightId, STARTS_PER_TURN, Turn};
use crate::workflow::definition::{Action, StepIx};
use crate::workflow::records::{Event, Unit};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{Cid, RunId};
use std::time::Duration;

impl Coordinator {
    /// Gives free places among the running runs to those that wait.
    pub(super) fn promote(&mut self, turn: &mut Turn<'_>) {
        while self.counts.placed() < u64::from(self.options.max_running) && !self.stalled {
            let Some((_, id)) = self.pending.pop_first() else { return };
            self.start(turn, id);
        }
    }

    /// A run gets its place.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>, id: RunId) {
        self.emit(turn.now, id, Event::Started);
        self.set_run_timer(turn, id);
        self.offer_all(turn, id);
    }

    /// The run's time limit.
    pub(super) fn set_run_timer(&mut self, turn: &Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if let Some(ms) = live.run.workflow.timeout_ms {
            let limit = Duration::from_millis(ms);
            let at = planned(turn.now, live.run.last, live.run.timed_from.after(limit), limit);
            self.set_timer(id, at, What::Timeout);
        }
    }

    /// Looks at all steps: once when a run starts, is loaded or goes on after its end.
    pub(super) fn offer_all(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        for step in 0..live.run.total_steps() {
            live.offer(step);
        }
        if live.run.unfinished == 0 {
            self.want_output(turn, id);
        }
        self.enqueue(id);
    }

    /// A run that can start something waits for its turn.
    pub(super) fn enqueue(&mut self, id: RunId) {
        if let Some(live) = self.runs.get_mut(&id)
            && !live.queued
            && live.can_start()
        {
            live.queued = true;
            if let Some(flying) = live.crowded.take() {
                self.crowded.remove(&(flying, id));
            }
            self.turns.push_back(id);
        }
    }

    /// Starts what can be started, as far as there are places in the queue: each run in turn, one thing at a time.
    ///
    /// A run takes no more places than are left over. So one that is alone takes half of them, and n whose tasks nobody
    /// takes leave as much free as each of them has: whoever comes finds a place. One that has nothing under way may
    /// start one thing even when there is none.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>) {
        if self.stalled {
            return;
        }
        for _ in 0..STARTS_PER_TURN {
            let Some(id) = self.next_turn() else { return };
            let free = self.free_places();
            let Some(live) = self.runs.get_mut(&id) else { continue };
            live.queued = false;
            live.crowded = None;
            if !live.can_start() {
                continue;
            }
            if has_room(live.flying, free) {
                self.start_one(turn, id);
                self.enqueue(id);
            } else {
                live.crowded = Some(live.flying);
                self.crowded.insert((live.flying, id));
            }
        }
    }

    /// Who may start something next: runs take turns; when nobody else wants one, the run with the least under way of
    /// those that found no place before, if there is one for it now.
    fn next_turn(&mut self) -> Option<RunId> {
        if let Some(id) = self.turns.pop_front() {
            return Some(id);
        }
        let free = self.free_places();
        let first = self.crowded.first().copied().filter(|(flying, _)| has_room(*flying, free))?;
        self.crowded.remove(&first);
        Some(first.1)
    }

    /// Whether some run may start something now.
    pub(super) fn has_turns(&self) -> bool {
        let free = self.free_places();
        !self.turns.is_empty() || self.crowded.first().is_some_and(|(flying, _)| has_room(*flying, free))
    }

    fn free_places(&self) -> u32 {
        self.options.max_in_flight.saturating_sub(self.in_flight)
    }

    /// A step may have something to start that it had not before.
    pub(super) fn offer(&mut self, id: RunId, step: StepIx) {
        if let Some(live) = self.runs.get_mut(&id) {
            live.offer(step);
        }
        self.enqueue(id);
    }

    fn start_one(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let Some(&(_, step)) = live.ready.first() else { return };
        let has_items = live.run.step(step).is_some_and(|run| run.items.is_some());
        if !has_items {
            return self.start_step(turn, id, step);
        }
        let Some(item) = live.peek_item(step) else { return live.offer(step) };
        live.take_item(step, item);
        let unit = Unit::item(step, item);
        self.start_unit(turn, id, unit);
        if let Some(live) = self.runs.get_mut(&id) {
            live.offer(step);
        }
    }

    fn start_step(&mut self, turn: &mut Turn<'_>, id: RunId, step: StepIx) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let unit = Unit::step(step);
        let Some(definition) = live.run.definition(step) else { return };
        if definition.for_each.is_some() {
            let flight = self.take_off(id, unit, Kind::Evaluation, Stage::Preparing);
            self.prepare(turn, flight, Wanted::Items);
        } else {
            self.start_unit(turn, id, unit);
        }
        if let Some(live) = self.runs.get_mut(&id) {
            live.offer(step);
        }
    }

    /// A unit begins, or begins again.
    fn start_unit(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        live.again.remove(&unit.step);
        let Some(definition) = live.run.definition(unit.step) else { return };
        let again = live.run.unit_state(unit) == Some(StepState::Retrying);
        let known = again && live.run.tries(unit).is_some_and(|tries| tries.input.is_some());
        let kind = match definition.action {
            Action::Task(_) => Kind::Task,
            Action::Workflow(_) => Kind::Sub,
            Action::Wait(_) => Kind::Evaluation,
        };
        let flight = self.take_off(id, unit, kind, Stage::Preparing);
        if known {
            self.begin(turn, flight, None);
        } else {
            self.prepare(turn, flight, Wanted::Input);
        }
    }

    /// An attempt begins, with this input or that of the attempt before.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, flight: FlightId, input: Option<(Payload, Cid)>) {
        let Some((kind, id, unit)) = self.flights.get_mut(&flight).map(|flight| {
            flight.stage = Stage::Submitting { unsure: false };
            (flight.refused, flight.trouble) = (0, None);
            (flight.kind, flight.run, flight.unit)
        }) else {
            return;
        };
        if let Some(live) = self.runs.get_mut(&id) {
            live.has_begun(unit);
        }
        self.totals.attempts += 1;
        match kind {
            Kind::Task => self.begin_task(turn, flight, input),
            Kind::Sub => self.begin_sub(turn, flight, input),
            Kind::Evaluation | Kind::Undo => {}
        }
    }

    /// Something is under way for a unit from now on.
    pub(super) fn take_off(&mut self, id: RunId, unit: Unit, kind: Kind, stage: Stage) -> FlightId {
        let flight = FlightId(self.number());
        let (stop, refused, trouble, moved_to, asked_by_key) = (false, 0, None, None, false);
        let what = Flight { run: id, unit, kind, stage, stop, refused, trouble, moved_to, asked_by_key };
        self.flights.insert(flight, what);
        if let Some(live) = self.runs.get_mut(&id) {
            live.flights.insert(unit, flight);
            live.flying += u32::from(kind.takes_place());
        }
        self.in_flight += u32::from(kind.takes_place());
        flight
    }

    /// It is not under way any more.
    pub(super) fn land(&mut self, flight: FlightId) -> Option<Flight> {
        let landed = self.flights.remove(&flight)?;
        self.unheard.remove(&flight);
        if let Some(task) = landed.task() {
            self.by_task.remove(&task);
        }
        let id = landed.run;
        let takes_place = u32::from(landed.kind.takes_place());
        self.in_flight = self.in_flight.saturating_sub(takes_place);
        if let Some(live) = self.runs.get_mut(&id) {
            live.flights.remove(&landed.unit);
            live.flying = live.flying.saturating_sub(takes_place);
            if let Some(item) = landed.unit.item {
                live.return_item(landed.unit.step, item);
            }
        }
        self.enqueue(id);
        Some(landed)
    }
}

/// Whether a run with so much under way may start one thing more when so many places are free.
fn has_room(flying: u32, free: u32) -> bool {
    flying == 0 || flying < free
}
