//! Connections, dials, records: what they make of an entry.

use super::{book, rng};
use crate::discovery::book::{Book, Dialled};
use crate::discovery::tests::bench::{
    A, B, C, ME, NOW, at, believed, down, goodbye, nobody, offers, peer, record, up,
};
use meshwork_proto::discovery::{
    Advertisement, FoundPeer, ListMembers, ListPeers, PeerConnection, PeerState, PeerTrust, Source,
};
use meshwork_proto::transport::{AddressFailure, CallError, ConnectError};
use meshwork_proto::{PeerId, Role, UnixMillis};
use std::collections::BTreeSet;

const X: &str = "/ip4/198.51.100.1/tcp/1";
const Y: &str = "/ip4/198.51.100.2/tcp/1";

fn named(book: &mut Book, now: UnixMillis, of: &str, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    book.found(now, Source::Dht, &[FoundPeer { peer: Some(peer(of)), addresses }]);
}

fn best(book: &Book, of: &str) -> Vec<String> {
    let entry = book.get(&peer(of)).unwrap();
    entry.best_first().iter().map(|known| known.text.to_string()).collect()
}

fn failed(of: &str, failures: &[(&str, AddressFailure)]) -> ConnectError {
    let error = CallError::Unreachable { target: of.into(), problem: "nobody answered".into() };
    let failed = failures.iter().map(|(address, failure)| ((*address).to_owned(), failure.clone())).collect();
    ConnectError { error, failed }
}

fn nobody_there() -> AddressFailure {
    AddressFailure::Unreachable("nobody answered".into())
}

fn state(book: &Book, now: UnixMillis, of: &str) -> Option<PeerState> {
    book.state_of(now, &peer(of))
}

#[test]
fn a_peer_that_comes_up_is_told_once_and_again_after_it_was_gone() {
    let (mut book, mut rng) = (book(), rng());
    assert_eq!(book.connection(NOW, up(A), &mut rng), Dialled::Up(peer(A)));
    assert_eq!(book.connection(at(1), up(A), &mut rng), Dialled::Nothing);
    assert_eq!(state(&book, at(1), A), Some(PeerState::Connected));
    assert_eq!(book.connection(at(20), down(A), &mut rng), Dialled::Down(peer(A)));
    assert_eq!(book.connection(at(21), down(A), &mut rng), Dialled::Nothing);
    assert_eq!(book.connection(at(22), up(A), &mut rng), Dialled::Up(peer(A)));
    assert_eq!(book.linked(), [peer(A)]);
}

#[test]
fn an_address_of_a_connection_that_the_peer_opened_is_shown_and_never_dialled() {
    let (mut book, mut rng) = (book(), rng());
    book.connection(NOW, up(A), &mut rng);
    let member = book.members(at(1), &ListMembers::default()).remove(0);
    assert_eq!(member.addresses[0].address, "/ip4/203.0.113.9/tcp/50000");
    assert_eq!((member.addresses[0].source, member.relayed), (Source::Connection, Some(false)));
    assert_eq!(best(&book, A), Vec::<String>::new());
}

#[test]
fn the_best_address_comes_first_and_failures_count() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X, Y]);
    book.not_reached(at(1), &peer(A), &failed(A, &[(X, nobody_there())]), &mut rng);
    assert_eq!(best(&book, A), [Y, X]);
    book.reached(at(2), &peer(A), Some(X), Source::Dht);
    assert_eq!(best(&book, A), [X, Y]);
    let member = book.members(at(5), &ListMembers::default()).remove(0);
    assert_eq!(member.addresses[0].confirmed_ms_ago, Some(3000));
    assert_eq!((member.addresses[0].successes, member.addresses[0].failures), (1, 0));
    book.not_reached(at(6), &peer(A), &failed(A, &[(X, nobody_there())]), &mut rng);
    assert_eq!(best(&book, A), [Y, X], "what worked once and fails now comes after what was never tried");
}

#[test]
fn another_peer_at_an_address_takes_it_over_and_it_is_not_believed_again_at_once() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X, Y]);
    let with_id = format!("{X}/p2p/{A}");
    book.not_reached(
        at(1),
        &peer(A),
        &failed(A, &[(&with_id, AddressFailure::WrongPeer(peer(B)))]),
        &mut rng,
    );
    assert_eq!(best(&book, A), [Y]);
    assert_eq!(best(&book, B), [X], "who answered there is there");
    named(&mut book, at(2), A, &[X]);
    assert_eq!(best(&book, A), [Y], "the source still says what was refuted a second ago");
    named(&mut book, at(700), A, &[X]);
    assert_eq!(best(&book, A).len(), 2);
}

#[test]
fn an_address_at_which_this_node_answers_itself_is_nobodys() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X]);
    book.not_reached(at(1), &peer(A), &failed(A, &[(X, AddressFailure::Ourselves)]), &mut rng);
    assert_eq!(best(&book, A), Vec::<String>::new());
    named(&mut book, NOW, B, &[X]);
    book.not_reached(at(1), &peer(B), &failed(B, &[(X, AddressFailure::WrongPeer(peer(ME)))]), &mut rng);
    assert!(book.get(&peer(ME)).is_none());
}

#[test]
fn a_peer_is_tried_again_after_growing_pauses_and_a_refused_one_after_a_long_one() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X]);
    let mut pauses = Vec::new();
    for n in 0..14 {
        let now = at(n * 1000);
        book.not_reached(now, &peer(A), &failed(A, &[]), &mut rng);
        pauses.push(book.get(&peer(A)).unwrap().dialling.not_before.since(now).as_secs_f64());
    }
    assert!(pauses[0] <= 2.0 && pauses[0] >= 1.0, "{pauses:?}");
    assert!(pauses[13] <= 600.0 && pauses[13] >= 300.0, "{pauses:?}");
    let error = CallError::NotAdmitted { peer: peer(A), reason: "another secret".into() };
    book.not_reached(NOW, &peer(A), &ConnectError { error, failed: Vec::new() }, &mut rng);
    let entry = book.get(&peer(A)).unwrap();
    assert_eq!(entry.dialling.not_before, at(600));
    assert_eq!(entry.trust(), PeerTrust::Refused);
}

#[test]
fn a_connection_that_ends_at_once_counts_as_a_failure() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X]);
    book.connection(NOW, up(A), &mut rng);
    book.connection(at(2), down(A), &mut rng);
    assert!(book.get(&peer(A)).unwrap().dialling.not_before > at(2));
    book.connection(at(10), up(A), &mut rng);
    book.connection(at(100), down(A), &mut rng);
    assert_eq!(book.get(&peer(A)).unwrap().dialling.failures, 0);
}

#[test]
fn a_peer_that_knocks_and_is_refused_gets_no_entry_for_it() {
    let (mut book, mut rng) = (book(), rng());
    let refused = PeerConnection::Refused { peer: peer(A), reason: "no secret".into() };
    book.connection(NOW, refused.clone(), &mut rng);
    assert_eq!(book.len(), 0);
    named(&mut book, NOW, A, &[X]);
    book.connection(at(1), refused, &mut rng);
    assert_eq!(book.get(&peer(A)).unwrap().trust(), PeerTrust::Refused);
}

#[test]
fn a_peer_that_says_goodbye_loses_its_addresses_and_offers_and_comes_back_with_a_newer_record() {
    let (mut book, mut rng) = (book(), rng());
    book.recorded(NOW, &believed(&record(A, 1, offers(&[X])), NOW));
    assert!(book.get(&peer(A)).unwrap().may_be_dialled());
    book.recorded(at(1), &believed(&goodbye(A, 2), at(1)));
    let entry = book.get(&peer(A)).unwrap();
    assert!(entry.addresses.is_empty() && entry.offers.is_none() && !entry.may_be_dialled());
    assert_eq!(state(&book, at(1), A), Some(PeerState::Left));
    assert!(book.list(&ListPeers::default()).is_empty());
    // Registries may name it for a while still.
    named(&mut book, at(2), A, &[X]);
    assert_eq!(state(&book, at(2), A), Some(PeerState::Left));
    book.recorded(at(3), &believed(&record(A, 3, offers(&[Y])), at(3)));
    assert_eq!(state(&book, at(3), A), Some(PeerState::Known));
    assert_eq!(best(&book, A), [Y]);
    book.recorded(at(4), &believed(&goodbye(A, 4), at(4)));
    book.connection(at(5), up(A), &mut rng);
    assert_eq!(state(&book, at(5), A), Some(PeerState::Connected));
}

#[test]
fn a_peer_that_left_is_believed_to_be_back_by_whoever_hears_itself_and_by_people() {
    let mut book = book();
    let here = |source| (source, [FoundPeer { peer: Some(peer(A)), addresses: vec![X.into()] }]);
    for (source, after_s, back) in [
        (Source::Mdns, 419, false),
        (Source::Mdns, 421, true),
        (Source::Manual, 1, true),
        (Source::FileRegistry, 500, false),
    ] {
        book.recorded(NOW, &believed(&record(A, 1, offers(&[X])), NOW));
        book.recorded(NOW, &believed(&goodbye(A, 2), NOW));
        let (source, found) = here(source);
        book.found(at(after_s), source, &found);
        let is_back = state(&book, at(after_s), A) != Some(PeerState::Left);
        assert_eq!(is_back, back, "{source} after {after_s} s");
    }
}

#[test]
fn a_node_that_moves_takes_its_old_addresses_out_of_the_book() {
    let mut book = book();
    named(&mut book, NOW, A, &["/ip4/198.51.100.7/tcp/7"]);
    book.recorded(at(1), &believed(&record(A, 1, offers(&[X])), at(1)));
    book.recorded(at(2), &believed(&record(A, 2, offers(&[Y])), at(2)));
    assert_eq!(best(&book, A), [Y, "/ip4/198.51.100.7/tcp/7"]);
}

#[test]
fn nothing_is_believed_of_a_peer_that_is_shut_out_until_it_is_let_in() {
    let (mut book, mut rng) = (book(), rng());
    book.connection(NOW, up(A), &mut rng);
    let out = PeerConnection::ShutOut { peer: peer(A), revoked: true };
    assert_eq!(book.connection(at(1), out, &mut rng), Dialled::Out(peer(A)));
    assert_eq!(state(&book, at(1), A), Some(PeerState::Banned));
    assert_eq!(book.get(&peer(A)).unwrap().trust(), PeerTrust::Revoked);
    book.recorded(at(2), &believed(&record(A, 9, offers(&[X])), at(2)));
    book.advertised(at(2), &peer(A), offers(&[X]));
    assert!(book.get(&peer(A)).unwrap().offers.is_none());
    book.connection(at(3), down(A), &mut rng);
    assert!(book.forget(&peer(A)), "its addresses can be forgotten");
    assert_eq!(state(&book, at(4), A), Some(PeerState::Banned), "that it is shut out cannot");
    book.connection(at(5), PeerConnection::LetIn { peer: peer(A) }, &mut rng);
    assert_ne!(state(&book, at(5), A), Some(PeerState::Banned));
    book.connection(at(6), PeerConnection::ShutOut { peer: peer(B), revoked: false }, &mut rng);
    assert_eq!(book.get(&peer(B)).unwrap().trust(), PeerTrust::Unproven, "banned for a time is not revoked");
}

#[test]
fn peers_are_listed_by_tool_label_state_and_source_and_connected_ones_come_first() {
    let (mut book, mut rng) = (book(), rng());
    book.recorded(NOW, &believed(&record(A, 1, offers(&[X])), NOW));
    book.connection(at(1), up(B), &mut rng);
    book.advertised(at(1), &peer(B), offers(&[]));
    named(&mut book, at(2), C, &[Y]);
    let members = |query: ListMembers| {
        book.members(at(3), &query).into_iter().map(|member| member.peer).collect::<Vec<PeerId>>()
    };
    for wanted in ["ocr", "gpu"] {
        let capability = Some(wanted.to_owned());
        assert_eq!(members(ListMembers { capability, ..Default::default() }), [peer(B), peer(A)]);
    }
    assert_eq!(members(ListMembers::default()), [peer(B), peer(C), peer(A)]);
    assert_eq!(members(ListMembers { state: Some(PeerState::Connected), ..Default::default() }), [peer(B)]);
    assert_eq!(members(ListMembers { source: Some(Source::Dht), ..Default::default() }), [peer(C)]);
    assert_eq!(members(ListMembers { max_peers: 1, ..Default::default() }), [peer(B)]);
    let old = book.list(&ListPeers { capability: Some("ocr".into()), max_peers: 0 });
    assert_eq!(old.iter().map(|view| view.peer.as_str()).collect::<Vec<_>>(), [B, A]);
    assert!(old[0].connected && old[0].role == Some(Role::Member));
}

#[test]
fn a_few_of_a_large_book_are_those_that_come_first_in_all_of_it() {
    let (mut book, mut rng) = (book(), rng());
    for index in 0..500 {
        let found = FoundPeer { peer: Some(nobody(index)), addresses: vec![X.to_owned()] };
        // Several at a time, as from one visit, and not in the order of their ids.
        book.found(at(u64::try_from(index * 7 % 100).unwrap()), Source::Dht, &[found]);
    }
    for index in [3, 141, 310] {
        let link = PeerConnection::Up { peer: nobody(index), role: Role::Member, address: X.to_owned() };
        book.connection(at(100), link, &mut rng);
    }
    let members = |max_peers| {
        let listed = book.members(at(101), &ListMembers { max_peers, ..Default::default() });
        listed.into_iter().map(|member| member.peer).collect::<Vec<PeerId>>()
    };
    let all = members(0);
    assert_eq!(all.len(), 500);
    let connected: BTreeSet<PeerId> = all[..3].iter().cloned().collect();
    assert_eq!(connected, [nobody(3), nobody(141), nobody(310)].into());
    for few in [1, 2, 3, 4, 50, 499, 500] {
        assert_eq!(members(few), all[..usize::try_from(few).unwrap()]);
    }
    let old = book.list(&ListPeers { capability: None, max_peers: 4 });
    assert_eq!(old.iter().map(|view| view.connected).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(old[3].peer, nobody(0), "the others by their ids");
}

#[test]
fn a_peer_that_advertises_without_end_is_believed_only_so_far() {
    let (mut book, mut rng) = (book(), rng());
    book.connection(NOW, up(A), &mut rng);
    let tools = (0..100_000).map(|n| format!("tool{n}")).collect();
    let addresses = (1..60_000).map(|n| format!("/ip4/198.51.100.1/tcp/{n}")).collect();
    let huge = Advertisement { tools, addresses, agent: "x".repeat(1_000_000), ..Default::default() };
    book.advertised(NOW, &peer(A), huge);
    let kept = book.list(&ListPeers::default()).remove(0);
    let advertisement = kept.advertisement.unwrap();
    assert_eq!((advertisement.tools.len(), advertisement.agent.len()), (2000, 128));
    assert!(kept.addresses.len() <= 17);
}

#[test]
fn a_measured_peer_of_which_nobody_said_that_it_is_connected_was_connected_before() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, A, &[X]);
    let rtt = PeerConnection::Rtt { peer: peer(A), rtt_us: 700 };
    assert_eq!(book.connection(at(1), rtt.clone(), &mut rng), Dialled::Up(peer(A)));
    assert_eq!(book.connection(at(2), rtt, &mut rng), Dialled::Nothing);
    assert_eq!(book.members(at(2), &ListMembers::default())[0].rtt_us, Some(700));
}
