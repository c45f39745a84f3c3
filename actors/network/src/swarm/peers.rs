//! The connected peers as a state machine: connections come and go, handshakes end, pings fail; what follows from it
//! is a list of [`Change`]s. No swarm, no clock, no I/O.
//!
//! A peer is admitted by a handshake on any of its connections, bound to both peer ids, for as long as one connection
//! remains. The latest handshake counts; one that breaks off decides nothing. When the secret on which an admission rests
//! is in use no more, the peer has to prove again within a time, and stays admitted meanwhile.

mod ways;

use super::book;
use crate::address::{self, TransportKind};
use crate::admission::logic::Ruling;
use crate::metrics::Direction;
use crate::session::{PeerSession, Refusal, Standing};
use crate::status::ConnectionStatus;
use crate::trust::{Grounds, Trust};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::{Role, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Failed pings in a row after which a connection is closed.
const MAX_PING_FAILURES: u32 = 3;
/// Longest agent name that is kept, in characters.
const MAX_AGENT: usize = 64;

/// What follows from an event.
#[derive(Debug)]
pub(crate) enum Change {
    /// The first connection to a peer.
    Joined(Arc<PeerSession>),
    /// The last one is gone. The addresses are worth remembering when the peer was admitted.
    Left(Arc<PeerSession>, Vec<Multiaddr>),
    /// Both sides admit each other now.
    Up(Arc<PeerSession>, Role, Multiaddr),
    /// They did, and do no more.
    Down(Arc<PeerSession>),
    /// One side refuses the other.
    Refused(Arc<PeerSession>, Refusal),
    /// A handshake broke off, and no other is under way: whoever waits for admission waits in vain.
    Undecided(Arc<PeerSession>, String),
    /// This connection is to be closed, for this reason.
    Close(ConnectionId, &'static str),
}

/// An open connection.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    address: Multiaddr,
    direction: Direction,
    opened: UnixMillis,
    /// Handshakes under way on it.
    handshakes: u32,
    ping_failures: u32,
    rtt_us: Option<u64>,
}

/// A connected peer.
#[derive(Debug)]
struct Peer {
    session: Arc<PeerSession>,
    standing: Standing,
    connections: BTreeSet<ConnectionId>,
    /// Where it says that it can be reached.
    claimed: Vec<Multiaddr>,
    agent: Option<String>,
    /// What its admission rests on.
    grounds: Option<Grounds>,
    /// It must prove again until then.
    prove_by: Option<UnixMillis>,
    /// Nothing is to be remembered of it.
    forget: bool,
    /// Something is under way with it that strangers may do: it is not closed before.
    held_until: UnixMillis,
}

/// A connection that has been set up.
#[derive(Debug, Clone)]
pub(crate) struct NewConnection {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) direction: Direction,
}

/// The connected peers.
#[derive(Debug, Default)]
pub(crate) struct PeerTable {
    open: BTreeMap<ConnectionId, Open>,
    peers: BTreeMap<PeerId, Peer>,
}

impl PeerTable {
    /// A connection stands. `session` makes the session of a peer that had none.
    pub(crate) fn connected(
        &mut self,
        new: NewConnection,
        now: UnixMillis,
        session: impl FnOnce() -> Arc<PeerSession>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let peer = self.peers.entry(new.peer).or_insert_with(|| {
            let session = session();
            changes.push(Change::Joined(Arc::clone(&session)));
            Peer {
                session,
                standing: Standing::Unknown,
                connections: BTreeSet::new(),
                claimed: Vec::new(),
                agent: None,
                grounds: None,
                prove_by: None,
                forget: false,
                held_until: UnixMillis::default(),
            }
        });
        peer.connections.insert(new.id);
        let open = Open {
            peer: new.peer,
            address: address::split(new.address).address,
            direction: new.direction,
            opened: now,
            handshakes: 0,
            ping_failures: 0,
            rtt_us: None,
        };
        self.open.insert(new.id, open);
        changes
    }

    /// A connection is gone.
    pub(crate) fn disconnected(&mut self, id: ConnectionId) -> Vec<Change> {
        let Some(gone) = self.open.remove(&id) else { return Vec::new() };
        let Some(peer) = self.peers.get_mut(&gone.peer) else { return Vec::new() };
        peer.connections.remove(&id);
        if !peer.connections.is_empty() {
            return self.undecided(gone.peer, "the connection was lost");
        }
        let Some(peer) = self.peers.remove(&gone.peer) else { return Vec::new() };
        if !matches!(peer.standing, Standing::Admitted(_)) {
            return vec![Change::Left(peer.session, Vec::new())];
        }
        let mut addresses = Vec::new();
        if peer.forget {
            return vec![Change::Left(Arc::clone(&peer.session), addresses), Change::Down(peer.session)];
        }
        // The one that is known to work first; an incoming connection's port is nothing to dial.
        if gone.direction == Direction::Out {
            book::add(&mut addresses, &gone.address);
        }
        for claimed in &peer.claimed {
            book::add(&mut addresses, claimed);
        }
        addresses.sort_by_key(address::is_relayed);
        // The session ends before anybody is told: who hears of it finds no peer any more.
        vec![Change::Left(Arc::clone(&peer.session), addresses), Change::Down(peer.session)]
    }

    /// A handshake has begun on a connection.
    pub(crate) fn handshake_began(&mut self, id: ConnectionId) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.handshakes += 1;
        let Some(peer) = self.peers.get_mut(&open.peer) else { return };
        // Who was refused may have come back with the right secret: its requests wait for the new verdict. Who is
        // admitted stays so meanwhile.
        if matches!(peer.standing, Standing::Unknown | Standing::Refused(_)) {
            peer.set_standing(Standing::Proving);
        }
    }

    /// A handshake has ended, or broken off with this problem. One whose connection is gone decides nothing.
    pub(crate) fn handshake_ended(
        &mut self,
        id: ConnectionId,
        ruling: Result<Ruling, String>,
    ) -> Vec<Change> {
        let Some(open) = self.open.get_mut(&id) else { return Vec::new() };
        open.handshakes = open.handshakes.saturating_sub(1);
        let (peer_id, address) = (open.peer, open.address.clone());
        let Some(peer) = self.peers.get_mut(&peer_id) else { return Vec::new() };
        let session = Arc::clone(&peer.session);
        let before = peer.standing.clone();
        let refusal = match ruling {
            Err(problem) => return self.undecided(peer_id, &problem),
            Ok(Ruling::Admitted(role, grounds)) => {
                peer.set_standing(Standing::Admitted(role));
                peer.grounds = Some(grounds);
                peer.prove_by = None;
                let same = before == Standing::Admitted(role);
                return if same { Vec::new() } else { vec![Change::Up(session, role, address)] };
            }
            Ok(Ruling::RefusedByUs(reason)) => Refusal { by_us: true, reason },
            Ok(Ruling::RefusedByThem(reason)) => Refusal { by_us: false, reason },
        };
        peer.refuse(refusal)
    }

    /// Peers that this trust does not uphold as admitted, with a connection on which to ask them again: their secret is in
    /// use no more, or they could not prove one before.
    pub(crate) fn unproven(&self, trust: &Trust) -> Vec<(PeerId, ConnectionId)> {
        let upheld = |peer: &Peer| match peer.standing {
            Standing::Admitted(_) => peer.grounds.as_ref().is_some_and(|grounds| trust.upholds(grounds)),
            _ => false,
        };
        self.peers
            .iter()
            .filter(|(_, peer)| !upheld(peer))
            .filter_map(|(id, peer)| Some((*id, *peer.connections.last()?)))
            .collect()
    }

    /// Whether a peer is admitted by a secret that is in use no more, and was not asked to prove again yet.
    pub(crate) fn is_outdated(&self, peer: &PeerId, trust: &Trust) -> bool {
        self.peers.get(peer).is_some_and(|peer| {
            peer.prove_by.is_none() && peer.grounds.as_ref().is_some_and(|grounds| !trust.upholds(grounds))
        })
    }

    /// The peer, if it is admitted, has to prove again until then.
    pub(crate) fn demand_proof(&mut self, peer: &PeerId, by: UnixMillis) {
        if let Some(peer) = self.peers.get_mut(peer)
            && matches!(peer.standing, Standing::Admitted(_))
        {
            peer.prove_by.get_or_insert(by);
        }
    }

    /// Peers that did not prove again in time are admitted no more.
    pub(crate) fn unproven_at(&mut self, now: UnixMillis) -> Vec<Change> {
        let overdue = |peer: &&mut Peer| peer.prove_by.is_some_and(|by| by <= now);
        let reason =
            "the mesh secret that it had proved is in use no more, and it did not prove another one in time";
        self.peers
            .values_mut()
            .filter(overdue)
            .flat_map(|peer| peer.refuse(Refusal { by_us: true, reason: reason.to_owned() }))
            .collect()
    }

    /// Admits a peer no more, from this moment on; its connections are closed by whoever says so.
    pub(crate) fn shut_out(&mut self, peer: &PeerId, reason: String) -> Vec<Change> {
        let Some(peer) = self.peers.get_mut(peer) else { return Vec::new() };
        let mut changes = peer.refuse(Refusal { by_us: true, reason });
        // That it is shut out says more than that it is refused.
        changes.retain(|change| matches!(change, Change::Down(_)));
        changes
    }

    /// Does not close a stranger's connections before that time.
    pub(crate) fn hold(&mut self, peer: &PeerId, until: UnixMillis) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.held_until = until;
        }
    }

    /// Remembers nothing of a peer when its connections are gone; how many it has.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> usize {
        let Some(peer) = self.peers.get_mut(peer) else { return 0 };
        peer.forget = true;
        peer.connections.len()
    }

    /// A ping was answered, or not.
    pub(crate) fn pinged(&mut self, id: ConnectionId, rtt: Option<Duration>) -> Vec<Change> {
        let Some(open) = self.open.get_mut(&id) else { return Vec::new() };
        match rtt {
            Some(rtt) => {
                open.ping_failures = 0;
                open.rtt_us = Some(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                Vec::new()
            }
            None => {
                open.ping_failures += 1;
                let dead = open.ping_failures == MAX_PING_FAILURES;
                if dead { vec![Change::Close(id, "no_answer")] } else { Vec::new() }
            }
        }
    }

    /// A peer has said what it is and where it listens.
    pub(crate) fn identified(&mut self, id: ConnectionId, agent: &str, addresses: &[Multiaddr]) {
        let Some(open) = self.open.get(&id) else { return };
        let Some(peer) = self.peers.get_mut(&open.peer) else { return };
        peer.agent = Some(agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect());
        peer.claimed.clear();
        for address in addresses.iter().filter(|claimed| address::believable(claimed, &open.address)) {
            book::add(&mut peer.claimed, address);
        }
    }

    /// Connections whose peers had time enough to be admitted.
    pub(crate) fn overdue(&self, now: UnixMillis, grace: Duration) -> Vec<Change> {
        let held = |peer: &PeerId| self.peers.get(peer).is_some_and(|peer| peer.held_until > now);
        let overdue = |open: &Open| {
            now.since(open.opened) >= grace && self.role(&open.peer).is_none() && !held(&open.peer)
        };
        self.open
            .iter()
            .filter(|(_, open)| overdue(open))
            .map(|(id, _)| Change::Close(*id, "not_admitted"))
            .collect()
    }

    /// Who is at the other end of a connection.
    pub(crate) fn peer_of(&self, id: ConnectionId) -> Option<PeerId> {
        self.open.get(&id).map(|open| open.peer)
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    pub(crate) fn session(&self, peer: &PeerId) -> Option<(&Arc<PeerSession>, &Standing)> {
        self.peers.get(peer).map(|peer| (&peer.session, &peer.standing))
    }

    pub(crate) fn role(&self, peer: &PeerId) -> Option<Role> {
        match self.peers.get(peer)?.standing {
            Standing::Admitted(role) => Some(role),
            _ => None,
        }
    }

    /// Who is at the other end of a connection that this node opened to the address. Through a relay it may lead to many.
    pub(crate) fn peer_at(&self, address: &Multiaddr) -> Option<PeerId> {
        if address::is_relayed(address) {
            return None;
        }
        let found =
            self.open.values().find(|open| open.direction == Direction::Out && open.address == *address);
        found.map(|open| open.peer)
    }

    /// Where a connected peer can be dialled, as far as is known.
    pub(crate) fn dialable(&self, peer: &PeerId) -> Option<Multiaddr> {
        self.ways_to(peer).into_iter().next()
    }

    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Admitted peers, and others.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let admitted =
            self.peers.values().filter(|peer| matches!(peer.standing, Standing::Admitted(_))).count();
        (admitted, self.peers.len() - admitted)
    }

    /// Open connections by direction and transport.
    pub(crate) fn connection_counts(&self) -> BTreeMap<(&'static str, &'static str), i64> {
        let mut counts = BTreeMap::new();
        for direction in [Direction::In, Direction::Out] {
            for transport in [TransportKind::Tcp, TransportKind::Quic, TransportKind::Relay] {
                counts.insert((direction.name(), transport.name()), 0);
            }
        }
        for open in self.open.values() {
            *counts.entry((open.direction.name(), address::kind(&open.address).name())).or_default() += 1;
        }
        counts
    }

    /// The connections as others may see them, by peer.
    pub(crate) fn status(&self) -> Vec<ConnectionStatus> {
        let mut all: Vec<ConnectionStatus> =
            self.open.values().filter_map(|open| self.describe(open)).collect();
        all.sort_by(|a, b| (&a.peer, &a.address).cmp(&(&b.peer, &b.address)));
        all
    }

    fn describe(&self, open: &Open) -> Option<ConnectionStatus> {
        let peer = self.peers.get(&open.peer)?;
        Some(ConnectionStatus {
            peer: peer.session.peer.clone(),
            role: peer.session.role(),
            address: open.address.to_string(),
            direction: open.direction.name(),
            transport: address::kind(&open.address).name(),
            rtt_us: open.rtt_us,
            agent: peer.agent.clone(),
        })
    }

    /// A handshake decided nothing: if no other of the peer is under way, it is a stranger as before.
    fn undecided(&mut self, peer_id: PeerId, problem: &str) -> Vec<Change> {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return Vec::new() };
        let under_way = |id: &ConnectionId| self.open.get(id).is_some_and(|open| open.handshakes > 0);
        if peer.standing != Standing::Proving || peer.connections.iter().any(under_way) {
            return Vec::new();
        }
        peer.set_standing(Standing::Unknown);
        vec![Change::Undecided(Arc::clone(&peer.session), problem.to_owned())]
    }
}

impl Peer {
    fn set_standing(&mut self, standing: Standing) {
        self.session.set_standing(standing.clone());
        self.standing = standing;
    }

    fn refuse(&mut self, refusal: Refusal) -> Vec<Change> {
        let was_admitted = matches!(self.standing, Standing::Admitted(_));
        self.set_standing(Standing::Refused(refusal.clone()));
        self.grounds = None;
        self.prove_by = None;
        let mut changes = Vec::new();
        if was_admitted {
            changes.push(Change::Down(Arc::clone(&self.session)));
        }
        changes.push(Change::Refused(Arc::clone(&self.session), refusal));
        changes
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
