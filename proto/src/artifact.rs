//! Messages about artifacts: bytes named by their content id.

use crate::{Cid, Coded, ErrorCode, Request};
use bytes::Bytes;

/// Largest piece of an artifact that one message carries, in bytes.
pub const ARTIFACT_CHUNK: usize = 256 * 1024;

/// Why an artifact could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// Nothing with that id here.
    #[error("no artifact {0} in this node's store: it was never stored here or has been collected")]
    Unknown(Cid),
    /// Larger than one artifact may be.
    #[error("artifact of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The store is at its quota and nothing could be collected.
    #[error("artifact store holds {used} of {quota} bytes: {len} more do not fit")]
    QuotaExceeded {
        /// Bytes held.
        used: u64,
        /// Bytes allowed.
        quota: u64,
        /// Bytes asked for.
        len: u64,
    },
    /// The bytes are not those that the id names.
    #[error("bytes received for artifact {expected} have the content id {found}")]
    Mismatch {
        /// Id asked for.
        expected: Cid,
        /// Id of what came.
        found: Cid,
    },
    /// A piece that does not follow the last one.
    #[error("piece at offset {offset} does not follow the {have} bytes received of artifact {cid}")]
    OutOfOrder {
        /// Which artifact.
        cid: Cid,
        /// Offset of the piece.
        offset: u64,
        /// Bytes held so far.
        have: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl Coded for ArtifactError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownArtifact,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
            Self::Mismatch { .. } | Self::OutOfOrder { .. } => ErrorCode::Corrupt,
            Self::Store(error) => error.code(),
        }
    }
}

/// Stores bytes under their content id; answered when they are durable. Storing what is there already is cheap.
///
/// A stored artifact that nobody pins (see `store::WriteOp::Pin`) is collected after the grace time.
#[derive(Debug)]
pub struct PutArtifact(pub Bytes);

impl Request for PutArtifact {
    type Reply = Result<Cid, ArtifactError>;
    const NAME: &'static str = "put_artifact";
}

/// Reads up to `max_len` bytes of an artifact from `offset`.
#[derive(Debug)]
pub struct ReadArtifact {
    /// Which artifact.
    pub cid: Cid,
    /// First byte wanted.
    pub offset: u64,
    /// At most so many bytes; at most [`ARTIFACT_CHUNK`] are returned.
    pub max_len: u32,
}

impl Request for ReadArtifact {
    type Reply = Result<ArtifactPiece, ArtifactError>;
    const NAME: &'static str = "read_artifact";
}

/// Some bytes of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ArtifactPiece {
    /// Length of the whole artifact in bytes.
    pub total_len: u64,
    /// The bytes from the offset asked for; empty at the end.
    pub bytes: Bytes,
}

/// Asks how much of an artifact is here.
#[derive(Debug)]
pub struct StatArtifact(pub Cid);

impl Request for StatArtifact {
    type Reply = Result<ArtifactPresence, ArtifactError>;
    const NAME: &'static str = "stat_artifact";
}

/// How much of an artifact is in this store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactPresence {
    /// Nothing of it.
    Absent,
    /// The first `have` bytes, from an exchange that was cut off: it goes on from there.
    Partial {
        /// Bytes held, from the start.
        have: u64,
    },
    /// All of it.
    Whole {
        /// Its length in bytes.
        len: u64,
    },
}

/// Appends a piece received from a peer. The last piece is verified against the content id before the artifact
/// becomes readable; on a mismatch all pieces are dropped.
#[derive(Debug)]
pub struct AppendArtifact {
    /// Which artifact.
    pub cid: Cid,
    /// Where the piece starts; it must follow what is held.
    pub offset: u64,
    /// Length of the whole artifact in bytes.
    pub total_len: u64,
    /// The piece.
    pub bytes: Bytes,
}

impl Request for AppendArtifact {
    type Reply = Result<ArtifactPresence, ArtifactError>;
    const NAME: &'static str = "append_artifact";
}
