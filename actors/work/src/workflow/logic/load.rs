//! Runs that come from the store: unfinished ones at the start, finished ones when somebody asks for them.

use super::io::{FlightId, Stored};
use super::live::{Kind, Live, Stage, What};
use super::run::{Phase, Run};
use super::submit::Asker;
use super::{Asked, Coordinator, Effect, Turn};
use crate::workflow::definition::{Action, StepIx, Wait};
use crate::workflow::records::{CountsRecord, Unit, read_some};
use bytes::Bytes;
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{StepState, TakeOverRun, WorkflowError};
use meshwork_proto::{Coded, MeshError, PeerId, RunId};

/// What waits for a run that is read from the store.
#[derive(Debug)]
pub(crate) enum Awaiting {
    /// A request about it.
    Request(Box<Asked>),
    /// A submission whose key stands for it.
    Submission(Box<Asker>),
    /// A unit of which it is the sub-workflow.
    Part(FlightId),
    /// A peer that hands it over: it may have been here before.
    Incoming(TakeOverRun, PeerId),
    /// The run that it is a part of, which ends: it is given up; whether what completed is taken back.
    Cancel(bool),
    /// The run itself, which goes on.
    Revival,
}

/// The state of a run from what the store has.
pub(crate) fn rebuild(id: RunId, stored: &Stored) -> Run {
    let mut run = Run::new(id, &stored.header, std::sync::Arc::clone(&stored.workflow));
    for (seq, record) in &stored.events {
        run.apply(*seq, record);
    }
    run
}

impl Coordinator {
    /// How many finished runs the store has.
    ///
    /// # Errors
    /// When the record is damaged.
    pub(crate) fn load_counts(&mut self, record: Option<&Bytes>) -> Result<(), StoreError> {
        let counts = read_some::<CountsRecord>(record)?.unwrap_or_default();
        self.counts.load(counts);
        Ok(())
    }

    /// An unfinished run, before [`Coordinator::loaded`].
    pub(crate) fn load_run(&mut self, run: Box<Run>) {
        if run.is_active() {
            self.counts.arrived(&run);
            self.runs.insert(run.id, Box::new(Live::new(*run)));
        }
    }

    /// Everything is in memory: runs go on where they stood.
    pub(crate) fn loaded(&mut self, turn: &mut Turn<'_>) {
        self.loading = false;
        let ids: Vec<RunId> = self.runs.keys().copied().collect();
        for id in ids {
            self.revive(turn, id);
        }
        self.settle(turn);
    }

    /// Reads a run that is not in memory; whoever waits for it goes on then.
    pub(super) fn fetch(&mut self, turn: &mut Turn<'_>, id: RunId, awaiting: Awaiting) {
        if self.prune.is_at(id) {
            return self.not_found(turn, id, awaiting, None);
        }
        let waiting = self.fetching.entry(id).or_default();
        waiting.push(awaiting);
        if waiting.len() == 1 {
            turn.out.push(Effect::Load(id));
        }
    }

    /// A run was read; none = the store does not have it.
    pub(crate) fn fetched(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        result: Result<Option<Box<Run>>, StoreError>,
    ) {
        let waiting = self.fetching.remove(&id).unwrap_or_default();
        if let Some(receiving) = self.incoming.get_mut(&id).filter(|receiving| receiving.writing) {
            return receiving.waiting.extend(waiting);
        }
        let mut error = None;
        match result {
            Ok(Some(run)) if !self.runs.contains_key(&id) && !self.prune.is_at(id) => {
                let active = run.is_active();
                if active {
                    self.counts.arrived(&run);
                }
                let steps = run.steps.len();
                self.runs.insert(id, Box::new(Live::new(*run)));
                if active { self.revive(turn, id) } else { self.is_done(id, steps) }
            }
            Ok(_) => {}
            Err(failed) => error = Some(failed),
        }
        for awaiting in waiting {
            if !self.runs.contains_key(&id) {
                self.not_found(turn, id, awaiting, error.clone());
                continue;
            }
            match awaiting {
                Awaiting::Request(asked) => self.on_run(turn, *asked),
                Awaiting::Submission(asker) => self.adopt(turn, *asker, id),
                Awaiting::Part(flight) => self.look_at_part(turn, flight, id),
                Awaiting::Incoming(what, from) => self.judge_incoming(turn, what, from),
                Awaiting::Cancel(compensate) => self.cancel_part(turn, id, compensate),
                Awaiting::Revival => {}
            }
        }
        self.forget_done();
        self.settle(turn);
    }

    fn not_found(&mut self, turn: &mut Turn<'_>, id: RunId, awaiting: Awaiting, error: Option<StoreError>) {
        let unread = error.clone();
        let error = error.map_or(WorkflowError::UnknownRun(id), WorkflowError::Store);
        match awaiting {
            // Nothing is known of it.
            Awaiting::Incoming(what, from) if unread.is_none() => self.judge_incoming(turn, what, from),
            Awaiting::Incoming(..) => self.refuse_incoming(turn, id, &error),
            // What ended long ago needs no cancel; what cannot be read now is found by its parent's end when it is.
            Awaiting::Cancel(_) => {}
            Awaiting::Revival => {
                if let Some(error) = unread {
                    self.fail(turn, error);
                }
            }
            Awaiting::Request(asked) => turn.refuse(asked.ticket, error),
            Awaiting::Submission(asker) => self.refuse_fetched(turn, &asker, error),
            Awaiting::Part(flight) => {
                let unreadable = matches!(error, WorkflowError::Store(_));
                if unreadable {
                    return self.try_again_later(turn, flight, error.to_string());
                }
                let end = super::flight::AttemptEnd::Failed(MeshError::new(error.code(), error.to_string()));
                self.attempt_ended(turn, flight, end, crate::workflow::records::Ended::default());
            }
        }
    }

    /// A run goes on from its state alone: what was under way is submitted again, which gives the same tasks.
    pub(super) fn revive(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.moving.as_ref().is_some_and(|moving| moving.sent) {
            // The next coordinator may have it: nothing happens here.
            return self.revive_export(id);
        }
        match live.run.phase {
            Phase::Pending if live.run.moving.is_some() => self.revive_move(turn, id),
            Phase::Pending if live.run.paused => {}
            Phase::Pending => {
                self.pending.insert((live.run.created, id));
            }
            Phase::Running => {
                self.set_run_timer(turn, id);
                self.revive_steps(turn, id);
                self.offer_all(turn, id);
                self.revive_move(turn, id);
            }
            Phase::Ending(_) => {
                let bound = turn.now.after(self.options.stop_within());
                self.set_timer(id, bound, What::Stop);
                self.revive_steps(turn, id);
                self.stop_flights(turn, id);
                self.revive_undo(turn, id);
                self.try_end(turn, id);
            }
            Phase::Finished(_) | Phase::Moved(_) => {}
        }
    }

    fn revive_steps(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let ending = !live.run.may_go_on();
        let total = u32::try_from(live.run.steps.len()).unwrap_or(u32::MAX);
        for step in 0..total {
            for unit in self.units_under_way(id, step) {
                self.revive_unit(turn, id, unit, ending);
            }
            let gathers = self.runs.get(&id).and_then(|live| live.run.step(step)).is_some_and(|run| {
                !run.state.is_finished() && run.items.as_ref().is_some_and(|items| items.are_finished())
            });
            if gathers && !ending {
                self.gather(turn, id, step);
            }
        }
    }

    /// Units of a step that have begun and are not finished.
    fn units_under_way(&self, id: RunId, step: StepIx) -> Vec<Unit> {
        let Some(run) = self.runs.get(&id).and_then(|live| live.run.step(step)) else { return Vec::new() };
        match &run.items {
            Some(items) => items.live.keys().map(|item| Unit::item(step, *item)).collect(),
            None if run.state.is_finished() || run.state == StepState::Pending => Vec::new(),
            None => vec![Unit::step(step)],
        }
    }

    /// Sub-workflows go on that were left alone because the run was about to move.
    pub(super) fn revive_parts(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(live) = self.runs.get(&id) else { return };
        let parts = (0..).zip(&live.run.workflow.steps).filter(|(_, step)| is_part(&step.action));
        let parts: Vec<StepIx> = parts.map(|(step, _)| step).collect();
        for step in parts {
            for unit in self.units_under_way(id, step) {
                let live = self.runs.get(&id);
                let left = live.is_some_and(|live| {
                    !live.flights.contains_key(&unit) && live.run.unit_state(unit) == Some(StepState::Running)
                });
                if left {
                    self.revive_unit(turn, id, unit, false);
                }
            }
        }
    }

    fn revive_unit(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, ending: bool) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let due = live.run.tries(unit).and_then(|tries| tries.due);
        let Some(definition) = live.run.definition(unit.step) else { return };
        match live.run.unit_state(unit) {
            // Its next coordinator asks for it.
            Some(StepState::Running) if live.run.moving.is_some() && is_part(&definition.action) => {}
            Some(StepState::Running) => {
                let kind = match definition.action {
                    Action::Workflow(_) => Kind::Sub,
                    Action::Task(_) | Action::Wait(_) => Kind::Task,
                };
                if let Some(item) = unit.item {
                    live.take_item(unit.step, item);
                }
                self.fly_again(turn, id, unit, kind);
            }
            Some(StepState::Waiting | StepState::Retrying) if !ending => {
                let waits = live.run.unit_state(unit) == Some(StepState::Waiting);
                if let Action::Wait(Wait::Signal { name, .. }) = &definition.action
                    && waits
                {
                    let name = name.clone();
                    live.want(&name, unit);
                }
                if let Some(at) = due {
                    self.revive_timer(turn, id, unit, at);
                }
            }
            _ => {}
        }
    }

    /// An attempt that had begun goes on.
    fn fly_again(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, kind: Kind) {
        let flight = self.take_off(id, unit, kind, Stage::Submitting { unsure: true });
        if kind != Kind::Sub {
            self.ask_again(flight);
            return self.send_task(turn, flight, None);
        }
        let live = self.runs.get(&id);
        let timeout = live.and_then(|live| live.run.definition(unit.step)?.timeout_ms);
        if let Some(ms) = timeout {
            let at = turn.now.after(std::time::Duration::from_millis(ms));
            self.set_timer(id, at, What::SubTimeout(flight));
        }
        self.sub_again(turn, flight);
    }

    fn revive_undo(&mut self, turn: &mut Turn<'_>, id: RunId) {
        let Some(undoing) = self.runs.get(&id).and_then(|live| live.run.undoing.clone()) else { return };
        match undoing.tries.due {
            Some(at) => self.revive_undo_timer(turn, id, &undoing, at),
            None => {
                let flight = self.take_off(id, undoing.unit, Kind::Undo, Stage::Submitting { unsure: true });
                self.limit_undo(turn, id, undoing.unit);
                self.ask_again(flight);
                self.send_task(turn, flight, None);
            }
        }
    }
}

fn is_part(action: &Action) -> bool {
    matches!(action, Action::Workflow(_))
}
