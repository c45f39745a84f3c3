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
    /// Without `/p2p/<id>` at its end; through a relay it ends in `/p2p/<relay>/p2p-circuit`.
    pub(crate) address: Multiaddr,
    /// Who should answer, when that was said.
    pub(crate) peer: Option<Libp2pId>,
}

/// The protocol below a connection, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransportKind {
    Tcp,
    Quic,
    /// Through another peer, whatever is below that.
    Relay,
    Other,
}

impl TransportKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
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
    // Of an address through a relay, the part that leads to the relay is looked at.
    let way = match relayed(&endpoint.address) {
        Relayed::No => endpoint.address.clone(),
        Relayed::Through { relay } => relay.address,
        Relayed::Malformed => return Err(wrong("expected /.../p2p/<relay>/p2p-circuit/p2p/<peer>")),
    };
    match (kind(&way), port(&way)) {
        (TransportKind::Tcp | TransportKind::Quic, Some(port)) if port > 0 => Ok(endpoint),
        (TransportKind::Tcp | TransportKind::Quic, _) => Err(wrong("port 0 cannot be dialled")),
        _ => Err(wrong("it has neither /tcp/<port> nor /udp/<port>/quic-v1")),
    }
}

/// Whether an address leads through a relay, and through which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// It leads straight to the peer.
    No,
    /// Through this relay, whose peer id is always there.
    Through {
        /// Where the relay itself is.
        relay: Endpoint,
    },
    /// It names relays in a way that cannot be dialled.
    Malformed,
}

/// Reads an address without `/p2p/<id>` of the peer at its end.
pub(crate) fn relayed(address: &Multiaddr) -> Relayed {
    let names = |part: &Protocol<'_>| matches!(part, Protocol::P2pCircuit | Protocol::P2p(_));
    if !address.iter().any(|part| names(&part)) {
        return Relayed::No;
    }
    let mut relay = address.clone();
    if relay.pop() != Some(Protocol::P2pCircuit) {
        return Relayed::Malformed;
    }
    let relay = split(relay);
    if relay.peer.is_none() || relay.address.iter().any(|part| names(&part)) {
        return Relayed::Malformed;
    }
    Relayed::Through { relay }
}

/// Whether a connection at the address goes through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
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

/// The address without `/p2p/<id>`, when a peer could be dialled there: none for what cannot be dialled, and for what
/// names another peer.
pub(crate) fn of_peer(address: &Multiaddr, peer: &Libp2pId) -> Option<Multiaddr> {
    let Endpoint { address, peer: named } = split(address.clone());
    let dialable = kind(&address) != TransportKind::Other
        && relayed(&address) != Relayed::Malformed
        && port(&address).is_some_and(|port| port > 0);
    (dialable && named.is_none_or(|named| named == *peer)).then_some(address)
}

/// The address with `/p2p/<id>`, as it is shown to others.
pub(crate) fn with_peer(address: &Multiaddr, peer: &Libp2pId) -> String {
    let bare = split(address.clone()).address;
    bare.with(Protocol::P2p(*peer)).to_string()
}

/// TCP or QUIC, or through a relay.
pub(crate) fn kind(address: &Multiaddr) -> TransportKind {
    if is_relayed(address) {
        return TransportKind::Relay;
    }
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

/// Whether an IP address can belong to a machine on the internet: not one of private, shared, local or multicast use.
pub(crate) fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // 100.64.0.0/10 is what providers use between themselves and their customers.
            let shared = first == 100 && (64..128).contains(&second);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || shared)
                && first != 0
                && !ip.is_broadcast()
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_global(mapped.into()),
            None => {
                let local = ip.is_unique_local() || ip.is_unicast_link_local();
                !(local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
            }
        },
    }
}

/// Whether a peer at the other end of a connection to `seen` may be reached at `claimed`, which it says of itself:
/// addresses of the machine itself are only believed between processes of one machine. What a peer says of the place
/// of its relay is judged like what it says of its own.
pub(crate) fn believable(claimed: &Multiaddr, seen: &Multiaddr) -> bool {
    if kind(claimed) == TransportKind::Other || matches!(port(claimed), None | Some(0)) {
        return false;
    }
    if relayed(&split(claimed.clone()).address) == Relayed::Malformed {
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
        let relay = NodeIdentity::generate().peer_id();
        let nameless = "/ip4/192.0.2.7/tcp/1/p2p-circuit";
        let twice = format!("/ip4/192.0.2.7/tcp/1/p2p/{relay}/p2p-circuit/p2p/{relay}/p2p-circuit");
        let nowhere = format!("/p2p/{relay}/p2p-circuit/p2p/{relay}");
        for (text, problem) in [
            ("/ip4/192.0.2.7", "neither /tcp"),
            ("/ip4/192.0.2.7/udp/4001", "neither /tcp"),
            ("/ip4/192.0.2.7/tcp/0", "port 0"),
            ("/ip4/256.0.0.1/tcp/1", "invalid"),
            ("192.0.2.7:4001", "invalid"),
            (nameless, "p2p/<relay>"),
            (twice.as_str(), "p2p/<relay>"),
            (nowhere.as_str(), "neither /tcp"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(parse(&"/ip4/1.2.3.4".repeat(100)).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn an_address_through_a_relay_is_split_into_the_relay_and_the_peer_behind_it() {
        let (relay, peer) = (NodeIdentity::generate().libp2p_id(), NodeIdentity::generate().libp2p_id());
        let circuit = format!("/ip4/192.0.2.7/tcp/4001/p2p/{relay}/p2p-circuit");
        let endpoint = parse(&format!("{circuit}/p2p/{peer}")).unwrap();
        assert_eq!(endpoint, Endpoint { address: parsed(&circuit), peer: Some(peer) });
        assert_eq!(parse(&circuit).unwrap().peer, None);
        assert_eq!(kind(&endpoint.address), TransportKind::Relay);
        let at = Endpoint { address: parsed("/ip4/192.0.2.7/tcp/4001"), peer: Some(relay) };
        assert_eq!(relayed(&endpoint.address), Relayed::Through { relay: at });
        assert_eq!(relayed(&parsed("/ip4/192.0.2.7/tcp/4001")), Relayed::No);
        assert_eq!(with_peer(&endpoint.address, &peer), format!("{circuit}/p2p/{peer}"));
        let far = parsed("/ip4/192.0.2.9/tcp/4001");
        assert!(believable(&endpoint.address, &far));
        assert!(!believable(&parsed(&format!("/ip4/127.0.0.1/tcp/1/p2p/{relay}/p2p-circuit")), &far));
        assert!(!believable(&parsed("/ip4/192.0.2.7/tcp/1/p2p-circuit"), &far));
    }

    #[test]
    fn only_addresses_of_the_internet_are_global() {
        for local in
            ["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.3.4", "100.64.0.1", "0.0.0.0"]
        {
            assert!(!is_global(local.parse().unwrap()), "{local}");
        }
        for local in ["::1", "fe80::1", "fd00::1", "::", "ff02::fb", "::ffff:10.0.0.1"] {
            assert!(!is_global(local.parse().unwrap()), "{local}");
        }
        for global in ["203.0.113.7", "100.128.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
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
