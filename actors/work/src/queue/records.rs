//! What the queue keeps in the store: records, and the keys they lie under.
//!
//! | family | key | value | from … to |
//! |---|---|---|---|
//! | tasks | `s` id | [`SpecRecord`], never rewritten | submission … pruning |
//! | tasks | `x` id | [`MetadataRecord`]: metadata given later | first update … pruning |
//! | tasks | `m` id | [`StateRecord`] of a finished task | its end … pruning or resubmission |
//! | tasks | `f` status id | nothing: finished tasks by status, for lists | as `m` |
//! | tasks | `c` | [`CountsRecord`]: how many finished ones are kept | always |
//! | ready | id | [`RouteRecord`]: what claims need to know of an unfinished task | submission … its end |
//! | leases | id | [`StateRecord`] of an unfinished task that was claimed before | first claim … its end |
//! | results | id | [`OutputRecord`] | completion … pruning or resubmission |
//! | delayed | finish time, id | nothing: when it may be pruned | as `m` |
//! | idempotency | submitter, 0, key | [`IdempotencyRecord`] | submission … pruning |
//!
//! Every batch holds whole records, so each is understood without those before it. A start reads `leases` and
//! `ready` and nothing else: finished tasks cost it nothing.

use bytes::Bytes;
use meshwork_proto::codec::{self, CodecError, Record};
use meshwork_proto::store::{Family, StoreError, WriteOp};
use meshwork_proto::task::{Attempt, Payload, TaskSpec, TaskStatus};
use meshwork_proto::{Cid, Fence, Json, MeshError, PeerId, TaskId, UnixMillis, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecRecord {
    /// As submitted.
    pub spec: TaskSpec,
    /// Who submitted it; none = a client of this node.
    pub submitter: Option<PeerId>,
    /// When.
    pub created: UnixMillis,
}

/// What claims need to know of an unfinished task; holds the present values of what `update` may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteRecord {
    /// Order of submission.
    pub seq: u64,
    /// When it was submitted, or put back after its end.
    pub queued_at: UnixMillis,
    /// When it last changed, if it was never claimed.
    pub updated: UnixMillis,
    /// Not to be claimed before.
    pub not_before: UnixMillis,
    /// Type.
    pub task_type: String,
    /// Tool.
    pub tool: String,
    /// Labels a worker must have.
    pub labels: BTreeSet<String>,
    /// Peers that may claim it; empty = any.
    pub target_peers: BTreeSet<PeerId>,
    /// Whose work it is.
    pub tenant: Option<String>,
    /// Tasks that share it run one at a time.
    pub concurrency_key: Option<String>,
    /// Who submitted it.
    pub submitter: Option<PeerId>,
    /// 1 to 10.
    pub priority: u8,
    /// Failures that end it.
    pub max_attempts: u32,
    /// How long an attempt may run.
    pub timeout_ms: Option<u64>,
    /// How long it may wait before its first attempt, from `queued_at`.
    pub expires_ms: Option<u64>,
    /// Whether a value above differs from what was submitted.
    pub changed: bool,
}

/// How a task stands that was claimed before, or is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateRecord {
    /// Where it stands.
    pub status: TaskStatus,
    /// Attempts begun.
    pub attempts: u32,
    /// Attempts that failed: what counts against the limit.
    pub failures: u32,
    /// Leases lost.
    pub lease_losses: u32,
    /// The latest fence.
    pub fence: Fence,
    /// The fence of the last report that was accepted; 0 = none.
    pub reported: Fence,
    /// Who holds the lease, or held it last.
    pub worker: Option<WorkerId>,
    /// The latest attempts, oldest first.
    pub history: Vec<Attempt>,
    /// The error that ended it, or the last attempt.
    pub error: Option<MeshError>,
    /// Somebody cancelled it while it ran: why.
    pub cancel: Option<String>,
    /// Not to be claimed before (a retry).
    pub not_before: UnixMillis,
    /// Time limit of the running attempt.
    pub lease_timeout_ms: Option<u64>,
    /// When it was submitted, or put back after its end.
    pub queued_at: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// When it finished.
    pub finished: Option<UnixMillis>,
    /// Content id of the result.
    pub output_cid: Option<Cid>,
    /// The artifact that holds the result, when it is not inline.
    pub stored_output: Option<Cid>,
    /// Type, for lists.
    pub task_type: String,
    /// Who submitted it, for lists.
    pub submitter: Option<PeerId>,
    /// What was changed since submission; kept here when the task is finished and has no route any more.
    pub changes: Option<SpecChanges>,
}

/// The changeable part of a specification, when it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecChanges {
    /// Labels.
    pub labels: BTreeSet<String>,
    /// Priority.
    pub priority: u8,
    /// Limit of failures.
    pub max_attempts: u32,
    /// Time limit of an attempt.
    pub timeout_ms: Option<u64>,
    /// Time limit in the queue.
    pub expires_ms: Option<u64>,
}

impl SpecChanges {
    /// Puts the present values into what was submitted.
    pub(crate) fn apply(&self, spec: &mut TaskSpec) {
        spec.labels.clone_from(&self.labels);
        spec.priority = self.priority;
        spec.max_attempts = self.max_attempts;
        spec.timeout_ms = self.timeout_ms;
        spec.expires_ms = self.expires_ms;
    }
}

/// Metadata that replaces what was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetadataRecord {
    /// The document.
    pub metadata: Json,
}

/// The result of a completed task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputRecord {
    /// Inline or stored.
    pub output: Payload,
}

/// Which work an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdempotencyRecord {
    /// The task that used the key.
    pub task: TaskId,
    /// Its type.
    pub task_type: String,
    /// Its model.
    pub model_name: Option<String>,
    /// Its input.
    pub input_cid: Cid,
}

impl IdempotencyRecord {
    pub(crate) fn of(task: TaskId, spec: &TaskSpec) -> Self {
        let TaskSpec { task_type, model_name, input_cid, .. } = spec;
        Self { task, task_type: task_type.clone(), model_name: model_name.clone(), input_cid: *input_cid }
    }

    /// Whether it stands for the work of `spec`.
    pub(crate) fn same_work(&self, spec: &TaskSpec) -> bool {
        self.task_type == spec.task_type
            && self.model_name == spec.model_name
            && self.input_cid == spec.input_cid
    }
}

/// How many finished tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CountsRecord {
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl CountsRecord {
    /// The number of this status; none for the statuses of unfinished tasks.
    pub(crate) fn of_mut(&mut self, status: TaskStatus) -> Option<&mut u64> {
        match status {
            TaskStatus::Completed => Some(&mut self.completed),
            TaskStatus::Failed => Some(&mut self.failed),
            TaskStatus::Cancelled => Some(&mut self.cancelled),
            TaskStatus::Queued | TaskStatus::Running => None,
        }
    }
}

macro_rules! records {
    ($($record:ty = $kind:literal;)*) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
            const VERSION: u8 = 1;
        })*
    };
}
records! {
    SpecRecord = "task specification";
    RouteRecord = "task route";
    StateRecord = "task state";
    MetadataRecord = "task metadata";
    OutputRecord = "task result";
    IdempotencyRecord = "idempotency key";
    CountsRecord = "task counts";
}

/// Key of a task's specification.
pub(crate) fn spec_key(id: TaskId) -> Bytes {
    tagged(b's', id)
}

/// Key of metadata given later.
pub(crate) fn metadata_key(id: TaskId) -> Bytes {
    tagged(b'x', id)
}

/// Key of a finished task's state.
pub(crate) fn finished_key(id: TaskId) -> Bytes {
    tagged(b'm', id)
}

/// Key of the counts.
pub(crate) fn counts_key() -> Bytes {
    Bytes::from_static(b"c")
}

/// Key of an unfinished task's route and state, and of a result.
pub(crate) fn id_key(id: TaskId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// Key by which finished tasks of one status are listed.
pub(crate) fn status_key(status: TaskStatus, id: TaskId) -> Bytes {
    let mut key = status_prefix(status);
    key.extend_from_slice(id.as_bytes());
    key.into()
}

/// What all keys of [`status_key`] begin with.
pub(crate) fn status_prefix(status: TaskStatus) -> Vec<u8> {
    let mark = match status {
        TaskStatus::Completed => b'c',
        TaskStatus::Failed => b'f',
        TaskStatus::Cancelled => b'x',
        TaskStatus::Queued | TaskStatus::Running => b'u',
    };
    vec![b'f', mark]
}

/// Key that orders finished tasks by when they finished.
pub(crate) fn prune_key(finished: UnixMillis, id: TaskId) -> Bytes {
    let mut key = finished.0.to_be_bytes().to_vec();
    key.extend_from_slice(id.as_bytes());
    key.into()
}

/// The parts of a [`prune_key`]; none if it is not one.
pub(crate) fn read_prune_key(key: &[u8]) -> Option<(UnixMillis, TaskId)> {
    let (time, id) = key.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*time)), read_id(id)?))
}

/// Key of an idempotency key: every submitter has its own.
pub(crate) fn idempotency_key(submitter: Option<&PeerId>, key: &str) -> Bytes {
    let mut bytes = submitter.map_or(&[][..], |peer| peer.as_str().as_bytes()).to_vec();
    bytes.push(0);
    bytes.extend_from_slice(key.as_bytes());
    bytes.into()
}

/// The id at the end of a key; none if there is none.
pub(crate) fn read_id(bytes: &[u8]) -> Option<TaskId> {
    <[u8; 16]>::try_from(bytes).ok().map(TaskId::from_bytes)
}

fn tagged(tag: u8, id: TaskId) -> Bytes {
    let mut key = Vec::with_capacity(17);
    key.push(tag);
    key.extend_from_slice(id.as_bytes());
    key.into()
}

/// Reads a record that the store holds.
///
/// # Errors
/// [`StoreError::Corrupt`] with what is wrong with it.
pub(crate) fn read<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    codec::decode(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads a record that may be missing.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_some<R: Record>(bytes: Option<&Bytes>) -> Result<Option<R>, StoreError> {
    bytes.map(|bytes| read(bytes)).transpose()
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    ops: Vec<WriteOp>,
    broken: Option<CodecError>,
}

impl Batch {
    /// Sets a record. One that cannot be encoded breaks the batch, see [`Batch::into_ops`].
    pub(crate) fn put<R: Record>(&mut self, family: Family, key: Bytes, record: &R) {
        match codec::encode(record) {
            Ok(bytes) => self.put_raw(family, key, bytes.into()),
            Err(error) => self.broken = Some(error),
        }
    }

    pub(crate) fn put_raw(&mut self, family: Family, key: Bytes, value: Bytes) {
        self.ops.push(WriteOp::Put { family, key, value });
    }

    pub(crate) fn delete(&mut self, family: Family, key: Bytes) {
        self.ops.push(WriteOp::Delete { family, key });
    }

    pub(crate) fn pin(&mut self, cid: Cid, holder: TaskId) {
        self.ops.push(WriteOp::Pin { cid, holder: id_key(holder) });
    }

    pub(crate) fn unpin(&mut self, cid: Cid, holder: TaskId) {
        self.ops.push(WriteOp::Unpin { cid, holder: id_key(holder) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.broken.is_none()
    }

    /// The changes.
    ///
    /// # Errors
    /// When a record could not be encoded: then none of them may be written.
    pub(crate) fn into_ops(self) -> Result<Vec<WriteOp>, CodecError> {
        match self.broken {
            Some(error) => Err(error),
            None => Ok(self.ops),
        }
    }
}

#[cfg(test)]
mod tests;
