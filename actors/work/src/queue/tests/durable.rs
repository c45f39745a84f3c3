//! What is acknowledged is in the store: nothing is promised before its commit, and what happens when one fails.

use super::bench::{Bench, done, failed, offer, task};
use crate::queue::logic::{Answer, Op};
use meshwork_proto::queue::{Cancel, GetTask, QueueError, TaskChanges, Update};
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::task::TaskStatus;

fn disk_full() -> StoreError {
    StoreError::DiskFull { free: 10, reserve: 20 }
}

#[test]
fn a_submission_is_answered_and_claimable_after_its_commit_and_not_before() {
    let mut bench = Bench::new();
    bench.auto = false;
    let waiting = bench.claim_ticket("w", offer(&["echo"]), 1, 60_000);
    let ticket = bench.ask(Op::Submit(task("echo")));
    assert_eq!((bench.sent[0].acknowledge, bench.sent[0].admission), (Acknowledge::Durable, Admission::New));
    assert!(!bench.answered(ticket) && !bench.answered(waiting));
    bench.acknowledge();
    assert!(bench.answered(ticket) && bench.answered(waiting));
}

#[test]
fn reports_cancellations_and_changes_are_answered_after_their_commits() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..4).map(|_| bench.submit(task("echo"))).collect();
    let grants = bench.claim("w", &["echo"], 3);
    bench.auto = false;
    let tickets = [
        bench.finish_ticket("w", ids[0], grants[0].fence, done()),
        bench.finish_ticket("w", ids[1], grants[1].fence, failed()),
        bench.ask(Op::Cancel(Cancel { id: ids[2], reason: None })),
        bench.ask(Op::Cancel(Cancel { id: ids[3], reason: None })),
        bench.ask(Op::Update(Update {
            id: ids[2],
            changes: TaskChanges { priority: Some(1), ..Default::default() },
        })),
    ];
    for ticket in tickets {
        assert!(!bench.answered(ticket));
        assert_eq!(
            (bench.sent[0].acknowledge, bench.sent[0].admission),
            (Acknowledge::Durable, Admission::Accepted)
        );
        bench.acknowledge();
        assert!(bench.answered(ticket));
    }
}

#[test]
fn a_claim_is_answered_at_once_and_its_commit_goes_before_what_follows() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    bench.auto = false;
    let grant = bench.claim_one("w", "echo");
    assert_eq!(bench.sent[0].acknowledge, Acknowledge::Written);
    bench.finish_ticket("w", grant.id, grant.fence, done());
    assert_eq!(bench.sent.len(), 2);
    assert!(bench.sent[0].id < bench.sent[1].id);
}

#[test]
fn a_claim_that_was_lost_in_a_crash_leaves_the_task_queued_and_its_fence_stale() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    bench.auto = false;
    let lost = bench.claim_one("w", "echo");
    bench.restart();
    bench.auto = true;
    assert_eq!(bench.get(id).status, TaskStatus::Queued);
    assert!(matches!(bench.finish("w", &lost, done()), Err(QueueError::StaleFence { .. })));
    assert!(bench.claim_one("w", "echo").fence > lost.fence);
}

#[test]
fn readers_see_the_end_of_a_task_when_it_is_written() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let waiting = bench.ask(Op::Get(GetTask { id, wait_ms: 10_000 }));
    bench.auto = false;
    bench.finish_ticket("w", id, grant.fence, done());
    let asking = bench.ask(Op::Get(GetTask { id, wait_ms: 0 }));
    let cancelling = bench.ask(Op::Cancel(Cancel { id, reason: None }));
    assert!(!bench.answered(waiting) && !bench.answered(asking) && !bench.answered(cancelling));
    bench.acknowledge();
    assert_eq!(bench.task(waiting).unwrap().status, TaskStatus::Completed);
    assert_eq!(bench.task(asking).unwrap().status, TaskStatus::Completed);
    assert!(matches!(bench.submitted(cancelling), Err(QueueError::WrongState { .. })));
}

#[test]
fn a_submission_that_the_disk_has_no_room_for_is_as_if_it_had_never_been() {
    let mut bench = Bench::new();
    let before = bench.disk.len();
    bench.auto = false;
    let mut spec = task("echo");
    spec.idempotency_key = Some("k".into());
    let first = bench.ask(Op::Submit(spec.clone()));
    let follower = bench.ask(Op::Submit(spec.clone()));
    bench.refuse(disk_full());
    assert_eq!(bench.submitted(first).unwrap_err(), QueueError::Store(disk_full()));
    assert!(!bench.answered(follower), "the one behind it tries for itself");
    bench.refuse(disk_full());
    assert_eq!(bench.submitted(follower).unwrap_err(), QueueError::Store(disk_full()));
    assert!(bench.fatal.is_none(), "nothing has to be rebuilt");
    assert_eq!((bench.disk.len(), bench.stats().by_status[&TaskStatus::Queued]), (before, 0));
    bench.auto = true;
    assert!(!bench.try_submit(spec).unwrap().existing, "when there is room again it is a new task");
}

#[test]
fn what_runs_goes_on_while_the_disk_takes_no_new_work() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    bench.auto = false;
    let grant = bench.claim_one("w", "echo");
    let refused = bench.ask(Op::Submit(task("echo")));
    let finished = bench.finish_ticket("w", grant.id, grant.fence, done());
    bench.acknowledge();
    bench.refuse(disk_full());
    bench.acknowledge();
    assert!(bench.submitted(refused).is_err());
    assert!(matches!(bench.answer(finished), Ok(Answer::Finished(_))));
}

#[test]
fn a_database_error_ends_the_state_and_a_new_one_has_everything_that_was_acknowledged() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.auto = false;
    let ticket = bench.finish_ticket("w", id, grant.fence, done());
    bench.refuse(StoreError::Database("io error".into()));
    assert!(!bench.answered(ticket), "the shell answers everybody");
    assert_eq!(bench.fatal, Some(StoreError::Database("io error".into())));
    bench.auto = true;
    assert!(matches!(bench.try_submit(task("echo")), Err(QueueError::Store(_))));
    assert_eq!(bench.state.next_due(), None);
    bench.restart_actor();
    assert_eq!(bench.get(id).status, TaskStatus::Running);
    assert_eq!(bench.finish("w", &grant, done()).unwrap().status, TaskStatus::Completed);
}

#[test]
fn a_report_that_the_full_disk_refuses_cannot_be_undone_and_ends_the_state() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.auto = false;
    bench.finish_ticket("w", id, grant.fence, done());
    bench.refuse(disk_full());
    assert_eq!(bench.fatal, Some(disk_full()));
}
