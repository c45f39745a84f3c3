//! What the store counts. All names begin with `meshwork_store_`.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// Seconds, from an NVMe's fsync to a disk in trouble.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.0128, 0.025, 0.05, 0.1, 0.25,
    1.0, 5.0,
];
const GROUP_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Why a write was refused; the label `reason`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// The disk's reserve is reached.
    DiskFull,
    /// The database is in trouble and recovering.
    Degraded,
    /// The batch itself is not acceptable.
    Invalid,
    /// The artifact store is at its quota.
    Quota,
}

impl Refusal {
    const fn label(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Degraded => "degraded",
            Self::Invalid => "invalid",
            Self::Quota => "quota",
        }
    }
}

/// The store's metrics.
pub(crate) struct StoreMetrics {
    pub(crate) groups: IntCounter,
    pub(crate) commits: IntCounter,
    pub(crate) failed_commits: IntCounter,
    pub(crate) group_commits: Histogram,
    pub(crate) group_ops: Histogram,
    pub(crate) fsyncs: IntCounter,
    pub(crate) fsync_seconds: Histogram,
    pub(crate) written_bytes: IntCounter,
    pub(crate) disk_free: IntGauge,
    pub(crate) degraded: IntGauge,
    pub(crate) recoveries: IntCounter,
    pub(crate) write_stalled: IntGauge,
    pub(crate) reader_panics: IntCounter,
    pub(crate) artifact_bytes: IntGauge,
    pub(crate) artifacts: IntGauge,
    pub(crate) artifact_partial_bytes: IntGauge,
    pub(crate) collected: IntCounter,
    pub(crate) collected_partials: IntCounter,
    pub(crate) collected_bytes: IntCounter,
    refusals: IntCounterVec,
}

impl StoreMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refusals = IntCounterVec::new(
            Opts::new("meshwork_store_refusals_total", "Writes refused, by reason."),
            &["reason"],
        )?;
        let collected = IntCounterVec::new(
            Opts::new("meshwork_store_artifacts_collected_total", "Artifacts collected as garbage."),
            &["what"],
        )?;
        add(registry, &refusals)?;
        add(registry, &collected)?;
        Ok(Self {
            groups: counter(registry, "commit_groups_total", "Groups of commits written.")?,
            commits: counter(registry, "commits_total", "Commits written and acknowledged.")?,
            failed_commits: counter(
                registry,
                "failed_commits_total",
                "Commits that the database did not take.",
            )?,
            group_commits: histogram(registry, "group_commits", "Commits per group.", GROUP_SIZES)?,
            group_ops: histogram(registry, "group_ops", "Changes per group.", GROUP_SIZES)?,
            fsyncs: counter(registry, "fsyncs_total", "Groups written with an fsync.")?,
            fsync_seconds: histogram(registry, "fsync_seconds", "Seconds per group with an fsync.", SECONDS)?,
            written_bytes: counter(registry, "written_bytes_total", "Bytes of keys and values written.")?,
            disk_free: gauge(registry, "disk_free_bytes", "Bytes free on the file system.")?,
            degraded: gauge(
                registry,
                "degraded",
                "1 while writes are refused because the database is in trouble.",
            )?,
            recoveries: counter(registry, "recoveries_total", "Times that the database was reopened.")?,
            write_stalled: gauge(registry, "write_stalled", "1 while RocksDB has stopped or delays writes.")?,
            reader_panics: counter(
                registry,
                "reader_panics_total",
                "Panics in reader threads (faults of ours).",
            )?,
            artifact_bytes: gauge(registry, "artifact_bytes", "Bytes of whole artifacts.")?,
            artifacts: gauge(registry, "artifacts", "Number of whole artifacts.")?,
            artifact_partial_bytes: gauge(
                registry,
                "artifact_partial_bytes",
                "Bytes of artifacts not yet whole.",
            )?,
            collected: collected.with_label_values(&["whole"]),
            collected_partials: collected.with_label_values(&["partial"]),
            collected_bytes: counter(
                registry,
                "artifact_collected_bytes_total",
                "Bytes of artifacts collected.",
            )?,
            refusals,
        })
    }

    pub(crate) fn refused(&self, reason: Refusal) {
        self.refusals.with_label_values(&[reason.label()]).inc();
    }
}

fn name(short: &str) -> String {
    format!("meshwork_store_{short}")
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: &C) -> Result<(), prometheus::Error> {
    registry.register(Box::new(metric.clone()))
}

fn counter(registry: &Registry, short: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name(short), help)?;
    add(registry, &metric)?;
    Ok(metric)
}

fn gauge(registry: &Registry, short: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name(short), help)?;
    add(registry, &metric)?;
    Ok(metric)
}

fn histogram(
    registry: &Registry,
    short: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name(short), help).buckets(buckets.to_vec()))?;
    add(registry, &metric)?;
    Ok(metric)
}
