//! What can be set about the network, with defaults that suit a node.

mod reach;

pub use reach::{DhtOptions, PublicDhtOptions, ReachOptions, RelayLimits};

use meshwork_kit::Backoff;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the network. [`NetworkOptions::default`] is a node that listens nowhere.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Where to listen, such as `/ip4/0.0.0.0/tcp/4001` or `/ip4/0.0.0.0/udp/4001/quic-v1`; port 0 takes a free one.
    pub listen: Vec<String>,
    /// Addresses at which others reach this node although it does not listen on them itself (behind NAT, in a pod).
    pub external: Vec<String>,
    /// Name and version that other peers see.
    pub agent: String,
    /// Requests to one peer under way at a time; further ones wait for a place within their deadline.
    pub max_requests_out: u32,
    /// Requests of one peer served at a time; further ones are answered `busy`.
    pub max_requests_in: u32,
    /// All calls under way, of whatever peer.
    pub max_calls: usize,
    /// Artifacts fetched at a time.
    pub max_fetches: usize,
    /// Open connections.
    pub max_connections: u32,
    /// Connections to one peer: more than one, because two peers may dial each other at the same moment.
    pub max_connections_per_peer: u32,
    /// No connection is opened or accepted while the process occupies more memory than this, in bytes; none: no
    /// such limit. Set it from the limit of the container, not from the machine's memory.
    pub max_memory: Option<u64>,
    /// Peers to which a lost connection is opened again.
    pub max_kept: usize,
    /// How long a handshake may take.
    pub admission_within: Duration,
    /// How long somebody may stay connected without being admitted: long enough for a pairing.
    pub stranger_grace: Duration,
    /// Where the mesh secret is kept that comes with a pairing; none: nowhere, it is gone with the process.
    pub secret_file: Option<PathBuf>,
    /// Where revoked peers are kept; none: nowhere, a revocation is gone with the process.
    pub revoked_file: Option<PathBuf>,
    /// How often a connection is tried out. It is closed when three tries in a row fail.
    pub ping_interval: Duration,
    /// How long a try may take.
    pub ping_timeout: Duration,
    /// Delays before a lost connection is opened again.
    pub redial: Backoff,
    /// Seed of the jitter of those delays.
    pub seed: u64,
    /// Finding peers, being found, being reached.
    pub reach: ReachOptions,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            agent: concat!("meshwork/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_requests_out: 256,
            max_requests_in: 256,
            max_calls: 4096,
            max_fetches: 32,
            max_connections: 512,
            max_connections_per_peer: 4,
            max_memory: None,
            max_kept: 256,
            admission_within: Duration::from_secs(5),
            stranger_grace: Duration::from_secs(10),
            secret_file: None,
            revoked_file: None,
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            // A restarted peer is back before its leases are given to others (5 s).
            redial: Backoff::doubling(Duration::from_millis(250), Duration::from_secs(30)),
            seed: 0,
            reach: ReachOptions::default(),
        }
    }
}
