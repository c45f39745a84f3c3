//! Collecting garbage: artifacts that nobody pins, and exchanges that nobody goes on with.
//!
//! A pass looks at every artifact's record in key order, a bounded number per step, so that it never holds up puts for
//! long. It only proposes: the writer deletes what is still unpinned when its turn comes, after every commit before it.

use crate::engine::Engine;
use crate::keys;
use crate::metrics::StoreMetrics;
use crate::records::{self, ArtifactRecord, UnpinnedRecord};
use crate::writer::{CollectArtifacts, Victim};
use bytes::Bytes;
use meshwork_kit::Port;
use meshwork_proto::store::{Family, Scan, StoreError};
use meshwork_proto::{Cid, Request, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Records looked at in one step.
const PER_STEP: u32 = 256;
/// Time between two steps of a pass.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// A pass starts every quarter of the grace time, within these limits.
const PASS_PERIOD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(900));
/// Puts at the quota do not start a pass of their own more often than this.
const EAGER_PERIOD: Duration = Duration::from_secs(1);
/// Collected bytes after which RocksDB is asked to give the room back at once.
const COMPACT_AFTER: u64 = 64 * 1024 * 1024;
/// How long the writer may take for one step.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// Collects all that may be collected at `now`, which lets tests and operators choose the time.
#[derive(Debug)]
pub(crate) struct CollectNow {
    pub(crate) now: UnixMillis,
}

impl Request for CollectNow {
    /// Bytes collected.
    type Reply = Result<u64, StoreError>;
    const NAME: &'static str = "store_collect_now";
}

/// Where the pass is.
pub(crate) struct Collector {
    writer: Port<CollectArtifacts>,
    metrics: Arc<StoreMetrics>,
    grace: Duration,
    at: Cursor,
    next_step: Instant,
    last_eager: Option<Instant>,
    /// Bytes collected since RocksDB was last asked to give room back.
    uncompacted: u64,
}

/// First the artifacts' records, then the times of unpins, whose artifacts may be gone.
enum Cursor {
    Artifacts(Bytes),
    Unpins(Bytes),
}

/// What a step has found.
struct Found {
    victims: Vec<Victim>,
    stale_unpins: Vec<Bytes>,
    /// Where the next step goes on; `None` at the end of the pass.
    next: Option<Cursor>,
}

impl Collector {
    pub(crate) fn new(writer: Port<CollectArtifacts>, metrics: Arc<StoreMetrics>, grace: Duration) -> Self {
        let at = Cursor::start();
        let next_step = Instant::now() + pass_period(grace);
        Self { writer, metrics, grace, at, next_step, last_eager: None, uncompacted: 0 }
    }

    /// When the next step is due.
    pub(crate) fn next_step(&self) -> Instant {
        self.next_step
    }

    /// Whether a whole pass may run outside the rhythm now.
    pub(crate) fn may_run_now(&mut self) -> bool {
        let now = Instant::now();
        let may = self.last_eager.is_none_or(|last| now.saturating_duration_since(last) >= EAGER_PERIOD);
        if may {
            self.last_eager = Some(now);
        }
        may
    }

    /// One step of the pass; returns what was collected.
    pub(crate) fn step(&mut self, engine: &Engine, now: UnixMillis) -> Result<Vec<Victim>, StoreError> {
        // Also after an error: the next attempt is a whole period away.
        self.next_step = Instant::now() + pass_period(self.grace);
        let found = self.look(engine, now)?;
        let collected = self.delete(found.victims, found.stale_unpins)?;
        if let Some(next) = found.next {
            self.at = next;
            self.next_step = Instant::now() + STEP_PAUSE;
        } else {
            self.at = Cursor::start();
            self.give_room_back(engine)?;
        }
        Ok(collected)
    }

    /// A whole pass from the start.
    pub(crate) fn pass(&mut self, engine: &Engine, now: UnixMillis) -> Result<Vec<Victim>, StoreError> {
        self.at = Cursor::start();
        let mut collected = self.step(engine, now)?;
        while !self.at.is_start() {
            collected.extend(self.step(engine, now)?);
        }
        Ok(collected)
    }

    fn look(&self, engine: &Engine, now: UnixMillis) -> Result<Found, StoreError> {
        let mut found = Found { victims: Vec::new(), stale_unpins: Vec::new(), next: None };
        let (kind, entries) = match &self.at {
            Cursor::Artifacts(from) => (keys::ARTIFACT, page(engine, keys::ARTIFACT, from)?),
            Cursor::Unpins(from) => (keys::UNPINNED, page(engine, keys::UNPINNED, from)?),
        };
        for (key, value) in &entries {
            let cid = keys::cid_of(key)
                .ok_or_else(|| StoreError::Corrupt(format!("artifact key {key:?} names no content id")))?;
            if kind == keys::ARTIFACT {
                let record: ArtifactRecord = records::decode(value)?;
                if self.may_go(engine, &cid, &record, now)? {
                    found.victims.push(Victim { cid, record });
                }
            } else if self.is_stale_unpin(engine, &cid, value, now)? {
                found.stale_unpins.push(key.clone());
            }
        }
        let full = u32::try_from(entries.len()).is_ok_and(|len| len >= PER_STEP);
        found.next = match (&self.at, entries.last()) {
            (Cursor::Artifacts(_), Some((last, _))) if full => Some(Cursor::Artifacts(last.clone())),
            (Cursor::Artifacts(_), _) => Some(Cursor::Unpins(Bytes::from_static(&[keys::UNPINNED]))),
            (Cursor::Unpins(_), Some((last, _))) if full => Some(Cursor::Unpins(last.clone())),
            (Cursor::Unpins(_), _) => None,
        };
        Ok(found)
    }

    /// Whether the grace time is over; the writer looks at the pins once more.
    fn may_go(
        &self,
        engine: &Engine,
        cid: &Cid,
        record: &ArtifactRecord,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        if now.since(record.stored_at) < self.grace {
            return Ok(false);
        }
        if !record.whole {
            return Ok(true);
        }
        if engine.has_prefix(Family::Artifacts, &keys::pins(cid))? {
            return Ok(false);
        }
        match engine.get(Family::Artifacts, &keys::unpinned(cid))? {
            None => Ok(true),
            Some(value) => {
                let unpinned: UnpinnedRecord = records::decode(&value)?;
                Ok(now.since(unpinned.at) >= self.grace)
            }
        }
    }

    fn is_stale_unpin(
        &self,
        engine: &Engine,
        cid: &Cid,
        value: &[u8],
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let unpinned: UnpinnedRecord = records::decode(value)?;
        let over = now.since(unpinned.at) >= self.grace;
        Ok(over && engine.get(Family::Artifacts, &keys::artifact(cid))?.is_none())
    }

    fn delete(&mut self, victims: Vec<Victim>, stale_unpins: Vec<Bytes>) -> Result<Vec<Victim>, StoreError> {
        if victims.is_empty() && stale_unpins.is_empty() {
            return Ok(Vec::new());
        }
        let asked = self.writer.ask(CollectArtifacts { victims, stale_unpins }, WRITE_WITHIN);
        let collected = futures::executor::block_on(asked)
            .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))?;
        for victim in &collected {
            let which =
                if victim.record.whole { &self.metrics.collected } else { &self.metrics.collected_partials };
            which.inc();
            self.metrics.collected_bytes.inc_by(victim.record.have);
            self.uncompacted = self.uncompacted.saturating_add(victim.record.have);
        }
        Ok(collected)
    }

    /// Deleted ranges only free the disk when their files are compacted, which nothing else may ever cause here.
    fn give_room_back(&mut self, engine: &Engine) -> Result<(), StoreError> {
        if self.uncompacted < COMPACT_AFTER {
            return Ok(());
        }
        self.uncompacted = 0;
        engine.compact(Family::Artifacts, &[], &[u8::MAX])
    }
}

impl Cursor {
    fn start() -> Self {
        Self::Artifacts(Bytes::from_static(&[keys::ARTIFACT]))
    }

    /// A start is a prefix alone, never a whole key.
    fn is_start(&self) -> bool {
        matches!(self, Self::Artifacts(from) if from.len() == 1)
    }
}

fn page(engine: &Engine, kind: u8, from: &Bytes) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let to = Some(Bytes::copy_from_slice(&[kind.saturating_add(1)]));
    engine.scan(&Scan {
        family: Family::Artifacts,
        from: from.clone(),
        after: true,
        to,
        limit: PER_STEP,
        reverse: false,
    })
}

fn pass_period(grace: Duration) -> Duration {
    (grace / 4).clamp(PASS_PERIOD.0, PASS_PERIOD.1)
}
