//! Why the gateway could not be prepared, or an endpoint of it ended.

use meshwork_proto::{Coded, ErrorCode};

/// Why the gateway could not be prepared, or an endpoint of it ended.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An upstream server is configured wrongly.
    #[error("MCP server {name:?}: {problem}")]
    Upstream {
        /// Its name in the configuration.
        name: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The metrics could not be registered.
    #[error("metrics of the gateway could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client could not be made.
    #[error("HTTP client could not be made: {0}")]
    HttpClient(#[from] reqwest::Error),
    /// The MCP client on standard input did not speak MCP, or went away before it said anything.
    #[error("no MCP session on standard input: {0}")]
    Stdio(String),
    /// The node that standard input is to be bridged to does not answer.
    #[error(
        "no MCP server answers at {url}: {problem}; start one with `meshwork run`, or name another with --url"
    )]
    Bridge {
        /// Where.
        url: String,
        /// Why.
        problem: String,
    },
}

impl Coded for GatewayError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Upstream { .. } => ErrorCode::Config,
            Self::Metrics(_) | Self::HttpClient(_) => ErrorCode::Internal,
            Self::Stdio(_) => ErrorCode::InvalidArgument,
            Self::Bridge { .. } => ErrorCode::Unreachable,
        }
    }
}
