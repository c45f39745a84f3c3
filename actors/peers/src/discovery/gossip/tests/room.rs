//! A store that grows full: whoever floods it with peers that only it knows harms nobody but itself.

use super::super::store::{Accepted, Look, Store, Taken};
use super::super::{Gossip, GossipRules, Heard};
use super::{TTL, gossip_of, rng};
use crate::discovery::tests::bench::{
    A, B, C, Everybody, ME, NOW, at, checked, genuine, nobody, offers, peer, record, signed, told,
};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::NodeRecord;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Peers from here on were invented by A, which floods.
const INVENTED: usize = 1000;

fn of(n: usize, sequence: u64) -> NodeRecord {
    NodeRecord { peer: nobody(n), ..record(A, sequence, offers(&[])) }
}

fn tell(store: &mut Store, by: &PeerId, n: usize) -> Taken {
    store.accept(NOW, by, &genuine(&of(n, 1)), 0)
}

fn flood(store: &mut Store, count: usize) {
    for n in INVENTED..INVENTED + count {
        tell(store, &peer(A), n);
    }
}

fn is_told_on(store: &Store, n: usize) -> bool {
    store.told(NOW, &nobody(n)).is_some()
}

#[test]
fn a_peer_that_tells_of_ten_thousand_others_leaves_room_for_those_of_others() {
    let mut store = Store::new(160, Some(TTL));
    flood(&mut store, 10_000);
    assert_eq!(store.len(), 140, "the last eighth is not for one that has told so much");
    for n in 0..60 {
        let teller = peer([B, C][n % 2]);
        assert_eq!(store.look_at(NOW, &teller, &told(&of(n, 1), 0)), Look::News);
        assert_eq!(tell(&mut store, &teller, n).accepted, Accepted::Newcomer, "{n}");
        assert!(store.len() <= 160);
    }
    assert_eq!(store.len(), 160, "what is left of the room is used, and then A makes room");
    assert!((0..60).all(|n| store.get(&nobody(n)).is_some()));
    assert_eq!(store.on_the_word_of(&peer(A)), (100, 100));
    // Nor does it help A to go on, or to tell of the same again.
    assert_eq!(store.look_at(NOW, &peer(A), &told(&of(INVENTED + 20_000, 1), 0)), Look::Nothing);
    flood(&mut store, 10_000);
    assert!((0..60).all(|n| store.get(&nobody(n)).is_some()));
}

#[test]
fn among_those_that_tell_all_have_the_same_share_of_a_full_store() {
    let mut store = Store::new(100, Some(TTL));
    let tellers: Vec<PeerId> = [A, B, C, ME].map(peer).into();
    for round in 0..500 {
        for (n, teller) in tellers.iter().enumerate() {
            tell(&mut store, teller, INVENTED + round * 10 + n);
        }
    }
    let shares: Vec<usize> = tellers.iter().map(|teller| store.on_the_word_of(teller).0).collect();
    assert!(shares.iter().all(|share| (21..=26).contains(share)), "{shares:?}");
}

#[test]
fn who_is_connected_finds_room_in_a_store_that_is_full_of_what_others_told() {
    let mut store = Store::new(100, Some(TTL));
    for n in 0..500 {
        tell(&mut store, &peer([A, B, C, ME][n % 4]), INVENTED + n);
    }
    let mut gone = BTreeSet::new();
    for n in 0..100 {
        store.connected(&nobody(n));
        // Whether it tells its record itself, or somebody else is faster.
        let teller = if n % 2 == 0 { nobody(n) } else { peer(A) };
        let newcomer = tell(&mut store, &teller, n);
        assert_eq!(newcomer.accepted, Accepted::Newcomer);
        gone.extend(newcomer.instead_of);
    }
    assert_eq!(store.len(), 100);
    assert!((0..100).all(|n| store.get(&nobody(n)).is_some() && is_told_on(&store, n)));
    assert!(gone.iter().all(|peer| store.get(peer).is_none()));
    // Now everybody in it is connected: there is no room for one more until somebody leaves.
    assert_eq!(tell(&mut store, &nobody(200), 200).accepted, Accepted::Full);
    store.disconnected(&nobody(7));
    let newcomer = tell(&mut store, &nobody(200), 200);
    assert_eq!((newcomer.accepted, newcomer.instead_of), (Accepted::Newcomer, Some(nobody(7))));
}

#[test]
fn what_one_peer_alone_tells_is_passed_on_only_while_there_is_ample_room() {
    let mut store = Store::new(100, Some(TTL));
    flood(&mut store, 60);
    let told_on = |store: &Store| (INVENTED..INVENTED + 60).filter(|n| is_told_on(store, *n)).count();
    assert_eq!((store.len(), told_on(&store), store.passed_on().count()), (60, 50, 50));
    let (back, same) = (INVENTED + 55, store.digest());
    // Its own teller's word is not a second one, however often it is given.
    assert_eq!(store.look_at(NOW, &peer(A), &told(&of(back, 1), 0)), Look::Nothing);
    store.accept(NOW, &peer(A), &genuine(&of(back, 2)), 0);
    store.vouch_for_same(&peer(A), &same);
    assert!(!is_told_on(&store, back) && store.digest() == same);
    // Somebody else tells of it.
    assert_eq!(store.look_at(NOW, &peer(B), &told(&of(back, 2), 0)), Look::Nothing);
    assert!(is_told_on(&store, back) && store.digest() != same);
    // Somebody else has a newer one.
    let newer = store.accept(NOW, &peer(B), &genuine(&of(back + 1, 2)), 0);
    assert!(newer.accepted == Accepted::Refreshed && is_told_on(&store, back + 1));
    // Somebody else lists it, or it comes itself.
    let known = meshwork_proto::discovery::gossip::KnownRecord { peer: nobody(back + 2), sequence: 1 };
    assert!(store.compare(&peer(B), &[known]).wanted.is_empty());
    store.connected(&nobody(back + 3));
    assert!(is_told_on(&store, back + 2) && is_told_on(&store, back + 3));
    assert_eq!(told_on(&store), 54);
    assert_eq!(store.on_the_word_of(&peer(A)), (56, 56));
}

#[test]
fn who_holds_the_same_gives_its_word_for_all_that_both_pass_on() {
    let mut store = Store::new(100, Some(TTL));
    flood(&mut store, 60);
    let digest = store.digest();
    store.vouch_for_same(&peer(B), &digest);
    assert_eq!(store.on_the_word_of(&peer(A)).0, 10, "what is kept back is no part of what is the same");
    assert_eq!(store.digest(), digest);
}

#[test]
fn what_was_kept_back_is_passed_on_when_it_is_renewed_and_there_is_ample_room_again() {
    let mut store = Store::new(100, Some(TTL));
    flood(&mut store, 60);
    for n in INVENTED..INVENTED + 30 {
        store.forget(NOW, &nobody(n));
    }
    let back = INVENTED + 55;
    assert!(!is_told_on(&store, back));
    store.accept(NOW, &peer(A), &genuine(&of(back, 2)), 0);
    assert!(is_told_on(&store, back));
}

#[test]
fn what_is_kept_back_is_no_rumour_and_a_second_word_lets_it_go_around() {
    let options = crate::discovery::DiscoveryOptions::default();
    let rules = GossipRules {
        max_records: 40,
        ttl: Some(TTL),
        every: options.exchange_every,
        soon: options.exchange_soon,
        load_every: options.load_every,
        others: true,
    };
    let mut gossip = Gossip::new(rules, peer(ME), Arc::new(Everybody(peer(ME))));
    let flooded: Vec<_> = (0..30).map(|n| signed(&of(INVENTED + n, 1), 0)).collect();
    assert_eq!(gossip.believe(NOW, &peer(A), checked(&flooded)).len(), 30);
    let mut asks = Vec::new();
    gossip.tick(NOW.after(Duration::from_millis(300)), &[peer(B)], &mut rng(), &mut asks);
    let pushed = asks.iter().filter(|ask| ask.talk.digest.is_none()).map(|ask| ask.talk.records.len());
    assert_eq!(pushed.collect::<Vec<_>>(), [20]);
    // Who asks is told no more than that.
    let empty = gossip_of(B).store().digest();
    let known = gossip.answer(at(1), &peer(B), Some(&empty), &[], &[], 0).known;
    assert_eq!(known.len(), 20);
    let mut heard = Heard::read(&[signed(&of(INVENTED + 25, 1), 0)]);
    gossip.sift(at(1), &peer(C), &mut heard);
    assert!(heard.records.is_empty(), "it is no news");
    assert_eq!(gossip.answer(at(1), &peer(B), Some(&empty), &[], &[], 0).known.len(), 21);
    let want = [nobody(INVENTED + 25), nobody(INVENTED + 26)];
    let told = gossip.answer(at(1), &peer(B), None, &want, &[], 0).records;
    assert_eq!(told.iter().map(|told| told.sealed.peer.clone()).collect::<Vec<_>>(), want[..1]);
}

#[derive(Debug, Clone)]
enum Step {
    Tell { by: usize, of: usize, sequence: u64 },
    Come { of: usize, sequence: u64 },
    Connect(usize),
    Disconnect(usize),
    Forget(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let (of, sequence) = (0_usize..60, 1_u64..4);
    prop_oneof![
        // The first teller floods.
        12 => (of.clone(), sequence.clone()).prop_map(|(of, sequence)| Step::Tell { by: 0, of, sequence }),
        6 => (1_usize..4, of.clone(), sequence.clone())
            .prop_map(|(by, of, sequence)| Step::Tell { by, of, sequence }),
        2 => (of.clone(), sequence).prop_map(|(of, sequence)| Step::Come { of, sequence }),
        2 => of.clone().prop_map(Step::Connect),
        1 => of.clone().prop_map(Step::Disconnect),
        1 => of.prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn whoever_tells_what_the_connected_stay_nobody_takes_more_than_a_share_and_the_counts_fit(
        steps in proptest::collection::vec(any_step(), 0..150)
    ) {
        const ROOM: usize = 24;
        let mut store = Store::new(ROOM, None);
        let teller = |by: usize| peer([A, B, C, ME][by]);
        let mut connected = BTreeSet::new();
        let mut confirmed: BTreeSet<usize> = BTreeSet::new();
        for step in steps {
            let before: BTreeSet<usize> = (0..60).filter(|n| store.get(&nobody(*n)).is_some()).collect();
            let mut may_go = true;
            match step {
                Step::Tell { by, of: n, sequence } => {
                    let shares: Vec<usize> = (0..4).map(|by| store.on_the_word_of(&teller(by)).0).collect();
                    let most = *shares.iter().max().unwrap();
                    let looked = store.look_at(NOW, &teller(by), &told(&of(n, sequence), 0));
                    let taken = store.accept(NOW, &teller(by), &genuine(&of(n, sequence)), 0);
                    prop_assert_eq!(looked == Look::News, taken.accepted.is_news());
                    if taken.accepted == Accepted::Full {
                        prop_assert!(most <= shares[by] + 1, "{by} was refused: {shares:?}");
                    }
                    may_go = connected.contains(&n);
                }
                Step::Come { of: n, sequence } => {
                    let taken = store.accept(NOW, &nobody(n), &genuine(&of(n, sequence)), 0);
                    prop_assert!(taken.accepted != Accepted::Full || connected.len() >= ROOM);
                }
                Step::Connect(n) => {
                    connected.insert(n);
                    store.connected(&nobody(n));
                }
                Step::Disconnect(n) => {
                    connected.remove(&n);
                    store.disconnected(&nobody(n));
                }
                Step::Forget(n) => {
                    confirmed.remove(&n);
                    connected.remove(&n);
                    store.disconnected(&nobody(n));
                    store.forget(NOW, &nobody(n));
                }
            }
            let after: BTreeSet<usize> = (0..60).filter(|n| store.get(&nobody(*n)).is_some()).collect();
            prop_assert!(after.len() == store.len() && store.len() <= ROOM);
            prop_assert!(before.iter().all(|n| after.contains(n) || !connected.contains(n)), "a neighbour went");
            if !may_go {
                prop_assert!(confirmed.iter().all(|n| after.contains(n)), "hearsay displaced what is confirmed");
            }
            let mut told_by_one = 0;
            for by in 0..4 {
                let (noted, counted) = store.on_the_word_of(&teller(by));
                prop_assert_eq!(noted, counted);
                told_by_one += counted;
            }
            prop_assert!(told_by_one <= store.len());
            confirmed = after.into_iter().filter(|n| store.on_whose_word(&nobody(*n)).is_none()).collect();
            let mut afresh = Store::new(ROOM, None);
            for held in store.passed_on() {
                afresh.accept(NOW, &held.peer, held, 0);
            }
            prop_assert_eq!(store.digest(), afresh.digest());
        }
    }
}
