//! Hand-overs in which answers are lost, peers vanish and nodes start anew: one peer coordinates a run, at every moment, unless
//! a person wants it otherwise.

use super::bench::{Bench, OTHER, OWNER, member, other, owner};
use super::nodes::{
    THIRD, ask, away, coordinate, coordinators, definition, give, handed, lost, node, refused, request,
    taken, third, unheard,
};
use crate::workflow::logic::{Handed, Op};
use crate::workflow::options::WorkflowOptions;
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{CoordinateRun, RunAction, RunState, StepState, TakeOverRun, WorkflowError};
use meshwork_proto::{Cid, ErrorCode};
use serde_json::json;

#[test]
fn a_yes_that_was_lost_is_heard_although_the_run_has_gone_on_since() {
    let (mut a, mut b, mut c) = (node(owner()), node(other()), node(third()));
    let (id, what, history) = unheard(&mut a, &mut b);
    give(&mut b, &mut c, id);
    assert_eq!(coordinators(&[&a, &b, &c], id), 1);
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2), "the same question gets the same answer");
    handed(&mut a, &what, Handed::Taken);
    assert_eq!(a.try_get(id), Err(WorkflowError::Moved { id, to: other() }));
    assert_eq!(b.try_get(id), Err(WorkflowError::Moved { id, to: third() }));
    assert_eq!(coordinators(&[&a, &b, &c], id), 1);
    // Also when it was run to its end there, or came back and is on its way to somebody else again.
    c.work(|_, _| Ok(json!(0)));
    assert_eq!(c.get(id).state, RunState::Completed);
    b.restart();
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
}

#[test]
fn a_yes_that_was_lost_is_heard_although_the_run_came_back_from_somebody_else_and_is_moving_again() {
    let (mut a, mut b, mut c) = (node(owner()), node(other()), node(third()));
    let (id, what, history) = unheard(&mut a, &mut b);
    give(&mut b, &mut c, id);
    give(&mut c, &mut b, id);
    coordinate(&mut b, id, THIRD).unwrap();
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
    assert!(b.fetches.is_empty());
}

#[test]
fn a_run_comes_back_to_a_giver_that_has_not_heard_that_it_was_taken() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
    b.complete("a", json!("A"));
    give(&mut b, &mut a, id);
    // What the peer says to the question from before comes too late to matter.
    handed(&mut a, &what, Handed::Taken);
    handed(&mut a, &what, refused(ErrorCode::InvalidArgument, true));
    let view = a.get(id);
    assert_eq!((view.state, view.epoch, view.steps[0].state), (RunState::Running, 3, StepState::Completed));
    assert_eq!(coordinators(&[&a, &b], id), 1);
    a.restart();
    a.complete("b", json!(0));
    a.complete("end", json!(0));
    assert_eq!(a.get(id).state, RunState::Completed);
}

#[test]
fn a_refusal_is_none_when_an_earlier_attempt_may_have_been_heard() {
    let mut a = node(owner());
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, _) = request(&mut a);
    handed(&mut a, &what, lost());
    for code in [ErrorCode::Forbidden, ErrorCode::VersionMismatch, ErrorCode::NotAdmitted] {
        a.advance(20_000);
        request(&mut a);
        handed(&mut a, &what, refused(code, false));
        assert!(a.queued().is_empty() && a.state.peek(id).unwrap().moving.is_some(), "{code}");
    }
    // Whoever found fault with the history did so after it had looked for the run.
    a.advance(20_000);
    request(&mut a);
    handed(&mut a, &what, refused(ErrorCode::InvalidArgument, true));
    assert_eq!((a.get(id).epoch, a.queued().len()), (3, 2), "it goes on here");
}

#[test]
fn a_node_that_starts_anew_while_it_asks_does_not_believe_a_refusal() {
    let mut a = node(owner());
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    a.restart();
    let (what, _) = request(&mut a);
    handed(&mut a, &what, refused(ErrorCode::Forbidden, false));
    assert!(a.queued().is_empty());
    assert!(coordinate(&mut a, id, OWNER).is_err(), "nor does it simply stay");
}

#[test]
fn what_was_refused_for_good_is_not_taken_when_the_same_request_comes_once_more() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let damaged = TakeOverRun { len: what.len, ..what.clone() };
    let ticket = b.ask_as(member(owner()), Op::TakeOver(damaged.clone()));
    b.fetches.clear();
    let wrong = WorkflowError::InvalidArgument("history is damaged".into());
    b.turn(|state, turn| state.fetched_incoming(turn, &damaged, &owner(), Err(wrong.clone())));
    assert_eq!(taken(&mut b, ticket), Err(wrong.clone()));
    handed(&mut a, &what, refused(ErrorCode::InvalidArgument, true));
    // An attempt from before that was under way all the time.
    let late = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, late), Err(wrong));
    assert_eq!(coordinators(&[&a, &b], id), 1);
    give(&mut a, &mut b, id);
    assert_eq!((b.get(id).epoch, coordinators(&[&a, &b], id)), (4, 1));
}

#[test]
fn a_run_that_nobody_else_can_have_stays_when_it_is_asked_to_and_can_be_cancelled() {
    let mut a = node(owner());
    let stays = a.submit(&definition(), &json!({}));
    coordinate(&mut a, stays, OTHER).unwrap();
    let (what, _) = request(&mut a);
    let error = coordinate(&mut a, stays, OWNER).unwrap_err();
    assert!(error.to_string().contains("try again in a moment"), "it is being asked: {error}");
    handed(&mut a, &what, away());
    let error = a.control(stays, RunAction::Pause).unwrap_err();
    assert!(error.to_string().contains("can be asked to stay"), "{error}");
    assert_eq!(coordinate(&mut a, stays, OWNER).unwrap().moving_to, None);
    assert_eq!((a.get(stays).epoch, a.queued().len()), (3, 2));
    a.advance(1_000_000);
    assert!(a.moves.is_empty(), "it is not asked any more");
    a.control(stays, RunAction::Cancel { reason: None, compensate: false }).unwrap();

    let cancelled = a.submit(&definition(), &json!({}));
    coordinate(&mut a, cancelled, OTHER).unwrap();
    let (what, _) = request(&mut a);
    handed(&mut a, &what, away());
    a.control(cancelled, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    assert_eq!(a.get(cancelled).state, RunState::Cancelled);
    assert!(a.queued().is_empty());
}

#[test]
fn a_run_is_taken_back_by_force_from_a_peer_that_may_have_it_and_what_that_one_did_is_void_when_they_meet() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let id = a.submit(&definition(), &json!({}));
    let error = a.control(id, RunAction::TakeBack).unwrap_err();
    assert!(error.to_string().contains("nothing to take back"), "{error}");
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
    handed(&mut a, &what, lost());
    b.complete("a", json!("void"));
    for error in [
        coordinate(&mut a, id, OWNER).unwrap_err(),
        a.control(id, RunAction::Cancel { reason: None, compensate: false }).unwrap_err(),
    ] {
        assert!(error.to_string().contains("take_back"), "it is said how, and what the risk is: {error}");
    }
    a.control(id, RunAction::TakeBack).unwrap();
    assert!(a.get(id).epoch > 1000, "no hand-over over there comes to the same epoch");
    assert_eq!(a.queued().len(), 2);
    handed(&mut a, &what, Handed::Taken);
    assert_eq!(a.get(id).state, RunState::Running, "what the peer says now comes too late");
    a.restart();
    a.complete("a", json!("A"));
    give(&mut a, &mut b, id);
    assert_eq!(coordinators(&[&a, &b], id), 1);
    b.complete("b", json!(0));
    let view = b.get(id);
    assert_eq!(view.steps[0].output_cid, Some(Cid::of(b"\"A\"")), "what was decided there is void");
    b.restart();
    b.complete("end", json!(0));
    assert_eq!(b.get(id).state, RunState::Completed);
}

#[test]
fn a_run_that_was_sent_stays_so_over_a_restart_and_nothing_of_it_begins() {
    let options = WorkflowOptions { max_running: 1, ..WorkflowOptions::default() };
    let mut a = Bench::at(owner(), options);
    let first = a.submit(&definition(), &json!({}));
    a.advance(1);
    let waits = a.submit(&definition(), &json!({}));
    assert_eq!(a.get(waits).state, RunState::Pending);
    a.auto = false;
    let coordinator = Some(other());
    let ask = Op::Coordinate(CoordinateRun { id: waits, peers: None, coordinator });
    a.ask(ask);
    assert!(a.moves.is_empty(), "nobody is asked before it is on the disk");
    a.settle();
    assert_eq!(a.moves.len(), 1);
    assert_eq!(a.history(waits).last().unwrap(), "hand_over_sent");
    a.auto = true;
    a.restart();
    let (again, _) = request(&mut a);
    assert_eq!((again.id, again.epoch), (waits, 2));
    // There is a place now: it is not for the run that another peer may have.
    a.control(first, RunAction::Cancel { reason: None, compensate: false }).unwrap();
    a.advance(1_000);
    assert_eq!(a.get(waits).state, RunState::Pending);
    assert!(a.queued().is_empty());
    a.restart();
    a.advance(1_000);
    assert!(a.queued().is_empty() && a.get(waits).state == RunState::Pending);
}

#[test]
fn a_restart_before_everything_was_sent_leaves_parts_alone_until_it_is_known_who_goes_on() {
    let mut a = node(owner());
    let nested = json!({
        "name": "outer",
        "workflows": {"part": {"name": "part", "steps": [{"id": "inner", "tool": "t", "input": {}}]}},
        "steps": [
            {"id": "sub", "workflow": "part", "place": {"peer": OTHER}},
            {"id": "slow", "tool": "t", "input": {}}
        ]
    });
    let id = a.submit(&nested, &json!({}));
    a.calls.clear();
    let slow = a.task("slow");
    a.queue.tasks.get_mut(&slow).unwrap().status = TaskStatus::Running;
    coordinate(&mut a, id, THIRD).unwrap();
    a.restart();
    assert!(a.calls.is_empty() && a.moves.is_empty(), "the next coordinator asks for its parts");
    coordinate(&mut a, id, OWNER).unwrap();
    assert_eq!(a.calls.len(), 1, "now that is this one");
}

#[test]
fn a_step_that_completes_while_it_is_told_to_stop_for_a_move_does_not_run_again() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let id = a.submit(&definition(), &json!({}));
    let (first, second) = (a.task("a"), a.task("b"));
    for task in [first, second] {
        a.queue.tasks.get_mut(&task).unwrap().status = TaskStatus::Running;
    }
    coordinate(&mut a, id, OTHER).unwrap();
    a.advance(60_001);
    assert!(a.moves.is_empty(), "they are told to stop, and it is waited for what they say");
    a.finish(first, Ok(json!("just in time")));
    a.queue.give_up(second);
    a.tell(second);
    a.turn(|_, _| {});
    let (what, history) = request(&mut a);
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
    let steps: Vec<String> = b.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["b"], "what stopped begins anew, what completed does not");
}
