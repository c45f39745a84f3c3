//! Watching: the coordinator is told of the ends it wants to know, when they are durable.

use super::bench::{Bench, done, failed, member, other, task};
use crate::queue::logic::Op;
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::{Outcome, QueueError, WatchTask};
use meshwork_proto::task::{TaskSpec, TaskStatus};
use meshwork_proto::{Cid, ErrorCode, TaskId};

fn step(key: &str) -> TaskSpec {
    TaskSpec { idempotency_key: Some(key.into()), max_attempts: 1, ..task("echo") }
}

/// The only end that was told.
fn told(bench: &mut Bench) -> meshwork_proto::workflow::TaskEnded {
    assert_eq!(bench.ended.len(), 1, "{:?}", bench.ended);
    bench.ended.remove(0)
}

#[test]
fn the_end_of_a_step_is_told_with_its_result_when_that_is_durable() {
    let mut bench = Bench::new();
    let submitted = bench.try_step(step("run/0")).unwrap();
    assert_eq!((submitted.status, submitted.existing), (TaskStatus::Queued, false));
    let grant = bench.claim_one("w", "echo");
    bench.auto = false;
    bench.finish_ticket("w", grant.id, grant.fence, done());
    assert!(bench.ended.is_empty(), "not before its commit");
    bench.acknowledge();
    let end = told(&mut bench);
    assert_eq!((end.id, end.status, end.attempts), (submitted.id, TaskStatus::Completed, 1));
    assert_eq!(end.worker, Some(Bench::worker("w")));
    let Outcome::Completed { output, output_cid } = done() else { unreachable!() };
    assert_eq!((end.output, end.output_cid, end.error), (Some(output), Some(output_cid), None));
}

#[test]
fn failures_cancellations_and_expiries_are_told_with_their_errors() {
    let mut bench = Bench::with(QueueOptions { max_lease_losses: 1, ..QueueOptions::default() });
    let codes = |bench: &mut Bench| {
        let end = told(bench);
        assert!(end.output.is_none() && end.output_cid.is_none());
        (end.status, end.error.unwrap().code)
    };
    bench.try_step(step("a")).unwrap();
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, failed()).unwrap();
    assert_eq!(codes(&mut bench), (TaskStatus::Failed, ErrorCode::ToolFailed));
    let id = bench.try_step(step("b")).unwrap().id;
    bench.cancel(id, "the run failed").unwrap();
    assert_eq!(codes(&mut bench), (TaskStatus::Cancelled, ErrorCode::Cancelled));
    bench.try_step(TaskSpec { expires_ms: Some(1000), ..step("c") }).unwrap();
    bench.advance(1000);
    assert_eq!(codes(&mut bench), (TaskStatus::Failed, ErrorCode::Expired));
    bench.try_step(step("d")).unwrap();
    bench.claim_one("w", "echo");
    bench.advance(30_000);
    assert_eq!(codes(&mut bench), (TaskStatus::Failed, ErrorCode::LeaseLost));
}

#[test]
fn an_attempt_that_is_followed_by_another_is_no_end() {
    let mut bench = Bench::new();
    bench.try_step(TaskSpec { max_attempts: 2, ..step("a") }).unwrap();
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, failed()).unwrap();
    assert!(bench.ended.is_empty());
    bench.advance(1000);
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, failed()).unwrap();
    assert_eq!(told(&mut bench).attempts, 2);
}

#[test]
fn nobody_is_told_of_tasks_that_nobody_watches() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    assert!(bench.ended.is_empty());
}

#[test]
fn a_step_whose_key_is_known_is_the_first_task_and_its_end_is_told_at_every_stage_of_it() {
    let mut bench = Bench::new();
    let id = bench.submit(step("run/0"));
    let again = |bench: &mut Bench, status| {
        let submitted = bench.try_step(step("run/0")).unwrap();
        assert_eq!((submitted.id, submitted.status, submitted.existing), (id, status, true));
    };
    again(&mut bench, TaskStatus::Queued);
    bench.restart();
    let grant = bench.claim_one("w", "echo");
    again(&mut bench, TaskStatus::Running);
    bench.finish("w", &grant, done()).unwrap();
    assert_eq!(told(&mut bench).status, TaskStatus::Completed);
    again(&mut bench, TaskStatus::Completed);
    let first = told(&mut bench);
    bench.restart();
    again(&mut bench, TaskStatus::Completed);
    assert_eq!(told(&mut bench), first, "read from the store, it is the same");
    let mut spec = step("run/0");
    spec.input_cid = Cid::of(b"other input");
    let conflict = bench.try_step(spec).unwrap_err();
    assert!(matches!(conflict, QueueError::IdempotencyConflict { first, .. } if first == id));
}

#[test]
fn a_step_that_is_submitted_again_while_its_first_submission_is_written_is_watched_once() {
    let mut bench = Bench::new();
    bench.auto = false;
    let tickets = [bench.ask(Op::Step(step("k"))), bench.ask(Op::Step(step("k")))];
    bench.acknowledge();
    let answers = tickets.map(|ticket| bench.submitted(ticket).unwrap());
    assert_eq!(answers[0].id, answers[1].id);
    assert!(!answers[0].existing && answers[1].existing);
    bench.auto = true;
    bench.cancel(answers[0].id, "").unwrap();
    assert_eq!(told(&mut bench).status, TaskStatus::Cancelled);
}

#[test]
fn a_restart_forgets_who_watches_and_watching_again_helps() {
    let mut bench = Bench::new();
    let id = bench.try_step(step("a")).unwrap().id;
    bench.restart();
    let submitted = bench.watch(id).unwrap();
    assert_eq!((submitted.status, submitted.existing), (TaskStatus::Queued, true));
    bench.restart();
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    assert!(bench.ended.is_empty());
    assert_eq!(bench.watch(id).unwrap().status, TaskStatus::Completed);
    assert_eq!(told(&mut bench).id, id);
}

#[test]
fn watching_a_task_whose_end_is_being_written_tells_it_when_it_is() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.auto = false;
    bench.finish_ticket("w", grant.id, grant.fence, done());
    let ticket = bench.ask(Op::Watch(WatchTask { id }));
    assert!(!bench.answered(ticket) && bench.ended.is_empty());
    bench.acknowledge();
    assert_eq!(bench.submitted(ticket).unwrap().status, TaskStatus::Completed);
    assert_eq!(told(&mut bench).id, id);
}

#[test]
fn a_task_that_runs_again_after_its_end_is_watched_only_by_who_asks_again() {
    let mut bench = Bench::new();
    let id = bench.try_step(step("a")).unwrap().id;
    bench.cancel(id, "").unwrap();
    told(&mut bench);
    bench.resubmit(id).unwrap();
    bench.cancel(id, "").unwrap();
    assert!(bench.ended.is_empty());
}

#[test]
fn tasks_of_others_and_tasks_that_do_not_exist_cannot_be_watched() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let ticket = bench.ask_as(member(other()), Op::Watch(WatchTask { id }));
    assert_eq!(bench.submitted(ticket).unwrap_err(), QueueError::UnknownTask(id));
    let nobody = TaskId::from_bytes([9; 16]);
    assert_eq!(bench.watch(nobody).unwrap_err(), QueueError::UnknownTask(nobody));
    bench.cancel(id, "").unwrap();
    let ticket = bench.ask_as(member(other()), Op::Watch(WatchTask { id }));
    assert_eq!(bench.submitted(ticket).unwrap_err(), QueueError::UnknownTask(id));
    assert!(bench.ended.is_empty());
}

#[test]
fn a_result_that_is_taken_away_while_it_is_read_is_looked_for_again() {
    use crate::queue::logic::{Found, ReadPlan};
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let grant = bench.claim_one("w", "echo");
    bench.finish("w", &grant, done()).unwrap();
    bench.reads = false;
    let ticket = bench.ask(Op::Watch(WatchTask { id }));
    let (read, plan) = bench.reading.pop_front().unwrap();
    let ReadPlan::Keys(_) = &plan else { unreachable!() };
    let Found::Values(mut values) = bench.disk.read(&plan) else { unreachable!() };
    values[1][0] = None;
    bench.turn(|state, turn| state.on_read(turn, read, Ok(Found::Values(values))));
    assert!(!bench.answered(ticket) && bench.ended.is_empty());
    bench.read_next();
    assert_eq!(bench.submitted(ticket).unwrap().status, TaskStatus::Completed);
    assert!(told(&mut bench).output.is_some());
}
