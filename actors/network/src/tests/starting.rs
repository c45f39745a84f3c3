//! Start and stop: addresses, what is shown of a network.

use super::world::{Node, eventually, member, pair, quick, tcp};
use crate::{DhtOptions, NetworkOptions, NodeIdentity, PublicDhtOptions, ReachOptions, StartError, prepare};
use futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::{SwarmBuilder, kad, noise, tcp as transport, yamux};
use meshwork_proto::transport::GetLocalPeer;
use meshwork_proto::{Coded, ErrorCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps who has warned of something in this thread.
#[derive(Default, Clone)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(event.metadata().target().to_owned());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

impl Warnings {
    /// Who has warned of something since the last time, of libp2p's tables.
    fn of_tables(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.retain(|target| target.starts_with("libp2p_kad"));
        all
    }
}

/// libp2p waits for half a second before a table looks around.
const A_WHILE: Duration = Duration::from_millis(900);

/// A table that is left to itself, for a while.
async fn bare_table() {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(transport::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let own = key.public().to_peer_id();
            kad::Behaviour::new(own, MemoryStore::new(own))
        })
        .unwrap()
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let forever = async {
        loop {
            swarm.select_next_some().await;
        }
    };
    let _ = tokio::time::timeout(A_WHILE, forever).await;
}

#[tokio::test]
async fn a_node_that_is_alone_with_its_tables_does_not_look_around_in_vain() {
    let warnings = Warnings::default();
    let _heard = tracing::subscriber::set_default(warnings.clone());
    let reach = ReachOptions {
        dht: Some(DhtOptions { server: true }),
        public_dht: Some(PublicDhtOptions::default()),
        ..ReachOptions::default()
    };
    bare_table().await;
    assert!(!warnings.of_tables().is_empty(), "without what is tested here there is a warning");
    let node = Node::start(member(), NetworkOptions { reach, ..tcp() }).await;
    tokio::time::sleep(A_WHILE).await;
    assert!(warnings.of_tables().is_empty());
    node.stop().await;
}

async fn refused(listen: &str) -> StartError {
    let options = NetworkOptions { listen: vec![listen.to_owned()], ..quick() };
    let (_ports, seed) = prepare(NodeIdentity::generate(), member(), options);
    let deps = super::world::Node::start(member(), quick()).await.network.core().deps.clone();
    match seed.start(deps, &prometheus::Registry::new()).await {
        Ok(network) => panic!("listens on {:?}", network.addresses()),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_another_node_listens_on_is_refused_by_name() {
    for transport in ["tcp/0", "udp/0/quic-v1"] {
        let options = NetworkOptions { listen: vec![format!("/ip4/127.0.0.1/{transport}")], ..quick() };
        let first = Node::start(member(), options).await;
        let taken = first.bare_address();
        let error = refused(&taken).await;
        assert!(matches!(&error, StartError::AddressInUse { address } if *address == taken), "{error}");
        assert_eq!(error.code(), ErrorCode::InUse);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_listened_on_is_refused_with_the_reason() {
    for (address, problem) in [
        ("/ip4/192.0.2.7/tcp/4001", "no such address"),
        ("/ip4/127.0.0.1/tcp/70000", "not a multiaddress"),
        ("/dns4/localhost/tcp/4001", "/ip4/"),
        ("localhost:4001", "not a multiaddress"),
    ] {
        let error = refused(address).await;
        assert_eq!(error.code(), ErrorCode::Config, "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_knows_its_real_addresses_when_it_has_started() {
    let listen = vec!["/ip4/0.0.0.0/tcp/0".to_owned(), "/ip4/0.0.0.0/udp/0/quic-v1".to_owned()];
    let external = vec!["/dns/node.example/tcp/4001".to_owned()];
    let node = Node::start(member(), NetworkOptions { listen, external, ..quick() }).await;
    let local = node.ports.local.ask(GetLocalPeer, Duration::from_secs(5)).await.unwrap();
    assert_eq!(local.peer, node.id());
    assert_eq!(local.listen, node.network.addresses());
    assert_eq!(local.listen[0], format!("/dns/node.example/tcp/4001/p2p/{}", node.id()));
    for transport in ["/ip4/127.0.0.1/tcp/", "/ip4/127.0.0.1/udp/"] {
        assert!(local.listen.iter().any(|address| address.starts_with(transport)), "{:?}", local.listen);
    }
    assert!(local.listen.iter().all(|address| !address.contains("/tcp/0/") && !address.contains("/udp/0/")));
    let wrong = NetworkOptions { external: vec!["/ip4/1.2.3.4".to_owned()], ..quick() };
    let (_ports, seed) = prepare(NodeIdentity::generate(), member(), wrong);
    let error = seed.start(node.network.core().deps.clone(), &prometheus::Registry::new()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Config);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_metrics_show_what_goes_on() {
    let (server, client) = pair(tcp()).await;
    client.greet(&server.id()).await.unwrap();
    let connection = eventually("the connection is measured", || {
        let status = client.network.status().borrow().clone();
        let measured = |c: &crate::ConnectionStatus| c.rtt_us.is_some() && c.agent.is_some();
        (status.admitted == 1 && status.kept_lost == 0).then_some(())?;
        status.connections.into_iter().find(measured)
    })
    .await;
    assert_eq!((connection.direction, connection.transport), ("out", "tcp"));
    assert_eq!(connection.peer, server.id());
    assert!(connection.agent.unwrap().starts_with("meshwork/"));
    let names: Vec<String> = client.registry.gather().iter().map(|family| family.name().to_owned()).collect();
    assert!(names.contains(&"meshwork_mesh_request_seconds".to_owned()), "{names:?}");
    let text = client.network.metrics().encode_libp2p();
    assert!(text.contains("libp2p_swarm_connections_established"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains(server.id().as_str()));
}
