//! The thread that stores artifacts. It alone changes them, one request after the other, through the writer.

use super::collect::{CollectNow, Collector};
use super::{bytes_from, record};
use crate::engine::{Engine, RawOp};
use crate::keys;
use crate::metrics::{Refusal, StoreMetrics};
use crate::records::{self, ArtifactRecord, UsageRecord};
use crate::space::DiskSpace;
use crate::writer::{self, InternalWrite};
use bytes::Bytes;
use meshwork_kit::{Clock, Envelope, Inbox, Port, Reply};
use meshwork_proto::artifact::{
    ARTIFACT_CHUNK, AppendArtifact, ArtifactError, ArtifactPresence, PutArtifact,
};
use meshwork_proto::cid::CidHasher;
use meshwork_proto::store::{Acknowledge, Family, StoreError};
use meshwork_proto::{Cid, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the writer may take for one write of ours; it only takes long when the disk is in trouble.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a large artifact in one write: small enough that a commit behind it hardly waits.
const PER_WRITE: usize = 4 * ARTIFACT_CHUNK;
/// Most puts that are written together.
const PUTS_TOGETHER: usize = 64;
/// Exchanges under way whose hash state is kept; others are hashed again from what is stored.
const HASHERS: usize = 64;
/// Storing again what is there restarts its grace time, but only writes if this part of it has passed.
const RENEW_FRACTION: u32 = 8;

/// What the keeper is made of.
pub(crate) struct KeeperParts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) space: Arc<DiskSpace>,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) clock: Clock,
    pub(crate) max_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) grace: Duration,
    pub(crate) writer: Port<InternalWrite>,
    pub(crate) puts: Inbox<PutArtifact>,
    pub(crate) appends: Inbox<AppendArtifact>,
    pub(crate) collects: Inbox<CollectNow>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// The state of the thread.
pub(crate) struct Keeper {
    parts: KeeperParts,
    collector: Collector,
    /// Hash states of exchanges under way.
    hashers: BTreeMap<Cid, CidHasher>,
}

enum Event {
    Put(Envelope<PutArtifact>),
    Append(Envelope<AppendArtifact>),
    Collect(Envelope<CollectNow>),
    CollectSome,
    Stop,
}

type PutReply = Reply<Result<Cid, ArtifactError>>;

/// Small artifacts that are written together.
#[derive(Default)]
struct PutBatch {
    ops: Vec<RawOp>,
    cids: BTreeSet<Cid>,
    waiting: Vec<(Cid, PutReply)>,
    usage: Option<UsageRecord>,
}

impl Keeper {
    pub(crate) fn new(parts: KeeperParts, collector: Collector) -> Self {
        Self { parts, collector, hashers: BTreeMap::new() }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        self.show_usage();
        loop {
            match futures::executor::block_on(self.next()) {
                Event::Put(first) => self.put_waiting(first),
                Event::Append(envelope) => {
                    let (append, reply) = envelope.into_parts();
                    let outcome = self.append(append);
                    self.count(outcome.as_ref().err());
                    reply.send(outcome);
                }
                Event::Collect(envelope) => {
                    let (CollectNow { now }, reply) = envelope.into_parts();
                    reply.send(self.collect_all(now));
                }
                Event::CollectSome => {
                    let now = self.parts.clock.now();
                    let outcome = self.collector.step(&self.parts.engine, now);
                    self.forget_collected(outcome);
                }
                Event::Stop => return,
            }
            self.show_usage();
        }
    }

    async fn next(&mut self) -> Event {
        let parts = &mut self.parts;
        tokio::select! {
            Ok(_) = parts.stop.wait_for(|stop| *stop) => Event::Stop,
            Some(envelope) = parts.puts.recv() => Event::Put(envelope),
            Some(envelope) = parts.appends.recv() => Event::Append(envelope),
            Some(envelope) = parts.collects.recv() => Event::Collect(envelope),
            () = tokio::time::sleep_until(self.collector.next_step()) => Event::CollectSome,
        }
    }

    /// Stores what waits: small ones with one write, large ones in pieces.
    fn put_waiting(&mut self, first: Envelope<PutArtifact>) {
        let mut batch = PutBatch::default();
        let mut next = Some(first);
        while let Some(envelope) = next {
            let (PutArtifact(bytes), reply) = envelope.into_parts();
            self.put(&mut batch, bytes, reply);
            let full = batch.waiting.len() >= PUTS_TOGETHER || batch.cids.len() * ARTIFACT_CHUNK >= PER_WRITE;
            next = if full { None } else { self.parts.puts.try_recv() };
        }
        self.flush(batch);
    }

    fn put(&mut self, batch: &mut PutBatch, bytes: Bytes, reply: PutReply) {
        let cid = Cid::of(&bytes);
        if batch.cids.contains(&cid) {
            return batch.waiting.push((cid, reply));
        }
        if bytes.len() > ARTIFACT_CHUNK {
            self.flush(std::mem::take(batch));
            let outcome = self.put_large(cid, &bytes);
            self.count(outcome.as_ref().err());
            return reply.send(outcome.map(|()| cid));
        }
        let mut outcome = self.put_small(batch, cid, bytes.clone());
        if matches!(outcome, Err(ArtifactError::QuotaExceeded { .. })) && batch.usage.is_some() {
            // Garbage is only collected when nothing is pending.
            self.flush(std::mem::take(batch));
            outcome = self.put_small(batch, cid, bytes);
        }
        match outcome {
            Ok(()) => batch.waiting.push((cid, reply)),
            Err(error) => {
                self.count(Some(&error));
                reply.send(Err(error));
            }
        }
    }

    fn put_small(&mut self, batch: &mut PutBatch, cid: Cid, bytes: Bytes) -> Result<(), ArtifactError> {
        let now = self.parts.clock.now();
        let len = bytes.len() as u64;
        let before = record(&self.parts.engine, &cid)?;
        if let Some(there) = before.as_ref().filter(|record| record.whole) {
            if self.is_due_for_renewal(there, now) {
                batch.ops.push(put_record(&cid, &ArtifactRecord { stored_at: now, ..there.clone() })?);
                batch.cids.insert(cid);
            }
            return Ok(());
        }
        let usage = self.room_for(len, batch.usage)?;
        let whole = ArtifactRecord { total_len: len, have: len, whole: true, stored_at: now };
        let record = put_record(&cid, &whole)?;
        let usage = batch.usage.insert(usage);
        if let Some(partial) = &before {
            usage.remove(partial);
            batch.ops.extend(writer::delete_artifact(&cid));
            self.hashers.remove(&cid);
        }
        usage.add(&whole);
        batch.ops.extend(pieces(&cid, 0, &bytes));
        batch.ops.push(record);
        batch.cids.insert(cid);
        Ok(())
    }

    fn flush(&mut self, batch: PutBatch) {
        let outcome = self.write_batch(batch.ops, batch.usage);
        for (cid, reply) in batch.waiting {
            reply.send(outcome.clone().map(|()| cid).map_err(ArtifactError::Store));
        }
    }

    fn write_batch(&self, mut ops: Vec<RawOp>, usage: Option<UsageRecord>) -> Result<(), StoreError> {
        if let Some(usage) = usage {
            ops.push(writer::put_usage(&usage)?);
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.write(ops, Acknowledge::Durable)
    }

    /// Stores a large artifact piece by piece; only the last write, which makes it readable, waits for the fsync.
    fn put_large(&mut self, cid: Cid, bytes: &Bytes) -> Result<(), ArtifactError> {
        let now = self.parts.clock.now();
        let total_len = bytes.len() as u64;
        let before = record(&self.parts.engine, &cid)?;
        if let Some(there) = before.as_ref().filter(|record| record.whole) {
            if self.is_due_for_renewal(there, now) {
                let renewed = put_record(&cid, &ArtifactRecord { stored_at: now, ..there.clone() })?;
                self.write(vec![renewed], Acknowledge::Durable)?;
            }
            return Ok(());
        }
        self.room_for(total_len, None)?;
        if before.is_some() {
            self.drop_partial(&cid)?;
        }
        let mut offset = 0;
        for part in chunks(bytes, PER_WRITE) {
            let have = offset + part.len() as u64;
            let last = have == total_len;
            let record = ArtifactRecord { total_len, have, whole: last, stored_at: now };
            let acknowledge = if last { Acknowledge::Durable } else { Acknowledge::Written };
            self.write_piece(&cid, offset, &part, &record, acknowledge)?;
            offset = have;
        }
        Ok(())
    }

    /// Appends a piece that came from a peer.
    fn append(&mut self, append: AppendArtifact) -> Result<ArtifactPresence, ArtifactError> {
        let AppendArtifact { cid, offset, total_len, bytes } = append;
        let before = record(&self.parts.engine, &cid)?;
        if let Some(whole) = before.as_ref().filter(|record| record.whole) {
            return Ok(ArtifactPresence::Whole { len: whole.total_len });
        }
        let have = self.goes_on_from(&cid, before, total_len)?;
        if offset != have {
            return Err(ArtifactError::OutOfOrder { cid, offset, have });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > total_len {
            return Err(ArtifactError::TooLarge { len: end, max: total_len });
        }
        self.room_for(total_len - have, None)?;
        let mut hasher = match self.hasher(&cid, have) {
            Ok(hasher) => hasher,
            // What was held is not whole: the exchange starts anew.
            Err(StoreError::Corrupt(what)) => {
                tracing::warn!("partial artifact {cid} is dropped: {what}");
                self.drop_partial(&cid)?;
                return Err(ArtifactError::OutOfOrder { cid, offset, have: 0 });
            }
            Err(error) => return Err(error.into()),
        };
        hasher.update(&bytes);
        let last = end == total_len;
        if last {
            self.check(&cid, hasher)?;
        } else if bytes.is_empty() {
            return Ok(ArtifactPresence::Partial { have });
        } else {
            self.keep_hasher(cid, hasher);
        }
        let now = self.parts.clock.now();
        let record = ArtifactRecord { total_len, have: end, whole: last, stored_at: now };
        // What power loss takes from a partial artifact is asked for again.
        let acknowledge = if last { Acknowledge::Durable } else { Acknowledge::Written };
        if let Err(error) = self.write_piece(&cid, offset, &bytes, &record, acknowledge) {
            self.hashers.remove(&cid);
            return Err(error.into());
        }
        Ok(if last {
            ArtifactPresence::Whole { len: total_len }
        } else {
            ArtifactPresence::Partial { have: end }
        })
    }

    /// Where an exchange goes on. What was held of an artifact of another length is dropped: one sender was wrong.
    fn goes_on_from(
        &mut self,
        cid: &Cid,
        before: Option<ArtifactRecord>,
        total_len: u64,
    ) -> Result<u64, ArtifactError> {
        match before {
            None => Ok(0),
            Some(partial) if partial.total_len == total_len => Ok(partial.have),
            Some(_) => {
                self.drop_partial(cid)?;
                Ok(0)
            }
        }
    }

    /// The hash state after the first `have` bytes.
    fn hasher(&mut self, cid: &Cid, have: u64) -> Result<CidHasher, StoreError> {
        if let Some(hasher) = self.hashers.remove(cid).filter(|hasher| hasher.len() == have) {
            return Ok(hasher);
        }
        let mut hasher = CidHasher::new();
        while hasher.len() < have {
            let left = usize::try_from(have - hasher.len()).unwrap_or(ARTIFACT_CHUNK);
            hasher.update(&bytes_from(&self.parts.engine, cid, hasher.len(), left.min(ARTIFACT_CHUNK))?);
        }
        Ok(hasher)
    }

    fn keep_hasher(&mut self, cid: Cid, hasher: CidHasher) {
        if self.hashers.len() >= HASHERS {
            // Which one goes does not matter: it is computed again when its exchange goes on.
            self.hashers.pop_first();
        }
        self.hashers.insert(cid, hasher);
    }

    /// Compares what came with the id; on a mismatch all pieces are dropped.
    fn check(&mut self, cid: &Cid, hasher: CidHasher) -> Result<(), ArtifactError> {
        if hasher.clone().verify(cid).is_ok() {
            return Ok(());
        }
        self.drop_partial(cid)?;
        Err(ArtifactError::Mismatch { expected: *cid, found: hasher.finish() })
    }

    fn drop_partial(&mut self, cid: &Cid) -> Result<(), StoreError> {
        self.hashers.remove(cid);
        let Some(partial) = record(&self.parts.engine, cid)? else { return Ok(()) };
        let mut usage = writer::usage(&self.parts.engine)?;
        usage.remove(&partial);
        let mut ops = writer::delete_artifact(cid).to_vec();
        ops.push(writer::put_usage(&usage)?);
        self.write(ops, Acknowledge::Written)
    }

    fn write_piece(
        &self,
        cid: &Cid,
        offset: u64,
        bytes: &Bytes,
        after: &ArtifactRecord,
        acknowledge: Acknowledge,
    ) -> Result<(), StoreError> {
        let mut usage = writer::usage(&self.parts.engine)?;
        if offset > 0 {
            usage.remove(&ArtifactRecord { have: offset, whole: false, ..after.clone() });
        }
        usage.add(after);
        let mut ops = pieces(cid, offset, bytes);
        ops.push(put_record(cid, after)?);
        ops.push(writer::put_usage(&usage)?);
        self.write(ops, acknowledge)
    }

    fn write(&self, ops: Vec<RawOp>, acknowledge: Acknowledge) -> Result<(), StoreError> {
        let asked = self.parts.writer.ask(InternalWrite { ops, acknowledge }, WRITE_WITHIN);
        futures::executor::block_on(asked)
            .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }

    /// The sums, if `len` more bytes fit; at the quota garbage is collected first.
    fn room_for(&mut self, len: u64, pending: Option<UsageRecord>) -> Result<UsageRecord, ArtifactError> {
        let (max, quota) = (self.parts.max_bytes, self.parts.quota_bytes);
        if len > max {
            return Err(ArtifactError::TooLarge { len, max });
        }
        self.parts.space.admits_artifact(len)?;
        let fits = |usage: &UsageRecord| usage.bytes().saturating_add(len) <= quota;
        let usage = pending.map_or_else(|| writer::usage(&self.parts.engine), Ok)?;
        if fits(&usage) {
            return Ok(usage);
        }
        // What is pending is not in the sums of the database, so a batch is never mixed with a collection.
        if pending.is_none() && self.collector.may_run_now() {
            self.collect_all(self.parts.clock.now())?;
            let usage = writer::usage(&self.parts.engine)?;
            if fits(&usage) {
                return Ok(usage);
            }
        }
        Err(ArtifactError::QuotaExceeded { used: usage.bytes(), quota, len })
    }

    fn collect_all(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let outcome = self.collector.pass(&self.parts.engine, now);
        let bytes = outcome.as_ref().map(|collected| collected.iter().map(|victim| victim.record.have).sum());
        let bytes = bytes.map_err(Clone::clone);
        self.forget_collected(outcome);
        bytes
    }

    fn forget_collected(&mut self, outcome: Result<Vec<writer::Victim>, StoreError>) {
        match outcome {
            Ok(collected) => {
                for victim in collected {
                    self.hashers.remove(&victim.cid);
                }
            }
            Err(error) => {
                tracing::warn!("artifacts could not be collected, it is tried again later: {error}")
            }
        }
    }

    fn is_due_for_renewal(&self, there: &ArtifactRecord, now: UnixMillis) -> bool {
        now.since(there.stored_at) >= self.parts.grace / RENEW_FRACTION
    }

    fn count(&self, error: Option<&ArtifactError>) {
        match error {
            Some(ArtifactError::QuotaExceeded { .. }) => self.parts.metrics.refused(Refusal::Quota),
            Some(ArtifactError::Store(StoreError::DiskFull { .. })) => {
                self.parts.metrics.refused(Refusal::DiskFull)
            }
            Some(ArtifactError::TooLarge { .. }) => self.parts.metrics.refused(Refusal::Invalid),
            _ => {}
        }
    }

    fn show_usage(&self) {
        let metrics = &self.parts.metrics;
        // While the database is in trouble the last figures stand.
        if let Ok(usage) = writer::usage(&self.parts.engine) {
            metrics.artifact_bytes.set(i64::try_from(usage.whole_bytes).unwrap_or(i64::MAX));
            metrics.artifacts.set(i64::try_from(usage.whole).unwrap_or(i64::MAX));
            metrics.artifact_partial_bytes.set(i64::try_from(usage.partial_bytes).unwrap_or(i64::MAX));
        }
    }
}

fn put_record(cid: &Cid, record: &ArtifactRecord) -> Result<RawOp, StoreError> {
    let value = records::encode(record)?;
    Ok(RawOp::Put { family: Family::Artifacts, key: keys::artifact(cid), value })
}

/// The writes that store `bytes` from `offset`.
fn pieces(cid: &Cid, offset: u64, bytes: &Bytes) -> Vec<RawOp> {
    let mut at = offset;
    chunks(bytes, ARTIFACT_CHUNK)
        .map(|value| {
            let key = keys::piece(cid, at);
            at = at.saturating_add(value.len() as u64);
            RawOp::Put { family: Family::Artifacts, key, value }
        })
        .collect()
}

/// Slices that share the bytes.
fn chunks(bytes: &Bytes, size: usize) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len()).step_by(size).map(move |start| bytes.slice(start..bytes.len().min(start + size)))
}
