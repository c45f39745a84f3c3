//! Addresses of peers as text: which can be dialled at all, whom they name, and whether they lead out of this network.
//!
//! Only the network crate knows libp2p's own type of address, and it reads an address for good when it dials it; what is
//! needed here is small and pure. Everything that comes from outside goes through here first: sources, registries, files,
//! names, people, records of other nodes. So junk is turned away early and with a reason, and an entry is not believed
//! that names one peer and leads to another. An address is read in the forms that this node's transports can dial: an IP
//! address or a DNS name with TCP or QUIC, `dnsaddr`, memory transports, and circuits through a relay.

mod ip;
#[cfg(test)]
mod tests;

pub(crate) use ip::is_public;

use crate::clip::clip;
use meshwork_proto::PeerId;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest address that is looked at, in bytes: one through a relay, with both peers' ids, has about 200.
pub(crate) const MAX_ADDRESS: usize = 256;

/// An address that can be dialled. It is read from text with blanks around it or none, and shown with `/p2p/<id>` of whom
/// it leads to, where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address without the `/p2p/<id>` of whom it leads to.
    pub(crate) text: String,
    /// Whom it leads to, if it says so at its end.
    pub(crate) peer: Option<PeerId>,
    /// The IP address that is dialled, where it is one and no name; through a relay, that of the relay.
    pub(crate) ip: Option<IpAddr>,
    /// The TCP or UDP port that is dialled.
    pub(crate) port: Option<u16>,
    /// Whether it means something only on one machine or in one network.
    pub(crate) private: bool,
    /// Whether it goes through a relay.
    pub(crate) relayed: bool,
}

/// Why a text is no address that can be dialled. The text itself is not repeated, but for the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressProblem {
    /// Too long to be one.
    #[error("it is {0} bytes long: at most {MAX_ADDRESS} are read")]
    TooLong(usize),
    /// It does not begin as one.
    #[error("it is no multiaddress: expected for example /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...")]
    NoMultiaddress,
    /// Characters that are in no address.
    #[error("it has blanks or characters that no multiaddress has")]
    Characters,
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
    /// No machine is meant.
    #[error("a reserved address is nobody's")]
    Reserved,
    /// Any port is meant.
    #[error("port 0 is a place to listen at, not to dial")]
    PortZero,
}

impl AddressProblem {
    fn unexpected(found: &str, expected: &'static str) -> Self {
        Self::Unexpected { found: clip(found, 64), expected }
    }
}

/// For those who tell people what was wrong with an entry and do nothing else with it.
impl From<AddressProblem> for String {
    fn from(problem: AddressProblem) -> Self {
        problem.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.peer.as_ref().map_or(Ok(()), |peer| write!(f, "/p2p/{peer}"))
    }
}

type Parts<'a> = std::iter::Peekable<std::str::Split<'a, char>>;

/// What the first part says.
enum Host {
    /// A transport must follow.
    Network { ip: Option<IpAddr>, private: bool },
    /// It is whole already.
    Whole { private: bool },
    /// A relay without an address of its own: only a circuit makes sense.
    Relay,
}

impl FromStr for Address {
    type Err = AddressProblem;

    fn from_str(text: &str) -> Result<Self, AddressProblem> {
        let text = text.trim();
        if text.len() > MAX_ADDRESS {
            return Err(AddressProblem::TooLong(text.len()));
        }
        if !text.starts_with('/') {
            return Err(AddressProblem::NoMultiaddress);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressProblem::Characters);
        }
        // What `/p2p/` was once called; no other part can have this name.
        let text = text.replace("/ipfs/", "/p2p/");
        let mut parts = text[1..].split('/').peekable();
        let host = host(&mut parts)?;
        let (ip, port, private) = match host {
            Host::Network { ip, private } => (ip, Some(transport(&mut parts)?), private),
            Host::Whole { private } => (None, None, private),
            Host::Relay => (None, None, false),
        };
        let (peer, relayed) = peers(&mut parts)?;
        if matches!(host, Host::Relay) && !relayed {
            return Err(AddressProblem::Missing("a place, such as /ip4/192.0.2.7/tcp/4001,"));
        }
        let end = peer.as_ref().map_or(0, |peer| "/p2p/".len() + peer.as_str().len());
        let text = text.get(..text.len().saturating_sub(end)).unwrap_or(&text).to_owned();
        Ok(Self { text, peer, ip, port, private, relayed })
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
                "ip4" => network(read::<Ipv4Addr>(parts, "an IPv4 address")?.into()),
                "ip6" => network(read::<Ipv6Addr>(parts, "an IPv6 address")?.into()),
                "ip6zone" => {
                    some(parts, "the name of an interface")?;
                    keyword(parts, "ip6")?;
                    let ip = read::<Ipv6Addr>(parts, "an IPv6 address")?.into();
                    // A zone is needed only where the address alone does not say which network is meant.
                    Ok(Host::Network { ip: Some(ip), private: true })
                }
                "dns" | "dns4" | "dns6" => Ok(Host::Network { ip: None, private: name(parts)? }),
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

fn network(ip: IpAddr) -> Result<Host, AddressProblem> {
    let ip = ip.to_canonical();
    match ip::unusable(ip) {
        Some(problem) => Err(problem),
        None => Ok(Host::Network { ip: Some(ip), private: ip::is_private(ip) }),
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

/// `/tcp/<port>` or `/udp/<port>/quic-v1`; gives the port.
fn transport(parts: &mut Parts<'_>) -> Result<u16, AddressProblem> {
    const EXPECTED: &str = "tcp or udp";
    let kind = some(parts, EXPECTED)?;
    if !matches!(kind, "tcp" | "udp") {
        return Err(AddressProblem::unexpected(kind, EXPECTED));
    }
    let port = read::<u16>(parts, "a port")?;
    if port == 0 {
        return Err(AddressProblem::PortZero);
    }
    if kind == "udp" {
        keyword(parts, "quic-v1")?;
    }
    Ok(port)
}

/// The peers at the end: whom the address leads to, and whether through a relay.
fn peers(parts: &mut Parts<'_>) -> Result<(Option<PeerId>, bool), AddressProblem> {
    let first = peer(parts)?;
    if parts.peek().is_none() {
        return Ok((first, false));
    }
    match some(parts, "p2p-circuit")? {
        "p2p-circuit" => {}
        other => return Err(AddressProblem::unexpected(other, "/p2p, /p2p-circuit or the end")),
    }
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
