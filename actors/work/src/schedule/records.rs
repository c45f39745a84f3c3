//! What the store holds of schedules, and the keys it lies under (family `schedules`).
//!
//! | key | value | from … to |
//! |---|---|---|
//! | `s` id | [`ScheduleRecord`], never rewritten | it is made … it is removed |
//! | `p` id | [`ProgressRecord`]: how far it is | as `s` |
//!
//! Larger payloads are artifacts, pinned as long as the schedule is there.

use bytes::Bytes;
use meshwork_proto::codec::{self, CodecError, Record};
use meshwork_proto::schedule::{Missed, Scheduled, Started, Timing};
use meshwork_proto::store::{Family, StoreError, WriteOp};
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, PeerId, RunId, ScheduleId, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScheduleRecord {
    /// Name, unique on its node.
    pub name: String,
    /// When.
    pub timing: Timing,
    /// What becomes of missed times.
    pub missed: Missed,
    /// While the last start is not finished, no other one is made.
    pub no_overlap: bool,
    /// What.
    pub what: Scheduled,
    /// The peer that made it; none = a client of this node.
    pub submitter: Option<PeerId>,
    /// When it was made.
    pub created: UnixMillis,
}

/// How far a schedule is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressRecord {
    /// All times up to this one are dealt with.
    pub cursor: UnixMillis,
    /// Whether it is paused.
    pub paused: bool,
    /// The start that is being made: written down before, so that after a crash the same one is made, not another.
    pub begun: Option<Begun>,
    /// What was started last.
    pub made: Option<Made>,
    /// The latest starts, newest first.
    pub last: Vec<Started>,
    /// Starts so far.
    pub starts: u64,
    /// Times that were left out.
    pub skipped: u64,
}

/// A start that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The time it is due.
    pub due: UnixMillis,
    /// Times before it that it stands for, or that are left out.
    pub passed: u64,
    /// Somebody asked for it, beside the schedule's times.
    pub extra: bool,
}

/// What a start made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Made {
    /// A task.
    Task(TaskId),
    /// A run of a workflow.
    Run(RunId),
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
    ScheduleRecord = "schedule";
    ProgressRecord = "schedule progress";
}

impl ScheduleRecord {
    /// The artifacts it needs.
    pub(crate) fn artifacts(&self) -> Vec<Cid> {
        let payloads: &[&Payload] = match &self.what {
            Scheduled::Task(spec) => &[&spec.payload],
            Scheduled::Workflow(run) => &[&run.definition, &run.inputs],
        };
        payloads.iter().filter_map(|payload| payload.stored_cid().copied()).collect()
    }
}

/// What a key of the family belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A [`ScheduleRecord`].
    Schedule(ScheduleId),
    /// A [`ProgressRecord`].
    Progress(ScheduleId),
}

impl Key {
    /// The key as it lies in the store.
    pub(crate) fn bytes(self) -> Bytes {
        let (tag, id) = match self {
            Self::Schedule(id) => (b's', id),
            Self::Progress(id) => (b'p', id),
        };
        [&[tag][..], id.as_bytes()].concat().into()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is none of the family.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        let id = |rest: &[u8]| <[u8; 16]>::try_from(rest).ok().map(ScheduleId::from_bytes);
        let key = bytes.split_first().and_then(|(tag, rest)| match tag {
            b's' => Some(Self::Schedule(id(rest)?)),
            b'p' => Some(Self::Progress(id(rest)?)),
            _ => None,
        });
        key.ok_or_else(|| {
            StoreError::Corrupt(format!("a key of schedules of {} bytes is not one", bytes.len()))
        })
    }
}

/// Who pins the artifacts of a schedule.
pub(crate) fn holder(id: ScheduleId) -> Bytes {
    [b"schedule ", &id.as_bytes()[..]].concat().into()
}

/// Reads a record that the store holds.
///
/// # Errors
/// [`StoreError::Corrupt`] with what is wrong with it.
pub(crate) fn read<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    codec::decode(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Sets a record.
///
/// # Errors
/// When it cannot be encoded.
pub(crate) fn put<R: Record>(key: Key, record: &R) -> Result<WriteOp, CodecError> {
    Ok(WriteOp::Put { family: Family::Schedules, key: key.bytes(), value: codec::encode(record)?.into() })
}

/// Removes a record.
pub(crate) fn delete(key: Key) -> WriteOp {
    WriteOp::Delete { family: Family::Schedules, key: key.bytes() }
}

#[cfg(test)]
mod tests;
