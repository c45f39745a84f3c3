//! A real MCP client for the tests.

use crate::http_client::http_client;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
    Implementation, JsonObject, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceError};
use serde_json::Value;

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

/// A client of the gateway.
pub(super) struct Client(pub(super) RunningService<RoleClient, ClientConfig>);

fn config() -> ClientConfig {
    ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1"))
        .with_protocol_version(ProtocolVersion::V_2025_11_25)
}

impl Client {
    /// Connects over HTTP.
    pub(super) async fn http(url: &str, era: Era) -> Self {
        let transport = StreamableHttpClientTransport::with_client(
            http_client(url).unwrap(),
            StreamableHttpClientTransportConfig::with_uri(url)
                .max_json_response_size(crate::options::MAX_MESSAGE)
                .max_sse_event_size(crate::options::MAX_MESSAGE),
        );
        Self(config().serve_with_lifecycle(transport, era.lifecycle()).await.unwrap())
    }

    /// Connects to a stream.
    pub(super) async fn stream(stream: tokio::io::DuplexStream, era: Era) -> Self {
        Self(config().serve_with_lifecycle(tokio::io::split(stream), era.lifecycle()).await.unwrap())
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
