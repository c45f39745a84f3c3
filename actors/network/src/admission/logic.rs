//! The handshake as a state machine: frame in, frame and perhaps an outcome out. No clock, no I/O, no randomness.
//!
//! A proof is an HMAC with the mesh secret over both peer ids (authenticated by the connection below), both nonces and
//! the side that proves. So it is worth nothing on another connection, at another peer, in another handshake, or sent
//! back to whom it came from.
//!
//! A node that knows several secrets shows them one after another until both sides consent, and accepts a proof of any of
//! them. Who is shut out is refused before anything that it proves is looked at, and gets no proof.

use crate::trust::{Decision, Grounds, MeshSecret, Shown, Trust};
use hmac::{Hmac, KeyInit, Mac};
use meshwork_proto::wire::admission::{
    ADMISSION_VERSION, AdmissionFrame, MAX_PROOFS, NOT_ADMITTED, Nonce, Proof, ProofInput, Side, Verdict,
    proof_message, shown_reason,
};
use meshwork_proto::{PeerId, Role};
use sha2::Sha256;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What the operator of a node that is refused reads: the other side says nothing.
pub(crate) const UNSAID: &str =
    "it does not say why: check that both have the same mesh secret, or that it allows this node by id";

/// What both sides decided.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// This node, on the peer.
    pub(crate) ours: Decision,
    /// The peer, on this node.
    pub(crate) theirs: Verdict,
    /// Which end this node is.
    pub(crate) side: Side,
    /// The last proof of the peer fits no secret of this node, and nothing else speaks for it.
    pub(crate) bad_proof: bool,
    /// This node has a secret that it could not show in this handshake: its place in the list.
    pub(crate) untried: Option<usize>,
}

/// An outcome, as it counts here.
#[derive(Debug, Clone)]
pub(crate) enum Ruling {
    /// Both admit each other; the peer has this role here, on these grounds.
    Admitted(Role, Grounds),
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
            (Decision::Admitted { role, grounds }, Verdict::Admitted { .. }) => {
                Ruling::Admitted(role, grounds)
            }
            (Decision::Refused { reason }, Verdict::Admitted { .. }) => Ruling::RefusedByUs(reason),
            (Decision::Refused { reason }, _) if self.side == Side::Responder => Ruling::RefusedByUs(reason),
            (_, Verdict::Refused { reason }) if reason == NOT_ADMITTED => {
                Ruling::RefusedByThem(UNSAID.to_owned())
            }
            (_, Verdict::Refused { reason }) => Ruling::RefusedByThem(shown_reason(&reason)),
        }
    }

    const fn consent(ours: &Decision, theirs: &Verdict) -> bool {
        ours.admits() && matches!(theirs, Verdict::Admitted { .. })
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
#[derive(Debug)]
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
    /// Responder, with the initiator's nonce and its own decision.
    AwaitVerdict(Nonce, Judged),
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
            Self::AwaitVerdict(..) => "verdict",
            Self::Over => "nothing",
        }
    }
}

/// A decision, and what it says of the peer's proof.
#[derive(Debug)]
struct Judged {
    decision: Decision,
    bad_proof: bool,
}

/// Who decides on whom, and by what.
#[derive(Debug)]
pub(crate) struct Parties {
    /// Whom this node trusts.
    pub(crate) trust: Arc<Trust>,
    /// This node.
    pub(crate) local: PeerId,
    /// The peer; authenticated.
    pub(crate) remote: PeerId,
    /// Why the peer is shut out, whatever it proves.
    pub(crate) shut_out: Option<String>,
}

/// One handshake, on one side.
#[derive(Debug)]
pub(crate) struct Handshake {
    parties: Parties,
    side: Side,
    nonce: Nonce,
    state: State,
    /// Place of the secret that is shown.
    showing: usize,
    /// Proofs so far, and how many there may be.
    proofs: usize,
    max_proofs: usize,
}

impl Handshake {
    /// `nonce` must be random and used for this handshake alone.
    pub(crate) fn new(parties: Parties, side: Side, nonce: Nonce) -> Self {
        let state = match side {
            Side::Initiator => State::AwaitChallenge,
            Side::Responder => State::AwaitHello,
        };
        Self { parties, side, nonce, state, showing: 0, proofs: 0, max_proofs: MAX_PROOFS }
    }

    /// Begins with the secret at this place, because those before it were refused.
    pub(crate) fn showing(self, place: usize) -> Self {
        Self { showing: place, ..self }
    }

    /// In the first version of the protocol, which has one proof.
    pub(crate) fn with_one_proof(self) -> Self {
        Self { max_proofs: 1, ..self }
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
                Ok(self.prove(nonce))
            }
            (State::AwaitProof(nonce), AdmissionFrame::Proof { proof }) => Ok(self.answer(nonce, proof)),
            (State::AwaitVerdict(nonce, _), AdmissionFrame::Proof { proof })
                if self.proofs < self.max_proofs =>
            {
                Ok(self.answer(nonce, proof))
            }
            (State::AwaitAnswer(nonce), AdmissionFrame::Answer { verdict, proof }) => {
                Ok(self.conclude(nonce, verdict, proof))
            }
            (State::AwaitVerdict(_, ours), AdmissionFrame::Verdict(theirs)) => {
                Ok(Step { send: None, done: Some(self.outcome(ours, theirs, None)) })
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

    /// Initiator: shows the secret whose turn it is.
    fn prove(&mut self, nonce: Nonce) -> Step {
        let secret = self.parties.trust.secrets.nth(self.showing);
        let proof = secret.map(|secret| self.mac(secret, self.side, &nonce));
        self.proofs += 1;
        self.state = State::AwaitAnswer(nonce);
        send(AdmissionFrame::Proof { proof })
    }

    /// Responder: decides, and proves the same secret. Somebody who did not prove anything gets no proof either: it would
    /// be food for guesses.
    fn answer(&mut self, nonce: Nonce, proof: Option<Proof>) -> Step {
        self.proofs += 1;
        let shown = self.shown(proof, &nonce);
        let judged = self.judge(&shown);
        let proof = match &shown {
            Shown::Right(secret) if judged.decision.admits() => Some(self.mac(secret, self.side, &nonce)),
            _ => None,
        };
        let verdict = judged.decision.verdict();
        self.state = State::AwaitVerdict(nonce, judged);
        send(AdmissionFrame::Answer { verdict, proof })
    }

    /// Initiator: decides, or shows its next secret as long as one side refuses.
    fn conclude(&mut self, nonce: Nonce, theirs: Verdict, proof: Option<Proof>) -> Step {
        let ours = self.judge(&self.shown(proof, &nonce));
        let next = self.showing + 1;
        let more = !Outcome::consent(&ours.decision, &theirs)
            && self.parties.shut_out.is_none()
            && self.parties.trust.secrets.nth(next).is_some();
        if more && self.proofs < self.max_proofs {
            self.showing = next;
            return self.prove(nonce);
        }
        let last = AdmissionFrame::Verdict(ours.decision.verdict());
        Step { send: Some(last), done: Some(self.outcome(ours, theirs, more.then_some(next))) }
    }

    fn outcome(&self, ours: Judged, theirs: Verdict, untried: Option<usize>) -> Outcome {
        Outcome { ours: ours.decision, theirs, side: self.side, bad_proof: ours.bad_proof, untried }
    }

    fn judge(&self, shown: &Shown) -> Judged {
        let decision = match &self.parties.shut_out {
            Some(why) => Decision::Refused { reason: why.clone() },
            None => self.parties.trust.decide(&self.parties.remote, shown),
        };
        let bad_proof = matches!(shown, Shown::Wrong) && !decision.admits();
        Judged { decision, bad_proof }
    }

    /// Which of this node's secrets the other side has proved. All of them are compared, so that the time says nothing.
    fn shown(&self, proof: Option<Proof>, theirs: &Nonce) -> Shown {
        let Some(proof) = proof else { return Shown::Nothing };
        if self.parties.trust.secrets.is_empty() {
            return Shown::Nothing;
        }
        let other = match self.side {
            Side::Initiator => Side::Responder,
            Side::Responder => Side::Initiator,
        };
        let mut shown = Shown::Wrong;
        for secret in self.parties.trust.secrets.iter() {
            if bool::from(self.mac(secret, other, theirs).ct_eq(&proof)) {
                shown = Shown::Right(secret.clone());
            }
        }
        shown
    }

    /// The proof that `prover` gives in this handshake.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, secret: &MeshSecret, prover: Side, theirs: &Nonce) -> Proof {
        let (local, remote) = (&self.parties.local, &self.parties.remote);
        let message = match self.side {
            Side::Initiator => proof_message(&ProofInput {
                prover,
                initiator: local,
                responder: remote,
                initiator_nonce: &self.nonce,
                responder_nonce: theirs,
            }),
            Side::Responder => proof_message(&ProofInput {
                prover,
                initiator: remote,
                responder: local,
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
