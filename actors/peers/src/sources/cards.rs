//! Who the tests of sources speak of.

use super::OwnCard;

pub(crate) const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
pub(crate) const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
pub(crate) const C: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

/// A node with one tool that is reached at this IPv4 address.
pub(crate) fn card_at(ip: &str, peer: &str) -> OwnCard {
    OwnCard {
        peer: peer.parse().unwrap(),
        addresses: vec![format!("/ip4/{ip}/tcp/4001/p2p/{peer}")],
        capabilities: ["ocr".to_owned()].into(),
    }
}
