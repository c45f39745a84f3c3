//! Whom the running swarm trusts: secrets that change, peers that are revoked, misbehave or are sent away. Owns the list of
//! who is shut out, and what follows from it for connections.

use super::driver::{Driver, HandshakeEnd};
use crate::address;
use crate::notify::Weight;
use crate::score::{Action, Scores};
use crate::trust::{MeshSecrets, Trust};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId as Libp2pId};
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::transport::{Offence, SecretsSet, ShutOut};
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What the swarm task is asked about trust.
#[derive(Debug)]
pub(crate) enum TrustCommand {
    /// Replace the secrets.
    SetSecrets {
        /// By these.
        secrets: MeshSecrets,
        /// What came of it.
        reply: oneshot::Sender<SecretsSet>,
    },
    /// Close the connections to a peer and forget where it was.
    Disconnect {
        /// Which.
        peer: PeerId,
        /// Whether it was connected.
        reply: oneshot::Sender<bool>,
    },
    /// Shut these peers out for good; they are on disk already.
    Revoke {
        /// Which.
        peers: BTreeSet<PeerId>,
        /// Connections that are closed by it.
        reply: oneshot::Sender<u32>,
    },
    /// Let a peer in that was revoked or banned; it is on disk already.
    LetIn {
        /// Which.
        peer: PeerId,
        /// Whether it was banned.
        reply: oneshot::Sender<bool>,
    },
    /// A peer misbehaved.
    Offence {
        /// Which.
        peer: PeerId,
        /// How.
        offence: Offence,
    },
    /// Who is shut out?
    ListShutOut {
        /// They, by id.
        reply: oneshot::Sender<Vec<ShutOut>>,
    },
}

/// Who is shut out, and the scores of those who are on their way there.
#[derive(Debug, Default)]
pub(super) struct Guard {
    revoked: BTreeSet<PeerId>,
    scores: Scores,
}

impl Guard {
    /// Why a peer is shut out; none: it is not.
    pub(super) fn shut_out(&self, peer: &PeerId) -> Option<String> {
        if self.revoked.contains(peer) {
            return Some(format!(
                "peer {peer} is revoked: take that back with `meshwork peers revoke --undo {peer}`"
            ));
        }
        self.scores.is_banned(peer).then(|| {
            format!(
                "peer {peer} is banned for a time because it misbehaved: \
                 end that with `meshwork peers revoke --undo {peer}`"
            )
        })
    }

    pub(super) fn is_throttled(&self, peer: &PeerId) -> bool {
        self.scores.is_throttled(peer)
    }

    fn list(&self, now: UnixMillis) -> Vec<ShutOut> {
        let revoked = self.revoked.iter().map(|peer| ShutOut { peer: peer.clone(), left_ms: None });
        let banned = self.scores.banned(now).filter(|(peer, _)| !self.revoked.contains(*peer));
        let banned = banned.map(|(peer, left)| ShutOut {
            peer: peer.clone(),
            left_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        });
        let mut all: Vec<ShutOut> = revoked.chain(banned).collect();
        all.sort_by(|a, b| a.peer.cmp(&b.peer));
        all
    }
}

impl Driver {
    /// Peers that were revoked before this start.
    pub(crate) fn shut_out_revoked(&mut self, peers: BTreeSet<PeerId>) {
        self.guard.revoked.clone_from(&peers);
        for peer in &peers {
            self.shut_out(peer, true);
        }
        self.count_shut_out();
    }

    /// One command. Whoever asked may have gone meanwhile: then the answer is for nobody.
    pub(super) fn on_trust(&mut self, command: TrustCommand) {
        self.changed = true;
        match command {
            TrustCommand::SetSecrets { secrets, reply } => {
                let _ = reply.send(self.set_secrets(secrets));
            }
            TrustCommand::Disconnect { peer, reply } => {
                let _ = reply.send(self.send_away(&peer) > 0);
            }
            TrustCommand::Revoke { peers, reply } => {
                let mut closed = 0_u32;
                for peer in peers {
                    self.guard.revoked.insert(peer.clone());
                    closed = closed.saturating_add(u32::try_from(self.send_away(&peer)).unwrap_or(u32::MAX));
                    self.shut_out(&peer, true);
                }
                let _ = reply.send(closed);
                self.count_shut_out();
            }
            TrustCommand::LetIn { peer, reply } => {
                let banned = self.guard.scores.pardon(&peer);
                self.guard.revoked.remove(&peer);
                self.let_in(&peer);
                if let Some(session) = self.core.directory.get(&peer) {
                    session.set_throttled(false);
                }
                let _ = reply.send(banned);
                self.count_shut_out();
            }
            TrustCommand::Offence { peer, offence } => self.on_offence(&peer, offence),
            TrustCommand::ListShutOut { reply } => {
                let _ = reply.send(self.guard.list(self.core.deps.clock.now()));
            }
        }
    }

    /// A handshake has ended: what it says of the peer's conduct, and whether its outcome counts. None: another handshake
    /// decides, because this one could not show all of this node's secrets.
    pub(super) fn review(&mut self, end: HandshakeEnd) -> Option<HandshakeEnd> {
        let Some(peer) = self.table.peer_of(end.connection) else { return Some(end) };
        let name = address::peer_of(&peer);
        match &end.outcome {
            Err(error) if error.is_offence() => self.on_offence(&name, Offence::BadFrame),
            Ok(outcome) if outcome.bad_proof => self.on_offence(&name, Offence::BadProof),
            _ => {}
        }
        if let Ok(outcome) = &end.outcome
            && let Some(place) = outcome.untried
        {
            // The next one begins before this one ends, so that nobody takes the peer for refused in between.
            self.begin_handshake(peer, end.connection, place);
            let problem = Err("another secret is tried".to_owned());
            let changes = self.table.handshake_ended(end.connection, problem);
            self.apply(changes);
            return None;
        }
        Some(end)
    }

    /// From now on these secrets count. Who is admitted by one that is gone proves again; who was refused gets another
    /// chance.
    fn set_secrets(&mut self, secrets: MeshSecrets) -> SecretsSet {
        let before = self.core.trust();
        if before.secrets.same(&secrets) {
            return SecretsSet { changed: false, asked_again: 0 };
        }
        let trust = Arc::new(Trust { secrets, ..(*before).clone() });
        self.core.set_trust(Arc::clone(&trust));
        let asked = self.table.unproven(&trust);
        for (peer, connection) in &asked {
            self.ask_again(*peer, *connection);
        }
        let asked_again = u32::try_from(asked.len()).unwrap_or(u32::MAX);
        tracing::info!(asked_again, "the mesh secrets have changed");
        SecretsSet { changed: true, asked_again }
    }

    fn ask_again(&mut self, peer: Libp2pId, connection: ConnectionId) {
        let by = self.core.deps.clock.now().after(self.core.options.admission_within);
        self.table.demand_proof(&peer, by);
        self.begin_handshake(peer, connection, 0);
    }

    /// A handshake that had begun before the secrets changed may have admitted a peer by one that is gone.
    pub(super) fn ask_again_if_outdated(&mut self, connection: ConnectionId) {
        let Some(peer) = self.table.peer_of(connection) else { return };
        if self.table.is_outdated(&peer, &self.core.trust()) {
            self.ask_again(peer, connection);
        }
    }

    /// Time has passed: bans end, throttled peers have calmed down, proofs that were asked for are overdue.
    pub(super) fn guard_tick(&mut self, now: UnixMillis) {
        let overdue = self.table.unproven_at(now);
        self.apply(overdue);
        let passed = self.guard.scores.pass(now);
        for peer in passed.calmed {
            if let Some(session) = self.core.directory.get(&peer) {
                session.set_throttled(false);
            }
        }
        if passed.let_in.is_empty() {
            return;
        }
        for peer in passed.let_in {
            tracing::info!(%peer, "the ban of the peer is over");
            self.end_ban(&peer);
        }
        self.count_shut_out();
    }

    /// A peer misbehaved.
    pub(super) fn on_offence(&mut self, peer: &PeerId, offence: Offence) {
        if *peer == self.core.local {
            return;
        }
        self.core.metrics.offences.with_label_values(&[offence.as_str()]).inc();
        let judgement = self.guard.scores.offend(peer, offence, self.core.deps.clock.now());
        if let Some(freed) = judgement.let_in {
            self.end_ban(&freed);
        }
        let (score, reason) = (judgement.score, offence.as_str());
        let action = match judgement.action {
            Action::None => return,
            Action::Throttle => "throttled",
            Action::Disconnect => "disconnected",
            Action::Ban(_) => "banned",
        };
        self.core.metrics.score_actions.with_label_values(&[action]).inc();
        if self.core.may_log(peer, action) {
            let minutes = match judgement.action {
                Action::Ban(length) => Some(length.as_secs() / 60),
                _ => None,
            };
            tracing::warn!(%peer, score, reason, minutes, "peer misbehaves: {action}");
        }
        if let Some(session) = self.core.directory.get(peer) {
            session.set_throttled(true);
        }
        match judgement.action {
            Action::Disconnect => {
                if let Some(id) = address::libp2p_id(peer) {
                    self.core.metrics.connections_closed.with_label_values(&["misbehaved"]).inc();
                    // Only an error when it is gone already.
                    let _ = self.swarm.disconnect_peer_id(id);
                }
            }
            Action::Ban(_) => {
                self.shut_out(peer, false);
                self.count_shut_out();
            }
            Action::None | Action::Throttle => {}
        }
    }

    /// A pairing begins on a connection that may have stood for a while: both sides give it the time of a new one.
    pub(super) fn hold(&mut self, peer: &Libp2pId) {
        let until = self.core.deps.clock.now().after(self.core.options.stranger_grace);
        self.table.hold(peer, until);
    }

    /// A connection did not come about; that of somebody who is shut out is worth a line for the operator.
    pub(super) fn on_incoming_failed(&self, peer: Option<Libp2pId>, from: &Multiaddr) {
        let Some(peer) = peer.map(|id| address::peer_of(&id)) else { return };
        if let Some(reason) = self.guard.shut_out(&peer)
            && self.core.may_log_refusal(&peer)
        {
            tracing::warn!(%peer, %from, "connection refused: {reason}");
        }
    }

    /// Closes all connections to a peer, and forgets where it was: whoever wants it connected again finds it anew. How
    /// many connections there were.
    fn send_away(&mut self, peer: &PeerId) -> usize {
        let Some(id) = address::libp2p_id(peer) else { return 0 };
        self.keeper.forget_peer(&id);
        self.book.forget(&id);
        let closed = self.table.forget(&id);
        if closed > 0 {
            self.core.metrics.connections_closed.with_label_values(&["sent_away"]).inc();
            // Only an error when it is gone already.
            let _ = self.swarm.disconnect_peer_id(id);
        }
        closed
    }

    /// Accepts no connection with the peer any more, closes those there are, and says so.
    fn shut_out(&mut self, peer: &PeerId, revoked: bool) {
        if let (Some(id), Some(reason)) = (address::libp2p_id(peer), self.guard.shut_out(peer)) {
            // What is asked before the connections are closed is refused already.
            let changes = self.table.shut_out(&id, reason);
            self.apply(changes);
            self.swarm.behaviour_mut().blocked.block_peer(id);
            self.starve_tables(id);
        }
        let told = PeerConnection::ShutOut { peer: peer.clone(), revoked };
        self.outboxes.shut_out.put(peer.clone(), told, Weight::Essential);
    }

    fn end_ban(&mut self, peer: &PeerId) {
        self.core.metrics.score_actions.with_label_values(&["let_in"]).inc();
        if !self.guard.revoked.contains(peer) {
            self.let_in(peer);
        }
    }

    fn let_in(&mut self, peer: &PeerId) {
        if let Some(id) = address::libp2p_id(peer) {
            self.swarm.behaviour_mut().blocked.unblock_peer(id);
        }
        let told = PeerConnection::LetIn { peer: peer.clone() };
        self.outboxes.shut_out.put(peer.clone(), told, Weight::Essential);
    }

    fn count_shut_out(&self) {
        let gauge = |kind, count| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.core.metrics.shut_out.with_label_values(&[kind]).set(count);
        };
        gauge("revoked", self.guard.revoked.len());
        gauge("banned", self.guard.scores.banned(self.core.deps.clock.now()).count());
    }
}
