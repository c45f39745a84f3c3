//! Both sides of a pairing as state machines: frame in, frame and perhaps an outcome out. No clock, no I/O, no randomness:
//! the key exchange is handed in when it has begun.
//!
//! Both peer ids are in the exchange and in what is confirmed. They are authenticated by the connection below, so somebody
//! in the middle, who has other ids at both ends, comes to other keys even if it passes every frame on.

use super::code::Code;
use hmac::{Hmac, KeyInit, Mac};
use meshwork_proto::PeerId;
use meshwork_proto::wire::pairing::{
    Confirmation, MAX_EXCHANGE, MAX_WELCOME_ADDRESSES, PAIRING_VERSION, PairingFrame, PairingSide,
    confirm_message,
};
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The two ends of a pairing.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// The new node.
    pub(crate) joiner: PeerId,
    /// The node that lets it in.
    pub(crate) inviter: PeerId,
}

impl Ends {
    fn identities(&self) -> (Identity, Identity) {
        (Identity::new(self.joiner.as_str().as_bytes()), Identity::new(self.inviter.as_str().as_bytes()))
    }
}

/// A key exchange that has begun: what it keeps, and the message to the other side.
pub(crate) struct Exchange {
    spake: Spake2<Ed25519Group>,
    message: Vec<u8>,
}

impl Exchange {
    /// Begins one, with the operating system's randomness.
    pub(crate) fn begin(side: PairingSide, code: &Code, ends: &Ends) -> Self {
        let (joiner, inviter) = ends.identities();
        let password = Password::new(code.expose());
        let (spake, message) = match side {
            PairingSide::Joiner => Spake2::<Ed25519Group>::start_a(&password, &joiner, &inviter),
            PairingSide::Inviter => Spake2::<Ed25519Group>::start_b(&password, &joiner, &inviter),
        };
        Self { spake, message }
    }
}

/// What the other side said that does not belong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairingError {
    /// Another version.
    #[error("the peer speaks version {theirs} of pairing, this node {PAIRING_VERSION}")]
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
    /// No message of the key exchange.
    #[error("the peer sent something that is no message of the key exchange")]
    Exchange,
    /// It says more than it should.
    #[error("the peer's welcome is longer than one may be")]
    Welcome,
}

impl PairingError {
    /// Whether an honest peer could not have caused it.
    pub(crate) const fn is_offence(&self) -> bool {
        !matches!(self, Self::Version { .. })
    }
}

/// The key that both sides came to, and what they confirm with it.
struct Agreed {
    key: Zeroizing<Vec<u8>>,
    ends: Ends,
    start: Vec<u8>,
    reply: Vec<u8>,
}

impl Agreed {
    fn new(exchange: Exchange, side: PairingSide, ends: Ends, theirs: &[u8]) -> Result<Self, PairingError> {
        if theirs.len() > MAX_EXCHANGE {
            return Err(PairingError::Exchange);
        }
        let key = Zeroizing::new(exchange.spake.finish(theirs).map_err(|_| PairingError::Exchange)?);
        let (start, reply) = match side {
            PairingSide::Joiner => (exchange.message, theirs.to_vec()),
            PairingSide::Inviter => (theirs.to_vec(), exchange.message),
        };
        Ok(Self { key, ends, start, reply })
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn confirmation(&self, side: PairingSide) -> Confirmation {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any key length");
        let Ends { joiner, inviter } = &self.ends;
        mac.update(&confirm_message(side, joiner, inviter, &self.start, &self.reply));
        mac.finalize().into_bytes().into()
    }

    fn confirms(&self, side: PairingSide, mac: &Confirmation) -> bool {
        self.confirmation(side).ct_eq(mac).into()
    }
}

/// What a frame from the joiner leads to.
pub(crate) enum InviterStep {
    /// To be sent.
    Send(PairingFrame),
    /// The joiner has, or has not, come to the same key: the door decides. The confirmation is for the welcome.
    Judge {
        /// It has.
        right: bool,
        /// Only to be sent when the door lets it in.
        mac: Confirmation,
    },
}

enum InviterState {
    AwaitStart(Exchange),
    AwaitConfirm(Agreed),
    Over,
}

/// The node that lets a new one in.
pub(crate) struct Inviter {
    ends: Ends,
    state: InviterState,
}

impl Inviter {
    pub(crate) fn new(exchange: Exchange, ends: Ends) -> Self {
        Self { ends, state: InviterState::AwaitStart(exchange) }
    }

    /// Takes the joiner's next frame. After an error the pairing is over.
    pub(crate) fn receive(&mut self, frame: PairingFrame) -> Result<InviterStep, PairingError> {
        match (std::mem::replace(&mut self.state, InviterState::Over), frame) {
            (InviterState::AwaitStart(exchange), PairingFrame::Start { version, message: theirs }) => {
                check(version)?;
                let message = exchange.message.clone();
                let agreed = Agreed::new(exchange, PairingSide::Inviter, self.ends.clone(), &theirs)?;
                self.state = InviterState::AwaitConfirm(agreed);
                Ok(InviterStep::Send(PairingFrame::Reply { version: PAIRING_VERSION, message }))
            }
            (InviterState::AwaitConfirm(agreed), PairingFrame::Confirm { mac }) => Ok(InviterStep::Judge {
                right: agreed.confirms(PairingSide::Joiner, &mac),
                mac: agreed.confirmation(PairingSide::Inviter),
            }),
            (state, frame) => {
                let expected = match state {
                    InviterState::AwaitStart(_) => "start",
                    InviterState::AwaitConfirm(_) => "confirm",
                    InviterState::Over => "nothing",
                };
                Err(PairingError::Unexpected { got: frame.name(), expected })
            }
        }
    }
}

/// What came over.
pub(crate) struct Welcome {
    /// The mesh secret.
    pub(crate) secret: Zeroizing<Vec<u8>>,
    /// Where the inviter says that it can be dialled.
    pub(crate) addresses: Vec<String>,
}

/// Not the secret.
impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What a frame from the inviter leads to.
#[derive(Debug)]
pub(crate) enum JoinerStep {
    /// To be sent.
    Send(PairingFrame),
    /// The inviter knows the code and lets this node in.
    Welcome(Welcome),
    /// It does not let this node in, or only claims to know the code.
    Refused,
}

enum JoinerState {
    AwaitReply(Exchange),
    AwaitWelcome(Agreed),
    Over,
}

/// The new node.
pub(crate) struct Joiner {
    ends: Ends,
    state: JoinerState,
}

impl Joiner {
    /// The joiner, and its first frame.
    pub(crate) fn new(exchange: Exchange, ends: Ends) -> (Self, PairingFrame) {
        let start = PairingFrame::Start { version: PAIRING_VERSION, message: exchange.message.clone() };
        (Self { ends, state: JoinerState::AwaitReply(exchange) }, start)
    }

    /// Takes the inviter's next frame. After an error the pairing is over.
    pub(crate) fn receive(&mut self, frame: PairingFrame) -> Result<JoinerStep, PairingError> {
        match (std::mem::replace(&mut self.state, JoinerState::Over), frame) {
            (JoinerState::AwaitReply(exchange), PairingFrame::Reply { version, message: theirs }) => {
                check(version)?;
                let agreed = Agreed::new(exchange, PairingSide::Joiner, self.ends.clone(), &theirs)?;
                let mac = agreed.confirmation(PairingSide::Joiner);
                self.state = JoinerState::AwaitWelcome(agreed);
                Ok(JoinerStep::Send(PairingFrame::Confirm { mac }))
            }
            (JoinerState::AwaitWelcome(agreed), PairingFrame::Welcome { mac, secret, addresses }) => {
                let secret = Zeroizing::new(secret);
                if !agreed.confirms(PairingSide::Inviter, &mac) {
                    return Ok(JoinerStep::Refused);
                }
                if addresses.len() > MAX_WELCOME_ADDRESSES {
                    return Err(PairingError::Welcome);
                }
                Ok(JoinerStep::Welcome(Welcome { secret, addresses }))
            }
            (JoinerState::AwaitReply(_) | JoinerState::AwaitWelcome(_), PairingFrame::Refused) => {
                Ok(JoinerStep::Refused)
            }
            (state, frame) => {
                let expected = match state {
                    JoinerState::AwaitReply(_) => "reply",
                    JoinerState::AwaitWelcome(_) => "welcome",
                    JoinerState::Over => "nothing",
                };
                Err(PairingError::Unexpected { got: frame.name(), expected })
            }
        }
    }
}

const fn check(version: u8) -> Result<(), PairingError> {
    if version == PAIRING_VERSION { Ok(()) } else { Err(PairingError::Version { theirs: version }) }
}

#[cfg(test)]
#[path = "logic_tests.rs"]
mod tests;
