//! Pairing: letting a new node in with a code that one person reads to another, and joining with it.
//!
//! [`code`] is the code, [`door`] who may still use it, [`crowd`] how many may try at a time, [`logic`] both sides of the
//! exchange, all pure; this file carries the frames over a stream within a deadline, and does what follows. Strangers may
//! speak this protocol, and only while the door is open: otherwise their streams are closed without a word.

mod code;
mod crowd;
mod door;
mod logic;

pub(crate) use crowd::Origin;
pub(crate) use door::Door;

use crate::address;
use crate::call::Deadline;
use crate::pipe::{FramePipe, PipeError};
use crate::session::{PeerSession, locked};
use crate::shared::Core;
use crate::swarm::{Connected, OpenedStream, Target, TrustCommand, Until};
use crate::trust::{MeshSecret, MeshSecrets};
use code::Code;
use crowd::Crowd;
use door::{Judged, MAX_WRONG};
use futures::{AsyncRead, AsyncWrite};
use libp2p::Stream;
use logic::{Ends, Exchange, Inviter, InviterStep, Joiner, JoinerStep, PairingError, Welcome};
use meshwork_proto::codec::{CodecError, decode_wire, encode_wire};
use meshwork_proto::discovery::{FoundPeer, PeersFound, Source};
use meshwork_proto::frame::FrameError;
use meshwork_proto::transport::{
    CallError, Offence, OpenPairing, PairError, PairWith, PairedWith, PairingOffer, PeerTarget,
};
use meshwork_proto::wire::pairing::{
    Confirmation, MAX_PAIRING_FRAME, MAX_WELCOME_ADDRESSES, PAIRING_PROTOCOL, PairingFrame, PairingSide,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an exchange may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Shortest and longest time for which the door may be open. Nobody reads a code in less, and a code that is good for days
/// is an invitation to guess.
const VALID: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// Addresses tried, one after another.
const MAX_ADDRESSES: usize = 16;

/// Exchanges of strangers that are under way, and the place for the one of this node.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    pub(crate) inviting: Crowd,
    joining: tokio::sync::Mutex<()>,
}

/// Why an exchange ended without a word of the other side.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Pairing(#[from] PairingError),
    #[error("the stream broke: {0}")]
    Pipe(#[from] PipeError),
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("the peer ended it")]
    Ended,
    #[error("not finished within {WITHIN:?}")]
    Timeout,
}

impl From<FrameError> for ExchangeError {
    fn from(error: FrameError) -> Self {
        Self::Pipe(error.into())
    }
}

impl ExchangeError {
    fn is_offence(&self) -> bool {
        match self {
            Self::Pairing(error) => error.is_offence(),
            Self::Codec(_) => true,
            Self::Pipe(error) => error.is_offence(),
            Self::Ended | Self::Timeout => false,
        }
    }
}

async fn receive<S>(pipe: &mut FramePipe<S>) -> Result<PairingFrame, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = pipe.next_frame().await?.ok_or(ExchangeError::Ended)?;
    Ok(decode_wire(&bytes, MAX_PAIRING_FRAME)?)
}

fn send<S>(pipe: &mut FramePipe<S>, frame: &PairingFrame) -> Result<(), ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Ok(pipe.push(&zeroize::Zeroizing::new(encode_wire(frame, MAX_PAIRING_FRAME)?))?)
}

/// Whether the door is open for somebody.
pub(crate) fn is_open(core: &Core) -> bool {
    locked(&core.door).code(core.deps.clock.now()).is_some()
}

/// Serves a stream of somebody who wants to be let in, and comes from there. Says nothing when the door is closed.
pub(crate) async fn let_in(core: Arc<Core>, session: Arc<PeerSession>, from: Origin, stream: Stream) {
    let now = core.deps.clock.now();
    let Some((code, serial)) = locked(&core.door).code(now) else {
        core.metrics.refused_streams.with_label_values(&["not_pairing"]).inc();
        return;
    };
    let Some(_place) = core.exchanges.inviting.enter(from) else {
        core.metrics.refused_streams.with_label_values(&["pairing_busy"]).inc();
        return;
    };
    let peer = session.peer.clone();
    let ends = Ends { joiner: peer.clone(), inviter: core.local.clone() };
    let inviter = Inviter::new(Exchange::begin(PairingSide::Inviter, &code, &ends), ends);
    let pipe = FramePipe::new(stream, MAX_PAIRING_FRAME, core.metrics.traffic());
    let exchange = tokio::time::timeout(WITHIN, invite(&core, pipe, inviter, serial)).await;
    let outcome = match exchange.unwrap_or(Err(ExchangeError::Timeout)) {
        Ok(judged) => {
            told(&core, &session, judged);
            match judged {
                Judged::Welcome => "welcome",
                Judged::Wrong(_) | Judged::Burned => "wrong_code",
                Judged::Closed => "closed",
            }
        }
        Err(error) => {
            tracing::info!(%peer, %error, "a pairing broke off");
            if error.is_offence() {
                core.report(&peer, Offence::BadFrame);
            }
            "broke_off"
        }
    };
    core.metrics.pairings.with_label_values(&[outcome]).inc();
}

/// What the operator hears of a try, and what it costs who made it.
fn told(core: &Core, session: &PeerSession, judged: Judged) {
    let peer = &session.peer;
    match judged {
        Judged::Welcome => tracing::info!(%peer, "a new node was let in by pairing"),
        Judged::Wrong(left) => tracing::warn!(%peer, left, "a node tried to pair with a wrong code"),
        Judged::Burned => {
            tracing::warn!(%peer, "a wrong code for the {MAX_WRONG}rd time: the pairing code is of no use any more");
        }
        Judged::Closed => tracing::info!(%peer, "a node came to pair when the code was used or too old"),
    }
    if matches!(judged, Judged::Wrong(_) | Judged::Burned) {
        core.report(peer, Offence::BadProof);
    }
}

/// The inviting side, to its end.
async fn invite(
    core: &Core,
    mut pipe: FramePipe<Stream>,
    mut inviter: Inviter,
    serial: u64,
) -> Result<Judged, ExchangeError> {
    loop {
        match inviter.receive(receive(&mut pipe).await?)? {
            InviterStep::Send(frame) => send(&mut pipe, &frame)?,
            InviterStep::Judge { right, mac } => {
                let (judged, answer) = judge(core, serial, right, mac);
                send(&mut pipe, &answer)?;
                pipe.close().await?;
                return Ok(judged);
            }
        }
    }
}

/// The door decides, in one step with the secret being looked up: a try is never counted later than it is answered.
fn judge(core: &Core, serial: u64, right: bool, mac: Confirmation) -> (Judged, PairingFrame) {
    let secret = core.trust().secrets.shown().map(|secret| secret.expose().to_vec());
    let judged = locked(&core.door).judge(serial, right, core.deps.clock.now());
    match (judged, secret) {
        (Judged::Welcome, Some(secret)) => {
            let addresses = core.listening.borrow().listen.clone();
            let addresses = addresses.into_iter().take(MAX_WELCOME_ADDRESSES).collect();
            (judged, PairingFrame::Welcome { mac, secret, addresses })
        }
        // The secrets went while the door was open.
        (Judged::Welcome, None) => (Judged::Closed, PairingFrame::Refused),
        _ => (judged, PairingFrame::Refused),
    }
}

/// What became of asking one node.
enum Asked {
    Welcome(Welcome),
    Refused,
    /// It does not pair, for this reason.
    NotThere(String),
}

impl Core {
    /// Serves [`OpenPairing`].
    pub(crate) fn open_pairing(&self, request: OpenPairing) -> Result<PairingOffer, PairError> {
        if self.trust().secrets.is_empty() {
            return Err(PairError::NoSecret);
        }
        let code = Code::generate().map_err(|error| PairError::NoCode(error.to_string()))?;
        let valid = Duration::from_millis(request.valid_ms).clamp(VALID.0, VALID.1);
        let shown = code.in_groups();
        locked(&self.door)
            .open(code, valid, self.deps.clock.now())
            .map_err(|left| PairError::AlreadyOpen { left_s: left.as_secs().max(1) })?;
        tracing::info!(seconds = valid.as_secs(), "pairing is open for one new node");
        Ok(PairingOffer {
            code: shown,
            valid_ms: u64::try_from(valid.as_millis()).unwrap_or(u64::MAX),
            addresses: self.listening.borrow().listen.clone(),
        })
    }

    /// Serves [`PairWith`]: asks one address after another, keeps the secret that comes over, uses it, and connects.
    pub(crate) async fn pair_with(self: &Arc<Self>, request: PairWith) -> Result<PairedWith, PairError> {
        let code = Code::parse(&request.code).ok_or(PairError::NotACode)?;
        let deadline = Deadline::in_ms(request.deadline_ms);
        let _alone = self.exchanges.joining.lock().await;
        let mut tried = Vec::new();
        let mut refused = false;
        for text in request.addresses.iter().take(MAX_ADDRESSES) {
            if deadline.left().is_zero() {
                tried.push(format!("{text}: no time was left"));
                continue;
            }
            match self.ask_at(text, &code, deadline).await {
                Ok((session, Asked::Welcome(welcome))) => {
                    return self.join_to_the_end(session, text.clone(), welcome, deadline).await;
                }
                Ok((_, Asked::Refused)) => refused = true,
                Ok((_, Asked::NotThere(why))) => tried.push(format!("{text}: {why}")),
                Err(error) => tried.push(format!("{text}: {error}")),
            }
        }
        if refused {
            return Err(PairError::WrongCode);
        }
        let tried = if tried.is_empty() { "no address was given".to_owned() } else { tried.join("; ") };
        Err(PairError::NobodyThere { tried })
    }

    async fn ask_at(
        &self,
        text: &str,
        code: &Code,
        deadline: Deadline,
    ) -> Result<(Arc<PeerSession>, Asked), CallError> {
        let ourselves = || CallError::Unreachable {
            target: text.to_owned(),
            problem: "it is this node itself".to_owned(),
        };
        let Some(target) = self.remote_target(&PeerTarget::Address(text.to_owned()))? else {
            return Err(ourselves());
        };
        let connected = self.reach(text, target, false, Until::Connected, deadline).await;
        let session = match connected.map_err(|failed| failed.error)? {
            Connected::Peer(session, _) => session,
            Connected::Local => return Err(ourselves()),
        };
        let opened = match self.open(&session, &[PAIRING_PROTOCOL]).await {
            Err(CallError::Protocol(_)) => {
                return Ok((session, Asked::NotThere("the node there knows no pairing".into())));
            }
            opened => opened?,
        };
        let asked = self.ask(&session, opened, code).await;
        Ok((session, asked))
    }

    async fn ask(&self, session: &PeerSession, (_, stream): OpenedStream, code: &Code) -> Asked {
        let ends = Ends { joiner: self.local.clone(), inviter: session.peer.clone() };
        let (joiner, start) = Joiner::new(Exchange::begin(PairingSide::Joiner, code, &ends), ends);
        let pipe = FramePipe::new(stream, MAX_PAIRING_FRAME, self.metrics.traffic());
        match tokio::time::timeout(WITHIN, join(pipe, joiner, start)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(ExchangeError::Ended | ExchangeError::Pipe(PipeError::Io(_)))) => {
                Asked::NotThere("the node there has no pairing open".into())
            }
            Ok(Err(error)) => Asked::NotThere(error.to_string()),
            Err(_) => Asked::NotThere(ExchangeError::Timeout.to_string()),
        }
    }

    /// Whoever asked may go away now: the code is used, and what came over must not be lost half way.
    async fn join_to_the_end(
        self: &Arc<Self>,
        session: Arc<PeerSession>,
        text: String,
        welcome: Welcome,
        deadline: Deadline,
    ) -> Result<PairedWith, PairError> {
        let (core, (reply, joined)) = (Arc::clone(self), oneshot::channel());
        self.spawn(async move {
            let joined = core.join(&session, &text, welcome, deadline).await;
            if let Err(Err(error)) = reply.send(joined) {
                tracing::error!(%error, "pairing failed after its asker had gone");
            }
        });
        joined.await.unwrap_or_else(|_| Err(PairError::NotKept("this node's network is stopping".into())))
    }

    /// The secret has come: it is kept before it is used, so that the node is in the same mesh after a restart.
    async fn join(
        &self,
        session: &PeerSession,
        text: &str,
        welcome: Welcome,
        deadline: Deadline,
    ) -> Result<PairedWith, PairError> {
        let not_kept = |problem: String| PairError::NotKept(problem);
        let secret = MeshSecret::from_bytes(&welcome.secret).map_err(|error| not_kept(error.to_string()))?;
        let secrets: MeshSecrets = match self.options.secret_file.clone() {
            Some(path) => tokio::task::spawn_blocking(move || secret.keep(&path))
                .await
                .map_err(|error| not_kept(error.to_string()))?
                .map_err(|error| not_kept(error.to_string()))?,
            None => {
                tracing::warn!(
                    "the secret that came with the pairing is used, but kept nowhere: the configuration holds another one"
                );
                secret.into()
            }
        };
        let set = self.ask_swarm(|reply| TrustCommand::SetSecrets { secrets, reply }).await;
        set.ok_or_else(|| not_kept("this node's network is stopping".into()))?;
        let peer = session.peer.clone();
        tracing::info!(%peer, "joined the mesh by pairing");
        let found = FoundPeer { peer: Some(peer.clone()), addresses: welcome.addresses };
        if self.deps.found.tell(PeersFound { source: Source::Invitation, found: vec![found] }).is_err() {
            self.metrics.events.with_label_values(&["discovery", "dropped"]).inc();
        }
        // The connection may be gone by now; discovery knows where the peer is.
        let target = address::parse(text).map(Target::Address).unwrap_or(Target::Peer(session.remote));
        if let Err(failed) = self.reach(text, target, false, Until::Admitted, deadline).await {
            tracing::warn!(%peer, error = %failed, "paired, but not connected yet");
        }
        Ok(PairedWith { peer, address: text.to_owned() })
    }
}

/// The joining side, to its end.
async fn join(
    mut pipe: FramePipe<Stream>,
    mut joiner: Joiner,
    start: PairingFrame,
) -> Result<Asked, ExchangeError> {
    send(&mut pipe, &start)?;
    loop {
        match joiner.receive(receive(&mut pipe).await?)? {
            JoinerStep::Send(frame) => send(&mut pipe, &frame)?,
            JoinerStep::Welcome(welcome) => return Ok(Asked::Welcome(welcome)),
            JoinerStep::Refused => return Ok(Asked::Refused),
        }
    }
}
