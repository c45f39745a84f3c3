//! A registry of peers in files that the nodes of a machine, or of a shared file system, read and write.
//!
//! It has the two forms of the Python nodes, so that both kinds of node find one another there: a directory with one
//! file per node (`peer_<runner>.json`), or a single file with all of them (`peer_registry.json`). Which of them it is
//! says the path: one that ends in `.json` is a single file.
//!
//! Entries are replaced as a whole (temporary file, then rename), so no reader ever sees half of one. Nothing there is
//! trusted: what is no entry is skipped and counted, and only what is certainly dead is removed.

mod directory;
mod files;
mod single;

use super::{OwnCard, PeerSource, Schedule, SourceError, entry};
use crate::clip::clip;
use entry::Entry;
use futures::future::BoxFuture;
use meshwork_kit::{Backoff, Clock};
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::{PeerId, UnixMillis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// After how long an entry that nobody has renewed is removed. The Python nodes do so after their time to live; the clock
/// of a machine may be off by hours, and an entry that is ignored does no harm.
const DEAD_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// By how much the clocks of machines differ that are set: an entry of a later time is of one that is not, or invented.
const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// Settings of the file registry.
#[derive(Debug, Clone)]
pub struct FileRegistryOptions {
    /// The directory, or the file that ends in `.json`. It is made if it is not there.
    pub path: PathBuf,
    /// The name under which this node keeps its file; if another node has it, a part of the peer id is added. None: the
    /// peer id.
    pub runner: Option<String>,
    /// Entries older than this are ignored; zero: none is. Our own is renewed after a quarter of it.
    pub ttl: Duration,
    /// Pause between visits.
    pub interval: Duration,
    /// How long a visit may take, waiting for the others' lock included.
    pub deadline: Duration,
    /// Seed of the draw among more entries than are taken at a visit.
    pub seed: u64,
}

impl FileRegistryOptions {
    /// The usual settings for a registry at this path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            runner: None,
            ttl: Duration::from_secs(1_800),
            interval: Duration::from_secs(30),
            deadline: Duration::from_secs(10),
            seed: 0,
        }
    }
}

/// A registry in files as a source.
pub struct FileRegistry {
    options: FileRegistryOptions,
    clock: Clock,
    rng: StdRng,
    ahead: Ahead,
    /// Entries that were skipped at the last visit: only a change is worth a line in the log.
    skipped: usize,
}

/// What one visit needs to know.
#[derive(Debug, Clone)]
struct Visit {
    path: PathBuf,
    own: OwnCard,
    runner: String,
    now: UnixMillis,
    ttl: Duration,
    seed: u64,
}

/// Entries of a single file with a time to come: what each says, and when it was seen to say so first. By its own clock
/// such an entry would be new until the others' clocks have reached that time, however long its node is gone; there the
/// file system cannot help, for the file is written by all. So it is as old as it has stood there unchanged, as far as this
/// node has seen.
#[derive(Debug, Default)]
struct Ahead(BTreeMap<PeerId, (UnixMillis, UnixMillis)>);

impl Ahead {
    fn date(&mut self, entries: &mut [(Duration, Entry)], now: UnixMillis) {
        let mut ahead = BTreeMap::new();
        for (age, entry) in entries {
            let Some(said) = entry.last_seen else { continue };
            let noticed = self.0.get(&entry.peer).filter(|(before, _)| *before == said);
            if noticed.is_none() && said <= now.after(CLOCKS_DIFFER) {
                continue;
            }
            let noticed = noticed.map_or(now, |(_, noticed)| *noticed);
            *age = now.since(noticed);
            ahead.insert(entry.peer.clone(), (said, noticed));
        }
        self.0 = ahead;
    }
}

/// What one visit found.
#[derive(Debug, Default)]
struct Visited {
    entries: Vec<(Duration, Entry)>,
    /// How many entries were skipped, and what was wrong with the first of them.
    skipped: usize,
    example: Option<String>,
}

impl Visited {
    fn skip(&mut self, name: &str, problem: impl std::fmt::Display) {
        self.skipped += 1;
        if self.example.is_none() {
            self.example = Some(format!("{}: {problem}", clip(name, 80)));
        }
    }
}

impl FileRegistry {
    /// A registry; nothing is read or made before the first visit.
    #[must_use]
    pub fn new(options: FileRegistryOptions, clock: Clock) -> Self {
        let rng = StdRng::seed_from_u64(options.seed);
        Self { options, clock, rng, ahead: Ahead::default(), skipped: 0 }
    }

    fn prepare(&mut self, own: &OwnCard) -> Visit {
        let runner = self.options.runner.as_deref().filter(|name| !name.is_empty());
        Visit {
            path: self.options.path.clone(),
            runner: runner.unwrap_or(own.peer.as_str()).to_owned(),
            own: own.clone(),
            now: self.clock.now(),
            ttl: self.options.ttl,
            seed: self.rng.random(),
        }
    }

    async fn visit(&mut self, own: &OwnCard) -> Result<Vec<FoundPeer>, SourceError> {
        let visit = self.prepare(own);
        let (path, ttl, now) = (visit.path.clone(), visit.ttl, visit.now);
        let visited = if is_single(&path) {
            let lock = files::lock(&path).await?;
            let mut visited = blocking(move || single::visit(&visit, &lock)).await?;
            self.ahead.date(&mut visited.entries, now);
            visited
        } else {
            blocking(move || directory::visit(&visit)).await?
        };
        if visited.skipped != self.skipped {
            self.skipped = visited.skipped;
            let example = visited.example.unwrap_or_default();
            tracing::warn!(registry = %path.display(), skipped = self.skipped, example, "entries that are none");
        }
        Ok(entry::fresh(visited.entries, ttl, &own.peer, &mut self.rng))
    }

    async fn withdraw(&mut self, own: &OwnCard) -> Result<(), SourceError> {
        let visit = self.prepare(own);
        if is_single(&visit.path) {
            let lock = files::lock(&visit.path).await?;
            blocking(move || single::withdraw(&visit, &lock)).await
        } else {
            blocking(move || directory::withdraw(&visit)).await
        }
    }
}

impl PeerSource for FileRegistry {
    fn kind(&self) -> Source {
        Source::FileRegistry
    }

    fn schedule(&self) -> Schedule {
        let interval = self.options.interval;
        let backoff = Backoff::doubling(Duration::from_secs(2), interval.max(Duration::from_secs(60)));
        Schedule { interval, deadline: self.options.deadline, backoff }
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        let within = self.options.deadline;
        Box::pin(in_time(within, Self::visit(self, own)))
    }

    fn withdraw<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        let within = self.options.deadline;
        Box::pin(in_time(within, Self::withdraw(self, own)))
    }
}

/// Whether the registry is a single file.
fn is_single(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) && !path.is_dir()
}

async fn in_time<T>(
    within: Duration,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(within, work).await.unwrap_or(Err(SourceError::Timeout(within)))
}

/// Files may hang (a network file system that is gone does): never on the thread of an actor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(SourceError::Unavailable(format!("reading it failed: {error}"))),
    }
}

#[cfg(test)]
mod tests;
