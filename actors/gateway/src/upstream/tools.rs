//! Which tools a server has.

use super::Server;
use super::names::mesh_name;
use meshwork_proto::Json;
use meshwork_proto::executor::{ToolInfo, ToolKind, UpstreamTool};
use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult};
use rmcp::service::Peer;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most tools of one server.
const MAX_TOOLS: usize = 2_000;
/// Most pages of a list.
const MAX_PAGES: usize = 200;
/// Longest description in characters.
const MAX_DESCRIPTION: usize = 8_000;
/// Largest schema in bytes.
const MAX_SCHEMA: usize = 256 * 1024;

/// A page of a list, read leniently: a tool that cannot be used does not hide the others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    title: Option<String>,
    description: Option<String>,
    input_schema: Option<Map<String, Value>>,
    output_schema: Option<Map<String, Value>>,
    annotations: Option<Map<String, Value>>,
}

/// Asks a server for its tools, page by page; sorted by name.
pub(super) async fn list(server: &Server, peer: &Peer<RoleClient>) -> Result<Vec<UpstreamTool>, String> {
    let mut found = BTreeMap::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(params));
        let failed = |error| format!("tools/list failed: {}", crate::causes::of_request(&error));
        let answer = peer.send_request(request).await.map_err(failed)?;
        let Page { tools, next_cursor } = page(answer)?;
        for tool in tools {
            if let Some(tool) = usable(server, tool)
                && found.len() < MAX_TOOLS
            {
                found.insert(tool.info.name.clone(), tool);
            }
        }
        cursor = next_cursor;
        if cursor.is_none() || found.len() >= MAX_TOOLS {
            break;
        }
    }
    if found.len() >= MAX_TOOLS || cursor.is_some() {
        tracing::warn!(
            server = server.name(),
            kept = found.len(),
            "the server lists more tools than are taken"
        );
    }
    warn_of_missing(server, &found);
    Ok(found.into_values().collect())
}

fn page(answer: ServerResult) -> Result<Page, String> {
    let value = match answer {
        ServerResult::CustomResult(custom) => Ok(custom.0),
        typed => serde_json::to_value(typed),
    };
    value
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the answer to tools/list cannot be read: {error}"))
}

/// The tool as the mesh knows it; none if it is not wanted or cannot be used.
fn usable(server: &Server, tool: Value) -> Option<UpstreamTool> {
    let tool: Tool = match serde_json::from_value(tool) {
        Ok(tool) => tool,
        Err(error) => {
            tracing::warn!(server = server.name(), %error, "a tool that cannot be read is left out");
            return None;
        }
    };
    if server.options.tools.as_ref().is_some_and(|wanted| !wanted.contains(&tool.name)) {
        return None;
    }
    let any = || Map::from_iter([("type".to_owned(), Value::from("object"))]);
    let schema = |schema: Map<String, Value>| Json::from_value(&Value::Object(schema));
    let input_schema = schema(tool.input_schema.unwrap_or_else(any));
    let output_schema = tool.output_schema.map(schema).filter(|schema| schema.len() <= MAX_SCHEMA);
    if input_schema.len() > MAX_SCHEMA {
        tracing::warn!(
            server = server.name(),
            tool = tool.name,
            "a tool with a schema that is too large is left out"
        );
        return None;
    }
    let description = tool.description.or(tool.title).unwrap_or_default();
    let info = ToolInfo {
        name: mesh_name(server.name(), &tool.name),
        category: server.name().to_owned(),
        description: description.chars().take(MAX_DESCRIPTION).collect(),
        kind: ToolKind::Mcp,
        input_schema,
        output_schema,
        annotations: tool.annotations.map(schema),
        concurrency: server.options.concurrency,
    };
    Some(UpstreamTool { info, upstream_name: tool.name })
}

/// Says which configured names the server does not have: most often a spelling.
fn warn_of_missing(server: &Server, found: &BTreeMap<String, UpstreamTool>) {
    for wanted in server.options.tools.iter().flatten() {
        if !found.values().any(|tool| tool.upstream_name == *wanted) {
            tracing::warn!(
                server = server.name(),
                tool = wanted,
                "the server has no tool of this configured name"
            );
        }
    }
}
