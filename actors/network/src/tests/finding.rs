//! Finding peers and being found: in the tables, at rendezvous points, on the local network.

use super::world::{Node, eventually, member, quick, tcp};
use crate::{DhtOptions, MeshSecret, NetworkOptions, NodeIdentity, PublicDhtOptions, ReachOptions, Trust};
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::{Directory, ListNeighbours, LookUpError, Neighbours};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "tool/resize-image";

fn with_dht(server: bool) -> ReachOptions {
    ReachOptions { dht: Some(DhtOptions { server }), ..ReachOptions::default() }
}

fn with_rendezvous() -> ReachOptions {
    ReachOptions { rendezvous: true, ..ReachOptions::default() }
}

/// With time for strangers to be asked something on a machine that is busy.
fn patient(reach: ReachOptions) -> NetworkOptions {
    NetworkOptions { reach, stranger_grace: Duration::from_secs(60), ..tcp() }
}

async fn start(reach: ReachOptions) -> Node {
    Node::start(member(), patient(reach)).await
}

/// Whether exactly this node was found, where it listens.
fn is_only(found: &[FoundPeer], node: &Node) -> bool {
    let bare = node.bare_address();
    matches!(found, [one] if one.peer == Some(node.id()) && one.addresses.contains(&bare))
}

fn point(point: &Node) -> Directory {
    Directory::Rendezvous { point: point.address() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_entered_in_the_meshs_table_is_found_by_one_that_never_met_it() {
    // The last one only asks, and is found all the same.
    for server in [true, false] {
        let hub = start(with_dht(true)).await;
        let provider = start(with_dht(server)).await;
        let asker = start(with_dht(server)).await;
        provider.dial(&hub.address(), 10_000).await.unwrap();
        asker.dial(&hub.address(), 10_000).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until the table has its first node.
        while let Err(error) = provider.enter(&Directory::Dht, NAME, 3600).await {
            assert!(matches!(error, LookUpError::Unavailable(_)) && Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if server {
            // Entered before it knew anybody, perhaps: once more, now that the hub is there.
            let table = hub.network.core().metrics.reach.entries.clone();
            while table.with_label_values(&["dht", "kept"]).get() == 0 {
                assert!(Instant::now() < deadline, "never entered at the hub");
                provider.enter(&Directory::Dht, NAME, 3600).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        asker.look_until(&Directory::Dht, NAME, |found| is_only(found, &provider)).await;
        assert_eq!(asker.look_up(&Directory::Dht, "another name", 5_000).await, Ok(Vec::new()));
        let counted = &asker.network.core().metrics.reach.look_ups;
        assert!(counted.with_label_values(&["dht", "look_up", "ok"]).get() >= 2);
        // The node itself does not find itself.
        let own = provider.look_up(&Directory::Dht, NAME, 5_000).await.unwrap();
        assert!(own.is_empty(), "{own:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_is_taken_out_of_the_table_that_was_told_of_it() {
    let hub = start(with_dht(true)).await;
    let (provider, asker) = (start(with_dht(false)).await, start(with_dht(false)).await);
    provider.dial(&hub.address(), 10_000).await.unwrap();
    asker.dial(&hub.address(), 10_000).await.unwrap();
    let kept = &hub.network.core().metrics.reach.entries;
    let deadline = Instant::now() + Duration::from_secs(20);
    while kept.with_label_values(&["dht", "kept"]).get() == 0 {
        assert!(Instant::now() < deadline, "never entered at the hub");
        // It has to know the hub first, and what it says travels a moment.
        let _ = provider.enter(&Directory::Dht, NAME, 3600).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asker.look_until(&Directory::Dht, NAME, |found| is_only(found, &provider)).await;
    hub.revoke(&provider.id(), false).await.unwrap();
    asker.look_until(&Directory::Dht, NAME, <[FoundPeer]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_in_the_public_table_that_do_not_trust_each_other() {
    let public = |bootstrap: Vec<String>| ReachOptions {
        public_dht: Some(PublicDhtOptions { bootstrap }),
        ..ReachOptions::default()
    };
    // A configured address makes a node hold a part of the table.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let secret = MeshSecret::parse("not the secret of the tests").unwrap();
    let options = NetworkOptions {
        listen: vec![address.clone()],
        external: vec![address],
        ..patient(public(Vec::new()))
    };
    let stranger = Node::start(Trust { secrets: secret.into(), ..Trust::default() }, options).await;
    let begin = vec![stranger.address()];
    let (provider, asker) = (start(public(begin.clone())).await, start(public(begin)).await);
    provider.enter(&Directory::PublicDht, "ipfs-accelerate-task-queue", 1800).await.unwrap();
    let kept = &stranger.network.core().metrics.reach.entries;
    eventually("entry and value are kept", || {
        (kept.with_label_values(&["public_dht", "kept"]).get() >= 2).then_some(())
    })
    .await;
    let directory = Directory::PublicDht;
    let found = |found: &[FoundPeer]| is_only(found, &provider);
    asker.look_until(&directory, "ipfs-accelerate-task-queue", found).await;
    let long = asker.look_up(&directory, &"x".repeat(81), 1_000).await.unwrap_err();
    assert!(long.to_string().contains("1 to 80 bytes"), "{long}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendezvous_point_tells_who_is_registered_until_it_is_taken_back() {
    let server = start(ReachOptions { rendezvous_server: true, ..ReachOptions::default() }).await;
    let (provider, asker) = (start(with_rendezvous()).await, start(with_rendezvous()).await);
    let point = point(&server);
    assert_eq!(asker.look_up(&point, NAME, 10_000).await, Ok(Vec::new()));
    provider.enter(&point, NAME, 7200).await.unwrap();
    let found = asker.look_up(&point, NAME, 10_000).await.unwrap();
    assert!(is_only(&found, &provider), "{found:?}");
    assert_eq!(asker.look_up(&point, "another name", 10_000).await, Ok(Vec::new()));
    provider.enter(&point, NAME, 0).await.unwrap();
    asker.look_until(&point, NAME, <[FoundPeer]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendezvous_point_need_not_be_a_member() {
    let secret = MeshSecret::parse("not the secret of the tests").unwrap();
    let reach = ReachOptions { rendezvous_server: true, ..ReachOptions::default() };
    let trust = Trust { secrets: secret.into(), ..Trust::default() };
    let server = Node::start(trust, patient(reach)).await;
    let (provider, asker) = (start(with_rendezvous()).await, start(with_rendezvous()).await);
    let point = point(&server);
    provider.enter(&point, NAME, 7200).await.unwrap();
    let found = asker.look_up(&point, NAME, 10_000).await.unwrap();
    assert!(is_only(&found, &provider), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_asked_says_why_and_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let id = NodeIdentity::generate().peer_id();
    let silent_point = format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", silent.local_addr().unwrap().port());
    let plain = start(ReachOptions::default()).await;
    let rendezvous = |point: String| Directory::Rendezvous { point };
    for directory in [Directory::Dht, Directory::PublicDht, rendezvous(silent_point.clone())] {
        let error = plain.look_up(&directory, NAME, 1_000).await.unwrap_err();
        assert!(matches!(error, LookUpError::Off(_)), "{error}");
        assert_eq!(plain.enter(&directory, NAME, 60).await.unwrap_err(), error);
    }
    let node = start(ReachOptions { dht: Some(DhtOptions { server: true }), ..with_rendezvous() }).await;
    let alone = node.look_up(&Directory::Dht, NAME, 1_000).await.unwrap_err();
    assert!(alone.to_string().contains("no other node"), "{alone}");
    let began = Instant::now();
    let late = node.look_up(&rendezvous(silent_point), NAME, 400).await.unwrap_err();
    assert_eq!(late, LookUpError::Timeout(400));
    assert!(began.elapsed() < Duration::from_secs(5));
    for (point, problem) in [
        ("/ip4/127.0.0.1/tcp/1".to_owned(), "/p2p/<id>"),
        (node.address(), "this node itself"),
        (plain.address(), "does it serve"),
    ] {
        let error = node.look_up(&rendezvous(point), NAME, 10_000).await.unwrap_err();
        assert!(matches!(error, LookUpError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    let nowhere = Node::start(member(), NetworkOptions { reach: with_dht(true), ..quick() }).await;
    assert_eq!(nowhere.enter(&Directory::Dht, NAME, 60).await, Err(LookUpError::NoAddress));
    for name in ["", &"x".repeat(256)] {
        let error = node.look_up(&Directory::Dht, name, 1_000).await.unwrap_err();
        assert!(matches!(error, LookUpError::Refused(_)), "{error}");
    }
}

async fn neighbours(node: &Node, known: Option<u64>, within_ms: u64) -> Result<Neighbours, LookUpError> {
    let ask = ListNeighbours { known, within_ms };
    node.ports.neighbours.ask(ask, Duration::from_secs(30)).await.expect("it is answered")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_all_neighbours_waits_for_news_of_them_and_not_for_ever() {
    let node = start(ReachOptions::default()).await;
    let off = eventually("it is said that nothing is listened to", || {
        node.network.core().neighbours.borrow().clone().err()
    })
    .await;
    assert_eq!(off, LookUpError::Off("multicast DNS"));
    let began = Instant::now();
    assert_eq!(neighbours(&node, None, 10_000).await, Err(off.clone()));
    assert!(began.elapsed() < Duration::from_secs(5), "who knows nothing is answered at once");
    assert_eq!(neighbours(&node, Some(0), 50).await, Err(off), "and who waits, when the time is over");
    let shown = &node.network.core().neighbours;
    let (heard, ()) = tokio::join!(neighbours(&node, Some(1), 20_000), async {
        for news in [1, 2] {
            drop(shown.send_replace(Ok(Neighbours { news, found: Vec::new() })));
        }
    });
    assert_eq!(heard.unwrap().news, 2);
}

/// The address of an interface over which multicast comes back; none in many sandboxes.
fn multicast_interface() -> Option<Ipv4Addr> {
    // Nothing is sent by this: it only asks which way a packet would take.
    let probe = UdpSocket::bind("0.0.0.0:0").ok()?;
    probe.connect("224.0.0.251:5353").ok()?;
    let std::net::IpAddr::V4(interface) = probe.local_addr().ok()?.ip() else { return None };
    if interface.is_loopback() || interface.is_unspecified() {
        return None;
    }
    let group = Ipv4Addr::new(239, 255, 77, 77);
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.join_multicast_v4(&group, &interface).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let port = socket.local_addr().ok()?.port();
    let sender = UdpSocket::bind((interface, 0)).ok()?;
    sender.send_to(b"anybody there?", (group, port)).ok()?;
    socket.recv(&mut [0; 32]).ok()?;
    Some(interface)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_on_the_local_network_hear_of_each_other() {
    let Some(interface) = multicast_interface() else {
        let problem = "no interface of this machine carries multicast, so multicast DNS cannot be tested";
        // Set where every test must run: there one that does not is a failure.
        let required = std::env::var_os("MESHWORK_REQUIRE_NET").is_some_and(|value| value == "1");
        assert!(!required, "MESHWORK_REQUIRE_NET is 1, but {problem}");
        eprintln!("SKIPPED: {problem}");
        return;
    };
    let options = || NetworkOptions {
        listen: vec![format!("/ip4/{interface}/tcp/0")],
        reach: ReachOptions { mdns: true, ..ReachOptions::default() },
        ..quick()
    };
    let first = Node::start(member(), options()).await;
    let second = Node::start(member(), options()).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut known = None;
    let addresses = loop {
        assert!(Instant::now() < deadline, "never heard");
        let Neighbours { news, found } = neighbours(&first, known, 20_000).await.unwrap();
        known = Some(news);
        // Others on this network are none of our business.
        let of_second = |found: &&FoundPeer| found.peer == Some(second.id());
        if let Some(found) = found.iter().find(of_second) {
            break found.addresses.clone();
        }
    };
    assert_eq!(addresses, [second.bare_address()]);
    assert_eq!(first.network.status().borrow().connections, [], "whom to connect to is discovery's choice");
}
