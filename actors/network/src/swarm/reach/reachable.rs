//! How well this node can be reached, as far as anybody has told it: a pure table of addresses.
//!
//! An address counts as a way in from outside when it is configured, or when somebody outside has confirmed it: a peer
//! that connected to it when asked to (`AutoNAT`), or the router that opened it (UPnP). What a peer merely says it sees
//! is no confirmation. Where this node is seen under an address of the internet, a confirmed address of a private
//! network says nothing about the outside: a neighbour can reach what nobody else can.

use super::super::book;
use crate::address;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::transport::Reachability;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Confirmed addresses that are kept.
const MAX_CONFIRMED: usize = 16;
/// Addresses that failed, remembered.
const MAX_FAILED: usize = 32;
/// Peers whose last word on this node's address is kept.
const MAX_OBSERVERS: usize = 256;

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    configured: Vec<Multiaddr>,
    confirmed: Vec<Multiaddr>,
    /// Addresses through relays at which a place is reserved.
    circuits: Vec<Multiaddr>,
    failed: BTreeSet<Multiaddr>,
    /// Addresses this node listens on that stand in for external ones.
    assumed: BTreeSet<Multiaddr>,
    observed: BTreeMap<PeerId, IpAddr>,
    /// An address of the internet was observed or tried.
    on_internet: bool,
}

/// A change of what the swarm takes for external addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Assumed {
    pub(crate) add: Vec<Multiaddr>,
    pub(crate) remove: Vec<Multiaddr>,
}

impl Reachable {
    /// The operator says that this node is reached there.
    pub(crate) fn configured(&mut self, address: Multiaddr) {
        self.configured.push(address);
    }

    /// An external address is confirmed.
    pub(crate) fn confirmed(&mut self, address: &Multiaddr) {
        let address = address::split(address.clone()).address;
        if address::is_relayed(&address) {
            // Few: one for each reservation.
            book::add(&mut self.circuits, &address);
            return;
        }
        self.failed.remove(&address);
        if self.confirmed.len() < MAX_CONFIRMED && !self.confirmed.contains(&address) {
            self.confirmed.push(address);
        }
    }

    /// It is one no more.
    pub(crate) fn expired(&mut self, address: &Multiaddr) {
        let address = address::split(address.clone()).address;
        self.circuits.retain(|known| *known != address);
        self.confirmed.retain(|known| *known != address);
    }

    /// A peer tried an address of this node in vain.
    pub(crate) fn failed(&mut self, address: &Multiaddr) {
        let address = address::split(address.clone()).address;
        self.note_internet(address::ip(&address));
        if self.failed.len() < MAX_FAILED && !self.confirmed.contains(&address) {
            self.failed.insert(address);
        }
    }

    /// A peer says from where it sees this node.
    pub(crate) fn observed(&mut self, peer: PeerId, address: &Multiaddr) {
        // Through a relay it sees the relay.
        let Some(ip) = address::ip(address).filter(|_| !address::is_relayed(address)) else { return };
        self.note_internet(Some(ip));
        if self.observed.len() < MAX_OBSERVERS || self.observed.contains_key(&peer) {
            self.observed.insert(peer, ip);
        }
    }

    /// A peer has left.
    pub(crate) fn observer_left(&mut self, peer: &PeerId) {
        self.observed.remove(peer);
    }

    fn note_internet(&mut self, ip: Option<IpAddr>) {
        self.on_internet |= ip.is_some_and(address::is_global);
    }

    /// Whether others can open connections to this node.
    pub(crate) fn reachability(&self) -> Reachability {
        let from_outside =
            |address: &Multiaddr| !self.on_internet || address::ip(address).is_none_or(address::is_global);
        if !self.configured.is_empty() || self.confirmed.iter().any(from_outside) {
            Reachability::Public
        } else if self.failed.iter().any(from_outside) {
            Reachability::Private
        } else {
            Reachability::Unknown
        }
    }

    /// External addresses, the configured ones first.
    pub(crate) fn external(&self) -> impl Iterator<Item = &Multiaddr> {
        self.configured
            .iter()
            .chain(self.confirmed.iter().filter(|address| !self.configured.contains(address)))
    }

    /// Addresses through relays.
    pub(crate) fn circuits(&self) -> impl Iterator<Item = &Multiaddr> {
        self.circuits.iter()
    }

    /// IP addresses under which peers see this node, and how many peers see each; the most frequent first.
    pub(crate) fn observers(&self) -> Vec<(IpAddr, usize)> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for ip in self.observed.values() {
            *counts.entry(*ip).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(ip, count)| (std::cmp::Reverse(*count), *ip));
        counts
    }

    /// What changes among the stand-ins for external addresses now that this node listens on `listening`: libp2p's
    /// tables, rendezvous and relays say nothing of a node that has no external address at all, and a mesh in a private
    /// network never has one. Addresses of the machine itself stand in only where there are no others.
    pub(crate) fn assume<'a>(&mut self, listening: impl Iterator<Item = &'a Multiaddr>) -> Assumed {
        let direct: Vec<&Multiaddr> = listening.filter(|address| !address::is_relayed(address)).collect();
        let of_machine = |address: &&Multiaddr| match address::ip(address) {
            // An address of one link is of no use to others without the name of their own interface.
            Some(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unicast_link_local(),
            ip => ip.is_some_and(|ip| ip.is_loopback()),
        };
        let only_machine = direct.iter().all(of_machine);
        let stand_ins: BTreeSet<Multiaddr> =
            direct.into_iter().filter(|address| only_machine || !of_machine(address)).cloned().collect();
        let change = Assumed {
            add: stand_ins.difference(&self.assumed).cloned().collect(),
            remove: self
                .assumed
                .difference(&stand_ins)
                .filter(|gone| !self.external().any(|external| external == *gone))
                .cloned()
                .collect(),
        };
        self.assumed = stand_ins;
        change
    }
}

/// Where a node that listens there would be reached from outside if these IP addresses were its own, or those of a router
/// that forwards its ports.
pub(crate) fn candidates<'a>(
    listening: impl Iterator<Item = &'a Multiaddr>,
    ips: &[IpAddr],
) -> BTreeSet<Multiaddr> {
    let mut found = BTreeSet::new();
    for address in listening.filter(|address| !address::is_relayed(address)) {
        let Some(listened) = address::ip(address) else { continue };
        for ip in ips.iter().filter(|ip| ip.is_ipv4() == listened.is_ipv4()) {
            found.extend(address.replace(0, |_| Some(Protocol::from(*ip))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_known_until_somebody_has_tried() {
        let mut reach = Reachable::default();
        let home = address("/ip4/203.0.113.7/tcp/4001");
        assert_eq!(reach.reachability(), Reachability::Unknown);
        reach.observed(PeerId::random(), &home);
        assert_eq!(reach.reachability(), Reachability::Unknown, "what is seen is not what can be reached");
        reach.failed(&home);
        assert_eq!(reach.reachability(), Reachability::Private);
        reach.confirmed(&home);
        assert_eq!(reach.reachability(), Reachability::Public);
        assert_eq!(reach.external().collect::<Vec<_>>(), [&home]);
        reach.expired(&home);
        assert_eq!(reach.reachability(), Reachability::Unknown);
    }

    #[test]
    fn a_neighbour_that_reaches_a_private_address_proves_nothing_to_a_node_on_the_internet() {
        let mut reach = Reachable::default();
        reach.confirmed(&address("/ip4/192.168.1.7/tcp/4001"));
        assert_eq!(reach.reachability(), Reachability::Public, "there is nothing but the private network");
        reach.observed(PeerId::random(), &address("/ip4/203.0.113.7/tcp/50000"));
        assert_eq!(reach.reachability(), Reachability::Unknown);
        reach.failed(&address("/ip4/203.0.113.7/tcp/4001"));
        assert_eq!(reach.reachability(), Reachability::Private);
    }

    #[test]
    fn a_configured_address_needs_no_proof_and_a_place_at_a_relay_is_none() {
        let mut reach = Reachable::default();
        let relay = PeerId::random();
        let circuit = address(&format!("/ip4/203.0.113.9/tcp/1/p2p/{relay}/p2p-circuit"));
        reach.confirmed(&address(&format!("{circuit}/p2p/{}", PeerId::random())));
        assert_eq!(reach.reachability(), Reachability::Unknown);
        assert_eq!(reach.circuits().collect::<Vec<_>>(), [&circuit]);
        reach.configured(address("/dns/node.example/tcp/4001"));
        assert_eq!(reach.reachability(), Reachability::Public);
        reach.expired(&circuit);
        assert_eq!(reach.circuits().count(), 0);
    }

    #[test]
    fn each_peer_has_one_word_on_where_this_node_is_seen() {
        let mut reach = Reachable::default();
        let (first, second) = (PeerId::random(), PeerId::random());
        reach.observed(first, &address("/ip4/198.51.100.1/tcp/1"));
        reach.observed(first, &address("/ip4/203.0.113.7/tcp/1"));
        reach.observed(second, &address("/ip4/203.0.113.7/udp/2/quic-v1"));
        let ip = "203.0.113.7".parse().unwrap();
        assert_eq!(reach.observers(), [(ip, 2)]);
        reach.observer_left(&first);
        assert_eq!(reach.observers(), [(ip, 1)]);
        for _ in 0..2 * MAX_OBSERVERS {
            reach.observed(PeerId::random(), &address("/ip4/203.0.113.7/tcp/1"));
        }
        assert_eq!(reach.observers(), [(ip, MAX_OBSERVERS)]);
    }

    #[test]
    fn addresses_of_the_machine_itself_stand_in_only_where_there_are_no_others() {
        let mut reach = Reachable::default();
        let (local, lan) = (address("/ip4/127.0.0.1/tcp/4001"), address("/ip4/10.0.0.7/tcp/4001"));
        let first = reach.assume([&local].into_iter());
        assert_eq!(first, Assumed { add: vec![local.clone()], remove: vec![] });
        let second = reach.assume([&local, &lan].into_iter());
        assert_eq!(second, Assumed { add: vec![lan.clone()], remove: vec![local.clone()] });
        assert_eq!(reach.assume([&local, &lan].into_iter()), Assumed::default());
        reach.confirmed(&lan);
        let third = reach.assume([&local].into_iter());
        assert_eq!(third, Assumed { add: vec![local], remove: vec![] }, "what is confirmed stays");
    }

    #[test]
    fn a_public_address_with_each_port_that_is_listened_on_is_a_candidate_and_proves_nothing() {
        let circuit = format!("/ip4/192.0.2.9/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        let listening = [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.0.0.7/tcp/4001",
            "/ip4/10.0.0.7/udp/4002/quic-v1",
            "/ip6/fe80::1/tcp/4003",
            circuit.as_str(),
        ]
        .map(address);
        let ips: [IpAddr; 2] = ["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let expected = ["/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4002/quic-v1"].map(address);
        assert_eq!(candidates(listening.iter(), &ips[..1]), expected.clone().into());
        let both: BTreeSet<Multiaddr> =
            expected.into_iter().chain([address("/ip6/2001:db8::7/tcp/4003")]).collect();
        assert_eq!(candidates(listening.iter(), &ips), both);
        assert!(candidates([].iter(), &ips).is_empty());
    }
}
