//! Other peers: sub-workflows there, and runs that move.

use super::scene::{Outside, Scene, ask, ask_as};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::records::{Batch, Event, EventRecord, Export, event_key};
use crate::workflow::tests::bench::{member, other, owner};
use meshwork_kit::testing;
use meshwork_proto::task::Payload;
use meshwork_proto::transport::{CallError, PeerAnswer, PeerTarget};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::workflow::{
    ControlRun, CoordinateRun, GetHistory, GetRun, ListRuns, RunAction, RunState, RunSubmitted, RunView,
    TakenOver, WorkflowError,
};
use meshwork_proto::{Cid, Coded, ErrorCode, Json, RunId};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn with_part_at_other() -> Value {
    json!({
        "name": "outer",
        "workflows": {"part": {"name": "part", "steps": [{"id": "inner", "tool": "t", "input": {}}]}},
        "steps": [
            {"id": "sub", "workflow": "part", "place": {"peer": other().as_str()}},
            {"id": "after", "tool": "t", "input": {"got": "${size(steps.sub.output)}"}}
        ]
    })
}

fn answer(reply: MeshReply) -> Result<PeerAnswer, CallError> {
    Ok(PeerAnswer { peer: other(), reply })
}

/// The run of the part, as the other peer shows it.
async fn part_view(scene: &Scene, id: RunId, state: RunState) -> RunView {
    let view = scene.get(id).await;
    RunView { id: RunId::from_bytes([9; 16]), state, output: None, output_cid: None, error: None, ..view }
}

#[test]
fn a_part_runs_at_its_peer_and_a_large_result_is_fetched_from_there() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&with_part_at_other(), &json!({})).await;
        let (call, reply) = scene.calls.next().await;
        assert_eq!(call.target, PeerTarget::Id(other()));
        let MeshRequest::SubmitRun(submit) = call.request else { panic!("{:?}", call.request) };
        assert!(submit.parent.is_some() && submit.idempotency_key.is_some());
        // The answer is lost: the same is asked again, with the same key.
        reply.send(Err(CallError::ConnectionLost(other())));
        let (call, reply) = scene.calls.next().await;
        assert!(matches!(&call.request, MeshRequest::SubmitRun(again) if *again == submit));
        let part = RunId::from_bytes([9; 16]);
        let submitted = RunSubmitted { id: part, state: RunState::Running, existing: true };
        reply.send(answer(MeshReply::RunSubmitted(submitted)));
        let (call, reply) = scene.calls.next().await;
        assert!(matches!(&call.request, MeshRequest::GetRun(get) if get.id == part && get.wait_ms > 0));
        reply.send(answer(MeshReply::Run(part_view(&scene, id, RunState::Running).await)));
        let (_, reply) = scene.calls.next().await;
        let large = bytes::Bytes::from(json!("x".repeat(100_000)).to_string());
        let (cid, len) = (Cid::of(&large), large.len() as u64);
        scene.outside.borrow_mut().far.insert(cid, large);
        let mut view = part_view(&scene, id, RunState::Completed).await;
        view.output = Some(Payload::Stored { cid, len });
        view.output_cid = Some(cid);
        reply.send(answer(MeshReply::Run(view)));
        world.advance(Duration::from_secs(1)).await;
        let (task, step, input) = scene.queued().remove(0);
        assert_eq!((step.as_str(), input), ("after", json!({"got": 100_000})));
        scene.finish(task, json!(0));
        assert_eq!(scene.end(id).await.state, RunState::Completed);
    });
}

#[test]
fn a_part_is_followed_to_the_peer_that_it_moved_to() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&with_part_at_other(), &json!({})).await;
        let part = RunId::from_bytes([9; 16]);
        let (_, reply) = scene.calls.next().await;
        let submitted = RunSubmitted { id: part, state: RunState::Running, existing: false };
        reply.send(answer(MeshReply::RunSubmitted(submitted)));
        let (_, reply) = scene.calls.next().await;
        let third: meshwork_proto::PeerId =
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM".parse().unwrap();
        let error = WorkflowError::Moved { id: part, to: third.clone() };
        reply.send(Err(CallError::Refused(meshwork_proto::MeshError::from_coded(&error))));
        let (call, reply) = scene.calls.next().await;
        let MeshRequest::ListRuns(ListRuns { cursor: Some(cursor), limit: 1, .. }) = call.request else {
            panic!()
        };
        assert!(cursor > part);
        let summary = meshwork_proto::workflow::RunSummary {
            id: part,
            name: "part".into(),
            state: RunState::Running,
            steps: 1,
            finished_steps: 0,
            moved_to: Some(third.clone()),
            error: None,
            created: world.clock().now(),
            finished: None,
        };
        let page = meshwork_proto::workflow::RunPage { runs: vec![summary], next: None };
        reply.send(answer(MeshReply::Runs(page)));
        let (call, reply) = scene.calls.next().await;
        assert_eq!(call.target, PeerTarget::Id(third));
        let mut view = part_view(&scene, id, RunState::Failed).await;
        view.error = Some(meshwork_proto::MeshError::new(ErrorCode::ToolFailed, "step inner: broke"));
        reply.send(answer(MeshReply::Run(view)));
        let error = scene.end(id).await.error.unwrap();
        assert_eq!(error.message, "step sub: step inner: broke");
    });
}

fn simple() -> Value {
    json!({"name": "simple", "inputs": {"text": {"type": "string"}}, "steps": [
        {"id": "a", "tool": "t", "input": {"text": "${inputs.text}"}},
        {"id": "b", "needs": ["a"], "tool": "t", "input": {}}
    ]})
}

#[test]
fn a_run_is_handed_over_with_all_its_documents() {
    testing::world(|world| async move {
        let mut here = Scene::start(&world);
        let id = here.submit(&simple(), &json!({"text": "x".repeat(50_000)})).await;
        world.settle().await;
        let (task, ..) = here.queued().remove(0);
        here.finish(task, json!("y".repeat(50_000)));
        world.settle().await;
        let unknown = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM".parse().unwrap();
        let to_nobody = CoordinateRun { id, peers: None, coordinator: Some(unknown) };
        let error = ask(&here.ports.coordinate, to_nobody).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        let coordinated = ask(&here.ports.coordinate, coordinate).await.unwrap();
        assert_eq!(coordinated.moving_to, Some(other()));
        let (call, reply) = here.calls.next().await;
        let MeshRequest::TakeOverRun(what) = call.request else { panic!("{:?}", call.request) };
        assert_eq!((what.id, what.epoch), (id, 2));
        // At the other peer everything is fetched before it says yes.
        let far = here.outside.borrow().disk.artifacts.clone();
        let history = Export::decode(&far[&what.history]).unwrap();
        assert_eq!(
            history.artifacts().len(),
            2,
            "its inputs, which are those of the step as well, and its result"
        );
        let outside = Rc::new(std::cell::RefCell::new(Outside { far, ..Outside::default() }));
        let there = Scene::with(&world, outside, WorkflowOptions::default());
        // (The doubles know one node's name only: what is there plays the other one.)
        let mut moved = history;
        for (_, record) in &mut moved.events {
            if let crate::workflow::records::Event::MoveBegun { to, .. } = &mut record.event {
                *to = owner();
            }
        }
        let document = moved.encode().unwrap();
        let mut request = what.clone();
        (request.history, request.len) = (Cid::of(&document), document.len() as u64);
        let refused = ask_as(&there.ports.take_over, member(other()), request.clone()).await;
        assert_eq!(refused.unwrap_err().code(), ErrorCode::Unavailable, "its history cannot be fetched yet");
        there.outside.borrow_mut().far.insert(request.history, document);
        let taken = ask_as(&there.ports.take_over, member(other()), request.clone()).await.unwrap();
        assert_eq!(taken, TakenOver { epoch: 2 });
        reply.send(answer(MeshReply::TakenOver(taken)));
        world.settle().await;
        let error =
            ask(&here.ports.get, GetRun { id, wait_ms: 0, seen: None, steps: false }).await.unwrap_err();
        assert_eq!(error, WorkflowError::Moved { id, to: other() });
        there.work(&world, |_, _| json!(0)).await;
        let view = there.end(id).await;
        assert_eq!((view.state, view.epoch), (RunState::Completed, 2));
        assert_eq!(there.outside.borrow().submitted, 1, "the step that had completed did not run again");
        let again = ask_as(&there.ports.take_over, member(other()), request).await.unwrap();
        assert_eq!(again, TakenOver { epoch: 2 });
    });
}

#[test]
fn a_peer_that_says_no_keeps_the_run_here() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&simple(), &json!({"text": "x"})).await;
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        ask(&scene.ports.coordinate, coordinate).await.unwrap();
        let (_, reply) = scene.calls.next().await;
        let error = meshwork_proto::MeshError::new(ErrorCode::QueueFull, "no place");
        reply.send(Err(CallError::Refused(error)));
        let (_, reply) = scene.calls.next().await;
        let error = meshwork_proto::MeshError::new(ErrorCode::VersionMismatch, "too old");
        reply.send(Err(CallError::Refused(error)));
        world.settle().await;
        scene.work(&world, |_, _| json!(0)).await;
        let view = scene.end(id).await;
        assert_eq!((view.state, view.epoch), (RunState::Completed, 3));
    });
}

#[test]
fn a_run_that_is_larger_than_a_peer_allows_is_refused_by_it_for_good() {
    testing::world(|world| async move {
        let mut here = Scene::start(&world);
        let id = here.submit(&simple(), &json!({"text": "x"})).await;
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        ask(&here.ports.coordinate, coordinate).await.unwrap();
        let (call, _reply) = here.calls.next().await;
        let MeshRequest::TakeOverRun(what) = call.request else { panic!("{:?}", call.request) };
        let far = here.outside.borrow().disk.artifacts.clone();
        let outside = Rc::new(std::cell::RefCell::new(Outside { far, ..Outside::default() }));
        let small = WorkflowOptions { max_steps: 1, ..WorkflowOptions::default() };
        let there = Scene::with(&world, outside, small);
        let error = ask_as(&there.ports.take_over, member(other()), what).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    });
}

#[test]
fn a_no_after_a_lost_answer_is_believed_only_if_it_says_that_the_run_was_never_there() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&simple(), &json!({"text": "x"})).await;
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        ask(&scene.ports.coordinate, coordinate).await.unwrap();
        let refused = |code| Err(CallError::Refused(meshwork_proto::MeshError::new(code, "no")));
        let unheard = [
            Err(CallError::Timeout { target: "other".into(), after_ms: 1 }),
            refused(ErrorCode::VersionMismatch),
            refused(ErrorCode::Forbidden),
            refused(ErrorCode::Corrupt),
            // Too large for the wire: it was not asked.
            Err(CallError::TooLarge { len: 2, max: 1 }),
        ];
        for answer in unheard {
            let (call, reply) = scene.calls.next().await;
            assert!(matches!(call.request, MeshRequest::TakeOverRun(_)));
            reply.send(answer);
        }
        let (_, reply) = scene.calls.next().await;
        assert!(scene.queued().is_empty());
        reply.send(refused(ErrorCode::InvalidArgument));
        world.settle().await;
        scene.work(&world, |_, _| json!(0)).await;
        let view = scene.end(id).await;
        assert_eq!((view.state, view.epoch), (RunState::Completed, 3));
    });
}

#[test]
fn an_answer_that_the_peer_is_restarting_is_none() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&simple(), &json!({"text": "x"})).await;
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        ask(&scene.ports.coordinate, coordinate.clone()).await.unwrap();
        for code in [ErrorCode::QueueFull, ErrorCode::Unavailable, ErrorCode::VersionMismatch] {
            let (_, reply) = scene.calls.next().await;
            reply.send(Err(CallError::Refused(meshwork_proto::MeshError::new(code, "no"))));
        }
        let (_, reply) = scene.calls.next().await;
        assert!(scene.queued().is_empty(), "its coordinator may have gone on with it");
        reply.send(answer(MeshReply::TakenOver(TakenOver { epoch: 9 })));
        world.settle().await;
        let get = GetRun { id, wait_ms: 0, seen: None, steps: false };
        let error = ask(&scene.ports.get, get).await.unwrap_err();
        assert_eq!(error, WorkflowError::Moved { id, to: other() });
    });
}

#[test]
fn a_run_with_more_events_than_a_store_takes_at_once_is_not_sent_and_goes_on() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&simple(), &json!({"text": "x"})).await;
        world.settle().await;
        let mut batch = Batch::default();
        for seq in 10..100_010 {
            let event = Event::Signal { name: "s".into(), payload: Json::from_value(&json!(0)), by: None };
            batch.put(event_key(id, seq), &EventRecord { at: world.clock().now(), epoch: 1, event });
        }
        scene.outside.borrow_mut().disk.apply(&batch.into_ops().unwrap());
        let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
        ask(&scene.ports.coordinate, coordinate).await.unwrap();
        world.settle().await;
        let view = scene.get(id).await;
        assert_eq!((view.state, view.epoch), (RunState::Running, 3));
        let get = GetHistory { id, after: None, limit: 20 };
        let history = ask(&scene.ports.history, get).await.unwrap();
        let ended = history.entries.iter().find(|entry| entry.kind == "hand_over_ended").unwrap();
        assert!(ended.text.contains("cannot be handed over (too_large)"), "{}", ended.text);
    });
}

#[test]
fn a_cancel_follows_a_part_to_the_peer_that_it_moved_to() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let id = scene.submit(&with_part_at_other(), &json!({})).await;
        let part = RunId::from_bytes([9; 16]);
        let (_, reply) = scene.calls.next().await;
        let submitted = RunSubmitted { id: part, state: RunState::Running, existing: false };
        reply.send(answer(MeshReply::RunSubmitted(submitted)));
        let (_, _watch) = scene.calls.next().await;
        let cancel = RunAction::Cancel { reason: None, compensate: false };
        ask(&scene.ports.control, ControlRun { id, action: cancel }).await.unwrap();
        let (call, reply) = scene.calls.next().await;
        assert!(matches!(&call.request, MeshRequest::ControlRun(control) if control.id == part));
        let third: meshwork_proto::PeerId =
            "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM".parse().unwrap();
        let error = WorkflowError::Moved { id: part, to: third.clone() };
        reply.send(Err(CallError::Refused(meshwork_proto::MeshError::from_coded(&error))));
        let (call, reply) = scene.calls.next().await;
        assert!(matches!(call.request, MeshRequest::ListRuns(_)));
        let summary = meshwork_proto::workflow::RunSummary {
            id: part,
            name: "part".into(),
            state: RunState::Running,
            steps: 1,
            finished_steps: 0,
            moved_to: Some(third.clone()),
            error: None,
            created: world.clock().now(),
            finished: None,
        };
        let page = meshwork_proto::workflow::RunPage { runs: vec![summary], next: None };
        reply.send(answer(MeshReply::Runs(page)));
        let (call, _reply) = scene.calls.next().await;
        assert_eq!(call.target, PeerTarget::Id(third));
        assert!(matches!(&call.request, MeshRequest::ControlRun(control) if control.id == part));
    });
}
