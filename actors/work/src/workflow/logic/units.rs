//! The ends of units, and what they make possible.

use super::{After, Coordinator, Note, Turn};
use crate::workflow::definition::{OnFailure, Retry, StepIx};
use crate::workflow::records::{Ended, Event, How, Unit};
use meshwork_kit::Backoff;
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, ErrorCode, MeshError, RunId};
use std::time::Duration;

/// How much of a step's back-off is random: many that failed together must not come back together.
const JITTER: f64 = 0.2;

impl Coordinator {
    /// A unit is finished well.
    pub(super) fn complete(
        &mut self,
        turn: &mut Turn<'_>,
        id: RunId,
        unit: Unit,
        output: (Payload, Cid),
        how: How,
        ended: Ended,
    ) {
        let (output, output_cid) = output;
        if how == How::Ran {
            self.keep_pure(turn, id, unit, &output, output_cid, &ended);
        }
        self.totals.units_completed += 1;
        self.note_end(turn, id, unit, "completed");
        self.emit(turn.now, id, Event::Completed { unit, output, output_cid, how, ended });
        self.after_unit(turn, id, unit);
    }

    /// An attempt failed: another one follows, or the unit has failed.
    pub(super) fn attempt_failed(
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
        let failed = live.run.tries(unit).map_or(0, |tries| tries.failed) + 1;
        if retry && failed < definition.retry.max_attempts {
            let delay = backoff(&definition.retry).delay(failed, &mut self.rng);
            let at = turn.now.after(delay);
            self.totals.retries += 1;
            self.emit(turn.now, id, Event::Failed { unit, error, retry_at: Some(at), ended });
            self.set_unit_timer(id, at, unit);
            // Its place may be taken by another item.
            return self.offer(id, unit.step);
        }
        self.totals.units_failed += 1;
        self.note_end(turn, id, unit, "failed");
        let told = error.clone();
        self.emit(turn.now, id, Event::Failed { unit, error, retry_at: None, ended });
        self.unit_failed(turn, id, unit, &told);
    }

    /// A unit has failed for good: the run goes on without its result, or fails with it.
    fn unit_failed(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit, error: &MeshError) {
        let Some(live) = self.runs.get(&id) else { return };
        if live.run.continues(unit.step) {
            return self.after_unit(turn, id, unit);
        }
        let Some(definition) = live.run.definition(unit.step) else { return };
        let compensate = matches!(definition.on_failure, OnFailure::Compensate);
        let (step, name) = (unit.step, definition.id.clone());
        let message = match unit.item {
            Some(item) => format!("step {name}, item {item}: {}", error.message),
            None => format!("step {name}: {}", error.message),
        };
        let told = MeshError::new(error.code, message);
        if unit.item.is_some() {
            let (unit, error) = (Unit::step(step), MeshError::new(error.code, item_message(unit, error)));
            self.emit(turn.now, id, Event::Failed { unit, error, retry_at: None, ended: Ended::default() });
        }
        let event = Event::Failing { step: Some(step), error: told, compensate };
        self.begin_ending(turn, id, event);
    }

    /// A unit is finished and the run goes on: what waited for it may begin.
    pub(super) fn after_unit(&mut self, turn: &mut Turn<'_>, id: RunId, unit: Unit) {
        if unit.item.is_some() {
            return self.after_items(id, unit.step);
        }
        let Some(live) = self.runs.get_mut(&id) else { return };
        let workflow = std::sync::Arc::clone(&live.run.workflow);
        live.starts.remove(&unit.step);
        if let Some(definition) = workflow.steps.get(unit.step as usize) {
            for needing in &definition.needed_by {
                if live.run.step(*needing).is_some_and(|step| step.unmet == 0) {
                    live.offer(*needing);
                }
            }
        }
        if live.run.unfinished == 0 {
            self.want_output(turn, id);
        }
        self.enqueue(id);
    }

    /// Some item of a step is finished, or its items became known.
    pub(super) fn after_items(&mut self, id: RunId, step: StepIx) {
        let Some(live) = self.runs.get_mut(&id) else { return };
        let finished =
            live.run.step(step).and_then(|run| run.items.as_ref()).is_some_and(|items| items.are_finished());
        if finished && live.run.may_go_on() {
            return self.after(After::Gather(id, step));
        }
        self.offer(id, step);
    }

    pub(super) fn note_end(&self, turn: &mut Turn<'_>, id: RunId, unit: Unit, outcome: &'static str) {
        let Some(step) = self.runs.get(&id).and_then(|live| live.run.step(unit.step)) else { return };
        if unit.item.is_none() {
            let took = turn.now.since(step.started.unwrap_or(turn.now));
            turn.note(Note::UnitEnded { took, outcome });
        }
    }
}

/// Whether the same attempt may have another end: of what a client sent wrongly, or gave up, it has not.
pub(super) fn may_retry(error: &MeshError) -> bool {
    !matches!(
        error.code,
        ErrorCode::Cancelled
            | ErrorCode::InvalidArgument
            | ErrorCode::InvalidJson
            | ErrorCode::InvalidWorkflow
            | ErrorCode::TooLarge
            | ErrorCode::Forbidden
            | ErrorCode::Expression
    )
}

pub(super) fn backoff(retry: &Retry) -> Backoff {
    let min = Duration::from_millis(retry.backoff_ms);
    let max = Duration::from_millis(retry.max_backoff_ms.max(retry.backoff_ms));
    Backoff { min, max, factor: retry.factor, jitter: JITTER }
}

fn item_message(unit: Unit, error: &MeshError) -> String {
    match unit.item {
        Some(item) => format!("item {item}: {}", error.message),
        None => error.message.clone(),
    }
}
