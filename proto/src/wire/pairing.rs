//! Pairing `/meshwork/pair/1`: a new node gets the mesh secret from one that has opened the door for it, with a short code
//! that one person reads to another.
//!
//! The code has only thirty bits, so it is never sent, nor anything from which it could be guessed offline: both sides put
//! it into a password-authenticated key exchange (SPAKE2 over Ed25519, bound to both peer ids), and prove to each other
//! that they came to the same key. Whoever guesses has one guess for each exchange, and the door closes after a few. The
//! joining side opens the stream. Four frames, each a u32 length and one bincode [`PairingFrame`]:
//!
//! ```text
//! joiner                                inviter
//!     Start(version, message)      ->
//!                                  <-   Reply(version, message)
//!     Confirm(hmac)                ->
//!                                  <-   Welcome(hmac, secret, addresses), or Refused
//! ```
//!
//! The joiner confirms first: an inviter that confirmed first would tell each guesser whether the guess was right before
//! it counts. The stream itself is encrypted between exactly these two peers, so the secret needs no second encryption.

use crate::PeerId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Protocol id.
pub const PAIRING_PROTOCOL: &str = "/meshwork/pair/1";
/// Version of the frames and of what a confirmation authenticates.
pub const PAIRING_VERSION: u8 = 1;
/// Largest frame, in bytes: a secret, and a few addresses.
pub const MAX_PAIRING_FRAME: usize = 16 * 1024;
/// Longest message of the key exchange, in bytes; it has 33.
pub const MAX_EXCHANGE: usize = 64;
/// Most addresses in a welcome.
pub const MAX_WELCOME_ADDRESSES: usize = 16;

/// An HMAC-SHA256 over [`confirm_message`], with the key that was exchanged.
pub type Confirmation = [u8; 32];

/// One frame of a pairing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PairingFrame {
    /// Joiner: let us begin.
    Start {
        /// Version it speaks.
        version: u8,
        /// Its message of the key exchange.
        message: Vec<u8>,
    },
    /// Inviter: go on.
    Reply {
        /// Version it speaks.
        version: u8,
        /// Its message of the key exchange.
        message: Vec<u8>,
    },
    /// Joiner: this is the key I have.
    Confirm {
        /// Proves it.
        mac: Confirmation,
    },
    /// Inviter: it is mine too, come in.
    Welcome {
        /// Proves it.
        mac: Confirmation,
        /// The mesh secret.
        secret: Vec<u8>,
        /// Where the inviter can be dialled.
        addresses: Vec<String>,
    },
    /// Inviter: no. A wrong code, or one that is of no use any more: it does not say which.
    Refused,
}

impl PairingFrame {
    /// Stable name in errors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Reply { .. } => "reply",
            Self::Confirm { .. } => "confirm",
            Self::Welcome { .. } => "welcome",
            Self::Refused => "refused",
        }
    }
}

/// Only its name: one of them holds the mesh secret.
impl fmt::Debug for PairingFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which side of a pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingSide {
    /// The new node.
    Joiner,
    /// The node that lets it in.
    Inviter,
}

/// The bytes that a confirmation authenticates: a label with the version, the side that confirms, both peers and both
/// messages of the exchange. Every field of variable length has its length before it.
#[must_use]
pub fn confirm_message(
    side: PairingSide,
    joiner: &PeerId,
    inviter: &PeerId,
    start: &[u8],
    reply: &[u8],
) -> Vec<u8> {
    let mut message = Vec::with_capacity(320);
    put(&mut message, b"meshwork pairing");
    message.push(PAIRING_VERSION);
    message.push(match side {
        PairingSide::Joiner => 1,
        PairingSide::Inviter => 2,
    });
    put(&mut message, joiner.as_str().as_bytes());
    put(&mut message, inviter.as_str().as_bytes());
    put(&mut message, start);
    put(&mut message, reply);
    message
}

/// A field and, before it, its length.
fn put(message: &mut Vec<u8>, field: &[u8]) {
    message.extend_from_slice(&(field.len() as u64).to_be_bytes());
    message.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_wire, encode_wire};

    #[test]
    fn every_frame_fits_the_limit_and_reads_back() {
        let address = format!("/dns/{}/tcp/4001/p2p/{}", "x".repeat(253), "1".repeat(60));
        for frame in [
            PairingFrame::Start { version: 1, message: vec![7; MAX_EXCHANGE] },
            PairingFrame::Reply { version: 1, message: vec![8; MAX_EXCHANGE] },
            PairingFrame::Confirm { mac: [9; 32] },
            PairingFrame::Welcome {
                mac: [9; 32],
                secret: vec![1; 1024],
                addresses: vec![address; MAX_WELCOME_ADDRESSES],
            },
            PairingFrame::Refused,
        ] {
            let bytes = encode_wire(&frame, MAX_PAIRING_FRAME).unwrap();
            assert_eq!(decode_wire::<PairingFrame>(&bytes, MAX_PAIRING_FRAME).unwrap(), frame);
        }
    }

    #[test]
    fn the_debug_form_of_a_welcome_does_not_show_the_secret() {
        let welcome = PairingFrame::Welcome { mac: [77; 32], secret: vec![88; 32], addresses: Vec::new() };
        assert_eq!(format!("{welcome:?}"), "welcome");
    }

    #[test]
    fn a_change_of_any_input_changes_what_is_confirmed() {
        let a: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let b: PeerId = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo".parse().unwrap();
        let messages = [
            confirm_message(PairingSide::Joiner, &a, &b, &[1], &[2]),
            confirm_message(PairingSide::Inviter, &a, &b, &[1], &[2]),
            confirm_message(PairingSide::Joiner, &b, &a, &[1], &[2]),
            confirm_message(PairingSide::Joiner, &a, &b, &[1, 2], &[]),
            confirm_message(PairingSide::Joiner, &a, &b, &[1], &[3]),
        ];
        let distinct: std::collections::BTreeSet<_> = messages.iter().collect();
        assert_eq!(distinct.len(), messages.len());
    }
}
