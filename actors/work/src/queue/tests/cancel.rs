//! Cancelling: waiting tasks at once, running ones when their worker has stopped.

use super::bench::{Bench, done, failed, member, other, task};
use crate::queue::logic::Op;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{Cancel, Outcome, QueueError, Renewal};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::{ErrorCode, MeshError};

#[test]
fn a_waiting_task_is_cancelled_at_once_with_its_reason() {
    let mut bench = Bench::new();
    let ready = bench.submit(task("echo"));
    let mut spec = task("echo");
    spec.delay_ms = 60_000;
    let delayed = bench.submit(spec);
    for id in [ready, delayed] {
        assert_eq!(bench.cancel(id, "not needed any more").unwrap().status, TaskStatus::Cancelled);
        let error = bench.get(id).error.unwrap();
        assert_eq!(error.code, ErrorCode::Cancelled);
        assert!(error.message.contains("not needed any more"));
    }
    assert!(bench.claim("w", &["echo"], 10).is_empty());
    assert_eq!(bench.cancel(ready, "again").unwrap().status, TaskStatus::Cancelled, "twice is once");
}

#[test]
fn a_running_task_is_cancelled_when_its_worker_reports_whatever_it_reports() {
    let stopped = Outcome::Failed { error: MeshError::new(ErrorCode::Cancelled, "stopped"), retry: false };
    for outcome in [stopped, done(), failed(), Outcome::Released { reason: "bye".into() }] {
        let mut bench = Bench::new();
        let id = bench.submit(task("echo"));
        let grant = bench.claim_one("w", "echo");
        assert_eq!(bench.cancel(id, "enough").unwrap().status, TaskStatus::Running);
        assert_eq!(bench.stops, [(Bench::worker("w"), StopTask { id, fence: grant.fence, report: true })]);
        assert!(bench.get(id).cancel_requested);
        bench.restart();
        assert!(bench.get(id).cancel_requested, "it is written down");
        assert_eq!(bench.finish("w", &grant, outcome).unwrap().status, TaskStatus::Cancelled);
        let view = bench.get(id);
        assert_eq!((view.status, view.error.unwrap().code), (TaskStatus::Cancelled, ErrorCode::Cancelled));
    }
}

#[test]
fn a_worker_that_never_stops_cannot_hold_a_cancelled_task_by_renewing() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.cancel(id, "").unwrap();
    for _ in 0..2 {
        bench.advance(10_000);
        assert_eq!(bench.renew("w", &grant), Renewal::CancelRequested);
    }
    bench.advance(10_000);
    assert_eq!(bench.get(id).status, TaskStatus::Cancelled);
}

#[test]
fn what_is_completed_or_failed_cannot_be_cancelled_any_more() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    assert!(matches!(
        bench.cancel(id, ""),
        Err(QueueError::WrongState { status: TaskStatus::Completed, .. })
    ));
}

#[test]
fn tasks_of_others_are_unknown_to_a_member() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let cancel = |bench: &mut Bench| {
        let ticket = bench.ask_as(member(other()), Op::Cancel(Cancel { id, reason: None }));
        bench.submitted(ticket).unwrap_err()
    };
    assert_eq!(cancel(&mut bench), QueueError::UnknownTask(id));
    bench.cancel(id, "").unwrap();
    assert_eq!(cancel(&mut bench), QueueError::UnknownTask(id));
    let ticket = bench.ask_as(member(other()), Op::Submit(task("echo")));
    let own = bench.submitted(ticket).unwrap().id;
    let ticket = bench.ask_as(member(other()), Op::Cancel(Cancel { id: own, reason: None }));
    assert_eq!(bench.submitted(ticket).unwrap().status, TaskStatus::Cancelled);
}
