//! Where a document of a run is: small ones are in memory, larger ones stay where they were written.

use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, Json};

/// Documents up to this many bytes stay in memory.
pub(crate) const KEPT: usize = 1024;

/// A document that belongs to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doc {
    /// Here.
    Inline(Json),
    /// In the event with this number.
    Event {
        /// Number of the event.
        seq: u64,
        /// Length in bytes.
        len: u32,
    },
    /// In the run's header: its inputs.
    Header {
        /// Length in bytes.
        len: u32,
    },
    /// In the artifact store.
    Stored {
        /// Content id.
        cid: Cid,
        /// Length in bytes.
        len: u64,
    },
}

impl Doc {
    /// A document that came with the event with this number.
    pub(crate) fn of_event(payload: &Payload, seq: u64) -> Self {
        match payload {
            Payload::Inline(json) if json.len() > KEPT => Self::Event { seq, len: length(json) },
            _ => Self::small(payload),
        }
    }

    /// The inputs of a run.
    pub(crate) fn of_header(payload: &Payload) -> Self {
        match payload {
            Payload::Inline(json) if json.len() > KEPT => Self::Header { len: length(json) },
            _ => Self::small(payload),
        }
    }

    fn small(payload: &Payload) -> Self {
        match payload {
            Payload::Inline(json) => Self::Inline(json.clone()),
            Payload::Stored { cid, len } => Self::Stored { cid: *cid, len: *len },
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline(json) => json.len() as u64,
            Self::Event { len, .. } | Self::Header { len } => u64::from(*len),
            Self::Stored { len, .. } => *len,
        }
    }
}

fn length(json: &Json) -> u32 {
    u32::try_from(json.len()).unwrap_or(u32::MAX)
}
