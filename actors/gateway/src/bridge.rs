//! `meshwork mcp` beside a node that runs: standard input and output on one side, the node's HTTP endpoint on the other.

use crate::causes::{of_handshake, of_request, redact};
use crate::error::GatewayError;
use crate::http_client::http_client;
use crate::options::MAX_MESSAGE;
use crate::server::implementation;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientCapabilities, ClientConfig, ClientRequest, ListToolsRequest,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, ServerResult,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, Peer, PeerRequestOptions, RequestContext, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};
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
    let client = ClientConfig::new(ClientCapabilities::default(), implementation());
    let node = client
        .serve_with_lifecycle(transport, lifecycle)
        .await
        .map_err(|error| unreachable(of_handshake(&error)))?;

    let said = node.peer_info();
    let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
    info.server_info = said.as_ref().and_then(|said| said.server_info.clone()).unwrap_or_else(implementation);
    info.instructions = said.as_ref().and_then(|said| said.instructions.clone());
    let bridge = Bridge { node: node.peer().clone(), info };
    let streams = AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(MAX_MESSAGE);
    let session = bridge.serve(streams).await.map_err(|error| GatewayError::Stdio(error.to_string()))?;
    session.waiting().await.map(drop).map_err(|error| GatewayError::Stdio(error.to_string()))?;
    // Ends a session of the older era at the node; if that fails the node forgets it after a while.
    let _ = node.cancel().await;
    Ok(())
}

struct Bridge {
    node: Peer<RoleClient>,
    info: ServerConfig,
}

impl Bridge {
    /// Asks the node; gives the request up there when the client gives it up here.
    async fn ask(
        &self,
        request: ClientRequest,
        context: &RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let handle = self
            .node
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
            .map_err(lost)?;
        let id = handle.id.clone();
        tokio::select! {
            answer = handle.await_response() => answer.map_err(lost),
            () = context.ct.cancelled() => {
                let cancelled = CancelledNotificationParam::new(Some(id), Some("cancelled by the client".into()));
                self.node.send_notification(CancelledNotification::new(cancelled).into()).await.map_err(lost)?;
                Err(ErrorData::internal_error("the request was cancelled", None))
            }
        }
    }
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
        let cursor = request.and_then(|request| request.cursor);
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(params));
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
        let result: CallToolResult = match self.ask(request, &context).await? {
            ServerResult::CallToolResult(result) => result,
            _ => return Err(misfit()),
        };
        Ok(result.into())
    }
}
