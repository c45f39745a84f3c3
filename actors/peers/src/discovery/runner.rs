//! Visits to the sources of peers: one task for each, beside the actor.
//!
//! A source is visited at its interval, after failures at its back-off, when it has news, and whenever somebody asks for it.
//! Whatever it does, fail, hang, panic or have news all the time, it holds up nobody else. What it finds goes to the book as
//! any other hint.

use super::metrics::Metrics;
use crate::sources::{OwnCard, PeerSource, ProviderTable, SourceError};
use futures::FutureExt;
use meshwork_kit::{Clock, Inbox, Port, channel_port_to};
use meshwork_proto::discovery::{DescribeNode, FoundPeer, PeersFound, Source, SourceReport};
use meshwork_proto::{PeerId, Request, UnixMillis};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long the node's root may take to say what this node is.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(5);
/// How long the book may take to enter what was found.
const ENTER_WITHIN: Duration = Duration::from_secs(10);
/// At the start the transport needs a moment until it has addresses; a first visit without any would enter nothing.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Orders that wait for a source.
const ORDERS: usize = 8;
/// News of a source wait at least so long after its last visit, and longer the more that visit named: a source that anybody
/// can fill, such as the local network, must not keep the book busy. Up to two hundred peers are told of within a second.
const NEWS_AFTER: Duration = Duration::from_millis(250);
const NEWS_AFTER_EACH: Duration = Duration::from_millis(4);

/// An order to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Visit it now.
    Visit,
    /// Take this node's entry back; it is not visited any more.
    Withdraw,
}

impl Request for Order {
    type Reply = SourceReport;
    const NAME: &'static str = "visit_source";
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Which.
    #[serde(serialize_with = "by_name")]
    pub source: Source,
    /// Visits since the start.
    pub visits: u64,
    /// Peers that the last successful visit named.
    pub found: u32,
    /// When it was visited last.
    pub last_visit: Option<UnixMillis>,
    /// Why the last visit failed, if it did.
    pub problem: Option<String>,
    /// When it is visited next.
    pub next_visit: Option<UnixMillis>,
}

fn by_name<S: serde::Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(source.as_str())
}

/// Whom runners need.
#[derive(Clone)]
pub(super) struct RunnerDeps {
    pub(super) own: PeerId,
    pub(super) clock: Clock,
    pub(super) describe: Port<DescribeNode>,
    pub(super) found: Port<PeersFound>,
    pub(super) metrics: Metrics,
}

/// A source that is being visited.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) source: Source,
    pub(super) orders: Port<Order>,
    /// Where it can be looked up who provides what, if the source knows that.
    pub(super) providers: Option<ProviderTable>,
    status: Arc<Mutex<SourceStatus>>,
}

impl Runner {
    /// Begins to visit a source.
    pub(super) fn start(runtime: &Handle, source: Box<dyn PeerSource>, deps: RunnerDeps, seed: u64) -> Self {
        let (kind, providers) = (source.kind(), source.providers());
        let (orders, inbox) = channel_port_to("source", ORDERS);
        let status = SourceStatus {
            source: kind,
            visits: 0,
            found: 0,
            last_visit: None,
            problem: None,
            next_visit: None,
        };
        let status = Arc::new(Mutex::new(status));
        let visits = Visits {
            source,
            kind,
            deps,
            status: Arc::clone(&status),
            rng: StdRng::seed_from_u64(seed),
            failures: 0,
            news_from: Instant::now(),
        };
        runtime.spawn(visits.run(inbox));
        Self { source: kind, orders, providers, status }
    }

    pub(super) fn status(&self) -> SourceStatus {
        // Nothing that holds the lock can leave it half changed.
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Visits {
    source: Box<dyn PeerSource>,
    kind: Source,
    deps: RunnerDeps,
    status: Arc<Mutex<SourceStatus>>,
    rng: StdRng,
    failures: u32,
    /// Before that news do not count.
    news_from: Instant,
}

impl Visits {
    async fn run(mut self, mut orders: Inbox<Order>) {
        wait_for_addresses(&self.deps).await;
        let mut next = Instant::now();
        loop {
            let order = tokio::select! {
                () = tokio::time::sleep_until(next) => None,
                () = woken(self.source.as_mut(), self.news_from) => None,
                order = orders.recv() => match order {
                    Some(order) => Some(order.into_parts()),
                    // Nobody can ask any more: the node is gone.
                    None => return,
                },
            };
            match order {
                Some((Order::Withdraw, reply)) => {
                    reply.send(self.withdraw().await);
                    return;
                }
                Some((Order::Visit, reply)) => {
                    let (report, pause) = self.visit().await;
                    next = later(pause);
                    reply.send(report);
                }
                None => next = later(self.visit().await.1),
            }
        }
    }

    /// Visits the source. Gives what came of it, and the pause until the next visit.
    async fn visit(&mut self) -> (SourceReport, Duration) {
        let result = match card(&self.deps).await {
            Ok(card) => self.guarded(&card).await,
            Err(error) => Err((error, "unavailable")),
        };
        let schedule = self.source.schedule();
        let mut report = SourceReport { source: self.kind, found: 0, new: 0, problem: None };
        let pause = match result {
            Ok(found) => {
                self.failures = 0;
                self.deps.metrics.visited(self.kind, "ok");
                report.found = u32::try_from(found.len()).unwrap_or(u32::MAX);
                report.new = enter(&self.deps, self.kind, found, &mut report.problem).await;
                // A tenth of it random: nodes started together must not visit together.
                schedule.interval.mul_f64(0.9 + 0.2 * self.rng.random::<f64>())
            }
            Err((error, outcome)) => {
                self.failures = self.failures.saturating_add(1);
                self.deps.metrics.visited(self.kind, outcome);
                let pause = self.pause_after(&error);
                tracing::warn!(
                    source = %self.kind,
                    %error,
                    retry_in_s = pause.as_secs(),
                    "a source of peers gave nothing"
                );
                report.problem = Some(error.to_string());
                pause
            }
        };
        self.news_from = Instant::now() + NEWS_AFTER.max(NEWS_AFTER_EACH.saturating_mul(report.found));
        self.note(&report, pause);
        (report, pause)
    }

    async fn guarded(&mut self, card: &OwnCard) -> Result<Vec<FoundPeer>, (SourceError, &'static str)> {
        let deadline = self.source.schedule().deadline;
        let source = &mut self.source;
        // Called inside as well: it may panic before it has made a future.
        let visit = AssertUnwindSafe(async move { source.visit(card).await }).catch_unwind();
        match tokio::time::timeout(deadline, visit).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) => {
                let outcome = outcome_of(&error);
                Err((error, outcome))
            }
            Ok(Err(_)) => {
                let problem = "a fault of this node: the visit panicked".to_owned();
                Err((SourceError::Unavailable(problem), "panicked"))
            }
            Err(_) => Err((SourceError::Timeout(deadline), "timeout")),
        }
    }

    fn pause_after(&mut self, error: &SourceError) -> Duration {
        let backoff = self.source.schedule().backoff;
        match error {
            SourceError::RateLimited { retry_after, .. } => {
                backoff.delay(self.failures, &mut self.rng).max(*retry_after)
            }
            // Somebody has to do something first: asking often does not help.
            SourceError::Refused(_) => backoff.delay(u32::MAX, &mut self.rng),
            SourceError::Unavailable(_) | SourceError::Malformed(_) | SourceError::Timeout(_) => {
                backoff.delay(self.failures, &mut self.rng)
            }
        }
    }

    fn note(&self, report: &SourceReport, pause: Duration) {
        let now = self.deps.clock.now();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.visits = status.visits.saturating_add(1);
        status.last_visit = Some(now);
        status.problem.clone_from(&report.problem);
        if report.problem.is_none() {
            status.found = report.found;
        }
        status.next_visit = Some(now.after(pause));
    }

    async fn withdraw(&mut self) -> SourceReport {
        let mut report = SourceReport { source: self.kind, found: 0, new: 0, problem: None };
        let deadline = self.source.schedule().deadline;
        let result = match card(&self.deps).await {
            Ok(card) => {
                let source = &mut self.source;
                let withdraw = AssertUnwindSafe(async { source.withdraw(&card).await }).catch_unwind();
                match tokio::time::timeout(deadline, withdraw).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) => Err(SourceError::Unavailable("taking the entry back panicked".into())),
                    Err(_) => Err(SourceError::Timeout(deadline)),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(source = %self.kind, %error, "this node's entry could not be taken back");
            report.problem = Some(error.to_string());
        }
        report
    }
}

/// Comes when a source has news, not before they count.
async fn woken(source: &mut dyn PeerSource, not_before: Instant) {
    tokio::time::sleep_until(not_before).await;
    let kind = source.kind();
    // Called inside, as a visit is: it may panic before it has made a future.
    let waking = AssertUnwindSafe(async move { source.woken().await }).catch_unwind();
    if waking.await.is_err() {
        tracing::error!(source = %kind, "a fault of this node: waiting for news of a source panicked");
        std::future::pending::<()>().await;
    }
}

async fn wait_for_addresses(deps: &RunnerDeps) {
    let deadline = Instant::now() + ADDRESSES_WITHIN;
    while Instant::now() < deadline {
        if card(deps).await.is_ok_and(|card| !card.addresses.is_empty()) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn card(deps: &RunnerDeps) -> Result<OwnCard, SourceError> {
    let own = deps.describe.ask(DescribeNode, DESCRIBE_WITHIN).await;
    let own =
        own.map_err(|error| SourceError::Unavailable(format!("this node could not be described: {error}")))?;
    let mut capabilities = own.tools;
    capabilities.extend(own.labels);
    Ok(OwnCard { peer: deps.own.clone(), addresses: own.addresses, capabilities })
}

async fn enter(
    deps: &RunnerDeps,
    source: Source,
    found: Vec<FoundPeer>,
    problem: &mut Option<String>,
) -> u32 {
    if found.is_empty() {
        return 0;
    }
    match deps.found.ask(PeersFound { source, found }, ENTER_WITHIN).await {
        Ok(new) => new,
        Err(error) => {
            tracing::warn!(%source, %error, "what a source found could not be entered");
            *problem = Some(format!("what was found could not be entered: {error}"));
            0
        }
    }
}

pub(super) const fn outcome_of(error: &SourceError) -> &'static str {
    match error {
        SourceError::Unavailable(_) => "unavailable",
        SourceError::Refused(_) => "refused",
        SourceError::RateLimited { .. } => "rate_limited",
        SourceError::Malformed(_) => "malformed",
        SourceError::Timeout(_) => "timeout",
    }
}

fn later(pause: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    Instant::now() + pause.min(DAY)
}
