//! The command line as people and scripts use it, against a real node.

use crate::support::{Node, config, run_cli};
use serde_json::{Value, json};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_submitted_with_wait_prints_its_result_and_exits_zero() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let (code, out, err) = node
        .cli(&["task", "submit", "--type", "echo", "--payload", r#"{"text":"hi"}"#, "--wait", "--json"])
        .await;
    assert_eq!(code, 0, "{err}");
    let result = parse(&out);
    assert_eq!((&result["status"], &result["result"]), (&json!("completed"), &json!({"text": "hi"})));
    let id = result["task_id"].as_str().unwrap();
    let (code, out, _) = node.cli(&["task", "get", id]).await;
    assert!(code == 0 && out.contains("completed") && out.contains(id), "{out}");
    let (code, out, _) = node.cli(&["task", "list", "--json"]).await;
    assert_eq!((code, parse(&out)["tasks"].as_array().unwrap().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_a_script_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let failing = [
        "task",
        "submit",
        "--type",
        "cid",
        "--payload",
        r#"{"path":"/nowhere"}"#,
        "--max-attempts",
        "1",
        "--wait",
    ];
    let slow = ["task", "submit", "--type", "sleep", "--payload", r#"{"seconds":100}"#, "--wait", "1"];
    let missing = ["task", "get", "00000000000000000000000000000000"];
    assert_eq!(node.cli(&failing).await.0, 4);
    assert_eq!(node.cli(&slow).await.0, 5);
    assert_eq!(node.cli(&missing).await.0, 6);
    assert_eq!(node.cli(&["task", "frobnicate"]).await.0, 2);
    assert_eq!(run_cli(&["status", "--url", "http://127.0.0.1:9/mcp"]).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_described_and_called() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let (code, out, err) = node.cli(&["tools", "list"]).await;
    assert!(code == 0 && out.contains("echo") && out.contains("cid"), "{out}{err}");
    let (code, out, err) = node.cli(&["tools", "schema", "sleep", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("seconds"), "{out}");
    let (code, out, err) = node.cli(&["tools", "call", "echo", "--args", r#"{"a":1}"#, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("\"a\""), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_peers_id_and_invite_agree_about_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let data_dir = dir.path().to_str().unwrap();
    let (code, out, _) = node.cli(&["status", "--json"]).await;
    assert_eq!((code, &parse(&out)["peer_id"]), (0, &json!(node.peer_id())));
    assert_eq!(node.cli(&["peers"]).await.0, 0);
    let (_, out, _) = run_cli(&["id", "--data-dir", data_dir, "--json"]).await;
    assert_eq!(parse(&out)["peer_id"], node.peer_id());
    let (_, out, _) = run_cli(&["invite", "--data-dir", data_dir]).await;
    assert!(out.starts_with("mesh1:") && out.trim().lines().count() == 1, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_print_shows_where_each_value_came_from_and_hides_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "node.yaml", "store:\n  durability: os\n");
    let output = tokio::process::Command::new(crate::support::binary())
        .args(["config", "print", "--config", &file, "--json"])
        .env("MESHWORK_HTTP", "127.0.0.1:7777")
        .env("MESHWORK_MESH_SECRET", "do-not-show-this-secret-to-anybody")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("MESHWORK_HTTP") && text.contains("127.0.0.1:7777"), "{text}");
    assert!(text.contains("node.yaml:2"), "{text}");
    assert!(!text.contains("do-not-show"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_beside_mcp_show_health_metrics_and_every_actor() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    assert_eq!(node.page("/health/live").await.0, 200);
    assert_eq!(node.page("/health/ready").await.0, 200);
    let (code, metrics) = node.page("/metrics").await;
    assert_eq!(code, 200);
    for name in [
        "meshwork_queue_",
        "meshwork_workflow_",
        "meshwork_schedule_",
        "meshwork_store_",
        "meshwork_actor_",
        "libp2p_",
    ] {
        assert!(metrics.contains(name), "{name} is not in the metrics");
    }
    let (_, status) = node.page("/status").await;
    let status = parse(&status);
    let actors: Vec<_> =
        status["actors"].as_array().unwrap().iter().map(|actor| actor["actor"].clone()).collect();
    for actor in ["queue", "workflow", "schedule", "executor", "discovery", "gateway"] {
        assert!(actors.contains(&json!(actor)), "{actor} is not in {actors:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_ends_cleanly_on_sigterm_and_its_tasks_are_there_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start::<&str>(dir.path(), &[]).await;
    let id = node.submit("later", json!({"kept": true})).await;
    node.terminate();
    assert_eq!(node.wait().await, Some(0), "{}", node.log());
    let again = Node::start::<&str>(dir.path(), &[]).await;
    assert_eq!(again.peer_id(), node.peer_id());
    assert_eq!(again.queue("task_status", json!({"task_id": id})).await["status"], "queued");
}
