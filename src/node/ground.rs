//! What every part of a node stands on: data directory, identity, trust, threads, the open store.

use super::{NodeError, options};
use crate::config::{DataDir, NodeConfig};
use meshwork_kit::{Clock, Supervision};
use meshwork_network::identity::NodeIdentity;
use meshwork_proto::{ErrorCode, PeerId};
use meshwork_storage::Store;
use prometheus::Registry;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;
use tokio::runtime::Handle;

/// See the module.
pub(super) struct Ground {
    pub(super) data: DataDir,
    pub(super) identity: NodeIdentity,
    pub(super) peer_id: PeerId,
    pub(super) registry: Registry,
    pub(super) runtime: Handle,
    pub(super) supervision: Supervision,
    pub(super) clock: Clock,
    pub(super) store: Store,
}

impl Ground {
    /// Lays it: everything here is on this machine only.
    pub(super) async fn lay(config: &NodeConfig) -> Result<Self, NodeError> {
        let data = data_dir(config)?;
        let registry = Registry::new();
        let runtime = Handle::current();
        let supervision = Supervision::threads(&registry, runtime.clone()).map_err(NodeError::internal)?;
        let clock = supervision.clock().clone();
        // First the store: its lock is what tells that another node uses the directory.
        let store = open_store(config, &runtime, &registry, clock.clone()).await?;
        let identity = NodeIdentity::load_or_create(&data.identity()).map_err(NodeError::of)?;
        let peer_id = identity.peer_id();
        Ok(Self { data, identity, peer_id, registry, runtime, supervision, clock, store })
    }
}

impl Ground {
    /// Ends the actors, then the store: what it still writes is theirs.
    pub(super) async fn close(self, within: Duration) {
        if let Err(error) = self.supervision.shutdown(within).await {
            tracing::warn!(%error, "actors");
        }
        let store = self.store;
        match tokio::task::spawn_blocking(move || store.close(within)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "store"),
            Err(error) => tracing::warn!(%error, "store"),
        }
    }
}

/// Makes the directory if it is not there: for its owner only, since it will hold the key and the secret.
fn data_dir(config: &NodeConfig) -> Result<DataDir, NodeError> {
    let data = config.data();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data.path()).map_err(|error| {
        let path = data.path().display();
        NodeError::new(ErrorCode::Config, format!("data directory {path} cannot be made: {error}"))
    })?;
    Ok(data)
}

/// Reading a large database takes seconds: off the async threads.
async fn open_store(
    config: &NodeConfig,
    runtime: &Handle,
    registry: &Registry,
    clock: Clock,
) -> Result<Store, NodeError> {
    let (options, runtime, registry) = (options::store(config), runtime.clone(), registry.clone());
    let opened =
        tokio::task::spawn_blocking(move || meshwork_storage::open(options, &runtime, &registry, clock));
    opened.await.map_err(NodeError::internal)?.map_err(NodeError::of)
}
