//! Workflows with real processes: from a file to a result, across peers, and through what goes wrong.

mod across_peers;
mod command_line;
mod examples_of_the_user;
mod killed;
mod killed_at_random;
mod steered;

use crate::support::{Node, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The workflow by which the names of the format are fixed.
pub(crate) const GREET: &str = r#"name: greet
inputs: { who: { type: string, default: world } }
steps:
  - id: hello
    tool: echo
    input: { text: "hello ${inputs.who}" }
  - id: each
    needs: [hello]
    for_each: "${[1, 2, 3]}"
    tool: echo
    input: { n: "${item}", of: "${steps.hello.output.text}" }
    retry: { max_attempts: 3, backoff_s: 1 }
    timeout_s: 30
    when: "size(steps.hello.output.text) > 0"
output: "${steps.each.output}"
"#;

/// A tool of workflows by the last part of its name; panics on an error.
pub(crate) async fn workflow(node: &Node, tool: &str, arguments: Value) -> Value {
    match node.tool(&format!("p2p_workflow_{tool}"), arguments.clone()).await {
        Ok(value) => value,
        Err(error) => panic!("{tool} {arguments} gave {error}\n{}", node.log()),
    }
}

/// The same, for an error; panics on success.
pub(crate) async fn workflow_error(node: &Node, tool: &str, arguments: Value) -> Value {
    match node.tool(&format!("p2p_workflow_{tool}"), arguments.clone()).await {
        Ok(value) => panic!("{tool} {arguments} should have failed but gave {value}"),
        Err(error) => error,
    }
}

/// Submits a definition and gives the id of its run.
pub(crate) async fn submit(node: &Node, definition: Value) -> String {
    let submitted = workflow(node, "submit", json!({"workflow": definition})).await;
    submitted["workflow_id"].as_str().unwrap().to_owned()
}

pub(crate) async fn status(node: &Node, id: &str) -> Value {
    workflow(node, "status", json!({"workflow_id": id})).await
}

/// Waits for the end of a run and gives it as it ended.
pub(crate) async fn ended(node: &Node, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let run = workflow(node, "status", json!({"workflow_id": id, "wait_s": 10})).await;
        if ["completed", "failed", "cancelled"].contains(&run["state"].as_str().unwrap()) {
            return run;
        }
        assert!(Instant::now() < deadline, "run {id} never ended: {run}\n{}", node.log());
    }
}

/// A step of a run.
pub(crate) fn step<'a>(run: &'a Value, id: &str) -> &'a Value {
    let steps = run["steps"].as_array().unwrap();
    steps.iter().find(|step| step["id"] == id).unwrap_or_else(|| panic!("no step {id} in {run}"))
}

/// Waits until a step is in this state.
pub(crate) async fn step_is(node: &Node, run: &str, id: &str, state: &str) {
    eventually(&format!("step {id} is {state}"), || async {
        (step(&status(node, run).await, id)["state"] == state).then_some(())
    })
    .await;
}
