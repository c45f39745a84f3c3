//! Addresses of peers as text: which can be dialled at all, whom they name, and whether they lead out of this network.
//!
//! Only the network crate knows libp2p's own type of address; what is needed here is small and pure. An address is read
//! in the forms that this node's transports can dial: an IP address or a DNS name with TCP or QUIC, `dnsaddr`, memory
//! transports, and circuits through a relay.

use meshwork_proto::PeerId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest address that is looked at, in bytes.
pub(crate) const MAX_ADDRESS: usize = 256;

/// An address that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address without the `/p2p/<id>` of whom it leads to.
    pub(crate) text: String,
    /// Whom it leads to, if it says so at its end.
    pub(crate) peer: Option<PeerId>,
    /// Whether it means something only on one machine or in one network.
    pub(crate) private: bool,
    /// Whether it goes through a relay.
    pub(crate) relayed: bool,
}

/// Why a text is no address that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressProblem {
    /// Too long to be one.
    #[error("it is longer than {MAX_ADDRESS} bytes")]
    TooLong,
    /// It does not begin as one.
    #[error("it does not begin with /")]
    NoSlash,
    /// It ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part that does not belong there, or that no transport of ours knows.
    #[error("{found:?} is not understood where {expected} belongs")]
    Unexpected {
        /// The part, cut.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Any address of the machine is meant.
    #[error("an unspecified address is a place to listen at, not to dial")]
    Unspecified,
    /// Several machines are meant.
    #[error("a multicast or broadcast address is nobody's alone")]
    Multicast,
    /// Any port is meant.
    #[error("port 0 is a place to listen at, not to dial")]
    PortZero,
}

impl AddressProblem {
    fn unexpected(found: &str, expected: &'static str) -> Self {
        Self::Unexpected { found: found.chars().take(40).collect(), expected }
    }
}

type Parts<'a> = std::iter::Peekable<std::str::Split<'a, char>>;

/// What the first part says.
enum Host {
    /// A transport must follow.
    Network { private: bool },
    /// It is whole already.
    Whole { private: bool },
    /// A relay without an address of its own: only a circuit makes sense.
    Relay,
}

impl FromStr for Address {
    type Err = AddressProblem;

    fn from_str(text: &str) -> Result<Self, AddressProblem> {
        if text.len() > MAX_ADDRESS {
            return Err(AddressProblem::TooLong);
        }
        let inner = text.strip_prefix('/').ok_or(AddressProblem::NoSlash)?;
        let mut parts = inner.split('/').peekable();
        let host = host(&mut parts)?;
        let private = match host {
            Host::Network { private } => {
                transport(&mut parts)?;
                private
            }
            Host::Whole { private } => private,
            Host::Relay => false,
        };
        let (peer, relayed) = peers(&mut parts)?;
        if matches!(host, Host::Relay) && !relayed {
            return Err(AddressProblem::Missing("a place, such as /ip4/192.0.2.7/tcp/4001,"));
        }
        let end = peer.as_ref().map_or(0, |peer| "/p2p/".len() + peer.as_str().len());
        let text = text.get(..text.len().saturating_sub(end)).unwrap_or(text).to_owned();
        Ok(Self { text, peer, private, relayed })
    }
}

fn host(parts: &mut Parts<'_>) -> Result<Host, AddressProblem> {
    const EXPECTED: &str = "ip4, ip6, dns, dns4, dns6, dnsaddr or memory";
    match parts.peek().copied() {
        None | Some("") => Err(AddressProblem::Missing("a place")),
        Some("p2p") => Ok(Host::Relay),
        Some(kind) => {
            parts.next();
            match kind {
                "ip4" => ip(read::<Ipv4Addr>(parts, "an IPv4 address")?.into()),
                "ip6" => ip(read::<Ipv6Addr>(parts, "an IPv6 address")?.into()),
                "ip6zone" => {
                    some(parts, "the name of an interface")?;
                    keyword(parts, "ip6")?;
                    read::<Ipv6Addr>(parts, "an IPv6 address")?;
                    // A zone is needed only where the address alone does not say which network is meant.
                    Ok(Host::Network { private: true })
                }
                "dns" | "dns4" | "dns6" => Ok(Host::Network { private: name(parts)? }),
                "dnsaddr" => Ok(Host::Whole { private: name(parts)? }),
                "memory" => {
                    read::<u64>(parts, "a number")?;
                    Ok(Host::Whole { private: true })
                }
                other => Err(AddressProblem::unexpected(other, EXPECTED)),
            }
        }
    }
}

fn ip(address: IpAddr) -> Result<Host, AddressProblem> {
    let address = address.to_canonical();
    if address.is_unspecified() {
        return Err(AddressProblem::Unspecified);
    }
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    if address.is_multicast() || broadcast {
        return Err(AddressProblem::Multicast);
    }
    Ok(Host::Network { private: is_private(address) })
}

/// Whether an address means something only on one machine or in one network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            // 100.64.0.0/10: shared by the customers of a provider (RFC 6598).
            let shared = first == 100 && (64..128).contains(&second);
            four.is_private() || four.is_loopback() || four.is_link_local() || shared || first == 0
        }
        IpAddr::V6(six) => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
    }
}

/// Reads a DNS name; gives whether it is one of this machine or network.
fn name(parts: &mut Parts<'_>) -> Result<bool, AddressProblem> {
    const EXPECTED: &str = "a DNS name";
    let text = some(parts, EXPECTED)?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    if text.len() > 253 || !trimmed.split('.').all(label) {
        return Err(AddressProblem::unexpected(text, EXPECTED));
    }
    let lower = trimmed.to_ascii_lowercase();
    let last = lower.rsplit('.').next().unwrap_or_default();
    Ok(matches!(last, "localhost" | "local" | "internal" | "lan"))
}

/// `/tcp/<port>` or `/udp/<port>/quic-v1`.
fn transport(parts: &mut Parts<'_>) -> Result<(), AddressProblem> {
    const EXPECTED: &str = "tcp or udp";
    let kind = some(parts, EXPECTED)?;
    if !matches!(kind, "tcp" | "udp") {
        return Err(AddressProblem::unexpected(kind, EXPECTED));
    }
    if read::<u16>(parts, "a port")? == 0 {
        return Err(AddressProblem::PortZero);
    }
    if kind == "udp" { keyword(parts, "quic-v1") } else { Ok(()) }
}

/// The peers at the end: whom the address leads to, and whether through a relay.
fn peers(parts: &mut Parts<'_>) -> Result<(Option<PeerId>, bool), AddressProblem> {
    let first = peer(parts)?;
    if parts.peek().is_none() {
        return Ok((first, false));
    }
    keyword(parts, "p2p-circuit")?;
    if first.is_none() {
        return Err(AddressProblem::Missing("/p2p/ and the relay's id before p2p-circuit"));
    }
    let target = peer(parts)?;
    match parts.next() {
        None => Ok((target, true)),
        Some(more) => Err(AddressProblem::unexpected(more, "the end")),
    }
}

fn peer(parts: &mut Parts<'_>) -> Result<Option<PeerId>, AddressProblem> {
    if parts.next_if_eq(&"p2p").is_none() {
        return Ok(None);
    }
    read::<PeerId>(parts, "a peer id").map(Some)
}

fn some<'a>(parts: &mut Parts<'a>, expected: &'static str) -> Result<&'a str, AddressProblem> {
    parts.next().filter(|part| !part.is_empty()).ok_or(AddressProblem::Missing(expected))
}

fn keyword(parts: &mut Parts<'_>, expected: &'static str) -> Result<(), AddressProblem> {
    let found = some(parts, expected)?;
    if found == expected { Ok(()) } else { Err(AddressProblem::unexpected(found, expected)) }
}

fn read<T: FromStr>(parts: &mut Parts<'_>, expected: &'static str) -> Result<T, AddressProblem> {
    let text = some(parts, expected)?;
    text.parse().map_err(|_| AddressProblem::unexpected(text, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn problem(text: &str) -> String {
        text.parse::<Address>().expect_err(text).to_string()
    }

    #[test]
    fn an_address_gives_its_place_and_whom_it_leads_to() {
        let read = address(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}"));
        assert_eq!(read.text, "/ip4/198.51.100.7/tcp/4001");
        assert_eq!(read.peer, Some(A.parse().unwrap()));
        assert!(!read.private && !read.relayed);
        assert_eq!(address("/ip6/2001:db8::1/udp/4001/quic-v1").text, "/ip6/2001:db8::1/udp/4001/quic-v1");
        assert_eq!(address("/dns4/mesh.example.org/tcp/443").peer, None);
        assert_eq!(address("/dnsaddr/mesh.example.org").text, "/dnsaddr/mesh.example.org");
    }

    #[test]
    fn a_circuit_keeps_its_relay_and_gives_whom_it_leads_to() {
        let read = address(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit/p2p/{B}"));
        assert_eq!(read.text, format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit"));
        assert_eq!(read.peer, Some(B.parse().unwrap()));
        assert!(read.relayed);
        let bare = address(&format!("/p2p/{A}/p2p-circuit"));
        assert_eq!((bare.peer, bare.relayed), (None, true));
    }

    #[test]
    fn what_means_something_only_here_is_private() {
        for private in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/172.31.0.1/tcp/1",
            "/ip4/192.168.1.1/udp/1/quic-v1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip6zone/eth0/ip6/fe80::1/tcp/1",
            "/dns/localhost/tcp/1",
            "/dns4/printer.LOCAL/tcp/1",
            "/memory/7",
        ] {
            assert!(address(private).private, "{private}");
        }
        for public in ["/ip4/198.51.100.1/tcp/1", "/ip4/100.128.0.1/tcp/1", "/ip6/2001:db8::1/tcp/1"] {
            assert!(!address(public).private, "{public}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_reason() {
        for (text, part) in [
            ("", "begin"),
            ("192.0.2.7:4001", "begin"),
            ("/", "a place is missing"),
            ("/ip4/0.0.0.0/tcp/4001", "unspecified"),
            ("/ip6/::/tcp/4001", "unspecified"),
            ("/ip4/224.0.0.251/udp/5353/quic-v1", "multicast"),
            ("/ip4/255.255.255.255/tcp/1", "broadcast"),
            ("/ip4/192.0.2.7/tcp/0", "port 0"),
            ("/ip4/192.0.2.7/tcp/70000", "a port"),
            ("/ip4/192.0.2.7", "tcp or udp is missing"),
            ("/ip4/192.0.2.700/tcp/1", "an IPv4 address"),
            ("/ip4/192.0.2.7/udp/1", "quic-v1 is missing"),
            ("/ip4/192.0.2.7/tcp/1/ws", "p2p-circuit"),
            ("/ip4/192.0.2.7/tcp/1/", "missing"),
            ("/ip4/192.0.2.7/tcp/1/p2p/nobody", "a peer id"),
            ("/dns/bad name/tcp/1", "a DNS name"),
            ("/unix/tmp", "ip4"),
        ] {
            assert!(problem(text).contains(part), "{text:?}: {}", problem(text));
        }
        assert!(problem(&format!("/p2p/{A}")).contains("a place"));
        assert!(problem("/ip4/192.0.2.7/tcp/1/p2p-circuit").contains("relay"));
        assert!(problem(&format!("/dns/{}/tcp/1", "a".repeat(300))).contains("longer"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_reads_the_same_again(text in "(/[a-z0-9:.-]{0,12}){0,8}") {
            if let Ok(read) = text.parse::<Address>() {
                prop_assert_eq!(read.text.parse::<Address>().unwrap().text, read.text);
            }
        }

        #[test]
        fn hostile_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<Address>();
            let _ = format!("/ip4/{text}").parse::<Address>();
        }
    }
}
