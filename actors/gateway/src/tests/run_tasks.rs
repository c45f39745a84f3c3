//! Runs as tasks of MCP's Tasks extension.

use super::client::{Client, Era};
use super::fakes::{LOCAL, Node, PEER};
use super::workflow_tools::definition;
use crate::{GatewayOptions, stdio_bridge};
use meshwork_proto::workflow::StepState;
use rmcp::ServiceError;
use rmcp::model::{
    CancelTaskParams, DetailedTask, GetTaskParams, TASKS_EXTENSION_ID, TaskPayload, TaskStatus,
    UpdateTaskParams,
};
use serde_json::{Value, json};

fn greet() -> Value {
    json!({"workflow": definition("greet", &["a", "b"])})
}

async fn get(client: &Client, id: &str) -> DetailedTask {
    client.0.peer().get_task(GetTaskParams::new(id)).await.unwrap().task
}

async fn refused(client: &Client, id: &str) -> i32 {
    match client.0.peer().get_task(GetTaskParams::new(id)).await {
        Err(ServiceError::McpError(error)) => error.code.0,
        other => panic!("{other:?}"),
    }
}

/// The result of a completed task: its structured content, and whether it is an error.
fn result(task: DetailedTask) -> (Value, bool) {
    let TaskPayload::Completed { mut result } = task.payload else { panic!("{task:?}") };
    let failed = result.get("isError") == Some(&json!(true));
    (result["structuredContent"].take(), failed)
}

async fn lives(node: &Node, client: &Client) {
    let offered = client.0.peer_info().unwrap().capabilities.extensions.clone().unwrap();
    assert!(offered.contains_key(TASKS_EXTENSION_ID));
    let task = client.task("p2p_workflow_submit", greet()).await;
    let id = task.task_id.as_str();
    assert_eq!((task.status, task.poll_interval_ms, task.ttl_ms), (TaskStatus::Working, Some(1_000), None));
    assert_eq!(task.created_at, "2023-11-14T22:13:20.000Z");
    assert_eq!(task.last_updated_at, "2023-11-14T22:13:20.500Z");
    node.state.runs.step(id, 0, StepState::Completed);
    let working = get(client, id).await;
    assert_eq!(working.status(), TaskStatus::Working);
    let said = working.task.status_message.unwrap();
    assert_eq!(said, "running: 1 of 2 steps are finished");
    node.state.runs.complete(id, &json!({"text": "hello"}));
    let (answer, failed) = result(get(client, id).await);
    assert_eq!((&answer["workflow_id"], &answer["state"]), (&json!(id), &json!("completed")));
    assert_eq!((&answer["output"], failed), (&json!({"text": "hello"}), false));
    assert_eq!((&answer["peer_id"], &answer["existing"]), (&json!(LOCAL), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_gives_a_task_in_both_eras_and_behind_the_bridge() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        lives(&node, &node.client_with_tasks(era).await).await;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let work = async {
            let client = Client::stream_with_tasks(ours, era).await;
            lives(&node, &client).await;
            client.0.cancel().await
        };
        let (client, bridged) = tokio::join!(work, stdio_bridge(&node.url, input, output));
        assert!(client.is_ok() && bridged.is_ok());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_run_and_any_client_goes_on_with_it() {
    let node = Node::start(GatewayOptions::default()).await;
    let first = node.client_with_tasks(Era::Older).await;
    let id = first.task("p2p_workflow_submit", greet()).await.task_id;
    first.0.cancel().await.unwrap();
    let second = node.client_with_tasks(Era::Present).await;
    assert_eq!(get(&second, &id).await.status(), TaskStatus::Working);
    let run = second.call("p2p_workflow_status", json!({"workflow_id": id})).await;
    assert_eq!(run["state"], "running");
    node.state.runs.fail(&id, "step a: it did not work");
    let (answer, failed) = result(get(&second, &id).await);
    assert_eq!((failed, &answer["state"]), (true, &json!("failed")));
    assert_eq!(answer["error"], json!({"code": "tool_failed", "message": "step a: it did not work"}));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_with_its_run() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client_with_tasks(Era::Present).await;
    let id = client.task("p2p_workflow_submit", greet()).await.task_id;
    for _ in 0..2 {
        // The second time there is nothing to cancel any more, which is fine.
        client.0.peer().cancel_task(CancelTaskParams::new(&id)).await.unwrap();
        assert_eq!(get(&client, &id).await.status(), TaskStatus::Cancelled);
    }
    assert_eq!(node.state.logged("cancelled by the client (tasks/cancel)"), 2);
    let answers = std::collections::BTreeMap::from([("nobody asked".to_owned(), json!(1))]);
    client.0.peer().update_task(UpdateTaskParams::new(&id, answers.clone())).await.unwrap();
    let unknown = "01890a5d2c7e7b6e8f0a1b2c3d4e5f60";
    for id in [unknown, "nonsense", ""] {
        assert_eq!(refused(&client, id).await, -32602, "{id:?}");
        assert!(client.0.peer().cancel_task(CancelTaskParams::new(id)).await.is_err());
        assert!(client.0.peer().update_task(UpdateTaskParams::new(id, answers.clone())).await.is_err());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_run_that_goes_on_and_only_for_who_asked_for_tasks_is_a_task() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let plain = node.client(era).await;
        assert_eq!(plain.call("p2p_workflow_submit", greet()).await["state"], "running");
        assert_eq!(refused(&plain, "01890a5d2c7e7b6e8f0a1b2c3d4e5f60").await, -32021, "who did not say so");
        let client = node.client_with_tasks(era).await;
        let at_once = json!({"workflow": definition("greet", &["a"]), "wait_s": 0});
        assert_eq!(client.call("p2p_workflow_submit", at_once).await["state"], "running");
        let broken = json!({"workflow": definition("broken", &["a"])});
        assert_eq!(client.refused("p2p_workflow_submit", broken).await["code"], "invalid_workflow");
        let key = json!({"workflow": definition("greet", &["a"]), "idempotency_key": "k"});
        let id = client.task("p2p_workflow_submit", key.clone()).await.task_id;
        node.state.runs.complete(&id, &json!(1));
        let first = client.call("p2p_workflow_submit", key).await;
        assert_eq!((&first["state"], &first["existing"]), (&json!("completed"), &json!(true)));
        node.state.runs.change(&id, |run| run.name = format!("{era:?}"));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_at_a_peer_names_the_peer() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client_with_tasks(Era::Present).await;
    let arguments = json!({"workflow": definition("greet", &["a"]), "peer": PEER});
    let task = client.task("p2p_workflow_submit", arguments).await;
    assert_eq!(task.task_id, format!("{}@{PEER}", "09".repeat(16)));
    let (answer, _) = result(get(&client, &task.task_id).await);
    assert_eq!((&answer["peer_id"], &answer["output"]), (&json!(PEER), &json!("far away")));
    node.stop().await;
}
