//! Attacks on the handshake, and what honest peers see.

use super::logic::{Handshake, HandshakeError, Outcome, Ruling};
use super::{AdmissionError, run};
use crate::identity::NodeIdentity;
use crate::metrics::NetworkMetrics;
use crate::trust::{MeshSecret, Trust};
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::wire::admission::{AdmissionFrame, Proof, Side, Verdict};
use meshwork_proto::{PeerId, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::compat::TokioAsyncReadCompatExt;

const SECRET: &str = "a secret of twenty-six char";

fn knows(secret: &str) -> Arc<Trust> {
    Arc::new(Trust { secret: Some(MeshSecret::parse(secret).unwrap()), ..Trust::default() })
}

fn peers() -> (PeerId, PeerId) {
    (NodeIdentity::generate().peer_id(), NodeIdentity::generate().peer_id())
}

fn initiator(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Handshake {
    Handshake::new(Arc::clone(trust), Side::Initiator, local.clone(), remote.clone(), rand::random())
}

fn responder(trust: &Arc<Trust>, local: &PeerId, remote: &PeerId) -> Handshake {
    Handshake::new(Arc::clone(trust), Side::Responder, local.clone(), remote.clone(), rand::random())
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

#[test]
fn peers_with_the_same_secret_admit_each_other() {
    let admitted = Ruling::Admitted(Role::Member);
    assert_eq!(rulings(&knows(SECRET), &knows(SECRET)), (admitted.clone(), admitted));
}

#[test]
fn with_different_secrets_both_sides_learn_why_not() {
    let (at_a, at_b) = rulings(&knows(SECRET), &knows("another secret than theirs"));
    assert!(
        matches!(at_a, Ruling::RefusedByThem(ref why) if why.contains("another mesh secret")),
        "{at_a:?}"
    );
    assert!(matches!(at_b, Ruling::RefusedByUs(ref why) if why.contains("another mesh secret")), "{at_b:?}");
}

#[test]
fn a_peer_allowed_by_name_needs_no_secret_and_an_admin_is_one() {
    let (id_a, id_b) = peers();
    let a = Arc::new(Trust { allow: [id_b.clone()].into(), ..Trust::default() });
    let b = Arc::new(Trust { admins: [id_a.clone()].into(), ..(*knows(SECRET)).clone() });
    let pair = converse(&mut initiator(&a, &id_a, &id_b), &mut responder(&b, &id_b, &id_a), |frame| frame);
    let (at_a, at_b) = pair.unwrap();
    assert_eq!(at_a.ruling(), Ruling::Admitted(Role::Member));
    assert_eq!(at_b.ruling(), Ruling::Admitted(Role::Admin));
}

#[test]
fn one_sided_consent_is_a_refusal_that_both_sides_see() {
    let (id_a, id_b) = peers();
    let a = Arc::new(Trust { allow: [id_b.clone()].into(), ..Trust::default() });
    let b = knows(SECRET);
    let pair = converse(&mut initiator(&a, &id_a, &id_b), &mut responder(&b, &id_b, &id_a), |frame| frame);
    let (at_a, at_b) = pair.unwrap();
    assert!(matches!(at_a.ruling(), Ruling::RefusedByThem(why) if why.contains("--allow")));
    assert!(matches!(at_b.ruling(), Ruling::RefusedByUs(_)));
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
    assert_eq!(a.unwrap().ruling(), Ruling::Admitted(Role::Member));
    assert_eq!(b.unwrap().ruling(), Ruling::Admitted(Role::Member));
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
