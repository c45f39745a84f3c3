//! Runs and steps as clients read them: plain JSON, times in seconds.

use crate::tools::record::{ErrorOut, ProgressOut, WaitingOut, at};
use meshwork_proto::PeerId;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{ItemCounts, ParentStep, RunSummary, RunView, StepView};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A run as its submitter reads it. Points in time are seconds since 1970-01-01 UTC.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunRecord {
    /// The run's id.
    workflow_id: String,
    /// Name of the workflow.
    name: String,
    /// pending, running, paused, completed, failed or cancelled.
    state: String,
    /// The peer that coordinates it.
    peer_id: String,
    /// The coordinator first, then who coordinates its sub-workflows, then its target peers.
    coordinating_peers: Vec<String>,
    /// Its steps in the order of the definition; empty when they were not asked for.
    steps: Vec<StepRecord>,
    /// Number of steps by state.
    counts: BTreeMap<String, u32>,
    /// The result, when completed; null while it is not, and when it is too large to be shown.
    output: Value,
    /// Why it failed or was cancelled.
    error: Option<ErrorOut>,
    /// What it waits for as a whole, in words; null when nothing holds it up.
    waiting_for: Option<String>,
    /// Grows with everything that happens to the run; see seen_version.
    version: u64,
    /// Raised each time another peer takes the coordination over.
    epoch: u32,
    /// Content id of the definition.
    definition_cid: String,
    /// Content id of the inputs.
    inputs_cid: String,
    /// Content id of the result.
    output_cid: Option<String>,
    /// Length of the result in bytes.
    output_len: Option<u64>,
    /// The peer that submitted it; null = a client of the coordinator.
    submitter: Option<String>,
    /// The step of another run that it was started for.
    parent: Option<ParentOut>,
    /// When it was submitted.
    created: f64,
    /// When its first steps were started.
    started: Option<f64>,
    /// When it last changed.
    updated: f64,
    /// When it finished.
    finished: Option<f64>,
    /// What to do next, when there is something to say.
    hint: Option<String>,
}

impl RunRecord {
    /// The record of a run that this peer answered for, with its output as it is shown.
    pub(super) fn new(peer: &PeerId, run: &RunView, output: Value, hint: Option<String>) -> Self {
        let texts = |peers: &[PeerId]| peers.iter().map(ToString::to_string).collect();
        Self {
            workflow_id: run.id.to_string(),
            name: run.name.clone(),
            state: run.state.to_string(),
            peer_id: peer.to_string(),
            coordinating_peers: texts(&run.coordinating_peers),
            steps: run.steps.iter().map(StepRecord::from).collect(),
            counts: run.counts.iter().map(|(state, count)| (state.to_string(), *count)).collect(),
            output,
            error: run.error.as_ref().map(ErrorOut::from),
            waiting_for: run.waiting_for.clone(),
            version: run.version,
            epoch: run.epoch,
            definition_cid: run.definition_cid.to_string(),
            inputs_cid: run.inputs_cid.to_string(),
            output_cid: run.output_cid.as_ref().map(ToString::to_string),
            output_len: run.output.as_ref().map(Payload::len),
            submitter: run.submitter.as_ref().map(ToString::to_string),
            parent: run.parent.as_ref().map(ParentOut::from),
            created: at(run.created),
            started: run.started.map(at),
            updated: at(run.updated),
            finished: run.finished.map(at),
            hint,
        }
    }
}

/// The step of another run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ParentOut {
    /// Who coordinates that run.
    peer_id: String,
    /// Its id.
    workflow_id: String,
    /// The step.
    step: String,
}

impl From<&ParentStep> for ParentOut {
    fn from(parent: &ParentStep) -> Self {
        Self {
            peer_id: parent.peer.to_string(),
            workflow_id: parent.run.to_string(),
            step: parent.step.clone(),
        }
    }
}

/// A step. What it does not have is left out, for there may be many.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StepRecord {
    /// Its id in the definition.
    id: String,
    /// task, workflow or wait.
    kind: String,
    /// Its tool or task type, the name of its sub-workflow, or what it waits for.
    what: String,
    /// pending, running, waiting, retrying, completed, failed, skipped, cancelled or compensated.
    state: String,
    /// Who runs it, or ran it last.
    peer: Option<String>,
    /// Attempts begun; of all items together when it has items.
    attempt: u32,
    /// Most attempts.
    max_attempts: u32,
    /// Steps that it needs.
    needs: Vec<String>,
    /// Its task in the queue of the coordinator.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// The run of its sub-workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunOut>,
    /// Its items by state, when it has for_each.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<ItemsOut>,
    /// Whether its result was taken from an earlier run, because it is pure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    /// Content id of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_cid: Option<String>,
    /// Length of its result in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_len: Option<u64>,
    /// What went wrong; in the last attempt while it waits for the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorOut>,
    /// When its first attempt was submitted, in seconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<f64>,
    /// When it finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<f64>,
    /// When its next attempt or the end of its wait comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<f64>,
    /// How far its tool says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressOut>,
    /// Why its task is not running, or who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<WaitingOut>,
}

impl From<&StepView> for StepRecord {
    fn from(step: &StepView) -> Self {
        Self {
            id: step.id.clone(),
            kind: step.kind.to_string(),
            what: step.what.clone(),
            state: step.state.to_string(),
            peer: step.peer.as_ref().map(ToString::to_string),
            attempt: step.attempt,
            max_attempts: step.max_attempts,
            needs: step.needs.clone(),
            task_id: step.task.map(|task| task.to_string()),
            run: step
                .run
                .as_ref()
                .map(|(peer, run)| RunOut { peer_id: peer.to_string(), workflow_id: run.to_string() }),
            items: step.items.map(ItemsOut::from),
            cached: step.cached,
            output_cid: step.output_cid.as_ref().map(ToString::to_string),
            output_len: step.output_len,
            error: step.error.as_ref().map(ErrorOut::from),
            started: step.started.map(at),
            finished: step.finished.map(at),
            due: step.due.map(at),
            progress: step.progress.as_ref().map(ProgressOut::from),
            waiting_for: step.waiting_for.as_ref().map(WaitingOut::from),
        }
    }
}

/// The run of a sub-workflow.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunOut {
    /// Who coordinates it.
    peer_id: String,
    /// Its id.
    workflow_id: String,
}

/// Items of a step with for_each, by state.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ItemsOut {
    /// All items.
    total: u32,
    /// Not begun.
    pending: u32,
    /// Under way.
    running: u32,
    /// Finished well or skipped.
    completed: u32,
    /// Finished with an error, or given up.
    failed: u32,
}

impl From<ItemCounts> for ItemsOut {
    fn from(counts: ItemCounts) -> Self {
        let ItemCounts { total, pending, running, completed, failed } = counts;
        Self { total, pending, running, completed, failed }
    }
}

/// A run in a list; its steps and its result come from p2p_workflow_status.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunSummaryOut {
    /// The run's id.
    workflow_id: String,
    /// Name of the workflow.
    name: String,
    /// pending, running, paused, completed, failed or cancelled.
    state: String,
    /// Number of its steps.
    steps: u32,
    /// Number of its finished steps.
    finished_steps: u32,
    /// The peer that coordinates it now, when it was handed over.
    moved_to: Option<String>,
    /// Why it failed or was cancelled.
    error: Option<ErrorOut>,
    /// When it was submitted, in seconds since 1970-01-01 UTC.
    created: f64,
    /// When it finished.
    finished: Option<f64>,
}

impl From<&RunSummary> for RunSummaryOut {
    fn from(run: &RunSummary) -> Self {
        Self {
            workflow_id: run.id.to_string(),
            name: run.name.clone(),
            state: run.state.to_string(),
            steps: run.steps,
            finished_steps: run.finished_steps,
            moved_to: run.moved_to.as_ref().map(ToString::to_string),
            error: run.error.as_ref().map(ErrorOut::from),
            created: at(run.created),
            finished: run.finished.map(at),
        }
    }
}
