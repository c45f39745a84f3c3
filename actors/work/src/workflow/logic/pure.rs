//! Results of pure steps: kept under what they were made from, so that the same need not be done again.

use super::{Coordinator, Turn};
use crate::workflow::definition::{Step, TaskAction};
use crate::workflow::logic::tasks::task_action;
use crate::workflow::records::{PureRecord, Unit, pure_age_key, pure_holder, pure_key};
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, RunId};
use serde_json::json;

/// What a result of a step was made from: the work, where it may be done, and the input.
pub(crate) fn digest(step: &Step, action: &TaskAction, input_cid: &Cid) -> [u8; 32] {
    let work = json!([
        action.task_type,
        action.tool,
        action.model,
        step.place.labels,
        step.place.capability,
        input_cid.to_string(),
    ]);
    *Cid::of(work.to_string().as_bytes()).digest()
}

impl Coordinator {
    /// Keeps the result of a unit, if its step is pure.
    pub(super) fn keep_pure(
        &mut self,
        turn: &Turn<'_>,
        id: RunId,
        unit: Unit,
        output: &Payload,
        output_cid: Cid,
    ) {
        let Some(live) = self.runs.get(&id) else { return };
        let Some(step) = live.run.definition(unit.step).filter(|step| step.pure) else { return };
        let Some(action) = task_action(step) else { return };
        let Some(input_cid) = live.run.tries(unit).and_then(|tries| tries.input_cid.as_deref()) else {
            return;
        };
        let digest = digest(step, action, input_cid);
        let record = PureRecord { output: output.clone(), output_cid, at: turn.now };
        let batch = &mut self.outgoing.batch;
        batch.put(pure_key(&digest), &record);
        let held = output.stored_cid().map(|cid| cid.to_bytes().into());
        batch.put_raw(pure_age_key(turn.now, &digest), held.unwrap_or_default());
        batch.pin_payload(output, || pure_holder(&digest));
        self.counts.kept_mut().pure += 1;
    }
}
