//! What this node answers to peers, and what it does not believe.

use super::fakes::{Node, member, peer, stored, view};
use crate::GatewayOptions;
use meshwork_proto::discovery::Advertisement;
use meshwork_proto::node::Shutdown;
use meshwork_proto::queue::{Finish, GetTask, Outcome, Submit};
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::transport::ServeRequest;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{Caller, Cid, ErrorCode, Fence, Json, MeshError, Role, TaskId, WorkerId};
use serde_json::json;
use std::time::Duration;

async fn ask(node: &Node, caller: Caller, request: MeshRequest) -> Result<MeshReply, MeshError> {
    node.ports.serve.ask(ServeRequest { caller, request }, Duration::from_secs(20)).await.unwrap()
}

async fn refused(node: &Node, request: MeshRequest) -> MeshError {
    ask(node, member(), request).await.unwrap_err()
}

fn spec(task_type: &str, text: &str) -> TaskSpec {
    let (cid, bytes) = stored(text);
    TaskSpec::new(task_type, Json::from_checked(bytes), cid)
}

fn submit(spec: TaskSpec) -> MeshRequest {
    MeshRequest::Submit(Submit(spec))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_payload_must_be_what_its_content_id_says() {
    let node = Node::start(GatewayOptions::default()).await;
    assert!(ask(&node, member(), submit(spec("echo", r#"{"a":1}"#))).await.is_ok());
    let wrong = TaskSpec { input_cid: Cid::of(b"other"), ..spec("echo", r#"{"a":1}"#) };
    assert_eq!(refused(&node, submit(wrong.clone())).await.code, ErrorCode::InvalidArgument);
    let large = format!("\"{}\"", "x".repeat(100_000));
    assert_eq!(refused(&node, submit(spec("echo", &large))).await.code, ErrorCode::TooLarge);
    assert_eq!(refused(&node, submit(spec("echo", "{]"))).await.code, ErrorCode::InvalidJson);
    let renamed = TaskSpec { tool: "other".into(), ..spec("echo", "{}") };
    assert_eq!(refused(&node, submit(renamed)).await.code, ErrorCode::InvalidArgument);
    assert_eq!(node.state.logged("submit"), 1, "the queue hears only of what is right");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_large_payload_is_fetched_before_the_queue_hears_of_it() {
    let node = Node::start(GatewayOptions::default()).await;
    let text = format!(r#"{{"arguments":{{"x":"{}"}},"tool":"wc"}}"#, "x".repeat(600_000));
    let (cid, bytes) = stored(&text);
    let payload = Payload::Stored { cid, len: bytes.len() as u64 };
    let task = TaskSpec {
        payload,
        tool: "wc".into(),
        ..TaskSpec::new("tool.call", Json::from_value(&json!({})), cid)
    };
    let absent = refused(&node, submit(task.clone())).await;
    assert_eq!((absent.code, node.state.logged("submit")), (ErrorCode::UnknownArtifact, 0));

    node.state.remote.lock().unwrap().insert(cid, bytes);
    ask(&node, member(), submit(task.clone())).await.unwrap();
    assert_eq!(*node.state.log.lock().unwrap().last().unwrap(), "submit tool.call wc");
    assert_eq!(node.state.logged("fetch"), 2);
    ask(&node, member(), submit(task.clone())).await.unwrap();
    assert_eq!(node.state.logged("fetch"), 2, "what is here is not fetched again");
    let renamed = TaskSpec { tool: "rm".into(), ..task };
    assert_eq!(refused(&node, submit(renamed)).await.code, ErrorCode::InvalidArgument);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_result_is_checked_and_fetched_like_a_payload() {
    let node = Node::start(GatewayOptions::default()).await;
    let (cid, bytes) = stored(&format!("\"{}\"", "r".repeat(50_000)));
    let finish = |output, output_cid| {
        MeshRequest::Finish(Finish {
            id: TaskId::from_bytes([3; 16]),
            fence: Fence(1),
            worker: WorkerId::of_peer(&peer(), 1),
            outcome: Outcome::Completed { output, output_cid },
        })
    };
    let inline = Payload::Inline(Json::from_value(&json!({"ok": true})));
    assert_eq!(refused(&node, finish(inline, cid)).await.code, ErrorCode::InvalidArgument);
    assert_eq!(node.state.logged("finish"), 0);
    node.state.remote.lock().unwrap().insert(cid, bytes.clone());
    let output = Payload::Stored { cid, len: bytes.len() as u64 };
    ask(&node, member(), finish(output, cid)).await.unwrap();
    assert!(node.state.artifacts.lock().unwrap().contains_key(&cid));
    assert_eq!(node.state.logged("finish"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_stops_the_node_and_only_a_peer_advertises() {
    let node = Node::start(GatewayOptions::default()).await;
    let stop = || MeshRequest::Shutdown(Shutdown { deadline_ms: 1_000, exit: true });
    assert_eq!(refused(&node, stop()).await.code, ErrorCode::Forbidden);
    assert_eq!(node.state.logged("shutdown"), 0);
    let admin = Caller::Peer { peer: peer(), role: Role::Admin };
    assert!(matches!(ask(&node, admin, stop()).await, Ok(MeshReply::ShuttingDown(_))));

    let said = || MeshRequest::Advertise(Advertisement::default());
    assert!(ask(&node, Caller::Local, said()).await.is_err());
    assert!(ask(&node, member(), said()).await.is_ok());
    assert_eq!(node.state.logged(&format!("advertised by {}", peer())), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_given_up_when_its_asker_is() {
    let node = Node::start(GatewayOptions::default()).await;
    let id = TaskId::from_bytes([3; 16]);
    node.state.tasks.lock().unwrap().insert(id, view(id, spec("echo", "{}")));
    let get =
        ServeRequest { caller: member(), request: MeshRequest::GetTask(GetTask { id, wait_ms: 60_000 }) };
    assert!(node.ports.serve.ask(get, Duration::from_millis(50)).await.is_err());
    // The double's own task ends at its next look; nothing of the gateway waits for it.
    let unknown = MeshRequest::GetTask(GetTask { id: TaskId::from_bytes([4; 16]), wait_ms: 0 });
    assert_eq!(refused(&node, unknown).await.code, ErrorCode::UnknownTask);
    node.stop().await;
}
