//! What the Kademlia tables have in common as sources: when they are visited, how long what is entered there lasts, and
//! that this node enters itself under names and looks one of them up.

use super::directory::{self, DirectoryPorts, Entries};
use super::{OwnCard, ProviderTable, Schedule, SourceError};
use meshwork_kit::Backoff;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::Directory;
use std::collections::BTreeSet;
use std::time::Duration;

/// Settings of a table. What is usual for each says [`Dht::usual`](super::Dht::usual) or
/// [`PublicDht::usual`](super::PublicDht::usual).
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// Under which name nodes enter themselves and look for one another.
    pub namespace: String,
    /// Pause between look-ups.
    pub interval: Duration,
    /// After how long this node enters itself again; the entry lasts twice as long.
    pub provide_every: Duration,
    /// How long a look-up or an entry may take.
    pub deadline: Duration,
}

/// A table.
pub(super) struct Table {
    options: TableOptions,
    entries: Entries,
}

impl Table {
    pub(super) fn new(directory: Directory, options: TableOptions, ports: DirectoryPorts) -> Self {
        let ttl = options.provide_every.saturating_mul(2);
        let entries = Entries::new(ports, directory, ttl, options.provide_every);
        Self { options, entries }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.options.namespace
    }

    /// Where it is looked up who has entered itself under a capability.
    pub(super) fn providers(&self) -> ProviderTable {
        let (ports, directory) = (self.entries.ports(), self.entries.directory());
        ProviderTable::new(ports, directory, self.options.namespace.clone())
    }

    /// Entries under many names take several deadlines, and a table that is still filling up is tried again soon.
    pub(super) fn schedule(&self) -> Schedule {
        let TableOptions { interval, deadline, .. } = self.options;
        let backoff = Backoff::doubling(Duration::from_secs(5), interval.max(Duration::from_secs(300)));
        Schedule { interval, deadline: deadline.saturating_mul(12), backoff }
    }

    /// Enters this node under these names, and gives who else is under the namespace.
    pub(super) async fn visit(
        &mut self,
        names: BTreeSet<String>,
        own: &OwnCard,
    ) -> Result<Vec<FoundPeer>, SourceError> {
        let TableOptions { namespace, deadline, .. } = &self.options;
        directory::visit(&mut self.entries, names, namespace, own, *deadline).await
    }

    /// Takes every entry back.
    pub(super) async fn withdraw(&mut self) -> Result<(), SourceError> {
        self.entries.withdraw(self.options.deadline).await
    }
}
