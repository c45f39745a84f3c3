//! What others may see of the network, on a watch: for status pages and tests.

use meshwork_proto::transport::Reachability;
use meshwork_proto::{PeerId, Role};
use serde::Serialize;
use std::net::IpAddr;

/// The network as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkStatus {
    /// This node.
    pub peer: PeerId,
    /// Addresses it listens on or is reached at, each with `/p2p/<id>`.
    pub listen: Vec<String>,
    /// Open connections, in the order of their peers.
    pub connections: Vec<ConnectionStatus>,
    /// Peers admitted on both sides.
    pub admitted: usize,
    /// Peers connected, but not admitted.
    pub strangers: usize,
    /// Addresses to which a lost connection is opened again.
    pub kept: usize,
    /// Those of them that are not connected now.
    pub kept_lost: usize,
    /// Dials under way.
    pub dialling: usize,
    /// Whether others can open connections to this node.
    pub reachability: Reachability,
    /// Addresses that are configured, or that were confirmed from outside, without `/p2p/<id>`.
    pub external: Vec<String>,
    /// Relays at which this node has, or seeks, a place.
    pub relays: Vec<RelayStatus>,
    /// Under which IP addresses connected peers see this node, the most frequent first.
    pub observed: Vec<ObservedIp>,
}

/// A relay at which this node has, or seeks, a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayStatus {
    /// Who.
    pub peer: PeerId,
    /// Where, without `/p2p/<id>`.
    pub address: String,
    /// `waiting` (for the next try), `connecting`, `reserving` or `reserved`.
    pub state: &'static str,
}

/// An IP address under which peers see this node. What they say proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ObservedIp {
    /// The address.
    pub ip: IpAddr,
    /// How many connected peers see it.
    pub peers: usize,
}

/// An open connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionStatus {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Its role here; none: not admitted.
    pub role: Option<Role>,
    /// The other end's address.
    pub address: String,
    /// `in` or `out`.
    pub direction: &'static str,
    /// `tcp`, `quic`, or `relay` for a connection through another peer.
    pub transport: &'static str,
    /// Last measured round-trip time, in microseconds.
    pub rtt_us: Option<u64>,
    /// Software of the peer, as it says.
    pub agent: Option<String>,
}

impl NetworkStatus {
    /// Of a network that has not started.
    pub(crate) fn of(peer: PeerId) -> Self {
        Self {
            peer,
            listen: Vec::new(),
            connections: Vec::new(),
            admitted: 0,
            strangers: 0,
            kept: 0,
            kept_lost: 0,
            dialling: 0,
            reachability: Reachability::Unknown,
            external: Vec::new(),
            relays: Vec::new(),
            observed: Vec::new(),
        }
    }
}
