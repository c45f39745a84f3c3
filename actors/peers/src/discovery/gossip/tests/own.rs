//! What a node says of itself, when, and with which number.

use super::super::own::{Occasion, Own};
use super::super::sealed::MAX_SEQUENCE;
use super::gossip_of;
use crate::discovery::tests::bench::{A, ME, NOW, at, checked, notary, offers, peer, record, signed};
use meshwork_proto::UnixMillis;
use std::time::Duration;

fn own(ttl_s: u64) -> Own {
    let ttl = (ttl_s > 0).then(|| Duration::from_secs(ttl_s));
    Own::new(peer(ME), notary(), ttl, Duration::from_secs(30))
}

#[test]
fn it_speaks_first_on_changes_at_once_on_load_now_and_then_and_to_renew() {
    let mut own = own(1800);
    let idle = offers(&["/a", "/b"]);
    assert_eq!(own.occasion(NOW, &idle), Some(Occasion::Changed));
    own.sign(NOW, idle.clone()).unwrap();
    assert_eq!(own.occasion(at(1), &idle), None);
    let shuffled = offers(&["/b", "/a"]);
    assert_eq!(own.occasion(at(1), &shuffled), None, "the order of addresses is nothing new");
    assert_eq!(own.occasion(at(1), &offers(&["/b"])), Some(Occasion::Changed));
    let mut busy = idle.clone();
    busy.free_slots = 0;
    assert_eq!(own.occasion(at(29), &busy), None, "not so soon");
    assert_eq!(own.occasion(at(30), &busy), Some(Occasion::Load));
    let mut less = idle.clone();
    (less.free_slots, less.running) = (1, 1);
    assert_eq!(own.occasion(at(400), &less), None, "somewhat busier is nothing to tell");
    assert_eq!(own.occasion(at(450), &idle), Some(Occasion::Renewal));
    assert_eq!(own.renewal_due(), Some(at(450)));
}

#[test]
fn short_lives_are_renewed_sooner_and_endless_ones_as_usual() {
    for (ttl_s, renewed_after_s) in [(40, 10), (1800, 450), (86_400, 450), (0, 450)] {
        let mut own = own(ttl_s);
        own.sign(NOW, offers(&[])).unwrap();
        assert_eq!(own.renewal_due(), Some(at(renewed_after_s)), "{ttl_s}");
    }
}

#[test]
fn its_number_is_the_time_but_always_grows_also_when_the_clock_went_back() {
    let mut own = own(1800);
    assert_eq!(own.sign(NOW, offers(&[])).unwrap().sequence, NOW.0);
    assert_eq!(own.sign(NOW, offers(&[])).unwrap().sequence, NOW.0 + 1);
    assert_eq!(own.sign(UnixMillis(5), offers(&[])).unwrap().sequence, NOW.0 + 2);
    own.jump_above(NOW.0 + 1000);
    assert_eq!(own.sign(at(0), offers(&[])).unwrap().sequence, NOW.0 + 1001);
    own.jump_above(u64::MAX);
    assert_eq!(own.sequence(), MAX_SEQUENCE);
}

#[test]
fn after_its_goodbye_it_says_nothing_more() {
    let mut own = own(1800);
    own.sign(NOW, offers(&["/a"])).unwrap();
    let last = own.sign_goodbye(at(1)).unwrap();
    assert!(last.left && last.offers.addresses.is_empty() && last.offers.tools.is_empty());
    assert_eq!((own.occasion(at(1000), &offers(&[])), own.renewal_due()), (None, None));
}

#[test]
fn a_record_of_an_earlier_life_with_a_higher_number_makes_it_jump_above_and_speak_again() {
    let mut gossip = gossip_of(ME);
    gossip.describe(NOW, &offers(&["/a"])).unwrap();
    let earlier = signed(&record(ME, NOW.0 + 7_200_000, offers(&["/old"])), 0);
    gossip.believe(at(1), &peer(A), checked(std::slice::from_ref(&earlier)));
    assert_eq!(gossip.own_sequence(), NOW.0 + 7_200_001);
    assert_eq!(gossip.record(&peer(ME)).unwrap().0.offers.addresses, ["/a"]);
    gossip.believe(at(2), &peer(A), checked(&[earlier]));
    assert_eq!(gossip.own_sequence(), NOW.0 + 7_200_001, "it need not jump twice");
}
