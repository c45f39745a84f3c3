//! Documents and their content ids: canonical bytes, verification, and which tool a payload names.

use crate::options::MAX_DOCUMENT;
use bytes::Bytes;
use meshwork_proto::canonical::{CanonicalError, Limits, parse_strict, to_canonical};
use meshwork_proto::task::TOOL_CALL;
use meshwork_proto::{Cid, ErrorCode, MeshError};
use serde_json::Value;

/// Documents from this size on are worked on where it keeps nobody waiting.
const LARGE: usize = 64 * 1024;

/// The canonical bytes of a document and their content id.
pub(crate) fn canonical(field: &str, value: &Value) -> Result<(Bytes, Cid), MeshError> {
    let bytes = to_canonical(value).map_err(|error| unusable(field, &error))?;
    let cid = Cid::of(&bytes);
    Ok((bytes.into(), cid))
}

/// Parses a document and checks that it is the one its content id names.
///
/// A result that has no canonical form (an integer beyond 2^53, say) is named by its bytes as they are.
pub(crate) fn verified(bytes: &Bytes, cid: &Cid, field: &str) -> Result<Value, MeshError> {
    let strict = parse_strict(bytes, &limits());
    if Cid::of(bytes) == *cid {
        return match strict {
            Ok(value) => Ok(value),
            Err(error) => serde_json::from_slice(bytes).map_err(|_| unusable(field, &error)),
        };
    }
    let value = strict.map_err(|error| unusable(field, &error))?;
    let (_, found) = canonical(field, &value)?;
    if found == *cid {
        return Ok(value);
    }
    let message = format!("{field} is {cid}, but the document has the content id {found}");
    Err(MeshError::new(ErrorCode::InvalidArgument, message))
}

/// What a document may be like: as large as a payload may be.
fn limits() -> Limits {
    Limits { max_bytes: MAX_DOCUMENT, ..Limits::default() }
}

/// Parses a document as untrusted JSON.
pub(crate) fn strict(bytes: &[u8], field: &str) -> Result<Value, MeshError> {
    parse_strict(bytes, &limits()).map_err(|error| unusable(field, &error))
}

/// Parses a stored document, a large one on a thread for blocking work.
pub(crate) async fn parse(bytes: Bytes) -> Result<Value, MeshError> {
    read(bytes, |bytes| strict(bytes, "payload")).await
}

/// Reads a document, a large one on a thread for blocking work.
pub(crate) async fn read(
    bytes: Bytes,
    read: impl FnOnce(&[u8]) -> Result<Value, MeshError> + Send + 'static,
) -> Result<Value, MeshError> {
    if bytes.len() < LARGE {
        return read(&bytes);
    }
    let parsed = tokio::task::spawn_blocking(move || read(&bytes)).await;
    parsed.unwrap_or_else(|_| Err(MeshError::new(ErrorCode::Unavailable, "the node is stopping")))
}

/// The tool that runs a task: the payload's member `tool` for the type `tool.call`, else the type itself.
pub(crate) fn resolve_tool(task_type: &str, payload: &Value) -> Result<String, MeshError> {
    let wrong = |message: String| Err(MeshError::new(ErrorCode::InvalidArgument, message));
    let Some(members) = payload.as_object() else {
        return wrong("payload is not a JSON object: it holds the arguments of the tool by name".into());
    };
    if task_type != TOOL_CALL {
        return Ok(task_type.to_owned());
    }
    let expected = "expected {\"tool\": NAME, \"arguments\": {...}} for the type tool.call";
    if members.get("arguments").is_some_and(|arguments| !arguments.is_object()) {
        return wrong(format!("payload.arguments is not a JSON object: {expected}"));
    }
    match members.get("tool") {
        Some(Value::String(tool)) if !tool.is_empty() => Ok(tool.clone()),
        Some(_) => wrong(format!("payload.tool is not the name of a tool: {expected}")),
        None => wrong(format!("payload.tool is missing: {expected}")),
    }
}

fn unusable(field: &str, error: &CanonicalError) -> MeshError {
    MeshError::new(ErrorCode::InvalidJson, format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tool_is_the_type_or_what_the_payload_of_a_tool_call_names() {
        assert_eq!(resolve_tool("echo", &json!({"tool": "x"})).unwrap(), "echo");
        assert_eq!(resolve_tool(TOOL_CALL, &json!({"tool": "x", "arguments": {}})).unwrap(), "x");
        for wrong in [json!([]), json!({}), json!({"tool": 1}), json!({"tool": "x", "arguments": []})] {
            assert_eq!(
                resolve_tool(TOOL_CALL, &wrong).unwrap_err().code,
                ErrorCode::InvalidArgument,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_document_in_another_spelling_still_has_its_content_id_and_another_document_has_not() {
        let (_, cid) = canonical("payload", &json!({"a": 1, "b": [true]})).unwrap();
        let spelled = Bytes::from_static(b"{ \"b\" : [true], \"a\" : 1.0 }");
        assert!(verified(&spelled, &cid, "input_cid").is_ok());
        let other = verified(&Bytes::from_static(b"{}"), &cid, "input_cid").unwrap_err();
        assert_eq!(other.code, ErrorCode::InvalidArgument);
        assert!(other.message.contains("input_cid"));
        let twice = verified(&Bytes::from_static(b"{\"a\":1,\"a\":2}"), &cid, "input_cid").unwrap_err();
        assert_eq!(twice.code, ErrorCode::InvalidJson);
    }

    #[test]
    fn a_result_without_canonical_form_is_named_by_its_bytes() {
        let bytes = Bytes::from_static(b"{\"n\":18446744073709551615}");
        assert!(verified(&bytes, &Cid::of(&bytes), "output_cid").is_ok());
    }
}
