//! The tools of workflows, one method for each that a command needs.
//!
//! `peer` is always the peer (id or address) whose coordinator is asked; none is the node itself.

use super::answers::Answer;
use super::arguments::{given, members};
use super::connection::NodeClient;
use super::error::ClientError;
use meshwork_proto::{ErrorCode, MeshError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// How all of their names begin.
const PREFIX: &str = "p2p_workflow_";

/// Arguments of `p2p_workflow_submit`, and but for the peers and the key of `p2p_workflow_validate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct RunArgs {
    /// The definition.
    pub(crate) workflow: Value,
    /// Inputs by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inputs: Option<Value>,
    /// Only these peers work on its steps.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) target_peers: BTreeSet<String>,
    /// Same key and same work gives the first run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<String>,
    /// Tools that nobody serves now are no error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_unknown_tools: bool,
    /// The peer that coordinates it; none: the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// The answer to a submit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RunSubmitted {
    /// Its id.
    pub(crate) workflow_id: String,
    /// The peer that coordinates it.
    pub(crate) peer_id: String,
    /// Where it stands.
    pub(crate) state: String,
    /// Whether the idempotency key was known and this is the first run again.
    #[serde(default)]
    pub(crate) existing: Option<bool>,
}

/// Arguments of `p2p_workflow_list`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct RunFilter {
    /// Only this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// Only runs of a workflow with this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    /// The peer whose runs are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `p2p_workflow_coordinate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct CoordinateArgs {
    /// Which run.
    pub(crate) workflow_id: String,
    /// Only these peers may work on it; empty: any; none: as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_peers: Option<Vec<String>>,
    /// Only the peers that are connected now may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) discover: bool,
    /// Who is to coordinate it from now on; none: who does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) coordinator: Option<String>,
    /// It stays although it is being handed over, and the next coordinator may have it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) take_back: bool,
    /// The peer at which it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// What can be done with a run, beside signalling and cancelling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunControl {
    /// Start no further steps.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Run a failed or cancelled run on, from this step or from what has not completed.
    Retry(Option<String>),
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunStatus {
    /// Its id.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) state: String,
    /// Grows with everything that happens to it; 0 from a node that does not say.
    pub(crate) version: u64,
    /// The result, when completed and small enough to travel in the answer.
    pub(crate) output: Value,
    /// Why it failed or was cancelled.
    pub(crate) error: Option<MeshError>,
    /// Its steps.
    pub(crate) steps: Vec<Answer>,
    /// The answer as it came.
    pub(crate) json: Answer,
}

impl RunStatus {
    /// Whether it is finished, one way or another.
    #[must_use]
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled")
    }

    /// Whether it has a result.
    #[must_use]
    pub(crate) fn is_completed(&self) -> bool {
        self.state == "completed"
    }

    pub(super) fn of(json: Answer) -> Result<Self, ClientError> {
        let missing = |name: &str| ClientError::Answer {
            tool: format!("{PREFIX}status"),
            problem: format!("it has no {name}"),
        };
        let error = json.member("error");
        let error = error.text("message").map(|message| {
            MeshError::new(ErrorCode::from_text(error.text("code").unwrap_or_default()), message)
        });
        Ok(Self {
            id: json.text("workflow_id").ok_or_else(|| missing("workflow_id"))?.to_owned(),
            state: json.text("state").ok_or_else(|| missing("state"))?.to_owned(),
            version: json.whole("version").unwrap_or(0),
            output: json.member("output").0,
            error,
            steps: json.items("steps"),
            json,
        })
    }
}

impl NodeClient {
    async fn workflow(&self, tool: &str, arguments: Map<String, Value>) -> Result<Answer, ClientError> {
        self.call(&format!("{PREFIX}{tool}"), arguments).await.map(Answer)
    }

    /// Accepts a run; answered when it is durable.
    ///
    /// # Errors
    /// As every call: see [`NodeClient::call`].
    pub(crate) async fn submit_run(
        &self,
        arguments: &RunArgs,
    ) -> Result<(RunSubmitted, Answer), ClientError> {
        let answer = self.workflow("submit", members(arguments)).await?;
        let submitted = serde_json::from_value(answer.0.clone()).map_err(|error| ClientError::Answer {
            tool: format!("{PREFIX}submit"),
            problem: error.to_string(),
        })?;
        Ok((submitted, answer))
    }

    /// Checks a definition and inputs without running anything: `{valid, name, steps, problems: [{step, field, message}]}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn validate_workflow(&self, arguments: &RunArgs) -> Result<Answer, ClientError> {
        let bare = RunArgs { target_peers: BTreeSet::new(), idempotency_key: None, ..arguments.clone() };
        self.workflow("validate", members(&bare)).await
    }

    /// Where a run stands, with its steps. Waits that long for its end or, when a version is given, until its version is
    /// another one.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn run_status(
        &self,
        id: &str,
        wait: Duration,
        seen: Option<u64>,
        peer: Option<&str>,
    ) -> Result<RunStatus, ClientError> {
        let wait_s = (!wait.is_zero()).then(|| Value::from(wait.as_secs_f64()));
        let seen = ("seen_version", seen.map(Value::from));
        let arguments = given([
            ("workflow_id", Some(id.into())),
            ("wait_s", wait_s),
            seen,
            ("peer", peer.map(Value::from)),
        ]);
        let answer = self.call_waiting(&format!("{PREFIX}status"), arguments, wait).await?;
        RunStatus::of(Answer(answer))
    }

    /// One page of runs, newest first: `{runs: [...], next_cursor}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn list_runs(&self, filter: &RunFilter) -> Result<Answer, ClientError> {
        self.workflow("list", members(filter)).await
    }

    /// Gives up a run; with `compensate`, what completed and has a compensation is taken back.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn cancel_run(
        &self,
        id: &str,
        reason: Option<&str>,
        compensate: bool,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let compensate = ("compensate", compensate.then_some(Value::from(true)));
        let reason = ("reason", reason.map(Value::from));
        let arguments =
            given([("workflow_id", Some(id.into())), reason, compensate, ("peer", peer.map(Value::from))]);
        self.workflow("cancel", arguments).await
    }

    /// Pauses, resumes or retries a run.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn control_run(
        &self,
        id: &str,
        control: &RunControl,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let (tool, from) = match control {
            RunControl::Pause => ("pause", None),
            RunControl::Resume => ("resume", None),
            RunControl::Retry(from) => ("retry", from.as_deref()),
        };
        let from = ("from_step", from.map(Value::from));
        let arguments = given([("workflow_id", Some(id.into())), from, ("peer", peer.map(Value::from))]);
        self.workflow(tool, arguments).await
    }

    /// Delivers a signal to a run.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn signal_run(
        &self,
        id: &str,
        signal: &str,
        payload: Option<Value>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let (signal, payload) = (("name", Some(signal.into())), ("payload", payload));
        let arguments =
            given([("workflow_id", Some(id.into())), signal, payload, ("peer", peer.map(Value::from))]);
        self.workflow("signal", arguments).await
    }

    /// The graph of a run: `json` gives nodes and edges, `mermaid` and `dot` a text to be drawn.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn run_dag(
        &self,
        id: &str,
        format: &str,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let format = ("format", Some(format.into()));
        let arguments = given([("workflow_id", Some(id.into())), format, ("peer", peer.map(Value::from))]);
        self.workflow("get_dag", arguments).await
    }

    /// One page of what happened in a run, oldest first: `{entries: [...], next_after}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn run_history(
        &self,
        id: &str,
        after: Option<u64>,
        limit: Option<u32>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let page = [("after", after.map(Value::from)), ("limit", limit.map(Value::from))];
        let mut arguments = given(page);
        arguments.extend(given([("workflow_id", Some(id.into())), ("peer", peer.map(Value::from))]));
        self.workflow("history", arguments).await
    }

    /// Spreads a run over peers, and hands its coordination to another one if one is named.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn coordinate_run(&self, arguments: &CoordinateArgs) -> Result<Answer, ClientError> {
        self.workflow("coordinate", members(arguments)).await
    }
}
