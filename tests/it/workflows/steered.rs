//! What changes the course of a run: cancelling, pausing, signals, compensation.

use super::{ended, status, step, step_is, submit, workflow, workflow_error};
use crate::support::{Node, eventually};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_run_stops_its_steps_at_once_and_frees_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let definition = json!({"name": "slow", "steps": [
        {"id": "each", "for_each": "${[1, 2, 3]}", "tool": "sleep", "input": {"seconds": 3600}},
        {"id": "after", "tool": "echo", "input": {}, "needs": ["each"]},
    ]});
    let id = submit(&node, definition).await;
    step_is(&node, &id, "each", "running").await;
    workflow(&node, "cancel", json!({"workflow_id": id, "reason": "not needed"})).await;
    let run = ended(&node, &id).await;
    assert_eq!((&run["state"], &run["error"]["code"]), (&json!("cancelled"), &json!("cancelled")), "{run}");
    assert!(run["error"]["message"].as_str().unwrap().contains("not needed"), "{run}");
    assert_eq!(
        (&step(&run, "each")["state"], &step(&run, "after")["state"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    eventually("no task of it runs any more", || async {
        let counts = node.queue("status", json!({})).await["counts"].clone();
        (counts["running"] == 0 && counts["queued"] == 0).then_some(())
    })
    .await;
    let again = workflow(&node, "cancel", json!({"workflow_id": id})).await;
    assert_eq!(again["state"], "cancelled", "cancelling twice is no error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_starts_nothing_until_it_is_resumed_and_a_signal_may_come_early() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let definition = json!({"name": "gated", "steps": [
        {"id": "first", "wait": {"signal": "one"}},
        {"id": "second", "wait": {"signal": "two"}, "needs": ["first"]},
        {"id": "done", "tool": "echo", "input": {"by": "${steps.second.output.by}"}},
    ]});
    let id = submit(&node, definition).await;
    step_is(&node, &id, "first", "waiting").await;
    workflow(&node, "signal", json!({"workflow_id": id, "name": "two", "payload": {"by": "ada"}})).await;
    let paused = workflow(&node, "pause", json!({"workflow_id": id})).await;
    assert_eq!(paused["state"], "paused");
    workflow(&node, "signal", json!({"workflow_id": id, "name": "one"})).await;
    let run = status(&node, &id).await;
    assert_eq!((&run["state"], &step(&run, "done")["state"]), (&json!("paused"), &json!("pending")), "{run}");
    workflow(&node, "resume", json!({"workflow_id": id})).await;
    let run = ended(&node, &id).await;
    assert_eq!(run["output"], json!({"done": {"by": "ada"}}), "{run}");
    let late = workflow_error(&node, "signal", json!({"workflow_id": id, "name": "two"})).await;
    assert_eq!(late["code"], "wrong_state", "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_completed_is_taken_back_in_reverse_order_when_a_step_fails() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let undo = |of: &str| json!({"tool": "echo", "input": {"undo": of}});
    let definition = json!({"name": "saga", "steps": [
        {"id": "a", "tool": "echo", "input": {"x": 1}, "compensate": undo("a")},
        {"id": "b", "tool": "echo", "input": {"x": 2}, "needs": ["a"], "compensate": undo("b")},
        {"id": "c", "tool": "cid", "input": {"path": "/nowhere"}, "needs": ["b"], "on_failure": "compensate",
         "compensate": undo("c")},
    ]});
    let id = submit(&node, definition).await;
    let run = ended(&node, &id).await;
    assert_eq!(run["state"], "failed", "{run}\n{}", node.log());
    assert!(run["error"]["message"].as_str().unwrap().contains('c'), "{run}");
    let states: Vec<&Value> = ["a", "b", "c"].iter().map(|id| &step(&run, id)["state"]).collect();
    assert_eq!(states, ["compensated", "compensated", "failed"], "{run}");
    let tasks = node.queue("list_tasks", json!({"task_type": "echo"})).await;
    let mut undone = Vec::new();
    // Newest first.
    for task in tasks["tasks"].as_array().unwrap() {
        let record = node.queue("task_status", json!({"task_id": task["task_id"]})).await;
        undone.extend(record["payload"]["undo"].as_str().map(str::to_owned));
    }
    assert_eq!(undone, ["a", "b"], "b was taken back first, c never completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_does_not_fit_its_tool_fails_the_step_and_names_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let definition = json!({"name": "misfit", "steps": [
        {"id": "a", "tool": "echo", "input": {"seconds": "soon"}},
        {"id": "b", "tool": "sleep", "input": {"seconds": "${steps.a.output.seconds}"}},
    ]});
    let run = ended(&node, &submit(&node, definition).await).await;
    assert_eq!(run["state"], "failed", "{run}");
    let message = step(&run, "b")["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("seconds") && message.contains('a'), "both are named: {message}");
    assert_eq!(
        node.queue("list_tasks", json!({"task_type": "sleep"})).await["tasks"],
        json!([]),
        "it was never run"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_it_may_be_is_refused_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let large = json!({"name": "large", "steps": [{"id": "a", "tool": "echo", "input": {"x": "y".repeat(10 << 20)}}]});
    let error = workflow_error(&node, "submit", json!({"workflow": large})).await;
    assert_eq!(error["code"], "too_large", "{error}");
    assert!(error["message"].as_str().unwrap().contains("1048576"), "{error}");
    let wide = json!({"name": "wide", "inputs": {"n": {"type": "array"}}, "steps": [
        {"id": "a", "for_each": "${inputs.n}", "tool": "echo", "input": {}},
    ]});
    let inputs = json!({"n": vec![0; 400_000]});
    let submitted = workflow(&node, "submit", json!({"workflow": wide, "inputs": inputs})).await;
    let run = ended(&node, submitted["workflow_id"].as_str().unwrap()).await;
    assert_eq!(run["state"], "failed");
    assert!(run["error"]["message"].as_str().unwrap().contains("100000"), "{}", run["error"]);
}
