//! Nodes for tests: a network, a service that answers in known ways, and inboxes for what the network tells.

mod service;

pub(crate) use service::{Lies, Service};

use crate::swarm::Command;
use crate::{
    MeshSecret, MeshSecrets, Network, NetworkDeps, NetworkOptions, NetworkPorts, NodeIdentity, Trust, prepare,
};
use meshwork_kit::{Clock, Envelope, Inbox, Port, channel_port};
use meshwork_proto::PeerId;
use meshwork_proto::artifact::{AppendArtifact, StatArtifact};
use meshwork_proto::discovery::{FoundPeer, PeerConnection, PeersFound};
use meshwork_proto::executor::WorkSource;
use meshwork_proto::queue::{WorkerPeerBack, WorkerPeerLost};
use meshwork_proto::transport::{
    CallError, CallPeer, DialPeer, Directory, EnterSelf, LookUp, LookUpError, PeerAnswer, PeerTarget,
    RevokeError, RevokePeer, Revoked, SecretsSet, SetSecrets,
};
use meshwork_proto::wire::{ListNodeTools, MeshRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SECRET: &str = "the secret of the tests";

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whoever knows these secrets, the first of which it shows.
pub(crate) fn knowing(secrets: &[&str]) -> Trust {
    let secrets = secrets.iter().map(|text| MeshSecret::parse(text).unwrap());
    Trust { secrets: MeshSecrets::new(secrets).unwrap(), ..Trust::default() }
}

pub(crate) fn member() -> Trust {
    knowing(&[SECRET])
}

pub(crate) fn tcp() -> NetworkOptions {
    NetworkOptions { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..quick() }
}

pub(crate) fn quic() -> NetworkOptions {
    NetworkOptions { listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()], ..quick() }
}

/// A node that listens nowhere, with short delays.
pub(crate) fn quick() -> NetworkOptions {
    NetworkOptions {
        stranger_grace: Duration::from_millis(700),
        redial: meshwork_kit::Backoff::doubling(Duration::from_millis(50), Duration::from_millis(500)),
        ..NetworkOptions::default()
    }
}

/// Answers from a closure, in a task.
fn answering<R: meshwork_proto::Request>(mut answer: impl FnMut(Envelope<R>) + Send + 'static) -> Port<R> {
    let (port, mut inbox): (Port<R>, Inbox<R>) = channel_port(2048);
    tokio::spawn(async move {
        while let Some(envelope) = inbox.recv().await {
            answer(envelope);
        }
    });
    port
}

/// A node.
pub(crate) struct Node {
    pub(crate) identity: NodeIdentity,
    pub(crate) ports: NetworkPorts,
    pub(crate) network: Network,
    pub(crate) service: Arc<Service>,
    pub(crate) registry: prometheus::Registry,
    connections: Inbox<PeerConnection>,
    pub(crate) found: Inbox<PeersFound>,
    pub(crate) lost: Inbox<WorkerPeerLost>,
    pub(crate) back: Inbox<WorkerPeerBack>,
    pub(crate) sources: Inbox<WorkSource>,
}

impl Node {
    pub(crate) async fn start(trust: Trust, options: NetworkOptions) -> Self {
        Self::start_as(NodeIdentity::generate(), trust, options).await
    }

    pub(crate) async fn start_as(identity: NodeIdentity, trust: Trust, options: NetworkOptions) -> Self {
        let service = Arc::new(Service::default());
        let (serving, stat, append) = (Arc::clone(&service), Arc::clone(&service), Arc::clone(&service));
        let (connection, connections) = channel_port(64);
        let (worker_lost, lost) = channel_port(64);
        let (worker_back, back) = channel_port(64);
        let (work_source, sources) = channel_port(64);
        let (peers_found, found) = channel_port(64);
        let deps = NetworkDeps {
            clock: Clock::system(),
            serve: answering(move |envelope| serving.serve(envelope)),
            stat_artifact: answering(move |envelope: Envelope<StatArtifact>| {
                let (StatArtifact(cid), reply) = envelope.into_parts();
                reply.send(Ok(stat.stat(cid)));
            }),
            append_artifact: answering(move |envelope: Envelope<AppendArtifact>| {
                let (piece, reply) = envelope.into_parts();
                reply.send(append.append(&piece));
            }),
            connection,
            found: peers_found,
            worker_lost,
            worker_back,
            work_source,
        };
        let registry = prometheus::Registry::new();
        let (ports, seed) = prepare(identity.clone(), trust, options);
        let network = seed.start(deps, &registry).await.expect("network starts");
        Self { identity, ports, network, service, registry, connections, lost, back, sources, found }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Its first address, with its id.
    pub(crate) fn address(&self) -> String {
        self.network.addresses().first().expect("it listens").clone()
    }

    /// Its first address, without its id.
    pub(crate) fn bare_address(&self) -> String {
        self.address().split("/p2p/").next().unwrap().to_owned()
    }

    pub(crate) async fn dial(&self, address: &str, ms: u64) -> Result<PeerId, CallError> {
        let target = address.parse().unwrap();
        self.ports.dial.ask(DialPeer { target, deadline_ms: ms }, PATIENCE).await.expect("dial is answered")
    }

    pub(crate) async fn call(
        &self,
        target: PeerTarget,
        request: MeshRequest,
        ms: u64,
    ) -> Result<PeerAnswer, CallError> {
        let call = CallPeer { target, request, deadline_ms: ms };
        self.ports.call.ask(call, PATIENCE).await.expect("call is answered")
    }

    pub(crate) async fn look_up(
        &self,
        directory: &Directory,
        name: &str,
        ms: u64,
    ) -> Result<Vec<FoundPeer>, LookUpError> {
        let ask = LookUp { directory: directory.clone(), name: name.to_owned(), deadline_ms: ms };
        self.ports.look_up.ask(ask, PATIENCE).await.expect("look-up is answered")
    }

    /// Enters the node; with 0 seconds it takes its entry back.
    pub(crate) async fn enter(
        &self,
        directory: &Directory,
        name: &str,
        ttl_s: u64,
    ) -> Result<(), LookUpError> {
        let name = name.to_owned();
        let ask = EnterSelf { directory: directory.clone(), name, ttl_s, deadline_ms: 10_000 };
        self.ports.enter_self.ask(ask, PATIENCE).await.expect("entry is answered")
    }

    /// Looks a name up again and again, until what is found pleases.
    pub(crate) async fn look_until(
        &self,
        directory: &Directory,
        name: &str,
        pleases: impl Fn(&[FoundPeer]) -> bool,
    ) -> Vec<FoundPeer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.look_up(directory, name, 5_000).await;
            match found {
                Ok(found) if pleases(&found) => return found,
                other => assert!(Instant::now() < deadline, "never found under {name}; at last: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for something that is answered at once.
    pub(crate) async fn greet(&self, peer: &PeerId) -> Result<PeerAnswer, CallError> {
        self.call(PeerTarget::Id(peer.clone()), MeshRequest::ListTools(ListNodeTools), 10_000).await
    }

    /// Asks for something that is never answered.
    pub(crate) async fn hang(&self, peer: &PeerId, ms: u64) -> Result<PeerAnswer, CallError> {
        let request = MeshRequest::Announce(meshwork_proto::discovery::Announce);
        self.call(PeerTarget::Id(peer.clone()), request, ms).await
    }

    /// The next change of a connection that is no round-trip time.
    pub(crate) async fn next_connection(&mut self) -> PeerConnection {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
            match next.expect("a change of a connection in time").expect("the network runs").into_parts().0 {
                PeerConnection::Rtt { .. } => {}
                change => return change,
            }
        }
    }

    /// Changes told so far that nobody has looked at, without round-trip times.
    pub(crate) fn changes_so_far(&mut self) -> Vec<PeerConnection> {
        let mut changes = Vec::new();
        while let Some(envelope) = self.connections.try_recv() {
            match envelope.into_parts().0 {
                PeerConnection::Rtt { .. } => {}
                change => changes.push(change),
            }
        }
        changes
    }

    /// Until a peer is shut out; whether it was revoked.
    pub(crate) async fn until_shut_out(&mut self, peer: &PeerId) -> bool {
        loop {
            if let PeerConnection::ShutOut { peer: out, revoked } = self.next_connection().await
                && out == *peer
            {
                return revoked;
            }
        }
    }

    /// Until a peer is let in again.
    pub(crate) async fn until_let_in(&mut self, peer: &PeerId) {
        loop {
            if let PeerConnection::LetIn { peer: let_in } = self.next_connection().await
                && let_in == *peer
            {
                return;
            }
        }
    }

    /// Replaces the mesh secrets.
    pub(crate) async fn set_secrets(&self, secrets: &[&str]) -> SecretsSet {
        let secrets = secrets.iter().map(|text| text.as_bytes().to_vec()).collect();
        let set = self.ports.secrets.ask(SetSecrets { secrets }, PATIENCE).await.expect("it is answered");
        set.expect("the secrets can be used")
    }

    /// Revokes a peer, or takes that back.
    pub(crate) async fn revoke(&self, peer: &PeerId, undo: bool) -> Result<Revoked, RevokeError> {
        let request = RevokePeer { peer: peer.clone(), undo };
        self.ports.revoke.ask(request, PATIENCE).await.expect("it is answered")
    }

    /// A stream to a peer on which bytes can be written as they come.
    pub(crate) async fn raw_stream(&self, peer: &NodeIdentity, protocol: &'static str) -> libp2p::Stream {
        self.try_raw_stream(peer, protocol).await.expect("the stream is opened")
    }

    /// None: there is no connection, or it is lost meanwhile.
    pub(crate) async fn try_raw_stream(
        &self,
        peer: &NodeIdentity,
        protocol: &'static str,
    ) -> Option<libp2p::Stream> {
        let (opened, stream) = oneshot::channel();
        let protocols = vec![libp2p::StreamProtocol::new(protocol)];
        let open = Command::Open { peer: peer.libp2p_id(), protocols, reply: opened };
        self.network.core().commands.send(open).await.expect("the network runs");
        Some(stream.await.ok()?.ok()?.1)
    }

    /// Until a peer is up.
    pub(crate) async fn until_up(&mut self, peer: &PeerId) {
        loop {
            if let PeerConnection::Up { peer: up, .. } = self.next_connection().await
                && up == *peer
            {
                return;
            }
        }
    }

    /// Until a peer is down.
    pub(crate) async fn until_down(&mut self, peer: &PeerId) {
        loop {
            if let PeerConnection::Down { peer: down } = self.next_connection().await
                && down == *peer
            {
                return;
            }
        }
    }

    /// Until a peer is down, or refused, which may take the place of it: what is told last counts.
    pub(crate) async fn until_lost(&mut self, peer: &PeerId) {
        loop {
            match self.next_connection().await {
                PeerConnection::Down { peer: lost } | PeerConnection::Refused { peer: lost, .. }
                    if lost == *peer =>
                {
                    return;
                }
                _ => {}
            }
        }
    }

    /// Who it was and where it listened.
    pub(crate) async fn stop(self) -> (NodeIdentity, String) {
        let address = self.network.addresses().first().cloned().unwrap_or_default();
        self.network.stop(Duration::from_secs(5)).await.expect("network stops in time");
        (self.identity, address)
    }

    /// The node that was stopped, as it comes back at the same address.
    pub(crate) async fn come_back((identity, address): (NodeIdentity, String)) -> Self {
        let bare = address.split("/p2p/").next().unwrap().to_owned();
        let port: u16 = bare.split('/').nth(4).unwrap().parse().unwrap();
        // The UDP socket is closed a moment after the network has ended.
        eventually("the port is free", || std::net::UdpSocket::bind(("127.0.0.1", port)).ok().map(drop))
            .await;
        Self::start_as(identity, member(), NetworkOptions { listen: vec![bare], ..quick() }).await
    }
}

/// Two members of a mesh, connected by the second.
pub(crate) async fn pair(options: NetworkOptions) -> (Node, Node) {
    let mut server = Node::start(member(), options).await;
    let mut client = Node::start(member(), quick()).await;
    assert_eq!(client.dial(&server.address(), 10_000).await.unwrap(), server.id());
    client.until_up(&server.id()).await;
    server.until_up(&client.id()).await;
    (server, client)
}
