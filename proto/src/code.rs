//! Stable error codes, and the portable error that crosses wires.
//!
//! Every operation has an error enum of its own; all of them map to one [`ErrorCode`] here, which alone decides what
//! a program sees. Codes are never renamed or reused.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What went wrong, as a program reads it: the text form is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The code with this text form; unknown ones (a newer peer's) become [`ErrorCode::Internal`].
            #[must_use]
            pub fn from_text(text: &str) -> Self {
                match text { $($text => Self::$variant,)* _ => Self::Internal }
            }
        }
    };
}

error_codes! {
    /// An argument is missing, of the wrong type, unknown or out of range.
    InvalidArgument = "invalid_argument",
    /// The bytes are not JSON, or not the JSON we accept (duplicate keys, unsafe integers, depth).
    InvalidJson = "invalid_json",
    /// A payload, frame or result is larger than the limit.
    TooLarge = "too_large",
    /// No task with that id.
    UnknownTask = "unknown_task",
    /// No tool with that name.
    UnknownTool = "unknown_tool",
    /// No peer with that id or address.
    UnknownPeer = "unknown_peer",
    /// The task is in a state that does not allow the operation.
    WrongState = "wrong_state",
    /// The lease was taken over: the fence is no longer the current one.
    StaleFence = "stale_fence",
    /// The idempotency key was used for different work.
    IdempotencyConflict = "idempotency_conflict",
    /// The queue holds as many tasks as it may.
    QueueFull = "queue_full",
    /// The caller may not do this.
    Forbidden = "forbidden",
    /// The peer did not prove the mesh secret and is not allowed by name.
    NotAdmitted = "not_admitted",
    /// The node is draining and takes no new work.
    Draining = "draining",
    /// The receiver has as much to do as it accepts; try again later.
    Busy = "busy",
    /// The deadline passed before the answer came.
    Timeout = "timeout",
    /// The receiver is not there (restarting, stopped, connection lost).
    Unavailable = "unavailable",
    /// The peer could not be reached.
    Unreachable = "unreachable",
    /// No room on the disk.
    DiskFull = "disk_full",
    /// The store failed in another way.
    Storage = "storage",
    /// Stored bytes do not match their checksum, version or content id.
    Corrupt = "corrupt",
    /// No artifact with that content id.
    UnknownArtifact = "unknown_artifact",
    /// The artifact store is at its quota.
    QuotaExceeded = "quota_exceeded",
    /// The tool ran and said that it failed.
    ToolFailed = "tool_failed",
    /// The tool's process ended by a signal or a non-zero exit.
    ToolCrashed = "tool_crashed",
    /// The tool ran longer than it may.
    ToolTimeout = "tool_timeout",
    /// The tool's output is not what was agreed (not JSON, too large).
    ToolOutput = "tool_output",
    /// The task was cancelled.
    Cancelled = "cancelled",
    /// The task waited longer than it may.
    Expired = "expired",
    /// The task lost its worker more often than it may.
    LeaseLost = "lease_lost",
    /// The peer speaks no version that we speak.
    VersionMismatch = "version_mismatch",
    /// The configuration is wrong.
    Config = "config",
    /// The database or port is in use by another process.
    InUse = "in_use",
    /// No run of a workflow with that id.
    UnknownWorkflow = "unknown_workflow",
    /// The definition of a workflow breaks a rule.
    InvalidWorkflow = "invalid_workflow",
    /// Another peer coordinates the run now.
    Moved = "moved",
    /// An expression of a workflow gave no value.
    Expression = "expression",
    /// No schedule with that id.
    UnknownSchedule = "unknown_schedule",
    /// A fault of ours.
    Internal = "internal",
}

impl ErrorCode {
    /// Whether the same request may succeed later without change.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::Draining
                | Self::Busy
                | Self::Timeout
                | Self::Unavailable
                | Self::Unreachable
                | Self::DiskFull
                | Self::QuotaExceeded
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_text(&String::deserialize(deserializer)?))
    }
}

/// An error that knows its stable code.
pub trait Coded: std::error::Error {
    /// The stable code.
    fn code(&self) -> ErrorCode;
}

/// An error as it crosses a wire or reaches an MCP client: a stable code and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct MeshError {
    /// Stable code.
    pub code: ErrorCode,
    /// What was wrong, with which value, and what would be right.
    pub message: String,
}

impl MeshError {
    /// An error with this code and message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The portable form of an operation's error. The text of one that came through another node ends in its code already: it
    /// is taken off, so that nobody reads it twice.
    #[must_use]
    pub fn from_coded(error: &dyn Coded) -> Self {
        let (code, mut message) = (error.code(), error.to_string());
        let said = format!(" ({code})");
        while let Some(len) = message.strip_suffix(&said).map(str::len) {
            message.truncate(len);
        }
        Self { code, message }
    }
}

impl Coded for MeshError {
    fn code(&self) -> ErrorCode {
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_text_and_no_two_share_one() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_text(code.as_str()), *code);
            assert!(seen.insert(code.as_str()), "{code} twice");
        }
    }

    #[test]
    fn the_code_of_an_error_that_came_through_other_nodes_is_said_once() {
        let refused = MeshError::new(ErrorCode::Forbidden, "only an admin may do this");
        let mut passed_on = MeshError::from_coded(&refused);
        for _ in 0..3 {
            passed_on = MeshError::from_coded(&passed_on);
        }
        assert_eq!(passed_on, refused);
        assert_eq!(passed_on.to_string(), "only an admin may do this (forbidden)");
        let twice = MeshError::new(ErrorCode::Forbidden, "no (forbidden)");
        assert_eq!(MeshError::from_coded(&twice).to_string(), "no (forbidden)");
        // Another code is a part of what is said.
        let other = MeshError::new(ErrorCode::Busy, "no (forbidden)");
        assert_eq!(MeshError::from_coded(&other), other);
    }

    #[test]
    fn a_code_from_a_newer_peer_becomes_internal_instead_of_failing() {
        assert_eq!(ErrorCode::from_text("code_of_the_future"), ErrorCode::Internal);
    }
}
