//! Metrics of the mesh, `meshwork_mesh_*`, and libp2p's own in their separate registry. Labels come from closed sets:
//! never a peer id or an address.

mod reach;

use crate::pipe::Traffic;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use prometheus_client::registry::Registry as Libp2pRegistry;
use reach::ReachMetrics;
use std::fmt;
use std::sync::Arc;

/// Upper bounds of request times in seconds: from 50 us, the least that a request over loopback takes, to long polls.
const SECONDS: [f64; 20] = [
    50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3.2e-3, 6.4e-3, 12.8e-3, 25e-3, 50e-3, 0.1, 0.2, 0.4, 0.8,
    1.6, 5.0, 15.0, 30.0, 60.0,
];

/// Direction of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Asked by this node.
    Out,
    /// Asked of this node.
    In,
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// The mesh's metrics. Clones are the same metrics.
#[derive(Clone)]
pub struct NetworkMetrics {
    pub(crate) connections: IntGaugeVec,
    pub(crate) admitted_peers: IntGauge,
    pub(crate) dials: IntCounterVec,
    pub(crate) admissions: IntCounterVec,
    pub(crate) connections_closed: IntCounterVec,
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) in_flight: IntGaugeVec,
    pub(crate) refused_streams: IntCounterVec,
    pub(crate) events: IntCounterVec,
    pub(crate) fetched_bytes: IntCounter,
    pub(crate) reach: ReachMetrics,
    pub(crate) offences: IntCounterVec,
    pub(crate) score_actions: IntCounterVec,
    pub(crate) shut_out: IntGaugeVec,
    pub(crate) pairings: IntCounterVec,
    bytes: IntCounterVec,
    libp2p: Arc<Libp2pRegistry>,
}

impl fmt::Debug for NetworkMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkMetrics").finish_non_exhaustive()
    }
}

impl NetworkMetrics {
    /// Shows the metrics in a registry.
    ///
    /// # Errors
    /// When the registry has metrics of the same names already.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.admitted_peers.clone()))?;
        registry.register(Box::new(self.dials.clone()))?;
        registry.register(Box::new(self.admissions.clone()))?;
        registry.register(Box::new(self.connections_closed.clone()))?;
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.request_seconds.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.refused_streams.clone()))?;
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.fetched_bytes.clone()))?;
        self.reach.register(registry)?;
        registry.register(Box::new(self.offences.clone()))?;
        registry.register(Box::new(self.score_actions.clone()))?;
        registry.register(Box::new(self.shut_out.clone()))?;
        registry.register(Box::new(self.pairings.clone()))?;
        registry.register(Box::new(self.bytes.clone()))
    }

    /// Metrics that are in no registry, with an empty registry for libp2p's.
    #[cfg(test)]
    pub(crate) fn unregistered() -> Self {
        Self::with_libp2p(Libp2pRegistry::default())
    }

    /// Metrics beside those that libp2p keeps in `libp2p`.
    pub(crate) fn with_libp2p(libp2p: Libp2pRegistry) -> Self {
        Self {
            connections: gauges("connections", "Open connections.", &["direction", "transport"]),
            admitted_peers: gauge("admitted_peers", "Peers connected and admitted on both sides."),
            dials: counters("dials_total", "Connections attempted by this node.", &["outcome"]),
            admissions: counters("admissions_total", "Handshakes, by what came of them.", &["verdict"]),
            connections_closed: counters(
                "connections_closed_total",
                "Connections that this node closed, by reason.",
                &["reason"],
            ),
            requests: counters(
                "requests_total",
                "Requests that ended.",
                &["direction", "request", "outcome"],
            ),
            request_seconds: seconds(),
            in_flight: gauges("requests_in_flight", "Requests under way.", &["direction"]),
            refused_streams: counters("refused_streams_total", "Streams not served, by reason.", &["reason"]),
            events: counters(
                "events_total",
                "Changes told to other actors: delivered, delayed because the receiver was full, or dropped.",
                &["receiver", "outcome"],
            ),
            fetched_bytes: counter("fetched_bytes_total", "Bytes of artifacts fetched from peers."),
            reach: ReachMetrics::new(),
            offences: counters(
                "offences_total",
                "What peers did that they should not have done.",
                &["offence"],
            ),
            score_actions: counters(
                "score_actions_total",
                "What followed from it: throttled, disconnected, banned; and let_in at the end of a ban.",
                &["action"],
            ),
            shut_out: gauges("shut_out_peers", "Peers that are revoked, and banned for a time.", &["kind"]),
            pairings: counters("pairings_total", "Tries of other nodes to pair with this one.", &["outcome"]),
            bytes: counters("bytes_total", "Bytes of requests, replies and handshakes.", &["direction"]),
            libp2p: Arc::new(libp2p),
        }
    }

    /// libp2p's own metrics as text, for the end of a page in Prometheus' format: it ends in a comment line `# EOF`,
    /// behind which some readers expect nothing.
    #[must_use]
    pub fn encode_libp2p(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.libp2p) {
            Ok(()) => text,
            // Writing into a string does not fail; half a page must not be shown all the same.
            Err(error) => format!("# libp2p metrics cannot be shown: {error}\n"),
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            read: self.bytes.with_label_values(&[Direction::In.name()]),
            written: self.bytes.with_label_values(&[Direction::Out.name()]),
        }
    }

    /// Counts a request that begins; what is returned counts its end.
    pub(crate) fn begin(&self, direction: Direction, request: &'static str) -> RequestTimer {
        let in_flight = self.in_flight.with_label_values(&[direction.name()]);
        in_flight.inc();
        RequestTimer {
            seconds: self.request_seconds.with_label_values(&[direction.name(), request]),
            requests: self.requests.clone(),
            in_flight,
            direction,
            request,
            began: tokio::time::Instant::now(),
            outcome: "abandoned",
        }
    }
}

/// Counts one request when it is dropped; without an outcome it was abandoned.
pub(crate) struct RequestTimer {
    requests: IntCounterVec,
    seconds: Histogram,
    in_flight: IntGauge,
    direction: Direction,
    request: &'static str,
    began: tokio::time::Instant,
    outcome: &'static str,
}

impl RequestTimer {
    pub(crate) fn outcome(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        self.in_flight.dec();
        self.seconds.observe(self.began.elapsed().as_secs_f64());
        self.requests.with_label_values(&[self.direction.name(), self.request, self.outcome]).inc();
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("meshwork_mesh_{name}"), help)
}

#[expect(clippy::expect_used, reason = "names and labels are literals of this file; the tests make them all")]
fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(opts(name, help), labels).expect("valid metric")
}

#[expect(clippy::expect_used, reason = "names are literals of this file; the tests make them all")]
fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::with_opts(opts(name, help)).expect("valid metric")
}

#[expect(clippy::expect_used, reason = "names and labels are literals of this file; the tests make them all")]
fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(opts(name, help), labels).expect("valid metric")
}

#[expect(clippy::expect_used, reason = "names are literals of this file; the tests make them all")]
fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::with_opts(opts(name, help)).expect("valid metric")
}

#[expect(clippy::expect_used, reason = "names and labels are literals of this file; the tests make them all")]
fn seconds() -> HistogramVec {
    let opts = HistogramOpts::new("meshwork_mesh_request_seconds", "Time from request to answer.");
    HistogramVec::new(opts.buckets(SECONDS.to_vec()), &["direction", "request"]).expect("valid metric")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_can_be_shown_and_an_abandoned_request_is_counted_as_such() {
        let registry = Registry::new();
        let metrics = NetworkMetrics::unregistered();
        metrics.register(&registry).unwrap();
        drop(metrics.begin(Direction::Out, "submit"));
        let mut answered = metrics.begin(Direction::Out, "submit");
        answered.outcome("ok");
        drop(answered);
        let count = |outcome| metrics.requests.with_label_values(&["out", "submit", outcome]).get();
        assert_eq!((count("ok"), count("abandoned")), (1, 1));
        assert_eq!(metrics.in_flight.with_label_values(&["out"]).get(), 0);
        assert!(metrics.encode_libp2p().ends_with("# EOF\n"));
        assert!(!registry.gather().is_empty());
    }
}
