//! Tasks of this node's own queue: claimed, renewed, stopped, reported.

use super::fakes::{LEASE, Rig, grant, rig};
use crate::executor::ExecutorOptions;
use meshwork_kit::testing::{self, World};
use meshwork_proto::executor::{DrainExecutor, Drained, StopTask};
use meshwork_proto::queue::{Outcome, Renewal};
use meshwork_proto::task::{Payload, TOOL_CALL};
use meshwork_proto::{Cid, ErrorCode, Fence, Json, TaskId};
use serde_json::json;
use std::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

fn four_slots() -> ExecutorOptions {
    ExecutorOptions { slots: Some(4), ..ExecutorOptions::default() }
}

/// A rig whose own queue has one sleeping task that runs already.
async fn with_sleeper(world: &World, seconds: u64) -> Rig {
    let rig = rig(world, four_slots());
    rig.local.borrow_mut().grants.push_back(grant(1, "sleep", &json!({"seconds": seconds})));
    world.advance(S(1)).await;
    assert_eq!(running(&rig).await, 1);
    rig
}

async fn running(rig: &Rig) -> u32 {
    rig.ports.slots.ask(meshwork_proto::executor::GetSlots, S(1)).await.unwrap().running
}

fn first_task() -> TaskId {
    TaskId::from_bytes([1; 16])
}

#[test]
fn a_granted_task_runs_and_its_canonical_result_is_reported() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        rig.local.borrow_mut().grants.push_back(grant(1, "echo", &json!({"b": 1.0, "a": "x"})));
        world.advance(S(2)).await;
        assert_eq!(running(&rig).await, 0);
        let owner = rig.local.borrow();
        let canonical = br#"{"a":"x","b":1}"#;
        let output = Payload::Inline(Json::from_checked(bytes::Bytes::from_static(canonical)));
        assert_eq!(owner.outcomes(), [&Outcome::Completed { output, output_cid: Cid::of(canonical) }]);
        assert_eq!((owner.finishes[0].id, owner.finishes[0].fence), (first_task(), Fence(1)));
    });
}

#[test]
fn it_claims_what_it_has_room_for_and_listens_without_credits() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        for n in 1..=6 {
            rig.local.borrow_mut().grants.push_back(grant(n, "sleep", &json!({"seconds": 5})));
        }
        world.advance(S(1)).await;
        {
            let owner = rig.local.borrow();
            assert_eq!(owner.grants.len(), 2, "four run, two wait at their owner");
            let (_, first) = &owner.claims[0];
            assert_eq!((first.credits, first.wait_ms, first.offer.tools["echo"]), (4, 0, 4));
            assert!(first.offer.labels.contains("test"));
        }
        world.advance(S(10)).await;
        let owner = rig.local.borrow();
        assert_eq!(owner.finishes.len(), 6);
        let (_, last) = owner.claims.last().unwrap();
        assert_eq!(last.credits, 0);
        assert!(last.wait_ms >= 10_000);
    });
}

#[test]
fn a_worker_without_room_goes_on_saying_what_it_serves() {
    testing::world(|world| async move {
        let rig = rig(&world, ExecutorOptions { slots: Some(1), ..ExecutorOptions::default() });
        rig.local.borrow_mut().grants.push_back(grant(1, "sleep", &json!({"seconds": 300})));
        world.advance(S(200)).await;
        let owner = rig.local.borrow();
        let busy: Vec<_> = owner.claims.iter().filter(|(_, claim)| claim.offer.tools["echo"] == 0).collect();
        assert!(busy.len() >= 6, "about every half minute: {}", busy.len());
        assert!(busy.iter().all(|(_, claim)| claim.credits == 0 && claim.wait_ms == 0));
    });
}

#[test]
fn a_tool_call_names_its_tool_inside_the_payload() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        for (n, payload) in
            [(1, json!({"tool": "echo", "arguments": {"x": 1}})), (2, json!({"arguments": {}}))]
        {
            let mut task = grant(n, "echo", &payload);
            task.task_type = TOOL_CALL.into();
            rig.local.borrow_mut().grants.push_back(task);
        }
        rig.local.borrow_mut().grants.push_back(grant(3, "echo", &json!([1, 2])));
        world.advance(S(2)).await;
        let owner = rig.local.borrow();
        let ok = owner.finishes.iter().find(|finish| finish.fence == Fence(1)).unwrap();
        assert!(
            matches!(&ok.outcome, Outcome::Completed { output: Payload::Inline(json), .. } if json.to_value() == json!({"x": 1}))
        );
        assert_eq!(owner.failures(), [(ErrorCode::InvalidArgument, false); 2]);
    });
}

#[test]
fn leases_are_renewed_together_every_third_of_their_time() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 35).await;
        world.advance(S(2)).await;
        rig.local.borrow_mut().grants.push_back(grant(2, "sleep", &json!({"seconds": 33})));
        world.advance(S(60)).await;
        let owner = rig.local.borrow();
        assert_eq!(owner.finishes.len(), 2);
        let sizes: Vec<_> = owner.renews.iter().map(|(_, renew)| renew.leases.len()).collect();
        assert_eq!(sizes, [2, 2, 2], "the second joins the first, although its own time would be later");
        for pair in owner.renews.windows(2) {
            assert!(pair[1].0.since(pair[0].0) <= S(10));
        }
    });
}

#[test]
fn a_task_that_its_owner_cancelled_is_stopped_and_reported() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 1_000).await;
        rig.local.borrow_mut().renewal = Box::new(|_| Renewal::CancelRequested);
        world.advance(S(11)).await;
        assert_eq!(rig.local.borrow().failures(), [(ErrorCode::Cancelled, false)]);
        assert_eq!(running(&rig).await, 0);
    });
}

#[test]
fn stopping_an_attempt_acts_at_once_and_only_on_its_fence() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 1_000).await;
        rig.ports.stop.tell(StopTask { id: first_task(), fence: Fence(99), report: true }).unwrap();
        world.settle().await;
        assert_eq!(running(&rig).await, 1);
        rig.ports.stop.tell(StopTask { id: first_task(), fence: Fence(1), report: true }).unwrap();
        world.settle().await;
        assert_eq!(rig.local.borrow().failures(), [(ErrorCode::Cancelled, false)]);
        assert_eq!(running(&rig).await, 0);
    });
}

#[test]
fn behind_a_lost_lease_nothing_runs_and_nothing_is_reported() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 1_000).await;
        rig.local.borrow_mut().renewal = Box::new(|_| Renewal::Lost);
        world.advance(S(11)).await;
        assert_eq!(running(&rig).await, 0);
        let second = with_second_sleeper(&world, &rig).await;
        rig.ports.stop.tell(StopTask { id: second, fence: Fence(2), report: false }).unwrap();
        world.advance(S(60)).await;
        assert_eq!(running(&rig).await, 0);
        assert!(rig.local.borrow().finishes.is_empty());
    });
}

async fn with_second_sleeper(world: &World, rig: &Rig) -> TaskId {
    let before = running(rig).await;
    rig.local.borrow_mut().grants.push_back(grant(2, "sleep", &json!({"seconds": 1_000})));
    world.advance(S(2)).await;
    assert_eq!(running(rig).await, before + 1);
    TaskId::from_bytes([2; 16])
}

#[test]
fn a_lease_that_nobody_renews_ends_the_work_in_time() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 1_000).await;
        let renewed = world.clock().now();
        world.advance(S(9)).await;
        rig.local.borrow_mut().offline = true;
        while running(&rig).await > 0 {
            world.advance(Duration::from_millis(100)).await;
        }
        let stopped = world.clock().now().since(renewed);
        assert!(stopped <= LEASE, "still working {stopped:?} after the lease was granted");
        assert!(stopped > S(25), "gave up early: {stopped:?}");
        rig.local.borrow_mut().offline = false;
        rig.local.borrow_mut().grants.push_back(grant(3, "echo", &json!({})));
        world.advance(S(10)).await;
        assert_eq!(rig.local.borrow().finishes.len(), 1, "only the new task is reported");
    });
}

#[test]
fn a_report_whose_answer_was_lost_is_repeated_until_it_is_accepted() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        rig.local.borrow_mut().finish_errors =
            [ErrorCode::Timeout, ErrorCode::DiskFull, ErrorCode::Busy].into();
        rig.local.borrow_mut().grants.push_back(grant(1, "echo", &json!({"a": 1})));
        world.advance(S(20)).await;
        let owner = rig.local.borrow();
        assert_eq!(owner.finishes.len(), 4);
        assert!(owner.finishes.windows(2).all(|pair| pair[0] == pair[1]));
    });
}

#[test]
fn a_report_is_delivered_by_an_owner_that_comes_back_after_the_lease() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 9).await;
        rig.local.borrow_mut().offline = true;
        world.advance(S(60)).await;
        assert_eq!(running(&rig).await, 0, "the place is free while the report waits");
        rig.local.borrow_mut().offline = false;
        world.advance(S(10)).await;
        assert!(matches!(rig.local.borrow().outcomes()[..], [Outcome::Completed { .. }]));
    });
}

#[test]
fn a_stale_report_is_not_repeated_and_a_result_that_is_refused_becomes_a_failure() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        rig.local.borrow_mut().finish_errors = [ErrorCode::StaleFence].into();
        rig.local.borrow_mut().grants.push_back(grant(1, "echo", &json!({})));
        world.advance(S(30)).await;
        assert_eq!(rig.local.borrow().finishes.len(), 1);
        rig.local.borrow_mut().finish_errors = [ErrorCode::TooLarge].into();
        rig.local.borrow_mut().grants.push_back(grant(2, "echo", &json!({})));
        world.advance(S(30)).await;
        assert_eq!(rig.local.borrow().failures(), [(ErrorCode::ToolOutput, false)]);
    });
}

#[test]
fn a_task_that_runs_too_long_fails_and_may_be_tried_again() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        let mut task = grant(1, "sleep", &json!({"seconds": 100}));
        task.timeout_ms = Some(3_000);
        rig.local.borrow_mut().grants.push_back(task);
        world.advance(S(5)).await;
        assert_eq!(rig.local.borrow().failures(), [(ErrorCode::ToolTimeout, true)]);
    });
}

#[test]
fn large_results_become_artifacts_and_large_payloads_are_read_from_them() {
    testing::world(|world| async move {
        let mut rig = rig(&world, four_slots());
        let document = Json::from_value(&json!({"text": "x".repeat(600_000)}));
        let cid = Cid::of(document.bytes());
        let bytes = document.bytes().clone();
        rig.read.take().unwrap().reply_with(move |request| {
            let from = usize::try_from(request.offset).unwrap();
            let to = (from + request.max_len as usize).min(bytes.len());
            Ok(meshwork_proto::artifact::ArtifactPiece {
                total_len: bytes.len() as u64,
                bytes: bytes.slice(from..to),
            })
        });
        rig.put.take().unwrap().reply_with(|put| Ok(Cid::of(&put.0)));
        let mut task = grant(1, "echo", &json!({}));
        task.payload = Payload::Stored { cid, len: document.len() as u64 };
        rig.local.borrow_mut().grants.push_back(task);
        world.advance(S(5)).await;
        let output = Payload::Stored { cid, len: document.len() as u64 };
        assert_eq!(rig.local.borrow().outcomes(), [&Outcome::Completed { output, output_cid: cid }]);
    });
}

#[test]
fn draining_lets_tasks_end_and_gives_the_rest_back_in_time() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 5).await;
        with_second_sleeper(&world, &rig).await;
        let begun = world.clock().now();
        let drained = rig.ports.drain.ask(DrainExecutor { deadline_ms: 10_000 }, S(60)).await.unwrap();
        assert_eq!(drained, Drained { finished: 1, released: 1 });
        assert!(world.clock().now().since(begun) <= S(10));
        assert!(matches!(
            rig.local.borrow().outcomes()[..],
            [Outcome::Completed { .. }, Outcome::Released { .. }]
        ));
        let claims = rig.local.borrow().claims.len();
        rig.local.borrow_mut().grants.push_back(grant(3, "echo", &json!({})));
        world.advance(S(120)).await;
        assert!(rig.local.borrow().claims.len() <= claims + 1, "claims went on while draining");
        assert_eq!(rig.local.borrow().finishes.len(), 2);
        let again = rig.ports.drain.ask(DrainExecutor { deadline_ms: 0 }, S(60)).await.unwrap();
        assert_eq!(again, Drained { finished: 0, released: 0 });
    });
}

#[test]
fn what_was_not_offered_goes_back_and_what_runs_already_is_not_started_twice() {
    testing::world(|world| async move {
        let rig = with_sleeper(&world, 60).await;
        rig.local.borrow_mut().forced.push_back(grant(2, "never_offered", &json!({})));
        rig.local.borrow_mut().forced.push_back(grant(1, "sleep", &json!({"seconds": 60})));
        world.advance(S(5)).await;
        assert_eq!(running(&rig).await, 1);
        let owner = rig.local.borrow();
        assert!(matches!(owner.outcomes()[..], [Outcome::Released { .. }]));
        assert_eq!(owner.finishes[0].fence, Fence(2));
    });
}

#[test]
fn an_owner_that_cannot_be_reached_is_asked_ever_more_rarely_but_found_again_soon() {
    testing::world(|world| async move {
        let rig = rig(&world, four_slots());
        world.advance(S(1)).await;
        rig.local.borrow_mut().offline = true;
        world.advance(S(120)).await;
        rig.local.borrow_mut().offline = false;
        rig.local.borrow_mut().grants.push_back(grant(1, "echo", &json!({})));
        world.advance(S(6)).await;
        assert_eq!(rig.local.borrow().finishes.len(), 1);
        assert_eq!(rig.actor.restarts(), 0);
    });
}
