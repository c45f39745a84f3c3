//! Book, gossip and policy together: whom a node connects to, whom it believes, whom it reports.

use super::bench::{
    A, B, C, ME, NOW, at, checked, down, goodbye, nobody, notary, offers, peer, record, signed, signed_by, up,
};
use crate::discovery::DiscoveryOptions;
use crate::discovery::gossip::{Occasion, Purpose};
use crate::discovery::logic::{Asked, Effect, Membership};
use crate::discovery::policy::Dial;
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::{CleanUp, FoundPeer, PeerConnection, PeerState, Source};
use meshwork_proto::transport::{AddressFailure, CallError, ConnectError, ConnectedPeer};
use std::collections::BTreeSet;

fn membership() -> Membership {
    membership_with(|_| {})
}

fn membership_with(change: impl FnOnce(&mut DiscoveryOptions)) -> Membership {
    let mut options = DiscoveryOptions::default();
    change(&mut options);
    Membership::new(peer(ME), &options, notary(), 1)
}

fn place(n: usize) -> String {
    format!("/ip4/198.51.100.1/tcp/{}", n + 1)
}

fn find(core: &mut Membership, now: UnixMillis, range: std::ops::Range<usize>) {
    let found: Vec<FoundPeer> =
        range.map(|n| FoundPeer { peer: Some(nobody(n)), addresses: vec![place(n)] }).collect();
    core.found(now, Source::Dht, &found);
}

/// What is due at this time.
fn dials(core: &mut Membership, now: UnixMillis) -> Vec<Dial> {
    let mut out = Vec::new();
    core.tick(now, &mut out);
    out.into_iter()
        .filter_map(|effect| match effect {
            Effect::Connect(dial) => Some(dial),
            _ => None,
        })
        .collect()
}

fn succeed(core: &mut Membership, now: UnixMillis, dial: &Dial) {
    let found = dial.peer.clone().unwrap();
    let reached = ConnectedPeer { peer: found.clone(), address: Some(dial.addresses[0].clone()) };
    core.dialled(now, dial, &Ok(reached));
    core.connection(now, up(found.as_str()), &mut Vec::new());
}

fn fail(core: &mut Membership, now: UnixMillis, dial: &Dial) {
    let error = CallError::Timeout { target: String::new(), after_ms: 10_000 };
    core.dialled(now, dial, &Err(ConnectError { error, failed: Vec::new() }));
}

fn state(core: &Membership, now: UnixMillis, of: &str) -> Option<PeerState> {
    core.book.state_of(now, &peer(of))
}

fn usual_pass() -> CleanUp {
    CleanUp { silent_ms: None, ttl_ms: [].into(), dry_run: false }
}

#[test]
fn connections_are_opened_a_few_at_a_time_until_there_are_enough() {
    let mut core = membership();
    find(&mut core, NOW, 0..100);
    let mut now = NOW;
    let mut tried = BTreeSet::new();
    while core.book.linked().len() < 24 {
        let batch = dials(&mut core, now);
        assert!(batch.len() <= 8 && core.dials_in_flight() <= 8);
        assert!(!batch.is_empty(), "{} connected", core.book.linked().len());
        for dial in &batch {
            assert!(tried.insert(dial.peer.clone()), "nobody is dialled twice");
            succeed(&mut core, now, dial);
        }
        now = now.after(std::time::Duration::from_millis(500));
    }
    assert_eq!(core.book.linked().len(), 24);
    assert!(dials(&mut core, at(10)).is_empty());
    let gone = core.book.linked()[0].clone();
    core.connection(at(30), down(gone.as_str()), &mut Vec::new());
    assert_eq!(dials(&mut core, at(31)).len(), 1, "another one takes its place");
}

#[test]
fn who_is_too_busy_to_end_its_handshakes_begins_fewer_of_them() {
    let mut core = membership();
    find(&mut core, NOW, 0..100);
    let first = dials(&mut core, NOW);
    assert_eq!(first.len(), 4, "not as many as may be before it is known how it goes");
    for dial in &first {
        fail(&mut core, at(5), dial);
    }
    let mut flights = Vec::new();
    for second in 6..12 {
        let batch = dials(&mut core, at(second));
        flights.push(batch.len());
        for dial in &batch {
            succeed(&mut core, at(second), dial);
        }
    }
    assert_eq!(flights, [1, 2, 4, 8, 8, 1], "it doubles until there are enough");
    // An address at which nobody answers says nothing of how busy anybody is.
    let mut core = membership();
    find(&mut core, NOW, 0..100);
    for second in 0..5 {
        let batch = dials(&mut core, at(second));
        assert_eq!(batch.len(), 4);
        for dial in &batch {
            let error = CallError::Unreachable { target: String::new(), problem: "refused".into() };
            let failed = vec![(dial.addresses[0].clone(), AddressFailure::Unreachable("refused".into()))];
            core.dialled(at(second), dial, &Err(ConnectError { error, failed }));
        }
    }
}

#[test]
fn a_peer_that_was_found_is_tried_at_once_and_after_failures_less_and_less_often() {
    let mut core = membership();
    find(&mut core, NOW, 0..1);
    let mut tries = Vec::new();
    let mut now = NOW;
    while now < at(3 * 3600) {
        for dial in dials(&mut core, now) {
            tries.push(now.since(NOW).as_secs());
            fail(&mut core, now, &dial);
        }
        now = core.next_due(now).unwrap().max(UnixMillis(now.0 + 1));
    }
    assert_eq!(tries[0], 0);
    assert!(tries[1] <= 2 && tries[2] <= 6, "{tries:?}");
    let last = &tries[tries.len() - 5..];
    assert!(last.windows(2).all(|pair| (300..=601).contains(&(pair[1] - pair[0]))), "{tries:?}");
    assert!(tries.len() < 40, "{tries:?}");
}

#[test]
fn who_left_is_shut_out_or_refused_us_is_not_dialled_and_proven_peers_come_first() {
    let mut core = membership_with(|options| options.max_dials = 1);
    find(&mut core, NOW, 0..50);
    let own = record(A, 1, offers(&["/ip4/198.51.100.2/tcp/1"]));
    core.asked(
        NOW,
        &peer(C),
        Asked { checked: checked(&[signed(&own, 0)]), ..Asked::default() },
        &mut Vec::new(),
    );
    assert_eq!(dials(&mut core, NOW)[0].peer, Some(peer(A)));
    let mut core = membership();
    for of in [A, B, C] {
        let found = FoundPeer { peer: Some(peer(of)), addresses: vec![place(1)] };
        core.found(NOW, Source::Dht, &[found]);
    }
    let refused = PeerConnection::Refused { peer: peer(A), reason: "another secret".into() };
    let out = PeerConnection::ShutOut { peer: peer(B), revoked: false };
    core.connection(NOW, refused, &mut Vec::new());
    core.connection(NOW, out, &mut Vec::new());
    let bye = checked(&[signed(&goodbye(C, 1), 0)]);
    core.asked(NOW, &peer(C), Asked { checked: bye, ..Asked::default() }, &mut Vec::new());
    assert!(dials(&mut core, at(1)).is_empty());
    core.connection(at(5), PeerConnection::LetIn { peer: peer(B) }, &mut Vec::new());
    assert_eq!(dials(&mut core, at(6))[0].peer, Some(peer(B)));
    assert_eq!(dials(&mut core, at(601))[0].peer, Some(peer(A)), "rarely, but again");
}

#[test]
fn addresses_without_an_id_are_tried_once_and_belong_to_whoever_answers() {
    let mut core = membership();
    let found = FoundPeer { peer: None, addresses: vec!["/dns4/mesh.example.org/tcp/4001".into()] };
    core.found(NOW, Source::Dns, &[found]);
    let dial = dials(&mut core, NOW).remove(0);
    assert_eq!((&dial.peer, dial.source), (&None, Source::Dns));
    let reached = ConnectedPeer { peer: peer(A), address: Some(dial.addresses[0].clone()) };
    core.dialled(at(1), &dial, &Ok(reached));
    let entry = core.book.get(&peer(A)).unwrap();
    assert_eq!(&*entry.addresses[0].text, "/dns4/mesh.example.org/tcp/4001");
    assert!(dials(&mut core, at(2)).iter().all(|dial| dial.peer.is_some()));
}

#[test]
fn who_has_enough_connections_still_tries_a_peer_that_went_silent() {
    let mut core = membership_with(|options| options.target_connections = 2);
    find(&mut core, NOW, 0..1);
    let lost = dials(&mut core, NOW).remove(0);
    succeed(&mut core, NOW, &lost);
    for (n, of) in [(1, A), (2, B)] {
        core.connection(at(n), up(of), &mut Vec::new());
    }
    assert!(dials(&mut core, at(100)).is_empty(), "everybody is well");
    core.connection(at(101), down(nobody(0).as_str()), &mut Vec::new());
    assert_eq!(core.book.linked().len(), 2);
    let tried: Vec<Dial> = (102..180).flat_map(|second| dials(&mut core, at(second))).collect();
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].peer, Some(nobody(0)));
    // Somebody heard of it: it is well, only not connected.
    fail(&mut core, at(180), &tried[0]);
    let fresh = record(A, 5, offers(&[&place(0)]));
    let fresh = meshwork_proto::discovery::NodeRecord { peer: nobody(0), ..fresh };
    core.asked(
        at(181),
        &peer(A),
        Asked { checked: checked(&[signed(&fresh, 0)]), ..Asked::default() },
        &mut vec![],
    );
    assert!((182..400).flat_map(|second| dials(&mut core, at(second))).count() == 0);
}

#[test]
fn who_has_enough_connections_still_tries_somebody_whom_only_a_source_names_now_and_then() {
    let mut core = membership_with(|options| options.target_connections = 2);
    find(&mut core, NOW, 0..2);
    for dial in dials(&mut core, NOW) {
        succeed(&mut core, NOW, &dial);
    }
    find(&mut core, at(1), 2..4);
    core.connection(
        at(1),
        PeerConnection::Refused { peer: nobody(2), reason: "another mesh".into() },
        &mut Vec::new(),
    );
    let over = |core: &mut Membership, seconds: std::ops::Range<u64>| -> Vec<(u64, Dial)> {
        let at_second = |second| dials(core, at(second)).into_iter().map(move |dial| (second, dial));
        seconds.flat_map(at_second).collect()
    };
    let tried = over(&mut core, 1..80);
    let whom: Vec<_> = tried.iter().map(|(_, dial)| dial.peer.clone()).collect();
    assert_eq!(whom, [Some(nobody(3))], "once, and not who refused this node");
    assert!(tried[0].0 > 40, "nothing is in a hurry: {tried:?}");
    fail(&mut core, at(80), &tried[0].1);
    let again = over(&mut core, 80..170);
    assert!(
        !again.is_empty() && again.len() <= 2 && again.iter().all(|(_, dial)| dial.peer == Some(nobody(3)))
    );
}

#[test]
fn who_passes_on_a_forged_record_is_reported_and_who_passes_on_an_old_one_is_not() {
    let mut core = membership();
    core.connection(NOW, up(C), &mut Vec::new());
    let mut out = Vec::new();
    let forged = signed_by(&peer(C), &record(A, 9, offers(&[])), 0);
    core.asked(NOW, &peer(C), Asked { checked: checked(&[forged]), ..Asked::default() }, &mut out);
    assert_eq!(out, [Effect::Offence(peer(C))]);
    assert!(core.book.get(&peer(A)).is_none());
    out.clear();
    let too_old = signed(&record(A, 9, offers(&[])), u64::MAX);
    let impossible = signed(&record(B, u64::MAX, offers(&[])), 0);
    let asked = Asked { checked: checked(&[too_old, impossible]), ..Asked::default() };
    core.asked(NOW, &peer(C), asked, &mut out);
    assert!(out.is_empty());
    assert!(core.book.get(&peer(A)).is_none() && core.book.get(&peer(B)).is_none());
}

#[test]
fn a_peer_of_the_first_wire_is_told_by_advertisement_and_listed_with_what_it_said() {
    let mut core = membership();
    let mut out = Vec::new();
    assert_eq!(core.describe(NOW, &offers(&["/a"]), &mut out), Some(Occasion::Changed));
    core.connection(NOW, up(A), &mut out);
    core.tick(NOW, &mut out);
    assert!(matches!(&out[..], [Effect::Ask(ask)] if ask.peer == peer(A)));
    out.clear();
    core.unanswered(NOW, &peer(A), Purpose::Compare, true, &mut out);
    assert!(out.contains(&Effect::Advertise(peer(A))));
    core.advertised(at(1), &peer(A), offers(&["/ip4/198.51.100.2/tcp/1"]));
    assert_eq!(core.book.get(&peer(A)).unwrap().addresses.len(), 1);
    out.clear();
    core.describe(at(2), &offers(&["/b"]), &mut out);
    assert_eq!(out, [Effect::Advertise(peer(A))], "a change is told at once");
}

#[test]
fn a_forgotten_peer_stays_away_until_it_comes_back_by_itself() {
    let mut core = membership();
    let mut out = Vec::new();
    let own = signed(&record(A, 7, offers(&["/ip4/198.51.100.2/tcp/1"])), 0);
    let tell = |core: &mut Membership, now, signed| {
        core.asked(now, &peer(C), Asked { checked: checked(&[signed]), ..Asked::default() }, &mut Vec::new());
    };
    tell(&mut core, NOW, own.clone());
    core.connection(NOW, up(A), &mut out);
    assert!(core.forget(at(1), &peer(A), &mut out));
    assert!(out.contains(&Effect::Disconnect(peer(A))));
    core.connection(at(2), down(A), &mut out);
    tell(&mut core, at(3), own);
    assert_eq!(state(&core, at(3), A), None, "others still tell the old record");
    assert!(!core.forget(at(4), &peer(A), &mut out));
    tell(&mut core, at(5), signed(&record(A, 8, offers(&[])), 0));
    assert_eq!(state(&core, at(5), A), Some(PeerState::Known));
    core.forget(at(6), &peer(A), &mut out);
    core.connection(at(7), up(A), &mut out);
    assert_eq!(state(&core, at(7), A), Some(PeerState::Connected));
}

#[test]
fn a_pass_forgets_the_silent_with_all_they_offered_and_a_dry_run_forgets_nobody() {
    let mut core = membership();
    let asked = Asked { checked: checked(&[signed(&record(A, 7, offers(&[])), 0)]), ..Asked::default() };
    core.asked(NOW, &peer(C), asked, &mut Vec::new());
    let dry = core.clean_up(at(1900), &CleanUp { dry_run: true, ..usual_pass() });
    assert_eq!((dry.forgotten.as_slice(), dry.kept), (&[peer(A)][..], 0));
    assert_eq!(core.book.len(), 1);
    let done = core.clean_up(at(1900), &usual_pass());
    assert_eq!((done.forgotten, done.kept, core.forgotten()), (vec![peer(A)], 0, 1));
    assert_eq!(core.gossip().sizes(), (0, 1));
}

#[test]
fn what_a_peer_offered_goes_with_its_record_although_others_still_name_it() {
    let mut core = membership();
    let asked = Asked {
        checked: checked(&[signed(&record(A, 7, offers(&["/ip4/198.51.100.2/tcp/1"])), 0)]),
        ..Asked::default()
    };
    core.asked(NOW, &peer(C), asked, &mut Vec::new());
    let found = FoundPeer { peer: Some(peer(A)), addresses: vec![place(1)] };
    core.found(at(1700), Source::Dht, &[found]);
    core.clean_up(at(1900), &usual_pass());
    let entry = core.book.get(&peer(A)).unwrap();
    assert!(entry.offers.is_none());
}

#[test]
fn a_node_that_left_asks_nothing_and_connects_to_nobody() {
    let mut core = membership();
    core.describe(NOW, &offers(&["/a"]), &mut Vec::new());
    core.connection(NOW, up(A), &mut Vec::new());
    let (peers, talk) = core.leave(at(1));
    assert_eq!(peers, [peer(A)]);
    assert!(talk.unwrap().records[0].sealed.left);
    find(&mut core, at(2), 0..10);
    let mut out = Vec::new();
    core.tick(at(100), &mut out);
    assert!(out.is_empty());
    assert_eq!(core.next_due(at(100)), None);
    assert_eq!(core.describe(at(101), &offers(&["/b"]), &mut out), None);
}

#[test]
fn a_known_peer_takes_a_few_kilobytes_of_memory_at_most() {
    let bytes = crate::discovery::sim::memory_per_peer();
    println!("{bytes} bytes for each known peer");
    assert!((500..4096).contains(&bytes), "{bytes} bytes for each peer");
}
