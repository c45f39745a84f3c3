//! Metrics of finding peers, being found and being reached.

use super::{counter, counters, gauge, gauges};
use meshwork_proto::transport::Reachability;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

/// The metrics; clones are the same metrics.
#[derive(Clone)]
pub(crate) struct ReachMetrics {
    /// Look-ups and entries that ended.
    pub(crate) look_ups: IntCounterVec,
    /// Peers that look-ups found.
    pub(crate) looked_up: IntCounterVec,
    /// Entries that others asked this node to keep.
    pub(crate) entries: IntCounterVec,
    /// Addresses heard by multicast DNS.
    pub(crate) mdns_heard: IntCounter,
    /// Peers heard by it for whom there was no room.
    pub(crate) mdns_dropped: IntCounter,
    /// Peers that multicast DNS knows now.
    pub(crate) mdns_neighbours: IntGauge,
    /// One for the reachability that the node has now.
    reachability: IntGaugeVec,
    /// Tries of this node's addresses by others.
    pub(crate) address_tests: IntCounterVec,
    /// Reservations at relays.
    pub(crate) reservations: IntCounterVec,
    /// Those held now.
    pub(crate) reservations_held: IntGauge,
    /// What this node does as a relay.
    pub(crate) relaying: IntCounterVec,
    /// Hole punches.
    pub(crate) hole_punches: IntCounterVec,
    /// Ports opened at the router.
    pub(crate) upnp: IntCounterVec,
}

impl ReachMetrics {
    pub(super) fn new() -> Self {
        Self {
            look_ups: counters(
                "look_ups_total",
                "Look-ups and entries in directories that ended.",
                &["directory", "kind", "outcome"],
            ),
            looked_up: counters("looked_up_peers_total", "Peers that look-ups found.", &["directory"]),
            entries: counters(
                "directory_entries_total",
                "Entries that peers asked this node to keep, by what came of them.",
                &["directory", "outcome"],
            ),
            mdns_heard: counter("mdns_addresses_total", "Addresses of peers heard by multicast DNS."),
            mdns_dropped: counter(
                "mdns_dropped_total",
                "Addresses heard by multicast DNS that were not kept: there were too many peers already.",
            ),
            mdns_neighbours: gauge("mdns_neighbours", "Peers that multicast DNS knows now."),
            reachability: gauges(
                "reachability",
                "1 for what is known of whether others can open connections to this node.",
                &["state"],
            ),
            address_tests: counters(
                "address_tests_total",
                "Addresses of this node that peers tried, by outcome.",
                &["outcome"],
            ),
            reservations: counters(
                "relay_reservations_total",
                "Places reserved at relays, by outcome.",
                &["outcome"],
            ),
            reservations_held: gauge("relay_reservations", "Places held at relays."),
            relaying: counters("relay_served_total", "What this node did as a relay.", &["event"]),
            hole_punches: counters(
                "hole_punches_total",
                "Tries to replace a connection through a relay by a direct one, by outcome.",
                &["outcome"],
            ),
            upnp: counters("upnp_mappings_total", "Ports opened at the router, by outcome.", &["outcome"]),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.look_ups.clone()))?;
        registry.register(Box::new(self.looked_up.clone()))?;
        registry.register(Box::new(self.entries.clone()))?;
        registry.register(Box::new(self.mdns_heard.clone()))?;
        registry.register(Box::new(self.mdns_dropped.clone()))?;
        registry.register(Box::new(self.mdns_neighbours.clone()))?;
        registry.register(Box::new(self.reachability.clone()))?;
        registry.register(Box::new(self.address_tests.clone()))?;
        registry.register(Box::new(self.reservations.clone()))?;
        registry.register(Box::new(self.reservations_held.clone()))?;
        registry.register(Box::new(self.relaying.clone()))?;
        registry.register(Box::new(self.hole_punches.clone()))?;
        registry.register(Box::new(self.upnp.clone()))
    }

    /// Shows the reachability that the node has now.
    pub(crate) fn show_reachability(&self, now: Reachability) {
        for state in [Reachability::Unknown, Reachability::Public, Reachability::Private] {
            self.reachability.with_label_values(&[state.as_str()]).set(i64::from(state == now));
        }
    }
}
