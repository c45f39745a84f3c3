//! The ways to a connected peer: straight or through a relay. A direct connection is better in everything, so that once
//! there is one, those through relays are let go.

use super::{Change, Open, PeerTable};
use crate::address;
use crate::metrics::Direction;
use crate::swarm::book;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use std::time::Duration;

impl Open {
    fn is_direct(&self) -> bool {
        !address::is_relayed(&self.address)
    }
}

impl PeerTable {
    fn connections_of(&self, peer: &PeerId) -> impl Iterator<Item = (ConnectionId, &Open)> {
        let ids = self.peers.get(peer).into_iter().flat_map(|peer| peer.connections.iter());
        ids.filter_map(|id| self.open.get(id).map(|open| (*id, open)))
    }

    /// The newest connection to a peer, a direct one if there is one: an older one may have died unnoticed.
    pub(crate) fn newest_connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.connections_of(peer).max_by_key(|(id, open)| (open.is_direct(), *id)).map(|(id, _)| id)
    }

    /// Whether a direct connection to the peer stands.
    pub(crate) fn has_direct(&self, peer: &PeerId) -> bool {
        self.connections_of(peer).any(|(_, open)| open.is_direct())
    }

    /// Whether a connection to it goes through a relay.
    pub(crate) fn has_relayed(&self, peer: &PeerId) -> bool {
        self.connections_of(peer).any(|(_, open)| !open.is_direct())
    }

    /// Who is at the other end of a connection, and who opened it.
    pub(crate) fn end_of(&self, id: ConnectionId) -> Option<(PeerId, Direction)> {
        self.open.get(&id).map(|open| (open.peer, open.direction))
    }

    /// Where the other end of a connection is, as far as it is seen; of one through a relay, where the relay is.
    pub(crate) fn address_of(&self, id: ConnectionId) -> Option<&Multiaddr> {
        self.open.get(&id).map(|open| &open.address)
    }

    /// Where a connected peer can be reached, as far as is known: where this node reached it, then where it says.
    pub(crate) fn ways_to(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut ways = Vec::new();
        for (_, open) in self.connections_of(peer).filter(|(_, open)| open.direction == Direction::Out) {
            book::add(&mut ways, &open.address);
        }
        for claimed in self.peers.get(peer).into_iter().flat_map(|peer| &peer.claimed) {
            book::add(&mut ways, claimed);
        }
        // Stable: the order among the direct ones stays.
        ways.sort_by_key(address::is_relayed);
        ways
    }

    /// The addresses of these that a connected peer may be reached at, judged by where it is seen; without those that
    /// belong to somebody else. None that can be judged: where the peer itself says.
    pub(crate) fn believed(&self, peer: &PeerId, claimed: &[Multiaddr]) -> Vec<Multiaddr> {
        let mut believed = Vec::new();
        let Some((_, open)) = self.connections_of(peer).next() else { return believed };
        for address in claimed {
            if let Some(bare) = address::of_peer(address, peer)
                && address::believable(&bare, &open.address)
            {
                book::add(&mut believed, &bare);
            }
        }
        if believed.is_empty() { self.ways_to(peer) } else { believed }
    }

    /// Connections through relays to members to which a direct one has stood for so long that nothing should be under
    /// way any more on the other.
    pub(crate) fn superseded(&self, now: UnixMillis, after: Duration) -> Vec<Change> {
        let mut close = Vec::new();
        for (id, relayed) in self.open.iter().filter(|(_, open)| !open.is_direct()) {
            let settled = |open: &Open| open.is_direct() && now.since(open.opened) >= after;
            if self.role(&relayed.peer).is_some()
                && self.connections_of(&relayed.peer).any(|(_, open)| settled(open))
            {
                close.push(Change::Close(*id, "direct_instead"));
            }
        }
        close
    }

    /// The connection that was opened to a peer only to try out one of its addresses, when there is another one.
    pub(crate) fn tried_out(&self, peer: &PeerId, address: &Multiaddr) -> Option<Change> {
        let address = address::split(address.clone()).address;
        let there = |open: &Open| open.direction == Direction::Out && open.address == address;
        let (id, _) = self.connections_of(peer).filter(|(_, open)| there(open)).last()?;
        let another = self.connections_of(peer).any(|(other, open)| other != id && open.is_direct());
        another.then_some(Change::Close(id, "tried_out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::peer_of;
    use crate::admission::logic::Ruling;
    use crate::session::PeerSession;
    use crate::swarm::peers::NewConnection;
    use crate::trust::Grounds;
    use meshwork_proto::Role;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const AFTER: Duration = Duration::from_secs(30);

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn connect(table: &mut PeerTable, n: usize, peer: PeerId, address: &str, direction: Direction) {
        let new = NewConnection { id: id(n), peer, address: address.parse().unwrap(), direction };
        table.connected(new, NOW, || PeerSession::new(peer_of(&peer), peer, 4, 4));
    }

    fn circuit() -> String {
        format!("/ip4/192.0.2.9/tcp/1/p2p/{}/p2p-circuit", PeerId::random())
    }

    #[test]
    fn a_direct_connection_is_used_before_a_newer_one_through_a_relay_which_is_let_go() {
        let mut table = PeerTable::default();
        let peer = PeerId::random();
        connect(&mut table, 1, peer, &circuit(), Direction::Out);
        assert!(!table.has_direct(&peer) && table.newest_connection(&peer) == Some(id(1)));
        connect(&mut table, 2, peer, "/ip4/192.0.2.7/tcp/1", Direction::In);
        connect(&mut table, 3, peer, &circuit(), Direction::Out);
        assert!(table.has_direct(&peer) && table.has_relayed(&peer));
        assert_eq!(table.newest_connection(&peer), Some(id(2)));
        assert!(table.superseded(NOW.after(AFTER), AFTER).is_empty(), "not before it is admitted");
        table.handshake_began(id(1));
        table.handshake_ended(id(1), Ok(Ruling::Admitted(Role::Member, Grounds::Name)));
        assert!(table.superseded(NOW, AFTER).is_empty(), "what is under way there may end");
        let closed = table.superseded(NOW.after(AFTER), AFTER);
        assert!(matches!(closed[..], [Change::Close(a, _), Change::Close(b, _)] if (a, b) == (id(1), id(3))));
    }

    #[test]
    fn direct_ways_come_first_and_those_of_others_are_not_believed() {
        let mut table = PeerTable::default();
        let peer = PeerId::random();
        let through = circuit();
        connect(&mut table, 1, peer, &through, Direction::Out);
        let claims = ["/ip4/10.0.0.1/tcp/7000", "/ip4/127.0.0.1/tcp/7000"];
        let claims: Vec<Multiaddr> = claims.iter().map(|text| text.parse().unwrap()).collect();
        table.identified(id(1), "x", &claims);
        assert_eq!(table.ways_to(&peer), [claims[0].clone(), through.parse().unwrap()]);
        let other: Multiaddr = format!("/ip4/10.0.0.2/tcp/1/p2p/{}", PeerId::random()).parse().unwrap();
        assert_eq!(table.believed(&peer, &[other.clone(), claims[0].clone()]), [claims[0].clone()]);
        assert_eq!(table.believed(&peer, &[other]), table.ways_to(&peer));
        assert!(table.believed(&PeerId::random(), &claims).is_empty());
    }

    #[test]
    fn a_connection_made_to_try_an_address_is_closed_unless_it_is_the_only_one() {
        let mut table = PeerTable::default();
        let peer = PeerId::random();
        let tried: Multiaddr = "/ip4/192.0.2.7/tcp/1".parse().unwrap();
        connect(&mut table, 1, peer, "/ip4/192.0.2.7/tcp/1", Direction::Out);
        assert!(table.tried_out(&peer, &tried).is_none());
        connect(&mut table, 2, peer, "/ip4/192.0.2.7/tcp/5000", Direction::In);
        assert!(matches!(table.tried_out(&peer, &tried), Some(Change::Close(closed, _)) if closed == id(1)));
        assert!(table.tried_out(&peer, &"/ip4/192.0.2.8/tcp/1".parse().unwrap()).is_none());
    }
}
