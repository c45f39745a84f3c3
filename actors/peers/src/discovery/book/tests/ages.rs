//! Who is stale, who is forgotten, and that nobody is by accident.

use super::{book, book_with, rng};
use crate::discovery::Lifetimes;
use crate::discovery::book::age::Limit;
use crate::discovery::book::{Book, Entry};
use crate::discovery::tests::bench::{A, B, C, NOW, at, believed, down, offers, peer, record, up};
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::{FoundPeer, PeerState, Source};
use std::time::Duration;

fn named(book: &mut Book, now: UnixMillis, source: Source, of: &str) {
    let addresses = vec!["/ip4/198.51.100.1/tcp/1".into()];
    book.found(now, source, &[FoundPeer { peer: Some(peer(of)), addresses }]);
}

fn by_lifetime(book: &Book) -> Limit {
    Limit::Lifetimes(book.lifetimes(&[].into()))
}

#[test]
fn a_peer_becomes_stale_after_a_third_of_its_time_and_is_forgotten_at_its_end() {
    let mut book = book();
    book.recorded(NOW, &believed(&record(A, 1, offers(&[])), NOW));
    assert_eq!(book.state_of(at(600), &peer(A)), Some(PeerState::Known));
    assert_eq!(book.state_of(at(601), &peer(A)), Some(PeerState::Stale));
    assert!(book.overdue(at(1799), &by_lifetime(&book)).is_empty());
    assert_eq!(book.overdue(at(1800), &by_lifetime(&book)), [peer(A)]);
}

#[test]
fn each_source_confirms_for_its_own_time_and_the_longest_counts() {
    let mut ttl = Lifetimes::default();
    ttl.by_source.insert(Source::Mdns, Duration::from_secs(60));
    ttl.by_source.insert(Source::Dht, Duration::from_secs(7200));
    let mut book = book_with(|rules| rules.ttl = ttl);
    named(&mut book, NOW, Source::Mdns, A);
    named(&mut book, NOW, Source::Mdns, B);
    named(&mut book, NOW, Source::Dht, B);
    assert_eq!(book.overdue(at(60), &by_lifetime(&book)), [peer(A)]);
    assert!(book.overdue(at(7199), &by_lifetime(&book)).len() == 1);
    assert_eq!(book.overdue(at(7200), &by_lifetime(&book)).len(), 2);
}

#[test]
fn connected_peers_and_those_shut_out_are_never_forgotten() {
    let (mut book, mut rng) = (book(), rng());
    book.connection(NOW, up(A), &mut rng);
    let out = meshwork_proto::discovery::PeerConnection::ShutOut { peer: peer(B), revoked: true };
    book.connection(NOW, out, &mut rng);
    let year = 365 * 24 * 3600;
    assert!(book.overdue(at(year), &by_lifetime(&book)).is_empty());
    assert!(book.overdue(at(year), &Limit::Silence(Duration::from_secs(1))).is_empty());
    book.connection(at(year), down(A), &mut rng);
    assert_eq!(book.overdue(at(year), &by_lifetime(&book)), [peer(A)], "silent for a year, then gone");
}

#[test]
fn an_age_of_zero_forgets_nobody() {
    let mut book = book_with(|rules| rules.ttl.default = Duration::ZERO);
    named(&mut book, NOW, Source::Dht, A);
    let year = 365 * 24 * 3600;
    assert!(book.overdue(at(year), &by_lifetime(&book)).is_empty());
    assert_eq!(book.state_of(at(year), &peer(A)), Some(PeerState::Known));
    assert!(book.overdue(at(year), &Limit::Silence(Duration::ZERO)).is_empty());
    // The pass of the reaper may say it too, for one source.
    let mut usual = super::book();
    named(&mut usual, NOW, Source::Dht, A);
    let limit = Limit::Lifetimes(usual.lifetimes(&[(Source::Dht, 0)].into()));
    assert!(usual.overdue(at(year), &limit).is_empty());
}

#[test]
fn by_hand_peers_can_be_forgotten_that_were_silent_for_a_given_time() {
    let mut book = book();
    named(&mut book, NOW, Source::Dht, A);
    named(&mut book, at(100), Source::Dht, B);
    let silent = |seconds| Limit::Silence(Duration::from_secs(seconds));
    assert_eq!(book.overdue(at(150), &silent(100)), [peer(A)]);
    assert_eq!(book.overdue(at(150), &silent(50)).len(), 2);
}

#[test]
fn a_clock_that_jumps_during_a_restart_forgets_nobody_and_makes_nobody_young_for_ever() {
    let stored = |at: UnixMillis| Entry {
        confirmed: vec![(Source::Gossip, at), (Source::Dht, at)],
        ..Entry::default()
    };
    let mut book = book();
    let ten_years = 10 * 365 * 24 * 3600 * 1000;
    book.restore(NOW, &peer(A), stored(UnixMillis(NOW.0 - ten_years)));
    book.restore(NOW, &peer(B), stored(UnixMillis(NOW.0 + ten_years)));
    book.restore(NOW, &peer(C), stored(UnixMillis(0)));
    let limit = by_lifetime(&book);
    assert!(book.overdue(at(899), &limit).is_empty(), "half of the time is granted again");
    assert_eq!(book.overdue(at(900), &limit), [peer(A), peer(C)]);
    assert_eq!(book.overdue(at(1800), &limit).len(), 3);
}

#[test]
fn what_nobody_can_reach_is_not_kept_alive_by_hearsay() {
    let (mut book, mut rng) = (book(), rng());
    named(&mut book, NOW, Source::Github, A);
    named(&mut book, NOW, Source::Github, B);
    let error = meshwork_proto::transport::CallError::UnknownPeer(A.into());
    let failure = meshwork_proto::transport::ConnectError { error, failed: Vec::new() };
    for n in 0..3 {
        book.not_reached(at(n), &peer(A), &failure, &mut rng);
    }
    for hour in 1..4 {
        named(&mut book, at(hour * 1000), Source::Github, A);
        named(&mut book, at(hour * 1000), Source::Github, B);
    }
    assert_eq!(book.overdue(at(3000), &by_lifetime(&book)), [peer(A)]);
}
