//! Asking a peer: find or open the connection, wait for admission, open the request stream, send, wait. All of it
//! within one deadline. Also asking this node itself, which needs no network.

use crate::address::{self, Endpoint};
use crate::link::{Answer, Link, LinkError};
use crate::metrics::{Direction, NetworkMetrics};
use crate::options::NetworkOptions;
use crate::pipe::FramePipe;
use crate::session::{Directory, PeerSession, Standing, locked};
use crate::status::NetworkStatus;
use crate::swarm::{Command, Connected, OpenStreamError, Target};
use crate::trust::Trust;
use crate::{NetworkDeps, identity::NodeIdentity};
use libp2p::StreamProtocol;
use meshwork_kit::AskError;
use meshwork_proto::codec::{CodecError, encode_wire};
use meshwork_proto::transport::{
    CallError, CallPeer, DialPeer, LocalPeer, PeerAnswer, PeerTarget, ServeRequest,
};
use meshwork_proto::wire::{MAX_WIRE_FRAME, MESHWORK_PROTOCOL, MeshReply, MeshRequest, WireFrame};
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, PeerId, UnixMillis};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest time that a call may take, whatever deadline it names.
const MAX_WITHIN: Duration = Duration::from_secs(3600);
/// One log line about a refused peer in this time.
const REFUSAL_LOG_EVERY: Duration = Duration::from_secs(60);
/// Peers about which the time of the last such line is kept.
const MAX_REFUSALS_KEPT: usize = 1024;

/// What all tasks of the network share.
pub(crate) struct Core {
    pub(crate) local: PeerId,
    pub(crate) identity: NodeIdentity,
    pub(crate) options: NetworkOptions,
    pub(crate) trust: Arc<Trust>,
    pub(crate) directory: Directory,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) deps: NetworkDeps,
    pub(crate) metrics: NetworkMetrics,
    pub(crate) listening: watch::Sender<LocalPeer>,
    pub(crate) status: watch::Sender<NetworkStatus>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) refusals_logged: Mutex<BTreeMap<PeerId, UnixMillis>>,
}

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
    /// A task that ends when the network stops.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = task => {}
            }
        });
    }

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

    /// Whether the refusal of a peer is worth a line in the log now.
    pub(crate) fn may_log_refusal(&self, peer: &PeerId) -> bool {
        let now = self.deps.clock.now();
        let recent = |at: &UnixMillis| now.since(*at) < REFUSAL_LOG_EVERY;
        let mut logged = locked(&self.refusals_logged);
        if logged.get(peer).is_some_and(recent) {
            return false;
        }
        if logged.len() >= MAX_REFUSALS_KEPT {
            logged.retain(|_, at| recent(at));
            if logged.len() >= MAX_REFUSALS_KEPT {
                return false;
            }
        }
        logged.insert(peer.clone(), now);
        true
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
    fn remote_target(&self, target: &PeerTarget) -> Result<Option<Target>, CallError> {
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

    fn listens_on(&self, endpoint: &Endpoint) -> bool {
        let own = address::with_peer(&endpoint.address, &self.identity.libp2p_id());
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
        let expected = remote.peer().map(|id| address::peer_of(&id));
        let (reply, connected) = oneshot::channel();
        let command = Command::Connect { target: remote, name: target.to_string(), keep, reply };
        let connecting = async {
            self.commands.send(command).await.map_err(|_| stopping(target))?;
            connected.await.unwrap_or_else(|_| Err(stopping(target)))
        };
        match timeout_at(deadline.at, connecting).await {
            Ok(Ok(Connected::Local)) => Ok(Callee::Local),
            Ok(Ok(Connected::Peer(session))) => Ok(Callee::Peer(session)),
            Ok(Err(error)) => Err(error),
            Err(_) => match expected.and_then(|peer| self.directory.get(&peer)) {
                // Connected, but the handshake did not end in time.
                Some(_) => Err(deadline.timeout(target)),
                None => Err(CallError::Unreachable {
                    target: target.to_string(),
                    problem: format!("no connection within {} ms", deadline.ms),
                }),
            },
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
        let id = session.next_request_id();
        // Rounded up: the other side must not give up first.
        let deadline_ms = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let frame = WireFrame::Request { id, deadline_ms, request };
        let frame = bytes::Bytes::from(encode_wire(&frame, MAX_WIRE_FRAME).map_err(unsendable)?);
        // A stream may have been closed since its last use: what was not sent goes over a new one, once.
        let mut answer = Err(LinkError::NotSent);
        for _ in 0..2 {
            let link = self.link(session, deadline).await?;
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
        let lost = || CallError::ConnectionLost(session.peer.clone());
        let (reply, opened) = oneshot::channel();
        let protocol = StreamProtocol::new(MESHWORK_PROTOCOL);
        let command = Command::Open { peer: session.remote, protocol, reply };
        self.commands.send(command).await.map_err(|_| lost())?;
        let stream = match opened.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(OpenStreamError::Unsupported)) => return Err(CallError::Protocol(session.peer.clone())),
            Ok(Err(OpenStreamError::Io(problem))) => {
                return Err(CallError::Unreachable { target: session.peer.to_string(), problem });
            }
            Err(_) => return Err(lost()),
        };
        let pipe = FramePipe::new(stream, MAX_WIRE_FRAME, self.metrics.traffic());
        let (link, task) = Link::new(pipe, session.peer.clone());
        self.spawn(task);
        session.set_link(Arc::clone(&link));
        // The session may have ended while the stream was opened; then nobody would close the link.
        if session.outbound.is_closed() {
            link.close();
            return Err(lost());
        }
        Ok(link)
    }
}

/// The error for whoever asks a network that stops.
fn stopping(target: &PeerTarget) -> CallError {
    let problem = "this node's network is stopping".to_owned();
    CallError::Unreachable { target: target.to_string(), problem }
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
            let reason = meshwork_proto::wire::admission::shown_reason(&error.message);
            Err(CallError::NotAdmitted {
                peer: peer.clone(),
                reason: format!("it refuses this node: {reason}"),
            })
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
        Standing::Admitted(_) => Some(Ok(Connected::Peer(Arc::clone(session)))),
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
