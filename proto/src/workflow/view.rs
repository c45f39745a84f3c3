//! How runs are shown.

use super::ParentStep;
use crate::task::{Payload, Progress, WaitingFor};
use crate::{Cid, Json, MeshError, PeerId, RunId, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident: $($(#[$state_doc:meta])* $variant:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$state_doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(format!(
                        "{:?} is unknown: expected one of {}",
                        crate::id::clip(other),
                        [$($text,)*].join(", ")
                    )),
                }
            }
        }
    };
}

states! {
    /// Where a run stands.
    RunState:
    /// Accepted; waits for a place among the running ones.
    Pending = "pending",
    /// Steps are started as they become ready.
    Running = "running",
    /// Nothing new is started until it is resumed.
    Paused = "paused",
    /// Finished well.
    Completed = "completed",
    /// Finished with an error; compensation, where there is any, has been run.
    Failed = "failed",
    /// Given up.
    Cancelled = "cancelled",
}

impl RunState {
    /// Whether nothing happens to the run any more by itself.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

states! {
    /// Where a step stands.
    StepState:
    /// Steps that it needs are not finished, or the run is paused or has no place for it.
    Pending = "pending",
    /// Its task is in the queue or runs; its items, sub-workflow or compensation do.
    Running = "running",
    /// Waits for its signal or its time.
    Waiting = "waiting",
    /// Failed, and waits for its next attempt.
    Retrying = "retrying",
    /// Finished well.
    Completed = "completed",
    /// Finished with an error.
    Failed = "failed",
    /// Its condition was false.
    Skipped = "skipped",
    /// Given up, or not begun before the run ended.
    Cancelled = "cancelled",
    /// Completed, and taken back since.
    Compensated = "compensated",
}

impl StepState {
    /// Whether nothing happens to the step any more by itself.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled | Self::Compensated)
    }
}

states! {
    /// What a step does.
    StepKind:
    /// Calls a tool, or has a task of some type done.
    Task = "task",
    /// Runs another workflow.
    Workflow = "workflow",
    /// Waits for a signal or a time.
    Wait = "wait",
}

/// A run as its submitter reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Id.
    pub id: RunId,
    /// Name of the workflow.
    pub name: String,
    /// Where it stands.
    pub state: RunState,
    /// Grows with everything that happens to the run.
    pub version: u64,
    /// Content id of the definition.
    pub definition_cid: Cid,
    /// Content id of the inputs, defaults filled in.
    pub inputs_cid: Cid,
    /// The peer that submitted it; none = a client of the coordinator itself.
    pub submitter: Option<PeerId>,
    /// The step of another run that it was started for.
    pub parent: Option<ParentStep>,
    /// The coordinator first, then who coordinates its sub-workflows, then its target peers.
    pub coordinating_peers: Vec<PeerId>,
    /// Raised at each hand-over.
    pub epoch: u32,
    /// Its steps in the order of the definition; empty if they were not asked for.
    pub steps: Vec<StepView>,
    /// Steps by state.
    pub counts: Vec<(StepState, u32)>,
    /// The result, when completed.
    pub output: Option<Payload>,
    /// Content id of the result.
    pub output_cid: Option<Cid>,
    /// Why it failed or was cancelled.
    pub error: Option<MeshError>,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When it got its place; none while it is pending.
    pub started: Option<UnixMillis>,
    /// When it last changed.
    pub updated: UnixMillis,
    /// When it finished.
    pub finished: Option<UnixMillis>,
    /// What it waits for as a whole, in words; none when nothing holds it up.
    pub waiting_for: Option<String>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Id, as the definition names it.
    pub id: String,
    /// What it does.
    pub kind: StepKind,
    /// Tool or task type; the name of the sub-workflow; what is waited for.
    pub what: String,
    /// Where it stands.
    pub state: StepState,
    /// Attempts begun; for a step with items, of all items together.
    pub attempt: u32,
    /// Most attempts.
    pub max_attempts: u32,
    /// Who runs it or ran it last.
    pub peer: Option<PeerId>,
    /// Its task, while there is one.
    pub task: Option<TaskId>,
    /// The run of its sub-workflow and who coordinates it.
    pub run: Option<(PeerId, RunId)>,
    /// Its items by state, when it has `for_each`.
    pub items: Option<ItemCounts>,
    /// Whether the result was taken from an earlier run, because the step is pure.
    pub cached: bool,
    /// Content id of the result.
    pub output_cid: Option<Cid>,
    /// Length of the result in bytes.
    pub output_len: Option<u64>,
    /// What went wrong; the last attempt's while it waits for the next.
    pub error: Option<MeshError>,
    /// When its first attempt was submitted.
    pub started: Option<UnixMillis>,
    /// When it finished.
    pub finished: Option<UnixMillis>,
    /// When the next attempt or the end of the wait comes.
    pub due: Option<UnixMillis>,
    /// Progress of the running task.
    pub progress: Option<Progress>,
    /// Why its task is not running, or who holds it.
    pub waiting_for: Option<WaitingFor>,
    /// Steps that it needs.
    pub needs: Vec<String>,
}

/// Items of a step with `for_each`, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ItemCounts {
    /// All items.
    pub total: u32,
    /// Not begun.
    pub pending: u32,
    /// Under way, back-off included.
    pub running: u32,
    /// Finished well, skipped ones included.
    pub completed: u32,
    /// Finished with an error, or given up.
    pub failed: u32,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Id.
    pub id: RunId,
    /// Name of the workflow.
    pub name: String,
    /// Where it stands.
    pub state: RunState,
    /// All steps.
    pub steps: u32,
    /// Finished steps.
    pub finished_steps: u32,
    /// Who coordinates it, when it was handed over to another peer.
    pub moved_to: Option<PeerId>,
    /// Why it failed or was cancelled.
    pub error: Option<MeshError>,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When it finished.
    pub finished: Option<UnixMillis>,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the next page starts; none at the end.
    pub next: Option<RunId>,
}

/// The graph of a run, with the states of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagView {
    /// Id of the run.
    pub id: RunId,
    /// Name of the workflow.
    pub name: String,
    /// Where the run stands.
    pub state: RunState,
    /// Its steps.
    pub nodes: Vec<DagNode>,
    /// Who needs whom.
    pub edges: Vec<DagEdge>,
    /// Ids of the steps on the longest chain by time (steps that have not run count as nothing, ties by the longer chain).
    pub critical_path: Vec<String>,
    /// How long that chain took so far, in milliseconds.
    pub critical_ms: u64,
}

/// A step in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagNode {
    /// Id.
    pub id: String,
    /// What it does.
    pub kind: StepKind,
    /// Tool or task type; the name of the sub-workflow; what is waited for.
    pub what: String,
    /// Where it stands.
    pub state: StepState,
    /// Number of items, when it has `for_each` and they are known.
    pub items: Option<u32>,
    /// How long it took so far, in milliseconds.
    pub duration_ms: u64,
}

/// A step that needs another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagEdge {
    /// The step that is needed.
    pub from: String,
    /// The step that needs it.
    pub to: String,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Sequence number within the run, from 1.
    pub seq: u64,
    /// When.
    pub at: UnixMillis,
    /// What: a stable name such as `step_started`.
    pub kind: String,
    /// The step it happened to.
    pub step: Option<String>,
    /// The item of that step, from 0.
    pub item: Option<u32>,
    /// A sentence for a person.
    pub text: String,
    /// Everything that is known of it, a JSON object.
    pub detail: Json,
}

/// A page of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// What happened, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// Ask on behind this sequence number; none at the end.
    pub next: Option<u64>,
}
