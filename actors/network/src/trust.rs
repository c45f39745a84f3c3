//! Who is trusted with what: the mesh secrets, the peers allowed by name, and the admins.
//!
//! Owns pure decisions and nothing else; how a peer proves that it knows a secret is in `admission`.

mod secret;

pub use secret::{MAX_SECRET, MAX_SECRETS, MIN_SECRET, MeshSecret, MeshSecrets, SecretError};

use meshwork_proto::wire::admission::{NOT_ADMITTED, Verdict};
use meshwork_proto::{PeerId, Role};
use std::collections::BTreeSet;

/// What a peer showed of the mesh secrets.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// No proof at all.
    Nothing,
    /// A proof that fits none of them.
    Wrong,
    /// A proof of this one.
    Right(MeshSecret),
}

/// What an admission rests on.
#[derive(Debug, Clone)]
pub(crate) enum Grounds {
    /// The peer is allowed by name, whatever it shows.
    Name,
    /// It has proved this secret, and nothing else speaks for it.
    Secret(MeshSecret),
}

/// The decision on a peer, as this node's operator may see it.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// It may make requests.
    Admitted {
        /// With this role.
        role: Role,
        /// Why.
        grounds: Grounds,
    },
    /// It may not.
    Refused {
        /// Why, and what would help.
        reason: String,
    },
}

impl Decision {
    /// The decision as it is told to the peer: a stranger learns nothing but that it is none of us.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Admitted { role, .. } => Verdict::Admitted { role: *role },
            Self::Refused { .. } => Verdict::Refused { reason: NOT_ADMITTED.to_owned() },
        }
    }

    pub(crate) const fn admits(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

/// Whom this node trusts.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Each admits every peer that proves it knows it; none: only peers allowed by name are admitted.
    pub secrets: MeshSecrets,
    /// Peers admitted by name.
    pub allow: BTreeSet<PeerId>,
    /// Peers admitted by name, with the role of an admin.
    pub admins: BTreeSet<PeerId>,
}

impl Trust {
    /// The role of a peer whose id is authenticated, and which did or did not prove a mesh secret; none: it is not
    /// admitted.
    #[must_use]
    pub fn role_of(&self, peer: &PeerId, proved: bool) -> Option<Role> {
        if self.admins.contains(peer) {
            Some(Role::Admin)
        } else if proved || self.allow.contains(peer) {
            Some(Role::Member)
        } else {
            None
        }
    }

    /// The decision on a peer.
    pub(crate) fn decide(&self, peer: &PeerId, shown: &Shown) -> Decision {
        let (problem, help) = match (self.role_of(peer, false), shown) {
            (Some(role), _) => return Decision::Admitted { role, grounds: Grounds::Name },
            (None, Shown::Right(secret)) => {
                return Decision::Admitted { role: Role::Member, grounds: Grounds::Secret(secret.clone()) };
            }
            (None, Shown::Wrong) => {
                ("has another mesh secret", "let it join with an invitation or by pairing")
            }
            (None, Shown::Nothing) if self.secrets.is_empty() => {
                ("is not allowed by name, and this node has no mesh secret", "give this node one")
            }
            (None, Shown::Nothing) => (
                "showed no mesh secret and is not allowed by name",
                "let it join with an invitation or by pairing",
            ),
        };
        Decision::Refused {
            reason: format!("peer {peer} {problem}: {help}, or start this node with --allow {peer}"),
        }
    }

    /// Whether an admission on these grounds still stands.
    pub(crate) fn upholds(&self, grounds: &Grounds) -> bool {
        match grounds {
            Grounds::Name => true,
            Grounds::Secret(secret) => self.secrets.contains(secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;

    fn peer() -> PeerId {
        NodeIdentity::generate().peer_id()
    }

    fn secret() -> MeshSecret {
        MeshSecret::parse("correct horse battery staple").unwrap()
    }

    #[test]
    fn only_proof_or_name_admits_and_only_a_name_makes_an_admin() {
        let (member, admin, stranger) = (peer(), peer(), peer());
        let trust =
            Trust { allow: [member.clone()].into(), admins: [admin.clone()].into(), ..Trust::default() };
        assert_eq!(trust.role_of(&member, false), Some(Role::Member));
        assert_eq!(trust.role_of(&stranger, true), Some(Role::Member));
        assert_eq!(trust.role_of(&stranger, false), None);
        assert_eq!(trust.role_of(&admin, false), Some(Role::Admin));
        assert_eq!(trust.role_of(&admin, true), Some(Role::Admin));
        assert_eq!(Trust::default().role_of(&admin, false), None);
    }

    #[test]
    fn the_operator_reads_what_would_help_and_the_stranger_reads_nothing() {
        let stranger = peer();
        let decision = Trust::default().decide(&stranger, &Shown::Nothing);
        let Decision::Refused { reason } = &decision else { panic!() };
        assert!(reason.contains(&format!("--allow {stranger}")), "{reason}");
        assert_eq!(decision.verdict(), Verdict::Refused { reason: "not admitted".into() });
        let admitted = Trust::default().decide(&stranger, &Shown::Right(secret()));
        assert_eq!(admitted.verdict(), Verdict::Admitted { role: Role::Member });
    }

    #[test]
    fn who_is_allowed_by_name_does_not_depend_on_a_secret() {
        let friend = peer();
        let trust = Trust { allow: [friend.clone()].into(), secrets: secret().into(), ..Trust::default() };
        let by_name = trust.decide(&friend, &Shown::Right(secret()));
        let by_secret = trust.decide(&peer(), &Shown::Right(secret()));
        let retired = Trust { secrets: MeshSecret::generate().into(), ..trust };
        for (decision, stands) in [(by_name, true), (by_secret, false)] {
            let Decision::Admitted { grounds, .. } = decision else { panic!() };
            assert_eq!(retired.upholds(&grounds), stands, "{grounds:?}");
        }
    }

    #[test]
    fn its_debug_form_does_not_show_it() {
        let trust = Trust { secrets: secret().into(), ..Trust::default() };
        assert!(!format!("{trust:?}").contains("horse"));
    }
}
