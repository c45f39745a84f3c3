//! What is kept on disk reads back, and what is wrong there harms nobody.

use super::bench::{A, B, C, Everybody, ME, NOW, at, genuine, notary, offers, peer, record};
use crate::discovery::DiscoveryOptions;
use crate::discovery::book::Entry;
use crate::discovery::logic::Membership;
use crate::discovery::records::{self, OwnRecord, PeerRecord, SignedByPeer};
use bytes::Bytes;
use meshwork_proto::codec;
use meshwork_proto::discovery::{FoundPeer, PeerState, Source};
use meshwork_proto::store::WriteOp;
use meshwork_proto::{Role, UnixMillis};

fn pair(op: WriteOp) -> (Bytes, Bytes) {
    match op {
        WriteOp::Put { key, value, .. } => (key, value),
        other => panic!("{other:?}"),
    }
}

fn example() -> (Bytes, Bytes) {
    let mut core = Membership::new(peer(ME), &DiscoveryOptions::default(), notary(), 1);
    let found = FoundPeer { peer: Some(peer(A)), addresses: vec!["/ip4/198.51.100.1/tcp/1".into()] };
    core.found(NOW, Source::Dht, &[found]);
    core.book.reached(at(1), &peer(A), Some("/ip4/198.51.100.1/tcp/1"), Source::Dht);
    let mut entry = core.book.get(&peer(A)).unwrap().clone();
    entry.role = Some(Role::Member);
    let signed = genuine(&record(A, 7, offers(&["/ip4/198.51.100.1/tcp/1"])));
    pair(records::put(&peer(A), &entry, Some((&signed, at(2)))).unwrap())
}

#[test]
fn a_peer_reads_back_as_it_was_written() {
    let page = records::read(&[example(), pair(records::put_own(99).unwrap())], &Everybody(peer(ME)));
    assert_eq!((page.own, page.damaged.len(), page.newer.len()), (Some(99), 0, 0));
    let read = &page.peers[0];
    assert_eq!(read.peer, peer(A));
    let known = &read.entry.addresses[0];
    assert_eq!((known.confirmed, known.successes, known.source), (Some(at(1)), 1, Source::Dht));
    assert_eq!(read.entry.confirmed, [(Source::Dht, NOW), (Source::Connection, at(1))]);
    let (record, new_at) = read.record.as_ref().unwrap();
    assert_eq!((record.sequence, *new_at), (7, at(2)));
}

#[test]
fn the_format_does_not_drift() {
    let stored = PeerRecord {
        addresses: Vec::new(),
        confirmed: vec![(Source::Gossip, UnixMillis(1)), (Source::Manual, UnixMillis(2))],
        role: Some(Role::Admin),
        refused: false,
        revoked: true,
        left: None,
        signed: Some(SignedByPeer {
            record: Bytes::from_static(b"r"),
            signature: Bytes::from_static(b"s"),
            new_at: UnixMillis(3),
        }),
    };
    let expected = [1, 0, 2, 10, 1, 14, 2, 1, 1, 0, 1, 0, 1, 1, b'r', 1, b's', 3];
    assert_eq!(codec::encode(&stored).unwrap(), expected);
    assert_eq!(codec::encode(&OwnRecord { sequence: 7 }).unwrap(), [1, 7]);
}

#[test]
fn what_is_damaged_is_skipped_and_what_is_newer_is_left_alone() {
    let (key, value) = example();
    let damaged = (key.clone(), value.slice(..value.len() - 3));
    let mut newer = value.to_vec();
    newer[0] = 9;
    let mut other = b"p".to_vec();
    other.extend(B.as_bytes());
    let strange = (Bytes::from_static(b"x"), Bytes::new());
    let page =
        records::read(&[damaged, (other.into(), newer.into()), strange, (key, value)], &Everybody(peer(ME)));
    assert_eq!((page.peers.len(), page.damaged.len()), (1, 2));
    assert_eq!(page.newer, [peer(B)]);
    assert!(page.damaged[0].contains(A), "{:?}", page.damaged);
}

#[test]
fn a_stored_record_whose_signature_is_wrong_is_left_out_but_the_peer_is_not() {
    let (key, _) = example();
    let signed = genuine(&record(C, 7, offers(&[])));
    let (_, wrong) = pair(records::put(&peer(A), &Entry::default(), Some((&signed, NOW))).unwrap());
    let page = records::read(&[(key, wrong)], &Everybody(peer(ME)));
    assert!(page.peers[0].record.is_none());
}

#[test]
fn after_a_restart_a_peer_is_there_with_what_it_offers_and_has_half_of_its_time_again() {
    let stored = example();
    for gap in [0_i64, 10 * 365 * 24 * 3600 * 1000, -24 * 3600 * 1000] {
        let now = UnixMillis(NOW.0.checked_add_signed(gap).unwrap());
        let mut core = Membership::new(peer(ME), &DiscoveryOptions::default(), notary(), 1);
        for read in records::read(std::slice::from_ref(&stored), &Everybody(peer(ME))).peers {
            core.restore(now, &read.peer, read.entry, read.record);
        }
        let entry = core.book.get(&peer(A)).unwrap();
        assert!(entry.offers.is_some() && entry.may_be_dialled(), "{gap}");
        assert_eq!(core.book.take_dirty(), [], "what was just read need not be written");
        let pass = meshwork_proto::discovery::CleanUp { silent_ms: None, ttl_ms: [].into(), dry_run: false };
        let soon = UnixMillis(now.0 + 899_000);
        assert!(core.clean_up(soon, &pass).forgotten.is_empty(), "{gap}");
        assert_ne!(core.book.state_of(soon, &peer(A)), Some(PeerState::Left));
        let late = UnixMillis(now.0 + 1_900_000);
        assert_eq!(core.clean_up(late, &pass).forgotten, [peer(A)], "{gap}");
    }
}
