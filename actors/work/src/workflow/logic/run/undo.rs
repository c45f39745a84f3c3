//! Taking back what completed, one unit after the other, the last one first.

use super::{Doc, Phase, Run, Tries, Undoing};
use crate::workflow::records::{Event, EventRecord, Unit};
use meshwork_proto::UnixMillis;
use meshwork_proto::workflow::StepState;

impl Run {
    pub(super) fn apply_undo(&mut self, record: &EventRecord, seq: u64) {
        match &record.event {
            Event::UndoBegun { unit, input } => {
                let tries = self.undo_tries(*unit);
                tries.begun += 1;
                tries.epoch = record.epoch;
                tries.due = None;
                if let Some((input, _)) = input {
                    tries.input = Some(Doc::of_event(input, seq));
                }
            }
            Event::UndoFailed { unit, error, retry_at, ended } => {
                self.note_peer(*unit, ended);
                let error = Some(Box::new(error.clone()));
                let tries = self.undo_tries(*unit);
                tries.failed += 1;
                tries.due = *retry_at;
                tries.error.clone_from(&error);
                if retry_at.is_none() {
                    self.stuck.extend(self.undoing.take().map(Undoing::into_done));
                }
                if let Some(step) = self.step_mut(unit.step) {
                    step.tries.error = error;
                }
            }
            Event::Undone { unit, ended } => {
                self.note_peer(*unit, ended);
                self.undo_tries(*unit);
                // What a step did before it began anew says nothing of where it stands.
                if self.undoing.take().is_none_or(|undoing| undoing.before.is_none()) {
                    self.undone(record.at, *unit);
                }
            }
            _ => {}
        }
    }

    /// Nothing more is taken back. What was being taken back is, as far as anybody knows, still there.
    pub(super) fn apply_given_up(&mut self) {
        if let Phase::Ending(ending) = &mut self.phase {
            (ending.compensate, ending.given_up) = (false, true);
        }
        self.undo.extend(self.undoing.take().map(Undoing::into_done));
    }

    /// The attempts to take a unit back; it is not among those that wait for it any more.
    fn undo_tries(&mut self, unit: Unit) -> &mut Tries {
        if self.undoing.as_ref().is_none_or(|undoing| undoing.unit != unit) {
            // The last one, unless something is wrong with the events.
            let place = self.undo.iter().rposition(|waiting| waiting.unit == unit);
            let before = place.and_then(|place| self.undo.remove(place).before);
            self.undoing = Some(Undoing { unit, before, tries: Tries::default() });
        }
        let begin = || Undoing { unit, before: None, tries: Tries::default() };
        &mut self.undoing.get_or_insert_with(begin).tries
    }

    fn undone(&mut self, at: UnixMillis, unit: Unit) {
        self.set_unit_state(unit, StepState::Compensated);
        let all = match unit.item {
            None => true,
            Some(_) => {
                let completed = self.step(unit.step).is_some_and(|step| step.state == StepState::Completed);
                completed && self.items_mut(unit.step).is_some_and(|items| !items.any_completed())
            }
        };
        if !all {
            return;
        }
        self.set_state(unit.step, StepState::Compensated);
        if let Some(step) = self.step_mut(unit.step) {
            step.finished = Some(at);
        }
    }
}
