//! What can be set about discovery, with defaults.

use meshwork_kit::Backoff;
use meshwork_proto::discovery::Source;
use std::collections::BTreeMap;
use std::time::Duration;

/// For how long what a source said counts, without being said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// For sources that are not named below. Zero: for ever.
    pub default: Duration,
    /// By source. Zero: for ever.
    pub by_source: BTreeMap<Source, Duration>,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { default: Duration::from_secs(1800), by_source: BTreeMap::new() }
    }
}

impl Lifetimes {
    /// Of what this source said; none: it never grows too old.
    #[must_use]
    pub fn of(&self, source: Source) -> Option<Duration> {
        let ttl = *self.by_source.get(&source).unwrap_or(&self.default);
        (!ttl.is_zero()).then_some(ttl)
    }
}

/// Settings of discovery.
#[derive(Debug, Clone)]
pub struct DiscoveryOptions {
    /// After which time a peer is forgotten that nothing has confirmed, by who found it. Default 1800 s for all.
    pub ttl: Lifetimes,
    /// Connections that this node opens itself: until so many peers are connected. Default 24.
    pub target_connections: usize,
    /// Most connections that are being opened at a time; fewer while handshakes do not end in time. Default 8.
    pub max_dials: usize,
    /// How long opening one may take. Default 10 s.
    pub dial_deadline: Duration,
    /// Pauses between tries at one peer.
    pub dial_backoff: Backoff,
    /// Pause after a peer refused this node, or the other way round. Default 600 s.
    pub refused_pause: Duration,
    /// Whether public sources may name addresses of private networks. Default no.
    pub allow_private_addresses: bool,
    /// Most peers in the book; the least valuable unconnected ones go first. Default 10 000.
    pub max_peers: usize,
    /// Whether records of others are passed on, asked for and believed. Without it each node speaks for itself alone, to
    /// those it is connected to. Default yes.
    pub gossip: bool,
    /// How often what is known is compared with one connected peer. Default 15 s.
    pub exchange_every: Duration,
    /// The same while that brings news. Default 3 s.
    pub exchange_soon: Duration,
    /// How long a peer may take to answer an exchange. Default 5 s.
    pub exchange_deadline: Duration,
    /// How often this node looks at itself for something new to say. Default 5 s.
    pub describe_every: Duration,
    /// How often at most a change of load is announced. Default 30 s.
    pub load_every: Duration,
    /// How often peers that speak only the first version of the wire are told what this node offers. Default 30 s.
    pub advertise_every: Duration,
    /// How often the book is written down, if it has changed. Default 30 s.
    pub save_every: Duration,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        let dial_backoff = Backoff {
            min: Duration::from_secs(2),
            max: Duration::from_secs(600),
            factor: 2.0,
            // Nodes that lost the same peer must not all come back to it at the same moment.
            jitter: 0.5,
        };
        Self {
            ttl: Lifetimes::default(),
            target_connections: 24,
            max_dials: 8,
            dial_deadline: Duration::from_secs(10),
            dial_backoff,
            refused_pause: Duration::from_secs(600),
            allow_private_addresses: false,
            max_peers: 10_000,
            gossip: true,
            exchange_every: Duration::from_secs(15),
            exchange_soon: Duration::from_secs(3),
            exchange_deadline: Duration::from_secs(5),
            describe_every: Duration::from_secs(5),
            load_every: Duration::from_secs(30),
            advertise_every: Duration::from_secs(30),
            save_every: Duration::from_secs(30),
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_zero_is_for_ever_and_sources_may_have_their_own() {
        let mut ttl = Lifetimes::default();
        assert_eq!(ttl.of(Source::Gossip), Some(Duration::from_secs(1800)));
        ttl.by_source.insert(Source::Mdns, Duration::from_secs(120));
        ttl.by_source.insert(Source::Manual, Duration::ZERO);
        assert_eq!(ttl.of(Source::Mdns), Some(Duration::from_secs(120)));
        assert_eq!(ttl.of(Source::Manual), None);
        ttl.default = Duration::ZERO;
        assert_eq!(ttl.of(Source::Gossip), None);
    }
}
