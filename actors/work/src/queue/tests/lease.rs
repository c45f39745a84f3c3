//! Leases: renewal, expiry, lost connections, time limits.

use super::bench::{Bench, done, failed, other, owner, task};
use crate::queue::logic::{Answer, Op};
use crate::queue::options::QueueOptions;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{LeaseReport, QueueError, Renew, Renewal};
use meshwork_proto::task::{Progress, TaskStatus, WaitingFor};
use meshwork_proto::{ErrorCode, WorkerId};

fn remote_worker() -> String {
    WorkerId::of_peer(&other(), 1).to_string()
}

#[test]
fn a_lease_that_is_renewed_holds_and_one_that_is_not_ends() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    for _ in 0..5 {
        bench.advance(20_000);
        assert_eq!(bench.renew("w", &grant), Renewal::Renewed { lease_ms: 30_000 });
    }
    bench.advance(29_999);
    assert_eq!(bench.get(id).status, TaskStatus::Running);
    bench.advance(1);
    let view = bench.get(id);
    assert_eq!((view.status, view.attempts, view.lease_losses), (TaskStatus::Queued, 1, 1));
    assert_eq!(view.history[0].error.as_ref().unwrap().code, ErrorCode::LeaseLost);
    let stop = StopTask { id, fence: grant.fence, report: false };
    assert_eq!(bench.stops, [(Bench::worker("w"), stop)]);
    assert_eq!(bench.renew("w", &grant), Renewal::Lost);
}

#[test]
fn a_report_after_the_lease_was_taken_over_is_stale_and_changes_nothing() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let slow = bench.claim_one("slow", "echo");
    bench.advance(30_000);
    let error = bench.finish("slow", &slow, done()).unwrap_err();
    assert!(matches!(error, QueueError::StaleFence { given, .. } if given == slow.fence), "nobody holds it");
    let quick = bench.claim_one("quick", "echo");
    assert!(quick.fence > slow.fence && quick.attempt == 2);
    assert!(
        matches!(bench.finish("slow", &slow, done()), Err(QueueError::StaleFence { current, .. }) if current == quick.fence)
    );
    assert_eq!(bench.get(id).status, TaskStatus::Running);
    assert_eq!(bench.finish("quick", &quick, done()).unwrap().status, TaskStatus::Completed);
    assert!(matches!(bench.finish("slow", &slow, failed()), Err(QueueError::StaleFence { .. })));
    assert_eq!(bench.get(id).status, TaskStatus::Completed);
    assert_eq!(bench.stats().totals["stale_reports"], 3);
}

#[test]
fn the_right_fence_from_the_wrong_worker_is_stale_too() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    assert!(matches!(bench.finish("thief", &grant, done()), Err(QueueError::StaleFence { .. })));
    assert_eq!(bench.renew("thief", &grant), Renewal::Lost);
    bench.finish("w", &grant, done()).unwrap();
}

#[test]
fn a_task_that_loses_its_worker_too_often_fails_with_its_history() {
    let mut bench = Bench::with(QueueOptions { max_lease_losses: 3, ..QueueOptions::default() });
    let mut spec = task("poison");
    spec.max_attempts = 1;
    let id = bench.submit(spec);
    for n in 1..=3 {
        assert_eq!(
            bench.claim_one("w", "poison").attempt,
            n,
            "lost leases do not count as attempts that failed"
        );
        bench.advance(30_000);
    }
    let view = bench.get(id);
    assert_eq!((view.status, view.lease_losses), (TaskStatus::Failed, 3));
    assert_eq!(view.error.unwrap().code, ErrorCode::LeaseLost);
    assert_eq!(view.history.len(), 3);
    let workers = bench.stats().workers;
    assert!(workers.iter().all(|worker| worker.lost == 3 && worker.running == 0));
}

#[test]
fn a_lost_connection_frees_leases_after_the_grace_time() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one(&remote_worker(), "echo");
    bench.submit(task("echo"));
    let elsewhere = bench.claim_one("w", "echo");
    bench.turn(|state, turn| state.peer_lost(turn, &other()));
    bench.advance(4999);
    assert_eq!(bench.get(id).status, TaskStatus::Running);
    bench.advance(1);
    let view = bench.get(id);
    assert_eq!((view.status, view.lease_losses), (TaskStatus::Queued, 1));
    assert_eq!(bench.get(elsewhere.id).status, TaskStatus::Running);
    assert_eq!(bench.renew(&remote_worker(), &grant), Renewal::Lost);
}

#[test]
fn a_worker_that_comes_back_or_renews_within_the_grace_time_keeps_its_leases() {
    for renews in [false, true] {
        let mut bench = Bench::new();
        let id = bench.submit(task("echo"));
        let grant = bench.claim_one(&remote_worker(), "echo");
        bench.turn(|state, turn| state.peer_lost(turn, &other()));
        bench.advance(3000);
        if renews {
            assert!(matches!(bench.renew(&remote_worker(), &grant), Renewal::Renewed { .. }));
        } else {
            bench.turn(|state, _| state.peer_back(&other()));
        }
        bench.advance(10_000);
        assert_eq!(bench.get(id).status, TaskStatus::Running, "renews: {renews}");
    }
}

#[test]
fn an_attempt_that_outlives_its_time_by_a_lease_is_taken_away_and_counts_as_a_failure() {
    let mut bench = Bench::new();
    let mut spec = task("hang");
    spec.timeout_ms = Some(60_000);
    spec.max_attempts = 1;
    let id = bench.submit(spec);
    let grant = bench.claim_one("w", "hang");
    for _ in 0..8 {
        bench.advance(10_000);
        assert!(matches!(bench.renew("w", &grant), Renewal::Renewed { .. }));
    }
    bench.advance(10_000);
    let view = bench.get(id);
    assert_eq!((view.status, view.error.unwrap().code), (TaskStatus::Failed, ErrorCode::ToolTimeout));
    assert_eq!((view.lease_losses, bench.stops.len()), (0, 1));
}

#[test]
fn a_restart_gives_remote_workers_a_fresh_lease_with_the_fence_they_have() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one(&remote_worker(), "echo");
    bench.advance(25_000);
    bench.restart();
    bench.advance(29_000);
    let view = bench.get(id);
    assert_eq!((view.status, view.lease_losses, view.fence), (TaskStatus::Running, 0, grant.fence));
    assert!(matches!(bench.renew(&remote_worker(), &grant), Renewal::Renewed { .. }));
    assert_eq!(bench.finish(&remote_worker(), &grant, done()).unwrap().status, TaskStatus::Completed);
}

#[test]
fn a_new_process_frees_the_leases_of_its_own_executor_at_once_and_counts_nothing() {
    let mut bench = Bench::new();
    let own = WorkerId::of_peer(&owner(), 1).to_string();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one(&own, "echo");
    bench.restart();
    let view = bench.get(id);
    assert_eq!((view.status, view.attempts, view.lease_losses), (TaskStatus::Queued, 1, 0));
    assert!(matches!(bench.finish(&own, &grant, done()), Err(QueueError::StaleFence { .. })));
    let again = bench.claim_one(&own, "echo");
    assert!(again.fence > grant.fence);
}

#[test]
fn when_only_the_queue_restarts_its_own_executor_goes_on() {
    let mut bench = Bench::new();
    let own = WorkerId::of_peer(&owner(), 1).to_string();
    bench.submit(task("echo"));
    let grant = bench.claim_one(&own, "echo");
    bench.restart_actor();
    bench.submit(task("echo"));
    let next = bench.claim_one(&own, "echo");
    assert!(next.fence > grant.fence, "fences go on within a process");
    assert_eq!(bench.finish(&own, &grant, done()).unwrap().status, TaskStatus::Completed);
}

#[test]
fn progress_of_the_running_attempt_is_seen_and_kept_within_bounds() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    for done in 0..200_u32 {
        let log = vec![format!("step {done}"); 3];
        let progress =
            Progress { done: f64::from(done), total: Some(200.0), message: Some("copying".into()), log };
        let lease = LeaseReport { id, fence: grant.fence, progress: Some(progress) };
        let ticket = bench.ask(Op::Renew(Renew { worker: Bench::worker("w"), leases: vec![lease] }));
        assert!(matches!(bench.answer(ticket), Ok(Answer::Renewed(_))));
    }
    let progress = bench.get(id).progress.unwrap();
    assert_eq!((progress.done, progress.total), (199.0, Some(200.0)));
    assert_eq!((progress.log.len(), progress.log[49].as_str()), (50, "step 199"));
}

#[test]
fn who_holds_a_task_and_until_when_is_its_reason_to_wait() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    bench.claim_one("w", "echo");
    let until = bench.now.after(std::time::Duration::from_secs(30));
    assert_eq!(bench.get(id).waiting_for, Some(WaitingFor::Lease { worker: Bench::worker("w"), until }));
}
