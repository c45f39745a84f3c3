//! Each of the fourteen task queue tools, called at one node, has its effect at another.

use crate::support::{Node, config, eventually, pair};
use serde_json::{Value, json};

/// Two nodes that run nothing by themselves, so that tasks stay where the test puts them.
async fn idle_pair(dir: &std::path::Path) -> (Node, Node) {
    let idle = config(dir, "idle.yaml", "executor:\n  slots: 0\n");
    pair(dir, &["--config", &idle], &["--config", &idle]).await
}

/// Calls a tool at `at` with `peer` set to the other node.
async fn there(at: &Node, other: &Node, tool: &str, mut arguments: Value) -> Value {
    arguments["peer"] = json!(other.peer_id());
    at.queue(tool, arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_fourteen_are_listed_with_schemas_and_honest_hints() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let listed = node.mcp("tools/list", json!({})).await.unwrap();
    let tools = listed["result"]["tools"].as_array().unwrap();
    for name in [
        "status",
        "submit",
        "cancel",
        "get_result",
        "list_tasks",
        "update_task",
        "task_status",
        "resubmit",
        "priority",
        "worker_stats",
        "discover_peers",
        "announce",
        "heartbeat",
        "shutdown",
    ] {
        let full = format!("p2p_taskqueue_{name}");
        let tool = tools
            .iter()
            .find(|tool| tool["name"] == full.as_str())
            .unwrap_or_else(|| panic!("{full} missing"));
        assert_eq!(tool["inputSchema"]["type"], "object", "{full}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], json!(false), "{full}");
        assert!(tool["inputSchema"]["properties"]["peer"].is_object(), "{full}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{full}");
    }
    let hint = |name: &str, hint: &str| {
        tools.iter().find(|tool| tool["name"] == name).unwrap()["annotations"][hint].clone()
    };
    assert_eq!(hint("p2p_taskqueue_status", "readOnlyHint"), json!(true));
    assert_eq!(hint("p2p_taskqueue_shutdown", "destructiveHint"), json!(true));
    for meta in ["tools_list_categories", "tools_list_tools", "tools_get_schema", "tools_dispatch"] {
        assert!(tools.iter().any(|tool| tool["name"] == meta), "{meta} missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_status_list_and_task_status_reach_the_other_node() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = idle_pair(dir.path()).await;
    let submitted =
        there(&a, &b, "submit", json!({"task_type": "later", "payload": {"n": 1}, "metadata": {"who": "a"}}))
            .await;
    assert_eq!(submitted["peer_id"], b.peer_id());
    let id = submitted["task_id"].as_str().unwrap();
    assert_eq!(b.queue("task_status", json!({"task_id": id})).await["metadata"], json!({"who": "a"}));
    assert_eq!(there(&a, &b, "task_status", json!({"task_id": id})).await["task_id"], id);
    assert_eq!(there(&a, &b, "status", json!({})).await["counts"]["queued"], 1);
    assert_eq!(a.queue("status", json!({})).await["counts"]["queued"].as_u64().unwrap_or(0), 0);
    let listed = there(&a, &b, "list_tasks", json!({"status": "queued"})).await;
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_update_cancel_and_resubmit_change_the_task_at_the_other_node() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = idle_pair(dir.path()).await;
    let submitted = there(&a, &b, "submit", json!({"task_type": "later", "payload": {}})).await;
    let id = submitted["task_id"].as_str().unwrap();
    there(&a, &b, "priority", json!({"task_id": id, "priority": 9})).await;
    there(&a, &b, "update_task", json!({"task_id": id, "labels": ["gpu"], "max_attempts": 7})).await;
    let record = b.queue("task_status", json!({"task_id": id})).await;
    assert_eq!(
        (&record["priority"], &record["labels"], &record["max_attempts"]),
        (&json!(9), &json!(["gpu"]), &json!(7))
    );
    there(&a, &b, "cancel", json!({"task_id": id, "reason": "changed my mind"})).await;
    let result = there(&a, &b, "get_result", json!({"task_id": id})).await;
    assert_eq!(result["status"], "cancelled");
    assert!(result["error"]["message"].as_str().unwrap().contains("changed my mind"), "{result}");
    there(&a, &b, "resubmit", json!({"task_id": id})).await;
    assert_eq!(b.queue("task_status", json!({"task_id": id})).await["status"], "queued");
    // What a peer submitted is its own: the other node's client did not submit it, but is local there.
    let own = b.submit("later", json!({})).await;
    let error = a.queue_error("cancel", json!({"task_id": own, "peer": b.peer_id()})).await;
    assert_eq!(error["code"], "unknown_task", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_stats_discover_peers_announce_and_heartbeat_speak_of_the_other_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "labelled.yaml", "executor:\n  labels: [gpu]\n");
    let (a, b) = pair(dir.path(), &[], &["--config", &file]).await;
    let announced = there(&a, &b, "announce", json!({})).await;
    assert_eq!(announced["reached"], 1, "{announced}");
    assert_eq!(announced["offers"]["labels"], json!(["gpu"]), "{announced}");
    let found = a.queue("discover_peers", json!({"capability": "gpu"})).await;
    assert_eq!(found["peers"][0]["peer_id"], b.peer_id(), "{found}");
    let from_b = there(&a, &b, "discover_peers", json!({})).await;
    assert_eq!(from_b["peers"][0]["peer_id"], a.peer_id(), "{from_b}");
    eventually("b knows a as a worker", || async {
        let stats = there(&a, &b, "worker_stats", json!({})).await;
        let workers = stats["workers"].as_array().unwrap().clone();
        workers.iter().any(|w| w["worker_id"].as_str().unwrap().starts_with(a.peer_id())).then_some(())
    })
    .await;
    let alive = there(&a, &b, "heartbeat", json!({})).await;
    assert_eq!(alive["state"], "alive", "{alive}");
}

/// Submits a task at `owner` that runs until the test ends, and gives its record as soon as it runs.
async fn long_running(owner: &Node) -> Value {
    let id = owner.submit("sleep", json!({"seconds": 3600})).await;
    eventually("it runs", || async {
        let record = owner.queue("task_status", json!({"task_id": id})).await;
        (record["status"] == "running").then_some(record)
    })
    .await
}

/// What a heartbeat for the worker of a running task says.
fn lease_of(running: &Value) -> Value {
    json!({"task_id": running["task_id"], "fence": running["fence"], "worker_id": running["worker"]})
}

/// When the lease of a task ends, in seconds.
async fn lease_until(owner: &Node, task: &Value) -> f64 {
    let record = owner.queue("task_status", json!({"task_id": task["task_id"]})).await;
    record["lease_until"].as_f64().unwrap_or_else(|| panic!("no lease: {record}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_at_the_workers_node_renews_its_lease_at_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    // b's executor renews a lease this long after twenty minutes: whatever moves it in this test is the heartbeat.
    let text = "executor:\n  slots: 0\np2p:\n  taskqueue:\n    lease_s: 3600\n";
    let owner = config(dir.path(), "owner.yaml", text);
    let (a, b) = pair(dir.path(), &["--config", &owner], &[]).await;
    let running = long_running(&a).await;
    assert!(running["worker"].as_str().unwrap().starts_with(b.peer_id()), "{running}");
    let granted = running["lease_until"].as_f64().unwrap();
    let until = eventually("the lease lasts longer", || async {
        let renewed = there(&b, &a, "heartbeat", lease_of(&running)).await;
        assert_eq!((&renewed["state"], &renewed["peer_id"]), (&json!("renewed"), &json!(a.peer_id())));
        assert_eq!(renewed["lease_s"], json!(3600.0), "{renewed}");
        let until = lease_until(&a, &running).await;
        (until > granted).then_some(until)
    })
    .await;
    // The fence is what says whose lease it is: the one before and the one after are somebody else's.
    for fence in [running["fence"].as_u64().unwrap() - 1, running["fence"].as_u64().unwrap() + 1] {
        let mut lease = lease_of(&running);
        lease["fence"] = json!(fence);
        let lost = there(&b, &a, "heartbeat", lease).await;
        assert_eq!((&lost["state"], &lost["lease_s"]), (&json!("lost"), &Value::Null), "{lost}");
    }
    // b's other workers do not hold it either.
    let mut lease = lease_of(&running);
    lease["worker_id"] = json!(format!("{}/another", b.peer_id()));
    assert_eq!(there(&b, &a, "heartbeat", lease).await["state"], "lost");
    assert_eq!(lease_until(&a, &running).await, until, "a heartbeat of another lease moved it");
    let still = a.queue("task_status", json!({"task_id": running["task_id"]})).await;
    assert_eq!(
        (&still["status"], &still["fence"], &still["worker"]),
        (&json!("running"), &running["fence"], &running["worker"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_for_a_worker_is_its_own_nodes_and_no_peers() {
    let dir = tempfile::tempdir().unwrap();
    let long = config(dir.path(), "long.yaml", "p2p:\n  taskqueue:\n    lease_s: 3600\n");
    let idle = config(dir.path(), "idle.yaml", "executor:\n  slots: 0\n");
    let (a, b) = pair(dir.path(), &["--config", &idle], &["--config", &long]).await;
    let running = long_running(&b).await;
    let granted = running["lease_until"].as_f64().unwrap();
    let until = eventually("the lease lasts longer", || async {
        let renewed = b.queue("heartbeat", lease_of(&running)).await;
        assert_eq!(renewed["state"], "renewed", "{renewed}");
        let until = lease_until(&b, &running).await;
        (until > granted).then_some(until)
    })
    .await;
    let mut lease = lease_of(&running);
    lease["peer"] = json!(b.peer_id());
    let error = a.queue_error("heartbeat", lease).await;
    assert_eq!(error["code"], "forbidden", "{error}");
    assert_eq!(lease_until(&b, &running).await, until, "a refused heartbeat moved it");
}

#[tokio::test(flavor = "multi_thread")]
async fn announce_makes_the_other_nodes_know_what_is_offered_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "gpu.yaml", "executor:\n  labels: [gpu]\n");
    let (a, b) = pair(dir.path(), &[], &["--config", &file]).await;
    there(&a, &b, "announce", json!({})).await;
    let found = a.queue("discover_peers", json!({"capability": "gpu"})).await;
    assert_eq!(found["count"], 1, "{found}");
    assert_eq!(found["peers"][0]["peer_id"], b.peer_id(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_running_tasks_finish_and_new_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start::<&str>(dir.path(), &[]).await;
    let id = node.submit("sleep", json!({"seconds": 2})).await;
    eventually("it runs", || async {
        (node.queue("task_status", json!({"task_id": id})).await["status"] == "running").then_some(())
    })
    .await;
    node.queue("shutdown", json!({"deadline_s": 20, "exit": false})).await;
    let error = node.queue_error("submit", json!({"task_type": "echo", "payload": {}})).await;
    assert_eq!(error["code"], "draining", "{error}");
    assert_eq!(node.page("/health/ready").await.0, 503);
    assert_eq!(node.result(&id).await["status"], "completed");
    node.queue("shutdown", json!({"deadline_s": 1, "exit": true})).await;
    assert_eq!(node.wait().await, Some(0), "{}", node.log());
}
