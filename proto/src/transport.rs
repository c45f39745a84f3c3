//! Messages to the transport: connections to peers and requests over them; finding and being found ([`reach`]); whom it
//! lets in ([`trust`]).

pub mod reach;
pub mod trust;

pub use reach::{
    AddressFailure, ConnectError, ConnectPeer, ConnectedPeer, ConsiderAddresses, Directory, DisconnectPeer,
    EnterSelf, GetReach, ListNeighbours, LookUp, LookUpError, Neighbours, Reach, Reachability,
};
pub use trust::{
    ListShutOut, Offence, OpenPairing, PairError, PairWith, PairedWith, PairingOffer, ReportOffence,
    RevokeError, RevokePeer, Revoked, SecretsError, SecretsSet, SetSecrets, ShutOut,
};

use crate::wire::{MeshReply, MeshRequest};
use crate::{Caller, Cid, Coded, ErrorCode, MeshError, PeerId, Request, Role};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A peer as a user names it: by id, or by a multiaddress (with or without `/p2p/<id>`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerTarget {
    /// By id: it must be connected, or its address known.
    Id(PeerId),
    /// By address: dialled if it is not connected.
    Address(String),
}

impl FromStr for PeerTarget {
    type Err = crate::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') { Ok(Self::Address(text.to_owned())) } else { text.parse().map(Self::Id) }
    }
}

impl fmt::Display for PeerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(peer) => peer.fmt(f),
            Self::Address(address) => f.write_str(address),
        }
    }
}

/// Why a peer could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not connected and no address known.
    #[error(
        "peer {0} is not connected and no address of it is known: give its address, or check `meshwork peers`"
    )]
    UnknownPeer(String),
    /// The address cannot be read.
    #[error(
        "{address:?} is not a multiaddress ({problem}): expected for example /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..."
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// Dialling failed.
    #[error("peer {target} cannot be reached: {problem}")]
    Unreachable {
        /// Who.
        target: String,
        /// Why.
        problem: String,
    },
    /// Somebody else answered at the address.
    #[error("at {address} answered peer {found}, not {expected}")]
    WrongPeer {
        /// Where.
        address: String,
        /// Who was expected.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// One of the two sides does not admit the other.
    #[error("peer {peer} and this node do not trust each other: {reason}")]
    NotAdmitted {
        /// Who.
        peer: PeerId,
        /// Which side refused, and what would help.
        reason: String,
    },
    /// The connection was lost while the request was under way: it may or may not have been done.
    #[error("connection to peer {0} was lost before it answered")]
    ConnectionLost(PeerId),
    /// No answer in time.
    #[error("peer {target} did not answer within {after_ms} ms")]
    Timeout {
        /// Who.
        target: String,
        /// The deadline.
        after_ms: u64,
    },
    /// As many requests are under way as may be.
    #[error("{limit} requests to peer {peer} are under way already")]
    Busy {
        /// Who.
        peer: PeerId,
        /// The limit.
        limit: u32,
    },
    /// Too large for one message.
    #[error("message of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The peer said no.
    #[error(transparent)]
    Refused(#[from] MeshError),
    /// The peer's answer does not fit the question.
    #[error("peer {0} gave an answer that does not fit the question")]
    Protocol(PeerId),
}

impl Coded for CallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPeer(_) => ErrorCode::UnknownPeer,
            Self::Address { .. } => ErrorCode::InvalidArgument,
            Self::Unreachable { .. } | Self::WrongPeer { .. } => ErrorCode::Unreachable,
            Self::NotAdmitted { .. } => ErrorCode::NotAdmitted,
            Self::ConnectionLost(_) => ErrorCode::Unavailable,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::Busy { .. } => ErrorCode::Busy,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Refused(error) => error.code,
            Self::Protocol(_) => ErrorCode::VersionMismatch,
        }
    }
}

/// Asks a peer for something. If the asker goes away, the peer is told to stop.
#[derive(Debug, Clone)]
pub struct CallPeer {
    /// Whom.
    pub target: PeerTarget,
    /// For what.
    pub request: MeshRequest,
    /// How long the whole may take, dialling included, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for CallPeer {
    type Reply = Result<PeerAnswer, CallError>;
    const NAME: &'static str = "call_peer";
}

/// What a peer answered.
#[derive(Debug, Clone)]
pub struct PeerAnswer {
    /// Who answered.
    pub peer: PeerId,
    /// What.
    pub reply: MeshReply,
}

/// A request of an admitted peer (or of this node itself), to be served; the answer goes back over the wire.
#[derive(Debug, Clone)]
pub struct ServeRequest {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub request: MeshRequest,
}

impl Request for ServeRequest {
    type Reply = Result<MeshReply, MeshError>;
    const NAME: &'static str = "serve_request";
}

/// Fetches an artifact from a peer into this node's store: chunked, resumed where it was cut off, verified.
#[derive(Debug, Clone)]
pub struct FetchArtifact {
    /// From whom.
    pub from: PeerId,
    /// Which.
    pub cid: Cid,
    /// Length announced, in bytes.
    pub len: u64,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for FetchArtifact {
    type Reply = Result<(), FetchError>;
    const NAME: &'static str = "fetch_artifact";
}

/// Why an artifact could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The peer could not be asked, or said no.
    #[error("artifact could not be fetched: {0}")]
    Call(#[from] CallError),
    /// It could not be stored, or is not what its id says.
    #[error(transparent)]
    Artifact(#[from] crate::artifact::ArtifactError),
    /// Our own store did not answer.
    #[error("artifact could not be stored: {0}")]
    Store(String),
}

impl Coded for FetchError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Call(error) => error.code(),
            Self::Artifact(error) => error.code(),
            Self::Store(_) => ErrorCode::Unavailable,
        }
    }
}

/// Connects to a peer (and keeps the address); answered when it is admitted on both sides.
#[derive(Debug, Clone)]
pub struct DialPeer {
    /// Where.
    pub target: PeerTarget,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for DialPeer {
    type Reply = Result<PeerId, CallError>;
    const NAME: &'static str = "dial_peer";
}

/// Asks for this node's id and addresses.
#[derive(Debug, Clone, Copy)]
pub struct GetLocalPeer;

impl Request for GetLocalPeer {
    type Reply = LocalPeer;
    const NAME: &'static str = "get_local_peer";
}

/// This node as peers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPeer {
    /// Id.
    pub peer: PeerId,
    /// Addresses it listens on, each with `/p2p/<id>`.
    pub listen: Vec<String>,
}

/// An admitted connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Who.
    pub peer: PeerId,
    /// Its role here.
    pub role: Role,
    /// Its address.
    pub address: String,
}
