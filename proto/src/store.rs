//! Messages to the store: typed batches, point reads, scans.

use crate::{Cid, Coded, ErrorCode, Request};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A column family. Each is owned by one actor: only the owner reads or writes it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family { $($(#[$doc])* $variant,)* }

        impl Family {
            /// All families, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the database.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

families! {
    /// Queue: task specifications and states.
    Tasks = "tasks",
    /// Queue: compact entries of tasks that may be claimed.
    Ready = "ready",
    /// Queue: compact entries of tasks that are leased.
    Leases = "leases",
    /// Queue: compact entries of tasks that wait for a time.
    Delayed = "delayed",
    /// Queue: idempotency keys.
    Idempotency = "idempotency",
    /// Queue: results of finished tasks.
    Results = "results",
    /// Workflow coordinator: runs.
    Workflows = "workflows",
    /// Workflow coordinator: schedules.
    Schedules = "schedules",
    /// Discovery: the peer book.
    Peers = "peers",
    /// Gateway: MCP sessions.
    Sessions = "sessions",
    /// Store: artifacts.
    Artifacts = "artifacts",
    /// Store: events.
    Events = "events",
    /// Root: epoch, versions.
    Meta = "meta",
}

/// Most changes that one commit may have.
pub const MAX_COMMIT_OPS: usize = 100_000;
/// Most bytes of keys, values and holders that one commit may have.
pub const MAX_COMMIT_BYTES: usize = 64 * 1024 * 1024;

/// One change in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOp {
    /// Sets a key.
    Put {
        /// Where.
        family: Family,
        /// Key.
        key: Bytes,
        /// Value.
        value: Bytes,
    },
    /// Removes a key; removing what is not there is no error.
    Delete {
        /// Where.
        family: Family,
        /// Key.
        key: Bytes,
    },
    /// Keeps an artifact from being collected as long as `holder` pins it. Pinning twice is pinning once.
    Pin {
        /// Which artifact.
        cid: Cid,
        /// Who needs it, for example a task id.
        holder: Bytes,
    },
    /// Takes a holder's pin away.
    Unpin {
        /// Which artifact.
        cid: Cid,
        /// Who needed it.
        holder: Bytes,
    },
}

/// When a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// As configured: after the fsync (`fsync`, the default) or after the write to the log (`os`).
    Durable,
    /// After the write to the log, whatever is configured: it survives `kill -9` but perhaps not power loss.
    Written,
}

/// Why a batch is written: work already accepted may use the last of the disk, new work may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// New work: refused when the disk's reserve is reached.
    New,
    /// Bookkeeping of work that was accepted before: may use the reserve.
    Accepted,
}

/// Applies all changes atomically. Commits take effect in the order in which they were sent.
#[derive(Debug)]
pub struct Commit {
    /// The changes.
    pub ops: Vec<WriteOp>,
    /// When to answer.
    pub acknowledge: Acknowledge,
    /// Whether the disk's reserve may be used.
    pub admission: Admission,
}

impl Request for Commit {
    type Reply = Result<(), StoreError>;
    const NAME: &'static str = "commit";
}

/// Reads one value.
#[derive(Debug)]
pub struct ReadKey {
    /// Where.
    pub family: Family,
    /// Key.
    pub key: Bytes,
}

impl Request for ReadKey {
    type Reply = Result<Option<Bytes>, StoreError>;
    const NAME: &'static str = "read_key";
}

/// Reads many values of one family, in the order of the keys given.
#[derive(Debug)]
pub struct ReadKeys {
    /// Where.
    pub family: Family,
    /// Keys.
    pub keys: Vec<Bytes>,
}

impl Request for ReadKeys {
    type Reply = Result<Vec<Option<Bytes>>, StoreError>;
    const NAME: &'static str = "read_keys";
}

/// Reads a range of one family in key order. Pages: continue from the last key.
#[derive(Debug)]
pub struct Scan {
    /// Where.
    pub family: Family,
    /// First key (inclusive), or exclusive when `after` is set; empty = from the start.
    pub from: Bytes,
    /// Skip `from` itself: for the next page.
    pub after: bool,
    /// End (exclusive); none = to the end of the family.
    pub to: Option<Bytes>,
    /// At most so many entries; the store caps it at 10 000.
    pub limit: u32,
    /// From the end backwards (`from` is then the upper end).
    pub reverse: bool,
}

impl Request for Scan {
    type Reply = Result<Vec<(Bytes, Bytes)>, StoreError>;
    const NAME: &'static str = "scan";
}

/// Asks for sizes and counters.
#[derive(Debug)]
pub struct GetStoreStats;

impl Request for GetStoreStats {
    type Reply = Result<StoreStats, StoreError>;
    const NAME: &'static str = "get_store_stats";
}

/// Sizes and counters of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Bytes on disk, all families.
    pub disk_bytes: u64,
    /// Bytes free on the file system.
    pub free_bytes: u64,
    /// Bytes of whole artifacts.
    pub artifact_bytes: u64,
    /// Number of whole artifacts.
    pub artifacts: u64,
    /// Whether new work is refused because the disk's reserve is reached.
    pub disk_full: bool,
}

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room for new work.
    #[error(
        "disk is full: {free} bytes free, {reserve} kept in reserve for work already accepted; free some space"
    )]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes kept in reserve.
        reserve: u64,
    },
    /// The database reported an error.
    #[error("database error: {0}")]
    Database(String),
    /// A stored value cannot be read.
    #[error("stored record is damaged: {0}")]
    Corrupt(String),
    /// The batch itself is not acceptable: too large, or it touches what the store keeps for itself.
    #[error("batch is not acceptable: {0}")]
    InvalidBatch(String),
    /// The store is stopping.
    #[error("store is stopping")]
    Stopping,
}

impl Coded for StoreError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::DiskFull { .. } => ErrorCode::DiskFull,
            Self::Database(_) => ErrorCode::Storage,
            Self::Corrupt(_) => ErrorCode::Corrupt,
            Self::InvalidBatch(_) => ErrorCode::InvalidArgument,
            Self::Stopping => ErrorCode::Unavailable,
        }
    }
}
