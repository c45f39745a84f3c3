//! Going on after the end: what has not completed begins anew, and what is asked for runs again.

use super::{Phase, Run, StepRun, Undoing};
use crate::workflow::definition::StepIx;
use crate::workflow::records::Unit;
use meshwork_proto::UnixMillis;
use meshwork_proto::workflow::StepState;

/// What becomes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Stays,
    /// It goes on: items that completed stay so.
    Resumes,
    /// It runs as if it never had.
    Again,
}

impl Run {
    pub(super) fn apply_retried(&mut self, at: UnixMillis, from: Option<StepIx>) {
        if !matches!(self.phase, Phase::Finished(_)) {
            return;
        }
        self.phase = Phase::Running;
        self.round += 1;
        self.started.get_or_insert(at);
        self.timed_from = at;
        (self.finished, self.output, self.output_cid, self.error) = (None, None, None, None);
        // What could not be taken back is still there to be taken back; and so is what a step did that begins anew.
        let mut undo = std::mem::take(&mut self.stuck);
        undo.append(&mut self.undo);
        undo.extend(self.undoing.take().map(Undoing::into_done));
        let fates = self.fates(from);
        let stays = |unit: Unit| match fates.get(unit.step as usize) {
            None | Some(Fate::Stays) => true,
            Some(Fate::Resumes) => unit.item.is_some(),
            Some(Fate::Again) => false,
        };
        self.undo =
            undo.into_iter().map(|done| if stays(done.unit) { done } else { done.kept(self) }).collect();
        for (step, fate) in (0..).zip(&fates) {
            match fate {
                Fate::Stays => {}
                Fate::Resumes => self.resume(step),
                Fate::Again => self.begin_anew(step),
            }
        }
        for step in (0..).zip(&fates).filter(|(_, fate)| **fate != Fate::Stays).map(|(step, _)| step) {
            self.count_unmet(step);
        }
    }

    /// What becomes of each step: what has not completed goes on; what is asked for, and what needs a step that runs
    /// again, runs again.
    fn fates(&self, from: Option<StepIx>) -> Vec<Fate> {
        let mut fates = vec![Fate::Stays; self.steps.len()];
        let mut changed: Vec<(StepIx, bool)> = Vec::new();
        for (step, run) in (0..).zip(&self.steps) {
            if !matches!(run.state, StepState::Completed | StepState::Skipped) {
                fates[step as usize] = Fate::Resumes;
                changed.push((step, false));
            }
        }
        if let Some(from) = from.filter(|from| (*from as usize) < fates.len()) {
            fates[from as usize] = Fate::Again;
            changed.push((from, true));
        }
        while let Some((step, asked)) = changed.pop() {
            let needed_by = self.definition(step).map_or(&[][..], |step| &step.needed_by[..]);
            for needing in needed_by {
                let stays =
                    !asked && self.step(*needing).is_some_and(|run| run.state == StepState::Completed);
                if !stays && fates.get(*needing as usize).is_some_and(|fate| *fate != Fate::Again) {
                    fates[*needing as usize] = Fate::Again;
                    changed.push((*needing, asked));
                }
            }
        }
        fates
    }

    fn begin_anew(&mut self, step: StepIx) {
        self.set_state(step, StepState::Pending);
        if let Some(run) = self.step_mut(step) {
            *run = StepRun::new(0);
        }
    }

    fn resume(&mut self, step: StepIx) {
        let known = self.step(step).is_some_and(|run| run.items.is_some());
        if !known {
            return self.begin_anew(step);
        }
        self.set_state(step, StepState::Running);
        if let Some(run) = self.step_mut(step) {
            run.finished = None;
            run.tries = super::Tries::default();
            if let Some(items) = &mut run.items {
                items.resume();
            }
        }
    }

    fn count_unmet(&mut self, step: StepIx) {
        let needs = self.definition(step).map_or(&[][..], |step| &step.needs[..]);
        let unmet = needs.iter().filter(|need| !self.lets_go(**need)).count();
        if let Some(run) = self.step_mut(step) {
            run.unmet = u32::try_from(unmet).unwrap_or(u32::MAX);
        }
    }
}
