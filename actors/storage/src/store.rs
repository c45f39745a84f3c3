//! Opening the store as a whole, its ports, and its ordered end.

use crate::artifacts::{CollectNow, Collector, Keeper, KeeperParts};
use crate::engine::{Engine, Holder, Opened, open_database};
use crate::error::{CloseError, OpenError};
use crate::metrics::StoreMetrics;
use crate::options::StoreOptions;
use crate::readers::{LongReads, PointReads, Reader, serve_long, serve_points};
use crate::space::DiskSpace;
use crate::writer::{Limits, Writer, WriterParts};
use meshwork_kit::{Clock, Inbox, Port, channel_port_to};
use meshwork_proto::Request;
use meshwork_proto::artifact::{AppendArtifact, PutArtifact, ReadArtifact, StatArtifact};
use meshwork_proto::store::{Commit, GetStoreStats, ReadKey, ReadKeys, Scan};
use prometheus::Registry;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// Writes of the store's own that may wait; each thread that makes them waits for each.
const INTERNAL_QUEUE: usize = 4;
/// Artifact writes that may wait: each holds up to a piece, or a whole artifact, in memory.
const ARTIFACT_QUEUE: usize = 64;
const STATS_QUEUE: usize = 16;
/// How long dropping an open store waits for its threads.
const DROP_WITHIN: Duration = Duration::from_secs(10);

/// The ports of the store. Clones share the quotas.
#[derive(Debug, Clone)]
pub struct StorePorts {
    /// Atomic batches.
    pub commit: Port<Commit>,
    /// One value.
    pub read_key: Port<ReadKey>,
    /// Many values of one family, at most 10 000.
    pub read_keys: Port<ReadKeys>,
    /// A range.
    pub scan: Port<Scan>,
    /// Sizes and counters.
    pub stats: Port<GetStoreStats>,
    /// Stores an artifact.
    pub put_artifact: Port<PutArtifact>,
    /// Reads bytes of a whole artifact.
    pub read_artifact: Port<ReadArtifact>,
    /// How much of an artifact is here.
    pub stat_artifact: Port<StatArtifact>,
    /// Appends a piece that came from a peer.
    pub append_artifact: Port<AppendArtifact>,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreHealth {
    /// Everything works.
    Running,
    /// Reads go on, writes are refused; it recovers by itself when it can.
    Degraded {
        /// Why.
        reason: String,
    },
    /// A fault of ours ended the writer: the node must stop. Nothing acknowledged is lost.
    Failed {
        /// What happened.
        reason: String,
    },
    /// Closed.
    Stopped,
}

/// The open store. Dropping it waits for its threads, but neither reports nor syncs what was only written: use
/// [`Store::close`].
pub struct Store {
    /// What everyone else holds.
    pub ports: StorePorts,
    epoch: u32,
    engine: Arc<Engine>,
    health: watch::Receiver<StoreHealth>,
    front: Crew,
    writer: Crew,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests choose when garbage is collected"))]
    collect: Port<CollectNow>,
    #[cfg(test)]
    collects: Port<crate::writer::CollectArtifacts>,
    /// Given back last.
    _holder: Holder,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.engine.path())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Opens the store and starts its threads. Blocks while the database is read: call it off the async threads.
///
/// `runtime` only provides timers. The store works as long as the returned handle lives.
///
/// # Errors
/// See [`OpenError`]: locked, newer, damaged, foreign, no room, no permission. The directory is then left as it was.
pub fn open(
    options: StoreOptions,
    runtime: &Handle,
    registry: &Registry,
    clock: Clock,
) -> Result<Store, OpenError> {
    let Opened { engine, epoch, holder } = open_database(&options, clock.now())?;
    let engine = Arc::new(engine);
    let metrics = Arc::new(StoreMetrics::register(registry)?);
    let space = Arc::new(DiskSpace::new(
        options.path.clone(),
        options.free_space.clone(),
        options.disk_reserve_bytes,
        Arc::clone(&metrics),
    ));
    let shared = Shared { engine, metrics, space, clock, runtime: runtime.clone() };
    let (ports, inboxes) = make_ports(&options);
    let (health, health_seen) = watch::channel(StoreHealth::Running);
    let failed = |error: io::Error| OpenError::io(&options.path, "starting a thread", &error);
    let mut writer = Crew::new();
    let mut front = Crew::new();
    let (internal, internal_inbox) = port(INTERNAL_QUEUE);
    let (collects, collects_inbox) = port(INTERNAL_QUEUE);
    let parts = WriterParts {
        engine: Arc::clone(&shared.engine),
        space: Arc::clone(&shared.space),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
        durability: options.durability,
        limits: Limits::new(&options),
        commits: inboxes.commits,
        internal: internal_inbox,
        collects: collects_inbox,
        stop: writer.stop(),
        health: health.clone(),
    };
    shared.start_writer(&mut writer, parts, health).map_err(failed)?;
    let reads = (inboxes.points, inboxes.long);
    shared.start_readers(&mut front, options.read_threads, reads).map_err(failed)?;
    let (collect, collect_inbox) = port(1);
    let keeper = KeeperParts {
        engine: Arc::clone(&shared.engine),
        space: Arc::clone(&shared.space),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
        max_bytes: options.artifact_max_bytes,
        quota_bytes: options.artifact_quota_bytes,
        grace: options.artifact_grace,
        writer: internal,
        puts: inboxes.puts,
        appends: inboxes.appends,
        collects: collect_inbox,
        stop: front.stop(),
    };
    #[cfg(test)]
    let collects_for_tests = collects.clone();
    let collector = Collector::new(collects, Arc::clone(&shared.metrics), options.artifact_grace);
    shared.start_keeper(&mut front, keeper, collector).map_err(failed)?;
    tracing::info!(path = %options.path.display(), epoch, "store is open");
    let engine = shared.engine;
    Ok(Store {
        ports,
        epoch,
        engine,
        health: health_seen,
        front,
        writer,
        collect,
        #[cfg(test)]
        collects: collects_for_tests,
        _holder: holder,
    })
}

impl Store {
    /// Raised durably each time the store is opened; starts at 1.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How the store is, observable.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.health.clone()
    }

    /// Accepts nothing more, answers what waits, syncs the log, closes the database. Blocks up to `within`.
    ///
    /// # Errors
    /// [`CloseError::Busy`] names the threads that did not end in time; [`CloseError::Flush`] if the log could not be
    /// synced. What was acknowledged is safe in both cases.
    pub fn close(mut self, within: Duration) -> Result<(), CloseError> {
        let deadline = Instant::now() + within;
        // The keeper writes through the writer, so the writer ends last.
        let busy = [self.front.end(deadline), self.writer.end(deadline)].concat();
        if !busy.is_empty() {
            return Err(CloseError::Busy { within, busy });
        }
        let flushed = self.engine.flush_log();
        self.engine.close();
        flushed
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    #[cfg(test)]
    pub(crate) fn collect_port(&self) -> &Port<CollectNow> {
        &self.collect
    }

    #[cfg(test)]
    pub(crate) fn collects(&self) -> &Port<crate::writer::CollectArtifacts> {
        &self.collects
    }
}

/// What all threads share.
struct Shared {
    engine: Arc<Engine>,
    metrics: Arc<StoreMetrics>,
    space: Arc<DiskSpace>,
    clock: Clock,
    runtime: Handle,
}

impl Shared {
    fn start_writer(
        &self,
        crew: &mut Crew,
        parts: WriterParts,
        health: watch::Sender<StoreHealth>,
    ) -> io::Result<()> {
        crew.start("store-writer", &self.runtime, move || {
            if catch_unwind(AssertUnwindSafe(|| Writer::new(parts).run())).is_err() {
                tracing::error!("panic in the store's writer: it takes no more writes");
                let reason = "panic in the writer thread (a fault of ours)".to_owned();
                health.send_replace(StoreHealth::Failed { reason });
            }
        })
    }

    fn start_readers(
        &self,
        crew: &mut Crew,
        threads: usize,
        reads: (PointReads, LongReads),
    ) -> io::Result<()> {
        let reader = Reader {
            engine: Arc::clone(&self.engine),
            space: Arc::clone(&self.space),
            metrics: Arc::clone(&self.metrics),
        };
        let (points, long) = reads;
        let points = Arc::new(Mutex::new(points));
        for _ in 0..threads.max(2) {
            let (reader, points, stop) = (reader.clone(), Arc::clone(&points), crew.stop());
            crew.start("store-reader", &self.runtime, move || serve_points(&reader, &points, stop))?;
        }
        let stop = crew.stop();
        crew.start("store-scanner", &self.runtime, move || serve_long(&reader, long, stop))
    }

    fn start_keeper(&self, crew: &mut Crew, parts: KeeperParts, collector: Collector) -> io::Result<()> {
        crew.start("store-artifact", &self.runtime, move || {
            // Its ports close with it; the rest of the store works on.
            if catch_unwind(AssertUnwindSafe(|| Keeper::new(parts, collector).run())).is_err() {
                tracing::error!(
                    "panic in the store's artifact thread: artifacts can only be read from now on"
                );
            }
        })
    }
}

/// The receiving ends of [`StorePorts`].
struct Inboxes {
    commits: Inbox<Commit>,
    points: PointReads,
    long: LongReads,
    puts: Inbox<PutArtifact>,
    appends: Inbox<AppendArtifact>,
}

fn port<R: Request>(capacity: usize) -> (Port<R>, Inbox<R>) {
    channel_port_to("store", capacity)
}

fn make_ports(options: &StoreOptions) -> (StorePorts, Inboxes) {
    let queue = options.read_queue;
    let (commit, commits) = port(options.commit_queue);
    let (read_key, key) = port(queue);
    let (read_keys, keys) = port(queue);
    let (scan, scan_inbox) = port(queue);
    let (stats, stats_inbox) = port(STATS_QUEUE);
    let (put_artifact, puts) = port(ARTIFACT_QUEUE);
    let (read_artifact, piece) = port(queue);
    let (stat_artifact, stat) = port(queue);
    let (append_artifact, appends) = port(ARTIFACT_QUEUE);
    let ports = StorePorts {
        commit,
        read_key,
        read_keys,
        scan,
        stats,
        put_artifact,
        read_artifact,
        stat_artifact,
        append_artifact,
    };
    let points = PointReads { key, keys, stat };
    let long = LongReads { scan: scan_inbox, piece, stats: stats_inbox };
    (ports, Inboxes { commits, points, long, puts, appends })
}

/// Threads that are stopped and joined together.
///
/// Dropping it does so too: a thread that still used the database when the process ends would run into destructors of
/// RocksDB's statics, which aborts the process.
struct Crew {
    stop: watch::Sender<bool>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    /// Every thread holds a clone and never sends: when the last ends, the other side sees it.
    alive: Option<SyncSender<()>>,
    /// The mutex makes the store shareable; it is never contended.
    ended: std::sync::Mutex<Receiver<()>>,
}

impl Crew {
    fn new() -> Self {
        let (alive, ended) = sync_channel(0);
        Self {
            stop: watch::Sender::new(false),
            threads: Vec::new(),
            alive: Some(alive),
            ended: std::sync::Mutex::new(ended),
        }
    }

    fn stop(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    fn start(
        &mut self,
        name: &'static str,
        runtime: &Handle,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let alive = self.alive.clone();
        let runtime = runtime.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // For timers only; nothing of ours runs on the runtime's threads.
            let _timers = runtime.enter();
            run();
            drop(alive);
        })?;
        self.threads.push((name, thread));
        Ok(())
    }

    /// Stops all; names those that are still busy at the deadline.
    fn end(&mut self, deadline: Instant) -> Vec<&'static str> {
        self.stop.send_replace(true);
        self.alive = None;
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all_ended = matches!(ended.recv_timeout(left), Err(RecvTimeoutError::Disconnected));
        let mut busy = Vec::new();
        for (name, thread) in std::mem::take(&mut self.threads) {
            // A thread that has let go of its handle is about to end.
            if !all_ended && !thread.is_finished() {
                busy.push(name);
            } else if thread.join().is_err() {
                tracing::error!("thread {name} of the store had panicked");
            }
        }
        busy
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let busy = self.end(Instant::now() + DROP_WITHIN);
        if !busy.is_empty() {
            tracing::error!("the store was dropped while these threads were busy: {}", busy.join(", "));
        }
    }
}
