//! Messages to upstream MCP servers, which the gateway owns: a task per call, never the gateway's mailbox.

use crate::{Coded, ErrorCode, Json, Request};

/// Calls a tool of an upstream server. If the asker goes away, the call is cancelled upstream.
#[derive(Debug, Clone)]
pub struct CallUpstream {
    /// Server's name in the configuration.
    pub server: String,
    /// The tool's name at the server.
    pub tool: String,
    /// Arguments, a JSON object.
    pub arguments: Json,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Request for CallUpstream {
    type Reply = Result<UpstreamResult, UpstreamError>;
    const NAME: &'static str = "call_upstream";
}

/// What an upstream tool gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamResult {
    /// The whole result object as it came.
    pub raw: Json,
    /// `structuredContent` if there is one, else the content array.
    pub result: Json,
    /// The tool said that it failed.
    pub is_error: bool,
}

/// Why an upstream call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Not configured, or not running now.
    #[error("MCP server {server:?} cannot be reached: {problem}")]
    Unavailable {
        /// Which.
        server: String,
        /// Why.
        problem: String,
    },
    /// It answered with a protocol error.
    #[error("MCP server {server:?} refused the call: {message} ({code})")]
    Refused {
        /// Which.
        server: String,
        /// JSON-RPC code.
        code: i64,
        /// Its message (bounded).
        message: String,
    },
    /// It did not answer in time.
    #[error("MCP server {server:?} did not answer within {after_ms} ms")]
    Timeout {
        /// Which.
        server: String,
        /// The limit.
        after_ms: u64,
    },
}

impl Coded for UpstreamError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Refused { code: -32602, .. } => ErrorCode::InvalidArgument,
            Self::Refused { .. } => ErrorCode::ToolFailed,
            Self::Timeout { .. } => ErrorCode::ToolTimeout,
        }
    }
}
