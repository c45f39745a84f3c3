//! The stream for this node's requests to a peer: many in flight, each with a deadline, answered in any order.
//!
//! One task per link writes requests (those that wait go out in one write) and reads replies. An asker that goes away
//! has its request abandoned at the other side. When the stream breaks, everything under way ends as lost.

use crate::pipe::{Flow, FramePipe, PipeError};
use crate::session::locked;
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use meshwork_proto::codec::{decode_wire, encode_wire};
use meshwork_proto::wire::{
    MAX_WIRE_FRAME, MESHWORK_PROTOCOL, MESHWORK_PROTOCOL_1, MESHWORK_PROTOCOL_2, MeshReply, WireFrame,
};
use meshwork_proto::{MeshError, PeerId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Protocols of request streams, the one that is liked best first.
pub(crate) const REQUEST_PROTOCOLS: [&str; 3] = [MESHWORK_PROTOCOL, MESHWORK_PROTOCOL_2, MESHWORK_PROTOCOL_1];
/// Frames between the askers and the task that writes them.
const FRAME_QUEUE: usize = 256;

/// What a peer answered.
pub(crate) type Answer = Result<MeshReply, MeshError>;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// The stream was closed before the request went out: it can be sent over another.
    NotSent,
    /// The stream broke while the request was under way.
    Lost,
    /// The deadline passed.
    Timeout,
}

/// The requests under way.
#[derive(Debug, Default)]
struct Pending {
    closed: bool,
    askers: BTreeMap<u64, oneshot::Sender<Answer>>,
}

/// The version of the wire that a protocol of request streams stands for.
pub(crate) fn version_of(protocol: &StreamProtocol) -> u8 {
    match protocol.as_ref() {
        MESHWORK_PROTOCOL_1 => 1,
        MESHWORK_PROTOCOL_2 => 2,
        _ => 3,
    }
}

/// A stream for requests.
#[derive(Debug)]
pub(crate) struct Link {
    /// Version of the wire that both sides speak on it.
    pub(crate) version: u8,
    frames: mpsc::Sender<Bytes>,
    pending: Arc<Mutex<Pending>>,
    stop: CancellationToken,
    retired: AtomicBool,
}

impl Link {
    /// A link over a stream, and the task that drives it; `offence` is called when the peer breaks the protocol.
    pub(crate) fn new<S>(
        pipe: FramePipe<S>,
        version: u8,
        peer: PeerId,
        offence: impl FnOnce() + Send,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (frames, queue) = mpsc::channel(FRAME_QUEUE);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let stop = CancellationToken::new();
        let link = Arc::new(Self {
            version,
            frames,
            pending: Arc::clone(&pending),
            stop: stop.clone(),
            retired: AtomicBool::new(false),
        });
        let task = async move {
            // Also when this task is dropped half way.
            let ends = EndsPending(pending);
            match drive(pipe, queue, &ends.0, stop).await {
                Ok(()) => tracing::debug!(%peer, "request stream ended"),
                Err(error) => {
                    tracing::debug!(%peer, %error, "request stream broke");
                    if error.is_offence() {
                        offence();
                    }
                }
            }
        };
        (link, task)
    }

    /// Whether it takes no new requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || locked(&self.pending).closed
    }

    /// What is under way goes on; new requests go over another stream, on a better connection.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Gives up the stream and everything under way on it.
    pub(crate) fn close(&self) {
        end(&self.pending);
        self.stop.cancel();
    }

    /// Sends an encoded request and waits for its answer.
    pub(crate) async fn ask(&self, id: u64, frame: Bytes, deadline: Instant) -> Result<Answer, LinkError> {
        let (asker, answer) = oneshot::channel();
        {
            let mut pending = locked(&self.pending);
            if pending.closed {
                return Err(LinkError::NotSent);
            }
            pending.askers.insert(id, asker);
        }
        let mut under_way = UnderWay { link: self, id, sent: false };
        match timeout_at(deadline, self.frames.send(frame)).await {
            Ok(Ok(())) => under_way.sent = true,
            Ok(Err(_)) => return Err(LinkError::NotSent),
            Err(_) => return Err(LinkError::Timeout),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(LinkError::Lost),
            Err(_) => Err(LinkError::Timeout),
        }
    }
}

/// A request whose asker still waits; dropped earlier, the other side is told to stop.
struct UnderWay<'a> {
    link: &'a Link,
    id: u64,
    sent: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let unanswered = locked(&self.link.pending).askers.remove(&self.id).is_some();
        if !unanswered || !self.sent {
            return;
        }
        let Ok(frame) = encode_wire(&WireFrame::Abandon { id: self.id }, MAX_WIRE_FRAME) else { return };
        // With a full queue the other side works on until the request's deadline, which it knows.
        if self.link.frames.try_send(frame.into()).is_err() {
            tracing::debug!(id = self.id, "request could not be abandoned: the stream is clogged");
        }
    }
}

struct EndsPending(Arc<Mutex<Pending>>);

impl Drop for EndsPending {
    fn drop(&mut self) {
        end(&self.0);
    }
}

/// Every asker sees its request lost.
fn end(pending: &Mutex<Pending>) {
    let askers = {
        let mut pending = locked(pending);
        pending.closed = true;
        std::mem::take(&mut pending.askers)
    };
    drop(askers);
}

async fn drive<S>(
    mut pipe: FramePipe<S>,
    mut queue: mpsc::Receiver<Bytes>,
    pending: &Mutex<Pending>,
    stop: CancellationToken,
) -> Result<(), LinkFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stopped = stop.cancelled();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return Ok(()),
            frame = queue.recv(), if !pipe.is_clogged() => match frame {
                Some(frame) => pipe.push(&frame).map_err(PipeError::from)?,
                None => return Ok(()),
            },
            flow = pipe.next() => match flow? {
                Flow::Frame(frame) => deliver(&frame, pending)?,
                Flow::Room => {}
                Flow::End => return Ok(()),
            },
        }
        tokio::task::consume_budget().await;
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkFailure {
    #[error(transparent)]
    Pipe(#[from] PipeError),
    #[error("{0}")]
    Codec(#[from] meshwork_proto::codec::CodecError),
    #[error("the peer sent something else than replies on the stream for this node's requests")]
    Direction,
}

impl LinkFailure {
    /// Whether an honest peer could not have caused it.
    const fn is_offence(&self) -> bool {
        match self {
            Self::Pipe(error) => error.is_offence(),
            Self::Codec(_) | Self::Direction => true,
        }
    }
}

fn deliver(frame: &[u8], pending: &Mutex<Pending>) -> Result<(), LinkFailure> {
    match decode_wire::<WireFrame>(frame, MAX_WIRE_FRAME)? {
        WireFrame::Reply { id, result } => {
            // Unknown ids are answers to requests that were abandoned meanwhile.
            if let Some(asker) = locked(pending).askers.remove(&id) {
                // An asker that went away this moment misses it.
                let _ = asker.send(result);
            }
            Ok(())
        }
        WireFrame::Request { .. } | WireFrame::Abandon { .. } => Err(LinkFailure::Direction),
    }
}
