//! The ends of units and of the whole run.

use super::{Doc, Done, Ending, Phase, Run};
use crate::workflow::definition::StepIx;
use crate::workflow::records::{Event, How, Unit};
use meshwork_proto::workflow::{RunState, StepState};
use meshwork_proto::{ErrorCode, MeshError, UnixMillis};

impl Run {
    pub(super) fn apply_completed(&mut self, at: UnixMillis, seq: u64, event: &Event) {
        let Event::Completed { unit, output, output_cid, how, ended } = event else { return };
        self.note_peer(*unit, ended);
        if let How::Signal(taken) = how {
            self.signals.retain(|signal| signal.seq != *taken);
        }
        let doc = Doc::of_event(output, seq);
        match unit.item {
            Some(item) => {
                if let Some(items) = self.items_mut(unit.step) {
                    items.set_end(item, seq, doc.len());
                }
            }
            None => {
                if let Some(step) = self.step_mut(unit.step) {
                    step.cached = *how == How::Cached;
                    step.output = Some(doc);
                    step.output_cid = Some(*output_cid);
                    step.tries.error = None;
                }
            }
        }
        // What was made before, waited for or only gathered changed nothing in the world.
        if *how == How::Ran && self.definition(unit.step).is_some_and(|step| step.compensate.is_some()) {
            self.undo.push(Done { unit: *unit, before: None });
        }
        self.finish_unit(at, *unit, StepState::Completed);
    }

    /// A unit is finished: steps that need it may have one thing less to wait for.
    pub(super) fn finish_unit(&mut self, at: UnixMillis, unit: Unit, state: StepState) {
        if unit.item.is_some() {
            return self.set_unit_state(unit, state);
        }
        let before = self.lets_go(unit.step);
        self.set_state(unit.step, state);
        if let Some(step) = self.step_mut(unit.step) {
            step.finished = Some(at);
            step.started = step.started.or(Some(at));
            step.tries.due = None;
        }
        if !before && self.lets_go(unit.step) {
            self.release(unit.step);
        }
    }

    fn release(&mut self, step: StepIx) {
        let workflow = std::sync::Arc::clone(&self.workflow);
        let Some(definition) = workflow.steps.get(step as usize) else { return };
        for needing in &definition.needed_by {
            if let Some(run) = self.step_mut(*needing) {
                run.unmet = run.unmet.saturating_sub(1);
            }
        }
    }

    pub(super) fn apply_ending(&mut self, at: UnixMillis, event: &Event) {
        self.paused = false;
        self.moving = None;
        match event {
            Event::Failing { error, compensate, .. } => {
                self.begin_ending(at, RunState::Failed, error.clone(), *compensate);
            }
            Event::Cancelling { reason, compensate, .. } => {
                let reason = reason.as_deref().filter(|reason| !reason.is_empty());
                let message = reason.map_or_else(
                    || "the run was cancelled".to_owned(),
                    |reason| format!("the run was cancelled: {reason}"),
                );
                let error = MeshError::new(ErrorCode::Cancelled, message);
                self.begin_ending(at, RunState::Cancelled, error, *compensate);
            }
            Event::Finished { state, output, output_cid, error } => {
                self.phase = Phase::Finished(*state);
                self.finished = Some(at);
                self.output.clone_from(output);
                self.output_cid = *output_cid;
                self.error.clone_from(error);
                self.give_up();
            }
            _ => {}
        }
    }

    fn begin_ending(&mut self, since: UnixMillis, state: RunState, error: MeshError, compensate: bool) {
        self.phase = Phase::Ending(Ending { state, error, compensate, given_up: false, since });
    }

    /// What has not finished never will.
    fn give_up(&mut self) {
        if self.steps.is_empty() && self.unfinished > 0 {
            self.apply_never_started();
        }
        for step in 0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX) {
            let Some(state) = self.step(step).map(|step| step.state) else { continue };
            if let Some(items) = self.items_mut(step).filter(|items| !items.are_finished()) {
                items.give_up();
            }
            if !state.is_finished() {
                self.set_state(step, StepState::Cancelled);
            }
        }
    }

    /// A run that ended before it started has steps that never began.
    fn apply_never_started(&mut self) {
        self.steps = self.workflow.steps.iter().map(|step| super::StepRun::new(step.needs.len())).collect();
    }
}
