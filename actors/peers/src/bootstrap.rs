//! The bootstrap actor: makes the first contacts and does not give up.
//!
//! It dials every configured peer (flags, invitation, configuration), each on its own exponential back-off with
//! jitter, until it is connected; the transport keeps a connection that stood once. It owns nothing durable: after a
//! restart it dials all of them again, and dialling a connected peer costs nothing.

mod actor;

pub use actor::{BootstrapDeps, BootstrapPorts, BootstrapSeed, BootstrapStatus, prepare};

use meshwork_kit::Backoff;
use meshwork_proto::transport::PeerTarget;
use std::time::Duration;

/// Settings of bootstrap.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Whom to contact.
    pub peers: Vec<PeerTarget>,
    /// How long one attempt may take.
    pub dial_deadline: Duration,
    /// Pause between attempts at one peer.
    pub backoff: Backoff,
    /// Seed of the jitter.
    pub seed: u64,
}
