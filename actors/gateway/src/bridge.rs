//! `meshwork mcp` beside a node that runs: standard input and output on one side, the node's HTTP endpoint on the other.

use crate::causes::{of_handshake, of_request, redact};
use crate::error::GatewayError;
use crate::http_client::http_client;
use crate::options::MAX_MESSAGE;
use crate::server::implementation;
use futures::StreamExt;
use rmcp::handler::client::progress::ProgressDispatcher;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CancelTaskParams, CancelTaskRequest,
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientRequest,
    GetTaskParams, GetTaskRequest, GetTaskResult, ListResourceTemplatesRequest, ListResourceTemplatesResult,
    ListResourcesRequest, ListResourcesResult, ListToolsRequest, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ProtocolVersion, ReadResourceRequest, ReadResourceRequestParams,
    ReadResourceResponse, RequestMetaObject, ServerCapabilities, ServerConfig, ServerPeerInfo, ServerResult,
    TASKS_EXTENSION_ID, UpdateTaskParams, UpdateTaskRequest,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, Peer, PeerRequestOptions, RequestContext,
    ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};
use tokio::io::{AsyncRead, AsyncWrite};

/// Requests to the node under way at the same time.
const IN_FLIGHT: usize = 64;

/// Answers one MCP client on these streams with what the node at `url` answers, until the client closes them.
///
/// # Errors
/// When nothing answers at `url`, or the client does not speak MCP.
pub async fn stdio_bridge<R, W>(url: &str, input: R, output: W) -> Result<(), GatewayError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let unreachable = |problem: String| GatewayError::Bridge { url: redact(url), problem };
    let config = StreamableHttpClientTransportConfig::with_uri(url)
        .max_json_response_size(MAX_MESSAGE)
        .max_sse_event_size(MAX_MESSAGE)
        .max_concurrent_requests(IN_FLIGHT);
    let transport = StreamableHttpClientTransport::with_client(http_client(url)?, config);
    // Without a session there is nothing to lose when the node restarts.
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    };
    let progress = ProgressDispatcher::new();
    let config = ClientConfig::new(ClientCapabilities::default(), implementation());
    let client = NodeSide { config, progress: progress.clone() };
    let node = client
        .serve_with_lifecycle(transport, lifecycle)
        .await
        .map_err(|error| unreachable(of_handshake(&error)))?;

    let said = node.peer_info();
    let bridge = Bridge { node: node.peer().clone(), info: info(said.as_deref()), progress };
    let streams = AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(MAX_MESSAGE);
    let session = bridge.serve(streams).await.map_err(|error| GatewayError::Stdio(error.to_string()))?;
    session.waiting().await.map(drop).map_err(|error| GatewayError::Stdio(error.to_string()))?;
    // Ends a session of the older era at the node; if that fails the node forgets it after a while.
    let _ = node.cancel().await;
    Ok(())
}

/// What the client is told: what the node says of itself, as far as it is passed on here.
fn info(said: Option<&ServerPeerInfo>) -> ServerConfig {
    let mut capabilities = ServerCapabilities::builder().enable_tools().build();
    if let Some(offered) = said.map(|said| &said.capabilities) {
        capabilities.resources.clone_from(&offered.resources);
        let mut extensions = offered.extensions.clone().unwrap_or_default();
        extensions.retain(|name, _| name == TASKS_EXTENSION_ID);
        capabilities.extensions = (!extensions.is_empty()).then_some(extensions);
    }
    let mut info = ServerConfig::new(capabilities);
    info.server_info = said.and_then(|said| said.server_info.clone()).unwrap_or_else(implementation);
    info.instructions = said.and_then(|said| said.instructions.clone());
    info
}

/// The client of the node: it hears how far calls are.
struct NodeSide {
    config: ClientConfig,
    progress: ProgressDispatcher,
}

impl ClientHandler for NodeSide {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.handle_notification(progress).await;
    }
}

/// The server of the client: it asks the node.
struct Bridge {
    node: Peer<RoleClient>,
    info: ServerConfig,
    progress: ProgressDispatcher,
}

impl Bridge {
    /// Asks the node, and passes on how far it is; gives the request up there when the client gives it up here.
    async fn ask(
        &self,
        request: ClientRequest,
        context: &RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let options = PeerRequestOptions::no_options().with_meta(passed_on(context));
        let handle = self.node.send_cancellable_request(request, options).await.map_err(lost)?;
        let (id, token) = (handle.id.clone(), handle.progress_token.clone());
        let listener = context.meta.get_progress_token();
        let mut heard = self.progress.subscribe(token).await;
        // The SDK may give notifications in another order than they came, and the protocol wants them to grow.
        let mut last = f64::NEG_INFINITY;
        let answer = handle.await_response();
        tokio::pin!(answer);
        loop {
            tokio::select! {
                // What was heard before the answer is passed on before it.
                biased;
                Some(mut progress) = heard.next() => {
                    if let Some(listener) = &listener && progress.progress > last {
                        last = progress.progress;
                        progress.progress_token = listener.clone();
                        context.peer.notify_progress(progress).await.map_err(lost)?;
                    }
                }
                answer = &mut answer => return answer.map_err(lost),
                () = context.ct.cancelled() => {
                    let cancelled =
                        CancelledNotificationParam::new(Some(id), Some("cancelled by the client".into()));
                    self.node.send_notification(CancelledNotification::new(cancelled).into()).await.map_err(lost)?;
                    return Err(ErrorData::internal_error("the request was cancelled", None));
                }
            }
        }
    }
}

/// What the node hears of the client: only whether it knows the Tasks extension, which decides what a submission gives.
fn passed_on(context: &RequestContext<RoleServer>) -> RequestMetaObject {
    let mut meta = RequestMetaObject::new();
    if context.client_capabilities().is_some_and(|client| client.supports_tasks()) {
        meta.set_client_capabilities(ClientCapabilities::builder().enable_tasks().build());
    }
    meta
}

fn lost(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        other => ErrorData::internal_error(format!("the node does not answer: {}", of_request(&other)), None),
    }
}

fn misfit() -> ErrorData {
    ErrorData::internal_error("the node gave an answer that does not fit the question", None)
}

impl ServerHandler for Bridge {
    fn get_info(&self) -> ServerConfig {
        self.info.clone()
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(page(request)));
        match self.ask(request, &context).await? {
            ServerResult::ListToolsResult(tools) => Ok(tools),
            _ => Err(misfit()),
        }
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // The client's own metadata (its version, its capabilities) is not this connection's.
        let params =
            CallToolRequestParams::new(request.name).with_arguments(request.arguments.unwrap_or_default());
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        match self.ask(request, &context).await? {
            ServerResult::CallToolResult(result) => Ok(result.into()),
            ServerResult::CreateTaskResult(task) => Ok(task.into()),
            _ => Err(misfit()),
        }
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let request = ListResourcesRequest::with_param(page(request));
        match self.ask(ClientRequest::ListResourcesRequest(request), &context).await? {
            ServerResult::ListResourcesResult(resources) => Ok(resources),
            _ => Err(misfit()),
        }
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let request = ListResourceTemplatesRequest::with_param(page(request));
        match self.ask(ClientRequest::ListResourceTemplatesRequest(request), &context).await? {
            ServerResult::ListResourceTemplatesResult(templates) => Ok(templates),
            _ => Err(misfit()),
        }
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let request = ReadResourceRequest::new(ReadResourceRequestParams::new(request.uri));
        match self.ask(ClientRequest::ReadResourceRequest(request), &context).await? {
            ServerResult::ReadResourceResult(resource) => Ok(resource.into()),
            _ => Err(misfit()),
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let request = GetTaskRequest::new(GetTaskParams::new(request.task_id));
        match self.ask(ClientRequest::GetTaskRequest(request), &context).await? {
            ServerResult::GetTaskResult(task) => Ok(task),
            _ => Err(misfit()),
        }
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let params = UpdateTaskParams::new(request.task_id, request.input_responses);
        let request = ClientRequest::UpdateTaskRequest(UpdateTaskRequest::new(params));
        acknowledged(&self.ask(request, &context).await?)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let request = CancelTaskRequest::new(CancelTaskParams::new(request.task_id));
        acknowledged(&self.ask(ClientRequest::CancelTaskRequest(request), &context).await?)
    }
}

fn page(request: Option<PaginatedRequestParams>) -> PaginatedRequestParams {
    PaginatedRequestParams::default().with_cursor(request.and_then(|request| request.cursor))
}

fn acknowledged(answer: &ServerResult) -> Result<(), ErrorData> {
    match answer {
        ServerResult::TaskAckResult(_) | ServerResult::EmptyResult(_) => Ok(()),
        _ => Err(misfit()),
    }
}
