//! Peers that multicast DNS hears on the local networks, as they are shown to who asks. Anybody on the network can invent
//! any number of peers, and say that they stay for years: only so many are kept, and who was heard last displaces who has
//! not been heard for the longest time. Whom a burst has displaced is heard again when listening begins anew
//! ([`Neighbours::take_crowded`] says that it should).

use super::super::book;
use crate::address;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport;
use std::collections::BTreeMap;

/// Neighbours that are kept.
const MAX_NEIGHBOURS: usize = 512;

/// Where a neighbour is, and its place in the order of being heard.
#[derive(Debug, Default)]
struct Heard {
    addresses: Vec<Multiaddr>,
    turn: u64,
}

/// The neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    peers: BTreeMap<PeerId, Heard>,
    /// Who was heard in which turn last; the one with the lowest number goes first.
    turns: BTreeMap<u64, PeerId>,
    next_turn: u64,
    /// Somebody was displaced.
    crowded: bool,
    /// How often somebody new, or somebody at a new address, was heard.
    news: u64,
    changed: bool,
}

impl Default for Neighbours {
    /// Nobody, and that was not shown yet.
    fn default() -> Self {
        let (peers, turns) = (BTreeMap::new(), BTreeMap::new());
        Self { peers, turns, next_turn: 0, crowded: false, news: 0, changed: true }
    }
}

impl Neighbours {
    /// A peer was heard. Gives who had to go for it.
    pub(crate) fn heard(&mut self, peer: PeerId, address: &Multiaddr) -> Option<PeerId> {
        let displaced = if self.peers.len() >= MAX_NEIGHBOURS && !self.peers.contains_key(&peer) {
            self.displace()
        } else {
            None
        };
        let heard = self.peers.entry(peer).or_default();
        let before = heard.addresses.len();
        book::add(&mut heard.addresses, address);
        if heard.addresses.len() > before {
            self.news = self.news.saturating_add(1);
            self.changed = true;
        }
        self.turns.remove(&heard.turn);
        self.next_turn += 1;
        heard.turn = self.next_turn;
        self.turns.insert(heard.turn, peer);
        displaced
    }

    /// Whoever has not been heard for the longest time goes.
    fn displace(&mut self) -> Option<PeerId> {
        let (_, oldest) = self.turns.pop_first()?;
        self.peers.remove(&oldest);
        self.crowded = true;
        Some(oldest)
    }

    /// It is no longer heard at an address.
    pub(crate) fn gone(&mut self, peer: &PeerId, address: &Multiaddr) {
        let bare = address::split(address.clone()).address;
        if let Some(heard) = self.peers.get_mut(peer) {
            heard.addresses.retain(|known| *known != bare);
            if heard.addresses.is_empty() {
                self.turns.remove(&heard.turn);
                self.peers.remove(peer);
            }
            self.changed = true;
        }
    }

    /// Nobody is heard any more.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.turns.clear();
        self.changed = true;
    }

    /// Whether anybody was displaced since the last call: who is still there may be missing.
    pub(crate) fn take_crowded(&mut self) -> bool {
        std::mem::take(&mut self.crowded)
    }

    /// Whether anything has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of them.
    pub(crate) fn list(&self) -> transport::Neighbours {
        let found = self.peers.iter().map(|(peer, heard)| FoundPeer {
            peer: Some(address::peer_of(peer)),
            addresses: heard.addresses.iter().map(ToString::to_string).collect(),
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

    fn knows(neighbours: &Neighbours, peer: &PeerId) -> bool {
        neighbours.peers.contains_key(peer)
    }

    #[test]
    fn a_storm_of_invented_peers_is_kept_small_and_who_comes_after_it_is_heard() {
        let mut neighbours = Neighbours::default();
        let displaced = (1..=10_000).filter_map(|n| neighbours.heard(PeerId::random(), &address(n))).count();
        assert_eq!((displaced, neighbours.len()), (10_000 - MAX_NEIGHBOURS, MAX_NEIGHBOURS));
        assert_eq!(neighbours.list().found.len(), MAX_NEIGHBOURS);
        let (newcomer, news) = (PeerId::random(), neighbours.list().news);
        assert!(neighbours.heard(newcomer, &address(1)).is_some());
        assert!(knows(&neighbours, &newcomer) && neighbours.list().news > news);
        assert!(neighbours.take_crowded() && !neighbours.take_crowded());
        neighbours.clear();
        assert!(neighbours.take_changed() && neighbours.list().found.is_empty());
        assert_eq!(neighbours.heard(newcomer, &address(1)), None, "there is room again");
        assert!(!neighbours.take_crowded());
    }

    #[test]
    fn who_has_not_been_heard_for_the_longest_time_goes_first() {
        let mut neighbours = Neighbours::default();
        let many: Vec<PeerId> = (0..MAX_NEIGHBOURS).map(|_| PeerId::random()).collect();
        for peer in &many {
            neighbours.heard(*peer, &address(1));
        }
        // The first one speaks again, at the same place or at another.
        neighbours.heard(many[0], &address(1));
        neighbours.heard(many[1], &address(2));
        neighbours.gone(&many[3], &address(1));
        assert_eq!(neighbours.heard(PeerId::random(), &address(1)), None, "in the place of who went");
        assert_eq!(neighbours.heard(PeerId::random(), &address(1)), Some(many[2]));
        assert_eq!(neighbours.heard(PeerId::random(), &address(1)), Some(many[4]));
        assert!(knows(&neighbours, &many[0]) && knows(&neighbours, &many[1]));
        assert_eq!(neighbours.turns.len(), neighbours.len());
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
