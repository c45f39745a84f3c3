//! What sources name: honest, broken and hostile.

use super::{book, book_with};
use crate::discovery::book::found::MAX_FOUND;
use crate::discovery::gossip::MAX_ADDRESSES;
use crate::discovery::tests::bench::{A, B, ME, NOW, at, believed, nobody, offers, peer, record};
use meshwork_proto::discovery::{FoundPeer, ListMembers, PeerTrust, Source};
use proptest::prelude::*;

fn found(peer_text: Option<&str>, addresses: &[&str]) -> FoundPeer {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    FoundPeer { peer: peer_text.map(peer), addresses }
}

fn addresses(book: &crate::discovery::book::Book, of: &str) -> Vec<String> {
    let entry = book.get(&peer(of));
    entry.map_or_else(Vec::new, |entry| {
        entry.best_first().iter().map(|known| known.text.to_string()).collect()
    })
}

#[test]
fn what_several_sources_name_is_one_peer_with_all_its_addresses() {
    let mut book = book();
    let first = book.found(NOW, Source::Dht, &[found(Some(A), &["/ip4/198.51.100.1/tcp/1"])]);
    assert_eq!((first.named, first.new), (1, 1));
    let with_id = format!("/ip4/10.0.0.1/tcp/1/p2p/{A}");
    let second = book.found(at(1), Source::Mdns, &[found(None, &[&with_id])]);
    assert_eq!((second.named, second.new), (1, 0));
    let member = book.members(at(2), &ListMembers::default()).remove(0);
    assert_eq!(member.found_by, [Source::Dht, Source::Mdns].into());
    assert_eq!(member.trust, PeerTrust::Unproven);
    assert_eq!(member.last_seen_ms_ago, None, "hearsay is no sign of life");
    // Multicast DNS knows more of an address than a table does.
    assert_eq!(addresses(&book, A), ["/ip4/10.0.0.1/tcp/1", "/ip4/198.51.100.1/tcp/1"]);
}

#[test]
fn an_address_that_leads_to_somebody_else_than_the_entry_says_is_dropped() {
    let mut book = book();
    let wrong = format!("/ip4/198.51.100.1/tcp/1/p2p/{B}");
    let result = book.found(NOW, Source::Github, &[found(Some(A), &[&wrong])]);
    assert_eq!((result.new, book.len()), (0, 0), "an entry without any usable address is none");
    book.found(NOW, Source::Github, &[found(Some(A), &[&wrong, "/ip4/198.51.100.2/tcp/1"])]);
    assert_eq!(addresses(&book, A), ["/ip4/198.51.100.2/tcp/1"]);
    assert!(book.get(&peer(B)).is_none(), "what contradicts itself says nothing of either");
}

#[test]
fn private_addresses_come_from_private_sources_only_unless_they_are_allowed() {
    let private = ["/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1"];
    for source in [Source::PublicList, Source::PublicDht, Source::Github] {
        let mut book = book();
        assert_eq!(book.found(NOW, source, &[found(Some(A), &private)]).new, 0, "{source}");
    }
    let mut trusting = book_with(|rules| rules.allow_private = true);
    assert_eq!(trusting.found(NOW, Source::Github, &[found(Some(A), &private)]).new, 1);
    assert_eq!(addresses(&trusting, A).len(), 3);
    let mut local = book();
    local.found(NOW, Source::Mdns, &[found(Some(A), &private)]);
    assert_eq!(addresses(&local, A).len(), 3);
}

#[test]
fn ten_thousand_entries_in_one_visit_are_cut_and_displace_nobody_who_has_proven_itself() {
    let mut book = book_with(|rules| rules.max_peers = 1200);
    for n in 0..600 {
        let mut own = record(A, 1, offers(&["/ip4/198.51.100.1/tcp/1"]));
        own.peer = nobody(100_000 + n);
        book.recorded(NOW, &believed(&own, NOW));
    }
    let flood: Vec<FoundPeer> = (0..10_000)
        .map(|n| FoundPeer {
            peer: Some(nobody(n)),
            addresses: vec![format!("/ip4/198.51.100.1/tcp/{}", 1 + n)],
        })
        .collect();
    let result = book.found(at(1), Source::Github, &flood);
    assert_eq!(usize::try_from(result.named).unwrap(), MAX_FOUND);
    assert!(book.len() <= 1200, "{}", book.len());
    book.found(at(2), Source::Github, &flood[5000..]);
    assert!(book.len() <= 1200);
    assert!(
        (0..600).all(|n| book.get(&nobody(100_000 + n)).is_some()),
        "a proven peer was displaced by hearsay"
    );
}

#[test]
fn this_node_is_never_in_its_own_book() {
    let mut book = book();
    let own = format!("/ip4/198.51.100.1/tcp/1/p2p/{ME}");
    assert_eq!(book.found(NOW, Source::Github, &[found(Some(ME), &[&own]), found(None, &[&own])]).new, 0);
    assert_eq!(book.len(), 0);
}

#[test]
fn a_peer_with_a_hundred_addresses_keeps_a_few_and_those_that_work() {
    let mut book = book();
    book.found(NOW, Source::Dht, &[found(Some(A), &["/ip4/198.51.100.1/tcp/1"])]);
    book.reached(NOW, &peer(A), Some("/ip4/198.51.100.1/tcp/1"), Source::Dht);
    for n in 1..=100 {
        book.found(at(n), Source::Gossip, &[found(Some(A), &[&format!("/ip4/198.51.100.2/tcp/{n}")])]);
    }
    let kept = addresses(&book, A);
    assert_eq!(kept.len(), MAX_ADDRESSES);
    assert_eq!(kept[0], "/ip4/198.51.100.1/tcp/1");
}

#[test]
fn addresses_of_nobody_are_kept_apart_and_few() {
    let mut book = book();
    let texts: Vec<String> = (1..=1000).map(|port| format!("/ip4/198.51.100.1/tcp/{port}")).collect();
    let entries: Vec<FoundPeer> =
        texts.iter().map(|text| FoundPeer { peer: None, addresses: vec![text.clone()] }).collect();
    let result = book.found(NOW, Source::Dns, &entries);
    assert_eq!(book.len(), 0);
    assert_eq!(result.nameless.len(), 16);
}

#[test]
fn a_bare_id_is_worth_an_entry_only_from_a_person() {
    let mut book = book();
    assert_eq!(book.found(NOW, Source::Rendezvous, &[found(Some(A), &[])]).new, 0);
    assert_eq!(book.found(NOW, Source::Manual, &[found(Some(A), &[])]).new, 1);
}

proptest! {
    #[test]
    fn hostile_entries_never_panic_and_never_exceed_the_bounds(
        texts in proptest::collection::vec("(/(ip4|ip6|dns|p2p|tcp|udp)/[a-z0-9.:]{0,12}){0,4}", 0..80),
        ids in proptest::collection::vec(0_usize..40, 0..80),
    ) {
        let mut book = book_with(|rules| rules.max_peers = 20);
        let entries: Vec<FoundPeer> = ids
            .iter()
            .map(|id| FoundPeer { peer: (id % 5 != 0).then(|| nobody(*id)), addresses: texts.clone() })
            .collect();
        for source in Source::ALL {
            book.found(NOW, *source, &entries);
        }
        prop_assert!(book.len() <= 20);
        for (_, entry) in book.iter() {
            prop_assert!(entry.addresses.len() <= MAX_ADDRESSES);
        }
    }
}
