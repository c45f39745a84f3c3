//! Messages to the queue: the only writer of task records.

use crate::task::{Payload, Progress, TaskGrant, TaskSpec, TaskStatus, TaskView};
use crate::{
    Caller, Coded, ErrorCode, Fence, Json, MeshError, PeerId, Request, TaskId, UnixMillis, WorkerId,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A message to the queue with who sent it.
#[derive(Debug, Clone)]
pub struct By<T> {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub op: T,
}

/// What can be asked of a queue; [`By`] makes it a message.
pub trait QueueOp: Send + 'static {
    /// The answer.
    type Answer: Send + 'static;
    /// Stable name in metrics and errors.
    const NAME: &'static str;
}

impl<T: QueueOp> Request for By<T> {
    type Reply = Result<T::Answer, QueueError>;
    const NAME: &'static str = T::NAME;
}

macro_rules! queue_op {
    ($op:ty => $answer:ty, $name:literal) => {
        impl QueueOp for $op {
            type Answer = $answer;
            const NAME: &'static str = $name;
        }
    };
}

/// Why the queue refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The specification breaks a rule.
    #[error(transparent)]
    Spec(#[from] crate::task::SpecError),
    /// No such task, or not the caller's to see.
    #[error("no task {0} on this node: check the id and the peer it was submitted to")]
    UnknownTask(TaskId),
    /// The state does not allow it.
    #[error("task {id} is {status}: {wanted}")]
    WrongState {
        /// Which task.
        id: TaskId,
        /// Its state.
        status: TaskStatus,
        /// What the operation needs.
        wanted: &'static str,
    },
    /// The reporter does not hold the lease any more.
    #[error(
        "fence {given} of task {id} is stale: the lease was taken over (current fence {current}); nothing was changed"
    )]
    StaleFence {
        /// Which task.
        id: TaskId,
        /// The reporter's fence.
        given: Fence,
        /// The latest fence.
        current: Fence,
    },
    /// The idempotency key stands for other work.
    #[error("idempotency key {key:?} was used for different work by task {first}: use another key")]
    IdempotencyConflict {
        /// The key.
        key: String,
        /// The task that used it.
        first: TaskId,
    },
    /// The queue is full.
    #[error("queue holds {held} of at most {max} unfinished tasks: wait until some are finished")]
    Full {
        /// Unfinished tasks.
        held: u64,
        /// The limit.
        max: u64,
    },
    /// The payload is too large.
    #[error("payload of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The node is draining.
    #[error("node is draining and takes no new work: submit to another peer")]
    Draining,
    /// Another argument is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The store failed or is full.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl Coded for QueueError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Spec(error) => error.code(),
            Self::UnknownTask(_) => ErrorCode::UnknownTask,
            Self::WrongState { .. } => ErrorCode::WrongState,
            Self::StaleFence { .. } => ErrorCode::StaleFence,
            Self::IdempotencyConflict { .. } => ErrorCode::IdempotencyConflict,
            Self::Full { .. } => ErrorCode::QueueFull,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Draining => ErrorCode::Draining,
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::Store(error) => error.code(),
        }
    }
}

/// Accepts a task; answered when it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit(pub TaskSpec);
queue_op!(Submit => Submitted, "submit");

/// An accepted task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id; the first task's if the idempotency key was known.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// Whether the idempotency key was known and nothing new was made.
    pub existing: bool,
}

/// Accepts a task as [`Submit`] does, and tells its end to the coordinator ([`crate::workflow::TaskEnded`]). Only for parts of this
/// node. Of a task that is finished already (known by its idempotency key) the end is told at once. The wish to be told is
/// in memory only: whoever waits long asks again with [`WatchTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitStep(pub TaskSpec);
queue_op!(SubmitStep => Submitted, "submit_step");

/// Tells the end of a task to the coordinator; answered with where it stands now. If it is finished already, the end
/// is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchTask {
    /// Which.
    pub id: TaskId,
}
queue_op!(WatchTask => Submitted, "watch_task");

/// Asks for work. With `credits` 0 it only waits until there is work that fits, and claims nothing: an idle worker
/// can so listen at many owners without being given more than it has room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who claims.
    pub worker: WorkerId,
    /// What it can run.
    pub offer: Offer,
    /// At most so many tasks.
    pub credits: u32,
    /// How long to wait if there is nothing, in milliseconds; capped by the queue.
    pub wait_ms: u64,
}
queue_op!(Claim => Claimed, "claim");

/// What a worker can run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Offer {
    /// Tools it serves, with how many more calls of each it has room for.
    pub tools: BTreeMap<String, u32>,
    /// Labels it has.
    pub labels: BTreeSet<String>,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claimed {
    /// Tasks now leased to the worker.
    pub grants: Vec<TaskGrant>,
    /// Whether more work that fits is waiting.
    pub more: bool,
}

/// Renews leases and reports progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Renew {
    /// Who holds them.
    pub worker: WorkerId,
    /// Which.
    pub leases: Vec<LeaseReport>,
}
queue_op!(Renew => Vec<Renewal>, "renew");

/// One lease to renew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Which task.
    pub id: TaskId,
    /// Its fence.
    pub fence: Fence,
    /// Progress since the last report.
    pub progress: Option<Progress>,
}

/// What became of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Renewal {
    /// It holds for so many more milliseconds.
    Renewed {
        /// From now.
        lease_ms: u64,
    },
    /// It holds, but the task was cancelled: stop working and report it as failed with code `cancelled`.
    CancelRequested,
    /// Somebody else holds it, or the task is finished or gone: stop working, do not report.
    Lost,
}

/// Reports the end of an attempt; answered when it is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Which task.
    pub id: TaskId,
    /// Its fence.
    pub fence: Fence,
    /// Who worked on it.
    pub worker: WorkerId,
    /// How it went.
    pub outcome: Outcome,
}
queue_op!(Finish => Finished, "finish");

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With a result.
    Completed {
        /// The result.
        output: Payload,
        /// Content id of its canonical bytes.
        output_cid: crate::Cid,
    },
    /// With an error.
    Failed {
        /// What went wrong.
        error: MeshError,
        /// Whether another attempt may help.
        retry: bool,
    },
    /// Not done, through no fault of the task (the worker drains): it goes back and no attempt is counted.
    Released {
        /// Why.
        reason: String,
    },
}

/// What became of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Its state now: `queued` when it will be tried again.
    pub status: TaskStatus,
    /// When it will be tried again.
    pub retry_at: Option<UnixMillis>,
}

/// Gives up a task: a queued one at once, a running one when its worker has stopped or its lease ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which.
    pub id: TaskId,
    /// Why.
    pub reason: Option<String>,
}
queue_op!(Cancel => Submitted, "cancel");

/// Changes what may be changed of an unfinished task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskChanges {
    /// New metadata.
    pub metadata: Option<Json>,
    /// New labels a worker must have.
    pub labels: Option<BTreeSet<String>>,
    /// New limit of attempts.
    pub max_attempts: Option<u32>,
    /// New run time limit in milliseconds.
    pub timeout_ms: Option<u64>,
    /// New waiting limit in milliseconds, from submission.
    pub expires_ms: Option<u64>,
    /// New priority.
    pub priority: Option<u8>,
}

/// Applies changes to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Which.
    pub id: TaskId,
    /// What changes.
    pub changes: TaskChanges,
}
queue_op!(Update => TaskView, "update");

/// Puts a finished task back into the queue, with its history, for a fresh set of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resubmit {
    /// Which.
    pub id: TaskId,
    /// Not before so many milliseconds from now.
    pub delay_ms: u64,
}
queue_op!(Resubmit => Submitted, "resubmit");

/// Reads a task; with `wait_ms`, waits until it is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetTask {
    /// Which.
    pub id: TaskId,
    /// How long to wait for the end, in milliseconds; capped by the queue.
    pub wait_ms: u64,
}
queue_op!(GetTask => TaskView, "get_task");

/// Lists tasks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct List {
    /// Only this state.
    pub status: Option<TaskStatus>,
    /// Only this type.
    pub task_type: Option<String>,
    /// At most so many; capped at 1000.
    pub limit: u32,
    /// The last id of the page before.
    pub cursor: Option<TaskId>,
}
queue_op!(List => TaskPage, "list");

/// A page of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where the next page starts; none at the end.
    pub next: Option<TaskId>,
}

/// Asks for counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// With counts by type and per worker.
    pub detail: bool,
}
queue_op!(Stats => QueueStats, "stats");

/// Counts of a queue.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QueueStats {
    /// Tasks by state.
    pub by_status: BTreeMap<TaskStatus, u64>,
    /// Unfinished tasks by type and state (with `detail`).
    pub by_type: BTreeMap<String, BTreeMap<TaskStatus, u64>>,
    /// Age of the oldest task that may be claimed, in milliseconds.
    pub oldest_ready_ms: Option<u64>,
    /// Tasks that wait for a time.
    pub delayed: u64,
    /// Tools that queued tasks need and nobody serves.
    pub unserved_tools: Vec<String>,
    /// Workers seen lately.
    pub workers: Vec<WorkerView>,
    /// Most unfinished tasks.
    pub max_tasks: u64,
    /// Largest payload in bytes.
    pub max_payload_bytes: u64,
    /// Whether the node is draining.
    pub draining: bool,
    /// Since the start: submitted, claimed, completed, failed, retried, leases lost, stale reports refused.
    pub totals: BTreeMap<String, u64>,
}

/// A worker as the queue knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Id.
    pub worker: WorkerId,
    /// Whether it is this node's own executor.
    pub local: bool,
    /// Tools it offered last.
    pub tools: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// Leases it holds.
    pub running: u32,
    /// Attempts it completed, since the owner's start.
    pub completed: u64,
    /// Attempts it failed.
    pub failed: u64,
    /// Leases it lost.
    pub lost: u64,
    /// When it last asked or reported.
    pub last_seen: UnixMillis,
}

/// Stops taking new work: submits and claims are refused, running tasks go on. Answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartDraining;
queue_op!(StartDraining => u64, "start_draining");

/// The coordinator of workflows has asked again after every step that was under way when the node ended (tell, after its
/// start): finished tasks may be forgotten from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepsKnown;

impl Request for StepsKnown {
    type Reply = ();
    const NAME: &'static str = "steps_known";
}

/// A worker's connection is gone (tell, from transport): its leases are freed after the grace time.
#[derive(Debug, Clone)]
pub struct WorkerPeerLost(pub PeerId);

impl Request for WorkerPeerLost {
    type Reply = ();
    const NAME: &'static str = "worker_peer_lost";
}

/// A worker's connection is back (tell, from transport): its leases hold again.
#[derive(Debug, Clone)]
pub struct WorkerPeerBack(pub PeerId);

impl Request for WorkerPeerBack {
    type Reply = ();
    const NAME: &'static str = "worker_peer_back";
}
