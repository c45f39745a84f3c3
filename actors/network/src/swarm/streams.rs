//! A behaviour for streams: opens them on a named connection, and reports those that peers open.
//!
//! libp2p-stream does the same through a handle that can be used from anywhere, but it drops streams of peers when
//! they come faster than they are accepted, chooses a connection at random, and keeps a little of every connection
//! for ever. Here the swarm task is the only user, so that none of this is needed.

use futures::future::{Ready, ready};
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenStreamError {
    /// The peer speaks none of the protocols.
    Unsupported,
    /// It broke, or took too long, while it was negotiated.
    Io(String),
}

/// A stream that this node has opened, and the protocol that was agreed on for it.
pub(crate) type OpenedStream = (StreamProtocol, Stream);

/// Where the outcome of opening a stream goes.
pub(crate) type OpenReply = oneshot::Sender<Result<OpenedStream, OpenStreamError>>;

/// A stream that a peer has opened.
#[derive(Debug)]
pub(crate) struct InboundStream {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
}

/// The behaviour.
pub(crate) struct Behaviour {
    accepted: Arc<[StreamProtocol]>,
    actions: VecDeque<ToSwarm<InboundStream, Open>>,
}

impl Behaviour {
    /// Accepts streams for these protocols.
    pub(crate) fn new(accepted: impl Into<Arc<[StreamProtocol]>>) -> Self {
        Self { accepted: accepted.into(), actions: VecDeque::new() }
    }

    /// Opens a stream for the first of these protocols that the peer speaks; `reply` is dropped when the connection is gone.
    pub(crate) fn open(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        protocols: impl Into<Arc<[StreamProtocol]>>,
        reply: OpenReply,
    ) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: Open { protocols: protocols.into(), reply },
        });
    }

    fn handler(&self) -> Handler {
        Handler { accepted: Arc::clone(&self.accepted), actions: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = InboundStream;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        (protocol, stream): THandlerOutEvent<Self>,
    ) {
        self.actions.push_back(ToSwarm::GenerateEvent(InboundStream { peer, connection, protocol, stream }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Whoever adds an action polls the swarm next.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Asks a connection's handler for a stream.
#[derive(Debug)]
pub(crate) struct Open {
    protocols: Arc<[StreamProtocol]>,
    reply: OpenReply,
}

/// Handles one connection.
pub(crate) struct Handler {
    accepted: Arc<[StreamProtocol]>,
    actions: VecDeque<ConnectionHandlerEvent<Protocols, OpenReply, (StreamProtocol, Stream)>>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = (StreamProtocol, Stream);
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Protocols(Arc::clone(&self.accepted)), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        // Actions are only added in the calls below, after which the connection polls again.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn on_behaviour_event(&mut self, Open { protocols, reply }: Open) {
        if reply.is_closed() {
            return;
        }
        self.actions.push_back(ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: SubstreamProtocol::new(Protocols(protocols), reply),
        });
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info: () }) => {
                self.actions.push_back(ConnectionHandlerEvent::NotifyBehaviour(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: opened,
                info: reply,
            }) => answer(reply, Ok(opened)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                answer(reply, Err(open_error(error)));
            }
            _ => {}
        }
    }
}

/// An asker that gave up meanwhile leaves a stream that is closed at once.
fn answer(reply: OpenReply, opened: Result<OpenedStream, OpenStreamError>) {
    if reply.send(opened).is_err() {
        tracing::debug!("a stream was opened that nobody waits for any more");
    }
}

fn open_error(error: StreamUpgradeError<Infallible>) -> OpenStreamError {
    match error {
        StreamUpgradeError::NegotiationFailed => OpenStreamError::Unsupported,
        StreamUpgradeError::Timeout => OpenStreamError::Io("the peer did not answer in time".into()),
        StreamUpgradeError::Io(error) => OpenStreamError::Io(error.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// Negotiates one of these protocols and hands over the bare stream.
pub(crate) struct Protocols(Arc<[StreamProtocol]>);

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Vec::from(&*self.0).into_iter()
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}
