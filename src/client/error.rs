//! Why a call to a node gave no answer, whatever layer it failed in, as one error with a stable code.

use meshwork_proto::{Coded, ErrorCode, MeshError};
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::streamable_http_client::StreamableHttpError;
use std::error::Error;
use std::time::Duration;

/// Why a node gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address is no URL that we can use.
    #[error("{url:?} is no address of a node: {problem}; expected something like http://127.0.0.1:8000/mcp")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers there.
    #[error(
        "no node can be reached at {url}: {problem}; start one with `meshwork run`, or name another with --url"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        problem: String,
    },
    /// Somebody answers, but not as an MCP server.
    #[error("{url} does not answer as an MCP server: {problem}; the address of a node ends in /mcp")]
    NotMcp {
        /// Where.
        url: String,
        /// What came instead.
        problem: String,
    },
    /// The server does not want to talk to us.
    #[error("{url} refuses this client: {problem}")]
    Refused {
        /// Where.
        url: String,
        /// What it said.
        problem: String,
    },
    /// The server takes no request of that size.
    #[error(
        "the request is larger than {url} accepts: {problem}; give large files to the tool by their path"
    )]
    TooLarge {
        /// Where.
        url: String,
        /// What it said.
        problem: String,
    },
    /// The connection broke while we waited.
    #[error("connection to {url} was lost: {problem}")]
    Lost {
        /// Where.
        url: String,
        /// What happened.
        problem: String,
    },
    /// No answer in time.
    #[error("{what} got no answer from {url} within {after:?}")]
    Timeout {
        /// Which call.
        what: String,
        /// Where.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// The node answered with an error.
    #[error("{0}")]
    Node(MeshErrorText),
    /// The node answered something that we do not understand.
    #[error("answer of {tool} cannot be understood: {problem}; node and client may be of different versions")]
    Answer {
        /// Which tool.
        tool: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// An error of the node; its code is told apart from its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct MeshErrorText(pub(crate) MeshError);

impl Coded for ClientError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::BadUrl { .. } => ErrorCode::InvalidArgument,
            Self::Unreachable { .. } | Self::Lost { .. } | Self::NotMcp { .. } => ErrorCode::Unavailable,
            Self::Refused { .. } => ErrorCode::Forbidden,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::Node(error) => error.0.code,
            Self::Answer { .. } => ErrorCode::Internal,
        }
    }
}

impl From<MeshError> for ClientError {
    fn from(error: MeshError) -> Self {
        Self::Node(MeshErrorText(error))
    }
}

impl From<ClientError> for crate::output::Failure {
    fn from(error: ClientError) -> Self {
        Self::from_coded(&error)
    }
}

impl ClientError {
    /// Whether the node itself was not there: starting again, or the connection broke.
    #[must_use]
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. })
    }

    /// The failure of a call on a connection that stood.
    pub(super) fn of_call(error: &ServiceError, url: &str) -> Self {
        match error {
            ServiceError::McpError(data) => Self::of_protocol(data.code.0, &data.message),
            ServiceError::TransportClosed => {
                Self::Lost { url: url.to_owned(), problem: "the connection was closed".into() }
            }
            other => Self::of_transport(other, url),
        }
    }

    /// The failure of connecting.
    pub(super) fn of_connect(error: &ClientInitializeError, url: &str) -> Self {
        match error {
            ClientInitializeError::TransportError { error, .. } => {
                Self::of_transport(error.error.as_ref(), url)
            }
            // The second attempt, in the older form of the protocol, is what an unsuitable server answered last.
            ClientInitializeError::LegacyFallbackFailed { fallback, .. } => Self::of_connect(fallback, url),
            other => Self::NotMcp { url: url.to_owned(), problem: other.to_string() },
        }
    }

    /// An error of the protocol itself: what MCP does not make a result of a tool.
    fn of_protocol(code: i32, message: &str) -> Self {
        let unknown_tool = code == -32602 && message.to_lowercase().contains("tool");
        let code = match code {
            _ if unknown_tool => ErrorCode::UnknownTool,
            -32602 | -32600 => ErrorCode::InvalidArgument,
            -32601 => ErrorCode::VersionMismatch,
            -32700 => ErrorCode::InvalidJson,
            _ => ErrorCode::Internal,
        };
        MeshError::new(code, message).into()
    }

    fn of_transport(error: &(dyn Error + 'static), url: &str) -> Self {
        let (url, problem) = (url.to_owned(), innermost(error));
        for cause in causes(error) {
            if let Some(http) = cause.downcast_ref::<reqwest::Error>() {
                return Self::of_http(http, url);
            }
            match cause.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
                Some(StreamableHttpError::Client(http)) => return Self::of_http(http, url),
                Some(StreamableHttpError::HttpStatus(status)) => {
                    return Self::Lost {
                        url,
                        problem: format!("the server answered HTTP {}", status.status),
                    };
                }
                Some(StreamableHttpError::UnexpectedServerResponse(text)) if text.starts_with("HTTP 413") => {
                    return Self::TooLarge { url, problem: text.trim_end_matches([':', ' ']).to_owned() };
                }
                Some(StreamableHttpError::UnexpectedServerResponse(text)) if text.contains("403") => {
                    return Self::Refused { url, problem: text.to_string() };
                }
                Some(
                    StreamableHttpError::UnexpectedServerResponse(_)
                    | StreamableHttpError::UnexpectedContentType(_)
                    | StreamableHttpError::Deserialize(_)
                    | StreamableHttpError::ServerDoesNotSupportSse,
                ) => return Self::NotMcp { url, problem },
                Some(StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_)) => {
                    return Self::Refused { url, problem };
                }
                _ => {}
            }
        }
        Self::Lost { url, problem }
    }

    fn of_http(error: &reqwest::Error, url: String) -> Self {
        let problem = innermost(error);
        if error.is_connect() || error.is_timeout() {
            return Self::Unreachable { url, problem };
        }
        match error.status() {
            Some(status) if status.as_u16() == 403 || status.as_u16() == 401 => {
                Self::Refused { url, problem: format!("HTTP {status}") }
            }
            Some(status) if status.as_u16() == 413 => {
                Self::TooLarge { url, problem: format!("HTTP {status}") }
            }
            Some(status) if status.is_client_error() => {
                Self::NotMcp { url, problem: format!("HTTP {status}") }
            }
            _ => Self::Lost { url, problem },
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The message at the bottom, which says what happened ("connection refused"); those above say where.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let deepest = causes(error).last().map(ToString::to_string).unwrap_or_default();
    if deepest.is_empty() { error.to_string() } else { deepest }
}
