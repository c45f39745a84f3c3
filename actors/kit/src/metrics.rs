//! Metrics of ports and supervision. A new actor or request has them without a line of code.
//!
//! They belong to the process, not to a node: ports are made before anything is started. [`register`] shows them in
//! a registry. Label values come only from [`ActorKind`](crate::ActorKind), `Request::NAME` and enums, so the
//! number of series is bounded.

use crate::port::PortShared;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// From what a trivial handler takes to what stalls every neighbour on the thread. Seconds.
const HANDLER_BUCKETS: &[f64] =
    &[50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 10.0];

static KIT: LazyLock<KitMetrics> = LazyLock::new(KitMetrics::new);

struct KitMetrics {
    messages: IntCounterVec,
    handler_seconds: HistogramVec,
    restarts: IntCounterVec,
    ask_timeouts: IntCounterVec,
    depth: DepthCollector,
}

impl KitMetrics {
    #[expect(clippy::expect_used, reason = "names and labels are literals; every test makes them")]
    fn new() -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("valid metric")
        };
        Self {
            messages: counter(
                "meshwork_actor_messages_total",
                "Messages by what became of them: handled, panicked, abandoned (asker gone before it was taken up), \
                 full and closed (refused), dropped (queued when the receiver ended).",
                &["actor", "message", "outcome"],
            ),
            handler_seconds: HistogramVec::new(
                HistogramOpts::new("meshwork_actor_handler_seconds", "Time in the handler of a message.")
                    .buckets(HANDLER_BUCKETS.to_vec()),
                &["actor", "message"],
            )
            .expect("valid metric"),
            restarts: counter(
                "meshwork_actor_restarts_total",
                "Failures of an actor by where they happened; each but the last before giving up is a restart.",
                &["actor", "cause"],
            ),
            ask_timeouts: counter(
                "meshwork_actor_ask_timeouts_total",
                "Asks that were delivered but not answered in time.",
                &["message"],
            ),
            depth: DepthCollector(Arc::new(Depths {
                gauge: IntGaugeVec::new(
                    Opts::new("meshwork_actor_queue_depth", "Messages that hold a place of their port."),
                    &["actor", "message"],
                )
                .expect("valid metric"),
                ports: Mutex::new(Vec::new()),
            })),
        }
    }
}

/// Shows the metrics in a registry; several registries may show them.
///
/// # Errors
/// When this registry has them already, or has others of the same names.
pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(KIT.messages.clone()))?;
    registry.register(Box::new(KIT.handler_seconds.clone()))?;
    registry.register(Box::new(KIT.restarts.clone()))?;
    registry.register(Box::new(KIT.ask_timeouts.clone()))?;
    registry.register(Box::new(KIT.depth.clone()))
}

/// Counts a failure of an actor.
pub(crate) fn count_failure(actor: &'static str, cause: &'static str) {
    KIT.restarts.with_label_values(&[actor, cause]).inc();
}

/// The series of one port, looked up once.
pub(crate) struct PortMetrics {
    server: &'static str,
    message: &'static str,
    pub(crate) handled: IntCounter,
    pub(crate) panicked: IntCounter,
    pub(crate) abandoned: IntCounter,
    pub(crate) full: IntCounter,
    pub(crate) closed: IntCounter,
    pub(crate) dropped: IntCounter,
    pub(crate) timeouts: IntCounter,
    seconds: Histogram,
}

impl PortMetrics {
    pub(crate) fn new(server: &'static str, message: &'static str) -> Self {
        let outcome = |outcome: &str| KIT.messages.with_label_values(&[server, message, outcome]);
        Self {
            server,
            message,
            handled: outcome("handled"),
            panicked: outcome("panicked"),
            abandoned: outcome("abandoned"),
            full: outcome("full"),
            closed: outcome("closed"),
            dropped: outcome("dropped"),
            timeouts: KIT.ask_timeouts.with_label_values(&[message]),
            seconds: KIT.handler_seconds.with_label_values(&[server, message]),
        }
    }
}

/// Measures one handler; dropped without a verdict it counts a panic if one is under way, else a drop.
pub(crate) struct HandlerTimer {
    shared: Arc<PortShared>,
    began: Instant,
    counted: bool,
}

impl HandlerTimer {
    #[expect(clippy::disallowed_methods, reason = "real time spent, also when the tests' clock is paused")]
    pub(crate) fn start(shared: Arc<PortShared>) -> Self {
        Self { shared, began: Instant::now(), counted: false }
    }

    pub(crate) fn finished(self) {
        self.count(|metrics| &metrics.handled);
    }

    /// The panic was caught before this could see it.
    pub(crate) fn panicked(self) {
        self.count(|metrics| &metrics.panicked);
    }

    fn count(mut self, outcome: impl FnOnce(&PortMetrics) -> &IntCounter) {
        outcome(&self.shared.metrics).inc();
        self.counted = true;
    }
}

impl Drop for HandlerTimer {
    fn drop(&mut self) {
        let metrics = &self.shared.metrics;
        metrics.seconds.observe(self.began.elapsed().as_secs_f64());
        if self.counted {
            return;
        }
        if std::thread::panicking() { metrics.panicked.inc() } else { metrics.dropped.inc() }
    }
}

/// Counts the depth of a port's queue when metrics are read; costs a message nothing.
pub(crate) fn watch_depth(port: &Arc<PortShared>) {
    let mut ports = KIT.depth.0.ports();
    // Forget the ports that are gone before the list has to grow.
    if ports.len() == ports.capacity() {
        ports.retain(|port| port.strong_count() > 0);
    }
    ports.push(Arc::downgrade(port));
}

#[derive(Clone)]
struct DepthCollector(Arc<Depths>);

struct Depths {
    gauge: IntGaugeVec,
    ports: Mutex<Vec<Weak<PortShared>>>,
}

impl Depths {
    fn ports(&self) -> MutexGuard<'_, Vec<Weak<PortShared>>> {
        // Nothing that holds the lock can leave the list half changed.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for DepthCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.0.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Held to the end, so that two readers do not reset one another's sums.
        let mut ports = self.0.ports();
        ports.retain(|port| port.strong_count() > 0);
        let mut sums = BTreeMap::new();
        for port in ports.iter().filter_map(Weak::upgrade) {
            let sum: &mut i64 = sums.entry((port.metrics.server, port.metrics.message)).or_default();
            *sum = sum.saturating_add(i64::try_from(port.depth()).unwrap_or(i64::MAX));
        }
        self.0.gauge.reset();
        for ((server, message), depth) in sums {
            self.0.gauge.with_label_values(&[server, message]).set(depth);
        }
        self.0.gauge.collect()
    }
}
