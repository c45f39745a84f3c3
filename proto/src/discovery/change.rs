//! Changes of the peer book that tools, commands, sources and the reaper ask for.

use super::{PeerState, Source};
use crate::{Coded, ErrorCode, PeerId, Request};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A peer that a source has found: a hint, to be dialled and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPeer {
    /// Who, when the source says so.
    pub peer: Option<PeerId>,
    /// Where: multiaddresses, with or without `/p2p/<id>`.
    pub addresses: Vec<String>,
}

/// A source has found peers (tell).
#[derive(Debug, Clone)]
pub struct PeersFound {
    /// Which source.
    pub source: Source,
    /// Whom.
    pub found: Vec<FoundPeer>,
}

impl Request for PeersFound {
    /// How many of them were new.
    type Reply = u32;
    const NAME: &'static str = "peers_found";
}

/// Enters a peer into the book by hand and connects to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterPeer {
    /// Who; none: whoever answers at the addresses.
    pub peer: Option<PeerId>,
    /// Where.
    pub addresses: Vec<String>,
    /// Whether to connect now, and how long that may take in milliseconds; 0: only enter it.
    pub connect_within_ms: u64,
}

impl Request for RegisterPeer {
    type Reply = Result<Registered, RegisterError>;
    const NAME: &'static str = "register_peer";
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Who: as given, or as it answered.
    pub peer: PeerId,
    /// Where it stands now.
    pub state: PeerState,
    /// Whether it was new to the book.
    pub new: bool,
    /// Why it could not be connected to, if it could not.
    pub problem: Option<String>,
}

/// Why a peer was not entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterError {
    /// Neither who nor where.
    #[error("a peer needs its id or at least one address: give peer_id, address or both")]
    Nothing,
    /// An address cannot be read.
    #[error(
        "{address:?} is no address that can be dialled ({problem}): expected for example /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..."
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// It is this node itself.
    #[error("peer {0} is this node itself")]
    Ourselves(PeerId),
    /// It is shut out.
    #[error("peer {0} is banned or revoked here: take that back first with `meshwork peers revoke --undo`")]
    Banned(PeerId),
    /// Nobody answered, and without an id there is nothing to enter.
    #[error("nobody could be reached at {address}: {problem}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
}

impl Coded for RegisterError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Nothing | Self::Address { .. } | Self::Ourselves(_) => ErrorCode::InvalidArgument,
            Self::Banned(_) => ErrorCode::Forbidden,
            Self::Unreachable { .. } => ErrorCode::Unreachable,
        }
    }
}

/// Asks the sources for peers now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverNow {
    /// Which sources; empty: all that are switched on.
    pub sources: Vec<Source>,
    /// How long they may take, in milliseconds.
    pub within_ms: u64,
}

impl Request for DiscoverNow {
    type Reply = Vec<SourceReport>;
    const NAME: &'static str = "discover_now";
}

/// What a source gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Which.
    pub source: Source,
    /// Peers it named.
    pub found: u32,
    /// Those of them that were new.
    pub new: u32,
    /// Why it gave nothing, if it failed; it is tried again after a pause.
    pub problem: Option<String>,
}

/// Looks up who has entered itself as serving a tool or having a label, where nodes do so: in the mesh's own table. Those who
/// are named are entered into the book like all that is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindProviders {
    /// The tool or label.
    pub capability: String,
    /// How long it may take, in milliseconds.
    pub within_ms: u64,
}

impl Request for FindProviders {
    /// What each table said; none: no table is switched on.
    type Reply = Vec<Providers>;
    const NAME: &'static str = "find_providers";
}

/// Whom a table names for a tool or label. What they say of it themselves is known when they are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers {
    /// Which table, how many it named, and why it gave nothing, if it failed.
    pub report: SourceReport,
    /// Whom it named.
    pub peers: Vec<PeerId>,
}

/// Forgets peers that nothing has confirmed for so long. Connected peers are never forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanUp {
    /// Silent for at least so long, in milliseconds; none: each source's own time to live. Zero forgets nobody.
    pub silent_ms: Option<u64>,
    /// Time to live by source, in milliseconds; sources not named have the default.
    pub ttl_ms: BTreeMap<Source, u64>,
    /// Only say who would be forgotten.
    pub dry_run: bool,
}

impl Request for CleanUp {
    type Reply = CleanedUp;
    const NAME: &'static str = "clean_up";
}

/// Who was forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanedUp {
    /// Forgotten peers.
    pub forgotten: Vec<PeerId>,
    /// Peers still in the book.
    pub kept: u32,
}

/// Forgets a peer: its connection is closed, its addresses and what it offered go. It may come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetPeer {
    /// Who.
    pub peer: PeerId,
}

impl Request for ForgetPeer {
    /// Whether it was in the book.
    type Reply = bool;
    const NAME: &'static str = "forget_peer";
}

/// Says goodbye to all connected peers, and withdraws this node's entries from registries. Comes before the network
/// stops.
#[derive(Debug, Clone, Copy)]
pub struct SayGoodbye {
    /// How long it may take, in milliseconds.
    pub within_ms: u64,
}

impl Request for SayGoodbye {
    /// Peers that heard it.
    type Reply = u32;
    const NAME: &'static str = "say_goodbye";
}
