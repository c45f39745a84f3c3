//! Steps run where their tools are; a run changes hands.

use super::{ended, status, step, step_is, submit, workflow, workflow_error};
use crate::support::{Node, config, eventually, invitation, pair};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_at_the_peer_that_has_the_tool_and_the_others_here() {
    let dir = tempfile::tempdir().unwrap();
    let tools = config(
        dir.path(),
        "b.yaml",
        "executor:\n  labels: [far]\n  tools:\n    - name: upper\n      command: [/usr/bin/tr, a-z, A-Z]\n",
    );
    let (a, b) = pair(dir.path(), &[], &["--config", &tools]).await;
    let definition = json!({"name": "mixed", "steps": [
        {"id": "here", "tool": "echo", "input": {"TEXT": "abc"}, "place": {"peer": a.peer_id()}},
        {"id": "there", "tool": "upper", "input": {"TEXT": "${steps.here.output.TEXT}"}},
        {"id": "same", "tool": "echo", "input": {"of": "${steps.there.output}"}, "place": {"same_as": "there"}},
        {"id": "labelled", "tool": "echo", "input": {}, "needs": ["same"], "label": "far"},
    ]});
    // The tools of a peer are known when it has told of them.
    eventually("a knows the tool of b", || async {
        let checked = a.tool("p2p_workflow_validate", json!({"workflow": definition})).await.ok()?;
        (checked["valid"] == true).then_some(())
    })
    .await;
    let run = ended(&a, &submit(&a, definition).await).await;
    assert_eq!(run["state"], "completed", "{run}\n{}", a.log());
    let at = |id: &str| step(&run, id)["peer"].as_str().unwrap().to_owned();
    assert!(at("here").starts_with(a.peer_id()), "{run}");
    for id in ["there", "same", "labelled"] {
        assert!(at(id).starts_with(b.peer_id()), "{id} did not run at b: {run}");
    }
    assert_eq!(step(&run, "there")["state"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_worker_is_gone_for_ever_goes_on_elsewhere_or_says_what_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let idle =
        config(dir.path(), "idle.yaml", "executor:\n  slots: 0\np2p:\n  taskqueue:\n    worker_grace_s: 1\n");
    let (a, mut b) = pair(dir.path(), &["--config", &idle], &[]).await;
    let sleep = |id: &str, seconds: f64| json!({"id": id, "tool": "sleep", "input": {"seconds": seconds}});
    let free = submit(&a, json!({"name": "free", "steps": [sleep("a", 3.0)]})).await;
    let bound =
        json!({"id": "a", "tool": "sleep", "input": {"seconds": 3.0}, "place": {"peer": b.peer_id()}});
    let bound = submit(&a, json!({"name": "bound", "steps": [bound]})).await;
    step_is(&a, &free, "a", "running").await;
    eventually("both run at b", || async {
        let (free, bound) = (status(&a, &free).await, status(&a, &bound).await);
        let at_b = |run: &serde_json::Value| {
            step(run, "a")["peer"].as_str().is_some_and(|peer| peer.starts_with(b.peer_id()))
        };
        (at_b(&free) && at_b(&bound)).then_some(())
    })
    .await;
    b.kill().await;
    let _c = Node::start(&dir.path().join("c"), &["--join", &invitation(&a).await]).await;
    let run = ended(&a, &free).await;
    assert_eq!(run["state"], "completed", "{run}");
    eventually("the other one says what it waits for", || async {
        let run = status(&a, &bound).await;
        let said = step(&run, "a")["waiting_for"]["message"].as_str().unwrap_or_default().to_owned();
        (run["state"] == "running" && !said.is_empty() && !said.contains("holds the lease")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_handed_over_is_finished_by_the_other_node_although_the_first_one_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(dir.path(), &[], &[]).await;
    let definition = json!({"name": "moves", "steps": [
        {"id": "first", "tool": "echo", "input": {"x": 1}},
        {"id": "gate", "wait": {"signal": "go"}, "needs": ["first"]},
        {"id": "last", "tool": "echo", "input": {"x": "${steps.first.output.x}", "by": "${steps.gate.output.by}"}},
    ]});
    let id = submit(&a, definition).await;
    step_is(&a, &id, "gate", "waiting").await;
    let moved = workflow(&a, "coordinate", json!({"workflow_id": id, "coordinator": b.peer_id()})).await;
    assert_eq!(moved["workflow_id"], json!(id), "{moved}");
    let shown = eventually("b coordinates it", || async {
        let run = b.tool("p2p_workflow_status", json!({"workflow_id": id})).await.ok()?;
        (run["coordinating_peers"][0] == b.peer_id()).then_some(run)
    })
    .await;
    assert!(shown["epoch"].as_u64().unwrap() > 0, "{shown}");
    eventually("a knows where it is", || async {
        let run = status(&a, &id).await;
        (run["coordinating_peers"][0] == b.peer_id()).then_some(())
    })
    .await;
    a.kill().await;
    workflow(&b, "signal", json!({"workflow_id": id, "name": "go", "payload": {"by": "b"}})).await;
    let run = ended(&b, &id).await;
    assert_eq!(
        (&run["state"], &run["output"]),
        (&json!("completed"), &json!({"last": {"x": 1, "by": "b"}})),
        "{run}"
    );
    assert_eq!(step(&run, "first")["attempt"], 1, "what completed was not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_workflow_is_coordinated_by_the_peer_it_is_placed_at() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair(dir.path(), &[], &[]).await;
    let definition = json!({
        "name": "outer",
        "workflows": {"part": {
            "name": "part", "inputs": {"n": {"type": "integer"}},
            "steps": [{"id": "inner", "tool": "echo", "input": {"twice": "${inputs.n * 2}"}}],
            "output": "${steps.inner.output.twice}",
        }},
        "steps": [
            {"id": "sub", "workflow": "part", "inputs": {"n": 21}, "place": {"peer": b.peer_id()}},
            {"id": "out", "tool": "echo", "input": {"got": "${steps.sub.output}"}},
        ],
    });
    let run = ended(&a, &submit(&a, definition).await).await;
    assert_eq!(run["output"], json!({"out": {"got": 42}}), "{run}\n{}", a.log());
    let sub = &step(&run, "sub")["run"];
    assert_eq!(sub["peer_id"], b.peer_id(), "{run}");
    assert!(run["coordinating_peers"].as_array().unwrap().contains(&json!(b.peer_id())), "{run}");
    let inner = status(&b, sub["workflow_id"].as_str().unwrap()).await;
    assert_eq!(inner["output"], 42, "{inner}");
    let unknown = workflow_error(&a, "status", json!({"workflow_id": "0".repeat(32)})).await;
    assert_eq!(unknown["code"], "unknown_workflow");
}
