//! Metrics of the queue, all named `meshwork_queue_*`. No label carries a name from outside.

use super::logic::{Note, Totals};
use meshwork_proto::task::TaskStatus;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use std::collections::BTreeMap;

/// From an idle worker's instant grant to a day in the queue. Seconds.
const WAIT_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];

/// Handles to all series.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    tasks: IntGaugeVec,
    waiting: IntGaugeVec,
    writes_waiting: IntGauge,
    ends_waiting: IntGauge,
    ends_dropped: IntCounter,
    oldest_ready: Gauge,
    submitted: IntCounter,
    claimed: IntCounter,
    finished: IntCounterVec,
    retries: IntCounter,
    released: IntCounter,
    lease_losses: IntCounter,
    stale_reports: IntCounter,
    pruned: IntCounter,
    claim_wait: Histogram,
    time_in_queue: Histogram,
    run_time: HistogramVec,
}

impl Metrics {
    /// Makes them and shows them in `registry`.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauges = |name: &str, help: &str, label: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let times = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(WAIT_BUCKETS.to_vec());
        let metrics = Self {
            tasks: gauges("meshwork_queue_tasks", "Tasks by status.", "status")?,
            waiting: gauges("meshwork_queue_waiting", "Long polls that wait: claims, readers.", "kind")?,
            writes_waiting: IntGauge::new(
                "meshwork_queue_writes_waiting",
                "Batches that wait for a place at the store.",
            )?,
            ends_waiting: IntGauge::new(
                "meshwork_queue_ends_waiting",
                "Ends of tasks of which the coordinator could not be told yet.",
            )?,
            ends_dropped: counter(
                "meshwork_queue_ends_dropped_total",
                "Ends of tasks that the coordinator was not told of: it has to ask.",
            )?,
            oldest_ready: Gauge::new(
                "meshwork_queue_oldest_ready_seconds",
                "Age of the task that may be claimed and waits longest; 0 when there is none.",
            )?,
            submitted: counter("meshwork_queue_submitted_total", "Tasks accepted.")?,
            claimed: counter("meshwork_queue_claimed_total", "Leases granted.")?,
            finished: IntCounterVec::new(
                Opts::new("meshwork_queue_finished_total", "Tasks finished, by how."),
                &["outcome"],
            )?,
            retries: counter(
                "meshwork_queue_retries_total",
                "Failures that are followed by another attempt.",
            )?,
            released: counter("meshwork_queue_released_total", "Attempts given back by their workers.")?,
            lease_losses: counter("meshwork_queue_lease_losses_total", "Leases lost with their workers.")?,
            stale_reports: counter(
                "meshwork_queue_stale_reports_total",
                "Reports refused for a stale fence.",
            )?,
            pruned: counter(
                "meshwork_queue_pruned_total",
                "Finished tasks forgotten after their retention.",
            )?,
            claim_wait: Histogram::with_opts(times(
                "meshwork_queue_claim_wait_seconds",
                "How long claims waited until they were given work.",
            ))?,
            time_in_queue: Histogram::with_opts(times(
                "meshwork_queue_time_in_queue_seconds",
                "Time from submission to the first claim.",
            ))?,
            run_time: HistogramVec::new(
                times("meshwork_queue_run_seconds", "Time from claim to report or loss, by outcome."),
                &["outcome"],
            )?,
        };
        metrics.show(registry)?;
        Ok(metrics)
    }

    fn show(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.writes_waiting.clone()))?;
        registry.register(Box::new(self.ends_waiting.clone()))?;
        registry.register(Box::new(self.oldest_ready.clone()))?;
        registry.register(Box::new(self.finished.clone()))?;
        registry.register(Box::new(self.claim_wait.clone()))?;
        registry.register(Box::new(self.time_in_queue.clone()))?;
        registry.register(Box::new(self.run_time.clone()))
    }

    /// Measures something that happened.
    pub(super) fn note(&self, note: Note) {
        match note {
            Note::ClaimServed { waited } => self.claim_wait.observe(waited.as_secs_f64()),
            Note::FirstClaim { queued } => self.time_in_queue.observe(queued.as_secs_f64()),
            Note::AttemptEnded { ran, outcome } => {
                self.run_time.with_label_values(&[outcome]).observe(ran.as_secs_f64());
            }
        }
    }

    /// Counts what happened between two looks at the totals.
    pub(super) fn count(&self, before: &Totals, now: &Totals) {
        self.submitted.inc_by(now.submitted - before.submitted);
        self.claimed.inc_by(now.claimed - before.claimed);
        self.retries.inc_by(now.retried - before.retried);
        self.released.inc_by(now.released - before.released);
        self.lease_losses.inc_by(now.lease_losses - before.lease_losses);
        self.stale_reports.inc_by(now.stale_reports - before.stale_reports);
        self.pruned.inc_by(now.pruned - before.pruned);
        for (outcome, before, now) in [
            ("completed", before.completed, now.completed),
            ("failed", before.failed, now.failed),
            ("cancelled", before.cancelled, now.cancelled),
        ] {
            self.finished.with_label_values(&[outcome]).inc_by(now - before);
        }
    }

    /// Shows how things stand.
    pub(super) fn stand(
        &self,
        by_status: &BTreeMap<TaskStatus, u64>,
        waiting: (usize, usize),
        writes_waiting: usize,
    ) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (status, count) in by_status {
            self.tasks.with_label_values(&[status.as_str()]).set(gauge(*count));
        }
        self.waiting.with_label_values(&["claims"]).set(gauge(waiting.0 as u64));
        self.waiting.with_label_values(&["readers"]).set(gauge(waiting.1 as u64));
        self.writes_waiting.set(gauge(writes_waiting as u64));
    }

    /// Shows how many ends the coordinator has to be told of.
    pub(super) fn ends_waiting(&self, waiting: usize) {
        self.ends_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// The coordinator is not told of an end.
    pub(super) fn end_dropped(&self) {
        self.ends_dropped.inc();
    }

    /// Shows how long the oldest task waits.
    pub(super) fn oldest_ready(&self, oldest_ready_ms: Option<u64>) {
        let oldest = std::time::Duration::from_millis(oldest_ready_ms.unwrap_or(0));
        self.oldest_ready.set(oldest.as_secs_f64());
    }
}
