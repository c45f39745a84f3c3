//! What this node answers to peers, and what it does not believe.

use super::fakes::{LOCAL, Node, member, peer, stored, view};
use crate::GatewayOptions;
use meshwork_proto::discovery::Advertisement;
use meshwork_proto::node::Shutdown;
use meshwork_proto::queue::{Finish, GetTask, Outcome, Submit};
use meshwork_proto::schedule::{AddSchedule, Missed, Scheduled, Timing};
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::transport::ServeRequest;
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::workflow::{ControlRun, GetRun, RunAction, SubmitRun, TakeOverRun, ValidateWorkflow};
use meshwork_proto::{Caller, Cid, ErrorCode, Fence, Json, MeshError, Role, RunId, TaskId, WorkerId};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
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

/// A run of this definition, as a peer submits it: inline, or by content id.
fn run(definition: &str, inline: bool) -> SubmitRun {
    let (definition_cid, bytes) = stored(definition);
    let (inputs_cid, inputs) = stored("{}");
    let len = bytes.len() as u64;
    SubmitRun {
        definition: match inline {
            true => Payload::Inline(Json::from_checked(bytes)),
            false => Payload::Stored { cid: definition_cid, len },
        },
        definition_cid,
        inputs: Payload::Inline(Json::from_checked(inputs)),
        inputs_cid,
        target_peers: BTreeSet::new(),
        idempotency_key: None,
        allow_unknown_tools: false,
        parent: None,
    }
}

/// A definition so long.
fn greet(len: usize) -> String {
    format!(r#"{{"description":"{}","name":"greet","steps":[]}}"#, "x".repeat(len))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_definition_must_be_what_its_content_id_says_and_small_enough() {
    let node = Node::start(GatewayOptions::default()).await;
    assert!(ask(&node, member(), MeshRequest::SubmitRun(run(&greet(1), true))).await.is_ok());
    assert_eq!(node.state.logged(&format!("submit_run greet of Some({:?})", peer().short())), 1);
    let other = SubmitRun { definition_cid: Cid::of(b"other"), ..run(&greet(1), true) };
    let error = refused(&node, MeshRequest::SubmitRun(other)).await;
    assert!(error.code == ErrorCode::InvalidArgument && error.message.contains("definition_cid"), "{error}");
    let inputs = SubmitRun { inputs_cid: Cid::of(b"other"), ..run(&greet(1), true) };
    assert!(refused(&node, MeshRequest::SubmitRun(inputs)).await.message.contains("inputs_cid"));
    assert_eq!(refused(&node, MeshRequest::SubmitRun(run("{]", true))).await.code, ErrorCode::InvalidJson);
    let inline = refused(&node, MeshRequest::SubmitRun(run(&greet(50_000), true))).await;
    assert_eq!(inline.code, ErrorCode::TooLarge, "it travels as an artifact");
    let huge = refused(&node, MeshRequest::SubmitRun(run(&greet(10 << 20), false))).await;
    assert!(huge.message.contains("limit of 1048576 bytes"), "{huge}");
    assert_eq!(
        (node.state.logged("submit_run"), node.state.logged("fetch")),
        (1, 0),
        "refused before it is fetched"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_large_definition_is_fetched_before_anybody_hears_of_it_also_for_a_schedule() {
    let node = Node::start(GatewayOptions::default()).await;
    let text = greet(50_000);
    let (cid, bytes) = stored(&text);
    let submit = || MeshRequest::SubmitRun(run(&text, false));
    assert_eq!(refused(&node, submit()).await.code, ErrorCode::UnknownArtifact);
    assert_eq!(node.state.logged("submit_run"), 0);
    node.state.remote.lock().unwrap().insert(cid, bytes);
    assert!(ask(&node, member(), submit()).await.is_ok());
    assert_eq!(node.state.logged("submit_run greet"), 1);

    let schedule = |what| {
        let timing = Timing::Every { interval_ms: 60_000 };
        let add = AddSchedule { name: "s".into(), timing, missed: Missed::Once, no_overlap: false, what };
        MeshRequest::AddSchedule(add)
    };
    let (cid, bytes) = stored(&greet(60_000));
    node.state.remote.lock().unwrap().insert(cid, bytes);
    let workflow = schedule(Scheduled::Workflow(run(&greet(60_000), false)));
    assert!(matches!(ask(&node, member(), workflow).await, Ok(MeshReply::Schedule(made)) if made.workflow));
    assert!(node.state.artifacts.lock().unwrap().contains_key(&cid));
    let wrong = TaskSpec { input_cid: Cid::of(b"other"), ..spec("echo", "{}") };
    assert_eq!(refused(&node, schedule(Scheduled::Task(wrong))).await.code, ErrorCode::InvalidArgument);
    assert!(ask(&node, member(), schedule(Scheduled::Task(spec("echo", "{}")))).await.is_ok());
    assert_eq!(node.state.logged("add_schedule"), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_a_check_or_a_signal_is_json_and_small() {
    let node = Node::start(GatewayOptions::default()).await;
    let check = |definition| {
        MeshRequest::ValidateWorkflow(ValidateWorkflow {
            definition,
            inputs: None,
            allow_unknown_tools: true,
        })
    };
    let inline = |text: &str| Payload::Inline(Json::from_checked(stored(text).1));
    assert!(ask(&node, member(), check(inline(&greet(500_000)))).await.is_ok());
    assert_eq!(refused(&node, check(inline("{]"))).await.code, ErrorCode::InvalidJson);
    assert_eq!(refused(&node, check(inline(&greet(2 << 20)))).await.code, ErrorCode::TooLarge);
    let named = refused(&node, check(run(&greet(1), false).definition)).await;
    assert!(named.message.contains("send the document itself"), "{named}");

    let signal = |text: &str| {
        let action = RunAction::Signal { name: "go".into(), payload: Json::from_checked(stored(text).1) };
        MeshRequest::ControlRun(ControlRun { id: RunId::from_bytes([1; 16]), action })
    };
    assert_eq!(refused(&node, signal("{]")).await.code, ErrorCode::InvalidJson);
    assert_eq!(refused(&node, signal(&greet(40_000))).await.code, ErrorCode::TooLarge);
    assert_eq!(node.state.logged("control"), 0);
    assert_eq!(refused(&node, signal("1")).await.code, ErrorCode::UnknownWorkflow);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_over_in_the_name_of_its_coordinator_and_who_asks_for_a_moved_one_is_told_where() {
    let node = Node::start(GatewayOptions::default()).await;
    let id = RunId::from_bytes([1; 16]);
    let take = TakeOverRun { id, epoch: 2, history: Cid::of(b"history"), len: 7 };
    let taken = ask(&node, member(), MeshRequest::TakeOverRun(take.clone())).await;
    assert!(matches!(taken, Ok(MeshReply::TakenOver(taken)) if taken.epoch == 2));
    assert_eq!(node.state.logged(&format!("take_over epoch 2 of {:?}", member())), 1);
    let here = ask(&node, Caller::Local, MeshRequest::TakeOverRun(take)).await.unwrap_err();
    assert_eq!(here.code, ErrorCode::Forbidden, "the coordinator judges that");

    let submitted = ask(&node, member(), MeshRequest::SubmitRun(run(&greet(1), true))).await;
    let Ok(MeshReply::RunSubmitted(submitted)) = submitted else { panic!("{submitted:?}") };
    node.state.runs.move_to(&submitted.id.to_string(), LOCAL.parse().unwrap());
    let get = GetRun { id: submitted.id, wait_ms: 0, seen: None, steps: false };
    let moved = refused(&node, MeshRequest::GetRun(get)).await;
    assert!(moved.code == ErrorCode::Moved && moved.message.contains(LOCAL), "{moved}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_run_is_as_long_as_it_was_asked_for() {
    let node = Node::start(GatewayOptions::default()).await;
    let submitted = ask(&node, Caller::Local, MeshRequest::SubmitRun(run(&greet(1), true))).await;
    let Ok(MeshReply::RunSubmitted(submitted)) = submitted else { panic!("{submitted:?}") };
    let get = |wait_ms| MeshRequest::GetRun(GetRun { id: submitted.id, wait_ms, seen: None, steps: true });
    let began = tokio::time::Instant::now();
    let waited = ask(&node, member(), get(200)).await;
    assert!(matches!(waited, Ok(MeshReply::Run(run)) if !run.state.is_finished()));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(ask(&node, member(), get(0)).await.is_ok());
    assert_eq!(node.state.runs.waiting.load(Ordering::SeqCst), 0);
    node.stop().await;
}
