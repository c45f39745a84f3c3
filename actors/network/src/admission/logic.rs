//! The handshake as a state machine: frame in, frame and perhaps an outcome out. No clock, no I/O, no randomness.
//!
//! A proof is an HMAC with the mesh secret over both peer ids (authenticated by the connection below), both nonces and
//! the side that proves. So it is worth nothing on another connection, at another peer, in another handshake, or sent
//! back to whom it came from.

use crate::trust::{MeshSecret, Shown, Trust};
use hmac::{Hmac, KeyInit, Mac};
use meshwork_proto::wire::admission::{
    ADMISSION_VERSION, AdmissionFrame, Nonce, Proof, ProofInput, Side, Verdict, proof_message, shown_reason,
};
use meshwork_proto::{PeerId, Role};
use sha2::Sha256;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What both sides decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// This node, on the peer.
    pub(crate) ours: Verdict,
    /// The peer, on this node.
    pub(crate) theirs: Verdict,
    /// Which end this node is.
    pub(crate) side: Side,
}

/// An outcome, as it counts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Both admit each other; the peer has this role here.
    Admitted(Role),
    /// This node refuses the peer.
    RefusedByUs(String),
    /// The peer refuses this node.
    RefusedByThem(String),
}

impl Outcome {
    /// Requests need both sides' consent. When both refuse, the responder's reason counts: it has seen a proof, and an
    /// initiator that it refuses for it never sees one.
    pub(crate) fn ruling(self) -> Ruling {
        match (self.ours, self.theirs) {
            (Verdict::Admitted { role }, Verdict::Admitted { .. }) => Ruling::Admitted(role),
            (Verdict::Refused { reason }, Verdict::Admitted { .. }) => Ruling::RefusedByUs(reason),
            (Verdict::Refused { reason }, _) if self.side == Side::Responder => Ruling::RefusedByUs(reason),
            (_, Verdict::Refused { reason }) => Ruling::RefusedByThem(shown_reason(&reason)),
        }
    }
}

/// What the peer said that does not belong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// Another version.
    #[error("the peer speaks version {theirs} of the handshake, this node {ADMISSION_VERSION}")]
    Version {
        /// Theirs.
        theirs: u8,
    },
    /// A frame out of turn.
    #[error("the peer sent a {got} frame, expected {expected}")]
    Unexpected {
        /// What came.
        got: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// Our own nonce came back.
    #[error("the peer sent this node's own nonce back")]
    Reflected,
}

/// What a frame leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// To be sent.
    pub(crate) send: Option<AdmissionFrame>,
    /// The handshake is over.
    pub(crate) done: Option<Outcome>,
}

#[derive(Debug)]
enum State {
    /// Responder.
    AwaitHello,
    /// Initiator.
    AwaitChallenge,
    /// Responder, with the initiator's nonce.
    AwaitProof(Nonce),
    /// Initiator, with the responder's nonce.
    AwaitAnswer(Nonce),
    /// Responder, with its own decision.
    AwaitVerdict(Verdict),
    /// Nothing more is expected.
    Over,
}

impl State {
    const fn expected(&self) -> &'static str {
        match self {
            Self::AwaitHello => "hello",
            Self::AwaitChallenge => "challenge",
            Self::AwaitProof(_) => "proof",
            Self::AwaitAnswer(_) => "answer",
            Self::AwaitVerdict(_) => "verdict",
            Self::Over => "nothing",
        }
    }
}

/// One handshake, on one side.
#[derive(Debug)]
pub(crate) struct Handshake {
    trust: Arc<Trust>,
    side: Side,
    local: PeerId,
    remote: PeerId,
    nonce: Nonce,
    state: State,
}

impl Handshake {
    /// `nonce` must be random and used for this handshake alone; `remote` must be authenticated.
    pub(crate) fn new(trust: Arc<Trust>, side: Side, local: PeerId, remote: PeerId, nonce: Nonce) -> Self {
        let state = match side {
            Side::Initiator => State::AwaitChallenge,
            Side::Responder => State::AwaitHello,
        };
        Self { trust, side, local, remote, nonce, state }
    }

    /// The first frame, if this side sends it.
    pub(crate) fn start(&self) -> Option<AdmissionFrame> {
        match self.side {
            Side::Initiator => Some(AdmissionFrame::Hello { version: ADMISSION_VERSION, nonce: self.nonce }),
            Side::Responder => None,
        }
    }

    /// Takes the peer's next frame. After an error the handshake is over.
    pub(crate) fn receive(&mut self, frame: AdmissionFrame) -> Result<Step, HandshakeError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, frame) {
            (State::AwaitHello, AdmissionFrame::Hello { version, nonce }) => {
                self.check(version, &nonce)?;
                self.state = State::AwaitProof(nonce);
                Ok(send(AdmissionFrame::Challenge { version: ADMISSION_VERSION, nonce: self.nonce }))
            }
            (State::AwaitChallenge, AdmissionFrame::Challenge { version, nonce }) => {
                self.check(version, &nonce)?;
                let proof = self.own_proof(&nonce);
                self.state = State::AwaitAnswer(nonce);
                Ok(send(AdmissionFrame::Proof { proof }))
            }
            (State::AwaitProof(nonce), AdmissionFrame::Proof { proof }) => {
                let shown = self.shown(proof, &nonce);
                let verdict = self.trust.decide(&self.remote, shown);
                // Somebody who did not prove anything gets no proof either: it would be food for guesses.
                let proof = if shown == Shown::Right { self.own_proof(&nonce) } else { None };
                self.state = State::AwaitVerdict(verdict.clone());
                Ok(send(AdmissionFrame::Answer { verdict, proof }))
            }
            (State::AwaitAnswer(nonce), AdmissionFrame::Answer { verdict: theirs, proof }) => {
                let ours = self.trust.decide(&self.remote, self.shown(proof, &nonce));
                let last = AdmissionFrame::Verdict(ours.clone());
                Ok(Step { send: Some(last), done: Some(Outcome { ours, theirs, side: self.side }) })
            }
            (State::AwaitVerdict(ours), AdmissionFrame::Verdict(theirs)) => {
                Ok(Step { send: None, done: Some(Outcome { ours, theirs, side: self.side }) })
            }
            (state, frame) => {
                Err(HandshakeError::Unexpected { got: frame.name(), expected: state.expected() })
            }
        }
    }

    fn check(&self, version: u8, nonce: &Nonce) -> Result<(), HandshakeError> {
        if version != ADMISSION_VERSION {
            return Err(HandshakeError::Version { theirs: version });
        }
        if *nonce == self.nonce {
            return Err(HandshakeError::Reflected);
        }
        Ok(())
    }

    fn own_proof(&self, theirs: &Nonce) -> Option<Proof> {
        let secret = self.trust.secret.as_ref()?;
        Some(self.mac(secret, self.side, theirs))
    }

    fn shown(&self, proof: Option<Proof>, theirs: &Nonce) -> Shown {
        let (Some(proof), Some(secret)) = (proof, self.trust.secret.as_ref()) else { return Shown::Nothing };
        let other = match self.side {
            Side::Initiator => Side::Responder,
            Side::Responder => Side::Initiator,
        };
        let expected = self.mac(secret, other, theirs);
        if bool::from(expected.ct_eq(&proof)) { Shown::Right } else { Shown::Wrong }
    }

    /// The proof that `prover` gives in this handshake.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, secret: &MeshSecret, prover: Side, theirs: &Nonce) -> Proof {
        let message = match self.side {
            Side::Initiator => proof_message(&ProofInput {
                prover,
                initiator: &self.local,
                responder: &self.remote,
                initiator_nonce: &self.nonce,
                responder_nonce: theirs,
            }),
            Side::Responder => proof_message(&ProofInput {
                prover,
                initiator: &self.remote,
                responder: &self.local,
                initiator_nonce: theirs,
                responder_nonce: &self.nonce,
            }),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("any key length");
        mac.update(&message);
        mac.finalize().into_bytes().into()
    }
}

fn send(frame: AdmissionFrame) -> Step {
    Step { send: Some(frame), done: None }
}
