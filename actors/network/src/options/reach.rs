//! What can be set about finding peers, being found, and being reached: everything here is off unless it is asked for.

use meshwork_kit::Backoff;
use std::time::Duration;

/// Ways in which a node finds others and is found and reached by them. [`ReachOptions::default`] uses none of them.
///
/// What works without an option, because it costs nothing until it is used: connecting to a peer through a relay when
/// its address says so.
#[derive(Debug, Clone)]
pub struct ReachOptions {
    /// Multicast DNS: announces this node on the local networks, and hears others there.
    pub mdns: bool,
    /// How often neighbours are asked for, once somebody has answered.
    pub mdns_interval: Duration,
    /// The mesh's own Kademlia table; none: off.
    pub dht: Option<DhtOptions>,
    /// The public Kademlia table, for meeting the Python nodes; none: off.
    pub public_dht: Option<PublicDhtOptions>,
    /// Look-ups and entries at rendezvous points.
    pub rendezvous: bool,
    /// Be a rendezvous point for others.
    pub rendezvous_server: bool,
    /// Let peers try out whether this node can be reached from outside (`AutoNAT` 2).
    pub autonat: bool,
    /// How often untried addresses are tried.
    pub autonat_interval: Duration,
    /// Try out for others whether they can be reached: dials whatever address a connected peer names, so it belongs on
    /// nodes that can be reached from everywhere.
    pub autonat_server: bool,
    /// Be reachable through relays while no other way is known: places are reserved at up to two of them.
    pub relay_client: bool,
    /// Relays to reserve places at, each with `/p2p/<id>`; after them, connected members that serve as relays are used.
    pub relays: Vec<String>,
    /// Delays before a lost or refused reservation is asked for again.
    pub relay_retry: Backoff,
    /// Be a relay for others, within these limits; none: off. Peers that are not admitted are disconnected after the
    /// grace for strangers, whatever they have reserved.
    pub relay_server: Option<RelayLimits>,
    /// Replace connections through relays by direct ones where both sides can (`DCUtR`).
    pub hole_punching: bool,
    /// Open ports on the router of the local network (UPnP).
    pub upnp: bool,
}

impl Default for ReachOptions {
    fn default() -> Self {
        Self {
            mdns: false,
            mdns_interval: Duration::from_secs(5 * 60),
            dht: None,
            public_dht: None,
            rendezvous: false,
            rendezvous_server: false,
            autonat: false,
            autonat_interval: Duration::from_secs(5),
            autonat_server: false,
            relay_client: false,
            relays: Vec::new(),
            relay_retry: Backoff::doubling(Duration::from_secs(1), Duration::from_secs(5 * 60)),
            relay_server: None,
            hole_punching: false,
            upnp: false,
        }
    }
}

impl ReachOptions {
    /// Whether this node takes part in something that lists or uses the addresses at which it can be reached, so that
    /// the addresses it listens on must stand for them as long as no better ones are known.
    pub(crate) fn lists_own_addresses(&self) -> bool {
        self.dht.is_some() || self.rendezvous || self.relay_server.is_some()
    }
}

/// The mesh's own Kademlia table (`/meshwork/kad/1.0.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DhtOptions {
    /// Hold a part of the table and answer others: right for every node that its peers can open connections to. Without
    /// it the node only asks, until an external address of it is configured or confirmed.
    pub server: bool,
}

impl Default for DhtOptions {
    fn default() -> Self {
        Self { server: true }
    }
}

/// The public Kademlia table (`/ipfs/kad/1.0.0`). The node only asks there, and enters itself, until an external address
/// of it is configured or confirmed; then it holds a part of the table too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicDhtOptions {
    /// Nodes to begin with, each with `/p2p/<id>`; also `/dnsaddr/<name>/p2p/<id>`.
    pub bootstrap: Vec<String>,
}

/// What a relay gives to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// Places reserved at a time.
    pub reservations: usize,
    /// Places reserved by one peer.
    pub reservations_per_peer: usize,
    /// How long a place is kept; it is renewed before that while the peer is there.
    pub reservation_for: Duration,
    /// Connections through this relay at a time.
    pub circuits: usize,
    /// Those opened by one peer.
    pub circuits_per_peer: usize,
    /// Bytes that go through one connection, each way.
    pub circuit_bytes: u64,
    /// How long one connection may last.
    pub circuit_for: Duration,
}

impl Default for RelayLimits {
    /// libp2p's own defaults (16 connections of two minutes and 128 KiB) only suffice for hole punching; these are for
    /// a mesh's own relay, which members work through.
    fn default() -> Self {
        Self {
            reservations: 128,
            reservations_per_peer: 4,
            reservation_for: Duration::from_secs(3600),
            circuits: 64,
            circuits_per_peer: 16,
            circuit_bytes: 64 * 1024 * 1024,
            circuit_for: Duration::from_secs(30 * 60),
        }
    }
}
