//! How much room is left on the disk, and who may still use it.

use crate::metrics::StoreMetrics;
use crate::options::FreeSpace;
use meshwork_proto::store::{Admission, StoreError};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer of the operating system is believed. At full load a disk loses some 100 MB in that time, which
/// is why `disk_reserve_bytes` should not be much smaller; a write that hits the end of the disk asks again at once.
const BELIEVED_FOR: Duration = Duration::from_millis(200);

/// Free space of the database's file system, asked at most a few times a second.
pub(crate) struct DiskSpace {
    path: PathBuf,
    probe: FreeSpace,
    reserve: u64,
    last: Mutex<Option<(Instant, u64)>>,
    metrics: Arc<StoreMetrics>,
}

impl DiskSpace {
    pub(crate) fn new(path: PathBuf, probe: FreeSpace, reserve: u64, metrics: Arc<StoreMetrics>) -> Self {
        Self { path, probe, reserve, last: Mutex::new(None), metrics }
    }

    pub(crate) fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Bytes free, at most 200 ms old.
    pub(crate) fn free(&self) -> Result<u64, StoreError> {
        let now = Instant::now();
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((at, free)) if now.saturating_duration_since(at) < BELIEVED_FOR => Ok(free),
            _ => self.refresh(),
        }
    }

    /// Bytes free now.
    pub(crate) fn refresh(&self) -> Result<u64, StoreError> {
        let free = self.probe.at(&self.path).map_err(|error| {
            StoreError::Database(format!("free space of {} cannot be read: {error}", self.path.display()))
        })?;
        self.metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), free));
        Ok(free)
    }

    /// Whether a commit may be written.
    pub(crate) fn admits(&self, admission: Admission) -> Result<(), StoreError> {
        match admission {
            Admission::Accepted => Ok(()),
            Admission::New => self.has_room(0, self.reserve),
        }
    }

    /// Whether an artifact of `len` bytes may be stored. Artifacts may use the upper half of the reserve: a result of
    /// accepted work may be one, but the bookkeeping must not suffocate because of them.
    pub(crate) fn admits_artifact(&self, len: u64) -> Result<(), StoreError> {
        self.has_room(len, self.reserve / 2)
    }

    fn has_room(&self, len: u64, keep: u64) -> Result<(), StoreError> {
        let free = self.free()?;
        if free.saturating_sub(len) >= keep {
            return Ok(());
        }
        Err(StoreError::DiskFull { free, reserve: self.reserve })
    }
}
