//! What a node of the tests serves: artifacts, honestly or not, and requests that are answered at once or never.

use crate::NodeIdentity;
use bytes::Bytes;
use meshwork_kit::Envelope;
use meshwork_proto::artifact::{AppendArtifact, ArtifactError, ArtifactPiece, ArtifactPresence};
use meshwork_proto::discovery::PeerView;
use meshwork_proto::transport::ServeRequest;
use meshwork_proto::wire::{ListNodeTools, MeshReply, MeshRequest, ReadPiece};
use meshwork_proto::{Cid, ErrorCode, MeshError, PeerId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the network around a node sees and holds.
#[derive(Default)]
pub(crate) struct Service {
    pub(crate) artifacts: Mutex<BTreeMap<Cid, Bytes>>,
    /// Pieces received.
    pub(crate) partial: Mutex<BTreeMap<Cid, Vec<u8>>>,
    /// Offsets of the pieces that peers asked for.
    pub(crate) pieces_read: Mutex<Vec<u64>>,
    /// Requests held open now.
    pub(crate) held: AtomicUsize,
    /// Held requests whose askers went away.
    pub(crate) abandoned: AtomicUsize,
    pub(crate) lies: Mutex<Lies>,
}

/// How a dishonest node serves artifacts.
#[derive(Default, Clone, Copy)]
pub(crate) struct Lies {
    /// Flips a bit in each piece.
    pub(crate) corrupt: bool,
    /// Claims another length.
    pub(crate) longer: bool,
    /// Sends at most so many bytes.
    pub(crate) at_most: Option<usize>,
    /// Sends more than asked for: the whole artifact.
    pub(crate) everything: bool,
    /// Answers no piece from this offset on.
    pub(crate) silent_from: Option<u64>,
}

impl Service {
    pub(super) fn serve(self: &Arc<Self>, envelope: Envelope<ServeRequest>) {
        let (ServeRequest { caller, request }, mut reply) = envelope.into_parts();
        match request {
            MeshRequest::ListTools(ListNodeTools) => reply.send(Ok(MeshReply::Tools(Vec::new()))),
            MeshRequest::ListPeers(_) => {
                // Shows the asker as whom it is seen.
                let (peer, role) = match caller {
                    meshwork_proto::Caller::Peer { peer, role } => (peer, Some(role)),
                    meshwork_proto::Caller::Local => (NodeIdentity::generate().peer_id(), None),
                };
                reply.send(Ok(MeshReply::Peers(vec![seen_as(peer, role)])));
            }
            MeshRequest::ReadArtifact(piece)
                if self.lies.lock().unwrap().silent_from.is_some_and(|from| piece.offset >= from) =>
            {
                self.hold(async move { reply.abandoned().await });
            }
            MeshRequest::ReadArtifact(piece) => reply.send(self.read(&piece)),
            MeshRequest::Announce(_) => self.hold(async move { reply.abandoned().await }),
            other => {
                let message = format!("{} is not served here", other.name());
                reply.send(Err(MeshError::new(ErrorCode::InvalidArgument, message)));
            }
        }
    }

    fn hold(self: &Arc<Self>, until_abandoned: impl Future<Output = ()> + Send + 'static) {
        let service = Arc::clone(self);
        service.held.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            until_abandoned.await;
            service.held.fetch_sub(1, Ordering::SeqCst);
            service.abandoned.fetch_add(1, Ordering::SeqCst);
        });
    }

    fn read(&self, piece: &ReadPiece) -> Result<MeshReply, MeshError> {
        let lies = *self.lies.lock().unwrap();
        self.pieces_read.lock().unwrap().push(piece.offset);
        let artifacts = self.artifacts.lock().unwrap();
        let Some(whole) = artifacts.get(&piece.cid) else {
            return Err(MeshError::from_coded(&ArtifactError::Unknown(piece.cid)));
        };
        let from = usize::try_from(piece.offset).unwrap().min(whole.len());
        let asked = usize::try_from(piece.max_len).unwrap().min(lies.at_most.unwrap_or(usize::MAX));
        let to = if lies.everything { whole.len() } else { (from + asked).min(whole.len()) };
        let mut bytes = whole.slice(from..to).to_vec();
        if lies.corrupt && !bytes.is_empty() {
            bytes[0] ^= 1;
        }
        let total_len = whole.len() as u64 + u64::from(lies.longer);
        Ok(MeshReply::Piece(ArtifactPiece { total_len, bytes: bytes.into() }))
    }

    pub(super) fn stat(&self, cid: Cid) -> ArtifactPresence {
        if let Some(whole) = self.artifacts.lock().unwrap().get(&cid) {
            return ArtifactPresence::Whole { len: whole.len() as u64 };
        }
        match self.partial.lock().unwrap().get(&cid) {
            Some(part) => ArtifactPresence::Partial { have: part.len() as u64 },
            None => ArtifactPresence::Absent,
        }
    }

    pub(super) fn append(&self, piece: &AppendArtifact) -> Result<ArtifactPresence, ArtifactError> {
        let mut partial = self.partial.lock().unwrap();
        let part = partial.entry(piece.cid).or_default();
        if part.len() as u64 != piece.offset {
            let have = part.len() as u64;
            return Err(ArtifactError::OutOfOrder { cid: piece.cid, offset: piece.offset, have });
        }
        part.extend_from_slice(&piece.bytes);
        if (part.len() as u64) < piece.total_len {
            return Ok(ArtifactPresence::Partial { have: part.len() as u64 });
        }
        let whole = partial.remove(&piece.cid).unwrap();
        let found = Cid::of(&whole);
        if found != piece.cid {
            return Err(ArtifactError::Mismatch { expected: piece.cid, found });
        }
        let len = whole.len() as u64;
        self.artifacts.lock().unwrap().insert(piece.cid, whole.into());
        Ok(ArtifactPresence::Whole { len })
    }
}

fn seen_as(peer: PeerId, role: Option<meshwork_proto::Role>) -> PeerView {
    PeerView {
        peer,
        addresses: Vec::new(),
        connected: true,
        role,
        advertisement: None,
        rtt_us: None,
        last_seen: None,
    }
}
