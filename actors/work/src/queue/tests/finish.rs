//! Reports: completion, failure with back-off, giving back, repeats.

use super::bench::{Bench, done, failed, task};
use meshwork_proto::queue::{Outcome, QueueError};
use meshwork_proto::task::{Payload, TaskStatus, WaitingFor};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError};

#[test]
fn a_completed_task_shows_its_result_also_after_a_restart() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.advance(500);
    assert_eq!(bench.finish("w", &grant, done()).unwrap().status, TaskStatus::Completed);
    for _ in 0..2 {
        let view = bench.get(id);
        assert_eq!((view.status, view.finished), (TaskStatus::Completed, Some(bench.now)));
        let Some(Payload::Inline(output)) = view.output else { panic!("no output") };
        assert_eq!(output.to_value()["done"], true);
        assert_eq!(view.output_cid, Some(Cid::of(output.bytes())));
        assert_eq!(view.history[0].ended, Some(bench.now));
        assert!(view.error.is_none() && view.waiting_for.is_none());
        bench.restart();
    }
}

#[test]
fn a_failure_is_tried_again_after_a_growing_random_while_and_not_too_often() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.max_attempts = 4;
    let id = bench.submit(spec);
    for n in 0..3_u32 {
        let grant = bench.claim_one("w", "echo");
        let finished = bench.finish("w", &grant, failed()).unwrap();
        assert_eq!(finished.status, TaskStatus::Queued);
        let at = finished.retry_at.unwrap();
        let delay = at.since(bench.now).as_millis();
        assert!(delay <= 1000 << n, "{delay} ms after failure {n}");
        let view = bench.get(id);
        assert_eq!(view.waiting_for, Some(WaitingFor::NotBefore { at }));
        assert_eq!(view.error.unwrap().message, "it broke");
        bench.advance(u64::try_from(delay).unwrap());
    }
    let grant = bench.claim_one("w", "echo");
    assert_eq!(grant.attempt, 4);
    assert_eq!(bench.finish("w", &grant, failed()).unwrap().status, TaskStatus::Failed);
    let view = bench.get(id);
    assert_eq!((view.attempts, view.history.len()), (4, 4));
    assert_eq!(view.error.unwrap().code, ErrorCode::ToolFailed);
}

#[test]
fn a_failure_that_no_retry_can_help_is_final() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let error = MeshError::new(ErrorCode::InvalidArgument, "no such file");
    let finished = bench.finish("w", &grant, Outcome::Failed { error, retry: false }).unwrap();
    assert_eq!((finished.status, finished.retry_at), (TaskStatus::Failed, None));
}

#[test]
fn a_task_that_is_given_back_can_be_claimed_at_once_and_has_not_failed() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.max_attempts = 1;
    let id = bench.submit(spec);
    for _ in 0..10 {
        let grant = bench.claim_one("w", "echo");
        let finished = bench.finish("w", &grant, Outcome::Released { reason: "draining".into() }).unwrap();
        assert_eq!((finished.status, finished.retry_at), (TaskStatus::Queued, None));
    }
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    let view = bench.get(id);
    assert_eq!((view.status, view.lease_losses), (TaskStatus::Completed, 0));
    assert!(view.history[0].error.as_ref().unwrap().message.contains("draining"));
}

#[test]
fn the_same_report_again_gets_the_same_answer() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let first = bench.finish("w", &grant, failed()).unwrap();
    assert_eq!(bench.finish("w", &grant, failed()).unwrap(), first, "it waits for the next attempt");
    bench.restart();
    assert_eq!(bench.finish("w", &grant, failed()).unwrap(), first);
    bench.advance(1000);
    let grant = bench.claim_one("w", "echo");
    let first = bench.finish("w", &grant, done()).unwrap();
    assert_eq!(bench.finish("w", &grant, done()).unwrap(), first);
    bench.restart();
    assert_eq!(bench.finish("w", &grant, done()).unwrap(), first);
    assert!(matches!(bench.finish("other", &grant, done()), Err(QueueError::StaleFence { .. })));
}

#[test]
fn a_lost_lease_is_no_report_that_could_be_repeated() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.advance(30_000);
    assert!(matches!(bench.finish("w", &grant, done()), Err(QueueError::StaleFence { .. })));
}

#[test]
fn a_result_too_large_for_a_record_is_refused_and_the_lease_holds() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let large = Json::from_value(&"x".repeat(40_000).into());
    let output_cid = Cid::of(large.bytes());
    let outcome = Outcome::Completed { output: Payload::Inline(large), output_cid };
    assert!(matches!(bench.finish("w", &grant, outcome), Err(QueueError::TooLarge { .. })));
    assert_eq!(bench.get(id).status, TaskStatus::Running);
    let output = Payload::Stored { cid: output_cid, len: 40_002 };
    bench.finish("w", &grant, Outcome::Completed { output: output.clone(), output_cid }).unwrap();
    assert_eq!(bench.get(id).output, Some(output));
    assert!(bench.disk.pins.contains(&(output_cid, crate::queue::records::id_key(id))));
}

#[test]
fn what_is_kept_of_an_error_is_bounded() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let error = MeshError::new(ErrorCode::ToolFailed, "ä".repeat(1_000_000));
    bench.finish("w", &grant, Outcome::Failed { error, retry: false }).unwrap();
    let view = bench.get(id);
    assert!(view.error.unwrap().message.len() < 10_000);
    assert!(view.history[0].error.as_ref().unwrap().message.len() < 10_000);
}

#[test]
fn a_report_about_an_unknown_task_says_so() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let mut grant = bench.claim_one("w", "echo");
    grant.id = meshwork_proto::TaskId::from_bytes([9; 16]);
    assert_eq!(bench.finish("w", &grant, done()).unwrap_err(), QueueError::UnknownTask(grant.id));
}
