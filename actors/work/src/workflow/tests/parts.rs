//! Sub-workflows that move to other peers, and whose parents do: they are found, read and given up wherever they are.

use super::bench::{Bench, OTHER, Pending, member, other, owner, submission};
use crate::workflow::logic::{Answer, Handed, Op, PlacedPart, SubAnswer, SubCall};
use meshwork_proto::workflow::{
    CoordinateRun, GetRun, ListRuns, ParentStep, RunAction, RunState, RunSubmitted, SubmitRun, WorkflowError,
};
use meshwork_proto::{Caller, ErrorCode, MeshError, PeerId, RunId};
use serde_json::{Value, json};

const PART: RunId = RunId::from_bytes([9; 16]);

fn third() -> PeerId {
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM".parse().unwrap()
}

fn nested() -> Value {
    json!({
        "name": "outer",
        "workflows": {"part": {"name": "part", "steps": [{"id": "inner", "tool": "t", "input": {}}]}},
        "steps": [{"id": "sub", "workflow": "part"}]
    })
}

/// The same submission of a part, by whoever coordinates its parent.
fn part_for(parent: &PeerId) -> SubmitRun {
    let part = json!({"name": "part", "steps": [{"id": "inner", "tool": "t", "input": {}}]});
    let mut submit = submission(&part, &json!({}));
    submit.idempotency_key = Some("wf/x".into());
    let run = RunId::from_bytes([5; 16]);
    submit.parent = Some(ParentStep { peer: parent.clone(), run, step: "sub".into(), depth: 1 });
    submit
}

fn submit_for(bench: &mut Bench, parent: &PeerId) -> Result<RunSubmitted, WorkflowError> {
    let ticket = bench.ask_as(member(parent.clone()), Op::Submit(part_for(parent)));
    match bench.answer(ticket)? {
        Answer::Submitted(submitted) => Ok(submitted),
        answer => panic!("{answer:?}"),
    }
}

fn get_as(bench: &mut Bench, peer: &PeerId, id: RunId) -> Result<RunState, WorkflowError> {
    let get = Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: false });
    let ticket = bench.ask_as(member(peer.clone()), get);
    match bench.answer(ticket)? {
        Answer::Run(shown) => Ok(shown.view.state),
        answer => panic!("{answer:?}"),
    }
}

/// Who is to have the run is asked.
fn begin_move(bench: &mut Bench, id: RunId) {
    let coordinate = CoordinateRun { id, peers: None, coordinator: Some(other()) };
    let ticket = bench.ask(Op::Coordinate(coordinate));
    assert!(bench.answer(ticket).is_ok());
    assert_eq!(bench.moves.pop_front().unwrap().run, id);
}

fn hand(bench: &mut Bench, id: RunId, handed: Handed) {
    bench.turn(|state, turn| state.handed(turn, id, 2, handed));
}

fn lost() -> Handed {
    Handed::Failed { error: MeshError::new(ErrorCode::Timeout, "no answer"), unsure: true }
}

/// A run with a part, both here.
fn with_part(bench: &mut Bench) -> (RunId, RunId) {
    let id = bench.submit(&nested(), &json!({}));
    let part = bench.get(id).steps[0].run.clone().unwrap().1;
    (id, part)
}

fn cancel(bench: &mut Bench, id: RunId) {
    bench.control(id, RunAction::Cancel { reason: None, compensate: true }).unwrap();
}

/// The peers that were told to give the part up.
fn told(bench: &mut Bench, part: RunId) -> Vec<PeerId> {
    let calls = std::mem::take(&mut bench.calls);
    let cancels = calls.into_iter().filter_map(|(_, peer, call)| match call {
        SubCall::Cancel { run, compensate: true } if run == part => Some(peer),
        _ => None,
    });
    cancels.collect()
}

#[test]
fn who_took_a_run_over_finds_its_part_that_had_moved_before() {
    // At the peer that had the part first.
    let mut bench = Bench::new();
    let part = submit_for(&mut bench, &third()).unwrap().id;
    begin_move(&mut bench, part);
    hand(&mut bench, part, Handed::Taken);
    for restarted in [false, true] {
        if restarted {
            bench.restart();
        }
        let next: PeerId = if restarted { owner() } else { other() };
        let submitted = submit_for(&mut bench, &next).unwrap();
        assert_eq!((submitted.id, submitted.existing), (part, true));
        assert_eq!(get_as(&mut bench, &next, part), Err(WorkflowError::Moved { id: part, to: other() }));
        let ticket = bench.ask_as(member(next), Op::List(ListRuns::default()));
        let Ok(Answer::Page(page)) = bench.answer(ticket) else { panic!() };
        assert_eq!(page.runs[0].moved_to, Some(other()), "its list says where it is");
    }
    assert_eq!((bench.disk.count(b's'), bench.disk.count(b'f')), (1, 1));
}

#[test]
fn a_part_is_asked_for_by_its_key_where_its_new_parent_is_not_known_yet() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0]["place"] = json!({"peer": OTHER});
    let id = bench.submit(&definition, &json!({}));
    let (flight, _, call) = bench.calls.pop_front().unwrap();
    let SubCall::Submit(first) = call else { panic!("{call:?}") };
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Placed(PART)));
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Moved(third())));
    bench.calls.clear();
    let unknown = || SubAnswer::Failed {
        error: MeshError::new(ErrorCode::UnknownWorkflow, "no such run"),
        definite: true,
        unsure: false,
    };
    bench.turn(|state, turn| state.sub_answered(turn, flight, unknown()));
    let (_, peer, call) = bench.calls.pop_front().unwrap();
    let SubCall::Submit(again) = call else { panic!("{call:?}") };
    assert_eq!((peer, again.submit.idempotency_key), (third(), first.submit.idempotency_key));
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Placed(PART)));
    let (_, peer, call) = bench.calls.pop_front().unwrap();
    assert!(peer == third() && matches!(call, SubCall::Watch(run) if run == PART));
    // It is asked once: what is not known there either has failed.
    bench.turn(|state, turn| state.sub_answered(turn, flight, unknown()));
    assert_eq!(bench.get(id).state, RunState::Failed);
}

#[test]
fn a_part_that_ended_does_not_change_when_its_run_moves_and_may_be_read_by_who_has_that_now() {
    let mut bench = Bench::new();
    let part = submit_for(&mut bench, &other()).unwrap().id;
    bench.complete("inner", json!(7));
    let events = bench.disk.events(part);
    bench.restart();
    assert!(get_as(&mut bench, &third(), part).is_err());
    assert_eq!(submit_for(&mut bench, &third()).unwrap().state, RunState::Completed);
    assert_eq!(get_as(&mut bench, &third(), part), Ok(RunState::Completed));
    assert_eq!(bench.disk.events(part), events, "nothing is added to it");
}

#[test]
fn nothing_is_added_to_a_part_that_is_on_its_way_to_another_peer() {
    let mut bench = Bench::new();
    let part = submit_for(&mut bench, &third()).unwrap().id;
    begin_move(&mut bench, part);
    let events = bench.disk.events(part);
    let error = submit_for(&mut bench, &owner()).unwrap_err();
    assert!(matches!(error, WorkflowError::Unavailable(_)), "{error}");
    assert_eq!(bench.disk.events(part), events);
    hand(&mut bench, part, Handed::Taken);
    assert!(submit_for(&mut bench, &owner()).is_ok(), "now it is known where it is");
}

#[test]
fn a_cancel_follows_a_part_that_moved() {
    for restarted in [false, true] {
        let mut bench = Bench::new();
        let (id, part) = with_part(&mut bench);
        begin_move(&mut bench, part);
        hand(&mut bench, part, Handed::Taken);
        if restarted {
            bench.restart();
        }
        bench.calls.clear();
        cancel(&mut bench, id);
        assert_eq!(told(&mut bench, part), [other()], "restarted: {restarted}");
    }
}

#[test]
fn a_part_that_was_on_its_way_when_its_run_ended_is_given_up_by_whoever_has_it_then() {
    for taken in [true, false] {
        let mut bench = Bench::new();
        let (id, part) = with_part(&mut bench);
        begin_move(&mut bench, part);
        hand(&mut bench, part, lost());
        bench.calls.clear();
        cancel(&mut bench, id);
        assert!(told(&mut bench, part).is_empty(), "it is not known who has it");
        // Longer than the run waits for what is taken back by its parts.
        bench.advance(3_700_000);
        assert_eq!(bench.get(id).state, RunState::Cancelled);
        if taken {
            hand(&mut bench, part, Handed::Taken);
            assert_eq!(told(&mut bench, part), [other()]);
        } else {
            let error = MeshError::new(ErrorCode::InvalidArgument, "no");
            hand(&mut bench, part, Handed::Refused { error, never: true });
            assert_eq!(bench.get(part).state, RunState::Cancelled);
        }
        assert!(bench.queued().is_empty());
    }
}

#[test]
fn a_part_that_is_found_to_have_moved_while_it_is_given_up_is_given_up_there() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0]["place"] = json!({"peer": OTHER});
    let id = bench.submit(&definition, &json!({}));
    let (flight, ..) = bench.calls.pop_front().unwrap();
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Placed(PART)));
    cancel(&mut bench, id);
    assert_eq!(told(&mut bench, PART), [other()]);
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Moved(third())));
    assert_eq!(told(&mut bench, PART), [third()]);
}

#[test]
fn a_part_at_a_peer_is_given_up_when_it_is_on_the_disk_that_its_run_ends() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0]["place"] = json!({"peer": OTHER});
    let id = bench.submit(&definition, &json!({}));
    let (flight, ..) = bench.calls.pop_front().unwrap();
    bench.turn(|state, turn| state.sub_answered(turn, flight, SubAnswer::Placed(PART)));
    bench.calls.clear();
    bench.auto = false;
    let action = RunAction::Cancel { reason: None, compensate: true };
    bench.ask_as(Caller::Local, Op::Control(meshwork_proto::workflow::ControlRun { id, action }));
    assert!(matches!(bench.pending.front(), Some(Pending::Commit { .. })));
    assert!(told(&mut bench, PART).is_empty(), "after a crash it would not be known why");
    bench.settle();
    assert_eq!(told(&mut bench, PART), [other()]);
}

#[test]
fn a_part_that_is_accepted_when_nobody_waits_for_it_any_more_is_given_up() {
    let mut bench = Bench::new();
    let mut definition = nested();
    definition["steps"][0]["place"] = json!({"peer": OTHER});
    definition["steps"][0]["timeout_s"] = json!(10);
    definition["steps"][0]["retry"] = json!({"max_attempts": 2, "backoff_s": 1});
    let id = bench.submit(&definition, &json!({}));
    let next = |bench: &mut Bench| {
        let (flight, _, call) = bench.calls.pop_front().unwrap();
        let SubCall::Submit(what) = call else { panic!("{call:?}") };
        (flight, what.submit.idempotency_key.unwrap())
    };
    let (first, old) = next(&mut bench);
    bench.advance(12_000);
    let (second, new) = next(&mut bench);
    let placed = |key: &String, run| PlacedPart { peer: other(), parent: id, key: key.clone(), run };
    let given_up = |bench: &mut Bench| {
        let calls = std::mem::take(&mut bench.calls);
        let cancels = calls.into_iter().filter_map(|(_, peer, call)| match call {
            SubCall::Cancel { run, compensate: false } => Some((peer, run)),
            _ => None,
        });
        cancels.collect::<Vec<_>>()
    };
    // Both answers come now: one to the attempt that had its time, one to that which is waited for.
    let late = RunId::from_bytes([8; 16]);
    bench.turn(|state, turn| state.part_placed(turn, first, placed(&old, late)));
    assert_eq!(given_up(&mut bench), [(other(), late)]);
    bench.turn(|state, turn| state.part_placed(turn, second, placed(&new, PART)));
    assert!(given_up(&mut bench).is_empty());
    // An answer to the same question, asked before.
    bench.turn(|state, turn| state.part_placed(turn, first, placed(&new, PART)));
    assert!(given_up(&mut bench).is_empty(), "it is waited for");
    assert_eq!(bench.get(id).steps[0].run, Some((other(), PART)));
}
