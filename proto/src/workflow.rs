//! Messages to the workflow coordinator: runs of workflows, what is done with them, and how they are shown ([`view`]).

mod coordinate;
mod error;
mod view;

pub use coordinate::{CoordinateRun, Coordinated, TakeOverRun, TakenOver};
pub use error::{Problem, WorkflowError};
pub use view::{
    DagEdge, DagNode, DagView, HistoryEntry, HistoryPage, ItemCounts, RunPage, RunState, RunSummary, RunView,
    StepKind, StepState, StepView,
};

use crate::task::{Payload, TaskStatus};
use crate::{Caller, Cid, Json, MeshError, PeerId, Request, RunId, TaskId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A message to the coordinator with who sent it.
#[derive(Debug, Clone)]
pub struct By<T> {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub op: T,
}

/// What can be asked of a coordinator; [`By`] makes it a message.
pub trait WorkflowOp: Send + 'static {
    /// The answer.
    type Answer: Send + 'static;
    /// Stable name in metrics and errors.
    const NAME: &'static str;
}

impl<T: WorkflowOp> Request for By<T> {
    type Reply = Result<T::Answer, WorkflowError>;
    const NAME: &'static str = T::NAME;
}

macro_rules! workflow_op {
    ($op:ty => $answer:ty, $name:literal) => {
        impl WorkflowOp for $op {
            type Answer = $answer;
            const NAME: &'static str = $name;
        }
    };
}
pub(crate) use workflow_op;

/// Accepts a run; answered when it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitRun {
    /// The definition, a JSON document: what a person wrote, in the long or in the short form.
    pub definition: Payload,
    /// Content id of the definition's canonical bytes.
    pub definition_cid: Cid,
    /// The inputs by name, a JSON object.
    pub inputs: Payload,
    /// Content id of the inputs' canonical bytes.
    pub inputs_cid: Cid,
    /// Only these peers may work on its steps; empty = any.
    pub target_peers: BTreeSet<PeerId>,
    /// Same key and same definition and inputs gives the first run again.
    pub idempotency_key: Option<String>,
    /// Tools that nobody serves now are no error: their steps wait until somebody does.
    pub allow_unknown_tools: bool,
    /// The run and the step that this run is a part of.
    pub parent: Option<ParentStep>,
}
workflow_op!(SubmitRun => RunSubmitted, "submit_run");

/// The step of another run that a run was started for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentStep {
    /// Who coordinates that run.
    pub peer: PeerId,
    /// Which run.
    pub run: RunId,
    /// Id of the step.
    pub step: String,
    /// How many runs are above this one; bounded.
    pub depth: u8,
}

/// An accepted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSubmitted {
    /// Its id; the first run's if the idempotency key was known.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Whether the idempotency key was known and nothing new was made.
    pub existing: bool,
}

/// Checks a definition, and inputs if there are any, without running anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateWorkflow {
    /// The definition.
    pub definition: Payload,
    /// Inputs by name.
    pub inputs: Option<Payload>,
    /// Tools that nobody serves now are no error.
    pub allow_unknown_tools: bool,
}
workflow_op!(ValidateWorkflow => Validated, "validate_workflow");

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// Name of the workflow.
    pub name: String,
    /// Ids of its steps, each behind those that it needs.
    pub order: Vec<String>,
    /// What is wrong; empty = it can be run.
    pub problems: Vec<Problem>,
}

/// Reads a run. It waits, at most `wait_ms`, until the run is finished; with `seen`, until its version is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRun {
    /// Which.
    pub id: RunId,
    /// How long to wait, in milliseconds; capped by the coordinator.
    pub wait_ms: u64,
    /// The version that the asker knows (see [`RunView::version`]).
    pub seen: Option<u64>,
    /// With its steps.
    pub steps: bool,
}
workflow_op!(GetRun => RunView, "get_run");

/// Lists runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListRuns {
    /// Only this state.
    pub state: Option<RunState>,
    /// Only runs of a workflow with this name.
    pub name: Option<String>,
    /// At most so many; capped at 1000; 0 = 100.
    pub limit: u32,
    /// The last id of the page before.
    pub cursor: Option<RunId>,
}
workflow_op!(ListRuns => RunPage, "list_runs");

/// Changes the course of a run; answered when that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRun {
    /// Which.
    pub id: RunId,
    /// How.
    pub action: RunAction,
}
workflow_op!(ControlRun => RunChanged, "control_run");

/// What can be done with a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAction {
    /// Give it up: running steps are cancelled.
    Cancel {
        /// Why.
        reason: Option<String>,
        /// Whether what completed and has a compensation is taken back.
        compensate: bool,
    },
    /// Start no further steps; running ones go on.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Deliver a signal; a step that waits for it later finds it too.
    Signal {
        /// Name of the signal.
        name: String,
        /// What comes with it; becomes the output of the step that waits.
        payload: Json,
    },
    /// Run a failed or cancelled run on: steps that completed stay so.
    Retry {
        /// From this step on: it and all that need it run again, whatever became of them; none = what has not completed.
        from: Option<String>,
    },
    /// Keep a run that is being handed over to a peer that does not answer. If that peer has taken it over without being
    /// heard, both go on with it, and steps may run twice, until the run is handed over from here to there once more: what
    /// that peer did is void then.
    TakeBack,
}

/// Where a run stands after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunChanged {
    /// Which.
    pub id: RunId,
    /// Its state now.
    pub state: RunState,
}

/// Asks for the graph of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDag {
    /// Which.
    pub id: RunId,
}
workflow_op!(GetDag => DagView, "get_dag");

/// Reads what happened in a run, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetHistory {
    /// Which.
    pub id: RunId,
    /// The last sequence number of the page before; none = from the start.
    pub after: Option<u64>,
    /// At most so many entries; capped at 1000; 0 = 100.
    pub limit: u32,
}
workflow_op!(GetHistory => HistoryPage, "get_history");

/// Asks which tools the mesh has, with their schemas (a port that is served beside the gateway's mailbox).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeTools {
    /// Names of interest.
    pub names: BTreeSet<String>,
}

impl Request for DescribeTools {
    /// What is known of those that somebody serves now; when some are not served, the names of other tools as well, with
    /// nothing about them.
    type Reply = Result<BTreeMap<String, ToolShape>, MeshError>;
    const NAME: &'static str = "describe_tools";
}

/// What a tool takes and gives, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolShape {
    /// JSON Schema of the arguments; none when only its name is known (a worker that claims by hand).
    pub input_schema: Option<Json>,
    /// JSON Schema of the result.
    pub output_schema: Option<Json>,
    /// Peers that serve it.
    pub peers: BTreeSet<PeerId>,
}

/// A task that the coordinator submitted is finished (tell, from the queue, when that is durable).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEnded {
    /// Which.
    pub id: TaskId,
    /// `completed`, `failed` or `cancelled`.
    pub status: TaskStatus,
    /// Who ran it last.
    pub worker: Option<WorkerId>,
    /// Attempts begun.
    pub attempts: u32,
    /// The result, when completed.
    pub output: Option<Payload>,
    /// Content id of the result's canonical bytes.
    pub output_cid: Option<Cid>,
    /// The error otherwise.
    pub error: Option<MeshError>,
}

impl Request for TaskEnded {
    type Reply = ();
    const NAME: &'static str = "task_ended";
}
