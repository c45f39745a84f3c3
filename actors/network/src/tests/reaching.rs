//! Being reached: through relays, directly after that, and as others try it out.

use super::world::{Node, eventually, member, quic, quick, tcp};
use crate::{
    DhtOptions, MeshSecret, NetworkOptions, NodeIdentity, ReachOptions, RelayLimits, StartError, Trust,
    prepare,
};
use meshwork_kit::Backoff;
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::{CallError, ConnectPeer, ConsiderAddresses, Reachability};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn relay() -> ReachOptions {
    ReachOptions { relay_server: Some(RelayLimits::default()), ..ReachOptions::default() }
}

fn behind(relays: &[&Node]) -> ReachOptions {
    ReachOptions {
        relay_client: true,
        relays: relays.iter().map(|relay| relay.address()).collect(),
        relay_retry: Backoff::doubling(Duration::from_millis(50), Duration::from_millis(500)),
        ..ReachOptions::default()
    }
}

/// With time enough for what strangers may do, on a machine that is busy.
fn patient(options: NetworkOptions) -> NetworkOptions {
    NetworkOptions { stranger_grace: Duration::from_secs(60), ..options }
}

async fn start(reach: ReachOptions, options: NetworkOptions) -> Node {
    Node::start(member(), NetworkOptions { reach, ..patient(options) }).await
}

/// A node that only calls others.
async fn caller() -> Node {
    start(ReachOptions::default(), quick()).await
}

/// The address of a node through a relay, once it has one.
async fn circuit(node: &Node, relay: &Node) -> String {
    let through = format!("/p2p/{}/p2p-circuit/p2p/{}", relay.id(), node.id());
    eventually("a place at the relay", || {
        node.network.addresses().into_iter().find(|address| address.ends_with(&through))
    })
    .await
}

fn transports(node: &Node, peer: &Node) -> Vec<&'static str> {
    let connections = node.network.status().borrow().connections.clone();
    connections.iter().filter(|c| c.peer == peer.id()).map(|c| c.transport).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_listens_nowhere_is_reached_and_admitted_through_a_relay() {
    for options in [tcp(), quic()] {
        let relay = start(relay(), options).await;
        let mut hidden = start(behind(&[&relay]), quick()).await;
        let mut caller = caller().await;
        let address = circuit(&hidden, &relay).await;
        assert_eq!(caller.dial(&address, 10_000).await.unwrap(), hidden.id());
        caller.until_up(&hidden.id()).await;
        hidden.until_up(&caller.id()).await;
        caller.greet(&hidden.id()).await.unwrap();
        hidden.greet(&caller.id()).await.unwrap();
        eventually("both see the relay between them", || {
            let seen = (transports(&caller, &hidden), transports(&hidden, &caller));
            (seen == (vec!["relay"], vec!["relay"])).then_some(())
        })
        .await;
        let status = hidden.network.status().borrow().clone();
        assert_eq!((status.relays.len(), status.relays[0].state), (1, "reserved"));
        assert_eq!(hidden.network.core().metrics.reach.reservations_held.get(), 1);
        assert_eq!(status.reachability, Reachability::Unknown, "a place at a relay is no way in");
        let relayed = caller.network.core().metrics.connections.with_label_values(&["out", "relay"]);
        assert_eq!(relayed.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_no_member_is_not_disconnected_like_other_strangers() {
    let stranger = || {
        let secret = MeshSecret::parse("not the secret of the tests").unwrap();
        Trust { secrets: secret.into(), ..Trust::default() }
    };
    let options = NetworkOptions { reach: relay(), ..patient(tcp()) };
    let relay = Node::start(stranger(), options).await;
    let options = NetworkOptions { reach: behind(&[&relay]), ..tcp() };
    let hidden = Node::start(member(), options).await;
    circuit(&hidden, &relay).await;
    // Another stranger that comes later has to go before long.
    let other = Node::start(stranger(), patient(quick())).await;
    let direct = hidden.network.addresses().into_iter().find(|address| !address.contains("p2p-circuit"));
    other.dial(&direct.unwrap(), 10_000).await.unwrap_err();
    eventually("a stranger is disconnected", || {
        let closed = &hidden.network.core().metrics.connections_closed;
        (closed.with_label_values(&["not_admitted"]).get() == 1).then_some(())
    })
    .await;
    assert_eq!(transports(&hidden, &relay), ["tcp"]);
    circuit(&hidden, &relay).await;
    assert_eq!(hidden.network.core().metrics.reach.reservations.with_label_values(&["lost"]).get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_an_address_through_a_relay_needs_the_id_of_who_is_behind_it() {
    let relay = start(relay(), tcp()).await;
    let hidden = start(behind(&[&relay]), quick()).await;
    let caller = caller().await;
    let address = circuit(&hidden, &relay).await;
    let nameless = address.split("/p2p-circuit").next().unwrap().to_owned() + "/p2p-circuit";
    let error = caller.dial(&nameless, 5_000).await.unwrap_err();
    assert!(matches!(error, CallError::Address { .. }), "{error}");
    // Somebody who has no place there.
    let absent = NodeIdentity::generate().peer_id();
    let error = caller.dial(&format!("{nameless}/p2p/{absent}"), 5_000).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let ask = meshwork_proto::wire::MeshRequest::ListTools(meshwork_proto::wire::ListNodeTools);
    let answer = caller.call(address.parse().unwrap(), ask, 10_000).await.unwrap();
    assert_eq!(answer.peer, hidden.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_at_one_relay_are_told_apart_by_their_ids() {
    let relay = start(relay(), tcp()).await;
    let (one, two) = (start(behind(&[&relay]), quick()).await, start(behind(&[&relay]), quick()).await);
    circuit(&two, &relay).await;
    let address = circuit(&one, &relay).await;
    // As the peer book has it: who is meant is said beside the address.
    let bare = address.strip_suffix(&format!("/p2p/{}", one.id())).unwrap().to_owned();
    let request = ConnectPeer { peer: Some(one.id()), addresses: vec![bare], deadline_ms: 10_000 };
    let connected = two.ports.connect.ask(request, Duration::from_secs(20)).await.unwrap().unwrap();
    assert_eq!(connected.peer, one.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_lost_with_its_relay_is_taken_again_when_the_relay_is_back() {
    let server = start(relay(), tcp()).await;
    let hidden = start(behind(&[&server]), quick()).await;
    circuit(&hidden, &server).await;
    let (identity, address) = server.stop().await;
    eventually("the address through the relay is withdrawn", || {
        hidden.network.addresses().is_empty().then_some(())
    })
    .await;
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(drop)).await;
    let options = NetworkOptions { listen: vec![format!("/ip4/127.0.0.1/tcp/{port}")], ..quick() };
    let back =
        Node::start_as(identity, member(), NetworkOptions { reach: relay(), ..patient(options) }).await;
    let through = circuit(&hidden, &back).await;
    let caller = caller().await;
    assert_eq!(caller.dial(&through, 10_000).await.unwrap(), hidden.id());
    let outcomes = &hidden.network.core().metrics.reach.reservations;
    assert_eq!(outcomes.with_label_values(&["lost"]).get(), 1);
    assert_eq!(outcomes.with_label_values(&["reserved"]).get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gives_no_more_places_than_it_has_and_the_next_node_gets_the_first_that_is_free() {
    let limits = RelayLimits { reservations: 1, ..RelayLimits::default() };
    let relay = start(ReachOptions { relay_server: Some(limits), ..ReachOptions::default() }, tcp()).await;
    let first = start(behind(&[&relay]), quick()).await;
    let address = circuit(&first, &relay).await;
    let second = start(behind(&[&relay]), quick()).await;
    let outcomes = &second.network.core().metrics.reach.reservations;
    eventually("the second is refused, and asks again", || {
        (outcomes.with_label_values(&["refused"]).get() >= 2).then_some(())
    })
    .await;
    let relaying = &relay.network.core().metrics.reach.relaying;
    eventually("the relay has counted that", || {
        (relaying.with_label_values(&["reservation_denied"]).get() >= 2).then_some(())
    })
    .await;
    assert_eq!(second.network.addresses(), Vec::<String>::new());
    let mut caller = caller().await;
    assert_eq!(caller.dial(&address, 10_000).await.unwrap(), first.id(), "the first one's place is its own");
    caller.until_up(&first.id()).await;
    first.stop().await;
    let address = circuit(&second, &relay).await;
    assert_eq!(caller.dial(&address, 10_000).await.unwrap(), second.id());
    eventually("the relay has counted both places", || {
        (relaying.with_label_values(&["reserved"]).get() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_behind_a_relay_connect_directly_where_they_can() {
    let relay = start(relay(), tcp()).await;
    let punching = |reach: ReachOptions| ReachOptions { hole_punching: true, ..reach };
    let hidden = start(punching(behind(&[&relay])), tcp()).await;
    let mut caller = start(punching(ReachOptions::default()), tcp()).await;
    caller.dial(&relay.address(), 10_000).await.unwrap();
    let address = circuit(&hidden, &relay).await;
    let metrics = [&caller, &hidden].map(|node| node.network.core().metrics.reach.hole_punches.clone());
    assert_eq!(caller.dial(&address, 10_000).await.unwrap(), hidden.id());
    caller.until_up(&hidden.id()).await;
    let PeerConnection::Up { peer, address, .. } = caller.next_connection().await else {
        panic!("the better way is not told")
    };
    assert!(peer == hidden.id() && !address.contains("p2p-circuit"), "{address}");
    eventually("a direct connection", || transports(&caller, &hidden).contains(&"tcp").then_some(())).await;
    assert!(metrics.iter().map(|m| m.with_label_values(&["direct"]).get()).sum::<u64>() > 0);
    // What is asked from now on does not go through the relay, whose end is no loss to them.
    let id = hidden.id();
    let (answer, lost) = tokio::join!(caller.hang(&id, 2_000), async {
        eventually("the request is there", || {
            (hidden.service.held.load(Ordering::SeqCst) == 1).then_some(())
        })
        .await;
        relay.stop().await;
        eventually("only the direct connection is left", || {
            (!transports(&caller, &hidden).contains(&"relay")).then_some(())
        })
        .await;
        transports(&caller, &hidden)
    });
    assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
    assert!(!lost.is_empty() && lost.iter().all(|transport| *transport == "tcp"), "{lost:?}");
    caller.greet(&hidden.id()).await.unwrap();
    hidden.greet(&caller.id()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_a_peer_could_connect_to_is_confirmed() {
    let server = start(ReachOptions { autonat_server: true, ..ReachOptions::default() }, tcp()).await;
    let autonat = ReachOptions {
        autonat: true,
        autonat_interval: Duration::from_millis(100),
        ..ReachOptions::default()
    };
    // Also where the address stands in for an external one before anybody has tried it.
    let listed = ReachOptions { dht: Some(DhtOptions { server: true }), ..autonat.clone() };
    for (tested, reach) in [(1, autonat), (2, listed)] {
        let node = start(reach, tcp()).await;
        node.dial(&server.address(), 10_000).await.unwrap();
        let status = eventually("confirmed", || {
            let status = node.network.status().borrow().clone();
            (status.reachability == Reachability::Public).then_some(status)
        })
        .await;
        assert_eq!(status.external, [node.bare_address()]);
        assert_eq!(status.observed[0].peers, 1);
        eventually("the connection made for the test is closed", || {
            let closed = server.network.core().metrics.connections_closed.with_label_values(&["tried_out"]);
            (closed.get() == tested && transports(&server, &node).len() == 1).then_some(())
        })
        .await;
        node.greet(&server.id()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_address_that_was_found_out_is_one_of_the_node_once_a_peer_could_connect_there() {
    let server = start(ReachOptions { autonat_server: true, ..ReachOptions::default() }, tcp()).await;
    let autonat = ReachOptions {
        autonat: true,
        autonat_interval: Duration::from_millis(100),
        ..ReachOptions::default()
    };
    let everywhere = NetworkOptions { listen: vec!["/ip4/0.0.0.0/tcp/0".into()], ..quick() };
    let node = start(autonat, everywhere).await;
    let consider = |ip: &str| {
        let ips = vec![ip.parse().unwrap()];
        node.ports.consider.ask(ConsiderAddresses { ips }, Duration::from_secs(5))
    };
    // Every address of this network leads to this machine; no peer sees the node under this one.
    let port = node.bare_address().rsplit('/').next().unwrap().to_owned();
    let elsewhere = format!("/ip4/127.0.0.77/tcp/{port}");
    assert_eq!(consider("127.0.0.77").await.unwrap(), std::slice::from_ref(&elsewhere));
    assert_eq!(consider("2001:db8::7").await.unwrap(), Vec::<String>::new(), "it listens on no such address");
    assert!(node.network.status().borrow().external.is_empty(), "nobody has tried it yet");
    node.dial(&server.address(), 10_000).await.unwrap();
    eventually("the address is confirmed", || {
        node.network.status().borrow().external.contains(&elsewhere).then_some(())
    })
    .await;
    assert_eq!(node.network.status().borrow().reachability, Reachability::Public);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_can_connect_to_takes_a_place_at_a_member_that_serves_as_relay() {
    let server = start(ReachOptions { autonat_server: true, ..relay() }, tcp()).await;
    let reach = ReachOptions { autonat: true, autonat_interval: Duration::from_millis(100), ..behind(&[]) };
    // It listens nowhere, so the address under which it is seen leads to nobody.
    let hidden = start(reach, quick()).await;
    hidden.dial(&server.address(), 10_000).await.unwrap();
    let address = circuit(&hidden, &server).await;
    let caller = caller().await;
    assert_eq!(caller.dial(&address, 10_000).await.unwrap(), hidden.id());
    let status = hidden.network.status().borrow().clone();
    assert_eq!(status.reachability, Reachability::Private);
    assert_eq!(status.relays[0].peer, server.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_wrongly_stops_the_start_with_the_reason() {
    let deps = Node::start(member(), quick()).await.network.core().deps.clone();
    let id = NodeIdentity::generate().peer_id();
    let wrong = [
        ("/ip4/192.0.2.7/tcp/4001".to_owned(), "/p2p/<id>"),
        (format!("/ip4/192.0.2.7/tcp/4001/p2p/{id}/p2p-circuit/p2p/{id}"), "the relay itself"),
        ("relay.example:4001".to_owned(), "as a relay"),
    ];
    for (address, problem) in wrong {
        let reach = ReachOptions { relay_client: true, relays: vec![address], ..ReachOptions::default() };
        let (_ports, seed) = prepare(NodeIdentity::generate(), member(), NetworkOptions { reach, ..quick() });
        let error = seed.start(deps.clone(), &prometheus::Registry::new()).await.unwrap_err();
        assert!(matches!(error, StartError::BadAddress { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_asked_for_nothing_stays_quiet() {
    let node = Node::start(member(), tcp()).await;
    let reach = &node.network.core().options.reach;
    assert!(!reach.lists_own_addresses() && !reach.mdns && !reach.upnp && !reach.relay_client);
    let status = node.network.status().borrow().clone();
    assert_eq!(status.reachability, Reachability::Unknown);
    assert!(status.external.is_empty() && status.relays.is_empty());
}
