//! Messages to the transport about whom it lets in: pairing, revocation, misbehaviour, secrets.

use crate::{Coded, ErrorCode, PeerId, Request};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a peer did that it should not have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// A frame that cannot be read, or does not belong where it came.
    BadFrame,
    /// More requests or streams than it may have open, again and again.
    Flood,
    /// A record that is not signed by whom it is about, or says what cannot be.
    FalseAnnouncement,
    /// A proof of the mesh secret, or a pairing code, that is wrong.
    BadProof,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::BadFrame, Self::Flood, Self::FalseAnnouncement, Self::BadProof];

    /// The stable name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Flood => "flood",
            Self::FalseAnnouncement => "false_announcement",
            Self::BadProof => "bad_proof",
        }
    }
}

/// A peer misbehaved (tell): its score falls, and from named thresholds on it is throttled, disconnected, banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOffence {
    /// Who.
    pub peer: PeerId,
    /// What.
    pub offence: Offence,
}

impl Request for ReportOffence {
    type Reply = ();
    const NAME: &'static str = "report_offence";
}

/// Revokes a peer: its connections are closed at once and it is never admitted again, whatever it proves; or takes that
/// back. Answered when it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokePeer {
    /// Who.
    pub peer: PeerId,
    /// Take an earlier revocation, or a ban, back.
    pub undo: bool,
}

impl Request for RevokePeer {
    type Reply = Result<Revoked, RevokeError>;
    const NAME: &'static str = "revoke_peer";
}

/// What a revocation changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Whether it is revoked now.
    pub revoked: bool,
    /// Whether that is a change.
    pub changed: bool,
    /// Connections that were closed.
    pub closed: u32,
}

/// Why a peer was not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RevokeError {
    /// It could not be written down.
    #[error("the revocation is not kept ({0}), so it was not carried out")]
    NotKept(String),
    /// As many as may be.
    #[error("{0} peers are revoked already: change the mesh secret instead")]
    TooMany(usize),
    /// It is this node itself.
    #[error("peer {0} is this node itself")]
    Ourselves(PeerId),
}

impl Coded for RevokeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotKept(_) => ErrorCode::Storage,
            Self::TooMany(_) => ErrorCode::Busy,
            Self::Ourselves(_) => ErrorCode::InvalidArgument,
        }
    }
}

/// Who is shut out.
#[derive(Debug, Clone, Copy)]
pub struct ListShutOut;

impl Request for ListShutOut {
    type Reply = Vec<ShutOut>;
    const NAME: &'static str = "list_shut_out";
}

/// A peer that is shut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutOut {
    /// Who.
    pub peer: PeerId,
    /// For how long still, in milliseconds; none: revoked, for good.
    pub left_ms: Option<u64>,
}

/// Opens the door for one new node: makes a code that a person reads to the person at the new node. Of no use after one
/// success, a few wrong tries, or the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPairing {
    /// For how long, in milliseconds.
    pub valid_ms: u64,
}

impl Request for OpenPairing {
    type Reply = Result<PairingOffer, PairError>;
    const NAME: &'static str = "open_pairing";
}

/// What to tell the other person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingOffer {
    /// The code, in groups of digits.
    pub code: String,
    /// Milliseconds until it is of no use any more.
    pub valid_ms: u64,
    /// Where this node is, each with `/p2p/<id>`.
    pub addresses: Vec<String>,
}

impl fmt::Debug for PairingOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairingOffer").field("valid_ms", &self.valid_ms).finish_non_exhaustive()
    }
}

/// Joins the mesh of a node that has opened pairing, with its code. The mesh secret that comes over is kept, and used from
/// now on.
#[derive(Clone, PartialEq, Eq)]
pub struct PairWith {
    /// The code.
    pub code: String,
    /// Where the other node may be: multiaddresses, tried one after another.
    pub addresses: Vec<String>,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl fmt::Debug for PairWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairWith").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Request for PairWith {
    type Reply = Result<PairedWith, PairError>;
    const NAME: &'static str = "pair_with";
}

/// The node that let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairedWith {
    /// Who.
    pub peer: PeerId,
    /// Where it was reached.
    pub address: String,
}

/// Why pairing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Not a code at all.
    #[error(
        "this is no pairing code: expected nine digits, as `meshwork peers pair` printed them at the other node"
    )]
    NotACode,
    /// The other side does not know it.
    #[error(
        "the pairing code is wrong, was used, or is too old: make a new one at the other node with `meshwork peers pair`"
    )]
    WrongCode,
    /// Nobody there pairs.
    #[error("no node that pairs was found ({tried}): give its address with --at")]
    NobodyThere {
        /// What was tried, for a person.
        tried: String,
    },
    /// A code is out already.
    #[error("a pairing code is out already, for {left_s} seconds still: use that one, or wait")]
    AlreadyOpen {
        /// Seconds.
        left_s: u64,
    },
    /// There is nothing to give.
    #[error("this node has no mesh secret that it could share")]
    NoSecret,
    /// The secret could not be written down.
    #[error("the mesh secret that was received is not kept: {0}")]
    NotKept(String),
    /// The operating system has no randomness to make a code from.
    #[error("no code can be made: {0}")]
    NoCode(String),
}

impl Coded for PairError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotACode => ErrorCode::InvalidArgument,
            Self::WrongCode => ErrorCode::NotAdmitted,
            Self::NobodyThere { .. } => ErrorCode::Unreachable,
            Self::AlreadyOpen { .. } => ErrorCode::WrongState,
            Self::NoSecret => ErrorCode::Config,
            Self::NotKept(_) => ErrorCode::Storage,
            Self::NoCode(_) => ErrorCode::Internal,
        }
    }
}

/// Replaces the mesh secrets of the running node. Peers that were admitted by a secret that is no longer among them prove
/// again at once, and are lost if they cannot; all others stay as they are. Where the secrets are kept is not touched.
#[derive(Clone, PartialEq, Eq)]
pub struct SetSecrets {
    /// The first is shown to peers, all of them are accepted.
    pub secrets: Vec<Vec<u8>>,
}

impl fmt::Debug for SetSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSecrets").field("count", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl Request for SetSecrets {
    type Reply = Result<SecretsSet, SecretsError>;
    const NAME: &'static str = "set_secrets";
}

/// What became of a change of the mesh secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretsSet {
    /// Whether they are others than before, or in another order.
    pub changed: bool,
    /// Connected peers that are asked to prove again.
    pub asked_again: u32,
}

/// Why the mesh secrets were not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mesh secrets stay as they are: {0}")]
pub struct SecretsError(pub String);

impl Coded for SecretsError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secrets_nor_codes_are_in_a_debug_form() {
        let set = SetSecrets { secrets: vec![b"AAAAAAAAAAAAAAAA".to_vec()] };
        let offer = PairingOffer { code: "123 456 789".into(), valid_ms: 1, addresses: Vec::new() };
        let pair = PairWith { code: "123 456 789".into(), addresses: Vec::new(), deadline_ms: 5 };
        let shown = format!("{set:?} {offer:?} {pair:?}");
        assert!(!shown.contains("123") && !shown.contains("65, 65") && !shown.contains("AAA"), "{shown}");
    }
}
