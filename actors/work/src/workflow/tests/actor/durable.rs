//! Nothing is done before it is decided, nothing is told before it is written, and what happens when the store fails.

use super::scene::{Outside, Scene, ask};
use crate::workflow::tests::bench::submission;
use meshwork_kit::{SupervisionChange, testing};
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{ControlRun, GetRun, RunAction, RunState, WorkflowError};
use meshwork_proto::{Coded, ErrorCode};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn chain(steps: usize) -> Value {
    let steps: Vec<Value> = (0..steps)
        .map(|n| match n {
            0 => json!({"id": "s0", "tool": "t", "input": {}}),
            n => json!({"id": format!("s{n}"), "needs": [format!("s{}", n - 1)], "tool": "t", "input": {}}),
        })
        .collect();
    json!({"name": "chain", "steps": steps})
}

/// The oldest commits are written and answered.
fn release(scene: &Scene, count: usize) {
    let mut outside = scene.outside.borrow_mut();
    for _ in 0..count {
        let Some((commit, reply)) = outside.held.pop_front() else { return };
        outside.disk.apply(&commit.ops);
        reply.send(Ok(()));
    }
}

#[test]
fn an_attempt_reaches_the_queue_behind_the_event_that_decides_it() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&chain(3), &json!({})).await;
        world.settle().await;
        scene.outside.borrow_mut().hold = true;
        let (task, ..) = scene.queued().remove(0);
        scene.finish(task, json!(0));
        world.settle().await;
        // The commit is sent and not answered: whatever the queue writes comes behind it.
        assert_eq!((scene.outside.borrow().held.len(), scene.queued().len()), (1, 1));
        // The port takes sixteen commits; more wait, and so does what follows from them.
        let mut parts = Vec::new();
        for _ in 0..30 {
            let submit = scene.ports.submit.clone();
            let by = meshwork_proto::workflow::By {
                caller: meshwork_proto::Caller::Local,
                op: submission(&chain(1), &json!({})),
            };
            parts.push(tokio::task::spawn_local(async move { submit.ask(by, super::scene::LONG).await }));
        }
        world.settle().await;
        assert!(parts.iter().all(|part| !part.is_finished()), "nothing is told");
        scene.outside.borrow_mut().hold = false;
        release(&scene, 100);
        for part in parts {
            assert!(part.await.unwrap().unwrap().is_ok());
        }
        scene.work(&world, |_, _| json!(0)).await;
        assert_eq!(scene.end(id).await.state, RunState::Completed);
    });
}

#[test]
fn the_end_of_a_run_is_told_when_it_is_on_the_disk() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&chain(1), &json!({})).await;
        world.settle().await;
        scene.outside.borrow_mut().hold = true;
        let (task, ..) = scene.queued().remove(0);
        let get = scene.ports.get.clone();
        let waiting = tokio::task::spawn_local(async move {
            ask(&get, GetRun { id, wait_ms: 60_000, seen: None, steps: false }).await
        });
        scene.finish(task, json!(0));
        world.advance(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        release(&scene, 10);
        assert_eq!(waiting.await.unwrap().unwrap().state, RunState::Completed);
    });
}

#[test]
fn a_full_disk_refuses_new_runs_with_its_reason_and_restarts_nothing() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        world.settle().await;
        scene.outside.borrow_mut().refuse = Some(StoreError::DiskFull { free: 1, reserve: 2 });
        let error = scene.try_submit(submission(&chain(1), &json!({}))).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DiskFull);
        let id = scene.submit(&chain(2), &json!({})).await;
        scene.work(&world, |_, _| json!(0)).await;
        assert_eq!(scene.end(id).await.state, RunState::Completed);
        assert_eq!(scene.actor.restarts(), 0);
    });
}

#[test]
fn after_a_database_error_everybody_is_told_and_runs_go_on_from_what_is_stored() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&chain(3), &json!({})).await;
        world.settle().await;
        let (task, ..) = scene.queued().remove(0);
        let get = scene.ports.get.clone();
        let waiting = tokio::task::spawn_local(async move {
            ask(&get, GetRun { id, wait_ms: 60_000, seen: None, steps: false }).await
        });
        world.settle().await;
        scene.outside.borrow_mut().refuse = Some(StoreError::Database("io error".into()));
        scene.finish(task, json!(0));
        assert!(matches!(waiting.await.unwrap(), Err(WorkflowError::Store(_))));
        let event = world.next_event().await;
        assert!(matches!(event.what, SupervisionChange::Restarting { .. }), "{event:?}");
        // The end of the first step was not written: it is found again in the queue.
        world.advance(Duration::from_secs(1)).await;
        scene.work(&world, |_, _| json!(0)).await;
        let view = scene.end(id).await;
        assert_eq!(view.state, RunState::Completed);
        let tasks = scene.outside.borrow().queue.tasks.len();
        assert_eq!(tasks, 3, "no step ran twice");
    });
}

#[test]
fn a_cancelled_run_is_over_within_its_bound_whatever_its_workers_do() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&chain(1), &json!({})).await;
        world.settle().await;
        let (task, ..) = scene.queued().remove(0);
        scene.outside.borrow_mut().queue.tasks.get_mut(&task).unwrap().status =
            meshwork_proto::task::TaskStatus::Running;
        let action = RunAction::Cancel { reason: Some("enough".into()), compensate: false };
        ask(&scene.ports.control, ControlRun { id, action }).await.unwrap();
        world.advance(Duration::from_secs(61)).await;
        assert_eq!(scene.get(id).await.state, RunState::Cancelled);
        scene.finish(task, json!("late"));
        world.settle().await;
        assert_eq!(scene.get(id).await.state, RunState::Cancelled);
    });
}

#[test]
fn a_run_that_cannot_be_read_stands_still_and_the_others_go_on() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let good = scene.submit(&chain(1), &json!({})).await;
        let bad = scene.submit(&chain(2), &json!({})).await;
        let mut disk = scene.outside.borrow().disk.clone();
        let key = crate::workflow::records::event_key(bad, 2);
        let family = meshwork_proto::store::Family::Workflows;
        disk.apply(&[meshwork_proto::store::WriteOp::Put {
            family,
            key,
            value: bytes::Bytes::from_static(&[99, 1]),
        }]);
        let queue = scene.outside.borrow().queue.clone();
        let outside = Rc::new(std::cell::RefCell::new(Outside { disk, queue, ..Outside::default() }));
        let second = Scene::with(&world, outside, crate::workflow::WorkflowOptions::default());
        second.work(&world, |_, _| json!(0)).await;
        assert_eq!(second.end(good).await.state, RunState::Completed);
        let error = ask(&second.ports.get, GetRun { id: bad, wait_ms: 0, seen: None, steps: false })
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Corrupt);
        assert!(error.to_string().contains("version 99"), "{error}");
        assert_eq!(second.actor.restarts(), 0);
    });
}

#[test]
fn a_start_reads_the_events_of_a_run_page_by_page() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let items: Vec<u32> = (0..400).collect();
        let fan = json!({"name": "fan", "steps": [
            {"id": "f", "for_each": items, "tool": "t", "input": {"n": "${item}"}},
            {"id": "last", "tool": "t", "input": {"n": "${size(steps.f.output)}"}}
        ]});
        let id = scene.submit(&fan, &json!({})).await;
        world.settle().await;
        for (task, _, input) in scene.queued() {
            scene.finish(task, input);
        }
        world.settle().await;
        let disk = scene.outside.borrow().disk.clone();
        let queue = scene.outside.borrow().queue.clone();
        let outside = Rc::new(std::cell::RefCell::new(Outside { disk, queue, ..Outside::default() }));
        let second = Scene::with(&world, outside, crate::workflow::WorkflowOptions::default());
        second.work(&world, |_, input| input.clone()).await;
        let view = second.end(id).await;
        assert_eq!(second.output(&view), json!({"last": {"n": 400}}));
        let outside = second.outside.borrow();
        assert!(outside.disk.events(id).len() > 800 && outside.longest_page <= 256);
        assert_eq!(outside.steps_known, 1, "the queue was told");
    });
}
