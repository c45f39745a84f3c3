//! The mesh's network: the only code that names libp2p.
//!
//! A node has an [`identity`] (an ed25519 key) and a [`trust`] (the mesh secrets, and peers allowed by name). It connects
//! over TCP with Noise and Yamux, or QUIC; two connected peers decide on one another in a handshake (`admission`), and
//! only peers that admit each other exchange requests: each side opens one stream for its own (`link`) and serves the
//! other's (`serve`), many in flight on each. A new node may get the secret with a short code (`pairing`); who was revoked
//! (`revoked`) or misbehaves (`score`) is kept out.
//!
//! How a node finds others, is found and is reached (`swarm::reach`) is a matter of options, all off by default: multicast
//! DNS, two Kademlia tables, rendezvous points, address tests, relays, hole punching, the router. Everything found is a
//! hint for discovery, which decides whom to connect to.
//!
//! The swarm runs in a tokio task of its own, not in an actor: nothing is awaited in its loop, and a slow actor cannot
//! hold it up. Others reach the network through [`NetworkPorts`], and it reaches them through [`NetworkDeps`]:
//!
//! ```text
//! CallPeer, FetchArtifact, DialPeer, GetLocalPeer  ->  network  ->  ServeRequest (what peers ask of this node)
//! LookUp, EnterSelf, ListNeighbours                             ->  PeerConnection, WorkerPeerLost/Back, WorkSource
//!                                                               ->  PeersFound (by pairing)
//! ```
//!
//! Everything is bounded: requests per peer in both directions, calls, streams, connections, memory, sizes, times.

mod address;
mod admission;
mod call;
mod client;
mod connecting;
mod directory;
mod error;
mod fetch;
pub mod identity;
mod link;
mod metrics;
mod network;
mod notary;
mod notify;
mod options;
mod pairing;
mod pipe;
mod private_file;
mod revoked;
mod score;
mod serve;
mod session;
mod shared;
mod status;
mod swarm;
#[cfg(test)]
mod tests;
pub mod trust;

pub use client::MeshClient;
pub use error::{StartError, StopError};
pub use identity::{IdentityError, NodeIdentity};
pub use metrics::NetworkMetrics;
pub use network::{Network, NetworkDeps, NetworkPorts, NetworkSeed, prepare};
pub use options::{DhtOptions, NetworkOptions, PublicDhtOptions, ReachOptions, RelayLimits};
pub use private_file::PrivateFileError;
pub use revoked::RevocationsError;
pub use status::{ConnectionStatus, NetworkStatus, ObservedIp, RelayStatus};
pub use trust::{MeshSecret, MeshSecrets, SecretError, Trust};
