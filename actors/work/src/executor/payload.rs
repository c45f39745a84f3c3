//! Payloads of tasks: small ones come inside the grant, large ones are artifacts; results the other way round.

use super::logic::Source;
use super::options::MAX_PAYLOAD_BYTES;
use super::tool::canonical_output;
use super::work::{Work, unasked};
use bytes::{Bytes, BytesMut};
use meshwork_proto::artifact::{ARTIFACT_CHUNK, PutArtifact, ReadArtifact};
use meshwork_proto::executor::{ToolError, ToolOutput};
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::transport::FetchArtifact;
use meshwork_proto::{Cid, Coded, ErrorCode, Json, MeshError};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest transfer of a payload from its owner.
const FETCH_WITHIN: Duration = Duration::from_secs(300);
/// Longest wait for this node's own store.
const STORE_WITHIN: Duration = Duration::from_secs(30);

/// The document of a payload; a large one is fetched from the task's owner first.
///
/// # Errors
/// Why it could not be had.
pub(super) async fn load(work: &Work, owner: &Source, payload: &Payload) -> Result<Json, MeshError> {
    let (cid, len) = match payload {
        Payload::Inline(json) => return Ok(json.clone()),
        Payload::Stored { cid, len } => (*cid, *len),
    };
    let max = work.tools.options.max_input_bytes;
    if len > max {
        let message = format!("payload of {len} bytes is larger than the {max} bytes this worker loads");
        return Err(MeshError::new(ErrorCode::TooLarge, message));
    }
    if let Source::Peer(peer) = owner {
        let deadline_ms = super::tool::millis(FETCH_WITHIN);
        let fetch = FetchArtifact { from: peer.clone(), cid, len, deadline_ms };
        let fetched =
            work.deps.fetch.ask(fetch, FETCH_WITHIN + Duration::from_secs(1)).await.map_err(unasked)?;
        fetched.map_err(|error| MeshError::from_coded(&error))?;
    }
    read(work, &cid, len).await.map(Json::from_checked)
}

async fn read(work: &Work, cid: &Cid, len: u64) -> Result<Bytes, MeshError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    // Not all at once: the length is what the owner says, and nothing of it may be there.
    let mut whole = BytesMut::with_capacity(len.min(ARTIFACT_CHUNK));
    while whole.len() < len {
        let max_len = u32::try_from(ARTIFACT_CHUNK.min(len - whole.len())).unwrap_or(u32::MAX);
        let request = ReadArtifact { cid: *cid, offset: whole.len() as u64, max_len };
        let piece = work.deps.read_artifact.ask(request, STORE_WITHIN).await.map_err(unasked)?;
        let piece = piece.map_err(|error| MeshError::new(error.code(), error.to_string()))?;
        if piece.bytes.is_empty() || piece.total_len != len as u64 {
            let message = format!("payload {cid} has {} bytes, not {len} as its task says", piece.total_len);
            return Err(MeshError::new(ErrorCode::Corrupt, message));
        }
        whole.extend_from_slice(&piece.bytes);
    }
    Ok(whole.freeze())
}

/// The arguments inside the payload `{tool, arguments}` of a `tool.call`; none given = an empty object.
///
/// # Errors
/// What is wrong with the payload.
pub(super) fn tool_call(payload: &Json, tool: &str) -> Result<Json, String> {
    type Members<'a> = BTreeMap<String, &'a serde_json::value::RawValue>;
    let members: Members<'_> = serde_json::from_slice(payload.bytes())
        .map_err(|error| format!("payload must be an object with tool and arguments: {error}"))?;
    let named = members.get("tool").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    if named.as_deref() != Some(tool) {
        return Err(format!("payload must name the tool {tool:?} in its member tool"));
    }
    let arguments = members.get("arguments").map_or("{}", |raw| raw.get());
    Ok(Json::from_checked(Bytes::copy_from_slice(arguments.as_bytes())))
}

/// The result as it is reported, and the content id of its canonical form; an error comes with whether another attempt
/// may help.
///
/// # Errors
/// When it is no JSON, too large, or cannot be stored.
pub(super) async fn store(
    work: &Work,
    tool: &str,
    output: ToolOutput,
) -> Result<(Payload, Cid), (MeshError, bool)> {
    let unusable = |error: ToolError| (error.to_mesh_error(), true);
    let canonical = match output {
        // What an upstream sent is relayed as it is to whoever asks directly; a task's result is canonical.
        ToolOutput { result, mcp_result: Some(_) } => {
            canonical_output(tool, result.bytes().to_vec()).await.map_err(unusable)?
        }
        ToolOutput { result, mcp_result: None } => result,
    };
    let len = canonical.len() as u64;
    if len > MAX_PAYLOAD_BYTES {
        let problem = format!("it has {len} bytes: at most {MAX_PAYLOAD_BYTES} are kept");
        return Err(unusable(ToolError::Output { tool: tool.to_owned(), problem }));
    }
    if canonical.len() <= INLINE_LIMIT {
        let cid = Cid::of(canonical.bytes());
        return Ok((Payload::Inline(canonical), cid));
    }
    let put = PutArtifact(canonical.bytes().clone());
    let stored =
        work.deps.put_artifact.ask(put, STORE_WITHIN).await.map_err(|error| (unasked(error), true))?;
    let cid = stored
        .map_err(|error| (MeshError::new(error.code(), format!("result cannot be stored: {error}")), true))?;
    Ok((Payload::Stored { cid, len }, cid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(payload: serde_json::Value) -> Result<serde_json::Value, String> {
        tool_call(&Json::from_value(&payload), "echo").map(|json| json.to_value())
    }

    #[test]
    fn the_arguments_of_a_tool_call_are_its_member_and_may_be_left_out() {
        assert_eq!(call(json!({"tool": "echo", "arguments": {"a": 1}})), Ok(json!({"a": 1})));
        assert_eq!(call(json!({"tool": "echo"})), Ok(json!({})));
        for wrong in [json!([]), json!({}), json!({"tool": 1}), json!({"tool": "other"})] {
            assert!(call(wrong).is_err());
        }
    }
}
