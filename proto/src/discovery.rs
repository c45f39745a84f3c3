//! Messages to discovery: the peer book, what changes it ([`change`]), how it is shown ([`member`]) and what nodes pass on
//! of one another ([`gossip`]).

pub mod change;
pub mod gossip;
pub mod member;
mod source;

pub use change::{
    CleanUp, CleanedUp, DiscoverNow, FindProviders, ForgetPeer, FoundPeer, PeersFound, Providers,
    RegisterError, RegisterPeer, Registered, SayGoodbye, SourceReport,
};
pub use gossip::{Exchange, Exchanged, NodeRecord, Notary, PeerExchange, SignedRecord};
pub use member::{AddressView, ListMembers, MemberView, PeerState, PeerTrust};
pub use source::{Source, UnknownSource};

use crate::{PeerId, Request, Role, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a node says of itself to an admitted peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Advertisement {
    /// Software and version.
    pub agent: String,
    /// Names of its tools.
    pub tools: BTreeSet<String>,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Free slots of its executor.
    pub free_slots: u32,
    /// All slots.
    pub slots: u32,
    /// Tasks running on it.
    pub running: u32,
    /// Unfinished tasks in its own queue.
    pub queued: u64,
    /// Addresses others can dial.
    pub addresses: Vec<String>,
}

/// A peer as the book knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Id.
    pub peer: PeerId,
    /// Addresses known, the connected one first.
    pub addresses: Vec<String>,
    /// Whether a connection stands.
    pub connected: bool,
    /// Role here; none = not admitted.
    pub role: Option<Role>,
    /// What it said last.
    pub advertisement: Option<Advertisement>,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// When it was last heard.
    pub last_seen: Option<UnixMillis>,
}

/// Lists peers, connected ones first, then by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPeers {
    /// Only peers that serve this tool or have this label.
    pub capability: Option<String>,
    /// At most so many; 0 = the cap of 1000.
    pub max_peers: u32,
}

impl Request for ListPeers {
    type Reply = Vec<PeerView>;
    const NAME: &'static str = "list_peers";
}

/// Tells all connected peers now what this node offers; answered with how many heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce;

impl Request for Announce {
    type Reply = Announced;
    const NAME: &'static str = "announce";
}

/// The result of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Announced {
    /// Peers that acknowledged it.
    pub reached: u32,
    /// Peers that did not.
    pub missed: u32,
    /// What was said.
    pub advertisement: Advertisement,
}

/// What an admitted peer said of itself; answered with what we say of ourselves.
#[derive(Debug, Clone)]
pub struct PeerAdvertised {
    /// Who.
    pub peer: PeerId,
    /// What.
    pub advertisement: Advertisement,
}

impl Request for PeerAdvertised {
    type Reply = Advertisement;
    const NAME: &'static str = "peer_advertised";
}

/// Connection changes (tell, from transport).
#[derive(Debug, Clone)]
pub enum PeerConnection {
    /// Admitted on both sides: requests can be made.
    Up {
        /// Who.
        peer: PeerId,
        /// Its role here.
        role: Role,
        /// The address of the connection.
        address: String,
    },
    /// The last connection is gone.
    Down {
        /// Who.
        peer: PeerId,
    },
    /// A measured round-trip time.
    Rtt {
        /// Who.
        peer: PeerId,
        /// In microseconds.
        rtt_us: u64,
    },
    /// Connected, but not admitted (by us or by it).
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// Revoked, or banned for a time: it is not dialled, and nothing is believed of it.
    ShutOut {
        /// Who.
        peer: PeerId,
        /// Whether the operator revoked it; else it is banned for a time.
        revoked: bool,
    },
    /// Not shut out any more.
    LetIn {
        /// Who.
        peer: PeerId,
    },
}

impl Request for PeerConnection {
    type Reply = ();
    const NAME: &'static str = "peer_connection";
}

/// Asks the node's root what to say of this node now.
#[derive(Debug, Clone, Copy)]
pub struct DescribeNode;

impl Request for DescribeNode {
    type Reply = Advertisement;
    const NAME: &'static str = "describe_node";
}
