//! The public Kademlia table (`/ipfs/kad/1.0.0`), where the Python nodes enter themselves under one name.
//!
//! Capabilities are not entered here: every entry is a burden on strangers, and who is not of this mesh has no use of
//! them.

use super::dht::table_schedule;
use super::directory::{self, DirectoryPorts, Entries};
use super::{OwnCard, PeerSource, Schedule, SourceError};
use futures::future::BoxFuture;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::Directory;
use std::time::Duration;

/// The name under which the Python nodes enter themselves.
pub const TASK_QUEUE_NAMESPACE: &str = "ipfs-accelerate-task-queue";

/// Settings of the public table.
#[derive(Debug, Clone)]
pub struct PublicDhtOptions {
    /// Under which name this node enters itself and looks others up.
    pub namespace: String,
    /// Pause between look-ups.
    pub interval: Duration,
    /// After how long this node enters itself again; the entry lasts twice as long.
    pub provide_every: Duration,
    /// How long a look-up or an entry may take: the public table is large.
    pub deadline: Duration,
}

impl Default for PublicDhtOptions {
    fn default() -> Self {
        Self {
            namespace: TASK_QUEUE_NAMESPACE.into(),
            interval: Duration::from_secs(60),
            provide_every: Duration::from_secs(1_800),
            deadline: Duration::from_secs(60),
        }
    }
}

/// The public table as a source.
pub struct PublicDht {
    options: PublicDhtOptions,
    entries: Entries,
}

impl PublicDht {
    /// The table behind the network's ports.
    #[must_use]
    pub fn new(options: PublicDhtOptions, ports: DirectoryPorts) -> Self {
        let ttl = options.provide_every.saturating_mul(2);
        let entries = Entries::new(ports, Directory::PublicDht, ttl, options.provide_every);
        Self { options, entries }
    }
}

impl PeerSource for PublicDht {
    fn kind(&self) -> Source {
        Source::PublicDht
    }

    fn schedule(&self) -> Schedule {
        table_schedule(self.options.interval, self.options.deadline)
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        Box::pin(async move {
            let (namespace, within) = (self.options.namespace.clone(), self.options.deadline);
            let names = [namespace.clone()].into();
            directory::visit(&mut self.entries, names, &namespace, own, within).await
        })
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.entries.withdraw(self.options.deadline).await })
    }
}
