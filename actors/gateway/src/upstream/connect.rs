//! From a configured server to a connection that is initialised.

use super::Server;
use super::http::RawHttp;
use super::process::Group;
use super::stdio::{LastWords, StdioTransport};
use crate::http_client::{header_map, http_client};
use crate::options::MAX_MESSAGE;
use crate::server::implementation;
use rmcp::ClientHandler;
use rmcp::RoleClient;
use rmcp::model::{ClientCapabilities, ClientConfig, ProtocolVersion};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, NotificationContext, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// An initialised connection.
pub(super) type Connection = RunningService<RoleClient, Client>;

/// How the protocol is agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// The present protocol is asked for first, then the older one on the same connection.
    PresentFirst,
    /// Only the older one: some servers end when they are asked what they do not know.
    OlderOnly,
}

impl Handshake {
    /// What to try after this has failed.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::PresentFirst => Self::OlderOnly,
            Self::OlderOnly => Self::PresentFirst,
        }
    }

    fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::PresentFirst => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
            Self::OlderOnly => ClientLifecycleMode::Initialize,
        }
    }
}

/// This node as a client of a server: it can neither be asked for input nor for samples, and says so.
pub(super) struct Client {
    server: String,
    changed: Arc<Notify>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), implementation())
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    #[expect(deprecated, reason = "servers of the older era still log this way")]
    async fn on_logging_message(
        &self,
        params: rmcp::model::LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        tracing::debug!(server = self.server, "{}", super::clip(&params.data.to_string()));
    }
}

/// Connects to a server: starts its process or opens its address, and agrees on a protocol.
pub(super) async fn connect(
    server: &Server,
    base_env: &BTreeMap<String, String>,
    handshake: Handshake,
    changed: Arc<Notify>,
) -> Result<(Connection, LastWords), String> {
    let client = Client { server: server.name().to_owned(), changed };
    let options = &server.options;
    let Some(url) = &options.url else {
        let (group, streams) = Group::spawn(options, base_env)?;
        let (transport, last_words) = StdioTransport::new(server.name(), group, streams);
        return match client.serve_with_lifecycle(transport, handshake.lifecycle()).await {
            Ok(connection) => Ok((connection, last_words)),
            Err(error) => Err(with_last_words(failed(&error), &last_words)),
        };
    };
    let http = http_client(url).map_err(|error| error.to_string())?;
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .max_json_response_size(MAX_MESSAGE)
        .max_sse_event_size(MAX_MESSAGE)
        .custom_headers(header_map(&options.headers)?)
        // Calls take a slot first; this leaves room for lists beside them.
        .max_concurrent_requests((options.concurrency as usize).saturating_add(4));
    let transport = StreamableHttpClientTransport::with_client(RawHttp::new(http), config);
    let connection = client.serve_with_lifecycle(transport, handshake.lifecycle()).await;
    connection.map(|connection| (connection, LastWords::default())).map_err(|error| failed(&error))
}

fn failed(error: &ClientInitializeError) -> String {
    format!("the handshake failed: {}", crate::causes::of_handshake(error))
}

/// A problem with what the server said last.
pub(super) fn with_last_words(problem: String, last_words: &LastWords) -> String {
    let said = last_words.text();
    super::clip(&if said.is_empty() { problem } else { format!("{problem} (it said: {said})") })
}
