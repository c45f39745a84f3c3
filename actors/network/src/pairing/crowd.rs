//! How many strangers may try to pair at a time: few in all, as each try costs some multiplications on a curve, and fewer who
//! come from one place, so that nobody keeps the door busy alone. Ids cost nothing; places on the network do.

use crate::address;
use crate::session::locked;
use libp2p::Multiaddr;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

/// Tries under way at a time.
const MAX: usize = 8;
/// Those of them from one place: a stranger with several ids, or a person who tries again before the first try has ended.
const MAX_FROM_ONE: usize = 2;

/// Where somebody comes from: an IP address, or a network of them that belongs to one machine or household as a rule. Who
/// comes through a relay comes from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(Option<IpAddr>);

impl Origin {
    /// Of a connection whose other end is at this address.
    pub(crate) fn of(address: &Multiaddr) -> Self {
        Self(address::ip(address).map(|ip| match ip.to_canonical() {
            // Whoever has an address of the sixth version has at least 64 bits of them.
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip => ip,
        }))
    }
}

/// Tries under way, by where they come from.
type UnderWay = BTreeMap<Origin, usize>;

/// Those who try now. Clones are the same crowd.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<UnderWay>>);

/// A place in the crowd, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Crowd,
    origin: Origin,
}

impl Crowd {
    /// A place for one who comes from there; none: too many are trying.
    pub(crate) fn enter(&self, origin: Origin) -> Option<Place> {
        enter(&mut locked(&self.0), origin).then(|| Place { crowd: self.clone(), origin })
    }

    /// How many are trying.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        locked(&self.0).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        leave(&mut locked(&self.crowd.0), self.origin);
    }
}

fn enter(under_way: &mut UnderWay, origin: Origin) -> bool {
    let all: usize = under_way.values().sum();
    let from_there = under_way.get(&origin).copied().unwrap_or(0);
    if all >= MAX || from_there >= MAX_FROM_ONE {
        return false;
    }
    under_way.insert(origin, from_there + 1);
    true
}

fn leave(under_way: &mut UnderWay, origin: Origin) {
    match under_way.get_mut(&origin) {
        Some(from_there) if *from_there > 1 => *from_there -= 1,
        _ => {
            under_way.remove(&origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&text.parse().unwrap())
    }

    #[test]
    fn one_place_takes_a_few_places_and_leaves_the_rest_to_others() {
        let crowd = Crowd::default();
        let flooder = origin("/ip4/203.0.113.9/tcp/1");
        let held: Vec<Place> = (0..100).filter_map(|_| crowd.enter(flooder)).collect();
        assert_eq!((held.len(), crowd.len()), (2, 2));
        let others: Vec<Place> =
            (0..100).filter_map(|n| crowd.enter(origin(&format!("/ip4/203.0.113.{n}/tcp/1")))).collect();
        assert_eq!((others.len(), crowd.len()), (6, 8));
        drop(held);
        assert!(crowd.enter(origin("/ip4/198.51.100.1/tcp/1")).is_some());
        drop(others);
        assert_eq!(crowd.len(), 0);
        assert!(locked(&crowd.0).is_empty());
    }

    #[test]
    fn a_place_is_a_machine_or_a_household_whatever_the_port_and_the_way() {
        let same = [
            ["/ip4/203.0.113.9/tcp/1", "/ip4/203.0.113.9/udp/7/quic-v1"],
            ["/ip4/203.0.113.9/tcp/1", "/ip6/::ffff:203.0.113.9/tcp/1"],
            ["/ip6/2001:db8:1:2::1/tcp/1", "/ip6/2001:db8:1:2:ffff::9/tcp/1"],
            ["/dns/a.example/tcp/1", "/dns/b.example/tcp/1"],
        ];
        for [a, b] in same {
            assert_eq!(origin(a), origin(b));
        }
        assert_ne!(origin("/ip4/203.0.113.9/tcp/1"), origin("/ip4/203.0.113.10/tcp/1"));
        assert_ne!(origin("/ip6/2001:db8:1:2::1/tcp/1"), origin("/ip6/2001:db8:1:3::1/tcp/1"));
    }
}
