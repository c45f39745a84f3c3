//! Thresholds, decay, bans and their bounds, and properties that hold for any order of offences.

use super::*;
use crate::identity::NodeIdentity;
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_000_000_000);

fn peer() -> PeerId {
    NodeIdentity::generate().peer_id()
}

fn after(seconds: u64) -> UnixMillis {
    NOW.after(Duration::from_secs(seconds))
}

/// Offends until something follows that is not nothing.
fn until_action(scores: &mut Scores, peer: &PeerId, offence: Offence, now: UnixMillis) -> (u32, Action) {
    for n in 1..1000 {
        let action = scores.offend(peer, offence, now).action;
        if action != Action::None {
            return (n, action);
        }
    }
    panic!("nothing ever followed");
}

#[test]
fn misbehaviour_leads_from_throttling_to_disconnection_to_a_ban() {
    let (mut scores, peer) = (Scores::default(), peer());
    let bad_frames = |scores: &mut Scores, count: u32| {
        (0..count).map(|_| scores.offend(&peer, Offence::BadFrame, NOW).action).collect::<Vec<_>>()
    };
    assert_eq!(bad_frames(&mut scores, 4), [Action::None, Action::None, Action::Throttle, Action::None]);
    assert!(scores.is_throttled(&peer) && !scores.is_banned(&peer));
    assert_eq!(bad_frames(&mut scores, 7), [Action::Disconnect; 7]);
    assert_eq!(bad_frames(&mut scores, 2), [Action::Ban(FIRST_BAN), Action::None]);
    assert!(scores.is_banned(&peer));
    assert_eq!(scores.banned(after(60)).collect::<Vec<_>>(), [(&peer, Duration::from_secs(540))]);
}

#[test]
fn an_offence_counts_half_after_ten_minutes_and_is_forgotten_in_the_end() {
    let (mut scores, peer) = (Scores::default(), peer());
    scores.offend(&peer, Offence::BadFrame, NOW);
    let judged = scores.offend(&peer, Offence::BadFrame, after(600));
    assert!((judged.score - -6.75).abs() < 1e-9, "{}", judged.score);
    scores.offend(&peer, Offence::BadFrame, after(600));
    assert!(scores.is_throttled(&peer));
    assert_eq!(scores.pass(after(601)), Passed::default());
    assert_eq!(scores.pass(after(600 + 300)).calmed, std::slice::from_ref(&peer));
    assert_eq!(scores.pass(after(600 * 9)), Passed::default());
    assert!(scores.0.is_empty());
}

#[test]
fn a_node_that_was_left_with_an_old_secret_is_never_banned() {
    let (mut scores, peer) = (Scores::default(), peer());
    for n in 0..10_000 {
        let judged = scores.offend(&peer, Offence::BadProof, after(n * 30));
        assert!(!matches!(judged.action, Action::Ban(_)), "banned after {n} tries");
        scores.pass(after(n * 30 + 15));
    }
    let guesser = self::peer();
    assert!(
        (0..60).any(|_| matches!(scores.offend(&guesser, Offence::BadProof, NOW).action, Action::Ban(_)))
    );
}

#[test]
fn each_ban_is_twice_as_long_up_to_a_day_and_a_quiet_day_halves_the_next() {
    let (mut scores, peer) = (Scores::default(), peer());
    let mut now = NOW;
    let ban = |scores: &mut Scores, now: &mut UnixMillis, pause: Duration| {
        let length = loop {
            if let (_, Action::Ban(length)) = until_action(scores, &peer, Offence::FalseAnnouncement, *now) {
                break length;
            }
        };
        *now = now.after(length);
        assert_eq!(scores.pass(*now).let_in, std::slice::from_ref(&peer));
        *now = now.after(pause);
        length.as_secs() / 60
    };
    let short = Duration::from_secs(60);
    let minutes: Vec<u64> = (0..9).map(|_| ban(&mut scores, &mut now, short)).collect();
    assert_eq!(minutes, [10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
    let day = Duration::from_secs(24 * 3600);
    ban(&mut scores, &mut now, 8 * day);
    assert_eq!(ban(&mut scores, &mut now, 8 * day), 40);
    assert_eq!(ban(&mut scores, &mut now, short), 10);
}

#[test]
fn after_a_ban_one_lapse_disconnects_and_does_not_ban_again() {
    let (mut scores, peer) = (Scores::default(), peer());
    while !scores.is_banned(&peer) {
        scores.offend(&peer, Offence::BadFrame, NOW);
    }
    assert_eq!(scores.pass(after(599)), Passed::default());
    assert_eq!(scores.pass(after(600)).let_in, std::slice::from_ref(&peer));
    assert!(scores.is_throttled(&peer), "it comes back as if nothing had been");
    assert_eq!(scores.offend(&peer, Offence::BadFrame, after(600)).action, Action::Disconnect);
}

#[test]
fn a_pardon_forgets_the_ban_and_the_score() {
    let (mut scores, peer) = (Scores::default(), peer());
    while !scores.is_banned(&peer) {
        scores.offend(&peer, Offence::BadFrame, NOW);
    }
    assert!(scores.pardon(&peer) && !scores.pardon(&peer));
    assert!(!scores.is_banned(&peer) && !scores.is_throttled(&peer));
    assert_eq!(scores.offend(&peer, Offence::BadFrame, NOW).score, -4.5);
}

#[test]
fn bans_survive_a_flood_of_other_ids_as_long_as_there_is_anybody_else_to_forget() {
    let mut scores = Scores::default();
    let banned = peer();
    while !scores.is_banned(&banned) {
        scores.offend(&banned, Offence::BadFrame, NOW);
    }
    for n in 0..MAX_TRACKED as u64 + 100 {
        let judged = scores.offend(&peer(), Offence::BadFrame, after(1 + n / 100));
        assert_eq!(judged.let_in, None);
        assert!(scores.0.len() <= MAX_TRACKED);
    }
    assert!(scores.is_banned(&banned));
}

fn any_offence() -> impl Strategy<Value = Offence> {
    (0..Offence::ALL.len()).prop_map(|n| Offence::ALL[n])
}

proptest! {
    #[test]
    fn scores_stay_in_their_range_rise_only_with_time_and_bans_stay_in_theirs(
        steps in proptest::collection::vec((0_usize..4, any_offence(), 0_u64..2000), 1..300),
    ) {
        let peers: Vec<PeerId> = (0..4).map(|n| {
            let ids = ["12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
                "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
                "QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa"];
            ids[n].parse().unwrap()
        }).collect();
        let mut scores = Scores::default();
        let mut now = NOW;
        let mut banned: BTreeMap<PeerId, UnixMillis> = BTreeMap::new();
        for (who, offence, wait) in steps {
            now = now.after(Duration::from_secs(wait));
            let peer = &peers[who];
            for freed in scores.pass(now).let_in {
                let until = banned.remove(&freed);
                prop_assert!(until.is_some_and(|until| until <= now), "let in early or never banned");
            }
            prop_assert!(banned.values().all(|until| *until > now), "a ban is over and nobody was let in");
            let before = scores.0.get(peer).map_or(0.0, |entry| entry.score(now));
            let judged = scores.offend(peer, offence, now);
            prop_assert!((LOWEST..0.0).contains(&judged.score) || judged.score == LOWEST);
            prop_assert!(judged.score < before || judged.score == LOWEST);
            prop_assert_eq!(judged.let_in, None);
            match judged.action {
                Action::Ban(length) => {
                    prop_assert!((FIRST_BAN..=LONGEST_BAN).contains(&length));
                    prop_assert!(banned.insert(peer.clone(), now.after(length)).is_none(), "banned twice");
                }
                Action::Disconnect => prop_assert!(judged.score <= DISCONNECT && judged.score > BAN),
                Action::Throttle => prop_assert!(judged.score <= THROTTLE && judged.score > DISCONNECT),
                Action::None => {}
            }
            prop_assert_eq!(scores.banned(now).count(), banned.len());
        }
    }
}
