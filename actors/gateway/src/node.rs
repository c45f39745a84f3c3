//! This node and its peers as a tool sees them: one way to ask either.

use crate::dispatch::Artifacts;
use crate::options::WorkflowLimits;
use crate::wiring::NodePorts;
use meshwork_kit::{AskError, Port};
use meshwork_proto::transport::{CallPeer, PeerTarget, ServeRequest};
use meshwork_proto::wire::MeshCall;
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, PeerId, Request};
use std::time::Duration;

/// How long a request may take that waits for nothing, dialling included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Who is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// This node.
    Here,
    /// A peer.
    Peer(PeerTarget),
}

/// An answer with who gave it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) peer: PeerId,
    pub(crate) value: T,
}

/// This node and its peers.
pub(crate) struct Node {
    pub(crate) ports: NodePorts,
    pub(crate) artifacts: Artifacts,
    /// How large documents of workflows may be.
    pub(crate) limits: WorkflowLimits,
    serve: Port<ServeRequest>,
    local: PeerId,
}

impl Node {
    pub(crate) fn new(
        ports: NodePorts,
        serve: Port<ServeRequest>,
        local: PeerId,
        limits: WorkflowLimits,
    ) -> Self {
        Self { artifacts: Artifacts::new(&ports), ports, limits, serve, local }
    }

    /// This node's id.
    pub(crate) fn local(&self) -> &PeerId {
        &self.local
    }

    /// Whom the argument `peer` names; this node when it is absent or names this node.
    pub(crate) fn at(&self, peer: Option<&str>) -> Result<At, MeshError> {
        let Some(text) = peer else {
            return Ok(At::Here);
        };
        let target: PeerTarget = text.parse().map_err(|error| {
            let hint = "or a multiaddress such as /ip4/192.0.2.7/tcp/4001";
            MeshError::new(ErrorCode::InvalidArgument, format!("peer: {error}, {hint}"))
        })?;
        let here = match &target {
            PeerTarget::Id(id) => *id == self.local,
            PeerTarget::Address(address) => address.rsplit("/p2p/").next() == Some(self.local.as_str()),
        };
        Ok(if here { At::Here } else { At::Peer(target) })
    }

    /// Asks this node (as its own client) or a peer.
    pub(crate) async fn ask<C: MeshCall>(
        &self,
        at: &At,
        call: C,
        patience: Duration,
    ) -> Result<Answer<C::Answer>, MeshError> {
        let request = call.into_request();
        let (peer, reply) = match at {
            At::Here => {
                let body = ServeRequest { caller: Caller::Local, request };
                (self.local.clone(), ask(&self.serve, body, patience).await??)
            }
            At::Peer(target) => {
                let body = CallPeer { target: target.clone(), request, deadline_ms: millis(patience) };
                // The transport keeps the deadline and says what went wrong; ours only guards against its silence.
                let within = patience.saturating_add(Duration::from_secs(2));
                let answer = ask(&self.ports.call_peer, body, within).await?;
                let answer = answer.map_err(|error| MeshError::from_coded(&error))?;
                (answer.peer, answer.reply)
            }
        };
        match C::answer(reply) {
            Some(value) => Ok(Answer { peer, value }),
            None => {
                let message = format!("peer {peer} gave an answer that does not fit the question");
                Err(MeshError::new(ErrorCode::VersionMismatch, message))
            }
        }
    }
}

/// Asks a port; a port that does not answer gives `busy`, `unavailable` or `timeout`.
pub(crate) async fn ask<R: Request>(
    port: &Port<R>,
    body: R,
    within: Duration,
) -> Result<R::Reply, MeshError> {
    port.ask(body, within).await.map_err(|error: AskError| MeshError::from_coded(&error as &dyn Coded))
}

/// Whole milliseconds, at most what fits.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
