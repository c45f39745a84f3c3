//! What takes the place of what is known of a run here: who may bring it, and what becomes of what was here.

use super::bench::{Bench, OTHER, Pending, member, other, owner, submission};
use super::nodes::{
    ask, coordinate, coordinators, definition, give, handed, node, read, request, taken, third, unheard,
};
use crate::workflow::logic::{Answer, Handed, Op};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::records::{Event, EventRecord, Export};
use meshwork_proto::Cid;
use meshwork_proto::store::StoreError;
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{GetRun, RunAction, RunState, StepState, TakeOverRun, WorkflowError};
use serde_json::json;

#[test]
fn more_than_the_store_takes_at_once_is_refused_before_it_is_written() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let mut stored = read(&mut b, &history);
    let moving = stored.events.pop().unwrap().1;
    let by = || None;
    while stored.events.len() < 100_000 {
        let seq = stored.events.len() as u64 + 1;
        let event =
            if seq.is_multiple_of(2) { Event::Paused { by: by() } } else { Event::Resumed { by: by() } };
        stored.events.push((seq, EventRecord { at: a.now, epoch: 1, event }));
    }
    let seq = stored.events.len() as u64 + 1;
    stored.events.push((seq, moving));
    let export = Export { header: stored.header.clone(), events: stored.events.clone() };
    assert!(export.too_many_changes().is_some(), "who gives it away knows it as well");
    let ticket = b.ask_as(member(owner()), Op::TakeOver(what.clone()));
    let commits = b.commits;
    b.turn(|state, turn| state.fetched_incoming(turn, &what, &owner(), Ok(stored)));
    let error = taken(&mut b, ticket).unwrap_err();
    assert!(error.to_string().contains("at most 100000 changes"), "{error}");
    assert_eq!((b.commits, coordinators(&[&b], id)), (commits, 0));
}

#[test]
fn a_run_that_ended_here_is_replaced_by_nobody() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let (id, what, history) = unheard(&mut a, &mut b);
    b.work(|step, _| Ok(json!(step)));
    let (output, events) = (b.output(id), b.disk.events(id));
    for restarted in [false, true] {
        if restarted {
            b.restart();
        }
        // A stranger, with a history of its own making.
        let forged = TakeOverRun { epoch: 9, ..what.clone() };
        let ticket = ask(&mut b, third(), &forged, &history);
        assert!(matches!(taken(&mut b, ticket), Err(WorkflowError::Forbidden(_))));
        assert!(b.fetches.is_empty());
    }
    // One that coordinated it before, and does not know the end.
    a.control(id, RunAction::TakeBack).unwrap();
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = ask(&mut b, owner(), &what, &history);
    let error = taken(&mut b, ticket).unwrap_err().to_string();
    assert!(error.contains("does not say that it is completed here"), "{error}");
    assert_eq!((b.output(id), b.disk.events(id)), (output, events));
}

#[test]
fn a_run_that_moved_on_only_comes_back_with_a_history_that_tells_so() {
    let (mut a, mut b, mut c) = (node(owner()), node(other()), node(third()));
    let id = a.submit(&definition(), &json!({}));
    let early = {
        coordinate(&mut a, id, OTHER).unwrap();
        let (what, history) = request(&mut a);
        let ticket = ask(&mut b, owner(), &what, &history);
        assert_eq!(taken(&mut b, ticket), Ok(2));
        handed(&mut a, &what, Handed::Taken);
        Export::decode(&history).unwrap()
    };
    // Somebody who saw it once makes up the rest.
    let mut forged = early;
    let seq = forged.events.len() as u64 + 1;
    let back = Event::MoveBegun { to: owner(), epoch: 7, by: None };
    forged.events.push((seq, EventRecord { at: a.now, epoch: 6, event: back }));
    let history = forged.encode().unwrap();
    let what = TakeOverRun { id, epoch: 7, history: Cid::of(&history), len: history.len() as u64 };
    let ticket = ask(&mut a, third(), &what, &history);
    let error = taken(&mut a, ticket).unwrap_err().to_string();
    assert!(error.contains("does not say that it was taken over from here as epoch 2"), "{error}");
    assert_eq!(a.try_get(id), Err(WorkflowError::Moved { id, to: other() }));
    // Over another peer, of which nothing is known here.
    give(&mut b, &mut c, id);
    give(&mut c, &mut a, id);
    assert_eq!((a.get(id).epoch, coordinators(&[&a, &b, &c], id)), (4, 1));
}

/// The oldest commit under way is refused.
fn refuse_commit(bench: &mut Bench) {
    let is_commit = |pending: &Pending| matches!(pending, Pending::Commit { .. });
    let place = bench.pending.iter().position(is_commit).unwrap();
    let Some(Pending::Commit { id, .. }) = bench.pending.remove(place) else { unreachable!() };
    let full = StoreError::DiskFull { free: 1, reserve: 2 };
    bench.turn(|state, turn| state.on_commit(turn, id, Err(full)));
}

#[test]
fn what_was_here_goes_on_when_the_store_has_no_room_for_what_takes_its_place() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let (id, _, _) = unheard(&mut a, &mut b);
    a.control(id, RunAction::TakeBack).unwrap();
    let running = b.task("a");
    b.queue.tasks.get_mut(&running).unwrap().status = TaskStatus::Running;
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = b.ask_as(member(owner()), Op::TakeOver(what.clone()));
    let stored = read(&mut b, &history);
    b.auto = false;
    b.turn(|state, turn| state.fetched_incoming(turn, &what, &owner(), Ok(stored)));
    let asked = b.ask(Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: true }));
    b.finish(running, Ok(json!("A")));
    assert!(!b.answered(asked), "it is not known yet what the run is");
    refuse_commit(&mut b);
    b.auto = true;
    b.settle();
    assert!(matches!(taken(&mut b, ticket), Err(WorkflowError::Store(_))));
    let Ok(Answer::Run(shown)) = b.answer(asked) else { panic!() };
    assert_eq!(shown.view.epoch, 2);
    assert!(b.fatal.is_none());
    assert_eq!(b.get(id).steps[0].state, StepState::Completed, "nothing that it ran was given up");
    b.restart();
    b.complete("b", json!(0));
    b.complete("end", json!(0));
    assert_eq!(b.get(id).state, RunState::Completed);
}

#[test]
fn what_was_decided_in_the_same_moment_is_not_written_over_what_takes_its_place() {
    let (mut a, mut b) = (node(owner()), node(other()));
    let (id, _, _) = unheard(&mut a, &mut b);
    a.control(id, RunAction::TakeBack).unwrap();
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = b.ask_as(member(owner()), Op::TakeOver(what.clone()));
    let stored = read(&mut b, &history);
    let task = b.task("a");
    b.queue.finish(task, Ok(json!("void")), "worker");
    let ended = b.queue.end_of(task).unwrap();
    b.turn(|state, turn| {
        state.task_ended(turn, ended);
        state.fetched_incoming(turn, &what, &owner(), Ok(stored));
    });
    assert_eq!(taken(&mut b, ticket), Ok(what.epoch));
    let shown = b.history(id);
    b.restart();
    assert_eq!((b.history(id), b.get(id).steps[0].state), (shown, StepState::Running));
    assert!(!b.history(id).iter().any(|kind| kind == "step_completed a"));
}

#[test]
fn a_run_is_not_forgotten_while_somebody_asks_to_take_it_over() {
    let options = WorkflowOptions { retention_s: 100.0, ..WorkflowOptions::default() };
    let (mut a, mut b) = (node(owner()), Bench::at(other(), options));
    let mut c = node(third());
    let id = a.submit(&definition(), &json!({}));
    coordinate(&mut a, id, OTHER).unwrap();
    let (what, history) = request(&mut a);
    let ticket = ask(&mut b, owner(), &what, &history);
    assert_eq!(taken(&mut b, ticket), Ok(2));
    handed(&mut a, &what, Handed::Taken);
    give(&mut b, &mut c, id);
    coordinate(&mut c, id, OTHER).unwrap();
    let (back, history) = request(&mut c);
    let ticket = b.ask_as(member(third()), Op::TakeOver(back.clone()));
    assert_eq!(b.fetches.len(), 1);
    b.advance(500_000);
    assert_eq!(b.disk.count(b's'), 1, "it is kept longer than it would be");
    let stored = read(&mut b, &history);
    b.turn(|state, turn| state.fetched_incoming(turn, &back, &third(), Ok(stored)));
    assert_eq!(taken(&mut b, ticket), Ok(4));
    b.advance(500_000);
    assert_eq!((b.get(id).state, b.disk.count(b's')), (RunState::Running, 0));
    b.restart();
    assert_eq!(b.get(id).epoch, 4);
}

#[test]
fn a_run_that_is_being_forgotten_is_not_taken_over_before_it_is() {
    let options = WorkflowOptions { retention_s: 100.0, ..WorkflowOptions::default() };
    let (mut a, mut b, mut c) = (node(owner()), Bench::at(other(), options), node(third()));
    let id = a.submit(&definition(), &json!({}));
    give(&mut a, &mut b, id);
    give(&mut b, &mut c, id);
    coordinate(&mut c, id, OTHER).unwrap();
    let (back, history) = request(&mut c);
    b.auto = false;
    b.advance(200_000);
    // What is due is looked for, and found.
    b.perform(0);
    b.turn(|_, _| {});
    let ticket = b.ask_as(member(third()), Op::TakeOver(back.clone()));
    assert!(matches!(taken(&mut b, ticket), Err(WorkflowError::Unavailable(_))));
    b.auto = true;
    b.settle();
    b.advance(5_000);
    assert_eq!(b.disk.count(b's'), 0);
    let ticket = ask(&mut b, third(), &back, &history);
    assert_eq!(taken(&mut b, ticket), Ok(4));
    b.advance(500_000);
    assert_eq!(b.get(id).state, RunState::Running);
}

#[test]
fn a_run_that_comes_back_is_that_of_its_submitter_again_with_its_key() {
    let options = WorkflowOptions { retention_s: 100.0, ..WorkflowOptions::default() };
    let (mut a, mut b) = (Bench::at(owner(), options), node(other()));
    let mut submit = submission(&definition(), &json!({}));
    submit.idempotency_key = Some("once".into());
    let id = a.try_submit(submit.clone()).unwrap().id;
    give(&mut a, &mut b, id);
    assert_eq!(b.disk.header(id).unwrap().key, None, "keys of its clients mean nothing there");
    give(&mut b, &mut a, id);
    let header = a.disk.header(id).unwrap();
    assert_eq!((header.submitter, header.key.as_deref()), (None, Some("once")));
    a.restart();
    let again = a.try_submit(submit).unwrap();
    assert_eq!((again.id, again.existing), (id, true));
    a.work(|step, _| Ok(json!(step)));
    assert_eq!(a.get(id).state, RunState::Completed);
    a.advance(500_000);
    assert_eq!((a.disk.count(b'h'), a.disk.count(b'i')), (0, 0), "its key goes with it");
}
