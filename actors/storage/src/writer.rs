//! The one writer thread: collects the commits that wait, writes them as one group with one fsync, then answers all.
//!
//! Nothing waits artificially when the store is idle or has one client: a group is what has arrived while the last
//! one was being synced. Only if the last group was larger, its clients are probably on their way back, and the writer
//! looks out for them for a fraction of an fsync's time.
//!
//! **When a write fails** nobody in the group gets an acknowledgement, and the store becomes *degraded*: writes are
//! refused with the reason, reads go on. RocksDB takes no more writes after an error of its log, so about once a second,
//! if there is room, the database is reopened. Its log may then bring back the group that had failed, though its askers
//! were told so; therefore the values from before it, read while they were still visible, are written back first.
//! (If the process is killed in between, the outcome of that group is open: each commit is there as a whole or not.)

mod group;

pub(crate) use group::{Limits, validate};

use crate::engine::{Engine, OldValue, RawOp, is_no_space};
use crate::keys;
use crate::metrics::{Refusal, StoreMetrics};
use crate::options::Durability;
use crate::records::{self, UsageRecord};
use crate::space::DiskSpace;
use crate::store::StoreHealth;
use bytes::Bytes;
use group::Group;
use meshwork_kit::{Clock, Envelope, Inbox};
use meshwork_proto::store::{Acknowledge, Commit, Family, StoreError};
use meshwork_proto::{Cid, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Time between two attempts to recover.
const RECOVERY_PERIOD: Duration = Duration::from_secs(1);
/// Reopening writes a new list of files, a new log, and flushes what the old log holds.
const ROOM_TO_REOPEN: u64 = 16 * 1024 * 1024;

/// A write of the store's own (artifacts), which joins the same groups.
#[derive(Debug)]
pub(crate) struct InternalWrite {
    pub(crate) ops: Vec<RawOp>,
    pub(crate) acknowledge: Acknowledge,
}

impl Request for InternalWrite {
    type Reply = Result<(), StoreError>;
    const NAME: &'static str = "store_internal_write";
}

/// Deletes artifacts that nobody pins. Only the writer can decide that: a pin may be on its way in an earlier commit.
#[derive(Debug)]
pub(crate) struct CollectArtifacts {
    /// The candidates.
    pub(crate) victims: Vec<Victim>,
    /// What is deleted in any case: times of unpins of artifacts that are gone.
    pub(crate) stale_unpins: Vec<Bytes>,
}

/// An artifact that may be deleted.
#[derive(Debug, Clone)]
pub(crate) struct Victim {
    pub(crate) cid: Cid,
    pub(crate) record: records::ArtifactRecord,
}

impl Request for CollectArtifacts {
    /// The artifacts that were deleted.
    type Reply = Result<Vec<Victim>, StoreError>;
    const NAME: &'static str = "store_collect_artifacts";
}

/// What the writer is made of.
pub(crate) struct WriterParts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) space: Arc<DiskSpace>,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) clock: Clock,
    pub(crate) durability: Durability,
    pub(crate) limits: Limits,
    pub(crate) commits: Inbox<Commit>,
    pub(crate) internal: Inbox<InternalWrite>,
    pub(crate) collects: Inbox<CollectArtifacts>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) health: watch::Sender<StoreHealth>,
}

/// The state of the writer thread.
pub(crate) struct Writer {
    parts: WriterParts,
    /// Set while writes are refused.
    trouble: Option<Trouble>,
    /// Commits in the last group.
    last_group: usize,
    /// Smoothed time of a write with fsync.
    usual_sync: Duration,
    /// Sequence number up to which the log is synced.
    synced: u64,
}

/// Why writes are refused, and what must be put right.
struct Trouble {
    reason: StoreError,
    /// Values from before the groups that failed.
    restore: Vec<OldValue>,
    next_attempt: Instant,
}

enum Event {
    Commit(Envelope<Commit>),
    Internal(Envelope<InternalWrite>),
    Collect(Envelope<CollectArtifacts>),
    Attempt,
    Stop,
}

impl Writer {
    pub(crate) fn new(parts: WriterParts) -> Self {
        let synced = 0;
        Self { parts, trouble: None, last_group: 0, usual_sync: Duration::ZERO, synced }
    }

    /// Runs until it is told to stop, then writes what still waits and syncs the log.
    pub(crate) fn run(mut self) {
        loop {
            match futures::executor::block_on(self.next()) {
                Event::Commit(first) => {
                    let mut group = Group::default();
                    self.admit(&mut group, first);
                    self.fill(&mut group);
                    self.write(group);
                }
                Event::Internal(first) => {
                    let mut group = Group::default();
                    group.join_internal(first);
                    self.fill(&mut group);
                    self.write(group);
                }
                Event::Collect(envelope) => {
                    let (request, reply) = envelope.into_parts();
                    reply.send(self.collect(request));
                }
                Event::Attempt => self.recover(),
                Event::Stop => break,
            }
        }
        self.drain();
    }

    async fn next(&mut self) -> Event {
        let attempt = self.trouble.as_ref().map(|trouble| trouble.next_attempt);
        let parts = &mut self.parts;
        tokio::select! {
            Ok(_) = parts.stop.wait_for(|stop| *stop) => Event::Stop,
            Some(envelope) = parts.commits.recv() => Event::Commit(envelope),
            Some(envelope) = parts.internal.recv() => Event::Internal(envelope),
            Some(envelope) = parts.collects.recv() => Event::Collect(envelope),
            () = at(attempt), if attempt.is_some() => Event::Attempt,
            // Every port is gone, and the handle that could stop us too.
            else => Event::Stop,
        }
    }

    /// Takes what has arrived, and waits for more if that is likely to come.
    fn fill(&mut self, group: &mut Group) {
        let limits = self.parts.limits;
        let mut quiet_since = None;
        let mut taken = 0;
        let began = Instant::now();
        // Refused commits fill no group, but they must not keep the writer from everything else either.
        while group.has_room(&limits) && taken < limits.max_ops() {
            if let Some(envelope) = self.parts.commits.try_recv() {
                self.admit(group, envelope);
                quiet_since = None;
                taken += 1;
            } else if let Some(envelope) = self.parts.internal.try_recv() {
                group.join_internal(envelope);
                quiet_since = None;
                taken += 1;
            } else {
                let now = Instant::now();
                let quiet = now.saturating_duration_since(*quiet_since.get_or_insert(now));
                let waited = now.saturating_duration_since(began);
                if !limits.is_worth_waiting(group.len(), self.last_group, quiet, waited, self.usual_sync) {
                    return;
                }
                // Lets those run who are about to commit; a timer would be a hundred times coarser than the wait.
                std::thread::yield_now();
            }
        }
    }

    /// Adds a commit to the group, or refuses it alone.
    fn admit(&self, group: &mut Group, envelope: Envelope<Commit>) {
        let (commit, reply) = envelope.into_parts();
        let (metrics, space) = (&self.parts.metrics, &self.parts.space);
        if let Some(trouble) = &self.trouble {
            metrics.refused(Refusal::Degraded);
            return reply.send(Err(trouble.reason.clone()));
        }
        if let Err(error) = space.admits(commit.admission) {
            metrics.refused(Refusal::DiskFull);
            return reply.send(Err(error));
        }
        if let Err(error) = validate(&commit).and_then(|()| group.join(commit, self.parts.clock.now())) {
            metrics.refused(Refusal::Invalid);
            return reply.send(Err(error));
        }
        group.add_asker(reply);
    }

    fn write(&mut self, mut group: Group) {
        if group.is_empty() {
            return;
        }
        if let Some(trouble) = &self.trouble {
            return group.answer(&Err(trouble.reason.clone()));
        }
        let sync = self.parts.durability == Durability::Fsync && group.is_durable();
        if sync {
            group.push(self.parts.engine.synced_marker(self.synced));
        }
        let began = Instant::now();
        let outcome = self.parts.engine.write(group.ops(), sync);
        match outcome {
            Ok(()) => {
                self.wrote(&group, sync, began.elapsed());
                group.answer(&Ok(()));
            }
            Err(error) => self.fail(group, error),
        }
    }

    fn wrote(&mut self, group: &Group, sync: bool, took: Duration) {
        let metrics = &self.parts.metrics;
        metrics.groups.inc();
        metrics.commits.inc_by(to_u64(group.len()));
        metrics.group_commits.observe(to_f64(group.len()));
        metrics.group_ops.observe(to_f64(group.ops().len()));
        metrics.written_bytes.inc_by(to_u64(group.bytes()));
        if sync {
            metrics.fsyncs.inc();
            metrics.fsync_seconds.observe(took.as_secs_f64());
            self.usual_sync = (self.usual_sync * 7 + took) / 8;
            // An engine that was closed under us has no number, and nothing to mark either.
            self.synced = self.parts.engine.last_sequence().unwrap_or(self.synced);
        }
        self.last_group = group.len();
    }

    /// Nobody in the group is acknowledged, and nothing more is written until the database has recovered.
    fn fail(&mut self, group: Group, error: StoreError) {
        self.parts.metrics.failed_commits.inc_by(to_u64(group.len()));
        let restore = match self.parts.engine.values_before(group.ops()) {
            Ok(values) => values,
            Err(unread) => {
                tracing::error!(
                    "values from before a failed write cannot be read, its outcome is open: {unread}"
                );
                Vec::new()
            }
        };
        let reason = self.reason(error);
        tracing::error!(commits = group.len(), "a group of commits could not be written: {reason}");
        // Whoever sees the answer sees the trouble too.
        self.enter_trouble(reason.clone(), restore);
        group.answer(&Err(reason));
    }

    /// A full disk is told as such, whatever the database calls it.
    fn reason(&self, error: StoreError) -> StoreError {
        let space = &self.parts.space;
        match space.refresh() {
            Ok(free) if is_no_space(&error) => StoreError::DiskFull { free, reserve: space.reserve() },
            _ => error,
        }
    }

    fn enter_trouble(&mut self, reason: StoreError, restore: Vec<OldValue>) {
        self.parts.metrics.degraded.set(1);
        self.parts.health.send_replace(StoreHealth::Degraded { reason: reason.to_string() });
        self.trouble = Some(Trouble { reason, restore, next_attempt: Instant::now() + RECOVERY_PERIOD });
    }

    /// Reopens the database if there is room, and takes back what had failed.
    fn recover(&mut self) {
        let Some(mut trouble) = self.trouble.take() else { return };
        match self.try_recover(&trouble) {
            Ok(()) => {
                self.parts.metrics.degraded.set(0);
                self.parts.metrics.recoveries.inc();
                self.parts.health.send_replace(StoreHealth::Running);
                tracing::info!("the database takes writes again");
            }
            Err(error) => {
                tracing::debug!("the database is still in trouble: {error}");
                trouble.next_attempt = Instant::now() + RECOVERY_PERIOD;
                self.trouble = Some(trouble);
            }
        }
    }

    fn try_recover(&self, trouble: &Trouble) -> Result<(), StoreError> {
        let free = self.parts.space.refresh()?;
        let reserve = self.parts.space.reserve();
        if free < reserve.min(ROOM_TO_REOPEN) {
            return Err(StoreError::DiskFull { free, reserve });
        }
        self.parts.engine.reopen()?;
        let restore: Vec<RawOp> = trouble.restore.iter().map(put_back).collect();
        self.parts.engine.write(&restore, true)
    }

    fn collect(&mut self, request: CollectArtifacts) -> Result<Vec<Victim>, StoreError> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.reason.clone());
        }
        let engine = &self.parts.engine;
        let mut usage = usage(engine)?;
        let mut ops: Vec<RawOp> = Vec::new();
        let mut collected = Vec::new();
        for victim in request.victims {
            // A partial one is deleted although it is pinned: its exchange has died, and a new one starts anew.
            if victim.record.whole && engine.has_prefix(Family::Artifacts, &keys::pins(&victim.cid))? {
                continue;
            }
            ops.extend(delete_artifact(&victim.cid));
            if victim.record.whole {
                ops.push(delete(keys::unpinned(&victim.cid)));
            }
            usage.remove(&victim.record);
            collected.push(victim);
        }
        ops.extend(request.stale_unpins.into_iter().map(delete));
        if ops.is_empty() {
            return Ok(collected);
        }
        ops.push(put_usage(&usage)?);
        // Not synced: what power loss brings back is collected again.
        if let Err(error) = engine.write(&ops, false) {
            let reason = self.reason(error);
            self.enter_trouble(reason.clone(), Vec::new());
            return Err(reason);
        }
        Ok(collected)
    }

    /// Accepts nothing more, writes what waits, syncs the log.
    fn drain(&mut self) {
        self.parts.commits.close();
        self.parts.internal.close();
        self.parts.collects.close();
        self.last_group = 0;
        // Closed inboxes only become shorter.
        while !(self.parts.commits.is_empty() && self.parts.internal.is_empty()) {
            let mut group = Group::default();
            self.fill(&mut group);
            self.write(group);
        }
        self.parts.health.send_replace(StoreHealth::Stopped);
    }
}

/// Ends at the given time; never if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn put_back((family, key, old): &OldValue) -> RawOp {
    let (family, key) = (*family, key.clone());
    match old {
        Some(value) => RawOp::Put { family, key, value: value.clone() },
        None => RawOp::Delete { family, key },
    }
}

fn delete(key: Bytes) -> RawOp {
    RawOp::Delete { family: Family::Artifacts, key }
}

/// Deletes an artifact's record and bytes.
pub(crate) fn delete_artifact(cid: &Cid) -> [RawOp; 2] {
    let (from, to) = (keys::piece(cid, 0), keys::pieces_end(cid));
    [delete(keys::artifact(cid)), RawOp::DeleteRange { family: Family::Artifacts, from, to }]
}

/// Sums over all artifacts.
pub(crate) fn usage(engine: &Engine) -> Result<UsageRecord, StoreError> {
    let stored = engine.get(Family::Meta, keys::USAGE)?;
    stored.map_or_else(|| Ok(UsageRecord::default()), |bytes| records::decode(&bytes))
}

/// Writes the sums.
pub(crate) fn put_usage(usage: &UsageRecord) -> Result<RawOp, StoreError> {
    let key = Bytes::from_static(keys::USAGE);
    Ok(RawOp::Put { family: Family::Meta, key, value: records::encode(usage)? })
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a histogram's value; exact below 2^53")]
fn to_f64(n: usize) -> f64 {
    n as f64
}
