//! Connecting to a peer by the addresses that sources have named, and sending peers away.

use super::old_node::OldNode;
use super::world::{Node, eventually, knowing, member, pair, quick, tcp};
use crate::{NetworkOptions, NodeIdentity};
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::{
    AddressFailure, CallError, ConnectError, ConnectPeer, ConnectedPeer, DisconnectPeer,
};
use meshwork_proto::{Coded, ErrorCode, PeerId};
use std::time::Duration;

async fn connect(
    node: &Node,
    peer: Option<PeerId>,
    addresses: &[String],
    ms: u64,
) -> Result<ConnectedPeer, ConnectError> {
    let request = ConnectPeer { peer, addresses: addresses.to_vec(), deadline_ms: ms };
    node.ports.connect.ask(request, Duration::from_secs(20)).await.expect("it is answered")
}

/// An address where nobody listens; somebody did a moment ago.
fn dead() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_reached_at_the_one_address_that_is_right() {
    let (server, other) = (Node::start(member(), tcp()).await, Node::start(member(), tcp()).await);
    let mut client = Node::start(member(), quick()).await;
    let addresses = [dead(), other.bare_address(), "/ip4/1.2.3.4".into(), server.address()];
    let connected = connect(&client, Some(server.id()), &addresses, 10_000).await.unwrap();
    assert_eq!(connected, ConnectedPeer { peer: server.id(), address: Some(server.bare_address()) });
    client.until_up(&server.id()).await;
    // Connected already: at once, wherever else it may be.
    let again = connect(&client, Some(server.id()), &[dead()], 10_000).await.unwrap();
    assert_eq!(again, ConnectedPeer { peer: server.id(), address: None });
    assert_eq!(client.network.status().borrow().kept, 0, "the transport redials what discovery decides on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_that_failed_is_named_with_its_reason() {
    let other = Node::start(member(), tcp()).await;
    let client = Node::start(member(), tcp()).await;
    let wanted = NodeIdentity::generate().peer_id();
    let named_wrongly = format!("{}/p2p/{}", dead(), other.id());
    let addresses =
        [dead(), other.bare_address(), client.bare_address(), "nonsense".to_owned(), named_wrongly.clone()];
    let error = connect(&client, Some(wanted.clone()), &addresses, 10_000).await.unwrap_err();
    assert_eq!(error.error.code(), ErrorCode::Unreachable, "{error}");
    let why = |address: &str| {
        let found: Vec<_> = error.failed.iter().filter(|(failed, _)| failed == address).collect();
        assert_eq!(found.len(), 1, "{address}: {error:?}");
        found[0].1.clone()
    };
    assert!(matches!(why(&addresses[0]), AddressFailure::Unreachable(why) if why.contains("refused")));
    assert_eq!(why(&addresses[1]), AddressFailure::WrongPeer(other.id()));
    assert_eq!(why(&addresses[2]), AddressFailure::Ourselves);
    assert!(matches!(why("nonsense"), AddressFailure::Unreachable(_)));
    assert!(
        matches!(why(&named_wrongly), AddressFailure::Unreachable(why) if why.contains(other.id().as_str()))
    );
    let unknown = connect(&client, Some(wanted.clone()), &[], 1_000).await.unwrap_err();
    assert_eq!(unknown.error, CallError::UnknownPeer(wanted.to_string()));
    let own = connect(&client, Some(client.id()), &[dead()], 1_000).await.unwrap_err();
    assert_eq!(own.failed[0].1, AddressFailure::Ourselves);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_id_whoever_answers_first_is_the_peer() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(member(), tcp()).await;
    let addresses = [dead(), client.bare_address(), server.bare_address()];
    let connected = connect(&client, None, &addresses, 10_000).await.unwrap();
    assert_eq!(connected.peer, server.id());
    let stranger = Node::start(knowing(&["not the secret of the tests"]), quick()).await;
    let refused = connect(&stranger, None, &[server.bare_address()], 10_000).await.unwrap_err();
    assert_eq!(refused.error.code(), ErrorCode::NotAdmitted);
    assert!(refused.failed.is_empty(), "the address is right: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_address_is_named_when_the_time_is_over_and_does_not_take_that_of_others() {
    let server = Node::start(member(), tcp()).await;
    let client = Node::start(member(), quick()).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let wanted = NodeIdentity::generate().peer_id();
    let error = connect(&client, Some(wanted), std::slice::from_ref(&silent), 300).await.unwrap_err();
    let [(address, AddressFailure::Unreachable(why))] = &error.failed[..] else { panic!("{error:?}") };
    assert!(*address == silent && why.contains("300 ms"), "{error:?}");
    let addresses = [silent, server.bare_address()];
    let connected = connect(&client, None, &addresses, 6_000).await.unwrap();
    assert_eq!(connected.peer, server.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_sent_away_is_gone_and_not_dialled_again() {
    let (mut server, mut client) = pair(tcp()).await;
    let away = DisconnectPeer { peer: server.id() };
    assert!(client.ports.disconnect.ask(away.clone(), Duration::from_secs(5)).await.unwrap());
    client.until_down(&server.id()).await;
    server.until_down(&client.id()).await;
    assert!(!client.ports.disconnect.ask(away, Duration::from_secs(5)).await.unwrap());
    eventually("nothing is kept", || (client.network.status().borrow().kept == 0).then_some(())).await;
    // Ten times as long as the first redial would have waited.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!client.changes_so_far().iter().any(|change| matches!(change, PeerConnection::Up { .. })));
    assert_eq!(client.greet(&server.id()).await.unwrap_err().code(), ErrorCode::UnknownPeer);
    // It may come back.
    client.dial(&server.address(), 10_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_that_proves_nothing_is_asked_to_when_it_is_to_be_connected_to() {
    let options = NetworkOptions { stranger_grace: Duration::from_secs(60), ..tcp() };
    let node = Node::start(member(), options).await;
    let visitor = OldNode::new();
    let id = visitor.id();
    visitor.visit(&node.address());
    eventually("the visitor is there", || {
        let there = node.network.status().borrow().connections.iter().any(|c| c.peer == id);
        there.then_some(())
    })
    .await;
    let connected = connect(&node, Some(id.clone()), &[dead()], 10_000).await.unwrap();
    assert_eq!(connected.peer, id);
    node.greet(&id).await.unwrap();
}
