//! What can be set about the store, with the reason for each default.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// When a durable commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the fsync of the write-ahead log: it survives power loss.
    Fsync,
    /// After the write to the log: it survives `kill -9`, but not always power loss.
    Os,
}

/// Where the store lives and how much it may use.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Directory of the database; made if it is not there.
    pub path: PathBuf,
    /// When a durable commit is answered.
    pub durability: Durability,
    /// Bytes of disk that only work already accepted may use (64 MiB: compactions need room to give room back).
    pub disk_reserve_bytes: u64,
    /// Asks how many bytes are free on the file system of the database.
    pub free_space: FreeSpace,
    /// Most changes in one group commit.
    pub group_max_ops: usize,
    /// Most bytes in one group commit; one commit larger than that is a group of its own.
    pub group_max_bytes: usize,
    /// Longest time that a group waits for commits that are probably on their way; never when the store is idle or
    /// has one client. At most 2 ms.
    pub group_wait: Duration,
    /// How many commits may wait for the writer.
    pub commit_queue: usize,
    /// How many reads of each kind may wait for a reader.
    pub read_queue: usize,
    /// Threads for point reads, at least 2. Scans have a thread of their own.
    pub read_threads: usize,
    /// Largest artifact in bytes.
    pub artifact_max_bytes: u64,
    /// Bytes that all artifacts together may have.
    pub artifact_quota_bytes: u64,
    /// How long an artifact that nobody pins is kept, counted from when it was stored or last unpinned.
    pub artifact_grace: Duration,
    /// Bytes of the block cache, shared by all column families.
    pub block_cache_bytes: usize,
    /// Bytes of write-ahead log after which the oldest column family is flushed.
    pub max_total_wal_bytes: u64,
}

impl StoreOptions {
    /// Longest [`StoreOptions::group_wait`] that is honoured.
    pub const MAX_GROUP_WAIT: Duration = Duration::from_millis(2);

    /// The defaults, with the database at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Fsync,
            disk_reserve_bytes: 64 * MIB,
            free_space: FreeSpace::of_file_system(),
            group_max_ops: 4096,
            // Larger groups make the first commit wait for megabytes of others without saving an fsync worth it.
            group_max_bytes: 4 * 1024 * 1024,
            group_wait: Self::MAX_GROUP_WAIT,
            commit_queue: 1024,
            read_queue: 1024,
            read_threads: 2,
            artifact_max_bytes: 256 * MIB,
            artifact_quota_bytes: 4 * GIB,
            artifact_grace: Duration::from_secs(3600),
            // A node at rest aims at less than 40 MB of memory.
            block_cache_bytes: 8 * 1024 * 1024,
            // Without a limit the log of one rarely written family keeps all logs alive (gigabytes).
            max_total_wal_bytes: 64 * MIB,
        }
    }
}

type Probe = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

/// Asks how many bytes are free where a path lies. Tests hand in their own.
#[derive(Clone)]
pub struct FreeSpace(Arc<Probe>);

impl FreeSpace {
    /// What the file system says is available to this user (`statvfs`).
    #[must_use]
    #[allow(clippy::useless_conversion, reason = "these numbers have fewer bits on some systems")]
    pub fn of_file_system() -> Self {
        Self::from_fn(|path| {
            let stat = nix::sys::statvfs::statvfs(path).map_err(io::Error::from)?;
            Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
        })
    }

    /// An answer of the caller's own.
    pub fn from_fn(probe: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }

    pub(crate) fn at(&self, path: &Path) -> io::Result<u64> {
        (self.0)(path)
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreeSpace")
    }
}
