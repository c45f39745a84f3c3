//! Nodes of the versions before, as the wire sees them: the first speaks `/meshwork/1` and `/meshwork/admit/1`, the second both
//! versions of each; they serve a list of no tools.

use super::world::SECRET;
use crate::MeshSecret;
use crate::admission::{self, logic};
use crate::identity::NodeIdentity;
use crate::link::Link;
use crate::metrics::NetworkMetrics;
use crate::pipe::FramePipe;
use crate::swarm::Streams;
use crate::trust::Trust;
use bytes::Bytes;
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use meshwork_proto::codec::{decode_wire, encode_wire};
use meshwork_proto::wire::admission::Side;
use meshwork_proto::wire::{
    ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1, ListNodeTools, MAX_WIRE_FRAME, MESHWORK_PROTOCOL_1,
    MESHWORK_PROTOCOL_2, MeshReply, MeshRequest, WireFrame,
};
use meshwork_proto::{ErrorCode, MeshError, PeerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct OldNode {
    /// Version of the wire that it speaks.
    version: u8,
    identity: NodeIdentity,
    swarm: Swarm<Streams>,
}

impl OldNode {
    /// A node of the first version.
    pub(crate) fn new() -> Self {
        Self::of_version(1)
    }

    /// A node of the first or the second version.
    pub(crate) fn of_version(version: u8) -> Self {
        let identity = NodeIdentity::generate();
        let spoken: &[&'static str] = match version {
            1 => &[ADMISSION_PROTOCOL_1, MESHWORK_PROTOCOL_1],
            _ => &[ADMISSION_PROTOCOL, ADMISSION_PROTOCOL_1, MESHWORK_PROTOCOL_2, MESHWORK_PROTOCOL_1],
        };
        let streams = |_: &libp2p::identity::Keypair| {
            Streams::new(spoken.iter().copied().map(StreamProtocol::new).collect::<Vec<_>>())
        };
        let swarm = SwarmBuilder::with_existing_identity(identity.keypair().clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(streams)
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        Self { version, identity, swarm }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Listens, and serves whoever comes, until the test is over.
    pub(crate) async fn serve(mut self) -> String {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.swarm.select_next_some().await {
                break crate::address::with_peer(&address, &self.identity.libp2p_id());
            }
        };
        tokio::spawn(self.answer());
        address
    }

    /// Connects to a node and proves nothing by itself, but answers whatever the node asks.
    pub(crate) fn visit(mut self, address: &str) {
        self.swarm.dial(address.parse::<Multiaddr>().unwrap()).unwrap();
        tokio::spawn(self.answer());
    }

    async fn answer(mut self) {
        loop {
            let event = self.swarm.select_next_some().await;
            let SwarmEvent::Behaviour(opened) = event else { continue };
            let peer = crate::address::peer_of(&opened.peer);
            if matches!(opened.protocol.as_ref(), ADMISSION_PROTOCOL | ADMISSION_PROTOCOL_1) {
                let handshake = self.handshake(Side::Responder, peer);
                tokio::spawn(async move {
                    admission::run(opened.stream, handshake, traffic(), WITHIN).await.unwrap();
                });
            } else {
                tokio::spawn(list_no_tools(opened.stream, self.version));
            }
        }
    }

    /// Connects to a node, is admitted, and asks it these things one after another.
    pub(crate) async fn ask(
        mut self,
        address: &str,
        requests: Vec<MeshRequest>,
    ) -> Vec<Result<MeshReply, MeshError>> {
        self.swarm.dial(address.parse::<Multiaddr>().unwrap()).unwrap();
        let (peer, connection) = loop {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } = event {
                break (peer_id, connection_id);
            }
        };
        let version = self.version;
        let handshake = self.handshake(Side::Initiator, crate::address::peer_of(&peer));
        let (admission_protocol, work_protocol) = match self.version {
            1 => (ADMISSION_PROTOCOL_1, MESHWORK_PROTOCOL_1),
            _ => (ADMISSION_PROTOCOL, MESHWORK_PROTOCOL_2),
        };
        let (admit, admission_stream) = oneshot::channel();
        let protocols = [StreamProtocol::new(admission_protocol)];
        self.swarm.behaviour_mut().open(peer, connection, protocols, admit);
        let admitted = async {
            let (_, stream) = admission_stream.await.unwrap().unwrap();
            admission::run(stream, handshake, traffic(), WITHIN).await.unwrap();
        };
        tokio::pin!(admitted);
        loop {
            tokio::select! {
                () = &mut admitted => break,
                _ = self.swarm.select_next_some() => {}
            }
        }
        // As nodes do, only now: a request stream that is there before any handshake is a stranger's.
        let (work, work_stream) = oneshot::channel();
        let protocols = [StreamProtocol::new(work_protocol)];
        self.swarm.behaviour_mut().open(peer, connection, protocols, work);
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        });
        let (_, stream) = work_stream.await.unwrap().unwrap();
        let pipe = FramePipe::new(stream, MAX_WIRE_FRAME, traffic());
        let (link, task) = Link::new(pipe, version, crate::address::peer_of(&peer), || {});
        tokio::spawn(task);
        let mut answers = Vec::new();
        for (id, request) in (1..).zip(requests) {
            let frame = WireFrame::Request { id, deadline_ms: 10_000, request };
            let frame = Bytes::from(encode_wire(&frame, MAX_WIRE_FRAME).unwrap());
            answers.push(link.ask(id, frame, Instant::now() + WITHIN).await.expect("an answer"));
        }
        answers
    }

    fn handshake(&self, side: Side, remote: PeerId) -> logic::Handshake {
        let secrets = MeshSecret::parse(SECRET).unwrap().into();
        let trust = Arc::new(Trust { secrets, ..Trust::default() });
        let parties = logic::Parties { trust, local: self.id(), remote, shut_out: None };
        let handshake = logic::Handshake::new(parties, side, rand::random());
        if self.version == 1 { handshake.with_one_proof() } else { handshake }
    }
}

async fn list_no_tools(stream: Stream, version: u8) {
    let mut pipe = FramePipe::new(stream, MAX_WIRE_FRAME, traffic());
    while let Ok(Some(frame)) = pipe.next_frame().await {
        // A node ends the stream at requests that it cannot read.
        let WireFrame::Request { id, request, .. } = decode_wire(&frame, MAX_WIRE_FRAME).unwrap() else {
            return;
        };
        assert!(request.since() <= version, "asked for something that version {version} does not have");
        let result = match request {
            MeshRequest::ListTools(ListNodeTools) => Ok(MeshReply::Tools(Vec::new())),
            other => Err(MeshError::new(ErrorCode::InvalidArgument, other.name())),
        };
        let reply = WireFrame::Reply { id, result };
        pipe.push(&encode_wire(&reply, MAX_WIRE_FRAME).unwrap()).unwrap();
    }
}

fn traffic() -> crate::pipe::Traffic {
    NetworkMetrics::unregistered().traffic()
}
