//! Runs of workflows as resources, and the JSON Schema of their definitions.
//!
//! | URI | what it is |
//! |---|---|
//! | `meshwork://workflow.schema.json` | the JSON Schema of a definition |
//! | `meshwork://workflow/<run>` | where a run stands, with its steps and its result: as `p2p_workflow_status` gives it |
//! | `meshwork://workflow/<run>/history` | what happened, oldest first; `?after=<seq>` reads on behind an entry |
//!
//! `<run>` is the id of a run, or `<id>@<peer>` for a run that was submitted to a peer.

use crate::node::{At, Node, PATIENCE};
use crate::tools::workflow::{RunAt, read_history, read_run};
use meshwork_proto::workflow::{ListRuns, RunSummary};
use meshwork_proto::{ErrorCode, Json, MeshError, RunId};
use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceResult,
    Resource, ResourceContents, ResourceTemplate,
};
use serde::Serialize;
use serde_json::json;

/// The schema of a definition.
const SCHEMA: &str = "meshwork://workflow.schema.json";
/// How the URIs of runs begin.
const RUN: &str = "meshwork://workflow/";
/// How the URI of a history ends.
const HISTORY: &str = "/history";
/// What follows on the URI of a history that is read on.
const AFTER: &str = "after=";
const JSON: &str = "application/json";
const JSON_SCHEMA: &str = "application/schema+json";
/// Runs on a page of the list; each has two resources.
const PAGE: u32 = 50;
/// How long clients may keep the schema: it changes only with the program.
const SCHEMA_FRESH_MS: u64 = 300_000;

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Schema,
    Run(RunAt),
    History(RunAt, Option<u64>),
}

/// Lists the schema and the runs of this node, newest first.
pub(super) async fn list(
    node: &Node,
    request: Option<PaginatedRequestParams>,
) -> Result<ListResourcesResult, ErrorData> {
    let cursor = match request.and_then(|request| request.cursor) {
        None => None,
        Some(cursor) => Some(cursor.parse::<RunId>().map_err(|_| {
            let shown: String = cursor.chars().take(80).collect();
            ErrorData::invalid_params(
                format!("cursor {shown:?} is not one that this server gave: use nextCursor as it came"),
                None,
            )
        })?),
    };
    let first = cursor.is_none();
    let runs = ListRuns { limit: PAGE, cursor, ..ListRuns::default() };
    let page = node.ask(&At::Here, runs, PATIENCE).await.map_err(|error| fault(&error, None))?.value;
    let mut resources: Vec<Resource> = Vec::new();
    if first {
        resources.push(schema());
    }
    resources.extend(page.runs.iter().flat_map(of_run));
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = page.next.map(|id| id.to_string());
    Ok(result)
}

fn schema() -> Resource {
    Resource::new(SCHEMA, "workflow.schema.json")
        .with_title("Schema of workflows")
        .with_description("JSON Schema of the definition that p2p_workflow_submit takes")
        .with_mime_type(JSON_SCHEMA)
}

fn of_run(run: &RunSummary) -> [Resource; 2] {
    let uri = format!("{RUN}{}", run.id);
    let status = Resource::new(&uri, run.name.as_str())
        .with_title(format!("{}: {}", run.name, run.state))
        .with_description(format!(
            "Status, steps and result of a run, {} of {} steps finished",
            run.finished_steps, run.steps
        ))
        .with_mime_type(JSON);
    let history = Resource::new(format!("{uri}{HISTORY}"), format!("{} history", run.name))
        .with_title(format!("History of {}", run.name))
        .with_description("What happened in the run, oldest first")
        .with_mime_type(JSON);
    [status, history]
}

/// How the URIs of runs are made.
pub(super) fn templates() -> ListResourceTemplatesResult {
    let run = ResourceTemplate::new(format!("{RUN}{{workflow_id}}"), "workflow run")
        .with_title("Run of a workflow")
        .with_description(
            "Status, steps and result of a run; for one that was submitted to a peer <id>@<peer id>",
        )
        .with_mime_type(JSON);
    let history =
        ResourceTemplate::new(format!("{RUN}{{workflow_id}}{HISTORY}{{?after}}"), "workflow history")
            .with_title("History of a workflow")
            .with_description(
                "What happened in a run, oldest first; next_after of a page is after of the next one",
            )
            .with_mime_type(JSON);
    ListResourceTemplatesResult::with_all_items(vec![run, history])
        .with_ttl_ms(SCHEMA_FRESH_MS)
        .with_cache_scope(CacheScope::Public)
}

/// Reads a resource.
pub(super) async fn read(node: &Node, schema: &Json, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let fault = |error: &MeshError| fault(error, Some(uri));
    match parse(node, uri)? {
        Named::Schema => {
            let text = String::from_utf8_lossy(schema.bytes());
            let contents = ResourceContents::text(text, uri).with_mime_type(JSON_SCHEMA);
            Ok(ReadResourceResult::new(vec![contents])
                .with_ttl_ms(SCHEMA_FRESH_MS)
                .with_cache_scope(CacheScope::Public))
        }
        Named::Run(run) => {
            let record = read_run(node, &run.at, run.id).await.map_err(|failure| fault(&failure.error))?;
            document(uri, &record)
        }
        Named::History(run, after) => {
            let history = read_history(node, &run, after).await.map_err(|error| fault(&error))?;
            document(uri, &history)
        }
    }
}

fn document(uri: &str, value: &impl Serialize) -> Result<ReadResourceResult, ErrorData> {
    let text = serde_json::to_string(value).map_err(|error| {
        ErrorData::internal_error(format!("resource cannot be written as JSON: {error}"), None)
    })?;
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(JSON)]))
}

fn parse(node: &Node, uri: &str) -> Result<Named, ErrorData> {
    if uri == SCHEMA {
        return Ok(Named::Schema);
    }
    let unknown = |why: String| not_found(uri, &why);
    let Some(rest) = uri.strip_prefix(RUN) else {
        return Err(unknown(format!("expected {SCHEMA}, {RUN}<id> or {RUN}<id>{HISTORY}")));
    };
    let run = |text: &str| RunAt::parse(node, text).map_err(|error| unknown(error.message));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    match (path.strip_suffix(HISTORY), query) {
        (Some(id), None) => Ok(Named::History(run(id)?, None)),
        (Some(id), Some(query)) => match query.strip_prefix(AFTER).map(str::parse) {
            Some(Ok(after)) => Ok(Named::History(run(id)?, Some(after))),
            _ => Err(unknown(format!("a history is read on with ?{AFTER}<number>"))),
        },
        (None, None) => Ok(Named::Run(run(path)?)),
        (None, Some(_)) => Err(unknown("nothing follows on the id of a run but /history".to_owned())),
    }
}

fn not_found(uri: &str, why: &str) -> ErrorData {
    let shown: String = uri.chars().take(200).collect();
    ErrorData::resource_not_found(format!("no resource {shown:?}: {why}"), Some(json!({ "uri": shown })))
}

/// The protocol's error for what went wrong; its data has our stable code.
fn fault(error: &MeshError, uri: Option<&str>) -> ErrorData {
    match (error.code, uri) {
        (ErrorCode::UnknownWorkflow, Some(uri)) => not_found(uri, &error.message),
        (code, _) => ErrorData::internal_error(error.message.clone(), Some(json!({ "code": code.as_str() }))),
    }
}
