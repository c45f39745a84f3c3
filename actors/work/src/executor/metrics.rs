//! Metrics of the executor, all named `meshwork_executor_*`. No label carries a name from outside.

use super::logic::Counts;
use meshwork_proto::executor::ToolKind;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::time::Duration;

/// From a built-in tool to an hour of work. Seconds.
const RUN_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0, 3600.0,
];

/// Handles to all series.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    running: IntGaugeVec,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    claims: IntCounterVec,
    kills: IntCounterVec,
    slots: IntGaugeVec,
    renewals: IntCounterVec,
    reports: IntCounterVec,
}

impl Metrics {
    /// Makes them and shows them in `registry`.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let run_seconds = HistogramVec::new(
            HistogramOpts::new("meshwork_executor_run_seconds", "How long tools ran.")
                .buckets(RUN_BUCKETS.to_vec()),
            &["tool_kind"],
        )?;
        registry.register(Box::new(run_seconds.clone()))?;
        Ok(Self {
            running: gauge("meshwork_executor_running", "Calls that run now.", &["tool_kind"])?,
            runs: counter(
                "meshwork_executor_runs_total",
                "Calls that ended, by how: completed, an error code, or why they were stopped.",
                &["tool_kind", "outcome"],
            )?,
            run_seconds,
            claims: counter(
                "meshwork_executor_claims_total",
                "Claims and waits for work, by whom was asked and what came: granted, empty, work (waits that ended \
                 with work), idle (waits that ended without), refused, failed.",
                &["source", "outcome"],
            )?,
            kills: counter(
                "meshwork_executor_kills_total",
                "Tool processes that were stopped before their end, by reason.",
                &["reason"],
            )?,
            slots: gauge(
                "meshwork_executor_slots",
                "Places for calls: total, running, reserved for claims.",
                &["state"],
            )?,
            renewals: counter(
                "meshwork_executor_renewals_total",
                "Leases by what a renewal gave: renewed, cancelled, lost, failed (owner not reached), expired.",
                &["outcome"],
            )?,
            reports: counter(
                "meshwork_executor_reports_total",
                "Reports of ended attempts: accepted, refused by the owner, retried, given up.",
                &["outcome"],
            )?,
        })
    }

    pub(super) fn started(&self, kind: ToolKind) {
        self.running.with_label_values(&[kind_label(kind)]).inc();
    }

    pub(super) fn ended(&self, kind: ToolKind) {
        self.running.with_label_values(&[kind_label(kind)]).dec();
    }

    /// `outcome` is a stable error code, a stop reason or `completed`.
    pub(super) fn ran(&self, kind: ToolKind, outcome: &'static str, took: Duration) {
        self.runs.with_label_values(&[kind_label(kind), outcome]).inc();
        self.run_seconds.with_label_values(&[kind_label(kind)]).observe(took.as_secs_f64());
    }

    pub(super) fn claim(&self, source: &'static str, outcome: &'static str) {
        self.claims.with_label_values(&[source, outcome]).inc();
    }

    pub(super) fn killed(&self, reason: &'static str) {
        self.kills.with_label_values(&[reason]).inc();
    }

    pub(super) fn renewal(&self, outcome: &'static str) {
        self.renewals.with_label_values(&[outcome]).inc();
    }

    pub(super) fn report(&self, outcome: &'static str) {
        self.reports.with_label_values(&[outcome]).inc();
    }

    pub(super) fn slots(&self, counts: Counts) {
        for (state, count) in
            [("total", counts.total), ("running", counts.running), ("reserved", counts.reserved)]
        {
            self.slots.with_label_values(&[state]).set(i64::from(count));
        }
    }
}

const fn kind_label(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::BuiltIn => "built_in",
        ToolKind::Process => "process",
        ToolKind::Mcp => "mcp",
    }
}
