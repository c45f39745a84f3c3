//! What the coordinator keeps in the store (family `workflows`): records, and the keys they lie under.
//!
//! | key | value | from … to |
//! |---|---|---|
//! | `h` run | [`HeaderRecord`], written again only by a hand-over | submission … pruning |
//! | `e` run number | [`EventRecord`], never rewritten | the event … pruning |
//! | `a` run | nothing: the run is unfinished, a start reads it | submission … its end |
//! | `s` run | [`SummaryRecord`] of a finished run, or of one that another peer coordinates now | its end … pruning or retry |
//! | `f` end time, run | nothing: when it may be pruned | as `s` |
//! | `i` submitter or parent, 0, key | [`KeyRecord`]: an idempotency key | submission … pruning |
//! | `p` digest | [`PureRecord`]: the result of a pure step | the result … its retention |
//! | `q` time, digest | nothing: when it may be pruned | as `p` |
//! | `c` | [`CountsRecord`]: how many finished runs and results of pure steps are kept | always |
//!
//! A start reads the unfinished runs and nothing else: finished ones cost it nothing.

mod event;
mod export;
mod keys;

pub(crate) use event::{Ended, Event, EventRecord, How, Unit};
pub(crate) use export::{Export, MAX_EXPORT};
pub(crate) use keys::{
    active_key, active_range, counts_key, event_key, event_range, finish_key, finish_range, header_key,
    holder, key_key, pure_age_key, pure_age_range, pure_holder, pure_key, read_active_key, read_event_key,
    read_finish_key, read_pure_age_key, read_summary_key, summary_key, summary_range,
};

use bytes::Bytes;
use meshwork_proto::codec::{self, CodecError, Record};
use meshwork_proto::store::{Family, StoreError, WriteOp};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{ParentStep, RunState};
use meshwork_proto::{Cid, MeshError, PeerId, RunId, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderRecord {
    /// Name of the workflow.
    pub name: String,
    /// How many steps it has.
    pub steps: u32,
    /// The definition.
    pub definition: Payload,
    /// Content id of its canonical bytes.
    pub definition_cid: Cid,
    /// The inputs, defaults filled in.
    pub inputs: Payload,
    /// Content id of these.
    pub inputs_cid: Cid,
    /// Content id of the inputs as they were given.
    pub given_cid: Cid,
    /// Who submitted it; none = a client of this node.
    pub submitter: Option<PeerId>,
    /// Peers that may work on it, as submitted; empty = any.
    pub target_peers: BTreeSet<PeerId>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The step it was started for, as submitted.
    pub parent: Option<ParentStep>,
    /// When.
    pub created: UnixMillis,
}

/// What lists and quick questions need of a run that is not in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummaryRecord {
    /// Name of the workflow.
    pub name: String,
    /// How it ended; where it stood, if it moved.
    pub state: RunState,
    /// All steps.
    pub steps: u32,
    /// Finished steps.
    pub finished_steps: u32,
    /// Who coordinates it now.
    pub moved_to: Option<PeerId>,
    /// The epoch under which it was coordinated here.
    pub epoch: u32,
    /// Why it failed or was cancelled.
    pub error: Option<MeshError>,
    /// Who submitted it.
    pub submitter: Option<PeerId>,
    /// The peer that coordinates the run it is a part of.
    pub parent: Option<PeerId>,
    /// When it was submitted.
    pub created: UnixMillis,
    /// When it finished or moved.
    pub finished: UnixMillis,
}

/// Which run an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    /// The run that used the key.
    pub run: RunId,
    /// Its definition.
    pub definition_cid: Cid,
    /// Its inputs as given.
    pub given_cid: Cid,
}

/// The result of a pure step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PureRecord {
    /// The result.
    pub output: Payload,
    /// Content id of its canonical bytes.
    pub output_cid: Cid,
    /// When it was made.
    pub at: UnixMillis,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CountsRecord {
    /// Completed runs.
    pub completed: u64,
    /// Failed ones.
    pub failed: u64,
    /// Cancelled ones.
    pub cancelled: u64,
    /// Runs that other peers coordinate now.
    pub moved: u64,
    /// Results of pure steps.
    pub pure: u64,
}

impl CountsRecord {
    /// The number of runs that are kept although they are finished here.
    pub(crate) fn kept(&self) -> u64 {
        self.completed + self.failed + self.cancelled + self.moved
    }

    /// The number that a run in this record counts towards.
    pub(crate) fn of_mut(&mut self, state: RunState, moved: bool) -> &mut u64 {
        match state {
            _ if moved => &mut self.moved,
            RunState::Failed => &mut self.failed,
            RunState::Cancelled => &mut self.cancelled,
            RunState::Completed | RunState::Pending | RunState::Running | RunState::Paused => {
                &mut self.completed
            }
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
    HeaderRecord = "workflow run";
    EventRecord = "event of a workflow run";
    SummaryRecord = "summary of a workflow run";
    KeyRecord = "idempotency key of a workflow run";
    PureRecord = "result of a pure step";
    CountsRecord = "counts of workflow runs";
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
    pub(crate) fn put<R: Record>(&mut self, key: Bytes, record: &R) {
        match codec::encode(record) {
            Ok(bytes) => self.put_raw(key, bytes.into()),
            Err(error) => self.broken = Some(error),
        }
    }

    pub(crate) fn put_raw(&mut self, key: Bytes, value: Bytes) {
        self.ops.push(WriteOp::Put { family: Family::Workflows, key, value });
    }

    /// Sets a key that says everything by being there.
    pub(crate) fn mark(&mut self, key: Bytes) {
        self.put_raw(key, Bytes::new());
    }

    pub(crate) fn delete(&mut self, key: Bytes) {
        self.ops.push(WriteOp::Delete { family: Family::Workflows, key });
    }

    pub(crate) fn pin(&mut self, cid: Cid, holder: Bytes) {
        self.ops.push(WriteOp::Pin { cid, holder });
    }

    pub(crate) fn unpin(&mut self, cid: Cid, holder: Bytes) {
        self.ops.push(WriteOp::Unpin { cid, holder });
    }

    /// Keeps a document that is an artifact.
    pub(crate) fn pin_payload(&mut self, payload: &Payload, holder: impl FnOnce() -> Bytes) {
        if let Some(cid) = payload.stored_cid() {
            self.pin(*cid, holder());
        }
    }

    /// Adds all changes of another one, behind these.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.ops.append(&mut other.ops);
        self.broken = self.broken.take().or(other.broken);
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes as the store counts them.
    pub(crate) fn bytes(&self) -> usize {
        let size = |op: &WriteOp| match op {
            WriteOp::Put { key, value, .. } => key.len() + value.len(),
            WriteOp::Delete { key, .. } => key.len(),
            WriteOp::Pin { holder, .. } | WriteOp::Unpin { holder, .. } => holder.len(),
        };
        self.ops.iter().map(size).sum()
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
