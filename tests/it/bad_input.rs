//! What a user gets for a mistake: a clear message with a stable code, never a panic, never silence.

use crate::support::{Node, config, http_client, run_cli};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_say_what_was_wrong_and_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let cases: &[(&str, Value, &str, &str)] = &[
        ("submit", json!({"payload": {}}), "invalid_argument", "task_type"),
        ("submit", json!({"task_type": 7, "payload": {}}), "invalid_argument", "task_type"),
        (
            "submit",
            json!({"task_type": "echo", "payload": {}, "prioritty": 3}),
            "invalid_argument",
            "priority",
        ),
        (
            "submit",
            json!({"task_type": "echo", "payload": {}, "priority": 11}),
            "invalid_argument",
            "1 to 10",
        ),
        ("submit", json!({"task_type": "echo", "payload": {}, "delay_s": -1}), "invalid_argument", "delay_s"),
        ("submit", json!({"task_type": "tool.call", "payload": {}}), "invalid_argument", "tool"),
        ("get_result", json!({"task_id": "nonsense"}), "invalid_argument", "32 hexadecimal digits"),
        ("get_result", json!({"task_id": "0".repeat(32)}), "unknown_task", "no task"),
        ("list_tasks", json!({"status": "done"}), "invalid_argument", "completed"),
        ("status", json!({"peer": "nobody"}), "invalid_argument", "peer"),
        (
            "status",
            json!({"peer": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"}),
            "unknown_peer",
            "address",
        ),
        ("status", json!({"peer": "/ip4/127.0.0.1/tcp/1"}), "unreachable", "127.0.0.1"),
    ];
    for (tool, arguments, code, says) in cases {
        let error = node.queue_error(tool, arguments.clone()).await;
        assert_eq!(error["code"], *code, "{tool} {arguments}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{tool} {arguments}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_and_unknown_tools_are_protocol_errors_and_the_node_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let garbage = http_client()
        .post(node.mcp_url())
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
        .body("{\"jsonrpc\": \"2.0\", ")
        .send()
        .await
        .unwrap();
    assert!(garbage.status().is_client_error(), "{}", garbage.status());
    let unknown = node.tool("p2p_taskqueue_submitt", json!({})).await.unwrap_err();
    assert_eq!(unknown["code"], -32602, "{unknown}");
    assert_eq!(node.page("/health/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_above_the_limit_is_refused_as_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "small.yaml", "p2p:\n  taskqueue:\n    max_payload_bytes: 100000\n");
    let node = Node::start(&dir.path().join("n"), &["--config", &file]).await;
    let error = node
        .queue_error("submit", json!({"task_type": "echo", "payload": {"text": "x".repeat(200_000)}}))
        .await;
    assert_eq!(error["code"], "too_large", "{error}");
    assert!(error["message"].as_str().unwrap().contains("100000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_is_unreachable_within_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let begun = tokio::time::Instant::now();
    let error = node.queue_error("status", json!({"peer": address})).await;
    assert!(["unreachable", "timeout"].contains(&error["code"].as_str().unwrap()), "{error}");
    assert!(begun.elapsed() < crate::support::PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_serves_stays_queued_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let id = node.submit("levitate", json!({})).await;
    let record = node.queue("task_status", json!({"task_id": id})).await;
    assert_eq!(record["status"], "queued");
    assert_eq!(record["waiting_for"]["reason"], "no_worker_for_type", "{record}");
    let status = node.queue("status", json!({"detail": true})).await;
    assert_eq!(status["unserved_tools"], json!(["levitate"]), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_crash_hang_print_garbage_or_gigabytes_fail_with_their_own_codes() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(
        dir.path(),
        "tools.yaml",
        "executor:
  tools:
    - { name: crash, description: dies, command: [/bin/sh, -c, 'echo oops >&2; kill -9 $$'] }
    - { name: fails, description: exits with 3, command: [/bin/sh, -c, 'echo broken >&2; exit 3'] }
    - { name: hangs, description: never ends, command: [/bin/sh, -c, 'sleep 1000'], timeout_s: 1 }
    - { name: garbage, description: is no JSON, command: [/bin/sh, -c, 'echo not json'] }
    - { name: flood, description: never stops, command: [/bin/sh, -c, 'yes'], timeout_s: 30 }
",
    );
    let node = Node::start(&dir.path().join("n"), &["--config", &file]).await;
    for (tool, code, says) in [
        ("crash", "tool_crashed", "oops"),
        ("fails", "tool_crashed", "3"),
        ("hangs", "tool_timeout", "longer"),
        ("garbage", "tool_output", "JSON"),
        ("flood", "tool_output", "bytes"),
    ] {
        let submitted =
            node.queue("submit", json!({"task_type": tool, "payload": {}, "max_attempts": 1})).await;
        let result = node.result(submitted["task_id"].as_str().unwrap()).await;
        assert_eq!(
            (&result["status"], &result["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{tool}: {result}"
        );
        assert!(result["error"]["message"].as_str().unwrap().contains(says), "{tool}: {result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_data_directory_or_port_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start::<&str>(dir.path(), &[]).await;
    let same_dir = Node::try_start::<&str>(dir.path(), &[]).await.err().expect("must not start");
    assert!(same_dir.contains("in_use") && same_dir.contains("in use by process"), "{same_dir}");
    let taken = node.mcp_url().trim_start_matches("http://").trim_end_matches("/mcp").to_owned();
    let other = dir.path().join("other");
    let (code, _, err) = run_cli(&[
        "run",
        "--http",
        &taken,
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ])
    .await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(&taken) && err.contains("in_use"), "{err}");
    assert_eq!(node.page("/health/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_names_the_line_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "bad.yaml", "server:\n  http: 127.0.0.1:0\n  htpp_port: 1\n");
    let (code, _, err) = run_cli(&["run", "--config", &file]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("bad.yaml:3") && err.contains("htpp_port") && err.contains("http"), "{err}");
}
