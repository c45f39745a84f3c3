//! Connecting: dials under way, those who wait for them or for admission, and redials.

use super::driver::Driver;
use super::{ConnectReply, Connected, Target, Until};
use crate::address::{self, Endpoint};
use crate::call::verdict;
use crate::error::{address_failures, dial_error};
use crate::session::{PeerSession, Standing};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use meshwork_proto::transport::{CallError, ConnectError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A dial under way.
#[derive(Debug)]
struct Dial {
    /// Who is expected, when that is known.
    expected: Option<PeerId>,
    addresses: Vec<Multiaddr>,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// A dial to lead to a connection.
    Dial(ConnectionId),
    /// A connected peer to be admitted.
    Admission(PeerId),
}

#[derive(Debug)]
struct Waiter {
    on: For,
    /// Whom it asked for, as it named them.
    name: String,
    until: Until,
    /// Where the dial that it waited for ended.
    reached: Option<Multiaddr>,
    reply: ConnectReply,
}

/// Dials and those who wait. Their number is bounded by the calls under way and libp2p's limit of pending dials.
#[derive(Debug, Default)]
pub(super) struct Dials {
    dials: BTreeMap<ConnectionId, Dial>,
    waiters: Vec<Waiter>,
}

impl Dials {
    pub(super) fn under_way(&self) -> usize {
        self.dials.len()
    }

    /// Forgets those who wait no more.
    pub(super) fn drop_abandoned(&mut self) {
        self.waiters.retain(|waiter| !waiter.reply.is_closed());
    }

    /// A dial that leads where the target is.
    fn towards(&self, target: &Target) -> Option<ConnectionId> {
        let leads = |dial: &Dial| match target {
            Target::Peer(peer) | Target::Candidates(peer, _) => dial.expected == Some(*peer),
            Target::Address(Endpoint { address, peer }) => {
                dial.expected == *peer && dial.addresses.contains(address)
            }
        };
        self.dials.iter().find(|(_, dial)| leads(dial)).map(|(id, _)| *id)
    }

    fn take(&mut self, on: For) -> Vec<Waiter> {
        let (taken, left) = std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.on == on);
        self.waiters = left;
        taken
    }
}

/// Whoever waited may have gone meanwhile: then the answer is for nobody.
fn send(reply: ConnectReply, answer: Result<Connected, CallError>) {
    let _ = reply.send(answer.map_err(|error| ConnectError { error, failed: Vec::new() }));
}

impl Driver {
    /// Somebody wants to be connected.
    pub(super) fn on_connect(
        &mut self,
        target: Target,
        name: String,
        keep: bool,
        until: Until,
        reply: ConnectReply,
    ) {
        let by_address = match &target {
            Target::Address(endpoint) => self.table.peer_at(&endpoint.address),
            Target::Peer(_) | Target::Candidates(..) => None,
        };
        let peer = target.peer().or(by_address);
        if keep {
            self.keep(&target, peer);
        }
        if let Some(peer) = peer
            && let Some((session, standing)) = self.table.session(&peer)
        {
            match (until, verdict(session, standing)) {
                (Until::Connected, _) => {
                    send(reply, Ok(Connected::Peer(Arc::clone(session), None)));
                    self.hold(&peer);
                }
                (Until::Admitted, Some(answer)) => send(reply, answer),
                (Until::Admitted, None) => {
                    // Whoever opened the connection proves first; one that does not, nobody would wait for otherwise.
                    let idle = *standing == Standing::Unknown;
                    let on = For::Admission(peer);
                    self.dials.waiters.push(Waiter { on, name, until, reached: None, reply });
                    if idle && let Some(connection) = self.table.newest_connection(&peer) {
                        self.begin_handshake(peer, connection, 0);
                    }
                }
            }
            return;
        }
        let dial = match self.dials.towards(&target) {
            Some(dial) => Ok(dial),
            None => self.dial_target(&target, &name),
        };
        match dial {
            Ok(dial) => {
                let on = For::Dial(dial);
                self.dials.waiters.push(Waiter { on, name, until, reached: None, reply });
            }
            Err(error) => send(reply, Err(error)),
        }
    }

    fn keep(&mut self, target: &Target, peer: Option<PeerId>) {
        let address = match target {
            Target::Address(endpoint) => Some(endpoint.address.clone()),
            Target::Candidates(_, addresses) => addresses.first().cloned(),
            Target::Peer(peer) => {
                self.table.dialable(peer).or_else(|| self.book.addresses(peer).into_iter().next())
            }
        };
        let Some(address) = address else { return };
        if !self.keeper.add(&address, peer) {
            let max = self.core.options.max_kept;
            tracing::warn!(%address, "{max} addresses are kept already: this one is not dialled again when it is lost");
        }
        self.changed = true;
    }

    fn dial_target(&mut self, target: &Target, name: &str) -> Result<ConnectionId, CallError> {
        match target {
            Target::Address(endpoint) => self.dial(name, endpoint.peer, vec![endpoint.address.clone()]),
            Target::Candidates(_, addresses) if addresses.is_empty() => {
                Err(CallError::UnknownPeer(name.to_owned()))
            }
            Target::Candidates(peer, addresses) => self.dial(name, Some(*peer), addresses.clone()),
            Target::Peer(peer) => {
                let mut addresses = self.book.addresses(peer);
                addresses.extend(self.keeper.addresses(peer));
                addresses.sort_by_key(address::is_relayed);
                if addresses.is_empty() {
                    return Err(CallError::UnknownPeer(name.to_owned()));
                }
                self.dial(name, Some(*peer), addresses)
            }
        }
    }

    /// Starts a dial; `addresses` is not empty.
    fn dial(
        &mut self,
        name: &str,
        expected: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<ConnectionId, CallError> {
        if expected.is_none()
            && let Some(address) = addresses.iter().find(|address| address::is_relayed(address))
        {
            let problem = "through a relay it must end in /p2p/<id> of the peer behind the relay".to_owned();
            return Err(CallError::Address { address: address.to_string(), problem });
        }
        // A port of its own: a connection from the listening port cannot be opened again to the same place for a
        // while after it was closed.
        let opts = match (expected, addresses.first()) {
            (None, Some(address)) => {
                DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
            }
            (Some(peer), _) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(addresses.clone())
                .allocate_new_port()
                .build(),
            (None, None) => return Err(CallError::UnknownPeer(name.to_owned())),
        };
        let id = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => {
                self.changed = true;
                self.dials.dials.insert(id, Dial { expected, addresses });
                Ok(id)
            }
            Err(error) => {
                self.count_dial("failed");
                let now = self.core.deps.clock.now();
                for address in &addresses {
                    self.keeper.failed(address, expected, now);
                }
                Err(dial_error(name, expected, &error))
            }
        }
    }

    /// Dials the kept addresses whose time has come.
    pub(super) fn redial(&mut self, now: UnixMillis) {
        for (address, peer) in self.keeper.due(now, |peer| self.table.is_connected(peer)) {
            let target = Target::Address(Endpoint { address: address.clone(), peer });
            if self.dials.towards(&target).is_some() {
                continue;
            }
            if let Err(error) = self.dial(&address.to_string(), peer, vec![address.clone()]) {
                tracing::debug!(%address, %error, "redial failed");
            }
        }
    }

    /// A dial led to a connection with this peer.
    pub(super) fn on_dialled(&mut self, id: ConnectionId, peer: PeerId, address: &Multiaddr) {
        let Some(dial) = self.dials.dials.remove(&id) else { return };
        self.count_dial("connected");
        self.keeper.reached(&address::split(address.clone()).address, peer);
        // Other addresses of the same dial lead to the same peer.
        for other in &dial.addresses {
            self.keeper.reached(other, peer);
        }
        let reached = address::split(address.clone()).address;
        for waiter in self.dials.take(For::Dial(id)) {
            self.hand_over(waiter, peer, Some(&reached));
        }
        self.settle_waiters(peer);
    }

    /// A connection with the peer stands: who waits for its admission goes on waiting.
    fn hand_over(&mut self, waiter: Waiter, peer: PeerId, reached: Option<&Multiaddr>) {
        match (waiter.until, self.table.session(&peer)) {
            (Until::Connected, Some((session, _))) => {
                send(waiter.reply, Ok(Connected::Peer(Arc::clone(session), reached.cloned())));
            }
            _ => {
                let reached = reached.cloned();
                self.dials.waiters.push(Waiter { on: For::Admission(peer), reached, ..waiter });
            }
        }
    }

    /// A dial failed.
    pub(super) fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError) {
        let Some(dial) = self.dials.dials.remove(&id) else { return };
        self.count_dial("failed");
        self.changed = true;
        let now = self.core.deps.clock.now();
        let reached_self = matches!(error, DialError::LocalPeerId { .. });
        for address in &dial.addresses {
            if reached_self {
                self.keeper.forget(address, dial.expected);
            } else {
                self.keeper.failed(address, dial.expected, now);
            }
        }
        // The peer may have connected by itself meanwhile.
        let connected = dial.expected.filter(|peer| self.table.is_connected(peer));
        let own = self.core.identity.libp2p_id();
        for waiter in self.dials.take(For::Dial(id)) {
            match connected {
                Some(peer) => self.hand_over(waiter, peer, None),
                None if reached_self => send(waiter.reply, Ok(Connected::Local)),
                None => {
                    let failed = address_failures(own, error);
                    let error = dial_error(&waiter.name, dial.expected, error);
                    // Whoever waited may have gone meanwhile.
                    let _ = waiter.reply.send(Err(ConnectError { error, failed }));
                }
            }
        }
        if let Some(peer) = connected {
            self.settle_waiters(peer);
        }
    }

    /// Answers those who wait for a peer's admission, if it is decided.
    pub(super) fn settle_waiters(&mut self, peer: PeerId) {
        let Some((session, standing)) = self.table.session(&peer) else { return };
        let (session, standing) = (Arc::clone(session), standing.clone());
        if verdict(&session, &standing).is_none() {
            return;
        }
        self.answer_waiters(&session, &standing);
    }

    /// The last connection to the peer is gone.
    pub(super) fn settle_waiters_of_lost(&mut self, session: &Arc<PeerSession>) {
        self.answer_waiters(session, &Standing::Gone);
    }

    fn answer_waiters(&mut self, session: &Arc<PeerSession>, standing: &Standing) {
        for waiter in self.dials.take(For::Admission(session.remote)) {
            match verdict(session, standing) {
                Some(Ok(Connected::Peer(session, _))) => {
                    send(waiter.reply, Ok(Connected::Peer(session, waiter.reached)));
                }
                Some(answer) => send(waiter.reply, answer),
                // Not called for a standing that decides nothing.
                None => self.dials.waiters.push(waiter),
            }
        }
    }

    /// No handshake with the peer came to an end.
    pub(super) fn fail_waiters(&mut self, peer: PeerId, problem: &str) {
        for waiter in self.dials.take(For::Admission(peer)) {
            let problem = format!("the handshake broke off: {problem}");
            send(waiter.reply, Err(CallError::Unreachable { target: waiter.name, problem }));
        }
    }

    fn count_dial(&self, outcome: &str) {
        self.core.metrics.dials.with_label_values(&[outcome]).inc();
    }
}
