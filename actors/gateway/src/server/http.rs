//! The Streamable HTTP endpoint.

use super::intake::intake;
use super::{BoundedSessions, McpServer, guarded};
use crate::options::HttpOptions;
use axum::Router;
use axum::middleware::from_fn_with_state;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl McpServer {
    /// The endpoint at `/mcp`.
    pub(crate) fn router(
        &self,
        options: &HttpOptions,
        sessions: Arc<BoundedSessions>,
        stop: CancellationToken,
    ) -> Router {
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(true)
            // One JSON object per answer where nothing has to be streamed: the difference is a factor in latency.
            .with_json_response(true)
            .with_allowed_hosts(options.allowed_hosts.clone())
            .with_allowed_origins(options.allowed_origins.clone())
            // Also when no origin is allowed: then none is.
            .enforce_origin_validation()
            .with_max_request_body_bytes(options.max_body_bytes)
            .with_cancellation_token(stop);
        let server = self.clone();
        let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
        let checked = from_fn_with_state(options.max_body_bytes, intake);
        // Whoever may not ask is refused before anything of the body is read.
        guarded(options, Router::new().route_service("/mcp", service).layer(checked))
    }
}
