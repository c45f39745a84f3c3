//! Peers that multicast DNS hears on the local networks, and when discovery is told of them: at once, and again and again
//! while they are there, a few at a time. Anybody on the network can invent any number of peers: only so many are kept.

use super::super::book;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// Neighbours that are kept.
const MAX_NEIGHBOURS: usize = 512;
/// Neighbours told of at a time.
const MAX_TOLD: usize = 16;
/// How long after a full receiver.
const FULL_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Neighbour {
    addresses: Vec<Multiaddr>,
    due: UnixMillis,
}

/// The neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    peers: BTreeMap<PeerId, Neighbour>,
    again: Duration,
}

impl Neighbours {
    /// Told of again every so often.
    pub(crate) fn new(again: Duration) -> Self {
        Self { peers: BTreeMap::new(), again }
    }

    /// A peer was heard; false when there is no room for it.
    pub(crate) fn heard(&mut self, peer: PeerId, address: &Multiaddr, now: UnixMillis) -> bool {
        if self.peers.len() >= MAX_NEIGHBOURS && !self.peers.contains_key(&peer) {
            return false;
        }
        let neighbour =
            self.peers.entry(peer).or_insert_with(|| Neighbour { addresses: Vec::new(), due: now });
        let before = neighbour.addresses.len();
        book::add(&mut neighbour.addresses, address);
        if neighbour.addresses.len() > before {
            neighbour.due = now;
        }
        true
    }

    /// It is no longer heard at an address.
    pub(crate) fn gone(&mut self, peer: &PeerId, address: &Multiaddr) {
        let bare = crate::address::split(address.clone()).address;
        if let Some(neighbour) = self.peers.get_mut(peer) {
            neighbour.addresses.retain(|known| *known != bare);
            if neighbour.addresses.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// Nobody is heard any more.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
    }

    /// Those to tell of now.
    pub(crate) fn due(&mut self, now: UnixMillis) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let due = self.peers.iter_mut().filter(|(_, neighbour)| neighbour.due <= now).take(MAX_TOLD);
        due.map(|(peer, neighbour)| {
            neighbour.due = now.after(self.again);
            (*peer, neighbour.addresses.clone())
        })
        .collect()
    }

    /// They could not be told: in a moment again.
    pub(crate) fn not_told(&mut self, peers: impl Iterator<Item = PeerId>, now: UnixMillis) {
        for peer in peers {
            if let Some(neighbour) = self.peers.get_mut(&peer) {
                neighbour.due = now.after(FULL_PAUSE);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Duration = Duration::from_secs(60);

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_storm_of_invented_peers_is_kept_small_and_told_bit_by_bit() {
        let mut neighbours = Neighbours::new(AGAIN);
        let kept =
            (0..10_000).filter(|n| neighbours.heard(PeerId::random(), &address(*n), UnixMillis(0))).count();
        assert_eq!((kept, neighbours.len()), (MAX_NEIGHBOURS, MAX_NEIGHBOURS));
        let mut told = 0;
        for tick in 0..MAX_NEIGHBOURS / MAX_TOLD {
            let batch = neighbours.due(UnixMillis(tick as u64));
            assert_eq!(batch.len(), MAX_TOLD);
            told += batch.len();
        }
        assert_eq!(told, MAX_NEIGHBOURS);
        assert!(neighbours.due(UnixMillis(1000)).is_empty(), "each once");
    }

    #[test]
    fn one_peer_with_thousands_of_addresses_is_one_neighbour_with_a_few() {
        let mut neighbours = Neighbours::new(AGAIN);
        let peer = PeerId::random();
        for port in 1..10_000 {
            neighbours.heard(peer, &address(port), UnixMillis(0));
        }
        let batch = neighbours.due(UnixMillis(0));
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].1.len(), book::MAX_ADDRESSES);
        neighbours.heard(peer, &address(1), UnixMillis(1));
        assert!(neighbours.due(UnixMillis(1)).is_empty(), "nothing new was heard");
    }

    #[test]
    fn a_neighbour_is_told_of_again_while_it_is_there_and_no_more_when_it_has_gone() {
        let mut neighbours = Neighbours::new(AGAIN);
        let peer = PeerId::random();
        neighbours.heard(peer, &address(1), UnixMillis(0));
        assert_eq!(neighbours.due(UnixMillis(0)), [(peer, vec![address(1)])]);
        assert!(neighbours.due(UnixMillis(59_999)).is_empty());
        assert_eq!(neighbours.due(UnixMillis(60_000)).len(), 1);
        neighbours.not_told([peer].into_iter(), UnixMillis(60_000));
        assert_eq!(neighbours.due(UnixMillis(61_000)).len(), 1, "told when there was room");
        neighbours.gone(&peer, &address(1));
        assert!(neighbours.due(UnixMillis(1_000_000)).is_empty());
        assert_eq!(neighbours.len(), 0);
    }
}
