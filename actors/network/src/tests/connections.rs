//! Connections: what cannot be reached, dials from both sides, losses and what follows from them.

use super::world::{Node, eventually, member, pair, quic, quick, tcp};
use crate::NetworkOptions;
use crate::NodeIdentity;
use meshwork_proto::executor::WorkSource;
use meshwork_proto::transport::{AddressFailure, CallError, ConnectPeer, PeerTarget};
use meshwork_proto::wire::{ListNodeTools, MeshRequest};
use meshwork_proto::{Coded, ErrorCode};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_said_in_time() {
    let node = Node::start(member(), quick()).await;
    let unknown = NodeIdentity::generate().peer_id();
    assert_eq!(node.greet(&unknown).await.unwrap_err(), CallError::UnknownPeer(unknown.to_string()));
    let ask = || MeshRequest::ListTools(ListNodeTools);
    let wrong = node.call(PeerTarget::Address("/ip4/300.1.1.1/tcp/1".into()), ask(), 1_000).await;
    assert!(matches!(wrong, Err(CallError::Address { .. })), "{wrong:?}");
    // Nobody listens: refused at once. The port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = format!("/ip4/127.0.0.1/tcp/{free}");
    let refused = node.call(PeerTarget::Address(closed), ask(), 10_000).await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    assert_eq!(refused.code(), ErrorCode::Unreachable);
    // Somebody listens who says nothing: given up at the deadline.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let began = Instant::now();
    let error = node.call(PeerTarget::Address(address), ask(), 400).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unreachable { problem, .. } if problem.contains("400 ms")),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// What the transport itself gives a connection to be set up.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_takes_connections_and_shakes_no_hands_fails_once_and_holds_up_nobody_else() {
    let node = Node::start(member(), quick()).await;
    // One never looks at who comes (the kernel takes the connection), the other takes it and says nothing.
    let never = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = |at: std::net::SocketAddr| format!("/ip4/127.0.0.1/tcp/{}", at.port());
    let addresses = [place(never.local_addr().unwrap()), place(silent.local_addr().unwrap())];
    let taken = tokio::spawn(async move { silent.accept().await.unwrap() });
    let connect = |addresses: &[String]| {
        let peer = Some(NodeIdentity::generate().peer_id());
        let request = ConnectPeer { peer, addresses: addresses.to_vec(), deadline_ms: 18_000 };
        node.ports.connect.ask(request, Duration::from_secs(20))
    };
    let began = Instant::now();
    let (stuck, others) = tokio::join!(connect(&addresses), async {
        let mut servers = Vec::new();
        for _ in 0..5 {
            let server = Node::start(member(), tcp()).await;
            assert_eq!(node.dial(&server.address(), 10_000).await.unwrap(), server.id());
            node.greet(&server.id()).await.unwrap();
            servers.push(server);
        }
        (servers, began.elapsed())
    });
    assert!(others.1 < CONNECT_WITHIN, "others waited for it: {:?}", others.1);
    let error = stuck.unwrap().unwrap_err();
    let mut failed: Vec<_> = error.failed.iter().map(|(address, _)| address.clone()).collect();
    failed.sort();
    let mut expected = addresses.to_vec();
    expected.sort();
    assert_eq!(failed, expected, "each once: {error:?}");
    assert!(
        error.failed.iter().all(|(_, failure)| matches!(failure, AddressFailure::Unreachable(_))),
        "{error:?}"
    );
    let dials = &node.network.core().metrics.dials;
    assert_eq!(
        (dials.with_label_values(&["failed"]).get(), dials.with_label_values(&["connected"]).get()),
        (1, 5)
    );
    eventually("nothing is left of it", || (node.network.status().borrow().dialling == 0).then_some(()))
        .await;
    drop(taken);
    for server in &others.0 {
        node.greet(&server.id()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_else_at_the_address_is_named() {
    for options in [tcp(), quic()] {
        let server = Node::start(member(), options).await;
        let client = Node::start(member(), quick()).await;
        let expected = NodeIdentity::generate().peer_id();
        let address = format!("{}/p2p/{expected}", server.bare_address());
        let error = client.dial(&address, 10_000).await.unwrap_err();
        let wrong = CallError::WrongPeer { address: server.bare_address(), expected, found: server.id() };
        assert_eq!(error, wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_dialled_once_and_its_connection_used_again() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(member(), quick()).await;
    let targets = [server.bare_address(), server.address(), server.id().to_string(), server.bare_address()];
    for target in targets {
        let ask = MeshRequest::ListTools(ListNodeTools);
        client.call(target.parse().unwrap(), ask, 10_000).await.unwrap();
    }
    let connected = client.network.core().metrics.dials.with_label_values(&["connected"]).get();
    assert_eq!(connected, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_share_one_dial() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(member(), quick()).await;
    let calls = (0..50).map(|n| {
        let target = if n % 2 == 0 { server.bare_address() } else { server.address() };
        client.call(target.parse().unwrap(), MeshRequest::ListTools(ListNodeTools), 10_000)
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    // One with and one without the peer's id, which was not known to be the same.
    assert!(client.network.core().metrics.dials.with_label_values(&["connected"]).get() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_dial_each_other_at_the_same_moment_are_connected_once() {
    for options in [tcp as fn() -> NetworkOptions, quic] {
        for _ in 0..5 {
            let mut a = Node::start(member(), options()).await;
            let mut b = Node::start(member(), options()).await;
            let (to_a, to_b) = (a.address(), b.address());
            let (from_a, from_b) = tokio::join!(a.dial(&to_b, 10_000), b.dial(&to_a, 10_000));
            assert_eq!((from_a.unwrap(), from_b.unwrap()), (b.id(), a.id()));
            let (id_a, id_b) = (a.id(), b.id());
            tokio::join!(a.until_up(&id_b), b.until_up(&id_a));
            let (x, y) = tokio::join!(a.greet(&id_b), b.greet(&id_a));
            x.unwrap();
            y.unwrap();
            assert_eq!(a.network.core().metrics.events.with_label_values(&["queue", "delivered"]).get(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_fails_what_is_under_way_and_is_opened_again() {
    for options in [tcp(), quic()] {
        let (server, mut client) = pair(options).await;
        let id = server.id();
        assert_eq!(client.back.recv().await.unwrap().body().0, id);
        assert!(
            matches!(client.sources.recv().await.unwrap().body(), WorkSource::Connected(peer) if *peer == id)
        );
        let (lost, stopped) = tokio::join!(client.hang(&id, 60_000), async {
            eventually("the request is there", || {
                (server.service.held.load(Ordering::SeqCst) == 1).then_some(())
            })
            .await;
            server.stop().await
        });
        assert_eq!(lost.unwrap_err(), CallError::ConnectionLost(id.clone()));
        client.until_down(&id).await;
        assert_eq!(client.lost.recv().await.unwrap().body().0, id);
        assert!(matches!(client.sources.recv().await.unwrap().body(), WorkSource::Lost(peer) if *peer == id));
        // It comes back at the same place, and nobody has to ask.
        let back = Node::come_back(stopped).await;
        client.until_up(&id).await;
        client.greet(&id).await.unwrap();
        assert_eq!(client.back.recv().await.unwrap().body().0, id);
        back.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_was_reached_once_can_be_called_by_its_id_later() {
    let server = Node::start(member(), tcp()).await;
    let mut client = Node::start(member(), quick()).await;
    let id = server.id();
    let ask = MeshRequest::ListTools(ListNodeTools);
    client.call(PeerTarget::Address(server.bare_address()), ask, 10_000).await.unwrap();
    let stopped = server.stop().await;
    client.until_down(&id).await;
    let away = client.greet(&id).await.unwrap_err();
    assert_eq!(away.code(), ErrorCode::Unreachable, "{away}");
    let _back = Node::come_back(stopped).await;
    client.greet(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_there_yet_is_found_when_it_comes() {
    let stopped = Node::start(member(), tcp()).await.stop().await;
    let mut client = Node::start(member(), quick()).await;
    client.dial(&stopped.1, 300).await.unwrap_err();
    eventually("it is kept", || (client.network.status().borrow().kept_lost == 1).then_some(())).await;
    let server = Node::come_back(stopped).await;
    client.until_up(&server.id()).await;
    eventually("it is found", || (client.network.status().borrow().kept_lost == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_back_to_the_node_itself_is_not_kept() {
    let options = NetworkOptions { listen: vec!["/ip4/0.0.0.0/tcp/0".into()], ..quick() };
    let node = Node::start(member(), options).await;
    let port = node.bare_address().rsplit('/').next().unwrap().to_owned();
    // Not an address that the node knows as its own.
    let roundabout = format!("/ip4/127.0.0.2/tcp/{port}");
    assert_eq!(node.dial(&roundabout, 10_000).await.unwrap(), node.id());
    eventually("it is forgotten", || (node.network.status().borrow().kept == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_network_answers_nobody_and_says_goodbye() {
    let (server, mut client) = pair(quic()).await;
    let id = server.id();
    let ports = server.ports.clone();
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(ports.call.is_closed() && ports.dial.is_closed() && ports.local.is_closed());
    // Told, and not only missed after a time-out.
    client.until_down(&id).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_memory_opens_and_accepts_no_connections() {
    let full = |options| NetworkOptions { max_memory: Some(1), ..options };
    let server = Node::start(member(), full(tcp())).await;
    let client = Node::start(member(), quick()).await;
    let refused = client.dial(&server.address(), 5_000).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unreachable, "{refused}");
    let healthy = Node::start(member(), tcp()).await;
    let poor = Node::start(member(), full(quick())).await;
    let refused = poor.dial(&healthy.address(), 5_000).await.unwrap_err();
    assert!(refused.to_string().contains("limit is reached"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_learns_when_the_network_has_ended() {
    let node = Node::start(member(), tcp()).await;
    let ended = node.network.ended();
    tokio::pin!(ended);
    assert!(futures::poll!(ended.as_mut()).is_pending());
    node.network.core().stopping.cancel();
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("told");
}
