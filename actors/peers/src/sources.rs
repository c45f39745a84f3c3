//! Ways of finding peers, each in a file of its own behind one trait, each switched on by configuration.
//!
//! What a source gives are hints: discovery checks them, dials them and believes only what a connection proves. A source
//! is visited at an interval of its own, or when it has news; one that fails is tried again after a back-off of its own and
//! holds up nobody. All visits are counted in the same metrics, by source and outcome.
//!
//! Two ways in which a node learns of others are no sources. Gossip is not looked up anywhere: every exchange with a
//! connected peer, whoever of the two began it, is a part of it, it tells as much as it hears, and what it brings is signed
//! by whom it is about. So it belongs to [`crate::discovery`], whose state it keeps alike among the nodes of a mesh. First
//! contacts are given by people, and tried until they answer: see [`crate::bootstrap`].

#[cfg(test)]
pub(crate) mod cards;
mod dht;
mod directory;
pub(crate) mod entry;
mod file_registry;
mod github;
mod mdns;
mod providers;
mod public_dht;
mod rendezvous;
mod table;
mod timestamp;

pub use dht::{Dht, capability_name};
pub use directory::DirectoryPorts;
pub use file_registry::{FileRegistry, FileRegistryOptions};
pub use github::{Github, GithubConfigError, GithubOptions, GithubToken};
pub use mdns::{Mdns, MdnsOptions};
pub use providers::ProviderTable;
pub use public_dht::{PublicDht, TASK_QUEUE_NAMESPACE};
pub use rendezvous::{Rendezvous, RendezvousOptions};
pub use table::TableOptions;

use futures::future::BoxFuture;
use meshwork_kit::Backoff;
use meshwork_proto::PeerId;
use meshwork_proto::discovery::{FoundPeer, Source};
use std::collections::BTreeSet;
use std::time::Duration;

/// What this node enters of itself where it can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCard {
    /// Who it is.
    pub peer: PeerId,
    /// Where it can be dialled, each with `/p2p/<id>`, the best first.
    pub addresses: Vec<String>,
    /// Its tools and labels.
    pub capabilities: BTreeSet<String>,
}

/// Why a source gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached now.
    #[error("cannot be reached: {0}")]
    Unavailable(String),
    /// It refuses this node: asking again changes nothing before somebody does something.
    #[error("refuses: {0}")]
    Refused(String),
    /// It wants to be left alone for a while.
    #[error("wants to be asked again in {} s at the earliest: {problem}", retry_after.as_secs())]
    RateLimited {
        /// What it said.
        problem: String,
        /// For how long.
        retry_after: Duration,
    },
    /// What it said cannot be read.
    #[error("cannot be understood: {0}")]
    Malformed(String),
    /// It took too long.
    #[error("did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// When a source is visited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Pause between visits; spread by a tenth, so that nodes started together do not visit together.
    pub interval: Duration,
    /// How long a visit may take.
    pub deadline: Duration,
    /// Pauses after failures.
    pub backoff: Backoff,
}

/// A way of finding peers.
pub trait PeerSource: Send + 'static {
    /// Which one it is.
    fn kind(&self) -> Source;

    /// When it is visited.
    fn schedule(&self) -> Schedule;

    /// Enters or refreshes this node, where the source has a place for that, and gives who else is there.
    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>>;

    /// Takes this node's entry back, where it made one: it is about to stop.
    fn withdraw<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>>;

    /// Where it can be looked up who serves a tool or has a label, beside the visits. Most sources do not know.
    fn providers(&self) -> Option<ProviderTable> {
        None
    }

    /// Comes when the source has news and should be visited before its time. Most cannot know: then it never comes. It may
    /// be dropped and asked for again at any time.
    fn woken(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
