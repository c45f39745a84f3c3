//! Gossip that is switched off: each node speaks for itself alone.

use super::super::Purpose;
use super::{gossip_of, rng};
use crate::discovery::tests::bench::{A, B, C, ME, NOW, at, checked, offers, peer, record, signed};
use std::time::Duration;

#[test]
fn what_a_peer_says_of_itself_is_believed_and_what_it_says_of_others_is_not() {
    let mut quiet = gossip_of(ME);
    quiet.rules.others = false;
    let said = [signed(&record(A, 1, offers(&[])), 0), signed(&record(B, 1, offers(&[])), 0)];
    let believed = quiet.believe(NOW, &peer(A), checked(&said));
    assert_eq!(believed.iter().map(|believed| believed.record.peer.clone()).collect::<Vec<_>>(), [peer(A)]);
    let mut asks = Vec::new();
    quiet.tick(NOW.after(Duration::from_secs(60)), &[peer(C)], &mut rng(), &mut asks);
    assert!(asks.is_empty(), "nothing of A is passed on, and nothing is compared: {asks:?}");
    let answer = quiet.answer(at(1), &peer(C), None, &[peer(A)], &[], 0);
    assert!(answer.records.is_empty(), "A speaks for itself");
}

#[test]
fn every_connected_peer_hears_what_is_new_of_the_node_itself() {
    let mut quiet = gossip_of(ME);
    quiet.rules.others = false;
    let linked: Vec<_> = (0..10).map(crate::discovery::tests::bench::nobody).collect();
    quiet.describe(NOW, &offers(&[])).unwrap();
    let mut asks = Vec::new();
    quiet.tick(NOW.after(Duration::from_secs(1)), &linked, &mut rng(), &mut asks);
    assert_eq!(asks.len(), linked.len());
    assert!(asks.iter().all(|ask| ask.purpose == Purpose::Push && ask.talk.records.len() == 1));
    // Who connects later is greeted with it.
    asks.clear();
    quiet.peer_up(&peer(A));
    quiet.tick(NOW.after(Duration::from_secs(2)), &linked, &mut rng(), &mut asks);
    assert_eq!(asks.len(), 1);
    assert_eq!(asks[0].talk.records[0].sealed.peer, peer(ME));
}
