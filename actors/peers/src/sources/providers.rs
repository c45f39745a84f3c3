//! Who serves a tool or has a label: a look-up in a table under the name that each node enters itself under for it.
//!
//! It is apart from the visits to the table: those may take minutes, and who asks for a capability waits.

use super::SourceError;
use super::dht::capability_name;
use super::directory::{self, DirectoryPorts};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::Directory;
use std::time::Duration;

/// A table that knows who provides what.
#[derive(Debug, Clone)]
pub struct ProviderTable {
    ports: DirectoryPorts,
    directory: Directory,
    namespace: String,
}

impl ProviderTable {
    /// Of a table whose nodes enter themselves under this namespace.
    pub(super) fn new(ports: DirectoryPorts, directory: Directory, namespace: String) -> Self {
        Self { ports, directory, namespace }
    }

    /// Who has entered itself under a tool or label, without this node itself.
    pub(crate) async fn find(
        &self,
        capability: &str,
        own: &PeerId,
        within: Duration,
    ) -> Result<Vec<FoundPeer>, SourceError> {
        let name = capability_name(&self.namespace, capability);
        directory::look_up(&self.ports.look_up, &self.directory, &name, own, within).await
    }
}
