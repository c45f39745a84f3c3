//! Submission: checks, limits, idempotency, delay, expiry, pins.

use super::bench::{Bench, done, member, other, owner, task};
use crate::queue::logic::Op;
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::QueueError;
use meshwork_proto::task::{Payload, TaskStatus, WaitingFor};
use meshwork_proto::{Cid, Coded, ErrorCode, Json};

#[test]
fn a_submitted_task_is_queued_and_can_be_read() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let view = bench.get(id);
    assert_eq!((view.status, view.attempts, view.submitter), (TaskStatus::Queued, 0, None));
    assert_eq!((view.created, view.spec), (bench.now, task("echo")));
}

#[test]
fn a_specification_that_breaks_a_rule_is_refused() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.priority = 11;
    let error = bench.try_submit(spec).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().contains("11"));
}

#[test]
fn payloads_have_a_limit_inline_and_another_in_the_artifact_store() {
    let mut bench = Bench::with(QueueOptions { max_payload_bytes: 100_000, ..QueueOptions::default() });
    let mut spec = task("echo");
    spec.payload = Payload::Inline(Json::from_value(&"x".repeat(40_000).into()));
    assert_eq!(bench.try_submit(spec).unwrap_err(), QueueError::TooLarge { len: 40_002, max: 32_768 });
    let mut spec = task("echo");
    spec.payload = Payload::Stored { cid: Cid::of(b"big"), len: 100_001 };
    assert_eq!(
        bench.try_submit(spec.clone()).unwrap_err(),
        QueueError::TooLarge { len: 100_001, max: 100_000 }
    );
    spec.payload = Payload::Stored { cid: Cid::of(b"big"), len: 100_000 };
    bench.submit(spec);
}

#[test]
fn a_full_queue_says_so_until_a_task_is_finished() {
    let mut bench = Bench::with(QueueOptions { max_tasks: 2, ..QueueOptions::default() });
    let first = bench.submit(task("echo"));
    bench.submit(task("echo"));
    assert_eq!(bench.try_submit(task("echo")).unwrap_err(), QueueError::Full { held: 2, max: 2 });
    bench.cancel(first, "").unwrap();
    bench.submit(task("echo"));
}

#[test]
fn submissions_under_way_count_against_the_limit() {
    let mut bench = Bench::with(QueueOptions { max_tasks: 1, ..QueueOptions::default() });
    bench.auto = false;
    let first = bench.ask(Op::Submit(task("echo")));
    assert!(matches!(bench.try_submit(task("echo")), Err(QueueError::Full { held: 1, max: 1 })));
    bench.acknowledge();
    bench.submitted(first).unwrap();
}

#[test]
fn too_many_different_requirements_are_refused_and_known_ones_are_not() {
    let mut bench = Bench::with(QueueOptions { max_classes: 2, ..QueueOptions::default() });
    bench.submit(task("a"));
    bench.submit(task("b"));
    assert!(matches!(bench.try_submit(task("c")), Err(QueueError::Invalid(_))));
    bench.submit(task("b"));
}

#[test]
fn the_same_key_and_work_gives_the_first_task_at_every_stage_of_it() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.idempotency_key = Some("order-7".into());
    let id = bench.submit(spec.clone());
    let again = |bench: &mut Bench, status| {
        let submitted = bench.try_submit(spec.clone()).unwrap();
        assert_eq!((submitted.id, submitted.status, submitted.existing), (id, status, true));
    };
    again(&mut bench, TaskStatus::Queued);
    let grant = bench.claim_one("w", "echo");
    again(&mut bench, TaskStatus::Running);
    bench.restart();
    again(&mut bench, TaskStatus::Running);
    bench.finish("w", &grant, done()).unwrap();
    again(&mut bench, TaskStatus::Completed);
    bench.restart();
    again(&mut bench, TaskStatus::Completed);
}

#[test]
fn the_same_key_for_other_work_is_a_conflict_that_names_the_first_task() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.idempotency_key = Some("order-7".into());
    let first = bench.submit(spec.clone());
    spec.input_cid = Cid::of(b"other input");
    let key = "order-7".to_owned();
    assert_eq!(bench.try_submit(spec).unwrap_err(), QueueError::IdempotencyConflict { key, first });
}

#[test]
fn every_submitter_has_its_own_keys() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.idempotency_key = Some("order-7".into());
    let mine = bench.submit(spec.clone());
    let ticket = bench.ask_as(member(other()), Op::Submit(spec.clone()));
    let theirs = bench.submitted(ticket).unwrap();
    assert!(!theirs.existing);
    assert_ne!(theirs.id, mine);
    let ticket = bench.ask_as(member(owner()), Op::Submit(spec));
    assert!(!bench.submitted(ticket).unwrap().existing);
}

#[test]
fn two_submissions_with_one_key_at_the_same_time_make_one_task() {
    let mut bench = Bench::new();
    bench.auto = false;
    let mut spec = task("echo");
    spec.idempotency_key = Some("k".into());
    let tickets: Vec<_> = (0..3).map(|_| bench.ask(Op::Submit(spec.clone()))).collect();
    assert_eq!(bench.sent.len(), 1, "one is written, the others wait for it");
    assert!(tickets.iter().all(|ticket| !bench.answered(*ticket)));
    bench.acknowledge();
    let answers: Vec<_> = tickets.into_iter().map(|ticket| bench.submitted(ticket).unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.existing).count(), 1);
    assert!(answers.iter().all(|answer| answer.id == answers[0].id));
}

#[test]
fn a_delayed_task_cannot_be_claimed_before_its_time_also_after_a_restart() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.delay_ms = 5000;
    let id = bench.submit(spec);
    let at = bench.now.after(std::time::Duration::from_secs(5));
    assert_eq!(bench.get(id).waiting_for, Some(WaitingFor::NotBefore { at }));
    assert_eq!(bench.stats().delayed, 1);
    bench.advance(3000);
    bench.restart();
    bench.advance(1999);
    assert!(bench.claim("w", &["echo"], 1).is_empty());
    bench.advance(1);
    assert_eq!(bench.claim_one("w", "echo").id, id);
}

#[test]
fn a_task_that_nobody_claims_in_time_expires_and_a_claimed_one_does_not() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.expires_ms = Some(10_000);
    let lost = bench.submit(spec.clone());
    spec.tool = "other".into();
    let kept = bench.submit(spec);
    bench.advance(9000);
    bench.restart();
    let grant = bench.claim_one("w", "other");
    bench.advance(1000);
    let view = bench.get(lost);
    assert_eq!((view.status, view.error.unwrap().code), (TaskStatus::Failed, ErrorCode::Expired));
    assert_eq!(bench.get(kept).status, TaskStatus::Running);
    bench.advance(30_000);
    assert_eq!(
        bench.get(kept).status,
        TaskStatus::Queued,
        "it lost its lease but it had been claimed in time"
    );
    assert!(bench.finish("w", &grant, done()).is_err());
}

#[test]
fn large_payloads_are_pinned_from_submission_on() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    let cid = Cid::of(b"large");
    spec.payload = Payload::Stored { cid, len: 1_000_000 };
    let id = bench.submit(spec);
    assert!(bench.disk.pins.contains(&(cid, crate::queue::records::id_key(id))));
}

#[test]
fn a_draining_node_takes_no_new_task_and_gives_none_out_but_ends_what_runs() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    let waiting = bench.submit(task("echo"));
    let ticket = bench.ask_as(member(other()), Op::Drain);
    assert_eq!(bench.answer(ticket).unwrap_err().code(), ErrorCode::Forbidden);
    let ticket = bench.ask(Op::Drain);
    assert_eq!(bench.answer(ticket), Ok(crate::queue::logic::Answer::Draining(1)));
    assert_eq!(bench.try_submit(task("echo")).unwrap_err(), QueueError::Draining);
    assert!(bench.claim("w", &["echo"], 1).is_empty());
    assert_eq!(bench.get(waiting).waiting_for, Some(WaitingFor::Draining));
    assert!(bench.stats().draining);
    assert_eq!(bench.finish("w", &grant, done()).unwrap().status, TaskStatus::Completed);
    assert_eq!(bench.resubmit(grant.id).unwrap_err(), QueueError::Draining);
}
