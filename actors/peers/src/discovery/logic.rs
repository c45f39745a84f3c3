//! The peer book as a pure state machine: what happened and when goes in, views come out.

use meshwork_proto::discovery::{Advertisement, ListPeers, PeerConnection, PeerView};
use meshwork_proto::{PeerId, Role, UnixMillis};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Addresses kept of one peer: enough for several interfaces, too few for a peer that invents them.
const MAX_ADDRESSES: usize = 16;
/// Most peers in one answer.
const MAX_LISTED: usize = 1000;
/// Most tools and labels, and longest text, believed of one advertisement.
const MAX_ADVERTISED: usize = 2000;

#[derive(Debug, Default, Clone)]
struct Entry {
    addresses: VecDeque<String>,
    role: Option<Role>,
    connected: bool,
    advertisement: Option<Advertisement>,
    rtt_us: Option<u64>,
    last_seen: Option<UnixMillis>,
}

/// Everybody this node has heard of since it started.
#[derive(Debug, Clone)]
pub struct PeerBook {
    entries: BTreeMap<PeerId, Entry>,
    max_peers: usize,
}

/// The book in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookStatus {
    /// Peers known.
    pub known: usize,
    /// Peers connected and admitted.
    pub connected: usize,
}

impl PeerBook {
    /// An empty book for at most `max_peers` peers.
    #[must_use]
    pub fn new(max_peers: usize) -> Self {
        Self { entries: BTreeMap::new(), max_peers: max_peers.max(1) }
    }

    /// Notes a change of a connection. Gives the peer to exchange advertisements with, if it is newly up.
    pub fn on_connection(&mut self, now: UnixMillis, change: PeerConnection) -> Option<PeerId> {
        match change {
            PeerConnection::Up { peer, role, address } => {
                let entry = self.entry(&peer);
                remember_address(entry, address);
                let newly = !entry.connected;
                entry.connected = true;
                entry.role = Some(role);
                entry.last_seen = Some(now);
                newly.then_some(peer)
            }
            PeerConnection::Down { peer } => {
                if let Some(entry) = self.entries.get_mut(&peer) {
                    entry.connected = false;
                    entry.rtt_us = None;
                    entry.last_seen = Some(now);
                }
                None
            }
            PeerConnection::Rtt { peer, rtt_us } => {
                if let Some(entry) = self.entries.get_mut(&peer) {
                    entry.rtt_us = Some(rtt_us);
                    entry.last_seen = Some(now);
                }
                None
            }
            PeerConnection::ShutOut { .. } | PeerConnection::LetIn { .. } => None,
            PeerConnection::Refused { peer, .. } => {
                let entry = self.entry(&peer);
                entry.role = None;
                entry.connected = false;
                None
            }
        }
    }

    /// Notes what an admitted peer said of itself.
    pub fn on_advertised(&mut self, now: UnixMillis, peer: &PeerId, advertisement: Advertisement) {
        let entry = self.entry(peer);
        for address in advertisement.addresses.iter().take(MAX_ADDRESSES) {
            if address.len() <= 256
                && !entry.addresses.contains(address)
                && entry.addresses.len() < MAX_ADDRESSES
            {
                entry.addresses.push_back(address.clone());
            }
        }
        entry.advertisement = Some(bounded(advertisement));
        entry.last_seen = Some(now);
    }

    /// Peers with a standing connection.
    #[must_use]
    pub fn connected(&self) -> Vec<PeerId> {
        self.entries.iter().filter(|(_, entry)| entry.connected).map(|(peer, _)| peer.clone()).collect()
    }

    /// The peers asked for, connected ones first, then by id.
    #[must_use]
    pub fn list(&self, query: &ListPeers) -> Vec<PeerView> {
        let limit = match query.max_peers {
            0 => MAX_LISTED,
            wanted => usize::try_from(wanted).unwrap_or(MAX_LISTED).min(MAX_LISTED),
        };
        let fits = |entry: &Entry| match &query.capability {
            None => true,
            Some(wanted) => entry
                .advertisement
                .as_ref()
                .is_some_and(|known| known.tools.contains(wanted) || known.labels.contains(wanted)),
        };
        let of = |connected: bool| {
            self.entries.iter().filter(move |(_, entry)| entry.connected == connected && fits(entry))
        };
        of(true).chain(of(false)).take(limit).map(|(peer, entry)| view(peer, entry)).collect()
    }

    /// The book in numbers.
    #[must_use]
    pub fn status(&self) -> BookStatus {
        BookStatus {
            known: self.entries.len(),
            connected: self.entries.values().filter(|entry| entry.connected).count(),
        }
    }

    fn entry(&mut self, peer: &PeerId) -> &mut Entry {
        if !self.entries.contains_key(peer) && self.entries.len() >= self.max_peers {
            self.forget_longest_silent();
        }
        self.entries.entry(peer.clone()).or_default()
    }

    fn forget_longest_silent(&mut self) {
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.connected)
            .min_by_key(|(_, entry)| entry.last_seen)
            .map(|(peer, _)| peer.clone());
        if let Some(peer) = oldest {
            self.entries.remove(&peer);
        }
    }
}

fn view(peer: &PeerId, entry: &Entry) -> PeerView {
    PeerView {
        peer: peer.clone(),
        addresses: entry.addresses.iter().cloned().collect(),
        connected: entry.connected,
        role: entry.role,
        advertisement: entry.advertisement.clone(),
        rtt_us: entry.rtt_us,
        last_seen: entry.last_seen,
    }
}

/// The address that works now goes to the front.
fn remember_address(entry: &mut Entry, address: String) {
    entry.addresses.retain(|known| *known != address);
    entry.addresses.push_front(address);
    entry.addresses.truncate(MAX_ADDRESSES);
}

/// A peer may say what it likes; what is kept of it is bounded.
fn bounded(mut advertisement: Advertisement) -> Advertisement {
    let short = |text: &String| text.len() <= 256;
    advertisement.agent.truncate(advertisement.agent.floor_char_boundary(128));
    advertisement.tools = advertisement.tools.into_iter().filter(short).take(MAX_ADVERTISED).collect();
    advertisement.labels = advertisement.labels.into_iter().filter(short).take(MAX_ADVERTISED).collect();
    advertisement.addresses.retain(short);
    advertisement.addresses.truncate(MAX_ADDRESSES);
    advertisement
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn peer(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn up(text: &str) -> PeerConnection {
        PeerConnection::Up { peer: peer(text), role: Role::Member, address: "/ip4/127.0.0.1/tcp/1".into() }
    }

    #[test]
    fn a_peer_that_comes_up_is_to_be_told_once_and_again_after_it_was_gone() {
        let mut book = PeerBook::new(10);
        assert_eq!(book.on_connection(UnixMillis(1), up(A)), Some(peer(A)));
        assert_eq!(book.on_connection(UnixMillis(2), up(A)), None);
        book.on_connection(UnixMillis(3), PeerConnection::Down { peer: peer(A) });
        assert_eq!(book.on_connection(UnixMillis(4), up(A)), Some(peer(A)));
    }

    #[test]
    fn peers_are_found_by_tool_or_label_and_connected_ones_come_first() {
        let mut book = PeerBook::new(10);
        let offer = Advertisement {
            tools: ["ocr".into()].into(),
            labels: ["gpu".into()].into(),
            ..Default::default()
        };
        book.on_advertised(UnixMillis(1), &peer(A), offer.clone());
        book.on_connection(UnixMillis(2), up(B));
        book.on_advertised(UnixMillis(2), &peer(B), offer);
        for wanted in ["ocr", "gpu"] {
            let found = book.list(&ListPeers { capability: Some(wanted.into()), max_peers: 0 });
            assert_eq!(found.iter().map(|view| view.peer.as_str()).collect::<Vec<_>>(), [B, A]);
        }
        assert!(book.list(&ListPeers { capability: Some("other".into()), max_peers: 0 }).is_empty());
        assert_eq!(book.list(&ListPeers { capability: None, max_peers: 1 }).len(), 1);
    }

    #[test]
    fn a_full_book_forgets_the_longest_silent_peer_but_never_a_connected_one() {
        let mut book = PeerBook::new(2);
        book.on_connection(UnixMillis(1), up(A));
        book.on_advertised(UnixMillis(2), &peer(B), Advertisement::default());
        let third = peer("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp");
        book.on_advertised(UnixMillis(3), &third, Advertisement::default());
        let known: Vec<_> = book.list(&ListPeers::default()).into_iter().map(|view| view.peer).collect();
        assert_eq!(known, [peer(A), third]);
    }

    #[test]
    fn a_peer_that_advertises_without_end_is_believed_only_so_far() {
        let mut book = PeerBook::new(10);
        let tools = (0..100_000).map(|n| format!("tool{n}")).collect();
        let addresses = (0..100_000).map(|n| format!("/ip4/10.0.0.1/tcp/{n}")).collect();
        let agent = "x".repeat(1_000_000);
        let huge = Advertisement { tools, addresses, agent, ..Default::default() };
        book.on_advertised(UnixMillis(1), &peer(A), huge);
        let kept = book.list(&ListPeers::default()).remove(0);
        let advertisement = kept.advertisement.unwrap();
        assert_eq!(advertisement.tools.len(), MAX_ADVERTISED);
        assert_eq!((kept.addresses.len(), advertisement.agent.len()), (MAX_ADDRESSES, 128));
    }
}
