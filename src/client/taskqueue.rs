//! The tools of the task queue, one method each. Whom a node knows is asked through the tools of membership
//! ([`super::peers`]), which say more than `p2p_taskqueue_discover_peers`.
//!
//! `peer` is always the peer (id or address) on which the tool runs; none is the node itself.

use super::answers::{Answer, Submitted, TaskEnd};
use super::arguments::{ListArgs, SubmitArgs, UpdateArgs, given, members};
use super::connection::NodeClient;
use super::error::ClientError;
use serde_json::{Map, Value};
use std::time::Duration;

/// How all of their names begin.
const PREFIX: &str = "p2p_taskqueue_";

impl NodeClient {
    async fn queue(&self, tool: &str, arguments: Map<String, Value>) -> Result<Answer, ClientError> {
        self.call(&format!("{PREFIX}{tool}"), arguments).await.map(Answer)
    }

    /// Puts a task into the queue; answered when it is durable.
    ///
    /// # Errors
    /// As every call: see [`NodeClient::call`].
    pub(crate) async fn submit(&self, arguments: &SubmitArgs) -> Result<(Submitted, Answer), ClientError> {
        let answer = self.queue("submit", members(arguments)).await?;
        let submitted = serde_json::from_value(answer.0.clone()).map_err(|error| ClientError::Answer {
            tool: format!("{PREFIX}submit"),
            problem: error.to_string(),
        })?;
        Ok((submitted, answer))
    }

    /// Where a task stands, with its result when it is finished; waits that long for its end.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn get_result(
        &self,
        task_id: &str,
        wait: Duration,
        peer: Option<&str>,
    ) -> Result<TaskEnd, ClientError> {
        let wait_s = (!wait.is_zero()).then(|| Value::from(wait.as_secs_f64()));
        let arguments =
            given([("task_id", Some(task_id.into())), ("wait_s", wait_s), ("peer", peer.map(Value::from))]);
        let answer = self.call_waiting(&format!("{PREFIX}get_result"), arguments, wait).await?;
        TaskEnd::of(Answer(answer))
    }

    /// The whole record of a task, with what it waits for.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn task_status(&self, task_id: &str, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.queue("task_status", given([("task_id", Some(task_id.into())), ("peer", peer.map(Value::from))]))
            .await
    }

    /// One page of tasks, newest first: `{tasks, next_cursor}`.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn list_tasks(&self, arguments: &ListArgs) -> Result<Answer, ClientError> {
        self.queue("list_tasks", members(arguments)).await
    }

    /// Gives up a task.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn cancel(
        &self,
        task_id: &str,
        reason: Option<&str>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let id = ("task_id", Some(task_id.into()));
        self.queue(
            "cancel",
            given([id, ("reason", reason.map(Value::from)), ("peer", peer.map(Value::from))]),
        )
        .await
    }

    /// Changes what may be changed of an unfinished task.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn update_task(&self, arguments: &UpdateArgs) -> Result<Answer, ClientError> {
        self.queue("update_task", members(arguments)).await
    }

    /// Puts a finished task back into the queue.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn resubmit(
        &self,
        task_id: &str,
        delay_s: Option<f64>,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let id = ("task_id", Some(task_id.into()));
        self.queue(
            "resubmit",
            given([id, ("delay_s", delay_s.map(Value::from)), ("peer", peer.map(Value::from))]),
        )
        .await
    }

    /// Changes the priority of a task.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn priority(
        &self,
        task_id: &str,
        priority: u8,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let id = ("task_id", Some(task_id.into()));
        self.queue(
            "priority",
            given([id, ("priority", Some(priority.into())), ("peer", peer.map(Value::from))]),
        )
        .await
    }

    /// Counts of the queue; with `detail` by type and per worker.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn status(&self, detail: bool, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.queue("status", given([("detail", Some(detail.into())), ("peer", peer.map(Value::from))])).await
    }

    /// The workers that a queue knows.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn worker_stats(&self, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.queue("worker_stats", given([("peer", peer.map(Value::from))])).await
    }

    /// Tells all connected peers now what the node offers.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn announce(&self, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.queue("announce", given([("peer", peer.map(Value::from))])).await
    }

    /// Signals that the node lives.
    ///
    /// # Errors
    /// As every call.
    #[cfg_attr(not(test), expect(dead_code, reason = "no command needs it"))]
    pub(crate) async fn heartbeat(&self, peer: Option<&str>) -> Result<Answer, ClientError> {
        self.queue("heartbeat", given([("peer", peer.map(Value::from))])).await
    }

    /// Drains the node: no new work; with `exit` its process ends afterwards.
    ///
    /// # Errors
    /// As every call.
    pub(crate) async fn shutdown(
        &self,
        deadline: Option<Duration>,
        exit: bool,
        peer: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let deadline_s = deadline.map(|deadline| Value::from(deadline.as_secs_f64()));
        let exit = ("exit", Some(exit.into()));
        self.queue("shutdown", given([("deadline_s", deadline_s), exit, ("peer", peer.map(Value::from))]))
            .await
    }
}
