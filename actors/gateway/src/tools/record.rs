//! Tasks and peers as clients read them: plain JSON, times in seconds.

use meshwork_proto::discovery::{Advertisement, PeerView};
use meshwork_proto::queue::WorkerView;
use meshwork_proto::task::{Attempt, Payload, Progress, TaskView, WaitingFor};
use meshwork_proto::{MeshError, PeerId, UnixMillis};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Seconds, from milliseconds.
pub(crate) fn secs(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Seconds since 1970-01-01 UTC.
pub(crate) fn at(time: UnixMillis) -> f64 {
    secs(time.0)
}

/// An error of a task or an attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorOut {
    /// Stable code.
    code: String,
    /// What went wrong.
    message: String,
}

impl From<&MeshError> for ErrorOut {
    fn from(error: &MeshError) -> Self {
        Self { code: error.code.as_str().to_owned(), message: error.message.clone() }
    }
}

/// A task as its submitter reads it. Points in time are seconds since 1970-01-01 UTC.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskRecord {
    /// The task's id.
    task_id: String,
    /// The peer that owns it.
    peer_id: String,
    /// Its type.
    task_type: String,
    /// The tool that runs it.
    tool: String,
    /// queued, running, completed, failed or cancelled.
    status: String,
    /// Why it is not running, or who runs it.
    waiting_for: Option<WaitingOut>,
    /// 1 to 10; 10 first.
    priority: u8,
    /// Attempts begun.
    attempts: u32,
    /// Attempts it may have.
    max_attempts: u32,
    /// Workers it lost.
    lease_losses: u32,
    /// Who holds its lease, or held it last.
    worker: Option<String>,
    /// The fence of the latest lease.
    fence: u64,
    /// When the lease ends unless it is renewed.
    lease_until: Option<f64>,
    /// It runs, but was cancelled: its worker has been told.
    cancel_requested: bool,
    /// How far its tool says it is.
    progress: Option<ProgressOut>,
    /// Its attempts, oldest first.
    history: Vec<AttemptOut>,
    /// Its payload; null when it is large.
    payload: Option<Value>,
    /// Length of its payload in bytes.
    payload_len: u64,
    /// Content id of its payload.
    input_cid: String,
    /// Content id of its result.
    output_cid: Option<String>,
    /// Length of its result in bytes.
    result_len: Option<u64>,
    /// What went wrong, in the last attempt or for good.
    error: Option<ErrorOut>,
    /// The peer that submitted it; null = a client of the owner.
    submitter: Option<String>,
    /// Model it is for.
    model_name: Option<String>,
    /// Labels a worker must have.
    labels: Vec<String>,
    /// Named queue.
    queue: Option<String>,
    /// Whose work it is.
    tenant: Option<String>,
    /// Tasks that share it run one at a time.
    concurrency_key: Option<String>,
    /// Same key and same work is one task.
    idempotency_key: Option<String>,
    /// Free data of the submitter.
    metadata: Option<Value>,
    /// Delay asked for, in seconds.
    delay_s: f64,
    /// How long one attempt may run, in seconds.
    timeout_s: Option<f64>,
    /// How long it may wait for its first attempt, in seconds.
    expires_s: Option<f64>,
    /// When it was submitted.
    created: f64,
    /// When it last changed.
    updated: f64,
    /// When it finished.
    finished: Option<f64>,
}

impl TaskRecord {
    pub(crate) fn new(peer: &PeerId, task: &TaskView) -> Self {
        let spec = &task.spec;
        Self {
            task_id: task.id.to_string(),
            peer_id: peer.to_string(),
            task_type: spec.task_type.clone(),
            tool: spec.tool.clone(),
            status: task.status.to_string(),
            waiting_for: task.waiting_for.as_ref().map(WaitingOut::from),
            priority: spec.priority,
            attempts: task.attempts,
            max_attempts: spec.max_attempts,
            lease_losses: task.lease_losses,
            worker: task.worker.as_ref().map(ToString::to_string),
            fence: task.fence.0,
            lease_until: task.lease_until.map(at),
            cancel_requested: task.cancel_requested,
            progress: task.progress.as_ref().map(ProgressOut::from),
            history: task.history.iter().map(AttemptOut::from).collect(),
            payload: match &spec.payload {
                Payload::Inline(json) => Some(json.to_value()),
                Payload::Stored { .. } => None,
            },
            payload_len: spec.payload.len(),
            input_cid: spec.input_cid.to_string(),
            output_cid: task.output_cid.as_ref().map(ToString::to_string),
            result_len: task.output.as_ref().map(Payload::len),
            error: task.error.as_ref().map(ErrorOut::from),
            submitter: task.submitter.as_ref().map(ToString::to_string),
            model_name: spec.model_name.clone(),
            labels: spec.labels.iter().cloned().collect(),
            queue: spec.queue.clone(),
            tenant: spec.tenant.clone(),
            concurrency_key: spec.concurrency_key.clone(),
            idempotency_key: spec.idempotency_key.clone(),
            metadata: spec.metadata.as_ref().map(meshwork_proto::Json::to_value),
            delay_s: secs(spec.delay_ms),
            timeout_s: spec.timeout_ms.map(secs),
            expires_s: spec.expires_ms.map(secs),
            created: at(task.created),
            updated: at(task.updated),
            finished: task.finished.map(at),
        }
    }
}

/// A task in a list: what a table needs; the whole record comes from p2p_taskqueue_task_status.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskSummary {
    /// The task's id.
    task_id: String,
    /// Its type.
    task_type: String,
    /// The tool that runs it.
    tool: String,
    /// queued, running, completed, failed or cancelled.
    status: String,
    /// Why it is not running, in a word.
    waiting_for: Option<String>,
    /// 1 to 10; 10 first.
    priority: u8,
    /// Attempts begun.
    attempts: u32,
    /// Who holds its lease, or held it last.
    worker: Option<String>,
    /// Content id of its result.
    output_cid: Option<String>,
    /// What went wrong.
    error: Option<ErrorOut>,
    /// When it was submitted, in seconds since 1970-01-01 UTC.
    created: f64,
    /// When it last changed.
    updated: f64,
    /// When it finished.
    finished: Option<f64>,
}

impl From<&TaskView> for TaskSummary {
    fn from(task: &TaskView) -> Self {
        Self {
            task_id: task.id.to_string(),
            task_type: task.spec.task_type.clone(),
            tool: task.spec.tool.clone(),
            status: task.status.to_string(),
            waiting_for: task.waiting_for.as_ref().map(|why| WaitingOut::from(why).reason),
            priority: task.spec.priority,
            attempts: task.attempts,
            worker: task.worker.as_ref().map(ToString::to_string),
            output_cid: task.output_cid.as_ref().map(ToString::to_string),
            error: task.error.as_ref().map(ErrorOut::from),
            created: at(task.created),
            updated: at(task.updated),
            finished: task.finished.map(at),
        }
    }
}

/// Why a task is not running, or who runs it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct WaitingOut {
    /// no_worker_for_type, no_worker_with_labels, not_before, concurrency_key, tenant_limit, busy_workers, lease or
    /// draining.
    reason: String,
    /// The same as a sentence.
    message: String,
    /// The tool that nobody serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// Labels that no worker has together.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
    /// Workers that serve the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u32>,
    /// When it may run, or when the lease ends, in seconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<f64>,
    /// The concurrency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The limit that is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    /// Who holds the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

impl From<&WaitingFor> for WaitingOut {
    fn from(why: &WaitingFor) -> Self {
        let says = |reason: &str, message: String| Self { reason: reason.into(), message, ..Self::default() };
        match why {
            WaitingFor::NoWorkerForType { tool } => Self {
                tool: Some(tool.clone()),
                ..says("no_worker_for_type", format!("no connected worker serves the tool {tool:?}"))
            },
            WaitingFor::NoWorkerWithLabels { labels, workers } => Self {
                labels: Some(labels.clone()),
                workers: Some(*workers),
                ..says("no_worker_with_labels", no_worker_with(labels, *workers))
            },
            WaitingFor::NotBefore { at: time } => Self {
                until: Some(at(*time)),
                ..says("not_before", "its time has not come (delay, or back-off after a failure)".into())
            },
            WaitingFor::ConcurrencyKey { key } => Self {
                key: Some(key.clone()),
                ..says("concurrency_key", format!("another task with the concurrency key {key:?} runs"))
            },
            WaitingFor::TenantLimit { tenant, limit } => Self {
                tenant: Some(tenant.clone()),
                limit: Some(*limit),
                ..says("tenant_limit", format!("tenant {tenant:?} runs {limit} tasks, as many as it may"))
            },
            WaitingFor::BusyWorkers { workers } => Self {
                workers: Some(*workers),
                ..says("busy_workers", format!("all {workers} workers that could run it are busy"))
            },
            WaitingFor::Lease { worker, until } => Self {
                worker: Some(worker.to_string()),
                until: Some(at(*until)),
                ..says("lease", format!("it runs: worker {worker} holds the lease"))
            },
            WaitingFor::Draining => says("draining", "the node is draining: it takes up no more work".into()),
        }
    }
}

/// Why no worker that serves a tool takes a task, as a sentence.
fn no_worker_with(labels: &[String], workers: u32) -> String {
    let serve = if workers == 1 { "1 worker serves".to_owned() } else { format!("{workers} workers serve") };
    match labels {
        [] => format!("{serve} the tool, but none of them is at a peer that may run the task"),
        [label] => format!("{serve} the tool, but none has the label {label}"),
        labels => format!("{serve} the tool, but none has all of the labels {}", labels.join(", ")),
    }
}

/// How one attempt went.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AttemptOut {
    /// Number of the attempt, from 1.
    attempt: u32,
    /// Its fence.
    fence: u64,
    /// Who held the lease.
    worker: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    started: f64,
    /// When it ended.
    ended: Option<f64>,
    /// What ended it.
    error: Option<ErrorOut>,
}

impl From<&Attempt> for AttemptOut {
    fn from(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.attempt,
            fence: attempt.fence.0,
            worker: attempt.worker.to_string(),
            started: at(attempt.started),
            ended: attempt.ended.map(at),
            error: attempt.error.as_ref().map(ErrorOut::from),
        }
    }
}

/// How far a running task is.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProgressOut {
    /// Work done so far, in the tool's own unit.
    done: f64,
    /// All the work there is.
    total: Option<f64>,
    /// What it is doing.
    message: Option<String>,
    /// The last lines of its log.
    log: Vec<String>,
}

impl From<&Progress> for ProgressOut {
    fn from(progress: &Progress) -> Self {
        let Progress { done, total, message, log } = progress.clone();
        Self { done, total, message, log }
    }
}

/// A peer as this node knows it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PeerOut {
    /// Its id.
    peer_id: String,
    /// Whether a connection stands.
    connected: bool,
    /// Its role here: member or admin; null = not admitted.
    role: Option<String>,
    /// Its addresses, the connected one first.
    addresses: Vec<String>,
    /// Round-trip time in milliseconds.
    rtt_ms: Option<f64>,
    /// When it was last heard, in seconds since 1970-01-01 UTC.
    last_seen: Option<f64>,
    /// What it offers; null = it has not said.
    offers: Option<OfferOut>,
}

impl From<&PeerView> for PeerOut {
    fn from(view: &PeerView) -> Self {
        Self {
            peer_id: view.peer.to_string(),
            connected: view.connected,
            role: view.role.map(|role| match role {
                meshwork_proto::Role::Member => "member".to_owned(),
                meshwork_proto::Role::Admin => "admin".to_owned(),
            }),
            addresses: view.addresses.clone(),
            rtt_ms: view.rtt_us.map(|us| us as f64 / 1000.0),
            last_seen: view.last_seen.map(at),
            offers: view.advertisement.as_ref().map(OfferOut::from),
        }
    }
}

/// What a node offers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OfferOut {
    /// Software and version.
    agent: String,
    /// Names of its tools.
    tools: Vec<String>,
    /// Its labels.
    labels: Vec<String>,
    /// Free slots of its executor.
    free_slots: u32,
    /// All slots.
    slots: u32,
    /// Tasks running on it.
    running: u32,
    /// Unfinished tasks in its own queue.
    queued: u64,
    /// Addresses others can dial.
    addresses: Vec<String>,
}

impl From<&Advertisement> for OfferOut {
    fn from(said: &Advertisement) -> Self {
        Self {
            agent: said.agent.clone(),
            tools: said.tools.iter().cloned().collect(),
            labels: said.labels.iter().cloned().collect(),
            free_slots: said.free_slots,
            slots: said.slots,
            running: said.running,
            queued: said.queued,
            addresses: said.addresses.clone(),
        }
    }
}

/// A worker as the queue knows it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WorkerOut {
    /// Its id.
    worker_id: String,
    /// The peer it belongs to.
    peer_id: Option<String>,
    /// Whether it is the owner's own executor.
    local: bool,
    /// Tools it offered last.
    tools: Vec<String>,
    /// Its labels.
    labels: Vec<String>,
    /// Tasks it runs.
    running: u32,
    /// Attempts it completed since the owner's start.
    completed: u64,
    /// Attempts it failed.
    failed: u64,
    /// Leases it lost.
    lost: u64,
    /// When it last asked or reported, in seconds since 1970-01-01 UTC.
    last_seen: f64,
}

impl From<&WorkerView> for WorkerOut {
    fn from(view: &WorkerView) -> Self {
        Self {
            worker_id: view.worker.to_string(),
            peer_id: view.worker.peer().map(|peer| peer.to_string()),
            local: view.local,
            tools: view.tools.clone(),
            labels: view.labels.clone(),
            running: view.running,
            completed: view.completed,
            failed: view.failed,
            lost: view.lost,
            last_seen: at(view.last_seen),
        }
    }
}
