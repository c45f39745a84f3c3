//! What a task is: its specification, its state, and what a worker or a reader sees of it.

use crate::{Cid, Coded, ErrorCode, Fence, Json, MeshError, PeerId, TaskId, UnixMillis, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Payloads and results up to this many bytes travel inside records and messages; larger ones are artifacts.
pub const INLINE_LIMIT: usize = 32 * 1024;
/// Lowest priority.
pub const MIN_PRIORITY: u8 = 1;
/// Priority when none is given.
pub const DEFAULT_PRIORITY: u8 = 5;
/// Highest priority: claimed first.
pub const MAX_PRIORITY: u8 = 10;
/// Attempts when none are given.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Most attempts a task may ask for.
pub const MAX_ATTEMPTS: u32 = 1000;
/// Longest name of a task type, tool, label, queue, tenant or key, in bytes.
pub const MAX_NAME: usize = 200;
/// Most labels a task may require.
pub const MAX_LABELS: usize = 32;
/// Largest metadata document, in bytes.
pub const MAX_METADATA: usize = 16 * 1024;
/// The task type whose payload names the tool: `{tool, arguments}`.
pub const TOOL_CALL: &str = "tool.call";

/// JSON that a task takes in or gives out: small ones inline, large ones by content id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// The document itself.
    Inline(Json),
    /// In the artifact store.
    Stored {
        /// Its content id.
        cid: Cid,
        /// Its length in bytes.
        len: u64,
    },
}

impl Payload {
    /// Length of the document in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(json) => json.len() as u64,
            Self::Stored { len, .. } => *len,
        }
    }

    /// Whether the document has no bytes (which no JSON document has).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The artifact it lives in, if it does.
    #[must_use]
    pub fn stored_cid(&self) -> Option<&Cid> {
        match self {
            Self::Inline(_) => None,
            Self::Stored { cid, .. } => Some(cid),
        }
    }
}

/// What somebody asks to have done. Everything here stays as it was submitted, but for what `update` may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// `tool.call`, or the name of the tool whose arguments are the payload.
    pub task_type: String,
    /// The tool that runs it: taken from the payload for `tool.call`, else the task type.
    pub tool: String,
    /// A model the task is for; part of the work's identity.
    pub model_name: Option<String>,
    /// Arguments.
    pub payload: Payload,
    /// Content id of the payload's canonical bytes.
    pub input_cid: Cid,
    /// 1 to 10; 10 is claimed first.
    pub priority: u8,
    /// Same key and same work gives the first task again.
    pub idempotency_key: Option<String>,
    /// How often it may be tried; failures count, lost leases do not.
    pub max_attempts: u32,
    /// Not before so many milliseconds after submission.
    pub delay_ms: u64,
    /// How long one attempt may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long it may wait in the queue before its first attempt, in milliseconds.
    pub expires_ms: Option<u64>,
    /// Labels a worker must have.
    pub labels: BTreeSet<String>,
    /// Only these peers may claim it; empty = any.
    pub target_peers: BTreeSet<PeerId>,
    /// Named queue; only informative grouping with its own counts.
    pub queue: Option<String>,
    /// Whose work it is, for limits and fairness.
    pub tenant: Option<String>,
    /// Tasks that share it run one at a time.
    pub concurrency_key: Option<String>,
    /// Free JSON object of the submitter.
    pub metadata: Option<Json>,
    /// Tasks this one came from.
    pub parents: Vec<TaskId>,
}

/// A specification that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct SpecError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with its value and what would be right.
    pub problem: String,
}

impl Coded for SpecError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }
}

impl TaskSpec {
    /// A specification with defaults for everything but the work itself.
    #[must_use]
    pub fn new(task_type: impl Into<String>, payload: Json, input_cid: Cid) -> Self {
        let task_type = task_type.into();
        Self {
            tool: task_type.clone(),
            task_type,
            model_name: None,
            payload: Payload::Inline(payload),
            input_cid,
            priority: DEFAULT_PRIORITY,
            idempotency_key: None,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            delay_ms: 0,
            timeout_ms: None,
            expires_ms: None,
            labels: BTreeSet::new(),
            target_peers: BTreeSet::new(),
            queue: None,
            tenant: None,
            concurrency_key: None,
            metadata: None,
            parents: Vec::new(),
        }
    }

    /// Checks every rule that does not depend on the node.
    ///
    /// # Errors
    /// The first rule that is broken, with the field and its value.
    pub fn check(&self) -> Result<(), SpecError> {
        let wrong = |field, problem: String| Err(SpecError { field, problem });
        check_name("task_type", &self.task_type)?;
        check_name("tool", &self.tool)?;
        for (field, value) in [
            ("model_name", &self.model_name),
            ("idempotency_key", &self.idempotency_key),
            ("queue", &self.queue),
            ("tenant", &self.tenant),
            ("concurrency_key", &self.concurrency_key),
        ] {
            if let Some(value) = value {
                check_name(field, value)?;
            }
        }
        check_labels(&self.labels)?;
        if !(MIN_PRIORITY..=MAX_PRIORITY).contains(&self.priority) {
            return wrong(
                "priority",
                format!("{} is out of range: expected 1 to 10, 10 is claimed first", self.priority),
            );
        }
        check_attempts(self.max_attempts)?;
        if self.timeout_ms == Some(0) || self.expires_ms == Some(0) {
            return wrong("timeout_s and expires_s", "must be larger than 0".into());
        }
        if self.parents.len() > 64 || self.target_peers.len() > 64 {
            return wrong("parents and target peers", "may name at most 64 each".into());
        }
        check_metadata(self.metadata.as_ref())
    }

    /// Whether two specifications ask for the same work: type, model and input.
    #[must_use]
    pub fn same_work(&self, other: &Self) -> bool {
        self.task_type == other.task_type
            && self.model_name == other.model_name
            && self.input_cid == other.input_cid
    }
}

/// Checks a limit of attempts.
///
/// # Errors
/// When it is 0 or above [`MAX_ATTEMPTS`].
pub fn check_attempts(max_attempts: u32) -> Result<(), SpecError> {
    if (1..=MAX_ATTEMPTS).contains(&max_attempts) {
        return Ok(());
    }
    Err(SpecError {
        field: "max_attempts",
        problem: format!("{max_attempts} is out of range: expected 1 to 1000"),
    })
}

/// Checks a set of labels.
///
/// # Errors
/// When there are too many or one is not a name.
pub fn check_labels(labels: &BTreeSet<String>) -> Result<(), SpecError> {
    if labels.len() > MAX_LABELS {
        return Err(SpecError {
            field: "labels",
            problem: format!("has {} entries: at most 32", labels.len()),
        });
    }
    labels.iter().try_for_each(|label| check_name("labels", label))
}

/// Checks a metadata document.
///
/// # Errors
/// When it is larger than [`MAX_METADATA`].
pub fn check_metadata(metadata: Option<&Json>) -> Result<(), SpecError> {
    match metadata {
        Some(json) if json.len() > MAX_METADATA => Err(SpecError {
            field: "metadata",
            problem: format!(
                "has {} bytes: at most {MAX_METADATA}; put large data into the payload",
                json.len()
            ),
        }),
        _ => Ok(()),
    }
}

fn check_name(field: &'static str, value: &str) -> Result<(), SpecError> {
    if value.is_empty() {
        return Err(SpecError { field, problem: "is empty: expected 1 to 200 visible characters".into() });
    }
    if value.len() > MAX_NAME || value.chars().any(char::is_control) {
        let shown = crate::id::clip(value);
        return Err(SpecError {
            field,
            problem: format!("{shown:?} is not a name: expected 1 to 200 visible characters"),
        });
    }
    Ok(())
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits to be claimed (perhaps for a time, a limit or a worker).
    Queued,
    /// Leased to a worker.
    Running,
    /// Finished well.
    Completed,
    /// Finished with an error.
    Failed,
    /// Given up by its submitter.
    Cancelled,
}

impl TaskStatus {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether nothing happens to the task any more by itself.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| SpecError {
            field: "status",
            problem: format!(
                "{:?} is unknown: expected queued, running, completed, failed or cancelled",
                crate::id::clip(text)
            ),
        })
    }
}

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Its fence.
    pub fence: Fence,
    /// Who held the lease.
    pub worker: WorkerId,
    /// When the lease was granted.
    pub started: UnixMillis,
    /// When it ended; none while it runs.
    pub ended: Option<UnixMillis>,
    /// What ended it; none while it runs or when it completed.
    pub error: Option<MeshError>,
}

/// How far a running task is, as its tool reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Work done so far, in the tool's own unit.
    pub done: f64,
    /// All the work there is, when the tool knows.
    pub total: Option<f64>,
    /// What it is doing.
    pub message: Option<String>,
    /// The last lines of its log (bounded).
    pub log: Vec<String>,
}

/// Why a queued task is not running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitingFor {
    /// Nobody who asked for work lately serves this tool.
    NoWorkerForType {
        /// The tool.
        tool: String,
    },
    /// Workers serve the tool, but none has all the labels (or is among the target peers).
    NoWorkerWithLabels {
        /// Labels that no such worker has together.
        labels: Vec<String>,
        /// Workers that serve the tool.
        workers: u32,
    },
    /// Its time has not come (delay, or back-off after a failure).
    NotBefore {
        /// When it may run.
        at: UnixMillis,
    },
    /// Another task with its concurrency key runs.
    ConcurrencyKey {
        /// The key.
        key: String,
    },
    /// Its tenant runs as many tasks as it may.
    TenantLimit {
        /// The tenant.
        tenant: String,
        /// The limit.
        limit: u32,
    },
    /// Workers that could run it are busy; so many tasks are ahead of it or as good.
    BusyWorkers {
        /// Workers that could run it.
        workers: u32,
    },
    /// It runs: this worker holds the lease.
    Lease {
        /// Who.
        worker: WorkerId,
        /// Until when, unless renewed.
        until: UnixMillis,
    },
    /// The node is draining.
    Draining,
}

/// A task as its submitter reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Id.
    pub id: TaskId,
    /// What was asked.
    pub spec: TaskSpec,
    /// The peer that submitted it; none = a client of the owner itself.
    pub submitter: Option<PeerId>,
    /// Where it stands.
    pub status: TaskStatus,
    /// Attempts begun.
    pub attempts: u32,
    /// Leases lost (worker gone); at the limit the task fails.
    pub lease_losses: u32,
    /// The latest attempts, oldest first (bounded).
    pub history: Vec<Attempt>,
    /// Who holds the lease, or held it last.
    pub worker: Option<WorkerId>,
    /// The latest fence.
    pub fence: Fence,
    /// End of the lease, while it runs.
    pub lease_until: Option<UnixMillis>,
    /// A running task that somebody cancelled; its worker has been told.
    pub cancel_requested: bool,
    /// Progress of the running attempt.
    pub progress: Option<Progress>,
    /// The result, when completed.
    pub output: Option<Payload>,
    /// Content id of the result's canonical bytes.
    pub output_cid: Option<Cid>,
    /// The error, when failed or cancelled; the last attempt's while it waits for the next.
    pub error: Option<MeshError>,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// When it finished.
    pub finished: Option<UnixMillis>,
    /// Why it is not running, when it is queued; who holds it, when it runs.
    pub waiting_for: Option<WaitingFor>,
}

/// A claimed task, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGrant {
    /// Id.
    pub id: TaskId,
    /// Task type as submitted.
    pub task_type: String,
    /// The tool to run.
    pub tool: String,
    /// A model, if the task names one.
    pub model_name: Option<String>,
    /// Payload as submitted; for `tool.call` the arguments are its member `arguments`.
    pub payload: Payload,
    /// Content id of the payload.
    pub input_cid: Cid,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Fence to report with.
    pub fence: Fence,
    /// Length of the lease in milliseconds, from the moment the claim was sent.
    pub lease_ms: u64,
    /// How long the attempt may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Metadata of the submitter.
    pub metadata: Option<Json>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TaskSpec {
        let payload = Json::from_value(&serde_json::json!({"text": "hi"}));
        let cid = Cid::of(payload.bytes());
        TaskSpec::new("echo", payload, cid)
    }

    #[test]
    fn the_defaults_are_a_valid_specification() {
        assert_eq!(spec().check(), Ok(()));
    }

    #[test]
    fn every_broken_rule_names_its_field() {
        type Break = fn(&mut TaskSpec);
        let cases: [(&str, Break); 6] = [
            ("task_type", |s| s.task_type = String::new()),
            ("priority", |s| s.priority = 11),
            ("max_attempts", |s| s.max_attempts = 0),
            ("labels", |s| s.labels = (0..40).map(|n| n.to_string()).collect()),
            ("tenant", |s| s.tenant = Some("x".repeat(500))),
            ("metadata", |s| s.metadata = Some(Json::from_value(&"x".repeat(20_000).into()))),
        ];
        for (field, breaks) in cases {
            let mut broken = spec();
            breaks(&mut broken);
            assert_eq!(broken.check().unwrap_err().field, field);
        }
    }
}
