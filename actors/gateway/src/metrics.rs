//! Metrics of the gateway. Tool names in labels are only those this node has itself; all others count as `other`.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// From a call that only reads memory to one that waits its whole minute. Seconds.
const BUCKETS: &[f64] = &[
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 10.0, 60.0,
];

/// How a call ended, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Error,
    Cancelled,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The series of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    tool_calls: IntCounterVec,
    tool_seconds: HistogramVec,
    upstream_calls: IntCounterVec,
    upstream_up: IntGaugeVec,
    upstream_restarts: IntCounterVec,
    calls: Arc<AtomicU64>,
}

impl Metrics {
    /// Makes the series and shows them in the registry.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            tool_calls: counter(
                "meshwork_gateway_tool_calls_total",
                "Calls of MCP tools by outcome: ok, error, cancelled.",
                &["tool", "outcome"],
            )?,
            tool_seconds: HistogramVec::new(
                HistogramOpts::new("meshwork_gateway_tool_seconds", "Duration of a call of an MCP tool.")
                    .buckets(BUCKETS.to_vec()),
                &["tool"],
            )?,
            upstream_calls: counter(
                "meshwork_gateway_upstream_calls_total",
                "Calls to upstream MCP servers by outcome: ok, error, cancelled.",
                &["server", "outcome"],
            )?,
            upstream_up: IntGaugeVec::new(
                Opts::new("meshwork_gateway_upstream_up", "Whether an upstream MCP server answers."),
                &["server"],
            )?,
            upstream_restarts: counter(
                "meshwork_gateway_upstream_restarts_total",
                "Starts of an upstream MCP server after the first.",
                &["server"],
            )?,
            calls: Arc::new(AtomicU64::new(0)),
        };
        registry.register(Box::new(metrics.tool_calls.clone()))?;
        registry.register(Box::new(metrics.tool_seconds.clone()))?;
        registry.register(Box::new(metrics.upstream_calls.clone()))?;
        registry.register(Box::new(metrics.upstream_up.clone()))?;
        registry.register(Box::new(metrics.upstream_restarts.clone()))?;
        Ok(metrics)
    }

    /// Counts a call of a tool; `tool` must be a name from the catalogue, or `other`.
    pub(crate) fn tool_called(&self, tool: &str, outcome: Outcome, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.tool_calls.with_label_values(&[tool, outcome.as_str()]).inc();
        self.tool_seconds.with_label_values(&[tool]).observe(took.as_secs_f64());
    }

    /// Tool calls since the start.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn upstream_called(&self, server: &str, outcome: Outcome) {
        self.upstream_calls.with_label_values(&[server, outcome.as_str()]).inc();
    }

    pub(crate) fn upstream_up(&self, server: &str, up: bool) {
        self.upstream_up.with_label_values(&[server]).set(i64::from(up));
    }

    pub(crate) fn upstream_restarted(&self, server: &str) {
        self.upstream_restarts.with_label_values(&[server]).inc();
    }
}
