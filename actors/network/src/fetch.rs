//! Fetching an artifact from a peer into this node's store: pieces asked for ahead, appended in order, resumed where
//! an earlier fetch was cut off. The store verifies the whole against the content id with the last piece.

use crate::call::{Deadline, piece_of};
use crate::session::locked;
use crate::shared::Core;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use meshwork_kit::AskError;
use meshwork_proto::artifact::{
    ARTIFACT_CHUNK, AppendArtifact, ArtifactPiece, ArtifactPresence, StatArtifact,
};
use meshwork_proto::transport::{CallError, CallPeer, FetchArtifact, FetchError, PeerTarget};
use meshwork_proto::wire::{MeshRequest, ReadPiece};
use meshwork_proto::{Cid, ErrorCode, MeshError};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use tokio::time::timeout_at;

/// Pieces asked for ahead: the next ones are on their way while one is being stored.
const WINDOW: usize = 4;

type Piece = (u64, Result<ArtifactPiece, CallError>);
type Window = FuturesOrdered<Pin<Box<dyn Future<Output = Piece> + Send>>>;

/// Fetches artifacts; the same one only once at a time.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    under_way: Mutex<BTreeMap<Cid, Weak<tokio::sync::Mutex<()>>>>,
}

impl Fetcher {
    /// Serves [`FetchArtifact`].
    pub(crate) async fn fetch(&self, core: &Arc<Core>, request: FetchArtifact) -> Result<(), FetchError> {
        let deadline = Deadline::in_ms(request.deadline_ms);
        let alone = self.alone_with(request.cid);
        let exchange = async {
            let _alone = alone.lock().await;
            exchange(core, &request, deadline).await
        };
        match timeout_at(deadline.at, exchange).await {
            Ok(fetched) => fetched,
            Err(_) => {
                let timeout = CallError::Timeout { target: request.from.to_string(), after_ms: deadline.ms };
                Err(FetchError::Call(timeout))
            }
        }
    }

    /// What those who fetch the same artifact take turns with: the second one finds it there.
    fn alone_with(&self, cid: Cid) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = locked(&self.under_way);
        under_way.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = under_way.get(&cid).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        under_way.insert(cid, Arc::downgrade(&turn));
        turn
    }
}

async fn exchange(core: &Arc<Core>, request: &FetchArtifact, deadline: Deadline) -> Result<(), FetchError> {
    let stat = core.deps.stat_artifact.ask(StatArtifact(request.cid), deadline.left()).await;
    match stat.map_err(|error| store_error(&error))?? {
        ArtifactPresence::Whole { .. } => Ok(()),
        ArtifactPresence::Partial { have } if have < request.len => {
            transfer(core, request, have, deadline).await
        }
        ArtifactPresence::Partial { have } => {
            Err(disagree(request, &format!("{have} bytes of it are here already")))
        }
        ArtifactPresence::Absent => transfer(core, request, 0, deadline).await,
    }
}

async fn transfer(
    core: &Arc<Core>,
    request: &FetchArtifact,
    from: u64,
    deadline: Deadline,
) -> Result<(), FetchError> {
    let mut appended = from;
    let mut asked = from;
    let mut window = Window::new();
    // An empty artifact is one empty piece.
    loop {
        while window.len() < WINDOW && (asked < request.len || (request.len == 0 && window.is_empty())) {
            window.push_back(ask_for(core, request, asked, deadline));
            asked += ARTIFACT_CHUNK as u64;
        }
        let Some((offset, piece)) = window.next().await else {
            return Err(disagree(request, "the store does not take it for whole"));
        };
        let piece = piece?;
        let expected = check(request, offset, &piece)?;
        let len = piece.bytes.len() as u64;
        let append = AppendArtifact { cid: request.cid, offset, total_len: request.len, bytes: piece.bytes };
        let presence = core.deps.append_artifact.ask(append, deadline.left()).await;
        let presence = presence.map_err(|error| store_error(&error))??;
        core.metrics.fetched_bytes.inc_by(len);
        if matches!(presence, ArtifactPresence::Whole { .. }) {
            return Ok(());
        }
        appended += len;
        if request.len == 0 || appended >= request.len {
            return Err(disagree(request, "the store does not take it for whole"));
        }
        if len < expected {
            // The peer sends smaller pieces than asked for: those under way start at the wrong places.
            window = Window::new();
            asked = appended;
        }
    }
}

fn ask_for(
    core: &Arc<Core>,
    request: &FetchArtifact,
    offset: u64,
    deadline: Deadline,
) -> Pin<Box<dyn Future<Output = Piece> + Send>> {
    let core = Arc::clone(core);
    let left = request.len.saturating_sub(offset).min(ARTIFACT_CHUNK as u64);
    // `left` is at most a chunk.
    let max_len = u32::try_from(left).unwrap_or(u32::MAX);
    let read = ReadPiece { cid: request.cid, offset, max_len };
    let target = PeerTarget::Id(request.from.clone());
    Box::pin(async move {
        let deadline_ms = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX);
        let call = CallPeer { target, request: MeshRequest::ReadArtifact(read), deadline_ms };
        (offset, core.call(call).await.and_then(piece_of))
    })
}

/// How long the piece should be; refuses one that contradicts what was announced or asked for.
fn check(request: &FetchArtifact, offset: u64, piece: &ArtifactPiece) -> Result<u64, FetchError> {
    if piece.total_len != request.len {
        return Err(disagree(request, &format!("the peer has one of {} bytes", piece.total_len)));
    }
    let expected = (request.len - offset.min(request.len)).min(ARTIFACT_CHUNK as u64);
    let len = piece.bytes.len() as u64;
    if len > expected {
        return Err(disagree(
            request,
            &format!("the peer sent {len} bytes at {offset}, asked for {expected}"),
        ));
    }
    if len == 0 && expected > 0 {
        return Err(disagree(request, &format!("the peer sent nothing at {offset}")));
    }
    Ok(expected)
}

/// The peer and the announcement do not agree: nothing that came can be relied on.
fn disagree(request: &FetchArtifact, problem: &str) -> FetchError {
    let message = format!("artifact {} was announced with {} bytes, but {problem}", request.cid, request.len);
    FetchError::Call(CallError::Refused(MeshError::new(ErrorCode::Corrupt, message)))
}

fn store_error(error: &AskError) -> FetchError {
    FetchError::Store(error.to_string())
}
