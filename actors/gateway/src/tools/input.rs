//! Reading arguments: what is wrong is said with the field, its value and what would be right.

use super::closest;
use meshwork_proto::{ErrorCode, MeshError, TaskId};
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Longest wait for the end of a task.
pub(crate) const MAX_WAIT_S: f64 = 60.0;
/// Entries on a page when no number is given, and most entries on a page.
const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 1000;
/// Longest time for anything else: a year.
pub(crate) const MAX_TIME_S: f64 = 31_536_000.0;

/// The error for a wrong argument.
pub(crate) fn invalid(message: impl Into<String>) -> MeshError {
    MeshError::new(ErrorCode::InvalidArgument, message)
}

/// Reads the arguments of a tool that takes these fields.
pub(crate) fn parse<T: DeserializeOwned>(fields: &[String], arguments: JsonObject) -> Result<T, MeshError> {
    if let Some(unknown) = arguments.keys().find(|key| !fields.contains(key)) {
        let shown: String = unknown.chars().take(80).collect();
        let hint = match closest(unknown, fields.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}? "),
            None => String::new(),
        };
        return Err(invalid(format!(
            "unknown field {shown:?}: {hint}known fields are {}",
            fields.join(", ")
        )));
    }
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner().to_string());
        invalid(if path == "." { problem } else { format!("{path}: {problem}") })
    })
}

/// Reads a task id.
pub(crate) fn task_id(text: &str) -> Result<TaskId, MeshError> {
    text.parse().map_err(|error| MeshError::from_coded(&error as &meshwork_proto::id::IdError))
}

/// Reads `limit`.
pub(crate) fn page(limit: Option<u32>) -> Result<u32, MeshError> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(invalid(format!("limit is {limit}, which is out of range: expected 1 to {MAX_PAGE}")))
}

/// Reads a time in seconds: finite, not negative, at most `max`.
pub(crate) fn seconds(field: &str, value: f64, max: f64) -> Result<Duration, MeshError> {
    if value.is_finite() && (0.0..=max).contains(&value) {
        return Duration::try_from_secs_f64(value).map_err(|error| invalid(format!("{field}: {error}")));
    }
    Err(invalid(format!("{field} is {value}, which is out of range: expected 0 to {max} seconds")))
}

/// Reads a time in seconds that must not be 0, as milliseconds.
pub(crate) fn limit_ms(field: &str, value: Option<f64>) -> Result<Option<u64>, MeshError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match crate::node::millis(seconds(field, value, MAX_TIME_S)?) {
        0 => Err(invalid(format!("{field} is {value}: expected at least 0.001 seconds"))),
        millis => Ok(Some(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Taken {
        #[allow(dead_code, reason = "only read")]
        priority: u8,
        #[allow(dead_code, reason = "only read")]
        labels: Option<Vec<String>>,
    }

    fn refused(arguments: Value) -> String {
        let Value::Object(arguments) = arguments else { panic!("not an object") };
        parse::<Taken>(&["priority".into(), "labels".into()], arguments).unwrap_err().message
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let message = refused(json!({"priorty": 1}));
        assert!(
            message.contains("\"priorty\"") && message.contains("did you mean \"priority\""),
            "{message}"
        );
        assert!(refused(json!({"x".repeat(1_000_000): 1})).len() < 300);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        assert!(refused(json!({"priority": "high"})).starts_with("priority: invalid type"));
        assert!(refused(json!({"priority": 1, "labels": ["a", 2]})).starts_with("labels[1]: invalid type"));
        assert_eq!(refused(json!({})), "missing field `priority`");
    }

    #[test]
    fn times_are_finite_not_negative_and_bounded() {
        assert_eq!(seconds("wait_s", 1.5, 60.0).unwrap(), Duration::from_millis(1500));
        for wrong in [-0.1, 60.1, f64::NAN, f64::INFINITY, f64::MAX] {
            assert!(seconds("wait_s", wrong, 60.0).unwrap_err().message.contains("wait_s"), "{wrong}");
        }
        assert_eq!(limit_ms("timeout_s", Some(0.0)).unwrap_err().code, ErrorCode::InvalidArgument);
        assert_eq!(limit_ms("timeout_s", Some(0.25)), Ok(Some(250)));
    }
}
