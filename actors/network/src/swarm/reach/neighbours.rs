//! Peers that multicast DNS hears on the local networks, as they are shown to who asks. Anybody on the network can invent
//! any number of peers: only so many are kept.

use super::super::book;
use crate::address;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport;
use std::collections::BTreeMap;

/// Neighbours that are kept.
const MAX_NEIGHBOURS: usize = 512;

/// The neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// How often somebody new, or somebody at a new address, was heard.
    news: u64,
    changed: bool,
}

impl Default for Neighbours {
    /// Nobody, and that was not shown yet.
    fn default() -> Self {
        Self { peers: BTreeMap::new(), news: 0, changed: true }
    }
}

impl Neighbours {
    /// A peer was heard; false when there is no room for it.
    pub(crate) fn heard(&mut self, peer: PeerId, address: &Multiaddr) -> bool {
        if self.peers.len() >= MAX_NEIGHBOURS && !self.peers.contains_key(&peer) {
            return false;
        }
        let addresses = self.peers.entry(peer).or_default();
        let before = addresses.len();
        book::add(addresses, address);
        if addresses.len() > before {
            self.news = self.news.saturating_add(1);
            self.changed = true;
        }
        true
    }

    /// It is no longer heard at an address.
    pub(crate) fn gone(&mut self, peer: &PeerId, address: &Multiaddr) {
        let bare = address::split(address.clone()).address;
        if let Some(addresses) = self.peers.get_mut(peer) {
            addresses.retain(|known| *known != bare);
            if addresses.is_empty() {
                self.peers.remove(peer);
            }
            self.changed = true;
        }
    }

    /// Nobody is heard any more.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.changed = true;
    }

    /// Whether anything has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of them.
    pub(crate) fn list(&self) -> transport::Neighbours {
        let found = self.peers.iter().map(|(peer, addresses)| FoundPeer {
            peer: Some(address::peer_of(peer)),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
        transport::Neighbours { news: self.news, found: found.collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_storm_of_invented_peers_is_kept_small() {
        let mut neighbours = Neighbours::default();
        let kept = (0..10_000).filter(|n| neighbours.heard(PeerId::random(), &address(*n + 1))).count();
        assert_eq!((kept, neighbours.len()), (MAX_NEIGHBOURS, MAX_NEIGHBOURS));
        let shown = neighbours.list();
        assert_eq!((shown.found.len(), shown.news), (MAX_NEIGHBOURS, 512), "those dropped are no news");
        neighbours.clear();
        assert!(neighbours.take_changed() && neighbours.list().found.is_empty());
    }

    #[test]
    fn one_peer_with_thousands_of_addresses_is_one_neighbour_with_a_few() {
        let mut neighbours = Neighbours::default();
        let peer = PeerId::random();
        for port in 1..10_000 {
            neighbours.heard(peer, &address(port));
        }
        let shown = neighbours.list();
        assert_eq!(shown.found.len(), 1);
        assert_eq!(shown.found[0].addresses.len(), book::MAX_ADDRESSES);
        assert!(neighbours.take_changed());
        neighbours.heard(peer, &address(1));
        assert!(!neighbours.take_changed(), "nothing new was heard");
        assert_eq!(neighbours.list().news, shown.news);
    }

    #[test]
    fn who_comes_is_news_and_who_goes_is_only_a_change() {
        let mut neighbours = Neighbours::default();
        assert!(neighbours.take_changed(), "nobody was shown yet");
        let (peer, port) = (PeerId::random(), address(1));
        neighbours.heard(peer, &port);
        assert!(neighbours.take_changed() && !neighbours.take_changed());
        let addresses = vec![port.to_string()];
        let found = vec![FoundPeer { peer: Some(crate::address::peer_of(&peer)), addresses }];
        assert_eq!(neighbours.list(), transport::Neighbours { news: 1, found });
        neighbours.gone(&peer, &port);
        assert!(neighbours.take_changed());
        assert_eq!(neighbours.list(), transport::Neighbours { news: 1, found: Vec::new() });
        neighbours.gone(&peer, &port);
        assert!(!neighbours.take_changed());
    }
}
