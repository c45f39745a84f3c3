//! The exit codes: stable, few, and enough for a script to decide what to do.

use meshwork_proto::ErrorCode;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It could not.
    Failed = 1,
    /// The command line, an argument, the configuration or a workflow is wrong.
    Usage = 2,
    /// The node, or the peer that was addressed, cannot be reached.
    Unreachable = 3,
    /// The task, tool or workflow ran and failed, or was cancelled.
    TaskFailed = 4,
    /// The time that was allowed is over.
    Timeout = 5,
    /// No such task, tool, peer, artifact, run of a workflow or schedule.
    NotFound = 6,
    /// The node refused: forbidden, or not admitted.
    Refused = 7,
}

/// Every exit code with its meaning, for help texts.
pub(crate) const EXIT_CODES: [(Exit, &str); 8] = [
    (Exit::Ok, "done"),
    (Exit::Failed, "the operation failed (the code in the message says why)"),
    (Exit::Usage, "wrong command line, argument, configuration or workflow"),
    (Exit::Unreachable, "the node, or the peer given with --peer, cannot be reached"),
    (Exit::TaskFailed, "the task, tool or workflow ran and failed, or was cancelled"),
    (Exit::Timeout, "the time that was allowed is over"),
    (Exit::NotFound, "no such task, tool, peer, artifact, run of a workflow or schedule"),
    (Exit::Refused, "the node refused: forbidden, or not admitted"),
];

impl Exit {
    /// As a number.
    #[must_use]
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// The exit for an error with this code.
    #[must_use]
    pub(crate) const fn for_code(code: ErrorCode) -> Self {
        use ErrorCode as C;
        match code {
            C::InvalidArgument | C::InvalidJson | C::InvalidWorkflow | C::Config => Self::Usage,
            C::Unavailable | C::Unreachable => Self::Unreachable,
            C::ToolFailed
            | C::ToolCrashed
            | C::ToolTimeout
            | C::ToolOutput
            | C::Cancelled
            | C::Expired
            | C::LeaseLost => Self::TaskFailed,
            C::Timeout => Self::Timeout,
            C::UnknownTask
            | C::UnknownTool
            | C::UnknownPeer
            | C::UnknownArtifact
            | C::UnknownWorkflow
            | C::UnknownSchedule => Self::NotFound,
            C::Forbidden | C::NotAdmitted => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_documented_ones_and_no_error_ends_as_success() {
        let numbers: Vec<u8> = EXIT_CODES.iter().map(|(exit, _)| exit.number()).collect();
        assert_eq!(numbers, (0..=7).collect::<Vec<u8>>());
        for code in ErrorCode::ALL {
            assert_ne!(Exit::for_code(*code), Exit::Ok, "{code}");
        }
        assert_eq!(Exit::for_code(ErrorCode::UnknownTask), Exit::NotFound);
        assert_eq!(Exit::for_code(ErrorCode::NotAdmitted), Exit::Refused);
        assert_eq!(Exit::for_code(ErrorCode::QueueFull), Exit::Failed);
    }
}
