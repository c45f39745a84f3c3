//! The peer book as it is shown: who is there, how each was found, how well it can be reached.
//!
//! Times are ages in milliseconds as the answering node measures them: clocks of different machines are never compared.

use super::{Advertisement, Source};
use crate::{PeerId, Request, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// A connection stands on which both sides admit each other.
    Connected,
    /// Confirmed not long ago.
    Known,
    /// Nothing has confirmed it for a good part of its time to live: it is forgotten soon.
    Stale,
    /// It said goodbye.
    Left,
    /// Revoked by the operator, or shut out for a time for its misbehaviour.
    Banned,
}

impl PeerState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Connected, Self::Known, Self::Stale, Self::Left, Self::Banned];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Known => "known",
            Self::Stale => "stale",
            Self::Left => "left",
            Self::Banned => "banned",
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no state of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a peer: expected connected, known, stale, left or banned")]
pub struct UnknownPeerState(String);

impl FromStr for PeerState {
    type Err = UnknownPeerState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownPeerState(text.chars().take(64).collect()))
    }
}

/// How much a peer is trusted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerTrust {
    /// It has not been admitted: what is known of it is hearsay.
    Unproven,
    /// Admitted as a member.
    Member,
    /// Admitted as an admin.
    Admin,
    /// One side refused the other.
    Refused,
    /// The operator has revoked it.
    Revoked,
}

impl PeerTrust {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }
}

impl From<Role> for PeerTrust {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
        }
    }
}

/// An address of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressView {
    /// The multiaddress, without `/p2p/<id>` of the peer itself.
    pub address: String,
    /// How it was learned last.
    pub source: Source,
    /// Milliseconds since a connection to it last succeeded; none: it never did.
    pub confirmed_ms_ago: Option<u64>,
    /// Connections that succeeded.
    pub successes: u32,
    /// Tries that failed since the last success.
    pub failures: u32,
}

/// A peer as the book knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Id.
    pub peer: PeerId,
    /// Where it stands.
    pub state: PeerState,
    /// How much it is trusted.
    pub trust: PeerTrust,
    /// Addresses, the most promising first.
    pub addresses: Vec<AddressView>,
    /// By which ways it was heard of.
    pub found_by: BTreeSet<Source>,
    /// Whether the connection goes through a relay; none without a connection.
    pub relayed: Option<bool>,
    /// What it offers, as it said last; none when it said nothing yet.
    pub offers: Option<Advertisement>,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// Milliseconds since anything confirmed that it lives; none: nothing ever did.
    pub last_seen_ms_ago: Option<u64>,
}

/// Lists peers, connected ones first, then by how recently they were confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMembers {
    /// Only peers that serve this tool or have this label.
    pub capability: Option<String>,
    /// Only peers in this state.
    pub state: Option<PeerState>,
    /// Only peers heard of by this way.
    pub source: Option<Source>,
    /// At most so many; 0 = the cap of 1000.
    pub max_peers: u32,
}

impl Request for ListMembers {
    type Reply = Vec<MemberView>;
    const NAME: &'static str = "list_members";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_its_name() {
        for state in PeerState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("gone".parse::<PeerState>().unwrap_err().to_string().contains("left"));
    }
}
