//! Answers of a node: the JSON as it came, and what is read from it.
//!
//! Reading is lenient, since the node may be newer than the client: members that are not known are kept in the JSON,
//! members that are missing read as nothing.

use super::error::ClientError;
use meshwork_proto::{ErrorCode, MeshError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON object of an answer, with the ways in which it is read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Answer(pub(crate) Value);

impl Answer {
    /// A text; nothing when it is missing, null or something else.
    #[must_use]
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A whole number.
    #[must_use]
    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// A number.
    #[must_use]
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    /// Whether a member is true.
    #[must_use]
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// A member as an answer of its own; null when it is missing.
    #[must_use]
    pub(crate) fn member(&self, name: &str) -> Self {
        Self(self.0.get(name).cloned().unwrap_or(Value::Null))
    }

    /// The items of a list; none when it is missing.
    #[must_use]
    pub(crate) fn items(&self, name: &str) -> Vec<Self> {
        self.0
            .get(name)
            .and_then(Value::as_array)
            .map(|items| items.iter().cloned().map(Self).collect())
            .unwrap_or_default()
    }

    /// The texts of a list, other items as JSON.
    #[must_use]
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.items(name).iter().map(Self::show).collect()
    }

    /// Whether there is nothing.
    #[must_use]
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// A member for a person: texts as they are, nothing for null, the rest as JSON.
    #[must_use]
    pub(crate) fn shown(&self, name: &str) -> String {
        self.member(name).show()
    }

    fn show(&self) -> String {
        match &self.0 {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The answer to a submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    /// Its id.
    pub(crate) task_id: String,
    /// The peer that owns it.
    pub(crate) peer_id: String,
    /// Where it stands.
    pub(crate) status: String,
}

/// The end of a task, or where it stood when the waiting ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskEnd {
    /// Its id.
    pub(crate) task_id: String,
    /// Where it stands.
    pub(crate) status: String,
    /// The result, when completed and small enough to travel in the answer.
    pub(crate) result: Value,
    /// The error, when failed or cancelled.
    pub(crate) error: Option<MeshError>,
    /// Content id of the result.
    pub(crate) output_cid: Option<String>,
    /// Attempts begun.
    pub(crate) attempts: u64,
    /// Who ran it.
    pub(crate) worker: Option<String>,
    /// The answer as it came.
    pub(crate) json: Answer,
}

impl TaskEnd {
    /// Whether it is finished, one way or another.
    #[must_use]
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }

    /// Whether it has a result.
    #[must_use]
    pub(crate) fn is_completed(&self) -> bool {
        self.status == "completed"
    }

    pub(super) fn of(json: Answer) -> Result<Self, ClientError> {
        let missing = |name: &str| ClientError::Answer {
            tool: "p2p_taskqueue_get_result".into(),
            problem: format!("it has no {name}"),
        };
        let error = json.member("error");
        let error = error.text("message").map(|message| {
            MeshError::new(ErrorCode::from_text(error.text("code").unwrap_or_default()), message)
        });
        Ok(Self {
            task_id: json.text("task_id").ok_or_else(|| missing("task_id"))?.to_owned(),
            status: json.text("status").ok_or_else(|| missing("status"))?.to_owned(),
            result: json.member("result").0,
            error,
            output_cid: json.text("output_cid").map(str::to_owned),
            attempts: json.whole("attempts").unwrap_or(0),
            worker: worker(&json),
            json,
        })
    }
}

/// Who runs or ran a task, in one text.
pub(crate) fn worker(task: &Answer) -> Option<String> {
    let worker = task.member("worker");
    match &worker.0 {
        Value::Null => None,
        Value::Object(_) => worker.text("peer").or_else(|| worker.text("peer_id")).map(str::to_owned),
        _ => Some(task.shown("worker")),
    }
}

/// A worker as a table shows it: the end of its peer's id, which tells peers apart, and which run of it.
pub(crate) fn short_worker(worker: &str) -> String {
    const KEPT: usize = 8;
    let (peer, rest) = worker.split_at(worker.find('/').unwrap_or(worker.len()));
    let skipped = peer.chars().count().saturating_sub(KEPT);
    if skipped == 0 {
        worker.to_owned()
    } else {
        format!("…{}{rest}", peer.chars().skip(skipped).collect::<String>())
    }
}
