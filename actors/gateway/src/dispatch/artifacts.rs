//! The artifact store as the gateway uses it: whole documents in, whole documents out.

use crate::node::{ask, millis};
use crate::options::MAX_DOCUMENT;
use crate::wiring::{ArtifactPorts, NodePorts};
use bytes::{Bytes, BytesMut};
use meshwork_kit::Port;
use meshwork_proto::artifact::{
    ARTIFACT_CHUNK, ArtifactError, ArtifactPiece, ArtifactPresence, PutArtifact, ReadArtifact, StatArtifact,
};
use meshwork_proto::transport::FetchArtifact;
use meshwork_proto::wire::ReadPiece;
use meshwork_proto::{Cid, ErrorCode, MeshError, PeerId};
use std::time::Duration;

/// How long one access to the own store may take.
const SOON: Duration = Duration::from_secs(15);
/// Most bytes that one message asks for.
const CHUNK: u32 = 256 * 1024;
const _: () = assert!(CHUNK as usize == ARTIFACT_CHUNK);

/// The artifact store of this node, and fetching into it.
#[derive(Debug, Clone)]
pub(crate) struct Artifacts {
    ports: ArtifactPorts,
    fetch: Port<FetchArtifact>,
}

impl Artifacts {
    pub(crate) fn new(ports: &NodePorts) -> Self {
        Self { ports: ports.artifacts.clone(), fetch: ports.fetch.clone() }
    }

    /// Stores bytes; answered when they are durable.
    pub(crate) async fn put(&self, bytes: Bytes) -> Result<Cid, MeshError> {
        ask(&self.ports.put, PutArtifact(bytes), SOON).await?.map_err(coded)
    }

    /// Makes sure that all of an artifact is here: fetches what is missing from the peer that named it.
    pub(crate) async fn ensure(
        &self,
        cid: &Cid,
        len: u64,
        from: &PeerId,
        within: Duration,
    ) -> Result<(), MeshError> {
        let presence = ask(&self.ports.stat, StatArtifact(*cid), SOON).await?.map_err(coded)?;
        match presence {
            ArtifactPresence::Whole { len: held } if held == len => Ok(()),
            ArtifactPresence::Whole { len: held } => {
                let message = format!("artifact {cid} has {held} bytes, not {len}");
                Err(MeshError::new(ErrorCode::InvalidArgument, message))
            }
            ArtifactPresence::Absent | ArtifactPresence::Partial { .. } => {
                let body = FetchArtifact { from: from.clone(), cid: *cid, len, deadline_ms: millis(within) };
                let within = within.saturating_add(Duration::from_secs(2));
                let fetched = ask(&self.fetch, body, within).await?;
                fetched.map_err(|error| MeshError::from_coded(&error))
            }
        }
    }

    /// A piece, for a peer.
    pub(crate) async fn read(&self, piece: ReadPiece) -> Result<ArtifactPiece, MeshError> {
        let ReadPiece { cid, offset, max_len } = piece;
        ask(&self.ports.read, ReadArtifact { cid, offset, max_len: max_len.min(CHUNK) }, SOON)
            .await?
            .map_err(coded)
    }

    /// All of an artifact; at most what a JSON document may have.
    pub(crate) async fn read_whole(&self, cid: &Cid) -> Result<Bytes, MeshError> {
        let mut whole = BytesMut::new();
        loop {
            let offset = whole.len() as u64;
            let piece = self.read(ReadPiece { cid: *cid, offset, max_len: CHUNK }).await?;
            if piece.total_len > MAX_DOCUMENT as u64 {
                let message = format!(
                    "artifact {cid} of {} bytes is larger than a JSON document may be ({MAX_DOCUMENT} bytes)",
                    piece.total_len
                );
                return Err(MeshError::new(ErrorCode::TooLarge, message));
            }
            whole.extend_from_slice(&piece.bytes);
            if whole.len() as u64 >= piece.total_len {
                return Ok(whole.freeze());
            }
            if piece.bytes.is_empty() {
                let message =
                    format!("artifact {cid} ends after {} of {} bytes", whole.len(), piece.total_len);
                return Err(MeshError::new(ErrorCode::Corrupt, message));
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument for map_err")]
fn coded(error: ArtifactError) -> MeshError {
    MeshError::from_coded(&error)
}
