//! The mesh's own Kademlia table: each node enters itself under the namespace and under each of its capabilities.

use super::directory::DirectoryPorts;
use super::table::{Table, TableOptions};
use super::{OwnCard, PeerSource, ProviderTable, Schedule, SourceError, entry};
use futures::future::BoxFuture;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::Directory;
use std::time::Duration;

/// The name under which nodes with this tool or label enter themselves in the table.
#[must_use]
pub fn capability_name(namespace: &str, capability: &str) -> String {
    format!("{namespace}/{capability}")
}

/// The mesh's own table as a source.
pub struct Dht(Table);

impl Dht {
    /// The table behind the network's ports.
    #[must_use]
    pub fn new(options: TableOptions, ports: DirectoryPorts) -> Self {
        Self(Table::new(Directory::Dht, options, ports))
    }

    /// The usual settings.
    #[must_use]
    pub fn usual() -> TableOptions {
        TableOptions {
            namespace: "meshwork".into(),
            interval: Duration::from_secs(60),
            provide_every: Duration::from_secs(1_800),
            deadline: Duration::from_secs(20),
        }
    }
}

impl PeerSource for Dht {
    fn kind(&self) -> Source {
        Source::Dht
    }

    fn schedule(&self) -> Schedule {
        self.0.schedule()
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        let namespace = self.0.namespace();
        let each = entry::capabilities(own).into_iter().map(|name| capability_name(namespace, name));
        let names = each.chain([namespace.to_owned()]).collect();
        Box::pin(self.0.visit(names, own))
    }

    fn providers(&self) -> Option<ProviderTable> {
        Some(self.0.providers())
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.0.withdraw())
    }
}
