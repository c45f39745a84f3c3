//! Reader threads: a small pool for point reads, and one thread for everything that may take long.
//!
//! Scans and artifact pieces have a thread of their own, so that a point read never waits behind them. A panic in a
//! read is a fault of ours: it ends that read only (its asker sees that it was dropped) and is counted.

use crate::artifacts;
use crate::engine::Engine;
use crate::metrics::StoreMetrics;
use crate::space::DiskSpace;
use crate::writer;
use meshwork_kit::{Envelope, Inbox};
use meshwork_proto::artifact::{ReadArtifact, StatArtifact};
use meshwork_proto::store::{GetStoreStats, ReadKey, ReadKeys, Scan, StoreError, StoreStats};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Most keys in one request.
const MAX_KEYS: usize = 10_000;

/// What answers reads.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) engine: Arc<Engine>,
    pub(crate) space: Arc<DiskSpace>,
    pub(crate) metrics: Arc<StoreMetrics>,
}

/// Where point reads arrive.
pub(crate) struct PointReads {
    pub(crate) key: Inbox<ReadKey>,
    pub(crate) keys: Inbox<ReadKeys>,
    pub(crate) stat: Inbox<StatArtifact>,
}

/// Where long reads arrive.
pub(crate) struct LongReads {
    pub(crate) scan: Inbox<Scan>,
    pub(crate) piece: Inbox<ReadArtifact>,
    pub(crate) stats: Inbox<GetStoreStats>,
}

enum Job {
    Key(Envelope<ReadKey>),
    Keys(Envelope<ReadKeys>),
    Stat(Envelope<StatArtifact>),
    Scan(Envelope<Scan>),
    Piece(Envelope<ReadArtifact>),
    Stats(Envelope<GetStoreStats>),
}

/// Serves point reads until stopped; several threads share the inboxes, one of them waits at a time.
pub(crate) fn serve_points(reader: &Reader, inboxes: &Mutex<PointReads>, mut stop: watch::Receiver<bool>) {
    let next = || {
        futures::executor::block_on(async {
            let mut inboxes = inboxes.lock().await;
            inboxes.next(&mut stop).await
        })
    };
    serve(reader, next);
}

/// Serves long reads until stopped.
pub(crate) fn serve_long(reader: &Reader, mut inboxes: LongReads, mut stop: watch::Receiver<bool>) {
    serve(reader, || futures::executor::block_on(inboxes.next(&mut stop)));
}

fn serve(reader: &Reader, mut next: impl FnMut() -> Option<Job>) {
    while let Some(job) = next() {
        if catch_unwind(AssertUnwindSafe(|| reader.answer(job))).is_err() {
            reader.metrics.reader_panics.inc();
            tracing::error!("panic while reading from the store; that read is dropped");
        }
    }
}

impl PointReads {
    /// The next read; what was queued before the stop is still served.
    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Job> {
        loop {
            let stopping = *stop.borrow();
            if stopping {
                self.key.close();
                self.keys.close();
                self.stat.close();
            }
            tokio::select! {
                Some(read) = self.key.recv() => return Some(Job::Key(read)),
                Some(read) = self.keys.recv() => return Some(Job::Keys(read)),
                Some(read) = self.stat.recv() => return Some(Job::Stat(read)),
                Ok(()) = stop.changed(), if !stopping => {}
                else => return None,
            }
        }
    }
}

impl LongReads {
    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Job> {
        loop {
            let stopping = *stop.borrow();
            if stopping {
                self.scan.close();
                self.piece.close();
                self.stats.close();
            }
            tokio::select! {
                Some(read) = self.scan.recv() => return Some(Job::Scan(read)),
                Some(read) = self.piece.recv() => return Some(Job::Piece(read)),
                Some(read) = self.stats.recv() => return Some(Job::Stats(read)),
                Ok(()) = stop.changed(), if !stopping => {}
                else => return None,
            }
        }
    }
}

impl Reader {
    fn answer(&self, job: Job) {
        match job {
            Job::Key(envelope) => {
                let (read, reply) = envelope.into_parts();
                reply.send(self.engine.get(read.family, &read.key));
            }
            Job::Keys(envelope) => {
                let (read, reply) = envelope.into_parts();
                reply.send(self.many(&read));
            }
            Job::Stat(envelope) => {
                let (StatArtifact(cid), reply) = envelope.into_parts();
                reply.send(artifacts::presence(&self.engine, &cid));
            }
            Job::Scan(envelope) => {
                let (scan, reply) = envelope.into_parts();
                reply.send(self.engine.scan(&scan));
            }
            Job::Piece(envelope) => {
                let (read, reply) = envelope.into_parts();
                reply.send(artifacts::read(&self.engine, &read));
            }
            Job::Stats(envelope) => {
                let (GetStoreStats, reply) = envelope.into_parts();
                reply.send(self.stats());
            }
        }
    }

    fn many(&self, read: &ReadKeys) -> Result<Vec<Option<bytes::Bytes>>, StoreError> {
        if read.keys.len() > MAX_KEYS {
            let why = format!("{} keys, at most {MAX_KEYS} may be read at once", read.keys.len());
            return Err(StoreError::InvalidBatch(why));
        }
        self.engine.get_many(read.family, &read.keys)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let free_bytes = self.space.refresh()?;
        let usage = writer::usage(&self.engine)?;
        self.metrics.write_stalled.set(i64::from(self.engine.is_write_stalled()?));
        Ok(StoreStats {
            disk_bytes: self.disk_bytes()?,
            free_bytes,
            artifact_bytes: usage.whole_bytes,
            artifacts: usage.whole,
            disk_full: free_bytes < self.space.reserve(),
        })
    }

    /// All files of the directory: also the log and what compactions have not removed yet.
    fn disk_bytes(&self) -> Result<u64, StoreError> {
        let unread = |error: std::io::Error| {
            StoreError::Database(format!(
                "directory {} cannot be read: {error}",
                self.engine.path().display()
            ))
        };
        let mut sum = 0_u64;
        for entry in fs::read_dir(self.engine.path()).map_err(unread)? {
            match entry.map_err(unread)?.metadata() {
                Ok(metadata) if metadata.is_file() => sum = sum.saturating_add(metadata.len()),
                Ok(_) => {}
                // A compaction has removed it since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unread(error)),
            }
        }
        Ok(sum)
    }
}
