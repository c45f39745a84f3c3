//! Clocks that are set: by years in either direction between two starts, or while the node runs.

use super::bench::{Bench, START};
use meshwork_proto::workflow::{RunState, StepState};
use meshwork_proto::{ErrorCode, UnixMillis};
use serde_json::{Value, json};

const YEAR: u64 = 365 * 24 * 3_600_000;

/// What the clock reads after it was set, years back and years ahead.
fn set(now: UnixMillis) -> [UnixMillis; 2] {
    [UnixMillis(now.0 - 10 * YEAR), UnixMillis(now.0 + 10 * YEAR)]
}

fn one(step: Value) -> Value {
    json!({"name": "one", "steps": [step]})
}

#[test]
fn a_back_off_is_never_longer_than_its_own_delay() {
    for side in 0..2 {
        let mut bench = Bench::new();
        let retry = json!({"max_attempts": 2, "backoff_s": 10});
        bench.submit(&one(json!({"id": "a", "tool": "t", "input": {}, "retry": retry})), &json!({}));
        bench.fail("a", "first");
        bench.restart_at(set(bench.now)[side]);
        bench.advance(7_000);
        assert!(bench.queued().is_empty(), "nor shorter");
        bench.advance(3_001);
        bench.complete("a", json!(0));
    }
}

#[test]
fn waits_go_on_with_the_time_that_was_left() {
    for side in 0..2 {
        let mut bench = Bench::new();
        let definition = json!({"name": "w", "steps": [
            {"id": "pause", "wait": {"seconds": 30}},
            {"id": "gate", "wait": {"signal": "go", "timeout_s": 60}, "on_failure": "continue"}
        ]});
        let id = bench.submit(&definition, &json!({}));
        bench.restart_at(set(bench.now)[side]);
        let states = |bench: &mut Bench| -> Vec<StepState> {
            bench.get(id).steps.iter().map(|step| step.state).collect()
        };
        use StepState::{Completed, Failed, Waiting};
        bench.advance(29_000);
        assert_eq!(states(&mut bench), [Waiting, Waiting]);
        bench.advance(1_001);
        assert_eq!(states(&mut bench), [Completed, Waiting]);
        bench.advance(30_000);
        assert_eq!(states(&mut bench), [Completed, Failed]);
    }
}

#[test]
fn a_run_keeps_the_time_that_it_has_left() {
    for side in 0..2 {
        let mut bench = Bench::new();
        let definition = json!({"name": "t", "timeout_s": 100, "steps": [
            {"id": "a", "tool": "t", "input": {}},
            {"id": "b", "needs": ["a"], "tool": "t", "input": {}}
        ]});
        let id = bench.submit(&definition, &json!({}));
        bench.advance(60_000);
        bench.complete("a", json!(1));
        bench.restart_at(set(bench.now)[side]);
        bench.advance(39_000);
        assert_eq!(bench.get(id).state, RunState::Running);
        bench.advance(1_001);
        let view = bench.get(id);
        assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::Timeout));
    }
}

#[test]
fn the_time_in_which_a_node_was_down_counts() {
    let mut bench = Bench::new();
    let definition =
        json!({"name": "t", "timeout_s": 3600, "steps": [{"id": "a", "tool": "t", "input": {}}]});
    let id = bench.submit(&definition, &json!({}));
    bench.restart_at(UnixMillis(bench.now.0 + 24 * 3_600_000));
    bench.advance(1);
    assert_eq!(bench.get(id).state, RunState::Failed);
}

#[test]
fn a_time_that_is_waited_for_comes_by_the_clock_on_the_wall() {
    // An hour after the stories begin.
    let until = json!({"id": "w", "wait": {"until": "2023-11-14T23:13:20Z"}});
    let begin = || {
        let mut bench = Bench::new();
        let id = bench.submit(&one(until.clone()), &json!({}));
        (bench, id)
    };
    let state = |bench: &mut Bench, id| bench.get(id).state;
    let (mut bench, id) = begin();
    bench.advance(3_599_000);
    assert_eq!(state(&mut bench, id), RunState::Running);
    bench.advance(1_001);
    assert_eq!(state(&mut bench, id), RunState::Completed);
    // Set forward while the node runs: it is noticed soon.
    let (mut bench, id) = begin();
    bench.wall = 3_600_000;
    bench.advance(10_001);
    assert_eq!(state(&mut bench, id), RunState::Completed);
    // Set back: it is not over before the clock on the wall says so.
    let (mut bench, id) = begin();
    bench.wall = -3_600_000;
    bench.advance(7_199_000);
    assert_eq!(state(&mut bench, id), RunState::Running);
    bench.advance(10_001);
    assert_eq!(state(&mut bench, id), RunState::Completed);
    // A node that starts with a clock that was never set goes by it as soon as it is.
    let (mut bench, id) = begin();
    bench.restart_at(UnixMillis(1_000));
    bench.advance(60_000);
    assert_eq!(state(&mut bench, id), RunState::Running);
    bench.wall = i64::try_from(START.0).unwrap() + 3_600_000;
    bench.advance(10_001);
    assert_eq!(state(&mut bench, id), RunState::Completed);
}

#[test]
fn a_signal_that_came_after_the_clock_was_set_leaves_no_time_behind() {
    let mut bench = Bench::new();
    let definition = json!({"name": "s", "steps": [
        {"id": "gate", "wait": {"signal": "go", "timeout_s": 60}},
        {"id": "a", "needs": ["gate"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.restart_at(UnixMillis(bench.now.0 - YEAR));
    let payload = meshwork_proto::Json::from_value(&json!(1));
    bench.control(id, meshwork_proto::workflow::RunAction::Signal { name: "go".into(), payload }).unwrap();
    bench.fail("a", "broke");
    bench.control(id, meshwork_proto::workflow::RunAction::Retry { from: Some("gate".into()) }).unwrap();
    bench.advance(59_000);
    assert_eq!(bench.get(id).steps[0].state, StepState::Waiting);
    bench.advance(1_001);
    assert_eq!(bench.get(id).state, RunState::Failed);
}
