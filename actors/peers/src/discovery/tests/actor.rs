//! The actor: between ports that the story holds in its hands, with a paused clock.

mod scene;

pub(super) use scene::{Scene, Script, Scripted};

use super::bench::{A, B, C, ME, goodbye, offers, peer, record, signed, signed_by, up};
use meshwork_kit::testing;
use meshwork_proto::codec;
use meshwork_proto::discovery::{
    Announce, CleanUp, Exchange, ForgetPeer, FoundPeer, ListMembers, NodeRecord, PeerAdvertised,
    PeerConnection, PeerExchange, PeerState, PeerTrust, PeersFound, RegisterError, RegisterPeer, SayGoodbye,
    Source,
};
use meshwork_proto::store::StoreError;
use meshwork_proto::transport::{AddressFailure, CallError, ConnectError, ConnectedPeer};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);
const X: &str = "/ip4/198.51.100.1/tcp/1";

fn found(of: &str) -> PeersFound {
    let found = vec![FoundPeer { peer: Some(peer(of)), addresses: vec![X.into()] }];
    PeersFound { source: Source::Mdns, found }
}

fn unreachable(of: &str) -> ConnectError {
    let error = CallError::Unreachable { target: of.into(), problem: "nobody answered".into() };
    ConnectError { error, failed: vec![(X.into(), AddressFailure::Unreachable("nobody answered".into()))] }
}

fn told_in(exchange: &Exchange) -> Vec<NodeRecord> {
    exchange.records.iter().map(|signed| codec::decode(&signed.record).unwrap()).collect()
}

#[test]
fn a_peer_that_connects_is_greeted_with_this_nodes_record_and_becomes_known_with_its_own() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        world.advance(SECOND).await;
        scene.answer_exchanges(vec![signed(&record(A, 7, offers(&[X])), 0)]);
        scene.ports.connection.tell(up(A)).unwrap();
        world.advance(SECOND).await;
        let asked = scene.exchanges();
        let own = told_in(&asked[0].1);
        assert_eq!((&asked[0].0, &own[0].peer, own[0].left), (&peer(A), &peer(ME), false));
        assert!(asked[0].1.digest.is_some());
        let members = scene.members().await;
        assert_eq!((members[0].state, members[0].trust), (PeerState::Connected, PeerTrust::Member));
        assert!(members[0].offers.is_some(), "{members:?}");
        assert!(members[0].found_by.contains(&Source::Gossip));
    });
}

#[test]
fn an_exchange_is_answered_and_what_it_tells_is_checked_first() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        world.advance(SECOND).await;
        scene.ports.connection.tell(up(C)).unwrap();
        let good = signed(&record(A, 7, offers(&[X])), 0);
        let forged = signed_by(&peer(C), &record(B, 7, offers(&[X])), 0);
        let exchange =
            Exchange { records: vec![good, forged], digest: Some(Default::default()), want: vec![peer(ME)] };
        let answer = scene.ports.exchange.ask(PeerExchange { from: peer(C), exchange }, LONG).await.unwrap();
        assert_eq!((answer.news, answer.records.len()), (1, 1));
        let known: Vec<_> = scene.members().await.into_iter().map(|member| member.peer).collect();
        assert!(known.contains(&peer(A)) && !known.contains(&peer(B)));
        let (offence, _) = scene.offences.next().await;
        assert_eq!(offence.peer, peer(C));
    });
}

#[test]
fn hundreds_of_records_in_one_exchange_are_checked_beside_the_mailbox() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let records = (0..300)
            .map(|n| signed(&NodeRecord { peer: super::bench::nobody(n), ..record(A, 1, offers(&[X])) }, 0))
            .collect();
        let exchange = Exchange { records, digest: None, want: vec![] };
        let answer = scene.ports.exchange.ask(PeerExchange { from: peer(C), exchange }, LONG).await.unwrap();
        assert_eq!(answer.news, 256, "as many as may be in one exchange");
    });
}

#[test]
fn a_found_peer_is_dialled_and_the_book_learns_from_it() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        assert_eq!(scene.ports.found.ask(found(A), LONG).await, Ok(1));
        let (request, reply) = scene.dials.next().await;
        assert_eq!((request.peer, request.addresses), (Some(peer(A)), vec![X.to_owned()]));
        reply.send(Err(unreachable(A)));
        world.advance(Duration::from_millis(300)).await;
        assert_eq!(scene.members().await[0].addresses[0].failures, 1);
        let (_, reply) = scene.dials.next().await;
        reply.send(Ok(ConnectedPeer { peer: peer(A), address: Some(X.into()) }));
        scene.ports.connection.tell(up(A)).unwrap();
        world.advance(SECOND).await;
        let member = scene.members().await.remove(0);
        assert_eq!(member.state, PeerState::Connected);
        let dialled = member.addresses.iter().find(|address| address.address == X).unwrap();
        assert_eq!((dialled.successes, dialled.failures), (1, 0));
    });
}

#[test]
fn a_peer_is_registered_by_hand_and_the_answer_says_how_it_stands() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let ask = |peer_id: Option<&str>, addresses: &[&str], connect_within_ms| RegisterPeer {
            peer: peer_id.map(peer),
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            connect_within_ms,
        };
        let register = scene.ports.register.clone();
        let with_id = format!("{X}/p2p/{A}");
        let entered = register.ask(ask(None, &[&with_id], 0), LONG).await.unwrap().unwrap();
        assert_eq!((entered.peer, entered.state, entered.new), (peer(A), PeerState::Known, true));
        // Discovery dials it by itself, too.
        let (_, own_dial) = scene.dials.next().await;
        own_dial.send(Err(unreachable(A)));
        world.advance(SECOND).await;

        let trying = tokio::task::spawn_local({
            let register = register.clone();
            let request = ask(Some(B), &[X], 3000);
            async move { register.ask(request, LONG).await.unwrap() }
        });
        // Two dials: the one that was asked for, and discovery's own.
        let (request, reply) = scene.dial_of(Some(B), 2000).await;
        assert_eq!(request.addresses, [X]);
        reply.send(Err(unreachable(B)));
        let tried = trying.await.unwrap().unwrap();
        assert_eq!((tried.state, tried.new), (PeerState::Known, true));
        assert!(tried.problem.unwrap().contains("nobody answered"));

        let trying = tokio::task::spawn_local({
            let request = ask(None, &["/ip4/198.51.100.9/tcp/9"], 3000);
            async move { register.ask(request, LONG).await.unwrap() }
        });
        let (_, reply) = scene.dial_of(None, 2000).await;
        // The transport tells of the connection before it answers who it was: that makes nobody known from before.
        scene.ports.connection.tell(up(C)).unwrap();
        world.advance(SECOND).await;
        reply.send(Ok(ConnectedPeer { peer: peer(C), address: Some("/ip4/198.51.100.9/tcp/9".into()) }));
        let entered = trying.await.unwrap().unwrap();
        assert_eq!((entered.peer, entered.state, entered.new), (peer(C), PeerState::Connected, true));
        let by_hand = scene.members().await;
        assert!(by_hand.iter().all(|member| member.found_by.contains(&Source::Manual)), "{by_hand:?}");
    });
}

#[test]
fn what_cannot_be_registered_is_refused_with_the_reason() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let register = |peer_id: Option<&str>, addresses: &[&str]| {
            let request = RegisterPeer {
                peer: peer_id.map(peer),
                addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
                connect_within_ms: 0,
            };
            let port = scene.ports.register.clone();
            async move { port.ask(request, LONG).await.unwrap().unwrap_err() }
        };
        assert_eq!(register(None, &[]).await, RegisterError::Nothing);
        let own = format!("{X}/p2p/{ME}");
        assert_eq!(register(None, &[&own]).await, RegisterError::Ourselves(peer(ME)));
        let wrong = register(Some(A), &["/ip4/0.0.0.0/tcp/1"]).await.to_string();
        assert!(wrong.contains("unspecified"), "{wrong}");
        let other = register(Some(A), &[&format!("{X}/p2p/{B}")]).await.to_string();
        assert!(other.contains(A) && other.contains(B), "{other}");
        assert!(matches!(register(None, &[X]).await, RegisterError::Unreachable { .. }));
        let out = PeerConnection::ShutOut { peer: peer(C), revoked: true };
        scene.ports.connection.tell(out).unwrap();
        world.settle().await;
        assert_eq!(register(Some(C), &[X]).await, RegisterError::Banned(peer(C)));
    });
}

#[test]
fn an_announcement_reaches_all_connected_peers_each_in_the_wire_that_it_speaks() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        world.advance(SECOND).await;
        scene.answer_exchanges(vec![]);
        scene.speaks_only_the_first(B);
        scene.is_silent(C);
        for of in [A, B, C] {
            scene.ports.connection.tell(up(of)).unwrap();
        }
        world.advance(Duration::from_secs(20)).await;
        let announced = scene.ports.announce.ask(Announce, LONG).await.unwrap();
        assert_eq!((announced.reached, announced.missed), (2, 1));
        assert_eq!(announced.advertisement, offers(&[X]));
        let advertised = scene.advertisements();
        assert!(!advertised.is_empty() && advertised.iter().all(|to| *to == peer(B)), "{advertised:?}");
        let b = scene.members().await.into_iter().find(|member| member.peer == peer(B)).unwrap();
        assert!(b.offers.is_some(), "what it answered is in the book");
    });
}

#[test]
fn a_peer_of_the_first_wire_that_advertises_is_answered_and_kept() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let said = PeerAdvertised { peer: peer(A), advertisement: offers(&[X]) };
        assert_eq!(scene.ports.advertised.ask(said, LONG).await, Ok(offers(&[X])));
        assert_eq!(scene.members().await[0].offers, Some(offers(&[X])));
    });
}

#[test]
fn goodbye_is_pushed_to_all_connected_peers_and_the_book_is_written_down() {
    testing::world(|world| async move {
        let store = Scene::store();
        let scene = Scene::with(&world, store.clone(), |_| {}, vec![]);
        world.advance(SECOND).await;
        scene.answer_exchanges(vec![signed(&record(A, 7, offers(&[X])), 0)]);
        scene.ports.connection.tell(up(A)).unwrap();
        world.advance(SECOND).await;
        let heard = scene.ports.goodbye.ask(SayGoodbye { within_ms: 2000 }, LONG).await.unwrap();
        assert_eq!(heard, 1);
        let last = scene.exchanges().pop().unwrap();
        assert!(told_in(&last.1)[0].left);
        assert_eq!(store.borrow().rows.len(), 2, "the peer, and this node's number");
        let asked = scene.exchanges().len();
        world.advance(Duration::from_secs(300)).await;
        assert_eq!(scene.exchanges().len(), asked, "who has left asks nothing");
    });
}

#[test]
fn who_says_goodbye_is_dropped_at_once() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let exchange = |record| {
            let exchange = Exchange { records: vec![signed(&record, 0)], digest: None, want: vec![] };
            PeerExchange { from: peer(A), exchange }
        };
        scene.ports.exchange.ask(exchange(record(A, 7, offers(&[X]))), LONG).await.unwrap();
        assert_eq!(scene.members().await[0].state, PeerState::Known);
        scene.ports.exchange.ask(exchange(goodbye(A, 8)), LONG).await.unwrap();
        let member = scene.members().await.remove(0);
        assert_eq!((member.state, member.addresses.len(), member.offers), (PeerState::Left, 0, None));
    });
}

#[test]
fn after_a_restart_the_book_is_there_and_peers_are_dialled_without_any_source() {
    testing::world(|world| async move {
        let store = Scene::store();
        let scene = Scene::with(&world, store.clone(), |_| {}, vec![]);
        scene.ports.found.ask(found(A), LONG).await.unwrap();
        world.advance(Duration::from_secs(31)).await;
        assert_eq!(store.borrow().rows.len(), 2);
        drop(scene);
        let mut again = Scene::with(&world, store, |_| {}, vec![]);
        let (request, _reply) = again.dials.next().await;
        assert_eq!(request.peer, Some(peer(A)));
        assert_eq!(again.members().await[0].found_by, [Source::Mdns].into());
    });
}

#[test]
fn a_store_that_fails_delays_writing_and_never_stops_discovery() {
    testing::world(|world| async move {
        let store = Scene::store();
        store.borrow_mut().broken = Some(StoreError::DiskFull { free: 0, reserve: 1 });
        let scene = Scene::with(&world, store.clone(), |_| {}, vec![]);
        world.advance(Duration::from_secs(40)).await;
        assert!(!scene.status().loading, "it began without its book");
        scene.ports.found.ask(found(A), LONG).await.unwrap();
        world.advance(Duration::from_secs(35)).await;
        assert_eq!(store.borrow().rows.len(), 0);
        store.borrow_mut().broken = None;
        world.advance(Duration::from_secs(35)).await;
        assert_eq!(store.borrow().rows.len(), 2);
    });
}

#[test]
fn a_forgotten_peer_is_disconnected_and_deleted_and_silent_ones_go_in_a_pass() {
    testing::world(|world| async move {
        let store = Scene::store();
        let mut scene = Scene::with(&world, store.clone(), |_| {}, vec![]);
        scene.ports.connection.tell(up(A)).unwrap();
        scene.ports.found.ask(found(B), LONG).await.unwrap();
        world.advance(Duration::from_secs(31)).await;
        assert_eq!(store.borrow().rows.len(), 3);
        assert_eq!(scene.ports.forget.ask(ForgetPeer { peer: peer(A) }, LONG).await, Ok(true));
        assert_eq!(scene.disconnects.next().await.0.peer, peer(A));
        assert_eq!(scene.ports.forget.ask(ForgetPeer { peer: peer(A) }, LONG).await, Ok(false));
        let pass = |silent_ms| CleanUp { silent_ms: Some(silent_ms), ttl_ms: [].into(), dry_run: false };
        assert!(scene.ports.clean_up.ask(pass(0), LONG).await.unwrap().forgotten.is_empty());
        world.advance(Duration::from_secs(200)).await;
        let cleaned = scene.ports.clean_up.ask(pass(100_000), LONG).await.unwrap();
        assert_eq!(cleaned.forgotten, [peer(B)]);
        world.advance(Duration::from_secs(31)).await;
        assert_eq!(store.borrow().rows.len(), 1, "this node's number");
        let query = ListMembers::default();
        assert!(scene.ports.members.ask(query, LONG).await.unwrap().is_empty());
    });
}

#[test]
fn metrics_say_who_is_there_and_what_was_exchanged() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        world.advance(SECOND).await;
        scene.answer_exchanges(vec![signed(&record(A, 7, offers(&[X])), 0)]);
        scene.ports.connection.tell(up(A)).unwrap();
        scene.ports.found.ask(found(B), LONG).await.unwrap();
        world.advance(Duration::from_secs(5)).await;
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        for line in [
            r#"meshwork_discovery_peers{state="connected"} 1"#,
            r#"meshwork_discovery_peers{state="known"} 1"#,
            r#"meshwork_discovery_found_by{source="mdns"} 1"#,
            r#"meshwork_discovery_source_peers_total{kind="new",source="mdns"} 1"#,
            r#"meshwork_discovery_records_total{what="news"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"meshwork_discovery_exchanges_total{outcome="compared"} 0"#));
        let json = serde_json::to_value(scene.status()).unwrap();
        assert_eq!((&json["connected"], &json["known"]), (&1.into(), &2.into()));
        assert_eq!(json["by_state"]["connected"], 1);
        assert_eq!(json["by_source"]["mdns"], 1);
    });
}
