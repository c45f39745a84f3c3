//! What each event changes. Total and deterministic: the same events give the same state, and events that make no
//! sense (of a damaged store, or of a peer) change nothing that they do not name.

use super::{Child, Doc, Items, Moving, Phase, Run, Signal, StepRun, Tries};
use crate::workflow::definition::StepIx;
use crate::workflow::records::{Ended, Event, EventRecord, Unit};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::StepState;
use meshwork_proto::{Cid, MeshError, PeerId, UnixMillis};

impl Run {
    /// Takes the event with this number in.
    pub(crate) fn apply(&mut self, seq: u64, record: &EventRecord) {
        let at = record.at;
        self.seq = seq;
        self.last = at;
        self.updated = self.updated.max(at);
        match &record.event {
            Event::Submitted => {}
            Event::Started => self.apply_start(at),
            Event::Paused { .. } => self.paused = true,
            Event::Resumed { .. } => self.paused = false,
            Event::Spread { peers, .. } => self.targets.clone_from(peers),
            Event::Skipped { unit } => self.finish_unit(at, *unit, StepState::Skipped),
            Event::Items { step, count, items } => self.apply_items(at, seq, *step, *count, items),
            Event::TaskBegun { unit, input } => self.apply_begun(record, seq, *unit, input.as_ref(), None),
            Event::SubBegun { unit, peer, inputs } => {
                self.apply_begun(record, seq, *unit, inputs.as_ref(), Some(peer));
            }
            Event::SubPlaced { unit, run } => {
                if let Some(child) = self.tries_mut(*unit).and_then(|tries| tries.child.as_mut()) {
                    child.run = Some(*run);
                }
            }
            Event::Waiting { unit, until } => self.apply_waiting(at, *unit, *until),
            Event::Completed { .. } => self.apply_completed(at, seq, &record.event),
            Event::Failed { unit, error, retry_at, ended } => {
                self.apply_failed(at, *unit, error, *retry_at, ended);
            }
            Event::Withdrawn { unit } => self.set_unit_state(*unit, StepState::Pending),
            Event::Dropped { unit } => self.finish_unit(at, *unit, StepState::Cancelled),
            Event::Signal { name, payload, .. } => {
                let (name, payload) = (name.clone(), payload.clone());
                self.signals.push_back(Signal { seq, name, payload });
            }
            Event::Failing { .. } | Event::Cancelling { .. } | Event::Finished { .. } => {
                self.apply_ending(at, &record.event);
            }
            Event::UndoBegun { .. } | Event::UndoFailed { .. } | Event::Undone { .. } => {
                self.apply_undo(record, seq);
            }
            Event::Retried { from, .. } => self.apply_retried(at, *from),
            Event::MoveBegun { .. }
            | Event::Exported
            | Event::MoveEnded { .. }
            | Event::Moved { .. }
            | Event::TakenOver { .. } => self.apply_move(at, &record.event),
            Event::UndoGivenUp { .. } => self.apply_given_up(),
            Event::ParentMoved { peer } => {
                if let Some(parent) = &mut self.parent {
                    parent.peer = peer.clone();
                }
            }
        }
    }

    /// A step of a hand-over.
    fn apply_move(&mut self, at: UnixMillis, event: &Event) {
        match event {
            Event::MoveBegun { to, epoch, .. } => {
                self.offered.insert(to.clone());
                self.moving = Some(Moving { to: to.clone(), epoch: *epoch, since: at, sent: false });
            }
            Event::Exported => {
                if let Some(moving) = &mut self.moving {
                    moving.sent = true;
                }
            }
            Event::MoveEnded { epoch, .. } => {
                self.moving = None;
                self.epoch = *epoch;
            }
            Event::Moved { to, epoch } => {
                self.moving = None;
                self.epoch = *epoch;
                self.phase = Phase::Moved(to.clone());
                self.finished = Some(at);
            }
            Event::TakenOver { from, epoch } => {
                self.moving = None;
                self.epoch = *epoch;
                self.taken.push((from.clone(), *epoch));
            }
            _ => {}
        }
    }

    fn apply_start(&mut self, at: UnixMillis) {
        if self.phase != Phase::Pending {
            return;
        }
        self.phase = Phase::Running;
        self.started = Some(at);
        self.timed_from = at;
        self.steps = self.workflow.steps.iter().map(|step| StepRun::new(step.needs.len())).collect();
    }

    fn apply_items(&mut self, at: UnixMillis, seq: u64, step: StepIx, count: u32, items: &Payload) {
        self.set_state(step, StepState::Running);
        if let Some(run) = self.step_mut(step) {
            run.started.get_or_insert(at);
            run.items = Some(Box::new(Items::new(Doc::of_event(items, seq), count)));
        }
    }

    fn apply_begun(
        &mut self,
        record: &EventRecord,
        seq: u64,
        unit: Unit,
        input: Option<&(Payload, Cid)>,
        peer: Option<&PeerId>,
    ) {
        self.set_unit_state(unit, StepState::Running);
        if let Some(run) = self.step_mut(unit.step) {
            run.started.get_or_insert(record.at);
        }
        self.count_begun(unit);
        let pure = self.definition(unit.step).is_some_and(|step| step.pure);
        let Some(tries) = self.tries_mut(unit) else { return };
        tries.begun += 1;
        tries.epoch = record.epoch;
        tries.due = None;
        if let Some((input, cid)) = input {
            tries.input = Some(Doc::of_event(input, seq));
            tries.input_cid = pure.then(|| Box::new(*cid));
        }
        let before = tries.child.take().map(|child| child.inputs_cid);
        if let (Some(peer), Some(inputs_cid)) = (peer, input.map(|(_, cid)| *cid).or(before)) {
            tries.child = Some(Box::new(Child { peer: peer.clone(), run: None, inputs_cid }));
        }
    }

    fn apply_waiting(&mut self, at: UnixMillis, unit: Unit, until: Option<UnixMillis>) {
        self.set_unit_state(unit, StepState::Waiting);
        if let Some(run) = self.step_mut(unit.step) {
            run.started.get_or_insert(at);
        }
        self.count_begun(unit);
        if let Some(tries) = self.tries_mut(unit) {
            tries.begun += 1;
            tries.due = until;
        }
    }

    fn apply_failed(
        &mut self,
        at: UnixMillis,
        unit: Unit,
        error: &MeshError,
        retry_at: Option<UnixMillis>,
        ended: &Ended,
    ) {
        self.note_peer(unit, ended);
        let error = Some(Box::new(error.clone()));
        if let Some(tries) = self.tries_mut(unit) {
            tries.failed += 1;
            tries.due = retry_at;
            tries.error.clone_from(&error);
        }
        if unit.item.is_some()
            && let Some(step) = self.step_mut(unit.step)
        {
            // What is shown of a step with items is the last thing that went wrong with any of them.
            step.tries.error = error;
        }
        match retry_at {
            Some(_) => self.set_unit_state(unit, StepState::Retrying),
            None => self.finish_unit(at, unit, StepState::Failed),
        }
    }

    pub(super) fn note_peer(&mut self, unit: Unit, ended: &Ended) {
        if let (Some(step), Some(peer)) = (self.step_mut(unit.step), &ended.peer) {
            step.peer = Some(peer.clone());
        }
    }

    /// A new state of a unit that is not finished by it.
    pub(super) fn set_unit_state(&mut self, unit: Unit, state: StepState) {
        match unit.item {
            None => self.set_state(unit.step, state),
            Some(item) => {
                if let Some(items) = self.items_mut(unit.step) {
                    items.set(item, state);
                }
            }
        }
    }

    fn count_begun(&mut self, unit: Unit) {
        if unit.item.is_some()
            && let Some(items) = self.items_mut(unit.step)
        {
            items.begun += 1;
        }
    }

    pub(super) fn items_mut(&mut self, step: StepIx) -> Option<&mut Items> {
        self.step_mut(step)?.items.as_deref_mut()
    }

    fn tries_mut(&mut self, unit: Unit) -> Option<&mut Tries> {
        let step = self.step_mut(unit.step)?;
        match unit.item {
            None => Some(&mut step.tries),
            Some(item) => {
                let items = step.items.as_mut()?;
                items.state(item).map(|_| items.live.entry(item).or_default())
            }
        }
    }
}
