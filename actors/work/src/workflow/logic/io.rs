//! What goes into the state machine and what comes out of it.

use super::doc::Doc;
use super::pure::PureScope;
use crate::workflow::definition::{StepIx, Workflow};
use crate::workflow::records::{EventRecord, HeaderRecord, Unit};
use bytes::Bytes;
use meshwork_proto::store::{Acknowledge, Admission, Scan, StoreError, WriteOp};
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::workflow::{
    ControlRun, CoordinateRun, Coordinated, DagView, GetDag, GetHistory, GetRun, HistoryPage, ListRuns,
    RunChanged, RunPage, RunSubmitted, RunView, SubmitRun, TakeOverRun, TakenOver, WorkflowError,
};
use meshwork_proto::{Cid, Json, MeshError, PeerId, RunId, TaskId, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub u64);)*
    };
}

numbers! {
    /// A request whose asker waits; chosen by the driver, never twice.
    Ticket;
    /// A commit whose result the driver brings back.
    CommitId;
    /// A read whose result the driver brings back.
    ReadId;
    /// A check of a submission whose result the driver brings back.
    CheckId;
    /// Something that is under way for a run: an evaluation, a task, a sub-workflow.
    FlightId;
}

/// What is asked of the coordinator.
#[allow(
    clippy::large_enum_variant,
    reason = "a request is moved a few times; boxing would cost an allocation each"
)]
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Submit(SubmitRun),
    Get(GetRun),
    List(ListRuns),
    Control(ControlRun),
    Dag(GetDag),
    History(GetHistory),
    Coordinate(CoordinateRun),
    TakeOver(TakeOverRun),
}

/// What the coordinator answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Submitted(RunSubmitted),
    Run(Box<Shown>),
    Page(RunPage),
    Changed(RunChanged),
    Dag(Box<DagView>),
    History(HistoryPage),
    Coordinated(Coordinated),
    TakenOver(TakenOver),
    Refused(WorkflowError),
}

/// A run as it is shown, and what only the queue knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// The view.
    pub view: RunView,
    /// Tasks under way that the queue is asked about.
    pub tasks: Vec<ShownTask>,
}

/// A task under way, and who may do it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShownTask {
    /// Its step, by its place in the view.
    pub step: usize,
    /// Its id.
    pub task: TaskId,
    /// What its worker serves.
    pub tool: String,
    /// Labels that its worker has.
    pub labels: BTreeSet<String>,
    /// Peers that may do it; empty = any.
    pub targets: BTreeSet<PeerId>,
    /// Other steps whose tasks the same workers may do: they wait for the same.
    pub alike: Vec<usize>,
}

/// A submission that was checked: it can be run.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// The definition, ready to be run.
    pub workflow: Arc<Workflow>,
    /// The inputs, defaults filled in.
    pub inputs: Payload,
    /// Content id of these.
    pub inputs_cid: Cid,
}

/// A run as the store has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// What was submitted.
    pub header: HeaderRecord,
    /// The definition, ready to be run.
    pub workflow: Arc<Workflow>,
    /// What happened, with its number.
    pub events: Vec<(u64, EventRecord)>,
}

/// What a read asks for.
#[derive(Debug)]
pub(crate) enum ReadPlan {
    /// Values by key.
    Keys(Vec<Bytes>),
    /// A range.
    Range(Scan),
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Of [`ReadPlan::Keys`], in the same order.
    Values(Vec<Option<Bytes>>),
    /// Of [`ReadPlan::Range`].
    Entries(Vec<(Bytes, Bytes)>),
}

/// What an evaluation is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// The condition, and the items of a step with `for_each`.
    Items,
    /// The condition, and the input of a unit, or the time it waits for.
    Input,
    /// The input of a unit's compensation.
    Undo,
    /// The results of the items of a step, in their order: the events that have them, 0 = null.
    Gather(Vec<u64>),
    /// The result of the run.
    Output,
}

/// An outcome that an expression may read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StepDoc {
    /// The step's result.
    Output(Doc),
    /// It was skipped.
    Nothing,
    /// It failed, and the run goes on.
    Failed(MeshError),
}

/// An evaluation that has to be done outside.
#[derive(Debug, Clone)]
pub(crate) struct Prepare {
    /// What it is for.
    pub flight: FlightId,
    /// The run.
    pub run: RunId,
    /// Its definition.
    pub workflow: Arc<Workflow>,
    /// Which unit; the step 0 when it is the run's result.
    pub unit: Unit,
    /// What.
    pub wanted: Wanted,
    /// The run's inputs, if they are read.
    pub inputs: Option<Doc>,
    /// Outcomes of steps that are read.
    pub steps: Vec<(StepIx, StepDoc)>,
    /// The list that the item is taken from.
    pub items: Option<Doc>,
    /// When the run was submitted.
    pub created: UnixMillis,
    /// How many items the run may have beyond those it has.
    pub room: u64,
    /// How many it may have at all.
    pub max_items: u32,
    /// What its result is looked for under, when the input of a pure step is evaluated.
    pub pure: Option<Box<PureScope>>,
}

/// What an evaluation gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Prepared {
    /// The condition is false.
    Skip,
    /// The items of a step.
    Items { count: u32, items: Payload },
    /// The input of a task, a sub-workflow or a compensation.
    Input { input: Payload, input_cid: Cid },
    /// The step is pure and its result is known.
    Cached { output: Payload, output_cid: Cid },
    /// The unit waits, until this time if there is one.
    Wait { until: Option<UnixMillis> },
    /// The result of a run, or of all items of a step.
    Output { output: Payload, output_cid: Cid },
    /// There is none.
    Failed(MeshError),
    /// Documents could not be read or written now.
    Unavailable(MeshError),
}

/// A task to submit.
#[derive(Debug, Clone)]
pub(crate) struct SubmitTask {
    /// What it is for.
    pub flight: FlightId,
    /// The run.
    pub run: RunId,
    /// The specification; its payload is only right if `read` is none.
    pub spec: TaskSpec,
    /// The event that has the input.
    pub read: Option<u64>,
}

/// A sub-workflow at another peer.
#[derive(Debug, Clone)]
pub(crate) enum SubCall {
    /// Submit it.
    Submit(Box<SubSubmit>),
    /// Wait for its end.
    Watch(RunId),
    /// Give it up.
    Cancel {
        /// The run.
        run: RunId,
        /// Whether what completed in it is taken back.
        compensate: bool,
    },
}

/// A submission, as a request or for a sub-workflow.
#[derive(Debug, Clone)]
pub(crate) struct SubSubmit {
    /// The submission; its inputs are only right if `read` is none.
    pub submit: SubmitRun,
    /// The event of this run that has the inputs.
    pub read: Option<(RunId, u64)>,
}

/// A sub-workflow that a peer accepted.
#[derive(Debug, Clone)]
pub(crate) struct PlacedPart {
    /// Who.
    pub peer: PeerId,
    /// The run that it is a part of.
    pub parent: RunId,
    /// The key under which it was submitted.
    pub key: String,
    /// Its run.
    pub run: RunId,
}

/// What came of a [`SubCall`].
#[derive(Debug, Clone)]
pub(crate) enum SubAnswer {
    /// It was accepted.
    Placed(RunId),
    /// It is not finished.
    Running,
    /// It is finished; a large result is in the own store.
    Ended(SubEnd),
    /// Another peer coordinates it now.
    Moved(PeerId),
    /// The peer said no, or could not be asked.
    Failed {
        /// Why.
        error: MeshError,
        /// Asking again will not help.
        definite: bool,
        /// It may have done what was asked all the same.
        unsure: bool,
    },
}

/// How a sub-workflow ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SubEnd {
    /// Its result and the content id of that, or its error.
    pub result: Result<(Payload, Cid), MeshError>,
    /// Who coordinated it.
    pub peer: PeerId,
}

/// Everything of a run, to be handed over.
#[derive(Debug, Clone)]
pub(crate) struct HandOver {
    /// Which.
    pub run: RunId,
    /// To whom.
    pub to: PeerId,
    /// Under which epoch.
    pub epoch: u32,
}

/// What came of a [`HandOver`].
#[derive(Debug, Clone)]
pub(crate) enum Handed {
    /// The peer has it, or had it and gave it to somebody else.
    Taken,
    /// The peer will not have it.
    Refused {
        /// Why.
        error: MeshError,
        /// It never had it, whatever became of earlier attempts.
        never: bool,
    },
    /// It could not be done now.
    Failed {
        /// Why.
        error: MeshError,
        /// The peer may have taken it all the same, or may still do so.
        unsure: bool,
    },
}

/// What has to be done outside.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Write, after all commits before it. What is in `then` may be done as soon as it has been sent.
    Commit {
        id: CommitId,
        ops: Vec<WriteOp>,
        acknowledge: Acknowledge,
        admission: Admission,
        then: Vec<Effect>,
    },
    /// Read, after every commit that was acknowledged before.
    Read { id: ReadId, plan: ReadPlan },
    /// Read everything of a run that is not in memory.
    Load(RunId),
    /// Check a submission.
    Check { id: CheckId, submit: Box<SubSubmit> },
    /// Evaluate.
    Prepare(Box<Prepare>),
    /// Submit a task to the own queue.
    SubmitTask(Box<SubmitTask>),
    /// Give up a task.
    CancelTask { flight: FlightId, task: TaskId, reason: String },
    /// Tell the queue that every step from before the start was asked after.
    StepsKnown,
    /// Ask for the end of a task again.
    WatchTask { flight: FlightId, task: TaskId },
    /// Call a peer about a sub-workflow.
    CallSub { flight: FlightId, peer: PeerId, call: SubCall },
    /// Hand a run over.
    HandOver(Box<HandOver>),
    /// Fetch everything of a run from the peer that hands it over.
    Fetch { from: PeerId, what: TakeOverRun },
    /// Answer a request.
    Answer(Ticket, Answer),
    /// Something to count or measure.
    Note(Note),
    /// This state is of no use any more: answer everybody with the error and build another.
    Fatal(StoreError),
}

/// Something that metrics count or measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// A unit was finished, this way, after this time.
    UnitEnded { took: Duration, outcome: &'static str },
    /// A run was finished, this way, after this time.
    RunEnded { took: Duration, outcome: &'static str },
}

/// What surrounds one call of the state machine.
pub(crate) struct Turn<'a> {
    /// The time, which goes on evenly.
    pub now: UnixMillis,
    /// The time on the wall, which may be set: what people plan goes by it.
    pub wall: UnixMillis,
    /// Where effects go.
    pub out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.out.push(Effect::Answer(ticket, answer));
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, error: impl Into<WorkflowError>) {
        self.answer(ticket, Answer::Refused(error.into()));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Effect::Note(note));
    }
}

impl Found {
    /// A value by place.
    pub(super) fn value(&self, place: usize) -> Option<&Bytes> {
        match self {
            Self::Values(values) => values.get(place)?.as_ref(),
            Self::Entries(_) => None,
        }
    }

    /// The entries of a range.
    pub(super) fn entries(self) -> Vec<(Bytes, Bytes)> {
        match self {
            Self::Values(_) => Vec::new(),
            Self::Entries(entries) => entries,
        }
    }
}

impl Op {
    /// The run it is about, if it is about one that must be known.
    pub(super) fn run(&self) -> Option<RunId> {
        match self {
            Self::Get(get) => Some(get.id),
            Self::Control(control) => Some(control.id),
            Self::Dag(dag) => Some(dag.id),
            Self::History(history) => Some(history.id),
            Self::Coordinate(coordinate) => Some(coordinate.id),
            Self::Submit(_) | Self::List(_) | Self::TakeOver(_) => None,
        }
    }
}

/// The document `null`.
pub(crate) fn null() -> (Payload, Cid) {
    const NULL: &[u8] = b"null";
    (Payload::Inline(Json::from_checked(Bytes::from_static(NULL))), Cid::of(NULL))
}
