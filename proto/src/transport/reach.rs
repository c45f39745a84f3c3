//! Messages to the transport about finding peers and being found: connecting by candidate addresses, look-ups in tables
//! and at rendezvous points, and how well this node can be reached.

use super::CallError;
use crate::discovery::FoundPeer;
use crate::{Coded, ErrorCode, PeerId, Request};
use serde::{Deserialize, Serialize};

/// Connects to a peer that was found, at whichever of its addresses answers first; answered when both sides admit each
/// other. A connection that is lost is not opened again by the transport: who should be connected is discovery's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectPeer {
    /// Who must answer; none: whoever does.
    pub peer: Option<PeerId>,
    /// Where, most promising first; with or without `/p2p/<id>`.
    pub addresses: Vec<String>,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for ConnectPeer {
    type Reply = Result<ConnectedPeer, ConnectError>;
    const NAME: &'static str = "connect_peer";
}

/// A peer that was connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedPeer {
    /// Who answered.
    pub peer: PeerId,
    /// At which address, without `/p2p/<id>`; none when it was connected already.
    pub address: Option<String>,
}

/// Why a peer could not be connected to, and what each address led to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ConnectError {
    /// Of the whole.
    pub error: CallError,
    /// Addresses that failed, each with the reason, as far as it is known of each.
    pub failed: Vec<(String, AddressFailure)>,
}

/// What was wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressFailure {
    /// Nobody answered there.
    Unreachable(String),
    /// Another peer answered there: the address is not the peer's any more.
    WrongPeer(PeerId),
    /// This node itself answered there.
    Ourselves,
}

/// Closes all connections to a peer (tell); the peer may come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectPeer {
    /// Who.
    pub peer: PeerId,
}

impl Request for DisconnectPeer {
    /// Whether it was connected.
    type Reply = bool;
    const NAME: &'static str = "disconnect_peer";
}

/// Where peers can be looked up, and where this node can enter itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// The mesh's own Kademlia table.
    Dht,
    /// The public Kademlia table (`/ipfs/kad/1.0.0`).
    PublicDht,
    /// A rendezvous point, by its address with `/p2p/<id>`.
    Rendezvous {
        /// Where it is.
        point: String,
    },
}

/// Looks up who has entered itself under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// Where.
    pub directory: Directory,
    /// Under which name: a namespace, or a capability.
    pub name: String,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for LookUp {
    type Reply = Result<Vec<FoundPeer>, LookUpError>;
    const NAME: &'static str = "look_up";
}

/// Enters this node under a name, or takes the entry back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnterSelf {
    /// Where.
    pub directory: Directory,
    /// Under which name.
    pub name: String,
    /// For how long at least, in seconds; 0 takes the entry back.
    pub ttl_s: u64,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Request for EnterSelf {
    type Reply = Result<(), LookUpError>;
    const NAME: &'static str = "enter_self";
}

/// Asks whom multicast DNS hears on the local networks: answered at once, or, for who knows that already, when there are
/// news or the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListNeighbours {
    /// The [`Neighbours::news`] of the answer that the asker has; none: it has none, and does not wait.
    pub known: Option<u64>,
    /// How long to wait for news, in milliseconds.
    pub within_ms: u64,
}

impl Request for ListNeighbours {
    type Reply = Result<Neighbours, LookUpError>;
    const NAME: &'static str = "list_neighbours";
}

/// Whom multicast DNS hears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How often somebody new, or somebody at a new address, was heard since the start of the node.
    pub news: u64,
    /// Who is heard, each with where; bounded, whatever is announced on the network.
    pub found: Vec<FoundPeer>,
}

/// Tells under which IP addresses this node seems to be seen from the internet. Each of them with each port that the
/// node listens on becomes a candidate for an external address: peers that try out addresses (`AutoNAT`) are asked to
/// connect there, and only when one of them could is it an address of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsiderAddresses {
    /// IPv4, IPv6, or both.
    pub ips: Vec<std::net::IpAddr>,
}

impl Request for ConsiderAddresses {
    /// The candidates, without `/p2p/<id>`; none when the node does not listen with that family of addresses.
    type Reply = Vec<String>;
    const NAME: &'static str = "consider_addresses";
}

/// Why a directory did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// It is not switched on.
    #[error("{0} is not switched on")]
    Off(&'static str),
    /// Nobody there, or nobody answered.
    #[error("{0}")]
    Unavailable(String),
    /// It refused.
    #[error("the directory refused: {0}")]
    Refused(String),
    /// This node has no address at which others could reach it.
    #[error("this node has no address yet at which others could reach it")]
    NoAddress,
    /// Too late.
    #[error("no answer within {0} ms")]
    Timeout(u64),
}

impl Coded for LookUpError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Off(_) => ErrorCode::Config,
            Self::Unavailable(_) | Self::NoAddress => ErrorCode::Unavailable,
            Self::Refused(_) => ErrorCode::Forbidden,
            Self::Timeout(_) => ErrorCode::Timeout,
        }
    }
}

/// Whether others can open connections to this node from outside of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    /// Nobody has tried it yet.
    Unknown,
    /// An address was confirmed from outside, or is configured.
    Public,
    /// Tries from outside failed.
    Private,
}

impl Reachability {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Asks how well this node can be reached.
#[derive(Debug, Clone, Copy)]
pub struct GetReach;

impl Request for GetReach {
    type Reply = Reach;
    const NAME: &'static str = "get_reach";
}

/// How well this node can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// From outside of its network.
    pub reachability: Reachability,
    /// Where others can dial it, the best first, each with `/p2p/<id>`.
    pub addresses: Vec<String>,
    /// Those of them that are configured, or that were confirmed from outside, without `/p2p/<id>`.
    pub external: Vec<String>,
    /// Relays at which it has a place.
    pub relays: Vec<PeerId>,
    /// Under which IP addresses connected peers see it, the most frequent first; what they say proves nothing.
    pub observed: Vec<std::net::IpAddr>,
}
