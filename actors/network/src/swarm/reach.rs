//! Finding peers, being found, being reached: what libp2p's behaviours for it report, handed to the pure tables beside
//! them, and what follows from those done at the swarm. The decision whom to connect to is not made here: what is found
//! is told to discovery's sources, which ask for it.

mod behaviours;
mod entries;
mod hints;
mod look_ups;
mod needed;
mod neighbours;
mod places;
mod points;
mod reachable;
mod relays;
mod tables;
mod vicinity;

pub(super) use behaviours::Reaching;
pub(crate) use look_ups::LookUpReply;
pub(crate) use points::TITLE as RENDEZVOUS;

use super::driver::Driver;
use super::peers::Change;
use crate::address::{self, Endpoint};
use crate::error::StartError;
use crate::metrics::Direction;
use crate::notify::Weight;
use crate::options::NetworkOptions;
use behaviours::ReachingEvent;
use entries::Entries;
use libp2p::swarm::{
    ConnectionId, ExternalAddrExpired, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate,
};
use libp2p::{Multiaddr, PeerId, identify, kad, relay};
use look_ups::LookUps;
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::Reachability;
use needed::Needed;
use neighbours::Neighbours;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reachable::Reachable;
use relays::Relays;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tables::Which;

/// How long a connection through a relay is kept beside a direct one, for what is under way on it.
const SUPERSEDED_AFTER: Duration = Duration::from_secs(30);
/// Connections to nodes of the public table that are spared while queries are under way there.
const MAX_TABLE_PEERS: usize = 64;

/// What a connected peer can do for this node.
#[derive(Debug, Clone, Copy, Default)]
struct Speaks {
    dht: bool,
    public_dht: bool,
    relay: bool,
}

/// The pure tables.
#[derive(Debug)]
pub(super) struct ReachState {
    pub(super) reachable: Reachable,
    relays: Relays,
    needed: Needed,
    look_ups: LookUps,
    entries: Entries,
    public_entries: Entries,
    entries_swept: UnixMillis,
    neighbours: Neighbours,
    /// Multicast DNS was flooded and is off until then.
    deaf_until: Option<UnixMillis>,
    /// Neighbours had to be displaced: what multicast DNS says is listened to anew then.
    listen_anew: Option<UnixMillis>,
    speaks: BTreeMap<PeerId, Speaks>,
}

impl ReachState {
    pub(super) fn new(options: &NetworkOptions) -> Self {
        let rng = StdRng::seed_from_u64(options.seed);
        Self {
            reachable: Reachable::default(),
            relays: Relays::new(Vec::new(), options.reach.relay_retry, rng),
            needed: Needed::default(),
            look_ups: LookUps::default(),
            entries: Entries::default(),
            public_entries: Entries::default(),
            entries_swept: UnixMillis(0),
            neighbours: Neighbours::default(),
            deaf_until: None,
            listen_anew: None,
            speaks: BTreeMap::new(),
        }
    }
}

impl Driver {
    /// Takes up what is configured.
    pub(super) fn begin_reach(&mut self) -> Result<(), StartError> {
        let options = self.core.options.reach.clone();
        let mut relays = Vec::new();
        for text in &options.relays {
            let wrong = |problem: String| StartError::BadAddress {
                address: text.clone(),
                problem: format!("as a relay: {problem}"),
            };
            let endpoint = address::parse(text).map_err(|error| wrong(error.to_string()))?;
            if endpoint.peer.is_none() || address::is_relayed(&endpoint.address) {
                return Err(wrong("it must lead to the relay itself and end in /p2p/<id>".into()));
            }
            relays.push(endpoint);
        }
        let rng = StdRng::seed_from_u64(self.core.options.seed);
        self.reach.relays = Relays::new(relays, options.relay_retry, rng);
        for text in options.public_dht.iter().flat_map(|table| &table.bootstrap) {
            let Endpoint { address, peer } = tables::bootstrap(text)?;
            if let (Some(peer), Some(table)) = (peer, self.table_of(Which::Public)) {
                table.add_address(&peer, address);
            }
        }
        let configured: Vec<Multiaddr> = self.reach.reachable.external().cloned().collect();
        for address in configured {
            self.offer(&address);
        }
        self.on_reach_changed();
        Ok(())
    }

    /// What a behaviour reports.
    pub(super) fn on_reach(&mut self, event: ReachingEvent) {
        match event {
            ReachingEvent::Dht(event) => self.on_table(Which::Mesh, event),
            ReachingEvent::PublicDht(event) => self.on_table(Which::Public, event),
            ReachingEvent::Rendezvous(event) => self.on_point(event),
            ReachingEvent::RendezvousServer(event) => self.on_own_point(&event),
            ReachingEvent::Autonat(event) => self.on_address_test(&event),
            ReachingEvent::AutonatServer(event) => self.on_tested_for_other(&event),
            ReachingEvent::RelayClient(event) => self.on_relay_client(&event),
            ReachingEvent::RelayServer(event) => self.on_relay_server(&event),
            ReachingEvent::HolePunching(event) => self.on_hole_punch(&event),
            ReachingEvent::Upnp(event) => self.on_upnp(&event),
            ReachingEvent::Mdns(event) => self.on_multicast(event),
        }
    }

    /// Time goes on.
    pub(super) fn reach_tick(&mut self, now: UnixMillis) {
        self.seek_places(now);
        self.show_neighbours(now);
        self.sweep_tables(now);
        self.calm_empty_tables();
        let ended = self.reach.look_ups.sweep(now);
        self.ended(ended);
        self.reach.needed.sweep(now);
        let superseded = self.table.superseded(now, SUPERSEDED_AFTER);
        self.apply(superseded);
    }

    /// Takes out of the connections to be closed those that are needed for a directory or a relay.
    pub(super) fn spare_needed(&mut self, overdue: Vec<Change>, now: UnixMillis) -> Vec<Change> {
        let querying =
            self.table_of(Which::Public).is_some_and(|table| table.iter_queries().next().is_some());
        let mut table_peers = 0;
        let mut needed = |change: &Change| {
            let Change::Close(id, _) = change else { return false };
            let Some((peer, direction)) = self.table.end_of(*id) else { return false };
            if self.reach.needed.is_needed(&peer, now) {
                return true;
            }
            let in_table = self.reach.speaks.get(&peer).is_some_and(|speaks| speaks.public_dht);
            let for_table = querying && in_table && direction == Direction::Out;
            table_peers += usize::from(for_table);
            for_table && table_peers <= MAX_TABLE_PEERS
        };
        overdue.into_iter().filter(|change| !needed(change)).collect()
    }

    /// A connection stands, whose other end is at this address.
    pub(super) fn reach_connected(&mut self, peer: PeerId, address: &Multiaddr) {
        if address::is_relayed(address) {
            return;
        }
        if self.table.has_relayed(&peer) {
            self.go_straight(peer, address);
        }
        if let Some(step) = self.reach.relays.connected(&peer) {
            self.take_step(step, self.core.deps.clock.now());
        }
    }

    /// A direct connection stands beside one through a relay: it is used from now on.
    fn go_straight(&self, peer: PeerId, address: &Multiaddr) {
        let Some((session, _)) = self.table.session(&peer) else { return };
        if let Some(link) = session.link() {
            link.retire();
        }
        if let Some(role) = session.role() {
            let peer = session.peer.clone();
            let address = address::with_peer(address, &session.remote);
            let up = PeerConnection::Up { peer: peer.clone(), role, address };
            self.outboxes.discovery.put(peer, up, Weight::Essential);
        }
    }

    /// A connection is gone.
    pub(super) fn reach_disconnected(&mut self, peer: PeerId) {
        if !self.table.is_connected(&peer) {
            self.reach.speaks.remove(&peer);
            self.reach.reachable.observer_left(&peer);
        }
    }

    /// A dial failed, whoever began it.
    pub(super) fn reach_dial_failed(&mut self, peer: Option<PeerId>) {
        if let Some(peer) = peer.filter(|peer| !self.table.has_direct(peer)) {
            self.reach.relays.dial_failed(&peer, self.core.deps.clock.now());
            self.changed = true;
        }
    }

    /// A peer has said what it speaks, and from where it sees this node.
    pub(super) fn reach_identified(&mut self, peer: PeerId, info: &identify::Info) {
        let has = |protocol: &libp2p::StreamProtocol| info.protocols.contains(protocol);
        let speaks = Speaks {
            dht: has(&behaviours::MESH_TABLE),
            public_dht: has(&behaviours::PUBLIC_TABLE),
            relay: has(&relay::HOP_PROTOCOL_NAME),
        };
        if self.table.is_connected(&peer) {
            self.reach.speaks.insert(peer, speaks);
            self.reach.reachable.observed(peer, &info.observed_addr);
        }
        self.feed_tables(peer);
        self.complete_entries(peer);
    }

    /// An external address is confirmed, or is one no more.
    pub(super) fn on_external(&mut self, address: &Multiaddr, confirmed: bool) {
        if confirmed {
            tracing::info!(%address, "address confirmed: peers can connect there");
            self.reach.reachable.confirmed(address);
        } else {
            tracing::info!(%address, "address is no longer one at which peers can connect");
            self.reach.reachable.expired(address);
        }
        self.on_reach_changed();
    }

    /// Takes the consequences of what is known of this node's own addresses.
    fn on_reach_changed(&mut self) {
        let reachability = self.reach.reachable.reachability();
        self.core.metrics.reach.show_reachability(reachability);
        let public = reachability == Reachability::Public;
        let holds_part = self.core.options.reach.dht.is_some_and(|dht| dht.server);
        for (which, server) in [(Which::Mesh, public || holds_part), (Which::Public, public)] {
            let mode = behaviours::mode(server);
            if let Some(table) = self.table_of(which)
                && table.mode() != mode
            {
                table.set_mode(Some(mode));
            }
        }
        self.publish_local();
    }

    /// Lets the addresses this node listens on stand in for external ones, where something needs them.
    pub(super) fn assume_external(&mut self) {
        let options = &self.core.options.reach;
        let (lists, punches) = (options.lists_own_addresses(), options.hole_punching);
        if !lists && !punches {
            return;
        }
        let change = self.reach.reachable.assume(self.listeners.addresses());
        for address in &change.add {
            self.offer(address);
        }
        if !lists {
            return;
        }
        for address in change.remove {
            self.swarm.remove_external_address(&address);
        }
        for address in change.add {
            self.swarm.add_external_address(address.clone());
            // Nobody on the internet has use for an address of a private network.
            if !address::ip(&address).is_some_and(address::is_global)
                && let Some(table) = self.table_of(Which::Public)
            {
                table.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr: &address }));
            }
        }
    }

    /// Has this node tried out where it would be reached if these IP addresses were its own. Gives the candidates.
    pub(super) fn consider(&mut self, ips: &[IpAddr]) -> Vec<String> {
        let candidates = reachable::candidates(self.listeners.addresses(), ips);
        for address in &candidates {
            self.offer(address);
        }
        candidates.iter().map(ToString::to_string).collect()
    }

    /// Lets hole punching and address tests try an address of this node. By themselves they only try those that peers see
    /// and that are not taken for external ones yet: a node with a known address could not be connected to by one without,
    /// and what only stands in for an external address would never be confirmed.
    fn offer(&mut self, addr: &Multiaddr) {
        let candidate = FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr });
        let reach = &mut self.swarm.behaviour_mut().reach;
        if let Some(punching) = reach.hole_punching.as_mut() {
            punching.on_swarm_event(candidate);
        }
        if let Some(autonat) = reach.autonat.as_mut() {
            autonat.on_swarm_event(candidate);
        }
    }
}

/// The addresses that a table would dial for a peer: those it keeps, and those that its queries under way have learned,
/// which it shows in no other way.
fn would_dial(table: &mut behaviours::Table, peer: PeerId) -> Vec<Multiaddr> {
    let id = ConnectionId::new_unchecked(0);
    let role = libp2p::core::Endpoint::Dialer;
    kad::Behaviour::handle_pending_outbound_connection(table, id, Some(peer), &[], role).unwrap_or_default()
}
