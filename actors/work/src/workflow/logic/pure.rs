//! Results of pure steps: kept under what they were made from, so that the same need not be done again.

use super::{Coordinator, Turn};
use crate::workflow::definition::TaskAction;
use crate::workflow::logic::tasks::task_action;
use crate::workflow::records::{Ended, PureRecord, Unit, pure_age_key, pure_holder, pure_key};
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, PeerId, RunId};
use serde_json::json;
use std::collections::BTreeSet;

/// Raised when results are to be told apart by something else: those of before are not found any more, and forgotten
/// with time.
const VERSION: u32 = 2;

/// For whom, and by whom, a pure step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PureScope {
    /// Who submitted the run; none = a client of this node. Nobody gets results that others have brought about: what a
    /// peer's client has done by a worker that it chose says nothing to anybody else.
    submitter: Option<PeerId>,
    /// Labels that its worker has: what a tool answers may depend on them.
    labels: BTreeSet<String>,
    /// Peers that may do it, those that a step names or another step chose included; empty = any.
    targets: BTreeSet<PeerId>,
}

impl PureScope {
    /// What the result of a task with this input is kept under.
    pub(crate) fn digest(&self, action: &TaskAction, input_cid: &Cid) -> [u8; 32] {
        let targets: Vec<&str> = self.targets.iter().map(PeerId::as_str).collect();
        let work = json!([
            VERSION,
            self.submitter.as_ref().map(PeerId::as_str),
            action.task_type,
            action.tool,
            action.model,
            self.labels,
            targets,
            input_cid.to_string(),
        ]);
        *Cid::of(work.to_string().as_bytes()).digest()
    }
}

impl Coordinator {
    /// For whom and by whom a unit is done, if its step is pure.
    pub(super) fn pure_scope(&self, id: RunId, unit: Unit) -> Option<PureScope> {
        let run = &self.runs.get(&id)?.run;
        let step = run.definition(unit.step).filter(|step| step.pure)?;
        let (labels, targets) = self.place_of(id, step, task_action(step)?);
        Some(PureScope { submitter: run.submitter.clone(), labels, targets })
    }

    /// Keeps the result of a unit, if its step is pure.
    pub(super) fn keep_pure(
        &mut self,
        turn: &Turn<'_>,
        id: RunId,
        unit: Unit,
        output: &Payload,
        output_cid: Cid,
        ended: &Ended,
    ) {
        let Some(scope) = self.pure_scope(id, unit) else { return };
        // Who may do it may have changed since it was begun.
        let by_another = ended.peer.as_ref().is_some_and(|peer| !scope.targets.contains(peer));
        if by_another && !scope.targets.is_empty() {
            return;
        }
        let Some(live) = self.runs.get(&id) else { return };
        let Some(action) = live.run.definition(unit.step).and_then(task_action) else { return };
        let Some(input_cid) = live.run.tries(unit).and_then(|tries| tries.input_cid.as_deref()) else {
            return;
        };
        let digest = scope.digest(action, input_cid);
        let record = PureRecord { output: output.clone(), output_cid, at: turn.now };
        let batch = &mut self.outgoing.batch;
        batch.put(pure_key(&digest), &record);
        let held = output.stored_cid().map(|cid| cid.to_bytes().into());
        batch.put_raw(pure_age_key(turn.now, &digest), held.unwrap_or_default());
        batch.pin_payload(output, || pure_holder(&digest));
        self.counts.kept_mut().pure += 1;
    }
}
