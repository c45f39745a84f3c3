//! Records are ordered by their numbers alone, grow old, and do not come back.

use super::super::sealed::MAX_SEQUENCE;
use super::super::store::{Accepted, HOP, Look, Store};
use super::TTL;
use crate::discovery::tests::bench::{
    A, B, C, ME, NOW, at, genuine, goodbye, nobody, offers, peer, record, told,
};
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::NodeRecord;
use meshwork_proto::discovery::gossip::Digest;
use proptest::prelude::*;
use std::time::Duration;

fn store() -> Store {
    Store::new(100, Some(TTL))
}

/// Its peer tells it itself.
fn accept(store: &mut Store, now: UnixMillis, record: &NodeRecord, age_ms: u64) -> Accepted {
    store.accept(now, &record.peer, &genuine(record), age_ms).accepted
}

fn look(store: &mut Store, now: UnixMillis, record: &NodeRecord, age_ms: u64) -> Look {
    store.look_at(now, &record.peer, &told(record, age_ms))
}

#[test]
fn only_a_higher_number_is_news_whatever_clocks_and_ages_say() {
    let mut store = store();
    let first = record(A, 500, offers(&[]));
    assert_eq!(accept(&mut store, NOW, &first, 0), Accepted::Newcomer);
    assert_eq!(accept(&mut store, NOW, &first, 0), Accepted::Old);
    assert_eq!(accept(&mut store, NOW, &record(A, 499, offers(&["/x"])), 0), Accepted::Old);
    let mut busy = offers(&[]);
    (busy.free_slots, busy.queued) = (0, 9);
    assert_eq!(accept(&mut store, NOW, &record(A, 501, busy), 0), Accepted::Refreshed);
    assert_eq!(accept(&mut store, NOW, &record(A, 502, offers(&["/moved"])), 0), Accepted::Changed);
    // A node whose clock is hours behind that of all others counts for itself.
    assert_eq!(accept(&mut store, NOW, &record(B, 3, offers(&[])), 0), Accepted::Newcomer);
    assert_eq!(accept(&mut store, NOW, &record(B, MAX_SEQUENCE + 1, offers(&[])), 0), Accepted::Impossible);
}

#[test]
fn a_record_ages_while_it_is_held_and_on_its_way() {
    let mut store = store();
    accept(&mut store, NOW, &record(A, 1, offers(&[])), 10_000);
    let told_on = store.told(at(60), &peer(A)).unwrap();
    assert_eq!(Duration::from_millis(told_on.age_ms), Duration::from_secs(70) + HOP);
}

#[test]
fn a_record_that_is_too_old_goes_and_does_not_come_back_from_somebody_who_is_behind() {
    let mut store = store();
    let last = record(A, 7, offers(&[]));
    accept(&mut store, NOW, &last, 0);
    assert!(store.expire(at(1700), &peer(ME)).is_empty());
    assert_eq!(store.expire(at(1800), &peer(ME)), [peer(A)]);
    assert_eq!((store.len(), store.tombstones()), (0, 1));
    assert_eq!(accept(&mut store, at(1801), &last, 100_000), Accepted::Old);
    assert_eq!(look(&mut store, at(1801), &last, 100_000), Look::Nothing);
    assert_eq!(accept(&mut store, at(1801), &record(A, 8, offers(&[])), 0), Accepted::Newcomer);
    assert_eq!(store.tombstones(), 0);
}

#[test]
fn a_record_that_was_not_renewed_in_time_is_kept_and_not_passed_on() {
    let mut store = store();
    accept(&mut store, NOW, &record(A, 7, offers(&[])), 0);
    let before = store.digest();
    assert!(store.told(at(599), &peer(A)).is_some());
    assert!(store.told(at(600), &peer(A)).is_none());
    store.expire(at(600), &peer(ME));
    assert_eq!(store.digest(), Digest(vec![0; 64]));
    assert!(store.get(&peer(A)).is_some());
    accept(&mut store, at(700), &record(A, 8, offers(&[])), 0);
    assert!(store.told(at(701), &peer(A)).is_some());
    assert_ne!(store.digest(), before);
}

#[test]
fn who_tells_an_old_record_again_and_again_cannot_outlast_its_tombstone() {
    let mut store = store();
    let last = record(A, 7, offers(&[]));
    accept(&mut store, NOW, &last, 0);
    for minute in 0..600 {
        let now = at(minute * 60);
        store.expire(now, &peer(ME));
        // A liar says that it is new.
        assert_eq!(look(&mut store, now, &last, 0), Look::Nothing, "believed again after {minute} minutes");
        assert_eq!(store.len(), usize::from(minute < 30));
    }
    assert!(store.expire(at(600 * 60 + 1801), &peer(ME)).is_empty());
    assert_eq!(store.tombstones(), 0, "when nobody tells it any more, it is forgotten for good");
}

#[test]
fn an_age_beyond_the_time_to_live_is_not_believed_and_harms_nobody() {
    let mut store = store();
    assert_eq!(accept(&mut store, NOW, &record(A, 1, offers(&[])), 1_800_000), Accepted::TooOld);
    assert_eq!(accept(&mut store, NOW, &record(A, 2, offers(&[])), u64::MAX), Accepted::TooOld);
    accept(&mut store, NOW, &record(B, 1, offers(&[])), 0);
    assert_eq!(accept(&mut store, NOW, &record(B, 2, offers(&[])), u64::MAX), Accepted::TooOld);
    assert!(store.told(at(500), &peer(B)).is_some());
}

#[test]
fn a_goodbye_can_be_shown_around_and_ends_what_came_before_it() {
    let mut store = store();
    accept(&mut store, NOW, &record(A, 1, offers(&[])), 0);
    assert_eq!(accept(&mut store, at(1), &goodbye(A, 2), 0), Accepted::Left);
    assert_eq!((store.len(), store.digest()), (0, Digest(vec![0; 64])));
    assert!(store.told(at(2), &peer(A)).unwrap().sealed.left);
    assert_eq!(accept(&mut store, at(2), &record(A, 1, offers(&[])), 0), Accepted::Old);
    assert_eq!(accept(&mut store, at(3), &record(A, 3, offers(&[])), 0), Accepted::Newcomer);
}

#[test]
fn what_never_grows_old_stays() {
    let mut store = Store::new(10, None);
    accept(&mut store, NOW, &record(A, 1, offers(&[])), u64::MAX);
    assert!(store.expire(at(100_000_000), &peer(ME)).is_empty());
    assert!(store.told(at(100_000_000), &peer(A)).is_some());
}

#[test]
fn the_store_and_its_tombstones_are_bounded() {
    let mut store = Store::new(50, Some(TTL));
    let of = |n: usize, sequence| NodeRecord { peer: nobody(n), ..record(A, sequence, offers(&[])) };
    for n in 0..500 {
        let newcomer = store.accept(at(n as u64), &nobody(n), &genuine(&of(n, 1)), 0);
        assert_eq!(newcomer.accepted, Accepted::Newcomer);
        assert_eq!(newcomer.instead_of, n.checked_sub(50).map(nobody), "the oldest goes");
        assert_eq!(store.len(), (n + 1).min(50));
    }
    for n in 0..500 {
        accept(&mut store, at(500), &NodeRecord { left: true, ..of(n, 2) }, 0);
    }
    assert_eq!((store.len(), store.tombstones()), (0, 50));
}

fn sync(from: &Store, to: &mut Store) -> Vec<meshwork_proto::PeerId> {
    to.compare(&peer(C), &from.differing(&to.digest(), 4096)).wanted
}

#[test]
fn digests_are_equal_exactly_when_the_records_are_and_differences_are_found() {
    let (mut left, mut right) = (store(), store());
    for n in 0..80 {
        let own = NodeRecord { peer: nobody(n), ..record(A, 1, offers(&[])) };
        accept(&mut left, NOW, &own, 0);
        accept(&mut right, at(100), &own, 5000);
    }
    assert_eq!(left.digest(), right.digest(), "ages do not count");
    assert!(left.differing(&right.digest(), 4096).is_empty());
    let newer = NodeRecord { peer: nobody(3), ..record(A, 2, offers(&[])) };
    accept(&mut left, at(1), &newer, 0);
    assert_ne!(left.digest(), right.digest());
    assert_eq!(sync(&left, &mut right), [nobody(3)]);
    let lacking = left.compare(&peer(C), &right.differing(&left.digest(), 4096)).lacking;
    assert_eq!(lacking, [nobody(3)]);
    accept(&mut right, at(2), &newer, 0);
    assert_eq!(left.digest(), right.digest());
    assert!(left.differing(&Digest(vec![1; 3]), 4096).is_empty(), "a digest of another size says nothing");
}

#[test]
fn who_has_missed_a_goodbye_is_told_of_it_when_its_records_are_compared() {
    let (mut knows, mut missed) = (store(), store());
    for store in [&mut knows, &mut missed] {
        accept(store, NOW, &record(A, 1, offers(&[])), 0);
    }
    accept(&mut knows, at(1), &goodbye(A, 2), 0);
    let difference = knows.compare(&peer(C), &missed.differing(&knows.digest(), 4096));
    assert_eq!((difference.wanted, difference.lacking), (vec![], vec![peer(A)]));
}

#[derive(Debug, Clone)]
enum Step {
    Hear { of: usize, sequence: u64, left: bool, age_s: u64 },
    Forget(usize),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..12, 1_u64..8, prop::bool::weighted(0.2), 0_u64..2500)
            .prop_map(|(of, sequence, left, age_s)| Step::Hear { of, sequence, left, age_s }),
        1 => (0_usize..12).prop_map(Step::Forget),
        2 => (1_u64..2000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_is_heard_the_sums_fit_numbers_only_grow_and_bounds_hold(
        steps in proptest::collection::vec(any_step(), 0..60)
    ) {
        let mut store = Store::new(8, Some(TTL));
        let mut now = 0;
        for step in steps {
            match step {
                Step::Hear { of, sequence, left, age_s } => {
                    let own = NodeRecord { peer: nobody(of), left, ..record(A, sequence, offers(&[])) };
                    let before = store.sequence(&nobody(of));
                    let news = look(&mut store, at(now), &own, age_s * 1000) == Look::News;
                    let accepted = accept(&mut store, at(now), &own, age_s * 1000);
                    prop_assert_eq!(news, accepted.is_news());
                    if news {
                        prop_assert!(before.is_none_or(|before| sequence > before));
                        prop_assert_eq!(store.sequence(&nobody(of)), Some(sequence));
                    }
                }
                Step::Forget(of) => store.forget(at(now), &nobody(of)),
                Step::Wait(seconds) => {
                    now += seconds;
                    store.expire(at(now), &peer(ME));
                }
            }
            prop_assert!(store.len() <= 8 && store.tombstones() <= 8);
            // The digest that was kept up to date is that of what is there.
            let mut afresh = Store::new(8, None);
            for held in store.passed_on() {
                afresh.accept(at(now), &held.peer, held, 0);
            }
            prop_assert_eq!(store.digest(), afresh.digest());
            prop_assert!(afresh.len() <= store.len());
        }
    }
}
