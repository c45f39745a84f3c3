//! `p2p_taskqueue_task_status` and `p2p_taskqueue_list_tasks`.

use super::input::{page, task_id};
use super::record::{TaskRecord, TaskSummary};
use super::{Failure, Hints, MeshTool, READS};
use crate::node::{Node, PATIENCE};
use meshwork_proto::queue::{GetTask, List};
use meshwork_proto::task::TaskStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole record of a task.
pub(crate) struct TaskStatusTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskStatusIn {
    /// The task's id.
    task_id: String,
    /// Peer that owns it, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for TaskStatusTool {
    const NAME: &'static str = "p2p_taskqueue_task_status";
    const TITLE: &'static str = "Read a task's record";
    const DESCRIPTION: &'static str = "Gives the whole record of a task: where it stands, why it waits (waiting_for), \
        who runs it, how far it is, every attempt with its error, and what was asked. For the result itself use \
        p2p_taskqueue_get_result.";
    const EXAMPLE: &'static str = r#"{"task_id": "01890a5d2c7e7b6e8f0a1b2c3d4e5f60"}"#;
    const HINTS: Hints = READS;
    type Input = TaskStatusIn;
    type Output = TaskRecord;

    async fn run(node: &Node, input: TaskStatusIn) -> Result<TaskRecord, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let id = task_id(&input.task_id)?;
        let answer = node.ask(&at, GetTask { id, wait_ms: 0 }, PATIENCE).await?;
        Ok(TaskRecord::new(&answer.peer, &answer.value))
    }
}

/// Lists tasks.
pub(crate) struct ListTasks;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListTasksIn {
    /// Only tasks in this state.
    #[schemars(extend("enum" = ["queued", "running", "completed", "failed", "cancelled", null]))]
    status: Option<String>,
    /// Only tasks of this type.
    task_type: Option<String>,
    /// At most so many. 50 if absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// next_cursor of the page before.
    cursor: Option<String>,
    /// Peer whose tasks to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// A page of tasks, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListTasksOut {
    /// The peer that owns them.
    peer_id: String,
    /// The tasks.
    tasks: Vec<TaskSummary>,
    /// Give it as cursor to get the next page; null at the end.
    next_cursor: Option<String>,
}

impl MeshTool for ListTasks {
    const NAME: &'static str = "p2p_taskqueue_list_tasks";
    const TITLE: &'static str = "List tasks";
    const DESCRIPTION: &'static str = "Lists tasks, newest first, page by page, of one state or type if wanted. A member \
        of the mesh sees the tasks it submitted; clients of the node itself see all.";
    const EXAMPLE: &'static str = r#"{"status": "failed", "limit": 20}"#;
    const HINTS: Hints = READS;
    type Input = ListTasksIn;
    type Output = ListTasksOut;

    async fn run(node: &Node, input: ListTasksIn) -> Result<ListTasksOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let status: Option<TaskStatus> = match input.status.as_deref().map(str::parse).transpose() {
            Ok(status) => status,
            Err(error) => return Err(Failure::from_coded(&error as &meshwork_proto::task::SpecError)),
        };
        let limit = page(input.limit)?;
        let Ok(cursor) = input.cursor.as_deref().map(task_id).transpose() else {
            return Err(Failure::invalid(
                "cursor is not one that this tool gave: use next_cursor as it came",
            ));
        };
        let list = List { status, task_type: input.task_type, limit, cursor };
        let answer = node.ask(&at, list, PATIENCE).await?;
        Ok(ListTasksOut {
            peer_id: answer.peer.to_string(),
            tasks: answer.value.tasks.iter().map(TaskSummary::from).collect(),
            next_cursor: answer.value.next.map(|id| id.to_string()),
        })
    }
}
