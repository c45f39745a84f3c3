//! Events: what happened in a run, and was decided about it. A run's state follows from them and from its definition
//! alone.

use crate::workflow::definition::StepIx;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::RunState;
use meshwork_proto::{Cid, Json, MeshError, PeerId, RunId, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// An event with when it happened and under which coordination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    /// When, by the clock of the peer that coordinated the run.
    pub at: UnixMillis,
    /// The epoch of that coordination.
    pub epoch: u32,
    /// What.
    pub event: Event,
}

/// What is started, retried and finished by itself: a step, or one item of a step with `for_each`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Which step, by its place in the definition.
    pub step: StepIx,
    /// Which item, from 0.
    pub item: Option<u32>,
}

impl Unit {
    /// A whole step.
    pub(crate) const fn step(step: StepIx) -> Self {
        Self { step, item: None }
    }

    /// An item of a step.
    pub(crate) const fn item(step: StepIx, item: u32) -> Self {
        Self { step, item: Some(item) }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            Some(item) => write!(f, "{}/{item}", self.step),
            None => write!(f, "{}/-", self.step),
        }
    }
}

/// How a unit came to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    /// Its task or sub-workflow gave it.
    Ran,
    /// It was made before, by a pure step with the same definition and input.
    Cached,
    /// It waited for a time.
    Waited,
    /// It waited for a signal: the event with this number.
    Signal(u64),
    /// The results of its items, in their order.
    Gathered,
}

/// By whom and where an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Its task.
    pub task: Option<TaskId>,
    /// Who ran it.
    pub peer: Option<PeerId>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The run was accepted.
    Submitted,
    /// It got its place among the running ones.
    Started,
    /// Nothing new is to be started.
    Paused {
        /// Who asked; none = a client of the coordinator.
        by: Option<PeerId>,
    },
    /// It goes on.
    Resumed {
        /// Who asked.
        by: Option<PeerId>,
    },
    /// Which peers may work on it.
    Spread {
        /// Empty = any.
        peers: BTreeSet<PeerId>,
        /// Who asked.
        by: Option<PeerId>,
    },
    /// The condition of a unit was false.
    Skipped {
        /// Which.
        unit: Unit,
    },
    /// The items of a step are known.
    Items {
        /// Which step.
        step: StepIx,
        /// How many.
        count: u32,
        /// The list.
        items: Payload,
    },
    /// An attempt is submitted to the queue.
    TaskBegun {
        /// Of which unit.
        unit: Unit,
        /// With this input and its content id; none = those of the attempt before.
        input: Option<(Payload, Cid)>,
    },
    /// A sub-workflow is submitted.
    SubBegun {
        /// For which unit.
        unit: Unit,
        /// Where: it is coordinated there.
        peer: PeerId,
        /// With these inputs and their content id; none = those of the attempt before.
        inputs: Option<(Payload, Cid)>,
    },
    /// A sub-workflow was accepted.
    SubPlaced {
        /// For which unit.
        unit: Unit,
        /// The run.
        run: RunId,
    },
    /// A unit waits for a signal or a time.
    Waiting {
        /// Which.
        unit: Unit,
        /// When the time comes, or the wait for the signal ends.
        until: Option<UnixMillis>,
    },
    /// A unit is finished well.
    Completed {
        /// Which.
        unit: Unit,
        /// The result.
        output: Payload,
        /// Content id of its canonical bytes.
        output_cid: Cid,
        /// How it came to it.
        how: How,
        /// By whom.
        ended: Ended,
    },
    /// An attempt failed.
    Failed {
        /// Of which unit.
        unit: Unit,
        /// What went wrong.
        error: MeshError,
        /// When it is tried again; none = the unit has failed.
        retry_at: Option<UnixMillis>,
        /// By whom.
        ended: Ended,
    },
    /// An attempt was taken back and does not count: the unit has not begun.
    Withdrawn {
        /// Of which unit.
        unit: Unit,
    },
    /// A unit that was under way was given up.
    Dropped {
        /// Which.
        unit: Unit,
    },
    /// A signal came.
    Signal {
        /// Its name.
        name: String,
        /// What came with it.
        payload: Json,
        /// Who sent it.
        by: Option<PeerId>,
    },
    /// The run fails: nothing more is started, what runs is cancelled.
    Failing {
        /// The step that it fails with.
        step: Option<StepIx>,
        /// Why.
        error: MeshError,
        /// Whether what completed is taken back.
        compensate: bool,
    },
    /// The run is given up.
    Cancelling {
        /// Why.
        reason: Option<String>,
        /// Whether what completed is taken back.
        compensate: bool,
        /// Who asked.
        by: Option<PeerId>,
    },
    /// An attempt to take a unit back is submitted to the queue.
    UndoBegun {
        /// Which.
        unit: Unit,
        /// With this input and its content id; none = those of the attempt before.
        input: Option<(Payload, Cid)>,
    },
    /// An attempt to take a unit back failed.
    UndoFailed {
        /// Which.
        unit: Unit,
        /// What went wrong.
        error: MeshError,
        /// When it is tried again; none = it stays as it is.
        retry_at: Option<UnixMillis>,
        /// By whom.
        ended: Ended,
    },
    /// A unit was taken back.
    Undone {
        /// Which.
        unit: Unit,
        /// By whom.
        ended: Ended,
    },
    /// The run is finished.
    Finished {
        /// How.
        state: RunState,
        /// The result, when completed.
        output: Option<Payload>,
        /// Content id of its canonical bytes.
        output_cid: Option<Cid>,
        /// Why it failed or was cancelled.
        error: Option<MeshError>,
    },
    /// The run goes on after its end.
    Retried {
        /// From this step on; none = what has not completed.
        from: Option<StepIx>,
        /// Who asked.
        by: Option<PeerId>,
    },
    /// Another peer is to coordinate the run: nothing more is started here.
    MoveBegun {
        /// Who.
        to: PeerId,
        /// The epoch under which it will.
        epoch: u32,
        /// Who asked.
        by: Option<PeerId>,
    },
    /// It stays here after all.
    MoveEnded {
        /// Why.
        error: MeshError,
        /// The epoch from now on.
        epoch: u32,
    },
    /// Another peer coordinates it.
    Moved {
        /// Who.
        to: PeerId,
        /// Under this epoch.
        epoch: u32,
    },
    /// It was taken over from another peer.
    TakenOver {
        /// From whom.
        from: PeerId,
        /// Under this epoch.
        epoch: u32,
    },
    /// The run that this one is a part of is coordinated by another peer.
    ParentMoved {
        /// Who.
        peer: PeerId,
    },
    /// What is not taken back yet stays as it is.
    UndoGivenUp {
        /// Who asked.
        by: Option<PeerId>,
    },
    /// Everything up to here goes to the peer that is to coordinate the run: from now on it may have it.
    Exported,
}

impl Event {
    /// Its stable name in histories.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Submitted => "run_submitted",
            Self::Started => "run_started",
            Self::Paused { .. } => "run_paused",
            Self::Resumed { .. } => "run_resumed",
            Self::Spread { .. } => "run_spread",
            Self::Skipped { .. } => "step_skipped",
            Self::Items { .. } => "step_items",
            Self::TaskBegun { .. } => "step_started",
            Self::SubBegun { .. } => "sub_workflow_started",
            Self::SubPlaced { .. } => "sub_workflow_accepted",
            Self::Waiting { .. } => "step_waiting",
            Self::Completed { .. } => "step_completed",
            Self::Failed { retry_at: Some(_), .. } => "attempt_failed",
            Self::Failed { .. } => "step_failed",
            Self::Withdrawn { .. } => "attempt_withdrawn",
            Self::Dropped { .. } => "step_cancelled",
            Self::Signal { .. } => "signal_received",
            Self::Failing { .. } => "run_failing",
            Self::Cancelling { .. } => "run_cancelling",
            Self::UndoBegun { .. } => "compensation_started",
            Self::UndoFailed { .. } => "compensation_failed",
            Self::Undone { .. } => "step_compensated",
            Self::Finished { .. } => "run_finished",
            Self::Retried { .. } => "run_retried",
            Self::MoveBegun { .. } => "hand_over_begun",
            Self::MoveEnded { .. } => "hand_over_ended",
            Self::Moved { .. } => "handed_over",
            Self::TakenOver { .. } => "taken_over",
            Self::ParentMoved { .. } => "parent_moved",
            Self::UndoGivenUp { .. } => "compensation_given_up",
            Self::Exported => "hand_over_sent",
        }
    }

    /// The unit it happened to.
    pub(crate) fn unit(&self) -> Option<Unit> {
        match self {
            Self::Skipped { unit }
            | Self::TaskBegun { unit, .. }
            | Self::SubBegun { unit, .. }
            | Self::SubPlaced { unit, .. }
            | Self::Waiting { unit, .. }
            | Self::Completed { unit, .. }
            | Self::Failed { unit, .. }
            | Self::Withdrawn { unit }
            | Self::Dropped { unit }
            | Self::UndoBegun { unit, .. }
            | Self::UndoFailed { unit, .. }
            | Self::Undone { unit, .. } => Some(*unit),
            Self::Items { step, .. } => Some(Unit::step(*step)),
            Self::Failing { step: Some(step), .. } | Self::Retried { from: Some(step), .. } => {
                Some(Unit::step(*step))
            }
            _ => None,
        }
    }

    /// The document that came with it.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Items { items, .. } => Some(items),
            Self::TaskBegun { input: Some((input, _)), .. }
            | Self::UndoBegun { input: Some((input, _)), .. }
            | Self::SubBegun { inputs: Some((input, _)), .. } => Some(input),
            Self::Completed { output, .. } => Some(output),
            Self::Finished { output: Some(output), .. } => Some(output),
            _ => None,
        }
    }
}
