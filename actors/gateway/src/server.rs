//! The MCP server: the node's tools and runs to a client, in whichever era of the protocol it speaks.

mod guard;
mod http;
mod intake;
mod resources;
mod sessions;
mod tasks;

pub(crate) use guard::guarded;
pub(crate) use sessions::BoundedSessions;

use crate::metrics::{Metrics, Outcome};
use crate::node::Node;
use crate::options::HttpOptions;
use crate::tools::{Listener, Registered, closest, table};
use futures::FutureExt;
use meshwork_proto::Json;
use rmcp::ErrorData;
use rmcp::RoleServer;
use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, GetTaskParams,
    GetTaskResult, Implementation, JsonObject, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

/// How long clients may keep the list of tools: it changes only with the program.
const TOOLS_FRESH_MS: u64 = 300_000;

/// What a client is told first.
const INSTRUCTIONS: &str = "\
This is a meshwork node: it runs tools on this machine and on the peers it is connected to.
To have work done that must not be lost: p2p_taskqueue_submit, then p2p_taskqueue_get_result with wait_s until it is finished.
To find a tool: tools_list_categories, tools_list_tools, tools_get_schema; to call it at once: tools_dispatch.
If a task does not run, p2p_taskqueue_task_status says in waiting_for why.
For work of several steps: p2p_workflow_submit, then p2p_workflow_status; p2p_schedule_create starts either at times.
p2p_peer_list says who is in the mesh. Tools take peer (an id from there, or a multiaddress) to act at that peer.
Times are in seconds; an error has a code that stays the same and a message that says what would be right.";

/// The MCP server. Clones are the same server.
#[derive(Clone)]
pub(crate) struct McpServer {
    node: Arc<Node>,
    metrics: Metrics,
    /// JSON Schema of a workflow's definition.
    workflow_schema: Json,
}

/// Who a client talks to.
pub(crate) fn implementation() -> Implementation {
    Implementation::new("meshwork", env!("CARGO_PKG_VERSION")).with_title("meshwork node")
}

impl McpServer {
    pub(crate) fn new(node: Arc<Node>, metrics: Metrics, workflow_schema: Json) -> Self {
        Self { node, metrics, workflow_schema }
    }

    pub(crate) fn sessions(&self, options: &HttpOptions) -> Arc<BoundedSessions> {
        Arc::new(BoundedSessions::new(options.max_sessions, options.session_idle))
    }

    /// Runs a tool; a panic in it is an error of this call alone.
    async fn run(
        &self,
        tool: &Registered,
        arguments: JsonObject,
        listener: &Listener,
    ) -> Result<CallToolResult, ErrorData> {
        let call = AssertUnwindSafe(async move { tool.call(&self.node, arguments, listener).await });
        call.catch_unwind().await.map_err(|_| ErrorData::internal_error("the tool failed unexpectedly", None))
    }
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder().enable_tools().enable_resources().enable_tasks().build(),
        )
        .with_server_info(implementation())
        .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if let Some(cursor) = request.and_then(|request| request.cursor) {
            let shown: String = cursor.chars().take(80).collect();
            let message =
                format!("cursor {shown:?} is not one that this server gave: all tools are on one page");
            return Err(ErrorData::invalid_params(message, None));
        }
        let tools: Vec<Tool> = table().iter().map(|(_, registered)| registered.tool.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools)
            .with_ttl_ms(TOOLS_FRESH_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let began = Instant::now();
        let Some(tool) = table().get(&request.name) else {
            self.metrics.tool_called("other", Outcome::Error, began.elapsed());
            return Err(unknown(&request.name));
        };
        let arguments = request.arguments.unwrap_or_default();
        let as_task = tasks::may_answer(&request.name, &arguments, &context);
        let listener = Listener::of(&context);
        let work = async {
            let result = self.run(tool, arguments, &listener).await?;
            let failed = result.is_error == Some(true);
            let answer: CallToolResponse =
                if as_task { tasks::answer(&self.node, result).await } else { result.into() };
            Ok::<_, ErrorData>((failed, answer))
        };
        let (outcome, result) = tokio::select! {
            result = work => match result {
                Ok((false, answer)) => (Outcome::Ok, Ok(answer)),
                Ok((true, answer)) => (Outcome::Error, Ok(answer)),
                Err(error) => (Outcome::Error, Err(error)),
            },
            // The client cancelled the request or closed the connection: what waits for it is dropped.
            () = context.ct.cancelled() => {
                (Outcome::Cancelled, Err(ErrorData::internal_error("the request was cancelled", None)))
            }
        };
        self.metrics.tool_called(&tool.tool.name, outcome, began.elapsed());
        result
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        table().get(name).map(|registered| registered.tool.clone())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(&self.node, request).await
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.node, &self.workflow_schema, &request.uri).await.map(Into::into)
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        tasks::get(&self.node, &request.task_id).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::update(&self.node, &request.task_id).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        tasks::cancel(&self.node, &request.task_id).await
    }
}

/// The protocol's error for a tool that does not exist.
fn unknown(name: &str) -> ErrorData {
    let shown: String = name.chars().take(80).collect();
    let near = closest(name, table().iter().map(|(name, _)| name));
    let hint = near.map_or_else(
        || "tools/list lists the tools of this server".to_owned(),
        |near| format!("did you mean {near:?}?"),
    );
    ErrorData::invalid_params(format!("unknown tool {shown:?}: {hint}"), None)
}
