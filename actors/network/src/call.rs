//! Asking a peer: find or open the connection, wait for admission, open the request stream, send, wait. All of it
//! within one deadline. Also asking this node itself, which needs no network.

use crate::address::{self, Endpoint};
use crate::admission::logic::UNSAID;
use crate::link::{Answer, Link, LinkError, REQUEST_PROTOCOLS, version_of};
use crate::metrics::Direction;
use crate::pipe::FramePipe;
use crate::session::{PeerSession, Refusal, Standing};
use crate::shared::Core;
use crate::swarm::{Command, Connected, OpenStreamError, OpenedStream, Target, Until};
use libp2p::StreamProtocol;
use meshwork_kit::AskError;
use meshwork_proto::codec::{CodecError, encode_wire};
use meshwork_proto::transport::{
    AddressFailure, CallError, CallPeer, ConnectError, DialPeer, Offence, PeerAnswer, PeerTarget,
    ServeRequest,
};
use meshwork_proto::wire::admission::{NOT_ADMITTED, shown_reason};
use meshwork_proto::wire::{MAX_WIRE_FRAME, MeshReply, MeshRequest, WireFrame};
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, PeerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Longest time that a call may take, whatever deadline it names.
const MAX_WITHIN: Duration = Duration::from_secs(3600);
/// A deadline and how long it was when it was set, for error messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) ms: u64,
}

impl Deadline {
    pub(crate) fn in_ms(ms: u64) -> Self {
        let within = Duration::from_millis(ms).min(MAX_WITHIN);
        Self { at: Instant::now() + within, ms }
    }

    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    fn timeout(&self, target: impl ToString) -> CallError {
        CallError::Timeout { target: target.to_string(), after_ms: self.ms }
    }
}

/// Whom a call turns out to be for.
enum Callee {
    Local,
    Peer(Arc<PeerSession>),
}

impl Core {
    /// Serves [`CallPeer`].
    pub(crate) async fn call(self: &Arc<Self>, call: CallPeer) -> Result<PeerAnswer, CallError> {
        let deadline = Deadline::in_ms(call.deadline_ms);
        let mut timer = self.metrics.begin(Direction::Out, call.request.name());
        let answer = match self.find(&call.target, deadline).await {
            Ok(Callee::Local) => self.ask_self(call.request, deadline).await,
            Ok(Callee::Peer(session)) => self.request(&session, call.request, deadline).await,
            Err(error) => Err(error),
        };
        timer.outcome(answer.as_ref().err().map_or("ok", |error| error.code().as_str()));
        answer
    }

    /// Serves [`DialPeer`].
    pub(crate) async fn dial(self: &Arc<Self>, dial: DialPeer) -> Result<PeerId, CallError> {
        let deadline = Deadline::in_ms(dial.deadline_ms);
        let Some(target) = self.remote_target(&dial.target)? else { return Ok(self.local.clone()) };
        match self.connect(&dial.target, target, true, deadline).await? {
            Callee::Local => Ok(self.local.clone()),
            Callee::Peer(session) => Ok(session.peer.clone()),
        }
    }

    async fn find(&self, target: &PeerTarget, deadline: Deadline) -> Result<Callee, CallError> {
        // The usual case: by id, connected, admitted.
        if let PeerTarget::Id(peer) = target
            && let Some(session) = self.directory.get(peer)
            && session.role().is_some()
        {
            return Ok(Callee::Peer(session));
        }
        match self.remote_target(target)? {
            Some(remote) => self.connect(target, remote, false, deadline).await,
            None => Ok(Callee::Local),
        }
    }

    /// The target as the swarm knows it; `None` is this node itself.
    pub(crate) fn remote_target(&self, target: &PeerTarget) -> Result<Option<Target>, CallError> {
        match target {
            PeerTarget::Id(peer) if *peer == self.local => Ok(None),
            PeerTarget::Id(peer) => match address::libp2p_id(peer) {
                Some(id) => Ok(Some(Target::Peer(id))),
                None => Err(CallError::UnknownPeer(peer.to_string())),
            },
            PeerTarget::Address(text) => {
                let endpoint = address::parse(text)?;
                if endpoint.peer == Some(self.identity.libp2p_id()) {
                    return Ok(None);
                }
                if self.listens_on(&endpoint) {
                    return match endpoint.peer {
                        None => Ok(None),
                        Some(expected) => Err(CallError::WrongPeer {
                            address: endpoint.address.to_string(),
                            expected: address::peer_of(&expected),
                            found: self.local.clone(),
                        }),
                    };
                }
                Ok(Some(Target::Address(endpoint)))
            }
        }
    }

    /// Whether this node itself is at the address, as far as it knows.
    pub(crate) fn listens_on(&self, endpoint: &Endpoint) -> bool {
        let local = self.identity.libp2p_id();
        // All who have a place at one relay have the same address there, but for the id at its end.
        if address::is_relayed(&endpoint.address) && endpoint.peer != Some(local) {
            return false;
        }
        let own = address::with_peer(&endpoint.address, &local);
        self.listening.borrow().listen.contains(&own)
    }

    /// A session with the target in which both sides admit each other.
    async fn connect(
        &self,
        target: &PeerTarget,
        remote: Target,
        keep: bool,
        deadline: Deadline,
    ) -> Result<Callee, CallError> {
        match self.reach(&target.to_string(), remote, keep, Until::Admitted, deadline).await {
            Ok(Connected::Local) => Ok(Callee::Local),
            Ok(Connected::Peer(session, _)) => Ok(Callee::Peer(session)),
            Err(failed) => Err(failed.error),
        }
    }

    /// A connection to the target, which the asker calls by this name.
    pub(crate) async fn reach(
        &self,
        name: &str,
        remote: Target,
        keep: bool,
        until: Until,
        deadline: Deadline,
    ) -> Result<Connected, ConnectError> {
        let expected = remote.peer().map(|id| address::peer_of(&id));
        let tried = remote.addresses();
        let (reply, connected) = oneshot::channel();
        let command = Command::Connect { target: remote, name: name.to_owned(), keep, until, reply };
        let connecting = async {
            self.commands.send(command).await.map_err(|_| stopping(name))?;
            connected.await.unwrap_or_else(|_| Err(stopping(name)))
        };
        match timeout_at(deadline.at, connecting).await {
            Ok(connected) => connected,
            // Connected, but the handshake did not end in time.
            Err(_) if expected.is_some_and(|peer| self.directory.get(&peer).is_some()) => {
                Err(failed(deadline.timeout(name)))
            }
            Err(_) => {
                let problem = format!("no connection within {} ms", deadline.ms);
                let silent = |address: String| (address, AddressFailure::Unreachable(problem.clone()));
                let failed = tried.into_iter().map(silent).collect();
                let error = CallError::Unreachable { target: name.to_owned(), problem };
                Err(ConnectError { error, failed })
            }
        }
    }

    async fn ask_self(&self, request: MeshRequest, deadline: Deadline) -> Result<PeerAnswer, CallError> {
        let request = ServeRequest { caller: Caller::Local, request };
        match self.deps.serve.ask(request, deadline.left()).await {
            Ok(Ok(reply)) => Ok(PeerAnswer { peer: self.local.clone(), reply }),
            Ok(Err(error)) => Err(CallError::Refused(error)),
            Err(AskError::Timeout { .. }) => Err(deadline.timeout(&self.local)),
            Err(error) => Err(CallError::Refused(MeshError::from_coded(&error))),
        }
    }

    /// Sends a request over the session's stream, which is opened if it has none.
    async fn request(
        self: &Arc<Self>,
        session: &Arc<PeerSession>,
        request: MeshRequest,
        deadline: Deadline,
    ) -> Result<PeerAnswer, CallError> {
        let peer = &session.peer;
        let _place = match timeout_at(deadline.at, session.outbound.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(CallError::ConnectionLost(peer.clone())),
            Err(_) => {
                return Err(CallError::Busy { peer: peer.clone(), limit: self.options.max_requests_out });
            }
        };
        let (since, name) = (request.since(), request.name());
        let id = session.next_request_id();
        // Rounded up: the other side must not give up first.
        let deadline_ms = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let frame = WireFrame::Request { id, deadline_ms, request };
        let frame = bytes::Bytes::from(encode_wire(&frame, MAX_WIRE_FRAME).map_err(unsendable)?);
        // A stream may have been closed since its last use: what was not sent goes over a new one, once.
        let mut answer = Err(LinkError::NotSent);
        for _ in 0..2 {
            let link = self.link(session, deadline).await?;
            if since > link.version {
                return Err(too_old(peer, name, link.version));
            }
            answer = link.ask(id, frame.clone(), deadline.at).await;
            if !matches!(answer, Err(LinkError::NotSent)) {
                break;
            }
        }
        match answer {
            Ok(answer) => accept(peer, answer),
            Err(LinkError::Timeout) => Err(deadline.timeout(peer)),
            Err(LinkError::Lost | LinkError::NotSent) => Err(CallError::ConnectionLost(peer.clone())),
        }
    }

    async fn link(
        self: &Arc<Self>,
        session: &Arc<PeerSession>,
        deadline: Deadline,
    ) -> Result<Arc<Link>, CallError> {
        if let Some(link) = session.link() {
            return Ok(link);
        }
        let opening = async {
            let _alone = session.opening.lock().await;
            match session.link() {
                Some(link) => Ok(link),
                None => self.open_link(session).await,
            }
        };
        timeout_at(deadline.at, opening).await.unwrap_or_else(|_| Err(deadline.timeout(&session.peer)))
    }

    async fn open_link(self: &Arc<Self>, session: &Arc<PeerSession>) -> Result<Arc<Link>, CallError> {
        let (protocol, stream) = self.open(session, &REQUEST_PROTOCOLS).await?;
        let pipe = FramePipe::new(stream, MAX_WIRE_FRAME, self.metrics.traffic());
        let (core, peer) = (Arc::clone(self), session.peer.clone());
        let offence = move || core.report(&peer, Offence::BadFrame);
        let (link, task) = Link::new(pipe, version_of(&protocol), session.peer.clone(), offence);
        self.spawn(task);
        session.set_link(Arc::clone(&link));
        // The session may have ended while the stream was opened; then nobody would close the link.
        if session.outbound.is_closed() {
            link.close();
            return Err(CallError::ConnectionLost(session.peer.clone()));
        }
        Ok(link)
    }

    /// A stream to a connected peer, for the first of these protocols that it speaks.
    pub(crate) async fn open(
        &self,
        session: &PeerSession,
        protocols: &[&'static str],
    ) -> Result<OpenedStream, CallError> {
        let lost = || CallError::ConnectionLost(session.peer.clone());
        let (reply, opened) = oneshot::channel();
        let protocols = protocols.iter().copied().map(StreamProtocol::new).collect();
        let command = Command::Open { peer: session.remote, protocols, reply };
        self.commands.send(command).await.map_err(|_| lost())?;
        match opened.await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(OpenStreamError::Unsupported)) => Err(CallError::Protocol(session.peer.clone())),
            Ok(Err(OpenStreamError::Io(problem))) => {
                Err(CallError::Unreachable { target: session.peer.to_string(), problem })
            }
            Err(_) => Err(lost()),
        }
    }
}

/// The error for a request that the version of the wire that the peer speaks does not have.
fn too_old(peer: &PeerId, request: &str, version: u8) -> CallError {
    let message = format!(
        "peer {peer} speaks /meshwork/{version}, which has no {request}: it needs a later version of meshwork"
    );
    CallError::Refused(MeshError::new(ErrorCode::VersionMismatch, message))
}

/// The failure of a whole, of which nothing is known about single addresses.
pub(crate) fn failed(error: CallError) -> ConnectError {
    ConnectError { error, failed: Vec::new() }
}

/// The error for whoever asks a network that stops.
fn stopping(target: &str) -> ConnectError {
    let problem = "this node's network is stopping".to_owned();
    failed(CallError::Unreachable { target: target.to_owned(), problem })
}

fn unsendable(error: CodecError) -> CallError {
    match error {
        CodecError::TooLarge { len, max, .. } => CallError::TooLarge { len: len as u64, max: max as u64 },
        other => CallError::Refused(MeshError::from_coded(&other)),
    }
}

fn accept(peer: &PeerId, answer: Answer) -> Result<PeerAnswer, CallError> {
    match answer {
        Ok(reply) => Ok(PeerAnswer { peer: peer.clone(), reply }),
        Err(error) if error.code == ErrorCode::NotAdmitted => {
            let reason = match error.message.as_str() {
                NOT_ADMITTED => UNSAID.to_owned(),
                said => shown_reason(said),
            };
            let refusal = Refusal { by_us: false, reason };
            Err(CallError::NotAdmitted { peer: peer.clone(), reason: refusal.in_words() })
        }
        Err(error) => Err(CallError::Refused(error)),
    }
}

/// What a standing means for whoever waits for admission: an answer, or nothing yet.
pub(crate) fn verdict(
    session: &Arc<PeerSession>,
    standing: &Standing,
) -> Option<Result<Connected, CallError>> {
    match standing {
        Standing::Admitted(_) => Some(Ok(Connected::Peer(Arc::clone(session), None))),
        Standing::Refused(refusal) => {
            Some(Err(CallError::NotAdmitted { peer: session.peer.clone(), reason: refusal.in_words() }))
        }
        Standing::Gone => Some(Err(CallError::ConnectionLost(session.peer.clone()))),
        Standing::Unknown | Standing::Proving => None,
    }
}

/// The body of a reply, when it is the right one.
pub(crate) fn piece_of(answer: PeerAnswer) -> Result<meshwork_proto::artifact::ArtifactPiece, CallError> {
    match answer.reply {
        MeshReply::Piece(piece) => Ok(piece),
        _ => Err(CallError::Protocol(answer.peer)),
    }
}
