//! The running gateway: its endpoints, and its end.

use crate::error::GatewayError;
use crate::options::{HttpOptions, MAX_MESSAGE};
use crate::server::{BoundedSessions, McpServer, guarded};
use crate::upstream::{UpstreamStatus, Upstreams};
use axum::Router;
use meshwork_kit::ActorRef;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServiceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The running gateway.
pub struct Gateway {
    server: McpServer,
    sessions: Arc<BoundedSessions>,
    http: HttpOptions,
    actor: ActorRef,
    upstreams: Upstreams,
    stop: CancellationToken,
}

impl Gateway {
    pub(crate) fn new(
        server: McpServer,
        sessions: Arc<BoundedSessions>,
        http: HttpOptions,
        actor: ActorRef,
        upstreams: Upstreams,
        stop: CancellationToken,
    ) -> Self {
        Self { server, sessions, http, actor, upstreams, stop }
    }

    /// The HTTP endpoint `/mcp`, to be merged into the node's router. Set `TCP_NODELAY` on accepted connections.
    pub fn router(&self) -> Router {
        self.server.router(&self.http, Arc::clone(&self.sessions), self.stop.child_token())
    }

    /// These routes, answered only for the `Host` and `Origin` values that `/mcp` answers; others get 403. For what
    /// shares the address with [`Gateway::router`].
    pub fn guard(&self, routes: Router) -> Router {
        guarded(&self.http, routes)
    }

    /// Answers one MCP client on these streams, until it closes them or the gateway stops.
    ///
    /// # Errors
    /// When the client closes the streams before it has said anything, or what it says first is not MCP.
    pub async fn serve_stdio<R, W>(&self, input: R, output: W) -> Result<(), GatewayError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let streams =
            AsyncRwTransport::<RoleServer, _, _>::new(input, output).with_max_line_length(MAX_MESSAGE);
        let session = self.server.clone().serve_with_ct(streams, self.stop.child_token());
        let running = session.await.map_err(|error| GatewayError::Stdio(error.to_string()))?;
        running.waiting().await.map(drop).map_err(|error| GatewayError::Stdio(error.to_string()))
    }

    /// The gateway's actor: its status is a [`GatewayStatus`](crate::GatewayStatus).
    #[must_use]
    pub fn actor(&self) -> &ActorRef {
        &self.actor
    }

    /// How each upstream server is, in the order of the configuration.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.upstreams.statuses()
    }

    /// Ends everything that the gateway serves and stops the upstream servers, each with its whole process group.
    /// The actor is stopped with the node's supervision.
    ///
    /// Returns whether all upstream servers had ended within the time; what was left is killed when this is dropped.
    pub async fn stop(&self, within: Duration) -> bool {
        self.stop.cancel();
        self.upstreams.ended(within).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
