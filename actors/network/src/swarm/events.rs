//! What the swarm reports, handed on to where it is decided; handshakes and served streams start here.

use super::behaviour::BehaviourEvent;
use super::driver::{Driver, HandshakeEnd};
use super::peers::NewConnection;
use super::streams::{InboundStream, OpenStreamError, OpenedStream};
use crate::address;
use crate::admission::logic::{Handshake, Parties};
use crate::admission::{self, AdmissionError};
use crate::link::version_of;
use crate::metrics::Direction;
use crate::pairing;
use crate::score::STREAM_COST;
use crate::serve::serve_stream;
use crate::session::PeerSession;
use libp2p::core::ConnectedPoint;
use libp2p::metrics::Recorder;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, identify, ping};
use meshwork_proto::transport::Offence;
use meshwork_proto::wire::admission::Side;
use meshwork_proto::wire::pairing::PAIRING_PROTOCOL;
use meshwork_proto::wire::{ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

impl Driver {
    /// One event of the swarm.
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.libp2p_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(opened)) => self.on_inbound_stream(opened),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Reach(event)) => self.on_reach(event),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_external(&address, true),
            SwarmEvent::ExternalAddrExpired { address } => self.on_external(&address, false),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                let changes = self.table.disconnected(connection_id);
                self.changed = true;
                self.apply(changes);
                self.reach_disconnected(peer_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(%error, "dial failed");
                self.on_dial_failed(connection_id, &error);
                self.reach_dial_failed(peer_id);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "incoming connection failed");
                self.on_incoming_failed(peer_id, &send_back_addr);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.on_not_listening(listener_id, &address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.on_listener_ended(listener_id, reason)
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener reports an error"),
            // The rest is libp2p's own bookkeeping.
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let direction = if endpoint.is_dialer() { Direction::Out } else { Direction::In };
        // The other end's address says nothing when it came through a relay.
        let address = match endpoint {
            ConnectedPoint::Listener { local_addr, .. } if endpoint.is_relayed() => local_addr.clone(),
            _ => endpoint.get_remote_address().clone(),
        };
        let options = &self.core.options;
        let session = || {
            let (out, inward) = (options.max_requests_out, options.max_requests_in);
            PeerSession::new(address::peer_of(&peer), peer, out, inward)
        };
        let new = NewConnection { id, peer, address: address.clone(), direction };
        let changes = self.table.connected(new, self.core.deps.clock.now(), session);
        self.changed = true;
        self.apply(changes);
        self.reach_connected(peer, &address);
        if direction == Direction::Out {
            self.begin_handshake(peer, id, 0);
            self.on_dialled(id, peer, &address);
        }
    }

    /// Opens a handshake on this very connection: the side that dialled does so when it stands, and either side when the
    /// other has to prove again. The secret at this place is shown first.
    pub(super) fn begin_handshake(&mut self, peer: PeerId, id: ConnectionId, place: usize) {
        let (reply, opened) = oneshot::channel();
        let protocols = [ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1].map(StreamProtocol::new);
        self.swarm.behaviour_mut().streams.open(peer, id, protocols, reply);
        let Some(handshake) = self.handshake(Side::Initiator, &peer) else { return };
        self.table.handshake_began(id);
        let stream = async move {
            match opened.await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(OpenStreamError::Unsupported)) => Err(AdmissionError::Unsupported),
                Ok(Err(OpenStreamError::Io(problem))) => Err(AdmissionError::Open(problem)),
                Err(_) => Err(AdmissionError::Open("the connection was lost".into())),
            }
        };
        self.run_handshake(id, handshake.showing(place), None, stream);
    }

    fn on_inbound_stream(&mut self, InboundStream { peer, connection, protocol, stream }: InboundStream) {
        let Some((session, _)) = self.table.session(&peer) else { return };
        let session = Arc::clone(session);
        let Ok(place) = Arc::clone(&session.streams).try_acquire_owned() else {
            self.core.metrics.refused_streams.with_label_values(&["too_many"]).inc();
            tracing::debug!(peer = %session.peer, "stream closed: the peer has too many open");
            if session.is_flood(STREAM_COST, self.core.deps.clock.now()) {
                self.on_offence(&session.peer, Offence::Flood);
            }
            return;
        };
        let core = Arc::clone(&self.core);
        match protocol.as_ref() {
            ADMISSION_PROTOCOL | ADMISSION_PROTOCOL_1 => {
                let Some(handshake) = self.handshake(Side::Responder, &peer) else { return };
                self.table.handshake_began(connection);
                self.run_handshake(connection, handshake, Some(place), async move { Ok((protocol, stream)) });
            }
            PAIRING_PROTOCOL => {
                let Some(from) = self.table.address_of(connection).map(pairing::Origin::of) else { return };
                if pairing::is_open(&core) {
                    self.hold(&peer);
                }
                self.core.spawn(async move {
                    let _place = place;
                    pairing::let_in(core, session, from, stream).await;
                });
            }
            _ => {
                // Not ended by the stop at once: replies that are ready still leave.
                self.core.tasks.spawn(async move {
                    let _place = place;
                    serve_stream(core, session, stream, version_of(&protocol)).await;
                });
            }
        }
    }

    fn handshake(&self, side: Side, peer: &PeerId) -> Option<Handshake> {
        let (session, _) = self.table.session(peer)?;
        let remote = session.peer.clone();
        let parties = Parties {
            trust: self.core.trust(),
            local: self.core.local.clone(),
            shut_out: self.guard.shut_out(&remote),
            remote,
        };
        Some(Handshake::new(parties, side, rand::random()))
    }

    fn run_handshake(
        &self,
        connection: ConnectionId,
        handshake: Handshake,
        place: Option<OwnedSemaphorePermit>,
        stream: impl Future<Output = Result<OpenedStream, AdmissionError>> + Send + 'static,
    ) {
        let (traffic, within) = (self.core.metrics.traffic(), self.core.options.admission_within);
        let ends = self.handshake_ends.clone();
        self.core.spawn(async move {
            let outcome = match tokio::time::timeout(within, stream).await {
                Ok(Ok((protocol, stream))) => {
                    let first_version = protocol.as_ref() == ADMISSION_PROTOCOL_1;
                    let handshake = if first_version { handshake.with_one_proof() } else { handshake };
                    admission::run(stream, handshake, traffic, within).await
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(AdmissionError::Timeout(within)),
            };
            if let Err(error) = &outcome {
                tracing::debug!(%error, "handshake broke off");
            }
            drop(place);
            // Nobody listens any more when the network stops.
            let _ = ends.send(HandshakeEnd { connection, outcome }).await;
        });
    }

    fn on_ping(&mut self, event: ping::Event) {
        self.libp2p_metrics.record(&event);
        let rtt = match event.result {
            Ok(rtt) => Some(rtt),
            // A peer that does not speak ping is no dead one.
            Err(ping::Failure::Unsupported) => return,
            Err(failure) => {
                tracing::debug!(peer = %event.peer, %failure, "ping failed");
                None
            }
        };
        let changes = self.table.pinged(event.connection, rtt);
        self.changed = true;
        self.apply(changes);
        if let Some(rtt) = rtt {
            self.tell_rtt(event.peer, rtt);
        }
    }

    // Not recorded in libp2p's metrics: they keep the agent names and protocols of strangers as labels.
    fn on_identify(&mut self, event: identify::Event) {
        if let identify::Event::Received { connection_id, peer_id, info } = event {
            self.table.identified(connection_id, &info.agent_version, &info.listen_addrs);
            self.reach_identified(peer_id, &info);
            self.changed = true;
        }
    }
}
