//! The actor with a network and places that are played by the test, with paused time.

use super::contacts::FirstContact;
use super::places::{Place, Reader, Reading};
use super::*;
use meshwork_kit::Port;
use meshwork_kit::testing::{self, Probe, World, probe};
use meshwork_proto::bootstrap::{
    BootstrapError, BootstrapFrom, BootstrapNow, BootstrapReport, ContactState, ContactView, ListContacts,
};
use meshwork_proto::discovery::{PeersFound, Source};
use meshwork_proto::transport::{
    AddressFailure, CallError, ConnectError, ConnectPeer, ConnectedPeer, DialPeer, PeerTarget,
};
use prometheus::Registry;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
const HERE: &str = "/ip4/198.51.100.7/tcp/4001";
const THERE: &str = "/ip4/198.51.100.8/tcp/4001";
const S: fn(u64) -> Duration = Duration::from_secs;
const PATIENCE: Duration = Duration::from_secs(3_600);

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

type Held = BTreeMap<Place, Result<Vec<String>, BootstrapError>>;

/// What the places hold; a test changes it as the world changes.
#[derive(Clone, Default)]
struct Outside(Arc<Mutex<Held>>);

impl Outside {
    fn holds(&self, place: Place, entries: &[&str]) {
        let entries = entries.iter().map(|&entry| entry.to_owned()).collect();
        self.0.lock().unwrap().insert(place, Ok(entries));
    }

    fn fails(&self, place: Place, problem: &str) {
        let error = BootstrapError::Dns { name: place.to_string(), problem: problem.into() };
        self.0.lock().unwrap().insert(place, Err(error));
    }

    fn reader(&self) -> Reader {
        let places = Arc::clone(&self.0);
        Arc::new(move |place| {
            let held = places.lock().unwrap().get(&place).cloned();
            Box::pin(async move {
                let mut reading = Reading::default();
                for entry in held.unwrap_or_else(|| Ok(Vec::new()))? {
                    reading.add(&entry, &entry);
                }
                Ok(reading)
            })
        })
    }
}

struct Setup {
    ports: BootstrapPorts,
    dial: Option<Probe<DialPeer>>,
    connect: Option<Probe<ConnectPeer>>,
    found: Probe<PeersFound>,
    connected: watch::Sender<Arc<BTreeSet<PeerId>>>,
    registry: Registry,
}

fn start(world: &World, options: BootstrapOptions, places: &Outside) -> Setup {
    let (dial_port, dial) = probe(64);
    let (connect_port, connect) = probe(64);
    let (found_port, found) = probe(64);
    let (sender, connected) = watch::channel(Arc::default());
    let deps = BootstrapDeps { dial: dial_port, connect: connect_port, found: found_port, connected };
    let (ports, seed) = prepare();
    let registry = Registry::new();
    seed.start_with(world.supervision(), &registry, options, deps, places.reader()).unwrap();
    Setup { ports, dial: Some(dial), connect: Some(connect), found, connected: sender, registry }
}

impl Setup {
    /// These peers are connected now.
    fn connected(&self, peers: &[&str]) {
        self.connected.send_replace(Arc::new(peers.iter().map(|text| peer(text)).collect()));
    }

    fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    async fn contacts(&self) -> Vec<ContactView> {
        self.ports.contacts.ask(ListContacts, PATIENCE).await.unwrap()
    }

    async fn now(&self, from: BootstrapFrom) -> Result<BootstrapReport, BootstrapError> {
        let port: Port<BootstrapNow> = self.ports.now.clone();
        port.ask(BootstrapNow { from, within_ms: 60_000 }, PATIENCE).await.unwrap()
    }

    /// Every contact answers from now on, as A.
    fn everybody_answers(&mut self) -> Rc<RefCell<Vec<ConnectPeer>>> {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let notes = Rc::clone(&asked);
        self.connect.take().unwrap().reply_with(move |request| {
            let address = request.addresses.first().cloned();
            notes.borrow_mut().push(request);
            Ok(ConnectedPeer { peer: peer(A), address })
        });
        asked
    }
}

fn nobody(target: &str) -> CallError {
    CallError::Unreachable { target: target.into(), problem: "connection refused".into() }
}

fn configured(address: &str) -> BootstrapOptions {
    let target: PeerTarget = address.parse().unwrap();
    let peers = vec![FirstContact { target, source: Source::Configured }];
    BootstrapOptions { peers, ..BootstrapOptions::default() }
}

fn named() -> (BootstrapOptions, Place) {
    let dns = DnsOptions { names: vec!["mesh.example".into()], ..DnsOptions::default() };
    (BootstrapOptions { dns, ..BootstrapOptions::default() }, Place::Dns("mesh.example".into()))
}

#[test]
fn a_configured_peer_is_dialled_for_keeps_until_it_answers() {
    testing::world(|world| async move {
        let mut setup = start(&world, configured(HERE), &Outside::default());
        let mut dial = setup.dial.take().unwrap();
        for attempt in 1..=3 {
            let (request, reply) = dial.next().await;
            assert_eq!(request.target, PeerTarget::Address(HERE.into()));
            reply.send(Err(nobody(HERE)));
            world.settle().await;
            let contact = setup.contacts().await.remove(0);
            assert_eq!((contact.state, contact.attempts), (ContactState::Waiting, attempt));
            assert!(contact.problem.unwrap().contains("connection refused"));
            assert!(contact.next_try_in_ms.is_some_and(|pause| pause <= 500 << (attempt - 1)));
        }
        dial.next().await.1.send(Ok(peer(A)));
        world.settle().await;
        let contact = setup.contacts().await.remove(0);
        assert_eq!((contact.state, contact.peer), (ContactState::Connected, Some(peer(A))));
        let (told, _) = setup.found.next().await;
        assert_eq!((told.source, &told.found[0].peer), (Source::Configured, &Some(peer(A))));
        setup.connected(&[A]);
        dial.expect_silence(S(3_600)).await;
    });
}

#[test]
fn contacts_of_a_name_are_connected_to_and_the_peer_book_is_told_who_is_there() {
    testing::world(|world| async move {
        let (options, place) = named();
        let places = Outside::default();
        let with_id = format!("{THERE}/p2p/{B}");
        places.holds(place, &[HERE, &with_id]);
        let mut setup = start(&world, options, &places);
        let (told, _) = setup.found.next().await;
        assert_eq!(
            (told.source, told.found.len()),
            (Source::Dns, 1),
            "who has no id is told when it has answered"
        );
        assert_eq!(told.found[0].peer, Some(peer(B)));
        let mut connect = setup.connect.take().unwrap();
        for _ in 0..2 {
            let (request, reply) = connect.next().await;
            let answer = match request.peer {
                Some(wanted) => ConnectedPeer { peer: wanted, address: None },
                None => ConnectedPeer { peer: peer(A), address: Some(HERE.into()) },
            };
            reply.send(Ok(answer));
        }
        let (told, _) = setup.found.next().await;
        assert_eq!((&told.found[0].peer, &told.found[0].addresses[0]), (&Some(peer(A)), &HERE.to_owned()));
        world.settle().await;
        assert!(setup.contacts().await.iter().all(|contact| contact.state == ContactState::Connected));
    });
}

#[test]
fn a_name_is_read_again_and_pods_that_come_and_go_are_followed() {
    testing::world(|world| async move {
        let (options, place) = named();
        let places = Outside::default();
        places.holds(place.clone(), &[HERE]);
        let mut setup = start(&world, options, &places);
        let asked = setup.everybody_answers();
        world.advance(S(1)).await;
        places.holds(place, &[THERE]);
        world.advance(S(60)).await;
        assert_eq!(asked.borrow().last().unwrap().addresses, [THERE]);
        assert_eq!(asked.borrow().len(), 2, "who was reached is not asked again");
        assert_eq!(setup.contacts().await.len(), 1);
    });
}

#[test]
fn a_name_that_cannot_be_resolved_is_tried_again_soon_and_the_rest_goes_on() {
    testing::world(|world| async move {
        let (options, place) = named();
        let options = BootstrapOptions { peers: configured(HERE).peers, ..options };
        let places = Outside::default();
        places.fails(place.clone(), "there is no such name");
        let mut setup = start(&world, options, &places);
        let mut dial = setup.dial.take().unwrap();
        dial.next().await.1.send(Ok(peer(A)));
        let asked = setup.everybody_answers();
        world.advance(S(2)).await;
        assert!(asked.borrow().is_empty());
        places.holds(place, &[THERE]);
        world.advance(S(5)).await;
        assert_eq!(asked.borrow().len(), 1, "long before the usual minute");
    });
}

#[test]
fn a_node_that_is_left_alone_begins_again_with_everybody_but_not_for_a_moment_alone() {
    testing::world(|world| async move {
        let (options, place) = named();
        let options = BootstrapOptions { peers: configured(HERE).peers, ..options };
        let places = Outside::default();
        places.holds(place.clone(), &[THERE]);
        let mut setup = start(&world, options, &places);
        let dialled = Rc::new(RefCell::new(0));
        let count = Rc::clone(&dialled);
        setup.dial.take().unwrap().reply_with(move |_| {
            *count.borrow_mut() += 1;
            Ok(peer(B))
        });
        let asked = setup.everybody_answers();
        world.advance(S(1)).await;
        assert_eq!((*dialled.borrow(), asked.borrow().len()), (1, 1));
        setup.connected(&[A, B]);
        world.advance(S(1)).await;
        setup.connected(&[]);
        world.advance(S(3)).await;
        setup.connected(&[B]);
        world.advance(S(30)).await;
        assert_eq!((*dialled.borrow(), asked.borrow().len()), (1, 1), "a short gap is none");
        places.holds(place, &[THERE, "/ip4/198.51.100.9/tcp/4001"]);
        setup.connected(&[]);
        world.advance(S(7)).await;
        assert_eq!((*dialled.borrow(), asked.borrow().len()), (2, 3), "the name was read anew as well");
    });
}

#[test]
fn a_contact_that_is_gone_is_listed_as_lost_while_another_peer_is_connected_and_tried_rarely() {
    testing::world(|world| async move {
        let (options, place) = named();
        let options = BootstrapOptions { peers: configured(HERE).peers, ..options };
        let places = Outside::default();
        places.holds(place, &[THERE]);
        let mut setup = start(&world, options, &places);
        setup.dial.take().unwrap().reply_with(|_| Ok(peer(B)));
        let asked = setup.everybody_answers();
        world.advance(Duration::from_millis(100)).await;
        let states = |contacts: Vec<ContactView>| -> BTreeMap<PeerId, ContactState> {
            contacts.into_iter().map(|contact| (contact.peer.unwrap(), contact.state)).collect()
        };
        let now = |of_a| -> BTreeMap<PeerId, ContactState> {
            [(peer(A), of_a), (peer(B), ContactState::Connected)].into()
        };
        let both = now(ContactState::Connected);
        assert_eq!(states(setup.contacts().await), both, "before anybody has told who is connected");
        setup.connected(&[A, B]);
        world.advance(S(10)).await;
        assert_eq!(states(setup.contacts().await), both);
        setup.connected(&[B]);
        world.settle().await;
        assert_eq!(states(setup.contacts().await), now(ContactState::Lost));
        let text = setup.metrics();
        for (state, count) in [("connected", 1), ("lost", 1), ("waiting", 0)] {
            let line = format!("meshwork_bootstrap_contacts{{state=\"{state}\"}} {count}");
            assert!(text.contains(&line), "{text}");
        }
        world.advance(S(140)).await;
        assert_eq!(asked.borrow().len(), 1, "who stays connected is discovery's choice");
        world.advance(S(160)).await;
        assert_eq!(asked.borrow().len(), 2, "but nobody else may know the way to it any more");
        setup.connected(&[]);
        world.advance(S(7)).await;
        assert_eq!(asked.borrow().len(), 3);
    });
}

#[test]
fn this_node_itself_among_the_answers_is_left_out_for_good() {
    testing::world(|world| async move {
        let (options, place) = named();
        let places = Outside::default();
        places.holds(place, &[HERE, THERE]);
        let mut setup = start(&world, options, &places);
        let tries = Rc::new(RefCell::new(0));
        let count = Rc::clone(&tries);
        setup.connect.take().unwrap().reply_with(move |request| {
            if request.addresses == [HERE] {
                *count.borrow_mut() += 1;
                let failed = vec![(HERE.to_owned(), AddressFailure::Ourselves)];
                return Err(ConnectError { error: nobody(HERE), failed });
            }
            Ok(ConnectedPeer { peer: peer(A), address: Some(THERE.into()) })
        });
        world.advance(S(600)).await;
        assert_eq!(*tries.borrow(), 1);
        assert_eq!(setup.contacts().await.len(), 1);
    });
}

#[test]
fn somebody_who_asks_gets_what_was_read_and_how_each_first_try_went() {
    testing::world(|world| async move {
        let places = Outside::default();
        let file = Place::File("/mesh/peers".into());
        places.holds(file, &[HERE, THERE, "nonsense"]);
        let mut setup = start(&world, BootstrapOptions::default(), &places);
        setup.connect.take().unwrap().reply_with(|request| {
            if request.addresses == [HERE] {
                return Ok(ConnectedPeer { peer: peer(A), address: Some(HERE.into()) });
            }
            Err(ConnectError { error: nobody(THERE), failed: vec![] })
        });
        let from = BootstrapFrom::File { path: Some("/mesh/peers".into()) };
        let report = setup.now(from).await.unwrap();
        let far: Vec<_> = report
            .contacts
            .iter()
            .map(|contact| (contact.address.clone(), contact.state, contact.source))
            .collect();
        assert_eq!(
            far,
            [
                (format!("{HERE}/p2p/{A}"), ContactState::Connected, Source::File),
                (THERE.to_owned(), ContactState::Waiting, Source::File),
            ]
        );
        assert_eq!(report.skipped.len(), 1);
        let text = setup.metrics();
        assert!(text.contains("meshwork_bootstrap_dials_total{outcome=\"ok\",source=\"file\"} 1"), "{text}");
        assert!(text.contains("meshwork_bootstrap_contacts{state=\"waiting\"} 1"), "{text}");
        assert!(
            text.contains("meshwork_bootstrap_readings_total{outcome=\"ok\",source=\"file\"} 1"),
            "{text}"
        );
    });
}

#[test]
fn who_asks_does_not_wait_longer_than_it_wants_and_tries_under_way_go_on() {
    testing::world(|world| async move {
        let places = Outside::default();
        places.holds(Place::Public, &[HERE]);
        let options = BootstrapOptions { dial_deadline: S(3_600), ..BootstrapOptions::default() };
        let mut setup = start(&world, options, &places);
        let mut connect = setup.connect.take().unwrap();
        let asking = setup.now(BootstrapFrom::Public);
        let (report, (_, reply)) = futures::join!(asking, connect.next());
        assert_eq!(report.unwrap().contacts[0].state, ContactState::Dialling);
        reply.send(Ok(ConnectedPeer { peer: peer(A), address: None }));
        world.settle().await;
        assert_eq!(setup.contacts().await[0].state, ContactState::Connected);
    });
}

#[test]
fn what_is_not_configured_cannot_be_read_or_holds_nothing_is_an_error_with_a_way_out() {
    testing::world(|world| async move {
        let places = Outside::default();
        places.fails(Place::Dns("gone.example".into()), "there is no such name");
        places.holds(Place::File("/mesh/empty".into()), &[]);
        places.holds(Place::File("/mesh/junk".into()), &["nonsense"]);
        let setup = start(&world, BootstrapOptions::default(), &places);
        let file = |path: &str| BootstrapFrom::File { path: Some(path.into()) };
        for (from, words) in [
            (BootstrapFrom::File { path: None }, "p2p.bootstrap.file"),
            (BootstrapFrom::Dns { name: None }, "p2p.bootstrap.dns"),
            (BootstrapFrom::Environment, "MESHWORK_BOOTSTRAP_PEERS"),
            (BootstrapFrom::Configured, "p2p.peers"),
            (BootstrapFrom::Dns { name: Some("gone.example".into()) }, "there is no such name"),
            (file("/mesh/empty"), "no entries"),
            (file("/mesh/junk"), "no multiaddress"),
        ] {
            let error = setup.now(from).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    });
}

#[test]
fn asking_for_everything_that_is_configured_tells_of_each_place_what_is_wrong() {
    testing::world(|world| async move {
        let (options, place) = named();
        let variables = [("MESHWORK_BOOTSTRAP_PEERS", THERE)];
        let environment = EnvironmentPeers::of(variables);
        let options = BootstrapOptions { peers: configured(HERE).peers, environment, ..options };
        let places = Outside::default();
        places.fails(place, "no name server answers");
        places.holds(Place::Environment, &[THERE]);
        let mut setup = start(&world, options, &places);
        setup.dial.take().unwrap().reply_with(|_| Ok(peer(B)));
        setup.everybody_answers();
        let report = setup.now(BootstrapFrom::Configured).await.unwrap();
        let sources: Vec<_> = report.contacts.iter().map(|contact| contact.source).collect();
        assert_eq!(sources, [Source::Configured, Source::Environment]);
        assert!(report.skipped[0].problem.contains("no name server answers"), "{:?}", report.skipped);
    });
}

#[test]
fn a_real_reader_reads_files_variables_and_the_public_list() {
    testing::world(|world| async move {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        std::fs::write(&path, format!("# first contacts\n{HERE}\n")).unwrap();
        let environment = EnvironmentPeers::of([("CACHE_BOOTSTRAP_PEERS", THERE)]);
        let options =
            BootstrapOptions { files: vec![path], environment, use_public_list: true, ..Default::default() };
        let (dial, _dial) = probe(64);
        let (connect, answering) = probe::<ConnectPeer>(64);
        let (found, _found) = probe(64);
        let (_sender, connected) = watch::channel(Arc::default());
        answering.reply_with(|request| {
            let address = request.addresses.first().cloned();
            Ok(ConnectedPeer { peer: request.peer.unwrap_or_else(|| peer(A)), address })
        });
        let (ports, seed) = prepare();
        let deps = BootstrapDeps { dial, connect, found, connected };
        seed.start(world.supervision(), &Registry::new(), options, deps).unwrap();
        let asked = BootstrapNow { from: BootstrapFrom::Configured, within_ms: 60_000 };
        let report = ports.now.ask(asked, PATIENCE).await.unwrap().unwrap();
        let mut sources: Vec<_> = report.contacts.iter().map(|contact| contact.source).collect();
        sources.sort();
        sources.dedup();
        assert_eq!(sources, [Source::Environment, Source::File, Source::PublicList]);
        assert_eq!(report.contacts.len(), 6);
    });
}
