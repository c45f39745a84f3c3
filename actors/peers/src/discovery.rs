//! The discovery actor: the one peer book of a node.
//!
//! It accepts connection changes and round-trip times from the transport, and advertisements (tools, labels, free
//! slots) that admitted peers exchange when they connect and every [`DiscoveryOptions::advertise_every`] afterwards.
//! It asks the transport to carry its own advertisement and the node's root what to put into it, both from futures
//! beside the mailbox. The book is in memory: after a restart it is filled again by the next exchange, which is why a
//! restart asks all connected peers at once. What the book says is a hint; truth is a claim or a call.

mod actor;
mod logic;

pub use actor::{DiscoveryDeps, DiscoveryPorts, DiscoverySeed, prepare};
pub use logic::{BookStatus, PeerBook};

use std::time::Duration;

/// Settings of discovery.
#[derive(Debug, Clone)]
pub struct DiscoveryOptions {
    /// How often each connected peer is told what this node offers.
    pub advertise_every: Duration,
    /// How long a peer may take to answer an advertisement.
    pub advertise_deadline: Duration,
    /// Most peers in the book; the longest-silent unconnected one goes first.
    pub max_peers: usize,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            advertise_every: Duration::from_secs(30),
            advertise_deadline: Duration::from_secs(5),
            max_peers: 10_000,
        }
    }
}
