//! Sub-workflows: runs of their own, here and at other peers.

use super::bench::{Bench, member, other, owner};
use crate::workflow::logic::{Op, SubAnswer, SubCall, SubEnd};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{GetRun, ListRuns, RunAction, RunState, StepState};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, RunId};
use serde_json::{Value, json};

fn nested() -> Value {
    json!({
        "name": "outer",
        "workflows": {"part": {
            "name": "part",
            "inputs": {"n": {"type": "integer"}},
            "steps": [{"id": "inner", "tool": "t", "input": {"n": "${inputs.n}"}}],
            "output": "${steps.inner.output}"
        }},
        "steps": [
            {"id": "sub", "workflow": "part", "inputs": {"n": 7}},
            {"id": "after", "tool": "t", "input": {"got": "${steps.sub.output}"}}
        ]
    })
}

fn runs(bench: &mut Bench) -> Vec<(RunId, String)> {
    let ticket = bench.ask(Op::List(ListRuns::default()));
    match bench.answer(ticket).unwrap() {
        crate::workflow::logic::Answer::Page(page) => {
            page.runs.into_iter().map(|run| (run.id, run.name)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn part_of(bench: &mut Bench) -> RunId {
    runs(bench).into_iter().find(|(_, name)| name == "part").unwrap().0
}

#[test]
fn a_sub_workflow_is_a_run_of_its_own_and_its_result_is_that_of_the_step() {
    let mut bench = Bench::new();
    let id = bench.submit(&nested(), &json!({}));
    let part = part_of(&mut bench);
    let view = bench.get(part);
    let parent = view.parent.unwrap();
    assert_eq!((parent.run, parent.step.as_str(), parent.depth), (id, "sub", 1));
    assert_eq!(bench.get(id).steps[0].run, Some((owner(), part)));
    assert_eq!(bench.input_of(bench.task("inner")), json!({"n": 7}));
    bench.complete("inner", json!("seven"));
    assert_eq!(bench.get(part).state, RunState::Completed);
    assert_eq!(bench.input_of(bench.task("after")), json!({"got": "seven"}));
    bench.complete("after", json!(1));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn a_restart_finds_the_sub_workflow_again_running_or_finished() {
    let mut bench = Bench::new();
    let id = bench.submit(&nested(), &json!({}));
    bench.restart();
    assert_eq!(runs(&mut bench).len(), 2, "it is not submitted twice");
    let part = part_of(&mut bench);
    bench.auto = false;
    let task = bench.task("inner");
    bench.queue.finish(task, Ok(json!("x")), "w");
    bench.auto = true;
    bench.restart();
    assert_eq!(bench.get(part).state, RunState::Completed);
    bench.complete("after", json!(1));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn a_sub_workflow_that_fails_fails_its_step_and_one_that_is_cancelled_ends_with_its_run() {
    let mut bench = Bench::new();
    let id = bench.submit(&nested(), &json!({}));
    bench.fail("inner", "broke");
    let error = bench.get(id).error.unwrap();
    assert_eq!(error.message, "step sub: step inner: broke");
    // Ids of runs sort by the time of their submission.
    bench.advance(1);
    let id = bench.submit(&nested(), &json!({}));
    let part = part_of(&mut bench);
    bench.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    assert_eq!((bench.get(id).state, bench.get(part).state), (RunState::Cancelled, RunState::Cancelled));
    assert!(bench.queued().is_empty());
}

#[test]
fn a_sub_workflow_has_the_time_that_its_step_gives_it() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0]["timeout_s"] = json!(10);
    let id = bench.submit(&definition, &json!({}));
    let part = part_of(&mut bench);
    bench.advance(10_001);
    let view = bench.get(id);
    assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::Timeout));
    assert_eq!(bench.get(part).state, RunState::Cancelled);
}

#[test]
fn sub_workflows_for_each_item_run_side_by_side() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0] = json!({
        "id": "sub", "for_each": [1, 2, 3], "max_parallel": 2, "workflow": "part", "inputs": {"n": "${item}"}
    });
    let id = bench.submit(&definition, &json!({}));
    assert_eq!(bench.queued().len(), 2);
    bench.work(|_, input| Ok(input.get("n").cloned().unwrap_or_else(|| input["got"].clone())));
    assert_eq!(bench.output(id), json!({"after": [1, 2, 3]}));
}

/// A run whose sub-workflow is placed at the other node, which accepted it as this run.
fn at_other(bench: &mut Bench) -> (RunId, RunId) {
    let mut definition = nested();
    definition["steps"][0]["place"] = json!({"peer": other().as_str()});
    let id = bench.submit(&definition, &json!({}));
    let (flight, peer, call) = bench.calls.pop_front().unwrap();
    assert_eq!(peer, other());
    let SubCall::Submit(what) = call else { panic!("{call:?}") };
    let parent = what.submit.parent.unwrap();
    assert_eq!((parent.peer, parent.run), (owner(), id));
    assert!(what.submit.idempotency_key.unwrap().starts_with("wf/"));
    let part = RunId::from_bytes([9; 16]);
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Placed(part)));
    (id, part)
}

#[test]
fn a_sub_workflow_at_a_peer_is_watched_until_it_ends() {
    let mut bench = Bench::new();
    let (id, part) = at_other(&mut bench);
    assert_eq!(bench.get(id).steps[0].run, Some((other(), part)));
    assert_eq!(bench.get(id).coordinating_peers, [owner(), other()]);
    let (flight, _, call) = bench.calls.pop_front().unwrap();
    assert!(matches!(call, SubCall::Watch(run) if run == part));
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Running));
    let (flight, ..) = bench.calls.pop_front().unwrap();
    let output = Json::from_value(&json!("far"));
    let cid = Cid::of(output.bytes());
    let end = SubEnd { result: Ok((Payload::Inline(output), cid)), peer: other() };
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Ended(end)));
    assert_eq!(bench.input_of(bench.task("after")), json!({"got": "far"}));
    assert_eq!(bench.get(id).steps[0].peer, Some(other()));
}

#[test]
fn a_peer_that_is_away_is_asked_again_and_the_run_says_what_it_waits_for() {
    let mut bench = Bench::new();
    let (id, part) = at_other(&mut bench);
    let (flight, ..) = bench.calls.pop_front().unwrap();
    let error = MeshError::new(ErrorCode::Unreachable, "peer cannot be reached");
    let away = SubAnswer::Failed { error, definite: false, unsure: false };
    bench.turn(|state, turn| state.sub_answered(turn, flight, away));
    assert!(bench.get(id).waiting_for.unwrap().contains("step sub: peer cannot be reached"));
    assert!(bench.calls.is_empty());
    bench.advance(1_000);
    let (_, peer, call) = bench.calls.pop_front().unwrap();
    assert!(peer == other() && matches!(call, SubCall::Watch(run) if run == part));
    bench.restart();
    let (_, _, call) = bench.calls.pop_front().unwrap();
    assert!(matches!(call, SubCall::Submit(_)), "the same submission gives the same run");
}

#[test]
fn a_peer_that_never_takes_it_is_passed_over_when_others_may() {
    let mut bench = Bench::new();
    let mut submit = super::bench::submission(&nested(), &json!({}));
    submit.target_peers = [other()].into();
    // Of two peers the second is the turn of every other attempt.
    let id = bench.try_submit(submit).unwrap().id;
    if bench.calls.is_empty() {
        return assert_eq!(bench.get(id).steps[0].state, StepState::Running);
    }
    for _ in 0..6 {
        let Some((flight, ..)) = bench.calls.pop_front() else { break };
        let error = MeshError::new(ErrorCode::Unreachable, "away");
        let away = SubAnswer::Failed { error, definite: false, unsure: false };
        bench.turn(|state, turn| state.sub_answered(turn, flight, away));
        bench.advance(10_000);
    }
    assert_eq!(runs(&mut bench).len(), 2, "it runs here");
}

#[test]
fn a_sub_workflow_at_a_peer_is_cancelled_with_its_run() {
    let mut bench = Bench::new();
    let (id, part) = at_other(&mut bench);
    bench.calls.clear();
    bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
    let (_, peer, call) = bench.calls.pop_front().unwrap();
    assert!(
        peer == other() && matches!(call, SubCall::Cancel { run, compensate: true } if run == part),
        "{call:?}"
    );
    assert_eq!(bench.get(id).state, RunState::Running, "it waits for the peer");
    bench.advance(61_000);
    assert_eq!(bench.get(id).state, RunState::Running, "it takes back what it did, before anything else is");
    bench.advance(3_600_000);
    assert_eq!(bench.get(id).state, RunState::Cancelled);
}

#[test]
fn a_sub_workflow_whose_peer_is_gone_is_not_waited_for_when_that_is_given_up() {
    for seconds in [10, 100] {
        let mut bench = Bench::new();
        let (id, _) = at_other(&mut bench);
        bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
        bench.advance(seconds * 1_000);
        bench.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap();
        bench.advance(60_000);
        assert_eq!(bench.get(id).state, RunState::Cancelled);
    }
}

#[test]
fn who_coordinates_the_run_may_read_and_cancel_its_parts_whoever_submitted_them() {
    let mut bench = Bench::new();
    let mut submit = super::bench::submission(
        &json!({"name": "part", "steps": [{"id": "a", "tool": "t", "input": {}}]}),
        &json!({}),
    );
    let step = |peer| meshwork_proto::workflow::ParentStep {
        peer,
        run: RunId::from_bytes([5; 16]),
        step: "sub".into(),
        depth: 1,
    };
    submit.idempotency_key = Some("wf/x".into());
    submit.parent = Some(step(other()));
    let ticket = bench.ask_as(member(other()), Op::Submit(submit.clone()));
    let crate::workflow::logic::Answer::Submitted(first) = bench.answer(ticket).unwrap() else { panic!() };
    // The run was handed over to a third peer: that one finds the part by its key, and may read it from now on.
    let third: meshwork_proto::PeerId =
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM".parse().unwrap();
    let get = || Op::Get(GetRun { id: first.id, wait_ms: 0, seen: None, steps: false });
    let ticket = bench.ask_as(member(third.clone()), get());
    assert!(bench.answer(ticket).is_err());
    submit.parent = Some(step(third.clone()));
    let ticket = bench.ask_as(member(third.clone()), Op::Submit(submit.clone()));
    let crate::workflow::logic::Answer::Submitted(again) = bench.answer(ticket).unwrap() else { panic!() };
    assert_eq!((again.id, again.existing), (first.id, true));
    let ticket = bench.ask_as(member(third.clone()), get());
    assert!(bench.answer(ticket).is_ok());
    bench.restart();
    let ticket = bench.ask_as(member(third), get());
    assert!(bench.answer(ticket).is_ok());
    submit.parent = Some(step(owner()));
    let ticket = bench.ask_as(member(other()), Op::Submit(submit));
    assert!(bench.answer(ticket).unwrap_err().to_string().contains("that its submitter coordinates"));
}

#[test]
fn a_run_that_is_cancelled_and_run_on_soon_after_is_not_stopped_by_the_limit_of_that_cancel() {
    let mut bench = Bench::new();
    // What is under way waits for a signal in a part, and so ends with the cancel itself.
    let outer = json!({
        "name": "outer",
        "workflows": {"part": {"name": "part", "steps": [{"id": "wait", "wait": {"signal": "go"}}]}},
        "steps": [{"id": "sub", "workflow": "part"}]
    });
    let id = bench.submit(&outer, &json!({}));
    bench.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    assert_eq!(bench.get(id).state, RunState::Cancelled);
    bench.advance(1_000);
    bench.control(id, RunAction::Retry { from: None }).unwrap();
    bench.advance(600_000);
    let view = bench.get(id);
    assert_eq!((view.state, view.steps[0].state), (RunState::Running, StepState::Running));
    let part = part_of(&mut bench);
    let payload = Json::from_value(&json!("went"));
    bench.control(part, RunAction::Signal { name: "go".into(), payload }).unwrap();
    assert_eq!(bench.get(id).state, RunState::Completed);
}
