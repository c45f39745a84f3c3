//! The public Kademlia table (`/ipfs/kad/1.0.0`), where the Python nodes enter themselves under one name.
//!
//! Capabilities are not entered here: every entry is a burden on strangers, and who is not of this mesh has no use of
//! them.

use super::directory::DirectoryPorts;
use super::table::{Table, TableOptions};
use super::{OwnCard, PeerSource, Schedule, SourceError};
use futures::future::BoxFuture;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::Directory;
use std::time::Duration;

/// The name under which the Python nodes enter themselves.
pub const TASK_QUEUE_NAMESPACE: &str = "ipfs-accelerate-task-queue";

/// The public table as a source.
pub struct PublicDht(Table);

impl PublicDht {
    /// The table behind the network's ports.
    #[must_use]
    pub fn new(options: TableOptions, ports: DirectoryPorts) -> Self {
        Self(Table::new(Directory::PublicDht, options, ports))
    }

    /// The usual settings: the public table is large, and slow.
    #[must_use]
    pub fn usual() -> TableOptions {
        TableOptions {
            namespace: TASK_QUEUE_NAMESPACE.into(),
            interval: Duration::from_secs(60),
            provide_every: Duration::from_secs(1_800),
            deadline: Duration::from_secs(60),
        }
    }
}

impl PeerSource for PublicDht {
    fn kind(&self) -> Source {
        Source::PublicDht
    }

    fn schedule(&self) -> Schedule {
        self.0.schedule()
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        let names = [self.0.namespace().to_owned()].into();
        Box::pin(self.0.visit(names, own))
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.0.withdraw())
    }
}
