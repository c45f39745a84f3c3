//! How events reach the disk: what somebody's answer hangs on is synced, new work may be refused for want of room, and a
//! store that fails ends the state.

use super::bench::{Bench, Pending, submission};
use crate::workflow::logic::{Answer, Op};
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::workflow::{ControlRun, RunAction, WorkflowError};
use serde_json::{Value, json};

fn two() -> Value {
    json!({"name": "two", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "needs": ["a"], "tool": "t", "input": {}}
    ]})
}

/// How the commits under way are to be acknowledged.
fn under_way(bench: &Bench) -> Vec<(Acknowledge, Admission)> {
    let commits = bench.pending.iter().filter_map(|pending| match pending {
        Pending::Commit { acknowledge, admission, .. } => Some((*acknowledge, *admission)),
        _ => None,
    });
    commits.collect()
}

#[test]
fn what_an_answer_hangs_on_is_synced_and_everything_else_is_written() {
    let mut bench = Bench::new();
    bench.auto = false;
    bench.ask(Op::Submit(submission(&two(), &json!({}))));
    while under_way(&bench).is_empty() {
        bench.perform(0);
        bench.turn(|_, _| {});
    }
    assert_eq!(under_way(&bench), [(Acknowledge::Durable, Admission::New)], "a new run");
    bench.settle();
    let id = bench.disk.active()[0];
    bench.complete("a", json!(0));
    bench.perform(0);
    bench.turn(|_, _| {});
    assert_eq!(
        under_way(&bench),
        [(Acknowledge::Written, Admission::Accepted)],
        "a step: the queue has its end"
    );
    bench.settle();
    let pause = Op::Control(ControlRun { id, action: RunAction::Pause });
    let ticket = bench.ask(pause);
    assert_eq!(under_way(&bench), [(Acknowledge::Durable, Admission::Accepted)]);
    assert!(!bench.answered(ticket));
    bench.settle();
    assert!(bench.answered(ticket));
    bench.complete("b", json!(0));
    while let Some(other) =
        bench.pending.iter().position(|pending| !matches!(pending, Pending::Commit { .. }))
    {
        bench.perform(other);
        bench.turn(|_, _| {});
    }
    assert!(under_way(&bench).contains(&(Acknowledge::Durable, Admission::Accepted)), "the end of a run");
}

/// The oldest commit fails.
fn fail_commit(bench: &mut Bench, error: StoreError) {
    let place = bench.pending.iter().position(|pending| matches!(pending, Pending::Commit { .. })).unwrap();
    let Some(Pending::Commit { id, .. }) = bench.pending.remove(place) else { unreachable!() };
    bench.turn(|state, turn| state.on_commit(turn, id, Err(error)));
}

#[test]
fn a_run_that_finds_no_room_was_never_there_and_its_key_is_free() {
    let mut bench = Bench::new();
    bench.auto = false;
    let mut submit = submission(&two(), &json!({}));
    submit.idempotency_key = Some("k".into());
    let ticket = bench.ask(Op::Submit(submit.clone()));
    while under_way(&bench).is_empty() {
        bench.perform(0);
        bench.turn(|_, _| {});
    }
    let follower = bench.ask(Op::Submit(submit));
    fail_commit(&mut bench, StoreError::DiskFull { free: 1, reserve: 2 });
    assert!(matches!(bench.answer(ticket), Err(WorkflowError::Store(StoreError::DiskFull { .. }))));
    assert!(bench.fatal.is_none());
    // Whoever asked with the same key meanwhile is a first one now.
    bench.settle();
    let Ok(Answer::Submitted(submitted)) = bench.answer(follower) else { panic!() };
    assert!(!submitted.existing);
}

#[test]
fn a_database_error_ends_this_state_and_the_next_one_knows_what_was_written() {
    let mut bench = Bench::new();
    let id = bench.submit(&two(), &json!({}));
    bench.auto = false;
    bench.complete("a", json!(0));
    bench.perform(0);
    bench.turn(|_, _| {});
    fail_commit(&mut bench, StoreError::Database("bad sector".into()));
    assert!(bench.fatal.is_some());
    let ticket = bench.ask(Op::Control(ControlRun { id, action: RunAction::Pause }));
    assert!(matches!(bench.answer(ticket), Err(WorkflowError::Store(_))), "nothing is taken up any more");
    bench.auto = true;
    bench.restart();
    bench.complete("b", json!(1));
    assert_eq!(bench.output(id), json!({"b": 1}), "that step a completed is known by the queue");
}
