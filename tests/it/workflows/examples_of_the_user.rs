//! The two examples by which workflows were asked for: inference and then embedding in the short form, and a workflow
//! that is spread over named peers.

use super::{ended, step, submit, workflow};
use crate::support::{Node, config, connected, invitation, pair};
use serde_json::json;

/// Stand-ins for models: programs that answer as such tools do.
const MODELS: &str = "executor:
  tools:
    - name: inference
      description: Writes on from a prompt
      command: [/bin/sh, -c, 'read line; echo \"{\\\"text\\\": \\\"generated\\\", \\\"asked\\\": $line}\"']
      input_schema: {type: object, properties: {prompt: {type: string}}, required: [prompt]}
    - name: embedding
      description: Turns a text into numbers
      command: [/bin/sh, -c, 'cat > /dev/null; echo \"{\\\"vector\\\": [0.25, 0.5]}\"']
      input_schema: {type: object, properties: {text: {type: string}}, required: [text]}
";

#[tokio::test(flavor = "multi_thread")]
async fn inference_and_then_embedding_in_the_short_form() {
    let dir = tempfile::tempdir().unwrap();
    let models = config(dir.path(), "models.yaml", MODELS);
    let node = Node::start(&dir.path().join("n"), &["--config", &models]).await;
    let definition = json!({"tasks": [
        {"type": "inference", "model": "gpt2", "payload": {"prompt": "hello"}},
        {"type": "embedding", "model": "bert", "payload": {"text": "${steps.task_1.output.text}"}},
    ]});
    let run = ended(&node, &submit(&node, definition).await).await;
    assert_eq!(run["state"], "completed", "{run}\n{}", node.log());
    assert_eq!(run["output"], json!({"task_2": {"vector": [0.25, 0.5]}}));
    let [first, second] = [step(&run, "task_1"), step(&run, "task_2")];
    assert_eq!((&first["what"], &second["what"]), (&json!("inference"), &json!("embedding")));
    assert_eq!(second["needs"], json!(["task_1"]), "run in order");
    assert!(first["finished"].as_f64() <= second["started"].as_f64(), "{run}");
    let tasks = node.queue("list_tasks", json!({"task_type": "inference"})).await;
    let task = &tasks["tasks"][0]["task_id"];
    let record = node.queue("task_status", json!({"task_id": task})).await;
    assert_eq!((&record["model_name"], &record["payload"]), (&json!("gpt2"), &json!({"prompt": "hello"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_with_target_peers_is_worked_on_by_them_and_shows_who_coordinates() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path(), &[], &[]).await;
    let c = Node::start(&dir.path().join("c"), &["--join", &invitation(&a).await]).await;
    connected(&a, &c).await;
    let definition = json!({"name": "spread", "steps": [
        {"id": "each", "for_each": "${[1, 2, 3, 4, 5, 6, 7, 8]}", "tool": "echo", "input": {"n": "${item}"}},
    ]});
    let targets = json!([b.peer_id(), c.peer_id()]);
    let submitted = workflow(&a, "submit", json!({"workflow": definition, "target_peers": targets})).await;
    let id = submitted["workflow_id"].as_str().unwrap();
    let run = ended(&a, id).await;
    assert_eq!(run["state"], "completed", "{run}\n{}", a.log());
    assert_eq!(run["output"]["each"].as_array().unwrap().len(), 8, "{run}");
    let peers = run["coordinating_peers"].as_array().unwrap();
    assert_eq!(peers[0], a.peer_id(), "the coordinator comes first");
    assert!(peers.contains(&json!(b.peer_id())) && peers.contains(&json!(c.peer_id())), "{run}");
    let tasks = a.queue("list_tasks", json!({"limit": 50})).await;
    let workers: Vec<&str> =
        tasks["tasks"].as_array().unwrap().iter().map(|task| task["worker"].as_str().unwrap()).collect();
    assert_eq!(workers.len(), 8);
    assert!(
        workers.iter().all(|worker| worker.starts_with(b.peer_id()) || worker.starts_with(c.peer_id())),
        "only the target peers work on it: {workers:?}"
    );
}
