//! Metrics of the coordinator, all named `meshwork_workflow_*`. No label carries a name from outside.

use super::logic::{Note, Totals};
use meshwork_proto::workflow::RunState;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// From an empty step to a day. Seconds.
const RUN_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];
/// From a path in a small document to the deadline of an expression. Seconds.
const CPU_BUCKETS: &[f64] = &[0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.1, 1.0, 10.0];

/// Handles to all series.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    runs: IntGaugeVec,
    in_flight: IntGauge,
    waiting_readers: IntGauge,
    writes_waiting: IntGauge,
    submitted: IntCounter,
    finished: IntCounterVec,
    attempts: IntCounter,
    units: IntCounterVec,
    retries: IntCounter,
    compensated: IntCounter,
    moved: IntCounterVec,
    pruned: IntCounter,
    run_time: HistogramVec,
    step_time: HistogramVec,
    evaluation: Histogram,
    commit: Histogram,
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
        let counters = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let runs = IntGaugeVec::new(Opts::new("meshwork_workflow_runs", "Runs by state."), &["state"])?;
        registry.register(Box::new(runs.clone()))?;
        let (run_time, step_time, evaluation, commit) = times(registry)?;
        Ok(Self {
            runs,
            in_flight: gauge("meshwork_workflow_in_flight", "Steps that take a place in the queue.")?,
            waiting_readers: gauge(
                "meshwork_workflow_waiting",
                "Readers that wait for the end of a run, or for news.",
            )?,
            writes_waiting: gauge(
                "meshwork_workflow_writes_waiting",
                "Batches that wait for a place at the store.",
            )?,
            submitted: counter("meshwork_workflow_submitted_total", "Runs accepted.")?,
            finished: counters("meshwork_workflow_finished_total", "Runs finished, by how.", "outcome")?,
            attempts: counter("meshwork_workflow_attempts_total", "Attempts of steps begun.")?,
            units: counters("meshwork_workflow_steps_total", "Steps and items finished, by how.", "outcome")?,
            retries: counter(
                "meshwork_workflow_retries_total",
                "Failures that are followed by another attempt.",
            )?,
            compensated: counter("meshwork_workflow_compensated_total", "Steps and items taken back.")?,
            moved: counters("meshwork_workflow_moved_total", "Runs handed over, by direction.", "direction")?,
            pruned: counter(
                "meshwork_workflow_pruned_total",
                "Finished runs forgotten after their retention.",
            )?,
            run_time,
            step_time,
            evaluation,
            commit,
        })
    }

    /// Measures something that happened.
    pub(super) fn note(&self, note: Note) {
        match note {
            Note::UnitEnded { took, outcome } => {
                self.step_time.with_label_values(&[outcome]).observe(took.as_secs_f64());
            }
            Note::RunEnded { took, outcome } => {
                self.run_time.with_label_values(&[outcome]).observe(took.as_secs_f64());
            }
        }
    }

    /// An evaluation took so long.
    pub(super) fn evaluated(&self, took: Duration) {
        self.evaluation.observe(took.as_secs_f64());
    }

    /// A commit was acknowledged after so long.
    pub(super) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// Counts what happened between two looks at the totals.
    pub(super) fn count(&self, before: &Totals, now: &Totals) {
        self.submitted.inc_by(now.submitted - before.submitted);
        self.attempts.inc_by(now.attempts - before.attempts);
        self.retries.inc_by(now.retries - before.retries);
        self.compensated.inc_by(now.compensated - before.compensated);
        self.pruned.inc_by(now.pruned - before.pruned);
        for (outcome, before, now) in [
            ("completed", before.completed, now.completed),
            ("failed", before.failed, now.failed),
            ("cancelled", before.cancelled, now.cancelled),
        ] {
            add(&self.finished, outcome, now - before);
        }
        for (outcome, before, now) in [
            ("completed", before.units_completed, now.units_completed),
            ("failed", before.units_failed, now.units_failed),
            ("skipped", before.units_skipped, now.units_skipped),
            ("cached", before.units_cached, now.units_cached),
        ] {
            add(&self.units, outcome, now - before);
        }
        add(&self.moved, "out", now.moved_out - before.moved_out);
        add(&self.moved, "in", now.moved_in - before.moved_in);
    }

    /// Shows how things stand.
    pub(super) fn stand(
        &self,
        by_state: &BTreeMap<RunState, u64>,
        in_flight: u32,
        waiting_readers: usize,
        writes_waiting: usize,
    ) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (state, count) in by_state {
            self.runs.with_label_values(&[state.as_str()]).set(gauge(*count));
        }
        self.in_flight.set(i64::from(in_flight));
        self.waiting_readers.set(gauge(waiting_readers as u64));
        self.writes_waiting.set(gauge(writes_waiting as u64));
    }
}

/// Looking a series up costs more than a step may: only what changed is.
fn add(counters: &IntCounterVec, label: &str, more: u64) {
    if more > 0 {
        counters.with_label_values(&[label]).inc_by(more);
    }
}

type Times = (HistogramVec, HistogramVec, Histogram, Histogram);

fn times(registry: &Registry) -> Result<Times, prometheus::Error> {
    let times =
        |name: &str, help: &str, buckets: &[f64]| HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let run_time = HistogramVec::new(
        times("meshwork_workflow_run_seconds", "Time from start to end of a run, by outcome.", RUN_BUCKETS),
        &["outcome"],
    )?;
    let step_time = HistogramVec::new(
        times(
            "meshwork_workflow_step_seconds",
            "Time from the first attempt to the end of a step, by outcome.",
            RUN_BUCKETS,
        ),
        &["outcome"],
    )?;
    let evaluation = Histogram::with_opts(times(
        "meshwork_workflow_evaluation_seconds",
        "Time to evaluate what a step needs.",
        CPU_BUCKETS,
    ))?;
    let commit = Histogram::with_opts(times(
        "meshwork_workflow_commit_seconds",
        "Time from sending a batch of events to its acknowledgement.",
        CPU_BUCKETS,
    ))?;
    registry.register(Box::new(run_time.clone()))?;
    registry.register(Box::new(step_time.clone()))?;
    registry.register(Box::new(evaluation.clone()))?;
    registry.register(Box::new(commit.clone()))?;
    Ok((run_time, step_time, evaluation, commit))
}
