//! A client for programs that are no nodes (benchmarks, tests, tools): it listens nowhere, serves nothing and keeps
//! nothing, and makes requests of one node.

use crate::identity::NodeIdentity;
use crate::network::{Network, NetworkDeps, NetworkPorts, prepare};
use crate::options::NetworkOptions;
use crate::trust::{MeshSecrets, Trust};
use meshwork_kit::{AskError, Clock, Port, channel_port};
use meshwork_proto::transport::{CallError, CallPeer, DialPeer, PeerTarget};
use meshwork_proto::wire::{MeshCall, MeshReply, MeshRequest};
use meshwork_proto::{MeshError, PeerId, Request};
use std::collections::BTreeSet;
use std::time::Duration;

/// What the ask of a port is given beyond the deadline inside the message, so that the answer says what happened.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// How long the connection may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A connection to one node, kept open and opened again when it is lost.
#[derive(Debug)]
pub struct MeshClient {
    peer: PeerId,
    ports: NetworkPorts,
    network: Network,
}

impl MeshClient {
    /// Connects to the node at a multiaddress and waits until both sides admit each other, at most `within`.
    ///
    /// # Errors
    /// As [`DialPeer`]: no such address, not reachable, not admitted, too late.
    pub async fn connect(
        identity: NodeIdentity,
        secrets: impl Into<MeshSecrets>,
        address: &str,
        within: Duration,
    ) -> Result<Self, CallError> {
        let trust = Trust { secrets: secrets.into(), ..Trust::default() };
        Self::connect_with(identity, trust, address, within).await
    }

    /// Like [`MeshClient::connect`], for a client that is itself admitted by name and may know no secret: it trusts
    /// the node that the address names with `/p2p/<id>`.
    ///
    /// # Errors
    /// As [`MeshClient::connect`].
    pub async fn connect_by_name(
        identity: NodeIdentity,
        address: &str,
        within: Duration,
    ) -> Result<Self, CallError> {
        let named = crate::address::parse(address)?.peer;
        let allow: BTreeSet<PeerId> = named.iter().map(crate::address::peer_of).collect();
        Self::connect_with(identity, Trust { allow, ..Trust::default() }, address, within).await
    }

    async fn connect_with(
        identity: NodeIdentity,
        trust: Trust,
        address: &str,
        within: Duration,
    ) -> Result<Self, CallError> {
        let (ports, seed) = prepare(identity, trust, NetworkOptions::default());
        let started = seed.start(nobody(), &prometheus::Registry::new()).await;
        let network = started.map_err(|error| CallError::Unreachable {
            target: address.to_owned(),
            problem: error.to_string(),
        })?;
        let dial = DialPeer { target: PeerTarget::Address(address.to_owned()), deadline_ms: millis(within) };
        let dialled = ports.dial.ask(dial, within.saturating_add(ANSWER_MARGIN)).await;
        let peer = dialled.map_err(|error| refused(&error))??;
        Ok(Self { peer, ports, network })
    }

    /// The node at the other end.
    #[must_use]
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// Makes a request and waits for its answer, at most `within`. Any number may be under way at a time, as far as
    /// the limits allow; dropping the future abandons the request at the node.
    ///
    /// # Errors
    /// The node's own error, or why it could not be asked.
    pub async fn call<C: MeshCall>(&self, call: C, within: Duration) -> Result<C::Answer, CallError> {
        let reply = self.request(call.into_request(), within).await?;
        C::answer(reply).ok_or_else(|| CallError::Protocol(self.peer.clone()))
    }

    /// Like [`MeshClient::call`], with request and reply as they are on the wire.
    ///
    /// # Errors
    /// As [`MeshClient::call`].
    pub async fn request(&self, request: MeshRequest, within: Duration) -> Result<MeshReply, CallError> {
        let target = PeerTarget::Id(self.peer.clone());
        let call = CallPeer { target, request, deadline_ms: millis(within) };
        let answer = self.ports.call.ask(call, within.saturating_add(ANSWER_MARGIN)).await;
        Ok(answer.map_err(|error| refused(&error))??.reply)
    }

    /// Closes the connection. Dropping the client does so too, without waiting.
    pub async fn close(self) {
        if let Err(error) = self.network.stop(CLOSE_WITHIN).await {
            tracing::debug!(%error, "client cut off");
        }
    }
}

/// Ports that nobody serves: requests of the node are refused as unavailable, and nobody is told anything.
fn nobody() -> NetworkDeps {
    NetworkDeps {
        clock: Clock::system(),
        serve: closed(),
        stat_artifact: closed(),
        append_artifact: closed(),
        connection: closed(),
        found: closed(),
        worker_lost: closed(),
        worker_back: closed(),
        work_source: closed(),
    }
}

fn closed<R: Request>() -> Port<R> {
    channel_port(1).0
}

fn refused(error: &AskError) -> CallError {
    CallError::Refused(MeshError::from_coded(error))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
