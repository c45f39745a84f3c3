//! How a command fails: what a person or a script is told, and the exit code.

use super::exit::Exit;
use crate::config::ConfigError;
use meshwork_proto::{Coded, ErrorCode, MeshError};
use serde_json::{Map, Value, json};

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// Whoever read the output went away: nothing is reported, and it counts as done.
    ClosedPipe,
    /// The result was already shown, and it is not a success (a task that failed).
    Shown(Exit),
    /// An error with a stable code, and further members for scripts.
    Error {
        /// Code and message.
        error: MeshError,
        /// Exit code of the process; by the code of the error unless said otherwise.
        exit: Exit,
        /// Further members of the JSON form.
        details: Map<String, Value>,
    },
}

impl Failure {
    /// An error with this code and message.
    #[must_use]
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        MeshError::new(code, message).into()
    }

    /// A fault of ours, or of the machine.
    #[must_use]
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// A wrong argument.
    #[must_use]
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// The failure of an operation.
    #[must_use]
    pub(crate) fn from_coded(error: &dyn Coded) -> Self {
        MeshError::from_coded(error).into()
    }

    /// The same with a further member in its JSON form.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Error { details, .. } = &mut self {
            details.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The same with another exit code than that of its error.
    #[must_use]
    pub(crate) fn exiting(mut self, with: Exit) -> Self {
        if let Self::Error { exit, .. } = &mut self {
            *exit = with;
        }
        self
    }

    /// The exit code of the process.
    #[must_use]
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::ClosedPipe => Exit::Ok,
            Self::Shown(exit) | Self::Error { exit, .. } => *exit,
        }
    }

    /// What is written to standard error; none when there is nothing to say (any more).
    #[must_use]
    pub(crate) fn render(&self, as_json: bool) -> Option<String> {
        let Self::Error { error, details, .. } = self else { return None };
        if !as_json {
            return Some(format!("error: {error}"));
        }
        let mut members = Map::new();
        members.insert("code".into(), error.code.as_str().into());
        members.insert("message".into(), error.message.as_str().into());
        members.extend(details.clone());
        Some(json!({"error": members}).to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let problems = error.problems.iter().map(|problem| json!(problem)).collect::<Vec<_>>();
        Self::from_coded(&error).with("problems", problems)
    }
}

impl From<MeshError> for Failure {
    fn from(mut error: MeshError) -> Self {
        let exit = Exit::for_code(error.code);
        error.message.truncate(without_code(&error.message, error.code).len());
        Self::Error { error, exit, details: Map::new() }
    }
}

/// The message without the code at its end, which an error that came through another node may have already: whoever
/// shows a message says the code behind it.
#[must_use]
pub(crate) fn without_code(message: &str, code: ErrorCode) -> &str {
    let suffix = format!(" ({code})");
    let mut message = message;
    while let Some(shorter) = message.strip_suffix(&suffix) {
        message = shorter;
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_sentence_for_people_and_one_object_for_scripts() {
        let failure = Failure::new(ErrorCode::UnknownTask, "no task 12").with("task_id", "12");
        assert_eq!(failure.render(false).unwrap(), "error: no task 12 (unknown_task)");
        let json: Value = serde_json::from_str(&failure.render(true).unwrap()).unwrap();
        assert_eq!(
            json,
            json!({"error": {"code": "unknown_task", "message": "no task 12", "task_id": "12"}})
        );
        assert_eq!(failure.exit(), Exit::NotFound);
    }

    #[test]
    fn a_code_that_the_message_already_has_is_not_said_twice() {
        let failure = Failure::new(ErrorCode::UnknownTask, "no task 12 (unknown_task)");
        assert_eq!(failure.render(false).unwrap(), "error: no task 12 (unknown_task)");
        let other = Failure::new(ErrorCode::Busy, "no task 12 (unknown_task)");
        assert_eq!(other.render(false).unwrap(), "error: no task 12 (unknown_task) (busy)");
    }

    #[test]
    fn all_problems_of_a_configuration_reach_a_script_one_by_one() {
        let mut error = ConfigError::one("a.yaml:1:1", "is wrong");
        error.problems.extend(ConfigError::one("a.yaml:2:1", "is wrong too").problems);
        let failure = Failure::from(error);
        let json: Value = serde_json::from_str(&failure.render(true).unwrap()).unwrap();
        assert_eq!(json["error"]["problems"][1]["place"], "a.yaml:2:1");
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
