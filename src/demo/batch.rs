//! The batch: which tasks, submitting them through MCP, watching them, reading their records.

use super::Plan;
use super::mesh::{COMPRESS_TOOL, GIT_TOOL};
use crate::client::NodeClient;
use crate::output::{Failure, Progress};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Requests under way at once.
const IN_FLIGHT: usize = 16;
/// One task in so many asks the MCP server; the rest is the process tool's.
const GIT_SHARE: usize = 5;

/// A task to submit.
pub(super) struct Planned {
    tool: &'static str,
    file: String,
    arguments: Value,
}

/// A task that was accepted.
pub(super) struct Accepted {
    id: String,
    tool: &'static str,
    file: String,
}

/// One finished task.
pub(super) struct Done {
    pub(super) id: String,
    pub(super) tool: &'static str,
    pub(super) file: String,
    pub(super) record: Value,
}

/// One task for each file of the repository, again from the first when there are more tasks than files.
pub(super) fn plan(options: &Plan) -> Result<Vec<Planned>, Failure> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(&options.repository)
        .args(["ls-files", "-z"])
        .output()
        .map_err(|error| Failure::internal(format!("git ls-files: {error}")))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: Vec<&str> = listed.split('\0').filter(|file| !file.is_empty()).collect();
    if files.is_empty() {
        return Err(Failure::usage(format!(
            "{} is not a git repository with files",
            options.repository.display()
        )));
    }
    let task = |(number, file): (usize, &&str)| {
        let file = (*file).to_owned();
        if number % GIT_SHARE == 0 {
            let arguments = json!({"repo_path": options.repository, "max_count": 1 + number % 20});
            Planned { tool: GIT_TOOL, file: "(history)".into(), arguments }
        } else {
            let arguments = json!({"path": options.repository.join(&file)});
            Planned { tool: COMPRESS_TOOL, file, arguments }
        }
    };
    Ok(files.iter().cycle().take(options.tasks).enumerate().map(task).collect())
}

/// Submits them all.
pub(super) async fn submit(client: &NodeClient, planned: Vec<Planned>) -> Result<Vec<Accepted>, Failure> {
    stream::iter(planned)
        .map(|task| async move {
            let payload = json!({"tool": task.tool, "arguments": task.arguments});
            let arguments = json!({"task_type": "tool.call", "payload": payload});
            let accepted = super::call(client, "p2p_taskqueue_submit", arguments).await?;
            let id = accepted["task_id"].as_str().unwrap_or_default().to_owned();
            Ok(Accepted { id, tool: task.tool, file: task.file })
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await
}

/// How many tasks have ended.
pub(super) async fn finished(client: &NodeClient) -> Result<u64, Failure> {
    let status = super::call(client, "p2p_taskqueue_status", json!({})).await?;
    let count = |state: &str| status["counts"][state].as_u64().unwrap_or(0);
    Ok(count("completed") + count("failed") + count("cancelled"))
}

/// The tasks that run on a peer now.
pub(super) async fn running_on(client: &NodeClient, peer_id: &str) -> Result<Vec<String>, Failure> {
    let page =
        super::call(client, "p2p_taskqueue_list_tasks", json!({"status": "running", "limit": 100})).await?;
    let running = page["tasks"].as_array().cloned().unwrap_or_default();
    let there =
        running.iter().filter(|task| task["worker"].as_str().is_some_and(|id| id.starts_with(peer_id)));
    Ok(there.filter_map(|task| task["task_id"].as_str().map(str::to_owned)).collect())
}

/// Waits until all have ended.
pub(super) async fn wait_for_all(
    client: &NodeClient,
    tasks: usize,
    progress: &mut Progress,
) -> Result<(), Failure> {
    loop {
        let done = finished(client).await?;
        progress.advance(done, Some(tasks as u64));
        if done >= tasks as u64 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The record of each.
pub(super) async fn records(client: &NodeClient, accepted: &[Accepted]) -> Result<Vec<Done>, Failure> {
    stream::iter(accepted)
        .map(|task| async move {
            let record =
                super::call(client, "p2p_taskqueue_task_status", json!({"task_id": task.id})).await?;
            Ok(Done { id: task.id.clone(), tool: task.tool, file: task.file.clone(), record })
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await
}
