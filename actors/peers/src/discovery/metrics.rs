//! Metrics of discovery, all named `meshwork_discovery_*`. No label carries a name from outside.

use super::book::BookStatus;
use super::gossip::GossipTotals;
use meshwork_proto::discovery::{PeerState, Source};
use meshwork_proto::transport::{CallError, ConnectError, ConnectedPeer};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Handles to all series.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    peers: IntGaugeVec,
    found_by: IntGaugeVec,
    addresses: IntGauge,
    exchanges: IntCounterVec,
    records: IntCounterVec,
    bytes: IntCounterVec,
    dials: IntCounterVec,
    visits: IntCounterVec,
    source_peers: IntCounterVec,
    gone: IntCounterVec,
    written: IntCounterVec,
    skipped: IntCounterVec,
}

impl Metrics {
    /// Makes them and shows them in `registry`.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, label: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let gone = counters(
            "meshwork_discovery_gone_total",
            "Peers gone from the book: forgotten after their time to live, evicted because it was full.",
            &["why"],
        )?;
        let addresses = IntGauge::new("meshwork_discovery_addresses", "Addresses in the peer book.")?;
        registry.register(Box::new(addresses.clone()))?;
        Ok(Self {
            peers: gauges("meshwork_discovery_peers", "Peers in the book by state.", "state")?,
            found_by: gauges(
                "meshwork_discovery_found_by",
                "Peers in the book by who found them; one found in several ways counts for each.",
                "source",
            )?,
            addresses,
            exchanges: counters(
                "meshwork_discovery_exchanges_total",
                "Exchanges by what became of them: compared, pushed (news told), served, failed, version_mismatch.",
                &["outcome"],
            )?,
            records: counters(
                "meshwork_discovery_records_total",
                "Node records: sent, received, news, forged, malformed, newer (of a newer meshwork).",
                &["what"],
            )?,
            bytes: counters("meshwork_discovery_gossip_bytes_total", "Bytes of exchanges.", &["direction"])?,
            dials: counters(
                "meshwork_discovery_dials_total",
                "Connections that discovery opened or tried to open.",
                &["outcome"],
            )?,
            visits: counters(
                "meshwork_discovery_source_visits_total",
                "Visits to sources of peers, by outcome.",
                &["source", "outcome"],
            )?,
            source_peers: counters(
                "meshwork_discovery_source_peers_total",
                "Peers that sources named: all, and those that were new.",
                &["source", "kind"],
            )?,
            gone,
            written: counters(
                "meshwork_discovery_writes_total",
                "Batches of the book written to the store.",
                &["outcome"],
            )?,
            skipped: counters(
                "meshwork_discovery_stored_skipped_total",
                "Stored peers that could not be read at the start: damaged, newer.",
                &["reason"],
            )?,
        })
    }

    /// Shows how the book stands.
    pub(super) fn stand(&self, status: &BookStatus) {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        for state in PeerState::ALL {
            let count = status.by_state.get(&state).copied().unwrap_or(0);
            self.peers.with_label_values(&[state.as_str()]).set(gauge(count));
        }
        for source in Source::ALL {
            let count = status.by_source.get(source.as_str()).copied().unwrap_or(0);
            self.found_by.with_label_values(&[source.as_str()]).set(gauge(count));
        }
        self.addresses.set(gauge(status.addresses));
    }

    /// Counts what happened between two looks at the totals.
    pub(super) fn gossip(&self, before: &GossipTotals, now: &GossipTotals) {
        for (outcome, before, now) in [
            ("compared", before.compared, now.compared),
            ("pushed", before.pushed, now.pushed),
            ("served", before.served, now.served),
            ("failed", before.failed, now.failed),
            ("version_mismatch", before.mismatched, now.mismatched),
        ] {
            self.exchanges.with_label_values(&[outcome]).inc_by(now.saturating_sub(before));
        }
        for (what, before, now) in [
            ("sent", before.sent, now.sent),
            ("received", before.received, now.received),
            ("news", before.news, now.news),
            ("forged", before.forged, now.forged),
            ("malformed", before.malformed, now.malformed),
            ("newer", before.newer, now.newer),
        ] {
            self.records.with_label_values(&[what]).inc_by(now.saturating_sub(before));
        }
        self.bytes.with_label_values(&["out"]).inc_by(now.bytes_out.saturating_sub(before.bytes_out));
        self.bytes.with_label_values(&["in"]).inc_by(now.bytes_in.saturating_sub(before.bytes_in));
    }

    /// Counts peers that are gone from the book, between two looks.
    pub(super) fn gone(&self, forgotten: u64, evicted: u64) {
        self.gone.with_label_values(&["forgotten"]).inc_by(forgotten);
        self.gone.with_label_values(&["evicted"]).inc_by(evicted);
    }

    /// Counts a connection that was wanted.
    pub(super) fn dialled(&self, result: &Result<ConnectedPeer, ConnectError>) {
        let outcome = match result {
            Ok(_) => "connected",
            Err(error) => match error.error {
                CallError::NotAdmitted { .. } => "refused",
                CallError::WrongPeer { .. } => "wrong_peer",
                CallError::Timeout { .. } => "timeout",
                CallError::Unreachable { .. } => "unreachable",
                _ => "failed",
            },
        };
        self.dials.with_label_values(&[outcome]).inc();
    }

    /// Counts a visit.
    pub(super) fn visited(&self, source: Source, outcome: &str) {
        self.visits.with_label_values(&[source.as_str(), outcome]).inc();
    }

    /// Counts what a source has named.
    pub(super) fn found(&self, source: Source, named: u32, new: u32) {
        self.source_peers.with_label_values(&[source.as_str(), "named"]).inc_by(named.into());
        self.source_peers.with_label_values(&[source.as_str(), "new"]).inc_by(new.into());
    }

    /// Counts a batch.
    pub(super) fn wrote(&self, ok: bool) {
        self.written.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts stored peers that could not be read.
    pub(super) fn skipped(&self, reason: &str, count: usize) {
        self.skipped.with_label_values(&[reason]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
