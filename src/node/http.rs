//! The HTTP listeners: MCP, and beside it (or on an address of their own) health, metrics and status.

use super::NodeError;
use crate::config::ServerConfig;
use axum::Router;
use axum::serve::ListenerExt;
use meshwork_gateway::Gateway;
use meshwork_proto::ErrorCode;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bound, but not yet served.
pub(super) struct Listeners {
    http: TcpListener,
    admin: Option<TcpListener>,
}

/// Binds the addresses: first of all, so that a port in use is known before anything is started.
pub(super) async fn bind(config: &ServerConfig) -> Result<Listeners, NodeError> {
    let http = bind_one(config.http).await?;
    let admin = match config.admin_http {
        Some(address) => Some(bind_one(address).await?),
        None => None,
    };
    Ok(Listeners { http, admin })
}

async fn bind_one(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => NodeError::new(
            ErrorCode::InUse,
            format!("HTTP address {address} is in use by another process: choose another one with --http"),
        ),
        _ => NodeError::new(ErrorCode::Config, format!("HTTP address {address} cannot be used: {error}")),
    })
}

/// Served listeners.
pub(super) struct HttpServers {
    /// Where MCP is.
    pub(super) http: SocketAddr,
    /// Where health, metrics and status are.
    pub(super) admin: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Whether only this machine reaches the addresses.
pub(super) fn is_local(config: &ServerConfig) -> bool {
    config.http.ip().is_loopback() && config.admin_http.is_none_or(|address| address.ip().is_loopback())
}

/// Serves both sets of routes until [`HttpServers::stop`]. Beside MCP, health, metrics and status are guarded like it;
/// an address of their own is for supervisors and Prometheus, which name the host as they like.
pub(super) fn serve(
    listeners: Listeners,
    gateway: &Gateway,
    admin: Router,
) -> Result<HttpServers, NodeError> {
    let mcp = gateway.router();
    let address = |listener: &TcpListener| listener.local_addr().map_err(NodeError::internal);
    let stop = CancellationToken::new();
    let http_address = address(&listeners.http)?;
    let (admin_address, tasks) = match listeners.admin {
        None => (http_address, vec![spawn(listeners.http, mcp.merge(gateway.guard(admin)), &stop)]),
        Some(own) => (address(&own)?, vec![spawn(listeners.http, mcp, &stop), spawn(own, admin, &stop)]),
    };
    Ok(HttpServers { http: http_address, admin: admin_address, stop, tasks })
}

fn spawn(listener: TcpListener, routes: Router, stop: &CancellationToken) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        // Small answers in several segments wait 40 ms for one another with Nagle's algorithm.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
        });
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "HTTP server ended");
        }
    })
}

impl HttpServers {
    /// Takes no new connections and waits a moment for requests under way.
    pub(super) async fn stop(self, within: Duration) {
        self.stop.cancel();
        for mut task in self.tasks {
            if tokio::time::timeout(within, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
