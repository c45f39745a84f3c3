//! Peer ids and addresses: proto's text forms and libp2p's types, and what can be dialled.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId as Libp2pId};
use meshwork_proto::PeerId;
use meshwork_proto::transport::CallError;
use std::net::{IpAddr, SocketAddr};

/// Longest address that is read, in characters.
const MAX_ADDRESS: usize = 512;

/// An address to dial, and who is expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Without `/p2p/<id>`.
    pub(crate) address: Multiaddr,
    /// Who should answer, when that was said.
    pub(crate) peer: Option<Libp2pId>,
}

/// The protocol below a connection, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransportKind {
    Tcp,
    Quic,
    Other,
}

impl TransportKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Other => "other",
        }
    }
}

/// proto's form of a peer id.
#[expect(
    clippy::expect_used,
    reason = "a libp2p peer id is a multihash, and base58 of it is what proto reads"
)]
pub(crate) fn peer_of(id: &Libp2pId) -> PeerId {
    id.to_base58().parse().expect("libp2p's peer ids are valid")
}

/// libp2p's form of a peer id; `None` for a multihash that is no key's.
pub(crate) fn libp2p_id(peer: &PeerId) -> Option<Libp2pId> {
    peer.as_str().parse().ok()
}

/// Reads an address to dial.
pub(crate) fn parse(text: &str) -> Result<Endpoint, CallError> {
    let wrong = |problem: &str| CallError::Address { address: clip(text), problem: problem.to_owned() };
    if text.len() > MAX_ADDRESS {
        return Err(wrong("it is too long"));
    }
    let whole: Multiaddr = text.parse().map_err(|error| wrong(&format!("{error}")))?;
    let endpoint = split(whole);
    if endpoint.address.iter().any(|part| matches!(part, Protocol::P2pCircuit | Protocol::P2p(_))) {
        return Err(wrong("addresses through a relay are not supported"));
    }
    match (kind(&endpoint.address), port(&endpoint.address)) {
        (TransportKind::Other, _) => Err(wrong("it has neither /tcp/<port> nor /udp/<port>/quic-v1")),
        (_, Some(0) | None) => Err(wrong("port 0 cannot be dialled")),
        _ => Ok(endpoint),
    }
}

/// Takes `/p2p/<id>` off the end.
pub(crate) fn split(mut address: Multiaddr) -> Endpoint {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            Endpoint { address, peer: Some(peer) }
        }
        _ => Endpoint { address, peer: None },
    }
}

/// The address with `/p2p/<id>`, as it is shown to others.
pub(crate) fn with_peer(address: &Multiaddr, peer: &Libp2pId) -> String {
    let bare = split(address.clone()).address;
    bare.with(Protocol::P2p(*peer)).to_string()
}

/// TCP or QUIC.
pub(crate) fn kind(address: &Multiaddr) -> TransportKind {
    let mut found = TransportKind::Other;
    for part in address {
        match part {
            Protocol::QuicV1 => return TransportKind::Quic,
            Protocol::Tcp(_) => found = TransportKind::Tcp,
            _ => {}
        }
    }
    found
}

/// The TCP or UDP port.
pub(crate) fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

/// The IP address, when it has one.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The socket address, when it has an IP address.
pub(crate) fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip(address)?, port(address)?))
}

/// Whether a peer at the other end of a connection to `seen` may be reached at `claimed`, which it says of itself:
/// addresses of the machine itself are only believed between processes of one machine.
pub(crate) fn believable(claimed: &Multiaddr, seen: &Multiaddr) -> bool {
    if kind(claimed) == TransportKind::Other || matches!(port(claimed), None | Some(0)) {
        return false;
    }
    match ip(claimed) {
        Some(ip) if ip.is_unspecified() || ip.is_multicast() => false,
        Some(claimed) if claimed.is_loopback() => ip(seen).is_some_and(|seen| seen.is_loopback()),
        _ => true,
    }
}

fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;

    fn parsed(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn peer_ids_go_both_ways() {
        let peer = NodeIdentity::generate().peer_id();
        assert_eq!(peer_of(&libp2p_id(&peer).unwrap()), peer);
    }

    #[test]
    fn an_address_is_split_from_the_peer_expected_there() {
        let peer = NodeIdentity::generate().libp2p_id();
        let endpoint = parse(&format!("/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{peer}")).unwrap();
        assert_eq!(endpoint.peer, Some(peer));
        assert_eq!(endpoint.address, parsed("/ip4/192.0.2.7/udp/4001/quic-v1"));
        assert_eq!(
            with_peer(&endpoint.address, &peer),
            format!("/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{peer}")
        );
        assert_eq!(parse("/dns/node.example/tcp/4001").unwrap().peer, None);
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_reason() {
        let relayed =
            format!("/ip4/192.0.2.7/tcp/1/p2p/{0}/p2p-circuit/p2p/{0}", NodeIdentity::generate().peer_id());
        for (text, problem) in [
            ("/ip4/192.0.2.7", "neither /tcp"),
            ("/ip4/192.0.2.7/udp/4001", "neither /tcp"),
            ("/ip4/192.0.2.7/tcp/0", "port 0"),
            ("/ip4/256.0.0.1/tcp/1", "invalid"),
            ("192.0.2.7:4001", "invalid"),
            (relayed.as_str(), "relay"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(parse(&"/ip4/1.2.3.4".repeat(100)).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn loopback_addresses_are_believed_only_on_the_same_machine() {
        let (loopback, far) = (parsed("/ip4/127.0.0.1/tcp/4001"), parsed("/ip4/192.0.2.7/tcp/4001"));
        assert!(believable(&loopback, &loopback));
        assert!(!believable(&loopback, &far));
        assert!(believable(&far, &loopback));
        assert!(!believable(&parsed("/ip4/0.0.0.0/tcp/4001"), &loopback));
        assert!(!believable(&parsed("/ip4/192.0.2.7/tcp/0"), &far));
    }
}
