//! A second node joins with one flag, and each runs the other's tasks.

use crate::support::{Node, PATIENCE, config, connected, eventually, invitation, pair};
use serde_json::json;

/// A node without slots runs nothing itself: its tasks must find another.
const NO_SLOTS: &[&str] = &["--config"];

async fn idle_config(dir: &std::path::Path) -> String {
    config(dir, "idle.yaml", "executor:\n  slots: 0\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_the_first_node_run_on_the_second_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let idle = idle_config(dir.path()).await;
    for (first, second, runs_on_second) in
        [(vec![NO_SLOTS[0], &idle], vec![], true), (vec![], vec![NO_SLOTS[0], idle.as_str()], false)]
    {
        let (a, b) = pair(&dir.path().join(runs_on_second.to_string()), &first, &second).await;
        let (submitter, worker) = if runs_on_second { (&a, &b) } else { (&b, &a) };
        let id = submitter.submit("echo", json!({"text": "hello", "extra": [1, 2.5, null]})).await;
        let result = submitter.result(&id).await;
        assert_eq!(result["status"], "completed", "{result}");
        assert_eq!(result["result"], json!({"text": "hello", "extra": [1, 2.5, null]}));
        assert!(result["worker"].as_str().unwrap().starts_with(worker.peer_id()), "{result}");
        assert!(result["output_cid"].as_str().unwrap().starts_with("bafkrei"), "{result}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_too_large_for_a_message_runs_on_the_other_node_and_its_result_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let idle = idle_config(dir.path()).await;
    let (a, _b) = pair(dir.path(), &["--config", &idle], &[]).await;
    let text: String = (0..300_000).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
    let id = a.submit("echo", json!({"text": text})).await;
    let result = a.result(&id).await;
    assert_eq!(result["status"], "completed", "{}", result["error"]);
    assert_eq!(result["result"]["text"].as_str().map(str::len), Some(300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_every_request_and_the_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start::<&str>(&dir.path().join("a"), &[]).await;
    // No invitation: its secret is its own.
    let stranger = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    let error = stranger
        .queue_error("submit", json!({"task_type": "echo", "payload": {}, "peer": a.address()}))
        .await;
    assert_eq!(error["code"], "not_admitted", "{error}");
    eventually("the refusal is logged", || async { a.log().contains(stranger.peer_id()).then_some(()) })
        .await;
    assert_eq!(a.queue("status", json!({})).await["counts"]["queued"].as_u64().unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_allowed_by_name_needs_no_secret_but_may_not_stop_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let guest_dir = dir.path().join("guest");
    let (code, out, err) =
        crate::support::run_cli(&["id", "--create", "--data-dir", guest_dir.to_str().unwrap(), "--json"])
            .await;
    assert_eq!(code, 0, "{err}");
    let guest_id: serde_json::Value = serde_json::from_str(&out).unwrap();
    let guest_id = guest_id["peer_id"].as_str().unwrap().to_owned();
    let host = Node::start(&dir.path().join("host"), &["--allow", &guest_id]).await;
    let guest = Node::start(&guest_dir, &["--allow", host.peer_id()]).await;
    assert_eq!(guest.peer_id(), guest_id);
    let submitted = guest
        .queue("submit", json!({"task_type": "echo", "payload": {"n": 1}, "peer": host.address()}))
        .await;
    assert_eq!(submitted["peer_id"], host.peer_id());
    let error = guest.queue_error("shutdown", json!({"peer": host.peer_id()})).await;
    assert_eq!(error["code"], "forbidden", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joined_once_finds_its_mesh_again_without_the_invitation() {
    let dir = tempfile::tempdir().unwrap();
    let (a, mut b) = pair(dir.path(), &[], &[]).await;
    b.terminate();
    assert_eq!(b.wait().await, Some(0), "{}", b.log());
    let again = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    connected(&a, &again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_log_of_a_task_that_runs_elsewhere_reach_its_submitter_once() {
    let dir = tempfile::tempdir().unwrap();
    let idle = idle_config(dir.path()).await;
    let talks = config(
        dir.path(),
        "talks.yaml",
        "executor:
  tools:
    - name: talks
      description: Says what it does
      command: [/bin/sh, -c, 'echo one >&2; sleep 1; echo ''{\"progress\": 1, \"total\": 2}'' >&2; echo two >&2; sleep 30; echo {}']
",
    );
    let (a, _b) = pair(dir.path(), &["--config", &idle], &["--config", &talks]).await;
    let id = a.submit("talks", json!({})).await;
    let record = eventually("log and progress arrive", || async {
        let record = a.queue("task_status", json!({"task_id": id})).await;
        (record["progress"]["done"] == json!(1.0)
            && record["progress"]["log"].as_array().is_some_and(|log| log.len() >= 2))
        .then_some(record)
    })
    .await;
    assert_eq!(record["progress"]["log"], json!(["one", "two"]), "{record}");
    a.queue("cancel", json!({"task_id": id})).await;
    assert_eq!(a.result(&id).await["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_peer_drains_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let admin_dir = dir.path().join("admin");
    let (_, out, _) =
        crate::support::run_cli(&["id", "--create", "--data-dir", admin_dir.to_str().unwrap(), "--json"])
            .await;
    let admin_id: serde_json::Value = serde_json::from_str(&out).unwrap();
    let admin_id = admin_id["peer_id"].as_str().unwrap();
    let mut host = Node::start(&dir.path().join("host"), &["--admin", admin_id]).await;
    let invitation = invitation(&host).await;
    let admin = Node::start(&admin_dir, &["--join", &invitation]).await;
    connected(&host, &admin).await;
    admin.queue("shutdown", json!({"peer": host.peer_id(), "deadline_s": 5, "exit": true})).await;
    assert_eq!(host.wait().await, Some(0), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_worker_is_killed_runs_again_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let idle = idle_config(dir.path()).await;
    let (a, mut b) = pair(dir.path(), &["--config", &idle], &[]).await;
    let id = a.submit("sleep", json!({"seconds": 3})).await;
    eventually("the task runs on b", || async {
        (a.queue("task_status", json!({"task_id": id})).await["status"] == "running").then_some(())
    })
    .await;
    b.kill().await;
    let c = Node::start(&dir.path().join("c"), &["--join", &invitation(&a).await]).await;
    let result = tokio::time::timeout(PATIENCE, a.result(&id)).await.unwrap();
    assert_eq!(result["status"], "completed", "{result}");
    assert!(result["worker"].as_str().unwrap().starts_with(c.peer_id()), "{result}");
    let record = a.queue("task_status", json!({"task_id": id})).await;
    assert_eq!(record["lease_losses"], 1, "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_task_that_runs_on_a_peer_stops_its_tool_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let idle = idle_config(dir.path()).await;
    let (a, b) = pair(dir.path(), &["--config", &idle], &[]).await;
    let id = a.submit("sleep", json!({"seconds": 3600})).await;
    eventually("it runs", || async {
        (a.queue("task_status", json!({"task_id": id})).await["status"] == "running").then_some(())
    })
    .await;
    a.queue("cancel", json!({"task_id": id, "reason": "not needed"})).await;
    let result = a.result(&id).await;
    assert_eq!(
        (&result["status"], &result["error"]["code"]),
        (&json!("cancelled"), &json!("cancelled")),
        "{result}"
    );
    eventually("the slot is free again", || async {
        let stats = a.queue("worker_stats", json!({})).await;
        let workers = stats["workers"].as_array().unwrap().clone();
        workers
            .iter()
            .any(|worker| {
                worker["worker_id"].as_str().unwrap().starts_with(b.peer_id())
                    && worker["running"] == json!(0)
            })
            .then_some(())
    })
    .await;
}
