//! Finished tasks are kept for a while and then forgotten, with all that belongs to them.

use super::bench::{Bench, done, task};
use crate::queue::logic::Op;
use crate::queue::options::QueueOptions;
use meshwork_proto::Cid;
use meshwork_proto::queue::{GetTask, Outcome, QueueError, TaskChanges};
use meshwork_proto::task::{Payload, TaskStatus};

#[test]
fn nothing_of_a_finished_task_is_left_after_its_retention() {
    let mut bench = Bench::with(QueueOptions { retention_s: 3600.0, ..QueueOptions::default() });
    let mut spec = task("echo");
    spec.idempotency_key = Some("k".into());
    spec.payload = Payload::Stored { cid: Cid::of(b"in"), len: 1_000_000 };
    let id = bench.submit(spec.clone());
    let metadata = Some(meshwork_proto::Json::from_value(&serde_json::json!({"a": 1})));
    bench.update(id, TaskChanges { metadata, ..TaskChanges::default() }).unwrap();
    let grant = bench.claim_one("w", "echo");
    let (output, output_cid) = (Payload::Stored { cid: Cid::of(b"out"), len: 1_000_000 }, Cid::of(b"out"));
    bench.finish("w", &grant, Outcome::Completed { output, output_cid }).unwrap();
    bench.advance(3_599_000);
    assert_eq!(bench.get(id).status, TaskStatus::Completed);
    bench.advance(2000);
    assert_eq!(bench.try_get(id).unwrap_err(), QueueError::UnknownTask(id));
    assert_eq!((bench.disk.len(), bench.disk.pins.len()), (1, 0), "only the counts are left");
    assert_eq!(bench.stats().by_status[&TaskStatus::Completed], 0);
    assert!(!bench.try_submit(spec).unwrap().existing, "the key may be used again");
}

#[test]
fn many_finished_tasks_are_forgotten_batch_by_batch_and_unfinished_ones_stay() {
    let mut bench = Bench::with(QueueOptions { retention_s: 60.0, ..QueueOptions::default() });
    for _ in 0..1000 {
        let id = bench.submit(task("echo"));
        bench.cancel(id, "").unwrap();
    }
    let kept = bench.submit(task("echo"));
    bench.advance(62_000);
    let stats = bench.stats();
    assert_eq!((stats.by_status[&TaskStatus::Cancelled], stats.totals["pruned"]), (0, 1000));
    assert_eq!(bench.get(kept).status, TaskStatus::Queued);
}

#[test]
fn a_task_that_is_resubmitted_is_kept_from_its_next_end_on() {
    let mut bench = Bench::with(QueueOptions { retention_s: 60.0, ..QueueOptions::default() });
    let id = bench.submit(task("echo"));
    bench.cancel(id, "").unwrap();
    bench.advance(50_000);
    bench.resubmit(id).unwrap();
    bench.advance(50_000);
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    bench.advance(50_000);
    assert_eq!(bench.get(id).status, TaskStatus::Completed);
    bench.advance(12_000);
    assert!(bench.try_get(id).is_err());
}

#[test]
fn a_task_is_not_resubmitted_while_it_is_forgotten() {
    let mut bench = Bench::with(QueueOptions { retention_s: 60.0, ..QueueOptions::default() });
    let id = bench.submit(task("echo"));
    bench.cancel(id, "").unwrap();
    bench.auto = false;
    bench.advance(62_000);
    assert_eq!(bench.sent.len(), 1, "it is being forgotten");
    let again = bench.ask(Op::Resubmit(meshwork_proto::queue::Resubmit { id, delay_ms: 0 }));
    let read = bench.ask(Op::Get(GetTask { id, wait_ms: 0 }));
    assert!(!bench.answered(again) && !bench.answered(read));
    bench.acknowledge();
    assert_eq!(bench.submitted(again).unwrap_err(), QueueError::UnknownTask(id));
    assert_eq!(bench.task(read).unwrap_err(), QueueError::UnknownTask(id));
}

#[test]
fn pruning_is_tried_again_after_a_read_error() {
    let mut bench = Bench::with(QueueOptions { retention_s: 60.0, ..QueueOptions::default() });
    let id = bench.submit(task("echo"));
    bench.cancel(id, "").unwrap();
    bench.reads = false;
    bench.advance(1000);
    bench.fail_read();
    bench.reads = true;
    bench.advance(130_000);
    assert!(bench.try_get(id).is_err());
}

#[test]
fn a_step_that_ended_long_before_the_start_is_there_until_the_coordinator_has_asked_after_it() {
    let mut bench = Bench::with(QueueOptions { retention_s: 3600.0, ..QueueOptions::default() });
    let mut spec = task("echo");
    spec.idempotency_key = Some("step".into());
    let id = bench.submit(spec.clone());
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    bench.coordinator = false;
    bench.now = meshwork_proto::UnixMillis(bench.now.0 + 48 * 3_600_000);
    bench.restart();
    bench.advance(600_000);
    let found = bench.try_submit(spec.clone()).unwrap();
    assert_eq!((found.id, found.existing, found.status), (id, true, TaskStatus::Completed));
    bench.turn(|state, turn| state.steps_known(turn));
    bench.advance(2_000);
    assert_eq!(bench.try_get(id).unwrap_err(), QueueError::UnknownTask(id));
    // A node whose coordinator never comes up does not keep everything for ever.
    let id = bench.submit(spec);
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    bench.now = meshwork_proto::UnixMillis(bench.now.0 + 48 * 3_600_000);
    bench.restart();
    bench.advance(3_602_000);
    assert_eq!(bench.try_get(id).unwrap_err(), QueueError::UnknownTask(id));
}
