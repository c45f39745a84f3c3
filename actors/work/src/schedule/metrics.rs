//! Metrics of the scheduler, all named `meshwork_schedule_*`. No label carries a name from outside.

use super::logic::Note;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// From a timer that is a little late to a start that is made up for after a weekend. Seconds.
const LATE_BUCKETS: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0, 3600.0, 86_400.0, 259_200.0];

/// Handles to all series.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    schedules: IntGaugeVec,
    starting: IntGauge,
    retrying: IntGauge,
    starts: IntCounterVec,
    skipped: IntCounter,
    late: Histogram,
}

impl Metrics {
    /// Makes them and shows them in `registry`.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            schedules: IntGaugeVec::new(
                Opts::new("meshwork_schedule_count", "Schedules by state."),
                &["state"],
            )?,
            starting: IntGauge::new("meshwork_schedule_starting", "Starts that are being made.")?,
            retrying: IntGauge::new(
                "meshwork_schedule_retrying",
                "Starts that could not be made and are tried again soon.",
            )?,
            starts: IntCounterVec::new(
                Opts::new("meshwork_schedule_starts_total", "Starts, by what became of them."),
                &["outcome"],
            )?,
            skipped: IntCounter::new(
                "meshwork_schedule_skipped_total",
                "Times that were missed and not made up for, or left out because the last start had not finished.",
            )?,
            late: Histogram::with_opts(
                HistogramOpts::new(
                    "meshwork_schedule_late_seconds",
                    "How long after their time starts were made.",
                )
                .buckets(LATE_BUCKETS.to_vec()),
            )?,
        };
        registry.register(Box::new(metrics.schedules.clone()))?;
        registry.register(Box::new(metrics.starting.clone()))?;
        registry.register(Box::new(metrics.retrying.clone()))?;
        registry.register(Box::new(metrics.starts.clone()))?;
        registry.register(Box::new(metrics.skipped.clone()))?;
        registry.register(Box::new(metrics.late.clone()))?;
        Ok(metrics)
    }

    /// Counts or measures something that happened.
    pub(super) fn note(&self, note: &Note) {
        match note {
            Note::Started { late } => {
                self.starts.with_label_values(&["made"]).inc();
                self.late.observe(late.as_secs_f64());
            }
            Note::Failed { .. } => self.starts.with_label_values(&["failed"]).inc(),
            Note::Skipped(times) => self.skipped.inc_by(*times),
            Note::ClockWentBack(_) => {}
        }
    }

    /// Shows how things stand: all schedules and paused ones, starts being made and waiting for another try.
    pub(super) fn stand(&self, (schedules, paused): (usize, usize), (starting, retrying): (usize, usize)) {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.schedules.with_label_values(&["active"]).set(gauge(schedules.saturating_sub(paused)));
        self.schedules.with_label_values(&["paused"]).set(gauge(paused));
        self.starting.set(gauge(starting));
        self.retrying.set(gauge(retrying));
    }
}
