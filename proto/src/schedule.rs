//! Messages to the scheduler: what is started at times, by cron expressions and intervals.

use crate::task::TaskSpec;
use crate::workflow::SubmitRun;
use crate::{Caller, Coded, ErrorCode, MeshError, PeerId, Request, RunId, ScheduleId, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};

/// A message to the scheduler with who sent it.
#[derive(Debug, Clone)]
pub struct By<T> {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub op: T,
}

/// What can be asked of a scheduler; [`By`] makes it a message.
pub trait ScheduleOp: Send + 'static {
    /// The answer.
    type Answer: Send + 'static;
    /// Stable name in metrics and errors.
    const NAME: &'static str;
}

impl<T: ScheduleOp> Request for By<T> {
    type Reply = Result<T::Answer, ScheduleError>;
    const NAME: &'static str = T::NAME;
}

macro_rules! schedule_op {
    ($op:ty => $answer:ty, $name:literal) => {
        impl ScheduleOp for $op {
            type Answer = $answer;
            const NAME: &'static str = $name;
        }
    };
}

/// When something is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// By a cron expression of five fields, or six with seconds first.
    Cron {
        /// The expression.
        expression: String,
        /// IANA name of the time zone; `UTC` when none was given.
        timezone: String,
    },
    /// Every so many milliseconds, counted from when the schedule was made.
    Every {
        /// At least 1000.
        interval_ms: u64,
    },
}

/// What becomes of times that passed while the node was down or the schedule was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One start for all of them together.
    #[default]
    Once,
    /// A start for each, the latest 100 at most.
    All,
}

/// What is started.
#[allow(clippy::large_enum_variant, reason = "moved a few times and then stored")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheduled {
    /// A task.
    Task(TaskSpec),
    /// A run of a workflow.
    Workflow(SubmitRun),
}

/// Makes a schedule; answered when it is durable. The same name and the same content gives the first one again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddSchedule {
    /// Name, unique on its node.
    pub name: String,
    /// When.
    pub timing: Timing,
    /// Missed times.
    pub missed: Missed,
    /// While the last start is not finished, no other one is made.
    pub no_overlap: bool,
    /// What.
    pub what: Scheduled,
}
schedule_op!(AddSchedule => ScheduleView, "add_schedule");

/// Lists schedules by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListSchedules {
    /// Only this one.
    pub name: Option<String>,
}
schedule_op!(ListSchedules => Vec<ScheduleView>, "list_schedules");

/// Changes a schedule; answered when that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlSchedule {
    /// Its id or its name.
    pub which: String,
    /// How.
    pub action: ScheduleAction,
}
schedule_op!(ControlSchedule => ScheduleView, "control_schedule");

/// What can be done with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScheduleAction {
    /// Start nothing until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Forget it; what it started goes on.
    Remove,
    /// Start once now, beside its times.
    Trigger,
}

/// A schedule as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Id.
    pub id: ScheduleId,
    /// Name.
    pub name: String,
    /// When.
    pub timing: Timing,
    /// Missed times.
    pub missed: Missed,
    /// Whether starts may overlap.
    pub no_overlap: bool,
    /// Tool or name of the workflow that is started.
    pub what: String,
    /// Whether that is a workflow.
    pub workflow: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// The peer that made it; none = a client of this node.
    pub submitter: Option<PeerId>,
    /// When it was made.
    pub created: UnixMillis,
    /// The next time; none while it is paused or when there is none.
    pub next: Option<UnixMillis>,
    /// The latest starts, newest first; at most 10.
    pub last: Vec<Started>,
    /// Starts so far.
    pub starts: u64,
    /// Times that were missed and not made up for, or left out because the last start had not finished.
    pub skipped: u64,
}

/// One start of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The time it was due.
    pub due: UnixMillis,
    /// When it was made.
    pub at: UnixMillis,
    /// The task.
    pub task: Option<TaskId>,
    /// The run.
    pub run: Option<RunId>,
    /// Why it could not be made.
    pub error: Option<MeshError>,
}

/// Why the scheduler refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No such schedule, or not the caller's to see.
    #[error("no schedule {0:?} on this node: see p2p_schedule_list")]
    Unknown(String),
    /// The name is taken.
    #[error("schedule {name:?} exists with other content: remove it first, or use another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// As many schedules as there may be.
    #[error("node holds {max} schedules, which is the limit: remove some")]
    Full {
        /// The limit.
        max: u32,
    },
    /// An argument is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// What is to be started was refused.
    #[error(transparent)]
    Refused(MeshError),
    /// The scheduler cannot answer now.
    #[error("{0}")]
    Unavailable(String),
    /// The store failed or is full.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl Coded for ScheduleError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownSchedule,
            Self::NameTaken { .. } => ErrorCode::IdempotencyConflict,
            Self::Full { .. } => ErrorCode::QueueFull,
            Self::Invalid { .. } => ErrorCode::InvalidArgument,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Refused(error) => error.code,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Store(error) => error.code(),
        }
    }
}
