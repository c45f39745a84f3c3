//! One connection to a node, and the one way in which all calls go through it.

use super::error::ClientError;
use meshwork_proto::{ErrorCode, MeshError};
use reqwest::Url;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Where clients look for a node when nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000/mcp";
/// Path at which nodes serve MCP.
const MCP_PATH: &str = "/mcp";
/// How long a connection may take to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a call may take beyond the time that it asks the node to wait.
const CALL_WITHIN: Duration = Duration::from_secs(60);
/// Calls of one client that are under way at the same time; more wait their turn.
const CONCURRENT_CALLS: usize = 64;
/// Largest answer: the largest result that travels inline, with room for the rest.
const MAX_ANSWER_BYTES: usize = 96 * 1024 * 1024;
/// Largest arguments of a call: what a node accepts as a request, without the envelope around them. Nodes may refuse
/// larger requests with an error that names no call, so that ours would wait for its answer in vain.
const MAX_ARGUMENT_BYTES: u64 = 96 * 1024 * 1024 - 64 * 1024;

/// How to reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientOptions {
    /// Where it serves MCP; a missing path means [`MCP_PATH`].
    pub(crate) url: String,
    /// How long a connection may take.
    pub(crate) connect_within: Duration,
    /// How long a call may take beyond the time that it asks the node to wait.
    pub(crate) call_within: Duration,
}

impl ClientOptions {
    /// A node at this URL, with the default times.
    #[must_use]
    pub(crate) fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), connect_within: CONNECT_WITHIN, call_within: CALL_WITHIN }
    }
}

/// A connected client. Clones share the connection; it ends with the last of them.
#[derive(Clone)]
pub(crate) struct NodeClient {
    service: Arc<RunningService<RoleClient, ClientConfig>>,
    url: Arc<str>,
    call_within: Duration,
}

impl NodeClient {
    /// Connects, in the newest form of the protocol that the node speaks.
    ///
    /// # Errors
    /// When the URL is unusable, nobody answers there, or not as an MCP server.
    pub(crate) async fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let url = parse_url(&options.url)?;
        let http = http_client(&url, options)?;
        let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
            .max_concurrent_requests(CONCURRENT_CALLS)
            .max_json_response_size(MAX_ANSWER_BYTES)
            // What says how far it is before it answers, answers in events.
            .max_sse_event_size(MAX_ANSWER_BYTES);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        let identity = Implementation::new("meshwork-cli", env!("CARGO_PKG_VERSION"));
        let handler = ClientConfig::new(ClientCapabilities::default(), identity);
        let connecting = handler.serve_with_lifecycle(transport, lifecycle);
        let service = match tokio::time::timeout(options.connect_within, connecting).await {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => return Err(ClientError::of_connect(&error, url.as_str())),
            Err(_) => {
                let problem = format!("no answer within {:?}", options.connect_within);
                return Err(ClientError::Unreachable { url: url.into(), problem });
            }
        };
        Ok(Self { service: Arc::new(service), url: url.as_str().into(), call_within: options.call_within })
    }

    /// Calls a tool and gives its structured result.
    ///
    /// # Errors
    /// When the node cannot be reached, does not answer, or the tool failed: then with the code it gave.
    pub(crate) async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<Value, ClientError> {
        self.call_waiting(tool, arguments, Duration::ZERO).await
    }

    /// The same for a call that asks the node to wait that long before it answers.
    ///
    /// # Errors
    /// As [`NodeClient::call`].
    pub(crate) async fn call_waiting(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        waiting: Duration,
    ) -> Result<Value, ClientError> {
        let result = self.call_raw(tool, arguments, waiting).await?;
        if result.is_error == Some(true) {
            return Err(tool_error(&result).into());
        }
        structured(&result).ok_or_else(|| ClientError::Answer {
            tool: tool.to_owned(),
            problem: "it has no structured content".into(),
        })
    }

    /// Calls a tool and gives the whole result as it came, also when the tool failed.
    pub(super) async fn call_raw(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        waiting: Duration,
    ) -> Result<CallToolResult, ClientError> {
        let within = self.call_within.saturating_add(waiting);
        let size = json_size(&arguments);
        if size > MAX_ARGUMENT_BYTES {
            let problem = format!("{size} bytes of arguments, at most {MAX_ARGUMENT_BYTES} fit");
            return Err(ClientError::TooLarge { url: self.url.to_string(), problem });
        }
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        // Dropping the call at the deadline also tells the node that nobody waits any more.
        match tokio::time::timeout(within, self.service.call_tool(params)).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(ClientError::of_call(&error, &self.url)),
            Err(_) => {
                Err(ClientError::Timeout { what: tool.to_owned(), url: self.url.to_string(), after: within })
            }
        }
    }
}

impl std::fmt::Debug for NodeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeClient").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The URL, with the path that nodes use when none is given.
pub(super) fn parse_url(text: &str) -> Result<Url, ClientError> {
    let wrong = |problem: String| ClientError::BadUrl { url: text.to_owned(), problem };
    let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("{}: is no scheme of ours", url.scheme())));
    }
    if url.path() == "/" {
        url.set_path(MCP_PATH);
    }
    Ok(url)
}

fn http_client(url: &Url, options: &ClientOptions) -> Result<reqwest::Client, ClientError> {
    // Another part of the process may have installed it before; whoever was first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(options.connect_within)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(url) {
        // A proxy cannot reach our loopback, whatever the environment says.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::BadUrl { url: url.to_string(), problem: error.to_string() })
}

/// The length of these arguments as JSON, without writing them.
fn json_size(arguments: &Map<String, Value>) -> u64 {
    struct Counter(u64);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len() as u64);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither the counter nor JSON that is a value already can fail.
    let _ = serde_json::to_writer(&mut counter, arguments);
    counter.0
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The JSON of a result: its structured content, else a text that is JSON.
pub(super) fn structured(result: &CallToolResult) -> Option<Value> {
    if let Some(value) = &result.structured_content {
        return Some(value.clone());
    }
    let text = result.content.iter().find_map(|block| block.as_text())?;
    serde_json::from_str(&text.text).ok()
}

/// The error that a failed tool describes.
pub(super) fn tool_error(result: &CallToolResult) -> MeshError {
    let described = result.structured_content.as_ref().and_then(|content| content.get("error"));
    let member = |name| described.and_then(|error| error.get(name)).and_then(Value::as_str);
    match (member("code"), member("message")) {
        (Some(code), Some(message)) => MeshError::new(ErrorCode::from_text(code), message),
        _ => {
            let texts: Vec<&str> = result
                .content
                .iter()
                .filter_map(|block| block.as_text())
                .map(|text| text.text.as_str())
                .collect();
            let message =
                if texts.is_empty() { "it failed and said nothing".to_owned() } else { texts.join("\n") };
            with_code(message)
        }
    }
}

/// The error of a text that may end in its code: `no task 12 (unknown_task)`.
fn with_code(message: String) -> MeshError {
    let told = ErrorCode::ALL.iter().find_map(|code| {
        let text = message.strip_suffix(&format!(" ({code})"))?;
        Some(MeshError::new(*code, text))
    });
    told.unwrap_or_else(|| MeshError::new(ErrorCode::ToolFailed, message))
}
