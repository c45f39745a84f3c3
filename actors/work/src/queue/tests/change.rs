//! Changing tasks, and running finished ones again.

use super::bench::{Bench, done, failed, labels, member, offer, other, task};
use crate::queue::logic::Op;
use meshwork_proto::queue::{Offer, QueueError, TaskChanges, Update};
use meshwork_proto::store::{Family, StoreError};
use meshwork_proto::task::{Payload, TaskStatus};
use meshwork_proto::{Cid, Coded, ErrorCode, Fence, Json};

#[test]
fn a_raised_priority_moves_a_waiting_task_to_the_front() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let urgent = bench.submit(task("echo"));
    let changes = TaskChanges { priority: Some(9), ..TaskChanges::default() };
    assert_eq!(bench.update(urgent, changes).unwrap().spec.priority, 9);
    bench.restart();
    assert_eq!(bench.claim_one("w", "echo").id, urgent);
}

#[test]
fn changed_labels_decide_who_may_claim_and_survive_restarts_and_the_end() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let metadata = Some(Json::from_value(&serde_json::json!({"note": "hurry"})));
    let changes = TaskChanges {
        labels: Some(labels(&["gpu"])),
        max_attempts: Some(7),
        timeout_ms: Some(1000),
        expires_ms: Some(90_000),
        metadata: metadata.clone(),
        priority: None,
    };
    bench.update(id, changes).unwrap();
    assert!(bench.claim("w", &["echo"], 1).is_empty());
    let seen = |bench: &mut Bench| {
        let spec = bench.get(id).spec;
        assert_eq!((spec.labels, spec.max_attempts), (labels(&["gpu"]), 7));
        assert_eq!(
            (spec.timeout_ms, spec.expires_ms, spec.metadata),
            (Some(1000), Some(90_000), metadata.clone())
        );
    };
    seen(&mut bench);
    bench.restart();
    seen(&mut bench);
    let ticket = bench.claim_ticket("w", Offer { labels: labels(&["gpu"]), ..offer(&["echo"]) }, 1, 0);
    let grant = bench.claimed(ticket).grants.remove(0);
    assert_eq!((grant.timeout_ms, grant.metadata.clone()), (Some(1000), metadata.clone()));
    bench.finish("w", &grant, done()).unwrap();
    seen(&mut bench);
    bench.restart();
    seen(&mut bench);
    bench.resubmit(id).unwrap();
    seen(&mut bench);
    assert!(bench.claim("w", &["echo"], 1).is_empty(), "the labels hold for the next time too");
}

#[test]
fn a_change_that_breaks_a_rule_changes_nothing() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    for changes in [
        TaskChanges { priority: Some(0), max_attempts: Some(9), ..TaskChanges::default() },
        TaskChanges { max_attempts: Some(0), priority: Some(9), ..TaskChanges::default() },
        TaskChanges { timeout_ms: Some(0), priority: Some(9), ..TaskChanges::default() },
        TaskChanges { labels: Some(labels(&[""])), priority: Some(9), ..TaskChanges::default() },
    ] {
        assert_eq!(bench.update(id, changes).unwrap_err().code(), ErrorCode::InvalidArgument);
    }
    assert_eq!(bench.get(id).spec, task("echo"));
}

#[test]
fn a_finished_task_cannot_be_changed_and_one_of_others_is_unknown() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let changes = TaskChanges { priority: Some(9), ..TaskChanges::default() };
    let ticket = bench.ask_as(member(other()), Op::Update(Update { id, changes: changes.clone() }));
    assert_eq!(bench.task(ticket).unwrap_err(), QueueError::UnknownTask(id));
    bench.cancel(id, "").unwrap();
    assert!(matches!(bench.update(id, changes), Err(QueueError::WrongState { .. })));
}

#[test]
fn a_resubmitted_task_starts_over_with_its_history() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.max_attempts = 1;
    let id = bench.submit(spec);
    let first = bench.claim_one("w", "echo");
    bench.finish("w", &first, failed()).unwrap();
    assert_eq!(bench.stats().by_status[&TaskStatus::Failed], 1);
    let submitted = bench.resubmit(id).unwrap();
    assert_eq!((submitted.id, submitted.status), (id, TaskStatus::Queued));
    for _ in 0..2 {
        let view = bench.get(id);
        assert_eq!((view.status, view.attempts, view.history.len()), (TaskStatus::Queued, 0, 1));
        assert!(view.error.is_none() && view.finished.is_none() && view.output.is_none());
        let stats = bench.stats();
        assert_eq!((stats.by_status[&TaskStatus::Failed], stats.by_status[&TaskStatus::Queued]), (0, 1));
        bench.restart();
    }
    let second = bench.claim_one("w", "echo");
    assert!(second.fence > first.fence && second.fence > Fence::default());
    assert_eq!(second.attempt, 1);
    assert!(matches!(bench.finish("w", &first, done()), Err(QueueError::StaleFence { .. })));
    bench.finish("w", &second, done()).unwrap();
    assert_eq!(bench.get(id).history.len(), 2);
}

#[test]
fn only_finished_tasks_can_be_resubmitted_and_only_known_ones() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    assert!(matches!(bench.resubmit(id), Err(QueueError::WrongState { status: TaskStatus::Queued, .. })));
    bench.claim_one("w", "echo");
    assert!(matches!(bench.resubmit(id), Err(QueueError::WrongState { status: TaskStatus::Running, .. })));
    let unknown = meshwork_proto::TaskId::from_bytes([1; 16]);
    assert_eq!(bench.resubmit(unknown).unwrap_err(), QueueError::UnknownTask(unknown));
}

#[test]
fn two_resubmissions_at_the_same_time_put_the_task_back_once() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    bench.cancel(id, "").unwrap();
    bench.auto = false;
    let resubmit = meshwork_proto::queue::Resubmit { id, delay_ms: 0 };
    let first = bench.ask(Op::Resubmit(resubmit.clone()));
    let second = bench.ask(Op::Resubmit(resubmit));
    assert!(!bench.answered(first) && !bench.answered(second));
    bench.acknowledge();
    bench.submitted(first).unwrap();
    assert!(matches!(bench.submitted(second), Err(QueueError::WrongState { .. })));
}

#[test]
fn the_old_result_goes_with_a_resubmission_and_the_input_stays_pinned() {
    let mut bench = Bench::new();
    let (input, output) = (Cid::of(b"input"), Cid::of(b"output"));
    let mut spec = task("echo");
    spec.payload = Payload::Stored { cid: input, len: 5_000_000 };
    let id = bench.submit(spec);
    let grant = bench.claim_one("w", "echo");
    let stored = Payload::Stored { cid: output, len: 6_000_000 };
    let outcome = meshwork_proto::queue::Outcome::Completed { output: stored, output_cid: output };
    bench.finish("w", &grant, outcome).unwrap();
    assert_eq!(bench.disk.pins.len(), 2);
    bench.resubmit(id).unwrap();
    let pins: Vec<_> = bench.disk.pins.iter().map(|(cid, _)| *cid).collect();
    assert_eq!(pins, [input]);
    assert!(bench.disk.entries(Family::Results).is_empty());
}

#[test]
fn a_resubmission_that_the_disk_has_no_room_for_leaves_the_task_finished() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    bench.auto = false;
    let ticket = bench.ask(Op::Resubmit(meshwork_proto::queue::Resubmit { id, delay_ms: 0 }));
    bench.refuse(StoreError::DiskFull { free: 1, reserve: 2 });
    assert_eq!(bench.submitted(ticket).unwrap_err().code(), ErrorCode::DiskFull);
    bench.auto = true;
    bench.acknowledge();
    assert_eq!(bench.get(id).status, TaskStatus::Completed);
    assert_eq!(bench.stats().by_status[&TaskStatus::Completed], 1);
    assert!(bench.fatal.is_none());
    bench.restart();
    assert_eq!(bench.stats().by_status[&TaskStatus::Completed], 1);
    bench.resubmit(id).unwrap();
}
