//! Who asks, and what that allows.

use crate::PeerId;
use serde::{Deserialize, Serialize};

/// What an admitted peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May submit, claim, and read, change and cancel what it submitted.
    Member,
    /// May also act on other peers' tasks and stop the node.
    Admin,
}

/// Where a request came from. A peer id says who, never what is allowed: that is the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// This node itself, or a client on its own HTTP address or standard input.
    Local,
    /// An admitted peer.
    Peer {
        /// Who.
        peer: PeerId,
        /// What it may do.
        role: Role,
    },
}

impl Caller {
    /// Whether the caller may act on everybody's tasks and on the node itself.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Local | Self::Peer { role: Role::Admin, .. })
    }

    /// The peer that asks; none for this node itself.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerId> {
        match self {
            Self::Local => None,
            Self::Peer { peer, .. } => Some(peer),
        }
    }

    /// Whether the caller may read, change or cancel what `submitter` submitted (none: this node's own clients).
    #[must_use]
    pub fn may_touch(&self, submitter: Option<&PeerId>) -> bool {
        self.is_admin() || (self.peer().is_some() && self.peer() == submitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn a_member_touches_only_what_it_submitted() {
        let own = peer("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
        let other = peer("12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo");
        let member = Caller::Peer { peer: own.clone(), role: Role::Member };
        assert!(member.may_touch(Some(&own)));
        assert!(!member.may_touch(Some(&other)));
        assert!(!member.may_touch(None));
        assert!(Caller::Peer { peer: own, role: Role::Admin }.may_touch(Some(&other)));
        assert!(Caller::Local.may_touch(Some(&other)));
    }
}
