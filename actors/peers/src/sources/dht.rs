//! The mesh's own Kademlia table: each node enters itself under the namespace and under each of its capabilities.

use super::directory::{self, DirectoryPorts, Entries};
use super::{OwnCard, PeerSource, Schedule, SourceError, entry};
use futures::future::BoxFuture;
use meshwork_kit::Backoff;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::Directory;
use std::collections::BTreeSet;
use std::time::Duration;

/// Settings of the table.
#[derive(Debug, Clone)]
pub struct DhtOptions {
    /// Under which name the nodes of this mesh enter themselves.
    pub namespace: String,
    /// Pause between look-ups.
    pub interval: Duration,
    /// After how long this node enters itself again; the entry lasts twice as long.
    pub provide_every: Duration,
    /// How long a look-up or an entry may take.
    pub deadline: Duration,
}

impl Default for DhtOptions {
    fn default() -> Self {
        Self {
            namespace: "meshwork".into(),
            interval: Duration::from_secs(60),
            provide_every: Duration::from_secs(1_800),
            deadline: Duration::from_secs(20),
        }
    }
}

/// The name under which nodes with this tool or label enter themselves in the table.
#[must_use]
pub fn capability_name(namespace: &str, capability: &str) -> String {
    format!("{namespace}/{capability}")
}

/// The mesh's own table as a source.
pub struct Dht {
    options: DhtOptions,
    entries: Entries,
}

impl Dht {
    /// The table behind the network's ports.
    #[must_use]
    pub fn new(options: DhtOptions, ports: DirectoryPorts) -> Self {
        let ttl = options.provide_every.saturating_mul(2);
        let entries = Entries::new(ports, Directory::Dht, ttl, options.provide_every);
        Self { options, entries }
    }

    fn names(&self, own: &OwnCard) -> BTreeSet<String> {
        let namespace = &self.options.namespace;
        let each = entry::capabilities(own).into_iter().map(|name| capability_name(namespace, name));
        each.chain([namespace.clone()]).collect()
    }
}

impl PeerSource for Dht {
    fn kind(&self) -> Source {
        Source::Dht
    }

    fn schedule(&self) -> Schedule {
        table_schedule(self.options.interval, self.options.deadline)
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        let names = self.names(own);
        Box::pin(async move {
            let (namespace, within) = (self.options.namespace.clone(), self.options.deadline);
            directory::visit(&mut self.entries, names, &namespace, own, within).await
        })
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.entries.withdraw(self.options.deadline).await })
    }
}

/// When a table is visited. Entries under many names take several deadlines, and a table that is still filling up is
/// tried again soon.
pub(super) fn table_schedule(interval: Duration, deadline: Duration) -> Schedule {
    let backoff = Backoff::doubling(Duration::from_secs(5), interval.max(Duration::from_secs(300)));
    Schedule { interval, deadline: deadline.saturating_mul(12), backoff }
}
