//! A node whose records are full: what becomes of those who have to go, and of those who are connected.

use super::bench::{A, B, C, ME, NOW, at, checked, down, nobody, notary, offers, peer, record, signed, up};
use crate::discovery::DiscoveryOptions;
use crate::discovery::logic::{Asked, Effect, Membership};
use meshwork_proto::discovery::{FoundPeer, NodeRecord, Source};

/// The book holds sixteen peers, and there is one record more: that of the node itself, which is made first.
fn membership() -> Membership {
    let options = DiscoveryOptions { max_peers: 16, ..DiscoveryOptions::default() };
    let mut core = Membership::new(peer(ME), &options, notary(), 1);
    core.describe(NOW, &offers(&["/ip4/198.51.100.9/tcp/1"]), &mut Vec::new());
    core
}

fn tell(core: &mut Membership, by: &str, n: usize) {
    let own = NodeRecord { peer: nobody(n), ..record(A, 1, offers(&["/ip4/198.51.100.1/tcp/1"])) };
    let asked = Asked { checked: checked(&[signed(&own, 0)]), ..Asked::default() };
    core.asked(NOW, &peer(by), asked, &mut Vec::new());
}

fn known(core: &Membership, numbers: impl IntoIterator<Item = usize>) -> Vec<usize> {
    numbers.into_iter().filter(|n| core.book.get(&nobody(*n)).is_some()).collect()
}

#[test]
fn who_has_to_go_from_the_records_goes_from_the_book_and_makes_room_there_for_who_comes() {
    let mut core = membership();
    for n in 0..100 {
        tell(&mut core, C, n);
    }
    // A part of the room is not for a peer that alone has told so much.
    assert_eq!((core.gossip().sizes().0, core.book.len()), (15, 14));
    for n in 100..110 {
        tell(&mut core, B, n);
    }
    assert_eq!((core.gossip().sizes().0, core.book.len()), (17, 16));
    let (of_c, of_b) = (known(&core, 0..100), known(&core, 100..110));
    // What was passed on already goes last.
    assert_eq!((of_c, of_b), ((0..7).chain([13]).collect(), (100..108).collect()));
    assert_eq!(core.book.evicted(), 6);
    for n in 0..200 {
        let held = core.gossip().record(&nobody(n)).is_some();
        assert_eq!(held, core.book.get(&nobody(n)).is_some_and(|entry| entry.offers.is_some()), "{n}");
    }
}

#[test]
fn who_is_known_by_more_than_its_record_stays_in_the_book_without_it() {
    let mut core = membership();
    let named = FoundPeer { peer: Some(nobody(1)), addresses: vec!["/ip4/1.2.3.4/tcp/1".into()] };
    core.found(NOW, Source::Dht, &[named]);
    core.connection(NOW, up(nobody(2).as_str()), &mut Vec::new());
    core.connection(at(1), down(nobody(2).as_str()), &mut Vec::new());
    for n in 1..4 {
        tell(&mut core, C, n);
        assert!(core.book.get(&nobody(n)).unwrap().offers.is_some());
        core.book.crowded_out(&nobody(n));
    }
    assert_eq!(known(&core, 1..4), [1, 2], "what is known by its record alone goes with it");
    for n in 1..3 {
        assert!(core.book.get(&nobody(n)).unwrap().offers.is_none(), "what it offered is not known any more");
    }
}

#[test]
fn a_node_that_connects_is_entered_with_its_record_however_full_all_is_of_what_others_told() {
    let mut core = membership();
    for n in 0..100 {
        tell(&mut core, [B, C][n % 2], n);
    }
    let mut out: Vec<Effect> = Vec::new();
    for n in 200..216 {
        core.connection(at(1), up(nobody(n).as_str()), &mut out);
        tell(&mut core, nobody(n).as_str(), n);
        assert!(core.gossip().record(&nobody(n)).is_some() && core.gossip().sizes().0 <= 17);
        assert!(core.book.len() <= 16);
    }
    assert_eq!(known(&core, 0..300), (200..216).collect::<Vec<_>>());
    // When one of them goes, its place is free for the next that connects.
    core.connection(at(20), down(nobody(203).as_str()), &mut out);
    core.connection(at(21), up(nobody(300).as_str()), &mut out);
    tell(&mut core, nobody(300).as_str(), 300);
    assert!(core.gossip().record(&nobody(300)).is_some() && core.gossip().record(&nobody(203)).is_none());
}
