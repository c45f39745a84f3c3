//! Addresses of peers that were connected and admitted once, so that they can be dialled by id. In memory only.

use crate::address;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;

/// Addresses kept of one peer.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Peers kept; the one not needed for the longest time makes room.
const MAX_PEERS: usize = 1024;

#[derive(Debug)]
struct Known {
    addresses: Vec<Multiaddr>,
    used: u64,
}

/// The address book.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    peers: BTreeMap<PeerId, Known>,
    uses: u64,
}

impl AddressBook {
    /// Keeps these addresses, best first, instead of what was known.
    pub(crate) fn remember(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return;
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, known)| known.used).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.peers.remove(&oldest);
            }
        }
        let used = self.next_use();
        self.peers.insert(peer, Known { addresses, used });
    }

    /// Keeps nothing of a peer.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Where the peer was reached before; empty when it is not known.
    pub(crate) fn addresses(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let used = self.next_use();
        match self.peers.get_mut(peer) {
            Some(known) => {
                known.used = used;
                known.addresses.clone()
            }
            None => Vec::new(),
        }
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

/// Adds an address to a short list without duplicates, if there is room.
pub(crate) fn add(addresses: &mut Vec<Multiaddr>, address: &Multiaddr) {
    let bare = address::split(address.clone()).address;
    if addresses.len() < MAX_ADDRESSES && !addresses.contains(&bare) {
        addresses.push(bare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_not_needed_for_the_longest_time_makes_room() {
        let address: Multiaddr = "/ip4/192.0.2.7/tcp/4001".parse().unwrap();
        let mut book = AddressBook::default();
        let first = PeerId::random();
        book.remember(first, vec![address.clone()]);
        let second = PeerId::random();
        book.remember(second, vec![address.clone()]);
        for _ in 0..MAX_PEERS - 1 {
            assert!(!book.addresses(&first).is_empty());
            book.remember(PeerId::random(), vec![address.clone()]);
        }
        assert!(book.addresses(&second).is_empty());
        assert_eq!(book.addresses(&first), [address]);
        assert_eq!(book.peers.len(), MAX_PEERS);
    }

    #[test]
    fn a_list_of_addresses_stays_short_and_has_no_duplicates() {
        let mut list = Vec::new();
        for port in 1..100_u16 {
            for _ in 0..2 {
                add(&mut list, &format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap());
            }
        }
        assert_eq!(list.len(), MAX_ADDRESSES);
    }
}
