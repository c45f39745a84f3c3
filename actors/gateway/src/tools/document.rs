//! Documents as clients give and read them: small ones travel inside of messages, large ones are in the artifact store.

use crate::dispatch::{Artifacts, read_document};
use crate::node::Node;
use crate::options::MAX_DOCUMENT;
use bytes::Bytes;
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, PeerId};
use serde_json::Value;
use std::time::Duration;

/// Largest document that is given in an answer, in bytes.
const MAX_SHOWN: u64 = MAX_DOCUMENT as u64;
/// How long fetching a large document from its owner may take.
const FETCH: Duration = Duration::from_secs(60);

/// A document as it is handed on: a small one inline, others by content id, put into the own artifact store. A peer that is
/// to have it fetches it from here.
pub(super) async fn keep(
    artifacts: &Artifacts,
    what: &str,
    bytes: Bytes,
    cid: Cid,
) -> Result<Payload, MeshError> {
    if bytes.len() <= INLINE_LIMIT {
        return Ok(Payload::Inline(Json::from_checked(bytes)));
    }
    if bytes.len() > MAX_DOCUMENT {
        let message =
            format!("{what} of {} bytes is larger than the limit of {MAX_DOCUMENT} bytes", bytes.len());
        return Err(MeshError::new(ErrorCode::TooLarge, message));
    }
    let len = bytes.len() as u64;
    let stored = artifacts.put(bytes).await?;
    debug_assert_eq!(stored, cid, "the store names bytes as we do");
    Ok(Payload::Stored { cid: stored, len })
}

/// A result as an answer shows it: from wherever it is, or null and what to do when it is too large for an answer.
pub(super) async fn show(
    node: &Node,
    owner: &PeerId,
    document: &Payload,
) -> Result<(Value, Option<String>), MeshError> {
    match document {
        Payload::Inline(json) => Ok((json.to_value(), None)),
        Payload::Stored { cid, len } if *len > MAX_SHOWN => {
            Ok((Value::Null, Some(too_large(cid, *len, owner))))
        }
        Payload::Stored { cid, len } => Ok((stored(node, owner, cid, *len).await?, None)),
    }
}

/// Reads a result from the artifact store, fetching it from its owner first if it is not here.
async fn stored(node: &Node, owner: &PeerId, cid: &Cid, len: u64) -> Result<Value, MeshError> {
    if owner != node.local() {
        node.artifacts.ensure(cid, len, owner, FETCH).await?;
    }
    let bytes = node.artifacts.read_whole(cid).await?;
    let cid = *cid;
    let parse = move |bytes: &[u8]| {
        serde_json::from_slice(bytes).map_err(|error| {
            MeshError::new(ErrorCode::Corrupt, format!("result stored as {cid} cannot be read: {error}"))
        })
    };
    read_document(bytes, parse).await
}

fn too_large(cid: &Cid, len: u64, owner: &PeerId) -> String {
    format!(
        "the result of {len} bytes is larger than the {MAX_SHOWN} bytes that an answer carries: it is the artifact {cid} \
         in the store of peer {owner}; have the tool give a summary, or write a file and give its name"
    )
}
