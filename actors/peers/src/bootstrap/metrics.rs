//! Metrics of the first contacts. Labels come from closed sets: never an address.

use super::contacts::Tally;
use meshwork_proto::bootstrap::ContactState;
use meshwork_proto::discovery::Source;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// The series of one node.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    contacts: IntGaugeVec,
    dials: IntCounterVec,
    readings: IntCounterVec,
    alone: prometheus::IntCounter,
}

impl Metrics {
    /// Makes the series and shows them in the registry.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            contacts: IntGaugeVec::new(
                Opts::new(
                    "meshwork_bootstrap_contacts",
                    "First contacts by state: dialling, connected, waiting, lost (it was connected once).",
                ),
                &["state"],
            )?,
            dials: IntCounterVec::new(
                Opts::new(
                    "meshwork_bootstrap_dials_total",
                    "Tries at first contacts by outcome: ok, failed.",
                ),
                &["source", "outcome"],
            )?,
            readings: IntCounterVec::new(
                Opts::new(
                    "meshwork_bootstrap_readings_total",
                    "Readings of places with first contacts by outcome: ok, failed.",
                ),
                &["source", "outcome"],
            )?,
            alone: prometheus::IntCounter::new(
                "meshwork_bootstrap_alone_total",
                "How often the node was left without any peer, and began again.",
            )?,
        };
        registry.register(Box::new(metrics.contacts.clone()))?;
        registry.register(Box::new(metrics.dials.clone()))?;
        registry.register(Box::new(metrics.readings.clone()))?;
        registry.register(Box::new(metrics.alone.clone()))?;
        Ok(metrics)
    }

    pub(super) fn show(&self, tally: Tally) {
        let states = [
            (ContactState::Dialling, tally.dialling),
            (ContactState::Connected, tally.connected),
            (ContactState::Waiting, tally.waiting),
            (ContactState::Lost, tally.lost),
        ];
        for (state, count) in states {
            self.contacts.with_label_values(&[state.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn dialled(&self, source: Source, ok: bool) {
        self.dials.with_label_values(&[source.as_str(), outcome(ok)]).inc();
    }

    pub(super) fn read(&self, source: Source, ok: bool) {
        self.readings.with_label_values(&[source.as_str(), outcome(ok)]).inc();
    }

    pub(super) fn was_left_alone(&self) {
        self.alone.inc();
    }
}

const fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}
