//! Honest pairings, wrong codes, and attacks on the exchange.

use super::*;
use crate::identity::NodeIdentity;
use proptest::prelude::*;

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn ends() -> Ends {
    Ends { joiner: NodeIdentity::generate().peer_id(), inviter: NodeIdentity::generate().peer_id() }
}

fn joiner(text: &str, ends: &Ends) -> (Joiner, PairingFrame) {
    Joiner::new(Exchange::begin(PairingSide::Joiner, &code(text), ends), ends.clone())
}

fn inviter(text: &str, ends: &Ends) -> Inviter {
    Inviter::new(Exchange::begin(PairingSide::Inviter, &code(text), ends), ends.clone())
}

fn reply(step: InviterStep) -> PairingFrame {
    match step {
        InviterStep::Send(frame) => frame,
        InviterStep::Judge { .. } => panic!("judged before its time"),
    }
}

fn confirm(step: JoinerStep) -> PairingFrame {
    match step {
        JoinerStep::Send(frame) => frame,
        other => panic!("{other:?}"),
    }
}

/// Whether the inviter finds the joiner's code right, and what it would confirm.
fn judged(inviter: &mut Inviter, joiner: &mut Joiner, start: PairingFrame) -> (bool, Confirmation) {
    let reply = reply(inviter.receive(start).unwrap());
    let confirm = confirm(joiner.receive(reply).unwrap());
    match inviter.receive(confirm).unwrap() {
        InviterStep::Judge { right, mac } => (right, mac),
        InviterStep::Send(frame) => panic!("{frame:?}"),
    }
}

fn welcome(mac: Confirmation) -> PairingFrame {
    PairingFrame::Welcome {
        mac,
        secret: b"the secret".to_vec(),
        addresses: vec!["/ip4/192.0.2.7/tcp/1".into()],
    }
}

#[test]
fn with_the_same_code_both_sides_confirm_and_the_secret_comes_over() {
    let ends = ends();
    let (mut joiner, start) = joiner("123 456 789", &ends);
    let (right, mac) = judged(&mut inviter("123-456-789", &ends), &mut joiner, start);
    assert!(right);
    let JoinerStep::Welcome(welcome) = joiner.receive(welcome(mac)).unwrap() else { panic!() };
    assert_eq!(&welcome.secret[..], b"the secret");
    assert!(!format!("{welcome:?}").contains("secret\""));
}

#[test]
fn another_code_is_noticed_by_the_inviter_before_it_says_anything() {
    let ends = ends();
    let (mut joiner, start) = joiner("123 456 789", &ends);
    let (right, mac) = judged(&mut inviter("123 456 780", &ends), &mut joiner, start);
    assert!(!right);
    // And an inviter that only claims to know the code is noticed by the joiner.
    assert!(matches!(joiner.receive(welcome(mac)).unwrap(), JoinerStep::Refused));
}

#[test]
fn somebody_in_the_middle_with_other_ids_who_passes_everything_on_gets_nowhere() {
    let honest = ends();
    let middle = NodeIdentity::generate().peer_id();
    // The joiner dialled the one in the middle, which dialled the inviter.
    let seen_by_joiner = Ends { inviter: middle.clone(), ..honest.clone() };
    let seen_by_inviter = Ends { joiner: middle, ..honest };
    let (mut joiner, start) = joiner("123 456 789", &seen_by_joiner);
    let (right, mac) = judged(&mut inviter("123 456 789", &seen_by_inviter), &mut joiner, start);
    assert!(!right, "the inviter lets in who only passes on what others say");
    assert!(matches!(joiner.receive(welcome(mac)).unwrap(), JoinerStep::Refused));
}

#[test]
fn a_confirmation_sent_back_to_whom_it_came_from_is_not_accepted() {
    let ends = ends();
    let (mut joiner, start) = joiner("123 456 789", &ends);
    let mut inviter = inviter("123 456 789", &ends);
    let reply = reply(inviter.receive(start).unwrap());
    let PairingFrame::Confirm { mac } = confirm(joiner.receive(reply).unwrap()) else { panic!() };
    assert!(matches!(joiner.receive(welcome(mac)).unwrap(), JoinerStep::Refused));
}

#[test]
fn a_message_of_the_exchange_sent_back_is_no_answer_to_it() {
    let ends = ends();
    let (mut joiner, start) = joiner("123 456 789", &ends);
    let PairingFrame::Start { message, .. } = start else { panic!() };
    let reflected = PairingFrame::Reply { version: PAIRING_VERSION, message };
    assert_eq!(joiner.receive(reflected).unwrap_err(), PairingError::Exchange);
}

#[test]
fn frames_out_of_turn_other_versions_and_what_is_no_message_end_the_pairing() {
    let ends = ends();
    let early = PairingFrame::Confirm { mac: [0; 32] };
    let out_of_turn = PairingError::Unexpected { got: "confirm", expected: "start" };
    let mut once = inviter("123 456 789", &ends);
    assert_eq!(once.receive(early.clone()).err(), Some(out_of_turn));
    let over = PairingError::Unexpected { got: "confirm", expected: "nothing" };
    assert_eq!(once.receive(early).err(), Some(over));
    let newer = PairingFrame::Start { version: 2, message: vec![0x41; 33] };
    let refused = inviter("123 456 789", &ends).receive(newer).err();
    assert_eq!(refused, Some(PairingError::Version { theirs: 2 }));
    for message in [Vec::new(), vec![0x41], vec![0x41; 34], vec![0xff; 33], vec![0x41; 10_000]] {
        let garbage = PairingFrame::Start { version: PAIRING_VERSION, message };
        let refused = inviter("123 456 789", &ends).receive(garbage).err();
        assert_eq!(refused, Some(PairingError::Exchange));
    }
}

#[test]
fn a_refusal_needs_no_proof_and_a_welcome_without_one_is_none() {
    let ends = ends();
    let (mut refused, _) = joiner("123 456 789", &ends);
    assert!(matches!(refused.receive(PairingFrame::Refused).unwrap(), JoinerStep::Refused));
    let (mut eager, _) = joiner("123 456 789", &ends);
    let early = PairingError::Unexpected { got: "welcome", expected: "reply" };
    assert_eq!(eager.receive(welcome([0; 32])).unwrap_err(), early);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_bytes_in_place_of_a_message_are_taken_for_the_code(message in proptest::collection::vec(any::<u8>(), 0..80)) {
        let ends = ends();
        let mut message = message;
        if let Some(side) = message.first_mut() {
            *side = 0x41;
        }
        let mut inviter = inviter("123 456 789", &ends);
        let start = PairingFrame::Start { version: PAIRING_VERSION, message };
        if inviter.receive(start).is_ok() {
            let guess = inviter.receive(PairingFrame::Confirm { mac: [0; 32] }).unwrap();
            let wrong = matches!(guess, InviterStep::Judge { right: false, .. });
            prop_assert!(wrong);
        }
    }
}
