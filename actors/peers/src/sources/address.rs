//! What can be told of a multiaddress without the network: whether it is one, whose it is, and where it leads.
//!
//! The network reads addresses for good when it dials them. This is for what comes from outside: junk is turned away
//! early and with a reason, and an entry is not believed that names one peer and leads to another.

use meshwork_proto::PeerId;
use meshwork_proto::discovery::FoundPeer;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest address that is read, in bytes: one through a relay, with both peers' ids, has about 200.
pub(crate) const MAX_LENGTH: usize = 256;
/// Most addresses that are kept of one peer.
pub(crate) const MAX_PER_PEER: usize = 8;

/// An address that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// As it was written, without blanks around it.
    pub(crate) text: String,
    /// Who is there: the `/p2p/<id>` at its end.
    pub(crate) peer: Option<PeerId>,
    /// The first IP address in it.
    pub(crate) ip: Option<IpAddr>,
    /// The first TCP or UDP port in it.
    pub(crate) port: Option<u16>,
}

/// Reads an address.
///
/// # Errors
/// What is wrong with it, without repeating it.
pub(crate) fn read(text: &str) -> Result<Address, String> {
    let text = text.trim();
    if !text.starts_with('/') {
        return Err(
            "it is no multiaddress: expected for example /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...".into()
        );
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("it is {} bytes long: at most {MAX_LENGTH} are read", text.len()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has blanks or characters that no multiaddress has".into());
    }
    let mut address = Address { text: text.to_owned(), peer: None, ip: None, port: None };
    let mut parts = text.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        // An address that ends in `p2p-circuit` is of somebody behind the peer named before it.
        address.peer = None;
        match part {
            "" => return Err("it has an empty part".into()),
            "ip4" => note_ip(&mut address, parsed::<Ipv4Addr>(part, parts.next())?.into())?,
            "ip6" => note_ip(&mut address, parsed::<Ipv6Addr>(part, parts.next())?.into())?,
            "tcp" | "udp" => {
                let port = parsed::<u16>(part, parts.next())?;
                if port == 0 {
                    return Err("port 0 is to listen at, not to dial".into());
                }
                address.port.get_or_insert(port);
            }
            "p2p" | "ipfs" => address.peer = Some(parsed(part, parts.next())?),
            "dns" | "dns4" | "dns6" | "dnsaddr" if parts.next().is_none_or(str::is_empty) => {
                return Err(format!("/{part} lacks the name"));
            }
            _ => {}
        }
    }
    Ok(address)
}

fn parsed<T: std::str::FromStr>(part: &str, value: Option<&str>) -> Result<T, String> {
    let value = value.unwrap_or_default();
    value.parse().map_err(|_| format!("{:?} is no value for /{part}", clip(value, 64)))
}

fn note_ip(address: &mut Address, ip: IpAddr) -> Result<(), String> {
    if let Some(problem) = unusable(ip) {
        return Err(format!("{ip} {problem}"));
    }
    address.ip.get_or_insert(ip);
    Ok(())
}

/// Why nobody can be dialled there, whatever the network.
pub(crate) fn unusable(ip: IpAddr) -> Option<&'static str> {
    let (any, many) = (ip.is_unspecified(), ip.is_multicast());
    let reserved = matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240);
    match (any, many, reserved) {
        (true, _, _) => Some("stands for any address and is none"),
        (_, true, _) => Some("is an address for many at once"),
        (_, _, true) => Some("is reserved, nobody has it"),
        _ => None,
    }
}

/// Whether an address can be reached from anywhere on the internet, as far as its number says.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            // 2000::/3 is all that is given out, without the part for documentation.
            None => v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[..2] != [0x2001, 0x0db8],
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let shared_by_providers = a == 100 && (64..128).contains(&b);
    let for_protocols = (a, b, c) == (192, 0, 0);
    let for_benchmarks = a == 198 && (18..20).contains(&b);
    unusable(v4.into()).is_none()
        && !v4.is_private()
        && !v4.is_loopback()
        && !v4.is_link_local()
        && !v4.is_documentation()
        && !shared_by_providers
        && !for_protocols
        && !for_benchmarks
}

/// Addresses grouped by the peer they name, in the order in which each was met first; those that name nobody stay alone.
pub(crate) fn by_peer(addresses: impl IntoIterator<Item = Address>) -> Vec<FoundPeer> {
    let mut found: Vec<FoundPeer> = Vec::new();
    let mut places = BTreeMap::new();
    for address in addresses {
        let key = match &address.peer {
            Some(peer) => peer.as_str().to_owned(),
            None => address.text.clone(),
        };
        let place = *places.entry(key).or_insert_with(|| {
            found.push(FoundPeer { peer: address.peer.clone(), addresses: Vec::new() });
            found.len() - 1
        });
        if let Some(known) = found.get_mut(place)
            && known.addresses.len() < MAX_PER_PEER
            && !known.addresses.contains(&address.text)
        {
            known.addresses.push(address.text);
        }
    }
    found
}

/// At most `max` bytes of a text from outside, without control characters, for logs and answers.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(max)];
    let clean: String = cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cut.len() < text.len() { format!("{clean}…") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    #[test]
    fn an_address_says_whose_it_is_and_where_it_leads() {
        let read = read(&format!(" /ip4/198.51.100.7/tcp/4001/p2p/{A}\n")).unwrap();
        assert_eq!(read.peer, Some(A.parse().unwrap()));
        assert_eq!((read.ip, read.port), (Some([198, 51, 100, 7].into()), Some(4001)));
        assert!(!read.text.contains(' '));
    }

    #[test]
    fn behind_a_relay_the_last_peer_is_the_one_that_is_meant() {
        let relayed = format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit/p2p/{B}");
        assert_eq!(read(&relayed).unwrap().peer, Some(B.parse().unwrap()));
        let nobody = format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit");
        assert_eq!(read(&nobody).unwrap().peer, None);
    }

    #[test]
    fn addresses_of_the_python_nodes_and_public_lists_are_read() {
        for good in [
            "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
            "/dns4/node.example/udp/4001/quic-v1",
            "/ip6/2001:4860:4860::8888/tcp/9710",
            "/ip4/10.0.0.1/tcp/443/tls/sni/node.example/ws",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn junk_is_turned_away_with_the_reason() {
        for (bad, why) in [
            ("", "no multiaddress"),
            ("http://example.com", "no multiaddress"),
            ("/ip4/1.2.3/tcp/1", "no value for /ip4"),
            ("/ip4/1.2.3.4/tcp/99999", "no value for /tcp"),
            ("/ip4/1.2.3.4/tcp/0", "port 0"),
            ("/ip4/1.2.3.4/tcp/1/p2p/nobody", "no value for /p2p"),
            ("/ip4/1.2.3.4/tcp/1/p2p", "no value for /p2p"),
            ("/ip4/0.0.0.0/tcp/1", "any address"),
            ("/ip4/224.0.0.1/udp/5353", "many at once"),
            ("/ip4/255.255.255.255/tcp/1", "reserved"),
            ("/ip4/1.2.3.4//tcp/1", "empty part"),
            ("/dns4", "lacks the name"),
            ("/ip4/1.2.3.4/tcp/1 /x", "blanks"),
        ] {
            let problem = read(bad).unwrap_err();
            assert!(problem.contains(why), "{bad}: {problem}");
        }
        assert!(read(&format!("/{}", "x".repeat(600))).unwrap_err().contains("601 bytes"));
    }

    #[test]
    fn public_addresses_are_told_from_private_ones() {
        for public in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn addresses_of_one_peer_are_put_together_and_bounded() {
        let many = (1..=20).map(|port| read(&format!("/ip4/8.8.8.8/tcp/{port}/p2p/{A}")).unwrap());
        let alone = read("/ip4/8.8.4.4/tcp/1").unwrap();
        let found = by_peer(many.chain([alone.clone(), alone]));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].addresses.len(), MAX_PER_PEER);
        assert_eq!(found[1], FoundPeer { peer: None, addresses: vec!["/ip4/8.8.4.4/tcp/1".into()] });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", max in 0usize..40) {
            let _ = (read(&text), read(&format!("/{text}")), clip(&text, max));
        }
    }
}
