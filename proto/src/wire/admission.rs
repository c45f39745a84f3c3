//! The handshake `/meshwork/admit/2`: two peers prove to each other that they know the mesh secret, without saying it.
//!
//! Whoever opens the stream is the initiator. Five frames, each a u32 length and one bincode [`AdmissionFrame`]:
//!
//! ```text
//! initiator                          responder
//!     Hello(version, nonce)     ->
//!                               <-   Challenge(version, nonce)
//!     Proof(hmac or nothing)    ->
//!                               <-   Answer(verdict, hmac or nothing)
//!     Verdict(verdict)          ->
//! ```
//!
//! Each side decides on the other and says so; a refusal says [`NOT_ADMITTED`] and nothing else, because it is read by
//! strangers. The initiator, who chose whom to call, proves first: somebody who merely connects to a node gets nothing
//! from it with which guesses of the secret could be tested.
//!
//! While a secret is being changed, a node knows several. The initiator shows them one after another: as long as its
//! proof does not lead to consent on both sides, it may send the `Proof` of its next secret in place of the `Verdict`,
//! up to [`MAX_PROOFS`] in all. In the version before, `/meshwork/admit/1`, there was one proof in a handshake; the
//! frames are the same.

use crate::{PeerId, Role};
use serde::{Deserialize, Serialize};

/// Version of the frames and of what a proof authenticates, the same in both versions of the protocol.
pub const ADMISSION_VERSION: u8 = 1;
/// Proofs in one handshake, at most: as many secrets as a node may know at a time.
pub const MAX_PROOFS: usize = 4;
/// What a refusal says on the wire, to whomever. Why, and what would help, is for the refusing node's operator.
pub const NOT_ADMITTED: &str = "not admitted";
/// Largest frame of the handshake, in bytes: nothing in it is long, and it is read from strangers.
pub const MAX_ADMISSION_FRAME: usize = 2048;
/// Longest reason of a verdict that is sent or shown, in characters.
pub const MAX_REASON: usize = 400;

/// A number used once: 32 random bytes.
pub type Nonce = [u8; 32];
/// An HMAC-SHA256 over [`proof_message`], with the mesh secret as the key.
pub type Proof = [u8; 32];

/// One frame of the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdmissionFrame {
    /// Initiator: let us begin.
    Hello {
        /// Version it speaks.
        version: u8,
        /// Its nonce.
        nonce: Nonce,
    },
    /// Responder: prove it.
    Challenge {
        /// Version it speaks.
        version: u8,
        /// Its nonce.
        nonce: Nonce,
    },
    /// Initiator: this is the proof.
    Proof {
        /// None when the initiator has no secret.
        proof: Option<Proof>,
    },
    /// Responder: what it decided, and its own proof.
    Answer {
        /// On the initiator.
        verdict: Verdict,
        /// With the secret that the initiator has proved; none for one that has proved nothing.
        proof: Option<Proof>,
    },
    /// Initiator: what it decided.
    Verdict(Verdict),
}

impl AdmissionFrame {
    /// Stable name in errors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Challenge { .. } => "challenge",
            Self::Proof { .. } => "proof",
            Self::Answer { .. } => "answer",
            Self::Verdict(_) => "verdict",
        }
    }
}

/// What one side decided on the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It may make requests.
    Admitted {
        /// With this role.
        role: Role,
    },
    /// It may not.
    Refused {
        /// [`NOT_ADMITTED`]; the nodes of earlier versions say why.
        reason: String,
    },
}

/// Which end of the stream a proof comes from: a proof is never valid for the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the stream.
    Initiator,
    /// The end that accepted it.
    Responder,
}

/// What a proof is computed over.
#[derive(Debug, Clone, Copy)]
pub struct ProofInput<'a> {
    /// Who proves.
    pub prover: Side,
    /// Who opened the stream.
    pub initiator: &'a PeerId,
    /// Who accepted it.
    pub responder: &'a PeerId,
    /// The initiator's nonce.
    pub initiator_nonce: &'a Nonce,
    /// The responder's nonce.
    pub responder_nonce: &'a Nonce,
}

/// The bytes that a proof authenticates: a label with the version, the side that proves, both peers and both nonces.
/// Every field of variable length has its length before it, so that no two inputs give the same bytes.
#[must_use]
pub fn proof_message(input: &ProofInput<'_>) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    put(&mut message, b"meshwork admission");
    message.push(ADMISSION_VERSION);
    message.push(match input.prover {
        Side::Initiator => 1,
        Side::Responder => 2,
    });
    put(&mut message, input.initiator.as_str().as_bytes());
    put(&mut message, input.responder.as_str().as_bytes());
    message.extend_from_slice(input.initiator_nonce);
    message.extend_from_slice(input.responder_nonce);
    message
}

/// A field and, before it, its length.
fn put(message: &mut Vec<u8>, field: &[u8]) {
    message.extend_from_slice(&(field.len() as u64).to_be_bytes());
    message.extend_from_slice(field);
}

/// A reason as it may be shown: a peer chooses its text, so it is cut and holds no control characters.
#[must_use]
pub fn shown_reason(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_wire, encode_wire};

    fn peers() -> (PeerId, PeerId) {
        (
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
            "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo".parse().unwrap(),
        )
    }

    #[test]
    fn every_frame_fits_the_limit_and_reads_back() {
        let longest = Verdict::Refused { reason: "\u{10ffff}".repeat(MAX_REASON) };
        for frame in [
            AdmissionFrame::Hello { version: 1, nonce: [7; 32] },
            AdmissionFrame::Challenge { version: 1, nonce: [8; 32] },
            AdmissionFrame::Proof { proof: Some([9; 32]) },
            AdmissionFrame::Answer { verdict: longest.clone(), proof: Some([9; 32]) },
            AdmissionFrame::Verdict(longest),
        ] {
            let bytes = encode_wire(&frame, MAX_ADMISSION_FRAME).unwrap();
            assert_eq!(decode_wire::<AdmissionFrame>(&bytes, MAX_ADMISSION_FRAME).unwrap(), frame);
        }
    }

    #[test]
    fn a_change_of_any_input_changes_the_message() {
        let (a, b) = peers();
        let input = ProofInput {
            prover: Side::Initiator,
            initiator: &a,
            responder: &b,
            initiator_nonce: &[1; 32],
            responder_nonce: &[2; 32],
        };
        let messages = [
            proof_message(&input),
            proof_message(&ProofInput { prover: Side::Responder, ..input }),
            proof_message(&ProofInput { initiator: &b, responder: &a, ..input }),
            proof_message(&ProofInput { initiator_nonce: &[3; 32], ..input }),
            proof_message(&ProofInput { responder_nonce: &[3; 32], ..input }),
        ];
        let distinct: std::collections::BTreeSet<_> = messages.iter().collect();
        assert_eq!(distinct.len(), messages.len());
    }

    #[test]
    fn a_reason_from_outside_is_cut_and_stays_on_one_line() {
        let shown = shown_reason(&format!("no\nforged log line\u{1b}[2J{}", "x".repeat(10_000)));
        assert_eq!(shown.chars().count(), MAX_REASON);
        assert!(!shown.chars().any(char::is_control));
    }
}
