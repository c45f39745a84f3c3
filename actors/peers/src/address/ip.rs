//! What the number of an IP address says: whether somebody can be there, and from where it can be reached.

use super::AddressProblem;
use std::net::IpAddr;

/// Why nobody can be dialled there, whatever the network.
pub(super) fn unusable(ip: IpAddr) -> Option<AddressProblem> {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(four) if four.is_broadcast());
    let reserved = matches!(ip, IpAddr::V4(four) if four.octets()[0] == 0 || four.octets()[0] >= 240);
    if ip.is_unspecified() {
        Some(AddressProblem::Unspecified)
    } else if ip.is_multicast() || broadcast {
        Some(AddressProblem::Multicast)
    } else {
        reserved.then_some(AddressProblem::Reserved)
    }
}

/// Whether an address means something only on one machine or in one network.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            // 100.64.0.0/10: shared by the customers of a provider (RFC 6598).
            let shared = first == 100 && (64..128).contains(&second);
            four.is_private() || four.is_loopback() || four.is_link_local() || shared
        }
        IpAddr::V6(six) => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
    }
}

/// Whether an address can be reached from anywhere on the internet. That is less than not being private: the addresses
/// that stand in documentation and those of benchmarks lead nowhere, and some are given to nobody.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let given_out = match ip {
        IpAddr::V4(four) => {
            let [first, second, third, _] = four.octets();
            let for_protocols = (first, second, third) == (192, 0, 0);
            let for_benchmarks = first == 198 && (18..20).contains(&second);
            !(four.is_documentation() || for_protocols || for_benchmarks)
        }
        // 2000::/3 is all that is given out, without the part for documentation.
        IpAddr::V6(six) => six.segments()[0] & 0xe000 == 0x2000 && six.segments()[..2] != [0x2001, 0x0db8],
    };
    given_out && unusable(ip).is_none() && !is_private(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_those_that_lead_nowhere_else() {
        for public in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "192.0.0.1",
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
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn an_address_of_documentation_is_neither_public_nor_private() {
        for text in ["198.51.100.7", "2001:db8::1"] {
            let ip = text.parse().unwrap();
            assert!(!is_public(ip) && !is_private(ip) && unusable(ip).is_none(), "{text}");
        }
    }
}
