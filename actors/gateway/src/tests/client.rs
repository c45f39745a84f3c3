//! A real MCP client for the tests.

use crate::http_client::http_client;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
    Implementation, JsonObject, ProgressNotificationParam, ProtocolVersion, Task,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient, ServiceError};
use serde_json::Value;
use std::sync::Mutex;

/// An era of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    Present,
    Older,
}

impl Era {
    pub(super) const BOTH: [Self; 2] = [Self::Present, Self::Older];

    fn lifecycle(self) -> ClientLifecycleMode {
        match self {
            Self::Present => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
            }
            Self::Older => ClientLifecycleMode::Initialize,
        }
    }
}

/// What a client hears of its calls while they are under way.
pub(super) struct Ear {
    config: ClientConfig,
    heard: Mutex<Vec<ProgressNotificationParam>>,
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_progress(&self, progress: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.heard.lock().unwrap().push(progress);
    }
}

/// A client of the gateway.
pub(super) struct Client(pub(super) RunningService<RoleClient, Ear>);

fn ear(capabilities: ClientCapabilities) -> Ear {
    let config = ClientConfig::new(capabilities, Implementation::new("test", "1"))
        .with_protocol_version(ProtocolVersion::V_2025_11_25);
    Ear { config, heard: Mutex::default() }
}

/// What a client of the Tasks extension says of itself.
fn with_tasks() -> ClientCapabilities {
    ClientCapabilities::builder().enable_tasks().build()
}

impl Client {
    /// Connects over HTTP.
    pub(super) async fn http(url: &str, era: Era) -> Self {
        Self::over_http(url, era, ClientCapabilities::default()).await
    }

    /// Connects over HTTP as a client that knows the Tasks extension.
    pub(super) async fn http_with_tasks(url: &str, era: Era) -> Self {
        Self::over_http(url, era, with_tasks()).await
    }

    async fn over_http(url: &str, era: Era, capabilities: ClientCapabilities) -> Self {
        let transport = StreamableHttpClientTransport::with_client(
            http_client(url).unwrap(),
            StreamableHttpClientTransportConfig::with_uri(url)
                .max_json_response_size(crate::options::MAX_MESSAGE)
                .max_sse_event_size(crate::options::MAX_MESSAGE),
        );
        Self(ear(capabilities).serve_with_lifecycle(transport, era.lifecycle()).await.unwrap())
    }

    /// Connects to a stream.
    pub(super) async fn stream(stream: tokio::io::DuplexStream, era: Era) -> Self {
        Self::over(stream, era, ClientCapabilities::default()).await
    }

    /// Connects to a stream as a client that knows the Tasks extension.
    pub(super) async fn stream_with_tasks(stream: tokio::io::DuplexStream, era: Era) -> Self {
        Self::over(stream, era, with_tasks()).await
    }

    async fn over(stream: tokio::io::DuplexStream, era: Era, capabilities: ClientCapabilities) -> Self {
        let streams = tokio::io::split(stream);
        Self(ear(capabilities).serve_with_lifecycle(streams, era.lifecycle()).await.unwrap())
    }

    /// How far its calls were, as it heard: done, all, and in words.
    pub(super) fn heard(&self) -> Vec<(f64, Option<f64>, String)> {
        let heard = self.0.service().heard.lock().unwrap();
        let of = |said: &ProgressNotificationParam| {
            (said.progress, said.total, said.message.clone().unwrap_or_default())
        };
        heard.iter().map(of).collect()
    }

    /// Calls a tool that must be answered with a task.
    pub(super) async fn task(&self, tool: &str, arguments: Value) -> Task {
        let Value::Object(arguments) = arguments else { panic!("arguments must be an object") };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match self.0.call_tool_once(params).await.unwrap() {
            CallToolResponse::Task(created) => created.task,
            other => panic!("{other:?}"),
        }
    }

    /// Calls a tool; the protocol's own errors come back as such.
    pub(super) async fn try_call(
        &self,
        tool: &str,
        arguments: Value,
    ) -> Result<CallToolResult, ServiceError> {
        let Value::Object(arguments) = arguments else { panic!("arguments must be an object") };
        let arguments: JsonObject = arguments;
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match self.0.call_tool_once(params).await? {
            CallToolResponse::Complete(result) => Ok(result),
            other => panic!("{other:?}"),
        }
    }

    /// Calls a tool that must succeed; gives the structured content, which must be in the text as well.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.try_call(tool, arguments).await.unwrap();
        assert_ne!(result.is_error, Some(true), "{result:?}");
        let structured = result.structured_content.unwrap();
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), structured);
        structured
    }

    /// Calls a tool that must fail; gives the error, whose message and code must be in the text as well.
    pub(super) async fn refused(&self, tool: &str, arguments: Value) -> Value {
        let result = self.try_call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(true), "{result:?}");
        let error = result.structured_content.unwrap()["error"].take();
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(
            *text,
            format!("{} ({})", error["message"].as_str().unwrap(), error["code"].as_str().unwrap())
        );
        error
    }
}
