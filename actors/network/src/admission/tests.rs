//! Attacks on the handshake, and what honest peers see.

use super::logic::{Handshake, HandshakeError, Outcome, Parties, Ruling};
use super::{AdmissionError, run};
use crate::identity::NodeIdentity;
use crate::metrics::NetworkMetrics;
use crate::trust::{Grounds, MeshSecret, MeshSecrets, Trust};
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::wire::admission::{AdmissionFrame, MAX_PROOFS, Proof, Side, Verdict};
use meshwork_proto::{PeerId, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::compat::TokioAsyncReadCompatExt;

const SECRET: &str = "a secret of twenty-six char";

fn knows(secret: &str) -> Arc<Trust> {
    knows_all(&[secret])
}

fn knows_all(secrets: &[&str]) -> Arc<Trust> {
    let secrets = MeshSecrets::new(secrets.iter().map(|text| MeshSecret::parse(text).unwrap())).unwrap();
    Arc::new(Trust { secrets, ..Trust::default() })
}

fn peers() -> (PeerId, PeerId) {
    (NodeIdentity::generate().peer_id(), NodeIdentity::generate().peer_id())
}

fn parties(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Parties {
    Parties { trust: Arc::clone(trust), local: local.clone(), remote: remote.clone(), shut_out: None }
}

fn initiator(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Handshake {
    Handshake::new(parties(trust, local, remote), Side::Initiator, rand::random())
}

fn responder(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Handshake {
    Handshake::new(parties(trust, local, remote), Side::Responder, rand::random())
}

/// Carries frames between two honest ends; `meddle` sees each frame on its way.
fn converse(
    a: &mut Handshake,
    b: &mut Handshake,
    mut meddle: impl FnMut(AdmissionFrame) -> AdmissionFrame,
) -> Result<(Outcome, Outcome), HandshakeError> {
    let mut at_b = a.start();
    let mut outcome_a = None;
    loop {
        let step = b.receive(meddle(at_b.take().expect("a frame for b")))?;
        if let Some(outcome_b) = step.done {
            return Ok((outcome_a.expect("a is done before b"), outcome_b));
        }
        let step = a.receive(meddle(step.send.expect("a frame for a")))?;
        outcome_a = step.done;
        at_b = step.send;
    }
}

fn rulings(a: &Arc<Trust>, b: &Arc<Trust>) -> (Ruling, Ruling) {
    let (id_a, id_b) = peers();
    let pair = converse(&mut initiator(a, &id_a, &id_b), &mut responder(b, &id_b, &id_a), |frame| frame);
    let (at_a, at_b) = pair.unwrap();
    (at_a.ruling(), at_b.ruling())
}

fn role(ruling: &Ruling) -> Option<Role> {
    match ruling {
        Ruling::Admitted(role, _) => Some(*role),
        _ => None,
    }
}

/// The secret that an admission rests on.
fn proved(ruling: &Ruling) -> &[u8] {
    match ruling {
        Ruling::Admitted(_, Grounds::Secret(secret)) => secret.expose(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn peers_with_the_same_secret_admit_each_other() {
    let (at_a, at_b) = rulings(&knows(SECRET), &knows(SECRET));
    assert_eq!((role(&at_a), role(&at_b)), (Some(Role::Member), Some(Role::Member)));
    assert_eq!((proved(&at_a), proved(&at_b)), (SECRET.as_bytes(), SECRET.as_bytes()));
}

#[test]
fn with_different_secrets_the_refusing_side_knows_why_and_the_other_what_to_check() {
    let (at_a, at_b) = rulings(&knows(SECRET), &knows("another secret than theirs"));
    assert!(matches!(at_a, Ruling::RefusedByThem(ref why) if why.contains("same mesh secret")), "{at_a:?}");
    assert!(matches!(at_b, Ruling::RefusedByUs(ref why) if why.contains("another mesh secret")), "{at_b:?}");
}

#[test]
fn a_refusal_says_the_same_to_everybody() {
    let (id_a, id_b) = peers();
    let allowing = Arc::new(Trust { allow: [id_b.clone()].into(), ..Trust::default() });
    for (a, b) in [
        (knows(SECRET), knows("another secret than theirs")),
        (knows(SECRET), Arc::default()),
        (Arc::default(), knows(SECRET)),
        (allowing, knows(SECRET)),
    ] {
        let mut said = Vec::new();
        let listen = |frame: AdmissionFrame| {
            match &frame {
                AdmissionFrame::Answer { verdict: Verdict::Refused { reason }, .. }
                | AdmissionFrame::Verdict(Verdict::Refused { reason }) => said.push(reason.clone()),
                _ => {}
            }
            frame
        };
        converse(&mut initiator(&a, &id_a, &id_b), &mut responder(&b, &id_b, &id_a), listen).unwrap();
        assert!(!said.is_empty() && said.iter().all(|said| said == "not admitted"), "{said:?}");
    }
}

const NEW: &str = "the new secret of the mesh";

#[test]
fn while_a_secret_is_changed_all_combinations_of_old_and_new_admit_each_other() {
    let stages = [&[SECRET][..], &[SECRET, NEW], &[NEW, SECRET], &[NEW]];
    for (n, a) in stages.iter().enumerate() {
        for (m, b) in stages.iter().enumerate() {
            let (at_a, at_b) = rulings(&knows_all(a), &knows_all(b));
            // From only-old to only-new there is no bridge; every step has one.
            let expected = n.abs_diff(m) < 3;
            assert_eq!((role(&at_a).is_some(), role(&at_b).is_some()), (expected, expected), "{a:?} {b:?}");
            if expected {
                assert_eq!(proved(&at_a), proved(&at_b), "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn a_peer_of_the_first_version_gets_one_proof_and_the_next_secret_in_the_next_handshake() {
    let (id_a, id_b) = peers();
    let (a, b) = (knows_all(&[NEW, SECRET]), knows(SECRET));
    let mut old = responder(&b, &id_b, &id_a).with_one_proof();
    let first = converse(&mut initiator(&a, &id_a, &id_b).with_one_proof(), &mut old, |frame| frame);
    let (at_a, at_b) = first.unwrap();
    assert_eq!(at_a.untried, Some(1));
    assert!(at_b.bad_proof && matches!(at_b.ruling(), Ruling::RefusedByUs(_)));
    let mut second = initiator(&a, &id_a, &id_b).with_one_proof().showing(1);
    let mut old = responder(&b, &id_b, &id_a).with_one_proof();
    let (at_a, at_b) = converse(&mut second, &mut old, |frame| frame).unwrap();
    assert_eq!(at_a.untried, None);
    assert_eq!((role(&at_a.ruling()), role(&at_b.ruling())), (Some(Role::Member), Some(Role::Member)));
}

#[test]
fn nobody_can_try_more_proofs_than_a_node_has_secrets() {
    let (id_a, id_b) = peers();
    let mut victim = responder(&knows(SECRET), &id_b, &id_a);
    victim.receive(AdmissionFrame::Hello { version: 1, nonce: [1; 32] }).unwrap();
    for n in 0..MAX_PROOFS {
        let proof = Some([u8::try_from(n).unwrap(); 32]);
        let answer = victim.receive(AdmissionFrame::Proof { proof }).unwrap().send;
        assert!(matches!(
            answer,
            Some(AdmissionFrame::Answer { verdict: Verdict::Refused { .. }, proof: None })
        ));
    }
    let more = victim.receive(AdmissionFrame::Proof { proof: Some([9; 32]) }).unwrap_err();
    assert_eq!(more, HandshakeError::Unexpected { got: "proof", expected: "verdict" });
}

#[test]
fn who_is_shut_out_is_refused_whatever_it_proves_and_gets_no_proof() {
    let (id_a, id_b) = peers();
    let trust = Arc::new(Trust {
        allow: [id_a.clone()].into(),
        admins: [id_a.clone()].into(),
        ..(*knows(SECRET)).clone()
    });
    let shut_out = Some("it was revoked".to_owned());
    let judging = Parties { shut_out, ..parties(&trust, &id_b, &id_a) };
    let mut proofs = 0;
    let count = |frame: AdmissionFrame| {
        proofs += u32::from(matches!(frame, AdmissionFrame::Answer { proof: Some(_), .. }));
        frame
    };
    let mut judge = Handshake::new(judging, Side::Responder, rand::random());
    let (_, at_b) = converse(&mut initiator(&knows(SECRET), &id_a, &id_b), &mut judge, count).unwrap();
    assert!(!at_b.bad_proof, "a right proof was called wrong");
    assert!(matches!(at_b.ruling(), Ruling::RefusedByUs(why) if why == "it was revoked"));
    assert_eq!(proofs, 0);
}

#[test]
fn a_peer_allowed_by_name_needs_no_secret_and_an_admin_is_one() {
    let (id_a, id_b) = peers();
    let a = Arc::new(Trust { allow: [id_b.clone()].into(), ..Trust::default() });
    let b = Arc::new(Trust { admins: [id_a.clone()].into(), ..(*knows(SECRET)).clone() });
    let pair = converse(&mut initiator(&a, &id_a, &id_b), &mut responder(&b, &id_b, &id_a), |frame| frame);
    let (at_a, at_b) = pair.unwrap();
    assert!(matches!(at_a.ruling(), Ruling::Admitted(Role::Member, Grounds::Name)));
    assert!(matches!(at_b.ruling(), Ruling::Admitted(Role::Admin, Grounds::Name)));
}

#[test]
fn one_sided_consent_is_a_refusal_on_both_sides() {
    let (id_a, id_b) = peers();
    let a = Arc::new(Trust { allow: [id_b.clone()].into(), ..Trust::default() });
    let b = knows(SECRET);
    let pair = converse(&mut initiator(&a, &id_a, &id_b), &mut responder(&b, &id_b, &id_a), |frame| frame);
    let (at_a, at_b) = pair.unwrap();
    assert!(matches!(at_a.ruling(), Ruling::RefusedByThem(_)));
    assert!(matches!(at_b.ruling(), Ruling::RefusedByUs(why) if why.contains("--allow")));
}

/// What the initiator with the secret sends as its proof to a responder of this name.
fn recorded_proof(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Proof {
    let mut honest = initiator(trust, local, remote);
    let challenge = AdmissionFrame::Challenge { version: 1, nonce: rand::random() };
    match honest.receive(challenge).unwrap().send {
        Some(AdmissionFrame::Proof { proof: Some(proof) }) => proof,
        other => panic!("{other:?}"),
    }
}

/// The verdict of an honest responder on a proof that an attacker presents.
fn verdict_on(proof: Option<Proof>, victim: &mut Handshake) -> (Verdict, Option<Proof>) {
    victim.receive(AdmissionFrame::Hello { version: 1, nonce: rand::random() }).unwrap();
    match victim.receive(AdmissionFrame::Proof { proof }).unwrap().send {
        Some(AdmissionFrame::Answer { verdict, proof }) => (verdict, proof),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_proof_replayed_in_another_handshake_is_refused_and_earns_no_proof() {
    let (id_a, id_b) = peers();
    let trust = knows(SECRET);
    let replayed = recorded_proof(&trust, &id_a, &id_b);
    let (verdict, proof) = verdict_on(Some(replayed), &mut responder(&trust, &id_b, &id_a));
    assert!(matches!(verdict, Verdict::Refused { .. }));
    assert_eq!(proof, None);
}

#[test]
fn a_proof_made_for_other_peers_is_refused_even_with_the_same_nonces() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let (id_c, _) = peers();
    let mut victim = responder(&trust, &id_b, &id_c);
    // The attacker C relays everything between A, which believes to talk to C, and B.
    let mut fooled = initiator(&trust, &id_a, &id_c);
    let challenge = victim.receive(fooled.start().unwrap()).unwrap().send.unwrap();
    let proof = fooled.receive(challenge).unwrap().send.unwrap();
    let Some(AdmissionFrame::Answer { verdict, .. }) = victim.receive(proof).unwrap().send else { panic!() };
    assert!(matches!(verdict, Verdict::Refused { .. }));
}

#[test]
fn swapped_roles_do_not_make_a_proof_valid() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    // A dials B; B, which does not know the secret, opens a handshake of its own at A at the same time and sends A's
    // proof back to it.
    let mut dialler = initiator(&trust, &id_a, &id_b);
    let mut victim = responder(&trust, &id_a, &id_b);
    let Some(AdmissionFrame::Hello { nonce, .. }) = dialler.start() else { panic!() };
    let challenge = victim.receive(AdmissionFrame::Hello { version: 1, nonce }).unwrap().send.unwrap();
    let proof = dialler.receive(challenge).unwrap().send.unwrap();
    let Some(AdmissionFrame::Answer { verdict, .. }) = victim.receive(proof).unwrap().send else { panic!() };
    assert!(matches!(verdict, Verdict::Refused { .. }), "reflected proof was accepted");
}

#[test]
fn ones_own_nonce_and_ones_own_proof_are_not_accepted_back() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let mut a = initiator(&trust, &id_a, &id_b);
    let Some(AdmissionFrame::Hello { nonce, .. }) = a.start() else { panic!() };
    assert_eq!(
        a.receive(AdmissionFrame::Challenge { version: 1, nonce }).unwrap_err(),
        HandshakeError::Reflected
    );
    let mut a = initiator(&trust, &id_a, &id_b);
    let challenge = AdmissionFrame::Challenge { version: 1, nonce: rand::random() };
    let Some(AdmissionFrame::Proof { proof }) = a.receive(challenge).unwrap().send else { panic!() };
    let answer = AdmissionFrame::Answer { verdict: Verdict::Admitted { role: Role::Admin }, proof };
    let outcome = a.receive(answer).unwrap().done.unwrap();
    assert!(matches!(outcome.ruling(), Ruling::RefusedByUs(why) if why.contains("another mesh secret")));
}

#[test]
fn a_single_changed_bit_of_a_proof_is_noticed() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let flip = |frame| match frame {
        AdmissionFrame::Proof { proof: Some(mut proof) } => {
            proof[31] ^= 1;
            AdmissionFrame::Proof { proof: Some(proof) }
        }
        other => other,
    };
    let pair = converse(&mut initiator(&trust, &id_a, &id_b), &mut responder(&trust, &id_b, &id_a), flip);
    assert!(matches!(pair.unwrap().1.ruling(), Ruling::RefusedByUs(_)));
}

#[test]
fn frames_out_of_turn_and_other_versions_end_the_handshake() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let mut b = responder(&trust, &id_b, &id_a);
    let verdict = AdmissionFrame::Verdict(Verdict::Admitted { role: Role::Admin });
    let out_of_turn = HandshakeError::Unexpected { got: "verdict", expected: "hello" };
    assert_eq!(b.receive(verdict).unwrap_err(), out_of_turn);
    let late = AdmissionFrame::Hello { version: 1, nonce: [1; 32] };
    assert_eq!(
        b.receive(late).unwrap_err(),
        HandshakeError::Unexpected { got: "hello", expected: "nothing" }
    );
    let newer = AdmissionFrame::Hello { version: 2, nonce: [1; 32] };
    let refused = responder(&trust, &id_b, &id_a).receive(newer).unwrap_err();
    assert_eq!(refused, HandshakeError::Version { theirs: 2 });
}

fn traffic() -> crate::pipe::Traffic {
    NetworkMetrics::unregistered().traffic()
}

#[tokio::test]
async fn over_a_stream_both_ends_come_to_the_same_outcome() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let (near, far) = tokio::io::duplex(64);
    let within = Duration::from_secs(5);
    let (a, b) = tokio::join!(
        run(near.compat(), initiator(&trust, &id_a, &id_b), traffic(), within),
        run(far.compat(), responder(&trust, &id_b, &id_a), traffic(), within),
    );
    assert_eq!(role(&a.unwrap().ruling()), Some(Role::Member));
    assert_eq!(role(&b.unwrap().ruling()), Some(Role::Member));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_at_the_deadline() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let (near, _far) = tokio::io::duplex(64);
    let within = Duration::from_secs(5);
    let outcome = run(near.compat(), responder(&trust, &id_b, &id_a), traffic(), within).await;
    assert!(matches!(outcome, Err(AdmissionError::Timeout(_))), "{outcome:?}");
}

#[tokio::test]
async fn truncated_oversized_and_meaningless_frames_are_refused() {
    let trust = knows(SECRET);
    let (id_a, id_b) = peers();
    let hostile: [&[u8]; 5] = [
        &[0, 0, 0, 40, 0, 1],
        &[0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 3, 250, 250, 250],
        &[0, 0, 0, 0],
    ];
    for bytes in hostile {
        let (near, far) = tokio::io::duplex(4096);
        let mut far = far.compat();
        far.write_all(bytes).await.unwrap();
        far.close().await.unwrap();
        let outcome =
            run(near.compat(), responder(&trust, &id_b, &id_a), traffic(), Duration::from_secs(5)).await;
        assert!(outcome.is_err(), "{bytes:?}");
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty(), "{bytes:?} was answered");
    }
}
