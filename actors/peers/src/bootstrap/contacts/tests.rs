//! The table of contacts without actors, time or network.

use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
/// Somebody who is no first contact.
const C: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
const S: fn(u64) -> Duration = Duration::from_secs;

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn table() -> Contacts {
    let steady = |min, max| Backoff { jitter: 0.0, ..Backoff::doubling(min, max) };
    let pauses = Pauses { kept: steady(S(1), S(8)), found: steady(S(1), S(100)) };
    let mut table = Contacts::new(pauses, 4, Some(peer(B)));
    connect(&mut table, 0, &[C]);
    table
}

/// These are connected from now on.
fn connect(table: &mut Contacts, now: u64, connected: &[&str]) {
    table.set_connected(at(now), peers(connected), &mut rng());
}

fn peers(connected: &[&str]) -> Arc<BTreeSet<PeerId>> {
    Arc::new(connected.iter().map(|text| peer(text)).collect())
}

/// How the one contact there is shown.
fn shown(table: &Contacts) -> (ContactState, Option<PeerId>) {
    let mut views = table.views(at(0), None);
    assert_eq!(views.len(), 1);
    (views[0].state, views[0].peer.take())
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn place() -> Place {
    Place::Dns("mesh.example".into())
}

fn somebody(address: &str) -> FoundPeer {
    FoundPeer { peer: None, addresses: vec![address.into()] }
}

fn at(now: u64) -> UnixMillis {
    UnixMillis(now * 1_000)
}

fn failed(problem: &str) -> Outcome {
    Outcome::Failed { problem: problem.into(), for_long: false, ourselves: vec![] }
}

fn reached(id: &str) -> Outcome {
    Outcome::Reached { peer: peer(id), address: None }
}

fn keep(address: &str) -> FirstContact {
    FirstContact { target: address.parse().unwrap(), source: Source::Configured }
}

#[test]
fn a_contact_that_does_not_answer_is_tried_again_after_longer_and_longer_pauses() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    let mut now = 0;
    for (attempts, pause) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8)] {
        assert_eq!(table.due(at(now)).len(), 1);
        table.tried(at(now), &key, failed("nobody"), &mut rng);
        let view = table.views(at(now), None).remove(0);
        assert_eq!((view.state, view.attempts), (ContactState::Waiting, attempts));
        assert_eq!(view.next_try_in_ms, Some(pause * 1_000));
        now += pause;
        assert!(table.due(at(now - 1)).is_empty());
    }
}

#[test]
fn a_contact_that_was_reached_rests_until_the_node_is_alone() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.due(at(0));
    let found = table.tried(at(0), &key, reached(A), &mut rng).unwrap();
    assert_eq!(found.0, Source::Configured);
    assert_eq!(found.1, FoundPeer { peer: Some(peer(A)), addresses: vec!["/ip4/198.51.100.7/tcp/1".into()] });
    assert_eq!((table.next(), table.tally().connected), (None, 1));
    table.begin_again(at(100), &mut rng);
    let next = table.next().unwrap();
    assert!(next >= at(100) && next <= at(101), "{next}");
    assert_eq!(table.due(at(101)).len(), 1);
}

#[test]
fn a_contact_whose_connection_is_lost_is_shown_as_lost_while_others_are_connected() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    assert_eq!(shown(&table), (ContactState::Waiting, None));
    table.due(at(0));
    assert_eq!(shown(&table), (ContactState::Dialling, None));
    table.tried(at(0), &key, reached(A), &mut rng);
    assert_eq!(shown(&table), (ContactState::Connected, Some(peer(A))), "who is connected is told later");
    connect(&mut table, 1, &[A, C]);
    table.no_longer_fresh(at(1), &key, &mut rng);
    assert_eq!(shown(&table), (ContactState::Connected, Some(peer(A))));
    connect(&mut table, 2, &[C]);
    assert_eq!(shown(&table), (ContactState::Lost, Some(peer(A))));
    assert_eq!((table.tally().lost, table.next()), (1, Some(at(102))), "others may lead to it much sooner");
    connect(&mut table, 50, &[C, B]);
    assert_eq!(table.next(), Some(at(102)), "who else is connected changes nothing");
    connect(&mut table, 60, &[A, C]);
    assert_eq!(shown(&table), (ContactState::Connected, Some(peer(A))), "it came back by itself");
    assert_eq!(table.next(), None);
    connect(&mut table, 70, &[]);
    table.begin_again(at(100), &mut rng);
    assert_eq!(shown(&table), (ContactState::Waiting, Some(peer(A))), "it was reached before");
}

#[test]
fn a_contact_that_was_lost_is_tried_again_rarely_for_as_long_as_it_stays_away() {
    let (mut table, mut rng) = (table(), rng());
    let address = "/ip4/10.0.0.1/tcp/1";
    table.merge(at(0), &place(), vec![somebody(address)]);
    table.due(at(0));
    table.tried(at(0), address, reached(A), &mut rng);
    connect(&mut table, 1, &[A, C]);
    table.no_longer_fresh(at(1), address, &mut rng);
    connect(&mut table, 10, &[C]);
    for attempts in 1..=3_u32 {
        let now = 10 + u64::from(attempts) * 100;
        assert!(table.due(at(now - 1)).is_empty());
        assert_eq!(table.due(at(now)).len(), 1, "try {attempts}");
        assert_eq!(shown(&table), (ContactState::Dialling, Some(peer(A))));
        table.tried(at(now), address, failed("nobody"), &mut rng);
        let view = table.views(at(now), None).remove(0);
        assert_eq!(
            (view.state, view.attempts, view.next_try_in_ms),
            (ContactState::Lost, attempts, Some(100_000))
        );
        assert_eq!(view.problem.as_deref(), Some("nobody"));
    }
    table.due(at(410));
    assert!(table.tried(at(410), address, reached(A), &mut rng).is_some(), "the book may have forgotten it");
    connect(&mut table, 411, &[A, C]);
    table.no_longer_fresh(at(411), address, &mut rng);
    assert_eq!((shown(&table), table.next()), ((ContactState::Connected, Some(peer(A))), None));
}

#[test]
fn a_lost_contact_that_comes_back_while_it_is_tried_rests_whatever_comes_of_the_try() {
    let (mut table, mut rng) = (table(), rng());
    let address = "/ip4/10.0.0.1/tcp/1";
    table.merge(at(0), &place(), vec![somebody(address)]);
    table.due(at(0));
    table.tried(at(0), address, reached(A), &mut rng);
    table.no_longer_fresh(at(1), address, &mut rng);
    assert_eq!(table.due(at(101)).len(), 1);
    connect(&mut table, 102, &[A, C]);
    table.tried(at(103), address, failed("it was in the middle of something else"), &mut rng);
    assert_eq!((shown(&table), table.next()), ((ContactState::Connected, Some(peer(A))), None));
}

#[test]
fn a_lost_contact_of_the_configuration_is_not_tried_more_often_than_others_the_transport_dials_it() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.due(at(0));
    table.tried(at(0), &key, reached(A), &mut rng);
    table.no_longer_fresh(at(1), &key, &mut rng);
    assert_eq!(table.due(at(101)).len(), 1);
    table.tried(at(101), &key, failed("nobody"), &mut rng);
    assert_eq!(table.next(), Some(at(201)));
}

#[test]
fn a_connection_that_was_never_seen_to_stand_is_not_shown_for_ever() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.due(at(0));
    table.tried(at(0), &key, reached(A), &mut rng);
    table.no_longer_fresh(at(1), &key, &mut rng);
    assert_eq!(shown(&table), (ContactState::Lost, Some(peer(A))));
    assert_eq!(table.next(), Some(at(101)), "and it is tried again");
}

#[test]
fn a_contact_that_is_still_to_be_tried_and_came_by_itself_is_shown_as_connected() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep(&format!("/ip4/198.51.100.7/tcp/1/p2p/{A}")));
    table.due(at(0));
    table.tried(at(0), &key, failed("nobody"), &mut rng);
    assert_eq!(shown(&table), (ContactState::Waiting, None), "whom an address names is only a claim");
    connect(&mut table, 0, &[A]);
    assert_eq!(shown(&table), (ContactState::Connected, Some(peer(A))));
    assert_eq!(table.next(), Some(at(1)), "the address is tried all the same");
}

#[test]
fn a_configured_address_at_which_this_node_itself_answers_is_left_out() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.due(at(0));
    assert_eq!(table.tried(at(0), &key, reached(B), &mut rng), None);
    assert!(table.views(at(0), None).is_empty() && table.is_settled(at(0), &key));
}

#[test]
fn what_two_sides_do_not_trust_is_not_asked_again_soon() {
    let (mut table, mut rng) = (table(), rng());
    let key = table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.due(at(0));
    let outcome = Outcome::Failed { problem: "no trust".into(), for_long: true, ourselves: vec![] };
    table.tried(at(0), &key, outcome, &mut rng);
    assert_eq!(table.next(), Some(at(8)));
}

#[test]
fn a_node_without_any_peer_tries_found_contacts_as_often_as_configured_ones() {
    let (mut table, mut rng) = (table(), rng());
    table.merge(at(0), &place(), vec![somebody("/ip4/10.0.0.1/tcp/1")]);
    for _ in 0..10 {
        let now = table.next().unwrap();
        let due = table.due(now).remove(0);
        table.tried(now, &due.key, failed("nobody"), &mut rng);
    }
    let now = table.next().unwrap();
    table.due(now);
    table.set_connected(now, peers(&[]), &mut rng);
    table.tried(now, "/ip4/10.0.0.1/tcp/1", failed("nobody"), &mut rng);
    assert_eq!(table.next(), Some(now.after(S(8))));
}

#[test]
fn only_so_many_tries_run_at_once_and_the_longest_due_go_first() {
    let (mut table, mut rng) = (table(), rng());
    let many = (1..=10).map(|port| somebody(&format!("/ip4/10.0.0.1/tcp/{port}"))).collect();
    table.merge(at(0), &place(), many);
    let first = table.due(at(0));
    assert_eq!(first.len(), 4);
    assert!(table.due(at(0)).is_empty());
    assert_eq!(table.next(), None, "nothing can start before one ends");
    table.tried(at(1), &first[0].key, failed("nobody"), &mut rng);
    assert_eq!(table.due(at(1)).len(), 1);
}

#[test]
fn a_place_that_does_not_name_a_contact_any_more_forgets_it_and_only_it() {
    let mut table = table();
    table.keep(at(0), keep("/ip4/198.51.100.7/tcp/1"));
    table.merge(at(0), &place(), vec![somebody("/ip4/10.0.0.1/tcp/1"), somebody("/ip4/10.0.0.2/tcp/1")]);
    table.merge(at(0), &Place::Environment, vec![somebody("/ip4/10.0.0.1/tcp/1")]);
    table.merge(at(1), &place(), vec![somebody("/ip4/10.0.0.3/tcp/1")]);
    let left: Vec<_> = table.views(at(1), None).into_iter().map(|view| view.address).collect();
    assert_eq!(left, ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.3/tcp/1", "/ip4/198.51.100.7/tcp/1"]);
}

#[test]
fn a_contact_that_is_dropped_while_it_is_tried_is_not_tried_beside_that_when_it_comes_back() {
    let (mut table, mut rng) = (table(), rng());
    let here = || vec![somebody("/ip4/10.0.0.1/tcp/1")];
    table.merge(at(0), &place(), here());
    assert_eq!(table.due(at(0)).len(), 1);
    table.merge(at(1), &place(), vec![]);
    table.merge(at(2), &place(), here());
    assert!(table.due(at(2)).is_empty());
    table.merge(at(3), &place(), vec![]);
    table.tried(at(4), "/ip4/10.0.0.1/tcp/1", failed("nobody"), &mut rng);
    assert!(table.views(at(4), None).is_empty(), "then it is forgotten");
}

#[test]
fn this_node_itself_is_no_contact_by_its_id_nor_where_it_answered() {
    let (mut table, mut rng) = (table(), rng());
    let own = FoundPeer { peer: Some(peer(B)), addresses: vec!["/ip4/10.0.0.1/tcp/1".into()] };
    let (_, skipped) = table.merge(at(0), &place(), vec![own]);
    assert!(skipped[0].problem.contains("this node itself"), "{skipped:?}");
    let us = somebody("/ip4/10.0.0.9/tcp/1");
    table.merge(at(0), &place(), vec![us.clone(), somebody("/ip4/10.0.0.2/tcp/1")]);
    table.due(at(0));
    let outcome = Outcome::Failed {
        problem: "ourselves".into(),
        for_long: false,
        ourselves: vec![format!("/ip4/10.0.0.9/tcp/1/p2p/{B}")],
    };
    table.tried(at(0), "/ip4/10.0.0.9/tcp/1", outcome, &mut rng);
    assert_eq!(table.views(at(0), None).len(), 1);
    let (keys, skipped) = table.merge(at(9), &place(), vec![us, somebody("/ip4/10.0.0.2/tcp/1")]);
    assert_eq!((keys.len(), skipped.len()), (1, 1), "the next reading does not bring it back");
}

#[test]
fn a_peer_of_the_configuration_is_not_dialled_twice_because_a_name_leads_to_it() {
    let mut table = table();
    let key = table.keep(at(0), keep(&format!("/ip4/198.51.100.7/tcp/1/p2p/{A}")));
    let same = FoundPeer { peer: Some(peer(A)), addresses: vec!["/ip4/10.0.0.1/tcp/1".into()] };
    let (keys, skipped) = table.merge(at(0), &place(), vec![same]);
    assert_eq!((keys, skipped.len()), ([key].into(), 0));
    assert_eq!(table.due(at(0)).len(), 1);
}

#[test]
fn the_same_addresses_in_another_order_are_no_news_and_other_addresses_are() {
    let (mut table, mut rng) = (table(), rng());
    let found = |addresses: &[&str]| FoundPeer {
        peer: Some(peer(A)),
        addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
    };
    table.merge(at(0), &place(), vec![found(&["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/2"])]);
    table.due(at(0));
    table.tried(at(0), A, reached(A), &mut rng);
    table.merge(at(1), &place(), vec![found(&["/ip4/10.0.0.1/tcp/2", "/ip4/10.0.0.1/tcp/1"])]);
    assert!(table.due(at(1)).is_empty());
    table.merge(at(2), &place(), vec![found(&["/ip4/10.0.0.7/tcp/1"])]);
    assert_eq!(table.due(at(2)).len(), 1);
}

#[test]
fn the_table_is_bounded() {
    let mut table = table();
    let many: Vec<_> = (0..2_000).map(|n| somebody(&format!("/ip4/10.0.0.1/tcp/{}", n + 1))).collect();
    let (keys, skipped) = table.merge(at(0), &place(), many);
    assert_eq!((keys.len(), skipped.len()), (MAX_CONTACTS, 2_000 - MAX_CONTACTS));
    assert!(skipped[0].problem.contains("too many"));
}

proptest! {
    /// Whatever happens in whatever order: no try is lost, none runs twice, and no more run than may.
    #[test]
    fn every_contact_is_always_either_tried_or_waiting_for_its_time_or_connected(
        steps in proptest::collection::vec((0u8..8, 0u8..8, 0u64..20), 1..200)
    ) {
        let (mut table, mut rng) = (table(), rng());
        let mut running: BTreeSet<Key> = BTreeSet::new();
        let mut now = 0;
        for (what, which, pause) in steps {
            now += pause;
            let address = format!("/ip4/10.0.0.{which}/tcp/1");
            match what {
                0 => drop(table.keep(at(now), keep(&address))),
                1 => drop(table.merge(at(now), &place(), vec![somebody(&address)])),
                2 => table.begin_again(at(now), &mut rng),
                3 => table.hurry(at(now), &[address].into()),
                6 => table.no_longer_fresh(at(now), &address, &mut rng),
                7 => connect(&mut table, now, &[A, C][..usize::from(which % 3)]),
                _ => {
                    if let Some(key) = running.pop_first() {
                        let outcome = if what == 4 { reached(A) } else { failed("nobody") };
                        table.tried(at(now), &key, outcome, &mut rng);
                    }
                }
            }
            for due in table.due(at(now)) {
                prop_assert!(running.insert(due.key), "tried twice at once");
            }
            let tally = table.tally();
            prop_assert!(running.len() <= 4 && tally.dialling <= 4);
            for view in table.views(at(now), None) {
                let moving = matches!(view.state, ContactState::Connected | ContactState::Dialling);
                prop_assert!(moving || view.next_try_in_ms.is_some(), "{view:?} is given up");
            }
        }
    }
}
