//! One mesh node: the actors wired together, started and stopped in order.

mod admin;
mod contacts;
mod describe;
mod ground;
mod http;
mod logging;
mod membership;
mod options;
mod ready;
mod running;
mod secrets;
mod shutdown;
mod signals;
mod wiring;
mod workflows;

pub(crate) use ready::ReadyLine;
pub(crate) use running::run;

use crate::output::Failure;
use meshwork_proto::{Coded, ErrorCode};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct NodeError {
    code: ErrorCode,
    message: String,
}

impl NodeError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The failure of a part that has codes.
    fn of(error: impl Coded) -> Self {
        Self::new(error.code(), error.to_string())
    }

    /// A failure that has none.
    fn internal(error: impl std::error::Error) -> Self {
        Self::new(ErrorCode::Internal, error.to_string())
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        Self::new(error.code, error.message)
    }
}
