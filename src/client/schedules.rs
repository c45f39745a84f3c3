//! The tools of schedules, one method each.
//!
//! `peer` is always the peer (id or address) whose scheduler is asked; none is the node itself.

use super::answers::Answer;
use super::arguments::{SubmitArgs, given, members};
use super::connection::NodeClient;
use super::error::ClientError;
use super::workflows::RunArgs;
use serde::Serialize;
use serde_json::{Map, Value};

/// How all of their names begin.
const PREFIX: &str = "p2p_schedule_";

/// Arguments of `p2p_schedule_create`: exactly one of `cron` and `every_s`, and of `task` and `run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ScheduleArgs {
    /// Name, unique on its node.
    pub(crate) name: String,
    /// A cron expression; either this or `every_s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cron: Option<String>,
    /// IANA name of the time zone of the expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timezone: Option<String>,
    /// Seconds between two starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) every_s: Option<f64>,
    /// What becomes of missed times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<String>,
    /// While the last start is not finished, no other one is made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_overlap: bool,
    /// The task that is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<SubmitArgs>,
    /// The workflow that is started; its arguments stand beside the others.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunArgs>,
    /// The peer whose scheduler keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// What can be done with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScheduleControl {
    /// Start nothing until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Forget it.
    Remove,
    /// Start once now.
    Trigger,
}

impl NodeClient {
    async fn schedule(&self, tool: &str, arguments: Map<String, Value>) -> Result<Answer, ClientError> {
        self.call(&format!("{PREFIX}{tool}"), arguments).await.map(Answer)
    }

    /// Makes a schedule; answered when it is durable.
    ///
    /// # Errors
    /// As every call: see [`NodeClient::call`].
    pub(crate) async fn add_schedule(&self, arguments: &ScheduleArgs) -> Result<Answer, ClientError> {
        self.schedule("create", members(arguments)).await
    }

    /// The schedules by name: `{schedules: [...]}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn list_schedules(
        &self,
        name: Option<&str>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let arguments = given([("name", name.map(Value::from)), ("peer", peer.map(Value::from))]);
        self.schedule("list", arguments).await
    }

    /// Pauses, resumes, removes or triggers a schedule, by its id or its name.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn control_schedule(
        &self,
        schedule: &str,
        control: ScheduleControl,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let tool = match control {
            ScheduleControl::Pause => "pause",
            ScheduleControl::Resume => "resume",
            ScheduleControl::Remove => "remove",
            ScheduleControl::Trigger => "trigger",
        };
        self.schedule(tool, given([("schedule", Some(schedule.into())), ("peer", peer.map(Value::from))]))
            .await
    }
}
