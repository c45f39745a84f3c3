//! The fourteen tools, as a client uses them.

use super::client::Era;
use super::fakes::{LOCAL, Node, PEER, keys, stored};
use crate::GatewayOptions;
use meshwork_proto::task::{Payload, TaskStatus};
use meshwork_proto::{Json, MeshError, UnixMillis};
use serde_json::{Value, json};

fn complete(node: &Node, id: &str, result: &Value) {
    let json = Json::from_value(result);
    let cid = meshwork_proto::Cid::of(json.bytes());
    node.state.change(id, |task| {
        task.status = TaskStatus::Completed;
        task.output = Some(Payload::Inline(json));
        task.output_cid = Some(cid);
        task.finished = Some(UnixMillis(1_700_000_001_500));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_submitted_read_changed_and_its_result_fetched_in_both_eras() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let task = client
            .call(
                "p2p_taskqueue_submit",
                json!({"task_type": "echo", "payload": {"b": 1, "a": 2}, "timeout_s": 1.5}),
            )
            .await;
        assert_eq!(keys(&task), ["existing", "peer_id", "status", "task_id"]);
        assert_eq!((&task["peer_id"], &task["status"]), (&json!(LOCAL), &json!("queued")));
        let id = task["task_id"].as_str().unwrap();

        let record = client.call("p2p_taskqueue_task_status", json!({"task_id": id})).await;
        assert_eq!(record["waiting_for"]["reason"], "no_worker_for_type");
        assert_eq!((&record["timeout_s"], &record["created"]), (&json!(1.5), &json!(1_700_000_000.0)));
        assert_eq!(record["payload"], json!({"a": 2, "b": 1}));

        let early = client.call("p2p_taskqueue_get_result", json!({"task_id": id})).await;
        assert_eq!((&early["status"], &early["result"]), (&json!("queued"), &Value::Null));
        assert!(early["hint"].as_str().unwrap().contains("wait_s"));
        complete(&node, id, &json!({"text": "hi"}));
        let done = client.call("p2p_taskqueue_get_result", json!({"task_id": id, "wait_s": 10})).await;
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({"text": "hi"})));
        assert_eq!((&done["finished"], &done["hint"]), (&json!(1_700_000_001.5), &Value::Null));

        let again = client.call("p2p_taskqueue_resubmit", json!({"task_id": id})).await;
        assert_eq!(again["status"], "queued");
        let first = client.call("p2p_taskqueue_priority", json!({"task_id": id, "priority": 10})).await;
        assert_eq!(first["priority"], 10);
        let changes = json!({"task_id": id, "metadata": {"by": "me"}, "max_attempts": 7});
        let changed = client.call("p2p_taskqueue_update_task", changes).await;
        assert_eq!((&changed["metadata"]["by"], &changed["max_attempts"]), (&json!("me"), &json!(7)));
        let cancelled = client.call("p2p_taskqueue_cancel", json!({"task_id": id, "reason": "enough"})).await;
        assert_eq!(cancelled["status"], "cancelled");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_page_by_page_and_counts_have_every_state() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    for n in 0..3 {
        client.call("p2p_taskqueue_submit", json!({"task_type": "echo", "payload": {"n": n}})).await;
    }
    let page = client.call("p2p_taskqueue_list_tasks", json!({"limit": 2, "status": "queued"})).await;
    assert_eq!(page["tasks"].as_array().unwrap().len(), 2);
    let rest = json!({"limit": 2, "cursor": page["next_cursor"]});
    let rest = client.call("p2p_taskqueue_list_tasks", rest).await;
    assert_eq!((rest["tasks"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    let status = client.call("p2p_taskqueue_status", json!({"detail": true})).await;
    assert_eq!(
        status["counts"],
        json!({"queued": 3, "running": 0, "completed": 0, "failed": 0, "cancelled": 0})
    );
    assert_eq!((&status["oldest_age_s"], &status["workers"]), (&json!(2.5), &json!(2)));
    assert_eq!(status["limits"]["max_tasks"], 100);
    let workers = client.call("p2p_taskqueue_worker_stats", json!({})).await;
    assert_eq!(
        (&workers["workers"][0]["peer_id"], &workers["workers"][0]["lost"]),
        (&json!(PEER), &json!(4))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_is_seen_told_and_stopped() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let peers = client.call("p2p_taskqueue_discover_peers", json!({})).await;
    assert_eq!((&peers["count"], &peers["peers"][0]["rtt_ms"]), (&json!(1), &json!(1.5)));
    assert_eq!(peers["peers"][0]["offers"]["tools"], json!(["far"]));
    assert_eq!(client.call("p2p_taskqueue_announce", json!({})).await["reached"], 3);
    assert_eq!(client.call("p2p_taskqueue_heartbeat", json!({})).await["state"], "alive");
    let task = "01890a5d2c7e7b6e8f0a1b2c3d4e5f60";
    let lease = |fence: u64| json!({"task_id": task, "fence": fence, "worker_id": "me"});
    let held = client.call("p2p_taskqueue_heartbeat", lease(1)).await;
    assert_eq!((&held["state"], &held["lease_s"]), (&json!("renewed"), &json!(30.0)));
    assert_eq!(client.call("p2p_taskqueue_heartbeat", lease(2)).await["state"], "lost");
    let half = client.refused("p2p_taskqueue_heartbeat", json!({"task_id": task})).await;
    assert!(half["message"].as_str().unwrap().contains("worker_id"));
    let stopping = client.call("p2p_taskqueue_shutdown", json!({"deadline_s": 5, "exit": false})).await;
    assert_eq!(
        (&stopping["running"], &stopping["deadline_s"], &stopping["exit"]),
        (&json!(2), &json!(5.0), &json!(false))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_asked_when_one_is_named_and_this_node_when_it_names_itself() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let at = |peer: &str| json!({"task_type": "echo", "payload": {}, "peer": peer});
    assert_eq!(client.call("p2p_taskqueue_submit", at(PEER)).await["peer_id"], PEER);
    assert_eq!((node.state.logged("peer submit"), node.state.logged("submit echo")), (1, 0));
    for here in [LOCAL.to_owned(), format!("/ip4/127.0.0.1/tcp/4001/p2p/{LOCAL}")] {
        assert_eq!(client.call("p2p_taskqueue_submit", at(&here)).await["peer_id"], LOCAL);
    }
    assert_eq!(node.state.logged("submit echo"), 2);
    let nobody = client.refused("p2p_taskqueue_submit", at("/ip4/192.0.2.9/tcp/1")).await;
    assert_eq!(nobody["code"], "unknown_peer");
    assert_eq!(client.refused("p2p_taskqueue_submit", at("nonsense")).await["code"], "invalid_argument");
    assert_eq!(client.refused("p2p_taskqueue_shutdown", json!({"peer": PEER})).await["code"], "forbidden");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_become_artifacts_and_large_results_are_fetched_or_pointed_at() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let large = json!({"task_type": "wc", "payload": {"text": "x".repeat(100_000)}});
    let id = client.call("p2p_taskqueue_submit", large).await["task_id"].as_str().unwrap().to_owned();
    assert_eq!(node.state.logged("put 100011"), 1);
    let record = client.call("p2p_taskqueue_task_status", json!({"task_id": id})).await;
    assert_eq!((&record["payload"], &record["payload_len"]), (&Value::Null, &json!(100_011)));

    let (cid, bytes) = stored(&format!("\"{}\"", "r".repeat(600_000)));
    node.state.remote.lock().unwrap().insert(cid, bytes);
    let far = client.call("p2p_taskqueue_get_result", json!({"task_id": id, "peer": PEER})).await;
    assert_eq!((far["result"].as_str().unwrap().len(), &far["peer_id"]), (600_000, &json!(PEER)));
    assert_eq!(node.state.logged("fetch"), 1);

    let (cid, _) = stored("huge");
    node.state.change(&id, |task| {
        task.status = TaskStatus::Completed;
        task.output = Some(Payload::Stored { cid, len: 70_000_000 });
        task.output_cid = Some(cid);
    });
    let huge = client.call("p2p_taskqueue_get_result", json!({"task_id": id})).await;
    assert_eq!((&huge["result"], &huge["result_len"]), (&Value::Null, &json!(70_000_000)));
    assert!(huge["hint"].as_str().unwrap().contains(&cid.to_string()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_is_a_result_and_not_an_error_of_the_tool() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let task = client.call("p2p_taskqueue_submit", json!({"task_type": "echo", "payload": {}})).await;
    let id = task["task_id"].as_str().unwrap();
    node.state.change(id, |task| {
        task.status = TaskStatus::Failed;
        task.error = Some(MeshError::new(meshwork_proto::ErrorCode::ToolCrashed, "it crashed"));
    });
    let failed = client.call("p2p_taskqueue_get_result", json!({"task_id": id})).await;
    assert_eq!(failed["error"], json!({"code": "tool_crashed", "message": "it crashed"}));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_with_what_would_be_right() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let task = "01890a5d2c7e7b6e8f0a1b2c3d4e5f60";
    let submit = |field: &str, value: Value| {
        let mut arguments = json!({"task_type": "echo", "payload": {}});
        arguments[field] = value;
        ("p2p_taskqueue_submit", arguments)
    };
    let cases = [
        (submit("prioritty", json!(1)), "invalid_argument", "did you mean \"priority\"?"),
        (submit("priority", json!(11)), "invalid_argument", "expected 1 to 10"),
        (submit("priority", json!("high")), "invalid_argument", "priority: invalid type"),
        (submit("payload", json!([1])), "invalid_argument", "payload: invalid type"),
        (submit("delay_s", json!(-1)), "invalid_argument", "delay_s is -1"),
        (submit("expires_s", json!(0)), "invalid_argument", "expires_s is 0"),
        (submit("task_type", json!("tool.call")), "invalid_argument", "payload.tool is missing"),
        (submit("task_type", json!("full")), "queue_full", "10 of at most 10"),
        (submit("payload", json!({"n": 9_007_199_254_740_993_u64})), "invalid_json", "write it as a string"),
        (("p2p_taskqueue_get_result", json!({})), "invalid_argument", "missing field `task_id`"),
        (("p2p_taskqueue_get_result", json!({"task_id": "x"})), "invalid_argument", "32 hexadecimal digits"),
        (
            ("p2p_taskqueue_get_result", json!({"task_id": task, "wait_s": 61})),
            "invalid_argument",
            "expected 0 to 60",
        ),
        (("p2p_taskqueue_get_result", json!({"task_id": task})), "unknown_task", task),
        (("p2p_taskqueue_update_task", json!({"task_id": task})), "invalid_argument", "nothing to change"),
        (
            ("p2p_taskqueue_list_tasks", json!({"status": "done"})),
            "invalid_argument",
            "expected queued, running",
        ),
        (("p2p_taskqueue_list_tasks", json!({"limit": 0})), "invalid_argument", "expected 1 to 1000"),
        (("p2p_taskqueue_list_tasks", json!({"cursor": "x"})), "invalid_argument", "next_cursor"),
        (("p2p_taskqueue_priority", json!({"task_id": task, "priority": 0})), "invalid_argument", "1 to 10"),
    ];
    for ((tool, arguments), code, part) in cases {
        let error = client.refused(tool, arguments.clone()).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], code, "{tool} {arguments}: {message}");
        assert!(message.contains(part), "{tool} {arguments}: {message}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_and_results_up_to_the_largest_travel_inline_and_larger_ones_are_refused() {
    let node = Node::start(GatewayOptions::default()).await;
    let submit = |len: usize| json!({"task_type": "wc", "payload": {"text": "x".repeat(len)}});
    let client = node.client(Era::Older).await;
    let id =
        client.call("p2p_taskqueue_submit", submit(20 << 20)).await["task_id"].as_str().unwrap().to_owned();
    assert_eq!(node.state.logged(&format!("put {}", (20 << 20) + 11)), 1);
    assert_eq!(client.refused("p2p_taskqueue_submit", submit(64 << 20)).await["code"], "too_large");

    let (cid, bytes) = stored(&format!("\"{}\"", "r".repeat(20 << 20)));
    node.state.change(&id, |task| {
        task.status = TaskStatus::Completed;
        task.output = Some(Payload::Stored { cid, len: bytes.len() as u64 });
        task.output_cid = Some(cid);
    });
    node.state.artifacts.lock().unwrap().insert(cid, bytes);
    let answer = client.try_call("p2p_taskqueue_get_result", json!({"task_id": id})).await.unwrap();
    assert!(answer.content[0].as_text().unwrap().text.contains("structuredContent only"));
    let result = answer.structured_content.unwrap()["result"].take();
    assert_eq!(result.as_str().unwrap().len(), 20 << 20);
    node.stop().await;
}
