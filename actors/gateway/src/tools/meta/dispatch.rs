//! Calling a tool of any category.

use super::catalogue::{self, connected, unknown_tool};
use super::{Dispatch, DispatchIn};
use crate::node::{At, Node, ask, millis};
use crate::tools::{Category, Failure, Listener, MeshTool, input, table};
use futures::future::BoxFuture;
use meshwork_proto::executor::{CallTool, ToolError, ToolOutput};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::{Json, PeerId};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a tool that is called directly may take; longer work is for tasks.
const CALL: Duration = Duration::from_secs(300);
/// What the executor may need on top, to stop a tool and answer.
const GRACE: Duration = Duration::from_secs(15);

/// The entry of the table: reads the arguments and calls.
pub(in crate::tools) fn run_dispatch<'a>(
    node: &'a Node,
    fields: &'a [String],
    arguments: JsonObject,
    listener: &'a Listener,
) -> BoxFuture<'a, CallToolResult> {
    Box::pin(async move {
        let outcome = match input::parse::<<Dispatch as MeshTool>::Input>(fields, arguments) {
            Ok(input) => {
                let input: DispatchIn = input;
                super::dispatch(node, input, listener).await
            }
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(Failure::into_result)
    })
}

/// Calls a tool where it is.
pub(super) async fn call(
    node: &Node,
    category: &str,
    name: &str,
    params: JsonObject,
    peer: Option<&str>,
    listener: &Listener,
) -> Result<CallToolResult, Failure> {
    if let Some(category) = Category::named(category) {
        return own(node, category, name, params, peer, listener).await;
    }
    let call = CallTool {
        tool: name.to_owned(),
        arguments: Json::from_value(&Value::Object(params)),
        timeout_ms: millis(CALL),
    };
    if let At::Peer(target) = node.at(peer)? {
        return at_peer(node, target, call).await;
    }
    match catalogue::find(node, category).await? {
        catalogue::Place::Own(category) => own(node, category, name, JsonObject::new(), None, listener).await,
        catalogue::Place::Peer { peer, tools } => {
            if !tools.iter().any(|info| info.name == name) {
                return Err(unknown_tool(category, name, tools.into_iter().map(|info| info.name).collect()));
            }
            at_peer(node, PeerTarget::Id(peer), call).await
        }
        catalogue::Place::Executor { tools } => {
            if tools.iter().any(|info| info.name == name) {
                return here(node, call).await;
            }
            match peer_with(node, name).await? {
                Some(peer) => at_peer(node, PeerTarget::Id(peer), call).await,
                None => Err(unknown_tool(category, name, tools.into_iter().map(|info| info.name).collect())),
            }
        }
    }
}

/// Calls one of this node's own MCP tools; a peer becomes its argument.
async fn own(
    node: &Node,
    category: Category,
    name: &str,
    mut params: JsonObject,
    peer: Option<&str>,
    listener: &Listener,
) -> Result<CallToolResult, Failure> {
    let Some((_, registered)) = table().of(category).find(|(own, _)| *own == name) else {
        let names = table().of(category).map(|(own, _)| own.to_owned()).collect();
        return Err(unknown_tool(category.name(), name, names));
    };
    if let Some(peer) = peer {
        if !registered.takes_peer() {
            return Err(Failure::invalid(format!("{name} acts at this node only: leave peer out")));
        }
        if params.contains_key("peer") {
            return Err(Failure::invalid("peer is given twice, beside params and in them: give it once"));
        }
        params.insert("peer".into(), peer.into());
    }
    Ok(registered.call(node, params, listener).await)
}

/// Calls a tool of the own executor, directly, so that the error of an upstream server comes back as it sent it.
async fn here(node: &Node, call: CallTool) -> Result<CallToolResult, Failure> {
    match ask(&node.ports.executor.call, call, CALL.saturating_add(GRACE)).await? {
        Ok(output) => Ok(relay(&output)),
        Err(ToolError::Failed { mcp_result: Some(raw), .. }) => Ok(relay_raw(&raw)),
        Err(error) => Err(error.to_mesh_error().into()),
    }
}

async fn at_peer(node: &Node, target: PeerTarget, call: CallTool) -> Result<CallToolResult, Failure> {
    let answer = node.ask(&At::Peer(target), call, CALL.saturating_add(GRACE)).await?;
    Ok(relay(&answer.value))
}

/// The connected peer that has a tool, the nearest one if several have.
async fn peer_with(node: &Node, tool: &str) -> Result<Option<PeerId>, Failure> {
    let having = connected(node)
        .await?
        .into_iter()
        .filter(|view| view.advertisement.as_ref().is_some_and(|said| said.tools.contains(tool)))
        .min_by_key(|view| (view.rtt_us.unwrap_or(u64::MAX), view.peer.clone()));
    Ok(having.map(|view| view.peer))
}

fn relay(output: &ToolOutput) -> CallToolResult {
    match &output.mcp_result {
        Some(raw) => relay_raw(raw),
        None => match output.result.to_value() {
            object @ Value::Object(_) => CallToolResult::structured(object),
            // Clients of the older era accept only objects as structured content.
            other => CallToolResult::structured(json!({ "result": other })),
        },
    }
}

/// The result of an upstream server as it sent it. What the SDK's types cannot hold goes along as structured content
/// and text, so that nothing is lost.
fn relay_raw(raw: &Json) -> CallToolResult {
    if let Ok(result) = serde_json::from_slice::<CallToolResult>(raw.bytes()) {
        return result;
    }
    let value = raw.to_value();
    let failed = value.get("isError").and_then(Value::as_bool).unwrap_or(false);
    let mut result = CallToolResult::structured(json!({ "result": value }));
    result.content = vec![ContentBlock::text(String::from_utf8_lossy(raw.bytes()))];
    result.is_error = Some(failed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(value: Value) -> CallToolResult {
        relay_raw(&Json::from_value(&value))
    }

    #[test]
    fn a_result_that_the_sdk_knows_is_relayed_as_it_is() {
        let sent = json!({"content": [{"type": "text", "text": "hi"}], "isError": true});
        assert_eq!(serde_json::to_value(raw(sent.clone())).unwrap(), sent);
    }

    #[test]
    fn a_result_that_the_sdk_does_not_know_loses_nothing() {
        let sent = json!({"content": [{"type": "hologram", "rays": 3}], "isError": false});
        let relayed = raw(sent.clone());
        assert_eq!(relayed.structured_content, Some(json!({ "result": sent })));
        assert_eq!(relayed.is_error, Some(false));
    }

    #[test]
    fn a_result_that_is_no_object_is_wrapped_in_one() {
        let output = ToolOutput { result: Json::from_value(&json!([1, 2])), mcp_result: None };
        assert_eq!(relay(&output).structured_content, Some(json!({"result": [1, 2]})));
    }
}
