//! The bootstrap actor: makes the first contacts and does not give up.
//!
//! Contacts come from the configuration and invitations, a file, the environment, DNS names and the public list, each in
//! a small file of its own ([`places`] reads them). [`contacts`] is the table of them all, a pure state machine: each is
//! tried on its own exponential back-off with jitter until it was reached once. Configured ones are dialled for keeps:
//! the transport holds on to such a connection. The others are only connected to; who stays connected is discovery's
//! choice. When the node is alone, all of it begins again: places are read anew and everybody is tried, because the
//! world may have moved on while it was connected. Until then a contact that was lost is shown as lost and tried rarely:
//! two halves of a network that was cut for longer than peers are remembered meet again through their first contacts.
//!
//! It owns nothing durable: after a restart it reads and dials everything again, and dialling a connected peer costs
//! nothing.

mod actor;
mod asked;
mod attempt;
mod contacts;
mod dns;
mod environment;
mod file;
mod metrics;
mod places;
mod public;
#[cfg(test)]
pub(crate) mod rehearsal;
#[cfg(test)]
mod tests;

pub use actor::{BootstrapDeps, BootstrapPorts, BootstrapSeed, BootstrapStatus, prepare};
pub use contacts::FirstContact;
pub use dns::DnsOptions;
pub use environment::{EnvironmentPeers, VARIABLES as BOOTSTRAP_VARIABLES};
pub use public::PUBLIC_LIST;

use meshwork_kit::Backoff;
use meshwork_proto::PeerId;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of bootstrap.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Whom to contact, and keep contact with.
    pub peers: Vec<FirstContact>,
    /// This node: an entry that is this node itself is no contact.
    pub own: Option<PeerId>,
    /// Files with contacts; the Python nodes' announce file and registries can be read.
    pub files: Vec<PathBuf>,
    /// Contacts from variables of the environment.
    pub environment: EnvironmentPeers,
    /// Names that lead to contacts, and how they are resolved.
    pub dns: DnsOptions,
    /// Whether the public list is used without being asked for.
    pub use_public_list: bool,
    /// The public list.
    pub public_list: Vec<String>,
    /// Pause between readings of files and names; they are read sooner when the node is alone.
    pub read_every: Duration,
    /// How long one reading may take.
    pub read_deadline: Duration,
    /// How long one attempt at a contact may take.
    pub dial_deadline: Duration,
    /// Pause between attempts at one peer of `peers`.
    pub backoff: Backoff,
    /// Pause between attempts at one contact from elsewhere: there may be many, and some are of the past.
    pub found_backoff: Backoff,
    /// Most attempts at the same time.
    pub max_dials: usize,
    /// How long the node must have been without a peer before it counts as alone.
    pub alone_after: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            own: None,
            files: Vec::new(),
            environment: EnvironmentPeers::default(),
            dns: DnsOptions::default(),
            use_public_list: false,
            public_list: PUBLIC_LIST.map(str::to_owned).to_vec(),
            read_every: Duration::from_secs(60),
            read_deadline: Duration::from_secs(15),
            dial_deadline: Duration::from_secs(10),
            backoff: Backoff::doubling(Duration::from_millis(500), Duration::from_secs(30)),
            found_backoff: Backoff::doubling(Duration::from_secs(1), Duration::from_secs(300)),
            max_dials: 16,
            alone_after: Duration::from_secs(5),
            seed: 0,
        }
    }
}
