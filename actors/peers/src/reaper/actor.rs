//! One request to discovery at every interval.

use super::{ReaperDeps, ReaperOptions};
use meshwork_kit::{Actor, ActorKind, ActorRef, AskError, Ctx, Mailbox, Supervision, mailbox};
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::{CleanUp, CleanedUp, Source};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// However short times to live are, it is not looked more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// How long a pass may take.
const PASS_WITHIN: Duration = Duration::from_secs(30);

/// What others may see of the reaper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReaperStatus {
    /// Passes since the start of the node.
    pub passes: u64,
    /// Peers forgotten in them.
    pub forgotten: u64,
    /// When the last pass ended.
    pub last_pass: Option<UnixMillis>,
    /// Why the last pass failed, if it did.
    pub problem: Option<String>,
}

/// The reaper before it runs.
pub struct ReaperSeed(Mailbox<Reaper>);

/// Makes the reaper; nobody asks it anything.
#[must_use]
pub fn prepare() -> ReaperSeed {
    ReaperSeed(mailbox::<Reaper>())
}

impl ReaperSeed {
    /// Starts the actor.
    pub fn start(self, sup: &Supervision, options: ReaperOptions, deps: ReaperDeps) -> ActorRef {
        let counts = Arc::new(Counts::default());
        let order = CleanUp { silent_ms: None, ttl_ms: in_millis(&options), dry_run: false };
        self.0.start(sup, move || Reaper {
            interval: interval(&options),
            order: order.clone(),
            deps: deps.clone(),
            counts: Arc::clone(&counts),
            last_pass: None,
            problem: None,
            under_way: false,
        })
    }
}

/// Between two passes: a short time to live would be pointless if who is gone were kept for the usual minute beside it.
fn interval(options: &ReaperOptions) -> Duration {
    let shortest = Source::ALL.iter().filter_map(|source| options.ttl.of(*source)).min();
    let shortest = shortest.map_or(options.interval, |ttl| ttl.max(SHORTEST_INTERVAL));
    options.interval.min(shortest)
}

/// Every source by name: what is not named has discovery's own time to live.
fn in_millis(options: &ReaperOptions) -> std::collections::BTreeMap<Source, u64> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Source::ALL.iter().map(|source| (*source, options.ttl.of(*source).map_or(0, millis))).collect()
}

/// What outlives a restart of the actor.
#[derive(Debug, Default)]
struct Counts {
    passes: AtomicU64,
    forgotten: AtomicU64,
}

struct Reaper {
    interval: Duration,
    order: CleanUp,
    deps: ReaperDeps,
    counts: Arc<Counts>,
    last_pass: Option<UnixMillis>,
    problem: Option<String>,
    under_way: bool,
}

impl Actor for Reaper {
    const KIND: ActorKind = ActorKind::Reaper;
    type Status = ReaperStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.every(self.interval, |reaper, ctx| reaper.pass(ctx));
    }

    fn status(&self) -> ReaperStatus {
        ReaperStatus {
            passes: self.counts.passes.load(Ordering::Relaxed),
            forgotten: self.counts.forgotten.load(Ordering::Relaxed),
            last_pass: self.last_pass,
            problem: self.problem.clone(),
        }
    }
}

impl Reaper {
    fn pass(&mut self, ctx: &mut Ctx<'_, Self>) {
        if self.under_way {
            return;
        }
        self.under_way = true;
        let (clean_up, order) = (self.deps.clean_up.clone(), self.order.clone());
        let cleaning = async move { clean_up.ask(order, PASS_WITHIN).await };
        ctx.spawn_then(cleaning, |reaper, cleaned, ctx| reaper.passed(cleaned, ctx.now()));
    }

    fn passed(&mut self, cleaned: Result<CleanedUp, AskError>, now: UnixMillis) {
        self.under_way = false;
        match cleaned {
            Ok(cleaned) => {
                let forgotten = u64::try_from(cleaned.forgotten.len()).unwrap_or(u64::MAX);
                self.counts.passes.fetch_add(1, Ordering::Relaxed);
                self.counts.forgotten.fetch_add(forgotten, Ordering::Relaxed);
                (self.last_pass, self.problem) = (Some(now), None);
            }
            Err(error) => {
                tracing::warn!(%error, "silent peers could not be forgotten: trying again at the next pass");
                self.problem = Some(error.to_string());
            }
        }
    }
}
