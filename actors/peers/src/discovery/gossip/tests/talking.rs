//! Two and more nodes talk: both know everything afterwards, and it is cheap when there is nothing to tell.

use super::super::talk::{size_of_answer, size_of_question};
use super::super::{Answer, Ask, Believed, Gossip, Heard, Purpose, Talk};
use super::{gossip_of, rng};
use crate::discovery::tests::bench::{
    A, B, C, Everybody, ME, NOW, at, checked, goodbye, nobody, offers, peer, record, signed, signed_by,
};
use meshwork_proto::codec::encode_wire;
use meshwork_proto::discovery::NodeRecord;
use meshwork_proto::wire::{MeshReply, MeshRequest, WireFrame};
use meshwork_proto::{PeerId, UnixMillis};

fn take_in(
    of: &mut Gossip,
    now: UnixMillis,
    from: &PeerId,
    mut heard: Heard,
) -> (Vec<Believed>, Vec<PeerId>) {
    let behind = of.sift(now, from, &mut heard);
    let checked = heard.check(&Everybody(peer(ME)));
    (of.believe(now, from, checked), behind)
}

/// One question and its answer, over the wire's own types.
fn ask(from: (&mut Gossip, &str), to: (&mut Gossip, &str), now: UnixMillis, ask: &Ask, more: &mut Vec<Ask>) {
    let question = ask.talk.to_wire();
    let heard = Heard::read(&question.records);
    let (news, behind) = take_in(to.0, now, &peer(from.1), heard);
    let news = u32::try_from(news.len()).unwrap();
    let answer =
        to.0.answer(now, &peer(from.1), question.digest.as_ref(), &question.want, &behind, news).to_wire();
    let (believed, _) = take_in(from.0, now, &peer(to.1), Heard::read(&answer.records));
    if ask.purpose == Purpose::Compare {
        from.0.answered(now, &peer(to.1), &answer.known, &believed, &mut rng(), more);
    }
}

/// Compares until both have nothing more to say. Gives how many round trips that took.
fn compare(from: (&mut Gossip, &str), to: (&mut Gossip, &str), now: UnixMillis) -> usize {
    let mut asks = Vec::new();
    from.0.compare(now, &peer(to.1), false, &mut asks);
    let mut rounds = 0;
    while let Some(next) = asks.pop() {
        rounds += 1;
        ask((from.0, from.1), (to.0, to.1), now, &next, &mut asks);
    }
    rounds
}

fn hear(gossip: &mut Gossip, now: UnixMillis, from: &str, record: &NodeRecord, age_ms: u64) {
    gossip.believe(now, &peer(from), checked(&[signed(record, age_ms)]));
}

fn of(n: usize, sequence: u64) -> NodeRecord {
    NodeRecord { peer: nobody(n), ..record(A, sequence, offers(&["/ip4/198.51.100.1/tcp/1"])) }
}

#[test]
fn after_one_comparison_in_each_direction_both_know_what_either_knew() {
    let (mut a, mut b) = (gossip_of(A), gossip_of(B));
    a.describe(NOW, &offers(&[])).unwrap();
    b.describe(NOW, &offers(&[])).unwrap();
    for n in 0..200 {
        hear(if n % 3 == 0 { &mut a } else { &mut b }, NOW, C, &of(n, 1), 100_000);
    }
    assert!(compare((&mut a, A), (&mut b, B), at(1)) <= 3);
    compare((&mut b, B), (&mut a, A), at(2));
    assert_eq!(a.store().digest(), b.store().digest());
    assert_eq!(a.sizes().0, 202);
    assert_eq!(
        compare((&mut a, A), (&mut b, B), at(3)),
        1,
        "who knows the same has said all with one digest"
    );
}

#[test]
fn hundreds_of_records_come_over_in_bounded_messages() {
    let (mut a, mut b) = (gossip_of(A), gossip_of(B));
    for n in 0..850 {
        hear(&mut b, NOW, nobody(n).as_str(), &of(n, 1), 100_000);
    }
    let mut asks = Vec::new();
    a.compare(at(1), &peer(B), false, &mut asks);
    while let Some(next) = asks.pop() {
        assert!(next.talk.want.len() <= 256 && next.talk.records.len() <= 256);
        ask((&mut a, A), (&mut b, B), at(1), &next, &mut asks);
    }
    assert_eq!(a.sizes().0, 850);
}

#[test]
fn news_are_told_once_to_a_few_and_not_back_to_who_told_them() {
    let mut gossip = gossip_of(ME);
    let linked: Vec<PeerId> = (0..20).map(nobody).collect();
    hear(&mut gossip, NOW, C, &record(A, 1, offers(&[])), 0);
    let mut out = Vec::new();
    let mut rng = rng();
    gossip.tick(NOW, &[], &mut rng, &mut out);
    assert!(out.is_empty());
    gossip.tick(UnixMillis(NOW.0 + 200), &linked, &mut rng, &mut out);
    assert_eq!(out.len(), 4);
    assert!(out.iter().all(|ask| ask.purpose == Purpose::Push && ask.talk.records.len() == 1));
    out.clear();
    gossip.tick(at(5), &linked, &mut rng, &mut out);
    assert!(out.is_empty(), "infected, and dead");
    // The same again, and only its teller is there to be told.
    hear(&mut gossip, at(6), C, &record(A, 2, offers(&["/new"])), 0);
    gossip.tick(at(7), &[peer(C)], &mut rng, &mut out);
    assert!(out.is_empty());
}

#[test]
fn old_news_and_renewals_are_no_rumours_and_are_found_by_comparing() {
    let (mut gossip, mut other) = (gossip_of(ME), gossip_of(B));
    let mut rng = rng();
    gossip.tick(NOW, &[], &mut rng, &mut Vec::new());
    hear(&mut gossip, NOW, C, &record(A, 1, offers(&[])), 100_000);
    hear(&mut gossip, NOW, C, &record(A, 2, offers(&[])), 0);
    let mut out = Vec::new();
    gossip.tick(at(5), &[peer(C)], &mut rng, &mut out);
    assert!(out.is_empty());
    compare((&mut other, B), (&mut gossip, ME), at(6));
    assert_eq!(other.record(&peer(A)).unwrap().0.sequence, 2);
}

#[test]
fn a_peer_that_knows_no_exchanges_is_asked_no_more_until_it_connects_again() {
    let mut gossip = gossip_of(ME);
    let mut out = Vec::new();
    gossip.peer_up(&peer(A));
    gossip.tick(NOW, &[peer(A)], &mut rng(), &mut out);
    assert_eq!(out.len(), 1, "greeted at once, and once");
    gossip.failed(&peer(A), Purpose::Compare, true);
    assert!(gossip.is_plain(&peer(A)));
    out.clear();
    gossip.tick(at(100), &[peer(A)], &mut rng(), &mut out);
    assert!(out.is_empty());
    gossip.peer_up(&peer(A));
    gossip.tick(at(101), &[peer(A)], &mut rng(), &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn a_forged_record_is_not_believed_and_neither_is_a_changed_one() {
    let mut gossip = gossip_of(ME);
    let by_liar = signed_by(&peer(C), &record(A, 9, offers(&["/evil"])), 0);
    let mut changed = signed(&record(A, 9, offers(&["/good"])), 0);
    let other = signed(&record(A, 9, offers(&["/evil"])), 0);
    changed.record = other.record;
    let mut broken = signed(&record(A, 9, offers(&[])), 0);
    broken.record = vec![1, 2, 3].into();
    let mut newer = signed(&record(A, 9, offers(&[])), 0);
    newer.record = vec![200, 2, 3].into();
    let checked = checked(&[by_liar, changed, broken, newer]);
    assert_eq!((checked.forged, checked.malformed, checked.newer), (2, 1, 1));
    assert!(gossip.believe(NOW, &peer(C), checked).is_empty());
    assert_eq!(gossip.sizes(), (0, 0));
}

#[test]
fn who_tells_an_old_record_is_answered_with_the_newer_one_or_the_goodbye() {
    let (mut a, mut b) = (gossip_of(A), gossip_of(B));
    hear(&mut a, NOW, C, &of(1, 1), 0);
    hear(&mut a, NOW, C, &of(2, 1), 0);
    hear(&mut b, NOW, C, &of(1, 2), 0);
    hear(&mut b, NOW, C, &NodeRecord { peer: nobody(2), ..goodbye(A, 2) }, 0);
    let records = [1, 2].map(|n| a.store.told(NOW, &nobody(n)).unwrap()).to_vec();
    let push = Ask { peer: peer(B), talk: Talk { records, ..Talk::default() }, purpose: Purpose::Push };
    ask((&mut a, A), (&mut b, B), at(1), &push, &mut Vec::new());
    assert_eq!(a.record(&nobody(1)).unwrap().0.sequence, 2);
    assert!(a.record(&nobody(2)).is_none());
}

#[test]
fn a_node_is_told_of_the_number_that_it_has_forgotten() {
    let (mut me, mut other) = (gossip_of(ME), gossip_of(B));
    hear(&mut other, NOW, C, &record(ME, NOW.0 + 5_000_000, offers(&["/before"])), 0);
    me.describe(NOW, &offers(&["/now"])).unwrap();
    compare((&mut me, ME), (&mut other, B), at(1));
    assert_eq!(me.own_sequence(), NOW.0 + 5_000_001);
    compare((&mut me, ME), (&mut other, B), at(2));
    assert_eq!(other.record(&peer(ME)).unwrap().0.offers.addresses, ["/now"]);
}

#[test]
fn the_bytes_that_are_counted_are_those_on_the_wire() {
    let mut gossip = gossip_of(ME);
    for n in 0..30 {
        hear(&mut gossip, NOW, C, &of(n, NOW.0), 0);
    }
    let records: Vec<_> = (0..7).map(|n| gossip.store.told(at(20), &nobody(n)).unwrap()).collect();
    let talk = Talk {
        records: records.clone(),
        digest: Some(gossip.store().digest()),
        want: (0..5).map(nobody).collect(),
    };
    let frame =
        WireFrame::Request { id: 70_000, deadline_ms: 5000, request: MeshRequest::Exchange(talk.to_wire()) };
    let close = |counted: usize, real: usize| counted.abs_diff(real) * 50 <= real.max(counted);
    let real = encode_wire(&frame, 1 << 20).unwrap().len() + 4;
    assert!(close(talk.size(), real), "{} of {real}", talk.size());
    assert_eq!(size_of_question(&talk.to_wire()), talk.size());
    let known = gossip.store().differing(&meshwork_proto::discovery::gossip::Digest(vec![1; 64]), 4096);
    let answer = Answer { records, known, news: 3 };
    let frame = WireFrame::Reply { id: 70_000, result: Ok(MeshReply::Exchanged(answer.to_wire())) };
    let real = encode_wire(&frame, 1 << 20).unwrap().len() + 4;
    assert!(close(answer.size(), real), "{} of {real}", answer.size());
    assert_eq!(size_of_answer(&answer.to_wire()), answer.size());
}
