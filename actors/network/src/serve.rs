//! The streams on which peers make requests of this node.
//!
//! One task per stream reads requests, hands each to the serve port with its caller, and writes the replies as they
//! come (those that are ready together go out in one write). An abandoned request, or the end of the stream, drops
//! the work: whoever serves it sees that its asker has gone. A stranger gets a refusal to each request, and no reason.
//!
//! What breaks the protocol, and what floods, is reported as an offence; requests that are refused count for a flood as well.

use crate::metrics::{Direction, RequestTimer};
use crate::pipe::{Flow, FramePipe, PipeError};
use crate::score::THROTTLED_REQUESTS;
use crate::session::{PeerSession, Standing};
use crate::shared::Core;
use futures::future::{AbortHandle, Abortable, Aborted};
use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use meshwork_kit::AskError;
use meshwork_proto::codec::{CodecError, decode_wire, encode_wire};
use meshwork_proto::transport::{Offence, ServeRequest};
use meshwork_proto::wire::admission::NOT_ADMITTED;
use meshwork_proto::wire::{MAX_WIRE_FRAME, MeshReply, MeshRequest, WireFrame};
use meshwork_proto::{Caller, Coded, ErrorCode, MeshError, Role};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Longest time that a request is worked on, whatever deadline it names.
const MAX_WITHIN: Duration = Duration::from_secs(3600);
/// Largest frame that is read from a stranger, in bytes.
const MAX_STRANGER_FRAME: usize = 16 * 1024;
/// Requests of a stranger that are refused before its stream is closed.
const MAX_STRANGER_REQUESTS: u32 = 16;
/// How long replies that are ready may take to leave when the node stops.
const LAST_WRITES: Duration = Duration::from_millis(200);

/// Why a stream of requests was closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Pipe(#[from] PipeError),
    #[error("{0}")]
    Codec(#[from] CodecError),
    #[error("a reply came on a stream of requests")]
    Direction,
    #[error("request id {0} was used twice")]
    DuplicateId(u64),
}

impl ServeError {
    /// Whether an honest peer could not have caused it.
    const fn is_offence(&self) -> bool {
        match self {
            Self::Pipe(error) => error.is_offence(),
            Self::Codec(_) | Self::Direction | Self::DuplicateId(_) => true,
        }
    }
}

impl From<meshwork_proto::frame::FrameError> for ServeError {
    fn from(error: meshwork_proto::frame::FrameError) -> Self {
        Self::Pipe(error.into())
    }
}

/// Serves one stream, in this version of the wire, until it ends.
pub(crate) async fn serve_stream<S>(core: Arc<Core>, session: Arc<PeerSession>, stream: S, version: u8)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let peer = session.peer.clone();
    // The last frame of a handshake may still be under way on another stream.
    let (served, known) = match session.settled(core.options.admission_within).await {
        Standing::Admitted(_) => {
            let pipe = FramePipe::new(stream, MAX_WIRE_FRAME, core.metrics.traffic());
            (Serving::new(Arc::clone(&core), session, pipe, version).run().await, true)
        }
        standing => {
            let pipe = FramePipe::new(stream, MAX_STRANGER_FRAME, core.metrics.traffic());
            (refuse(&core, &session, standing, pipe).await, false)
        }
    };
    match served {
        Ok(()) => tracing::debug!(%peer, "peer's request stream ended"),
        Err(error) => {
            tracing::info!(%peer, %error, "peer's request stream closed");
            // A large request of somebody who believes to be admitted is no offence.
            if error.is_offence() && (known || !matches!(error, ServeError::Pipe(_))) {
                core.report(&peer, Offence::BadFrame);
            }
        }
    }
}

/// Says no to each request; why is for the log.
async fn refuse<S>(
    core: &Core,
    session: &PeerSession,
    standing: Standing,
    mut pipe: FramePipe<S>,
) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    core.metrics.refused_streams.with_label_values(&["not_admitted"]).inc();
    let why = match standing {
        Standing::Refused(refusal) if refusal.by_us => refusal.reason,
        Standing::Refused(_) => "it refused this node itself".to_owned(),
        _ => "it has not proved that it knows the mesh secret".to_owned(),
    };
    if core.may_log_refusal(&session.peer) {
        tracing::warn!(peer = %session.peer, "refused a request of a peer that is not admitted: {why}");
    }
    for _ in 0..MAX_STRANGER_REQUESTS {
        let Some(frame) = pipe.next_frame().await? else { break };
        if let WireFrame::Request { id, request, .. } = decode_wire(&frame, MAX_STRANGER_FRAME)? {
            too_many(core, session);
            let mut timer = core.metrics.begin(Direction::In, request.name());
            timer.outcome(ErrorCode::NotAdmitted.as_str());
            let error = MeshError::new(ErrorCode::NotAdmitted, NOT_ADMITTED);
            pipe.push(&encode_wire(&WireFrame::Reply { id, result: Err(error) }, MAX_STRANGER_FRAME)?)?;
        }
    }
    pipe.close().await?;
    Ok(())
}

/// Counts a request that is not served. Who goes on and on with such requests floods.
fn too_many(core: &Core, session: &PeerSession) {
    if session.is_flood(1, core.deps.clock.now()) {
        core.report(&session.peer, Offence::Flood);
    }
}

/// A finished piece of work: its id and, unless it was abandoned or too late, its encoded reply.
type Finished = (u64, Option<Vec<u8>>);
type Work = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// An admitted peer's stream.
struct Serving<S> {
    core: Arc<Core>,
    session: Arc<PeerSession>,
    pipe: FramePipe<S>,
    version: u8,
    work: FuturesUnordered<Work>,
    aborts: BTreeMap<u64, AbortHandle>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    fn new(core: Arc<Core>, session: Arc<PeerSession>, pipe: FramePipe<S>, version: u8) -> Self {
        Self { core, session, pipe, version, work: FuturesUnordered::new(), aborts: BTreeMap::new() }
    }

    async fn run(mut self) -> Result<(), ServeError> {
        let stopping = self.core.stopping.clone();
        let stopped = stopping.cancelled();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => break,
                Some((id, reply)) = self.work.next(), if !self.pipe.is_clogged() => {
                    self.aborts.remove(&id);
                    if let Some(reply) = reply {
                        self.pipe.push(&reply)?;
                    }
                }
                flow = self.pipe.next() => match flow? {
                    Flow::Frame(frame) => self.take(&frame)?,
                    Flow::Room => {}
                    Flow::End => return Ok(()),
                },
            }
            tokio::task::consume_budget().await;
        }
        // What is ready still leaves; the peer sees the rest as lost.
        while let Some(Some((_, reply))) = self.work.next().now_or_never() {
            if let Some(reply) = reply {
                self.pipe.push(&reply)?;
            }
        }
        match tokio::time::timeout(LAST_WRITES, self.pipe.close()).await {
            Ok(closed) => Ok(closed?),
            Err(_) => Ok(()),
        }
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), ServeError> {
        match decode_wire::<WireFrame>(frame, MAX_WIRE_FRAME)? {
            WireFrame::Request { id, deadline_ms, request } => self.begin(id, deadline_ms, request),
            WireFrame::Abandon { id } => {
                if let Some(work) = self.aborts.get(&id) {
                    work.abort();
                }
                Ok(())
            }
            WireFrame::Reply { .. } => Err(ServeError::Direction),
        }
    }

    fn begin(&mut self, id: u64, deadline_ms: u64, request: MeshRequest) -> Result<(), ServeError> {
        if self.aborts.contains_key(&id) {
            return Err(ServeError::DuplicateId(id));
        }
        let timer = self.core.metrics.begin(Direction::In, request.name());
        // Asked again for each request: a later handshake may have changed it.
        let Some(role) = self.session.role() else {
            too_many(&self.core, &self.session);
            return self.answer(id, Err(MeshError::new(ErrorCode::NotAdmitted, NOT_ADMITTED)), timer);
        };
        // Its answer would be one that the other side cannot read.
        if request.since() > self.version {
            let message =
                format!("/meshwork/{} has no {}: ask over a later version", self.version, request.name());
            return self.answer(id, Err(MeshError::new(ErrorCode::VersionMismatch, message)), timer);
        }
        let place = match self.place() {
            Ok(place) => place,
            Err(error) => return self.answer(id, Err(error), timer),
        };
        let within = Duration::from_millis(deadline_ms).min(MAX_WITHIN);
        let work = serve_one(self.request(role, request), Arc::clone(&self.core), within, timer, id, place);
        let (abort, registration) = AbortHandle::new_pair();
        let work = Abortable::new(work, registration).map(move |done| match done {
            Ok(reply) => (id, reply),
            Err(Aborted) => (id, None),
        });
        self.aborts.insert(id, abort);
        self.work.push(Box::pin(work));
        Ok(())
    }

    /// A place for one more request of the peer. Who asks far beyond what it is given floods.
    fn place(&self) -> Result<OwnedSemaphorePermit, MeshError> {
        let throttled = self.session.is_throttled();
        let limit = if throttled { THROTTLED_REQUESTS } else { usize::MAX };
        let place = (self.session.served_now() < limit)
            .then(|| Arc::clone(&self.session.inbound).try_acquire_owned().ok())
            .flatten();
        place.ok_or_else(|| {
            too_many(&self.core, &self.session);
            let message = if throttled {
                format!("only {limit} requests of this peer are served at a time, because it misbehaved")
            } else {
                let limit = self.core.options.max_requests_in;
                format!("{limit} requests of this peer are under way here already")
            };
            MeshError::new(ErrorCode::Busy, message)
        })
    }

    fn request(&self, role: Role, request: MeshRequest) -> ServeRequest {
        ServeRequest { caller: Caller::Peer { peer: self.session.peer.clone(), role }, request }
    }

    fn answer(
        &mut self,
        id: u64,
        result: Result<MeshReply, MeshError>,
        timer: RequestTimer,
    ) -> Result<(), ServeError> {
        self.pipe.push(&encode_reply(id, result, timer))?;
        Ok(())
    }
}

/// The encoded reply; none when it came too late. Holds its place until then.
async fn serve_one(
    request: ServeRequest,
    core: Arc<Core>,
    within: Duration,
    mut timer: RequestTimer,
    id: u64,
    place: OwnedSemaphorePermit,
) -> Option<Vec<u8>> {
    let result = match core.deps.serve.ask(request, within).await {
        Ok(result) => result,
        Err(AskError::Timeout { .. }) => {
            // The asker's own deadline, which began earlier: it waits no more.
            timer.outcome(ErrorCode::Timeout.as_str());
            return None;
        }
        Err(error) => Err(MeshError::from_coded(&error)),
    };
    let reply = encode_reply(id, result, timer);
    drop(place);
    Some(reply)
}

/// The encoded reply; one that is too large, or cannot be encoded, becomes the error that says so.
fn encode_reply(id: u64, result: Result<MeshReply, MeshError>, mut timer: RequestTimer) -> Vec<u8> {
    timer.outcome(result.as_ref().err().map_or("ok", |error| error.code.as_str()));
    match encode_wire(&WireFrame::Reply { id, result }, MAX_WIRE_FRAME) {
        Ok(reply) => reply,
        Err(error) => {
            timer.outcome(error.code().as_str());
            let error = MeshError::new(error.code(), format!("the answer cannot be sent: {error}"));
            // An error of one sentence always fits; an empty frame would end the stream, which is the worst case.
            encode_wire(&WireFrame::Reply { id, result: Err(error) }, MAX_WIRE_FRAME).unwrap_or_default()
        }
    }
}
