//! What a tool call gives back: structured content with the same as text, or an error with a stable code.

use meshwork_proto::{Coded, ErrorCode, MeshError};
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::{Map, Value};

/// How alike two names must be for one to be suggested for the other.
const ALIKE: f64 = 0.75;

/// Longest structured content in bytes that is given as text as well: no reader of the text takes more, and as text it
/// would more than double the answer.
const LONGEST_TEXT: usize = 1024 * 1024;

/// Why a tool gave no result, with what helps to do better.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: MeshError,
    /// More members of the error, such as the names there are.
    pub(crate) hints: Map<String, Value>,
}

impl From<MeshError> for Failure {
    fn from(error: MeshError) -> Self {
        Self { error, hints: Map::new() }
    }
}

impl Failure {
    /// An argument is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        MeshError::new(ErrorCode::InvalidArgument, message).into()
    }

    /// The portable form of an operation's error.
    pub(crate) fn from_coded(error: &dyn Coded) -> Self {
        MeshError::from_coded(error).into()
    }

    /// Adds the names there are.
    pub(crate) fn with_names(mut self, member: &str, names: Vec<String>) -> Self {
        self.hints.insert(member.to_owned(), Value::from(names));
        self
    }

    /// The failure as a result with `isError`.
    pub(crate) fn into_result(self) -> CallToolResult {
        let text = self.error.to_string();
        let mut members = Map::new();
        members.insert("code".into(), self.error.code.as_str().into());
        members.insert("message".into(), self.error.message.into());
        members.extend(self.hints);
        let structured = Value::Object(Map::from_iter([("error".to_owned(), Value::Object(members))]));
        let mut result = CallToolResult::structured_error(structured);
        result.content = vec![ContentBlock::text(text)];
        result
    }
}

/// The result of a call that succeeded.
pub(crate) fn success(output: &impl Serialize) -> CallToolResult {
    match serde_json::to_value(output) {
        Ok(value) => {
            let mut text = value.to_string();
            if text.len() > LONGEST_TEXT {
                text = format!("the answer of {} bytes is in structuredContent only", text.len());
            }
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(value);
            result
        }
        // Only a value that is not JSON (a map with keys that are not text) comes here: a fault of ours.
        Err(error) => Failure::from(MeshError::new(
            ErrorCode::Internal,
            format!("result cannot be written as JSON: {error}"),
        ))
        .into_result(),
    }
}

/// The name that is most like `given`, if any is like it at all.
pub(crate) fn closest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name from outside may be long, and the measure is quadratic.
    let given: String = given.chars().take(100).collect();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&given, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_structured_and_reads_as_a_sentence_with_its_code() {
        let failure = Failure::invalid("x is wrong").with_names("available", vec!["y".into()]);
        let result = serde_json::to_value(failure.into_result()).unwrap();
        assert_eq!(result["isError"], true);
        assert_eq!(result["content"][0]["text"], "x is wrong (invalid_argument)");
        let error = &result["structuredContent"]["error"];
        assert_eq!((&error["code"], &error["message"]), (&"invalid_argument".into(), &"x is wrong".into()));
        assert_eq!(error["available"][0], "y");
    }

    #[test]
    fn only_a_name_that_is_alike_is_suggested() {
        let names = ["priority", "payload", "labels"];
        assert_eq!(closest("prioritty", names), Some("priority"));
        assert_eq!(closest("zzz", names), None);
        assert_eq!(closest(&"p".repeat(100_000), names), None);
    }
}
