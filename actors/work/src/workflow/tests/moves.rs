//! Handing a run over: one peer coordinates it, at every moment.

use super::bench::{Bench, OTHER, OWNER, member, other, owner, submission};
use crate::workflow::logic::{Answer, Handed, Op, Ticket};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::records::Export;
use bytes::Bytes;
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::{
    CoordinateRun, Coordinated, GetRun, ListRuns, RunAction, RunState, StepState, TakeOverRun, TakenOver,
    WorkflowError,
};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, RunId};
use serde_json::{Value, json};

/// Two nodes.
struct Pair {
    here: Bench,
    there: Bench,
}

fn definition() -> Value {
    json!({"name": "moving", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "tool": "t", "input": {"a": "${steps.a.output}"}},
        {"id": "side", "tool": "t", "input": {}},
        {"id": "gate", "wait": {"signal": "go", "timeout_s": 1000}},
        {"id": "end", "needs": ["b", "side", "gate"], "tool": "t", "input": {}}
    ]})
}

impl Pair {
    fn new() -> Self {
        let options = WorkflowOptions::default();
        Self { here: Bench::at(owner(), options.clone()), there: Bench::at(other(), options) }
    }

    fn coordinate(&mut self, id: RunId, to: &str) -> Result<Coordinated, WorkflowError> {
        let coordinator = Some(to.parse().unwrap());
        let ticket = self.here.ask(Op::Coordinate(CoordinateRun { id, peers: None, coordinator }));
        match self.here.answer(ticket)? {
            Answer::Coordinated(coordinated) => Ok(coordinated),
            answer => panic!("{answer:?}"),
        }
    }

    /// What the run's coordinator asks the next one.
    fn request(&mut self) -> (TakeOverRun, Bytes) {
        let what = self.here.moves.pop_front().expect("a hand-over");
        let header = self.here.disk.header(what.run).unwrap();
        let events = self.here.disk.events(what.run);
        let history = Export::of(header, events).encode().unwrap();
        let (history_cid, len) = (Cid::of(&history), history.len() as u64);
        (TakeOverRun { id: what.run, epoch: what.epoch, history: history_cid, len }, history)
    }

    /// The next coordinator is asked; it fetches everything.
    fn ask_there(&mut self, what: &TakeOverRun, history: &Bytes) -> Ticket {
        let ticket = self.there.ask_as(member(owner()), Op::TakeOver(what.clone()));
        if let Some((from, what)) = self.there.fetches.pop_front() {
            let export = Export::decode(history).unwrap();
            let stored = self.there_stored(export);
            self.there.turn(|state, turn| state.fetched_incoming(turn, &what, &from, Ok(stored)));
        }
        ticket
    }

    fn there_stored(&mut self, export: Export) -> crate::workflow::logic::Stored {
        let Export { header, events } = export;
        let document = self.here.disk.payload(&header.definition);
        let workflow = self.there.workflow(&document).unwrap();
        crate::workflow::logic::Stored { header, workflow, events }
    }

    /// The whole hand-over.
    fn hand_over(&mut self) -> RunId {
        let (what, history) = self.request();
        let ticket = self.ask_there(&what, &history);
        assert_eq!(self.there.answer(ticket), Ok(Answer::TakenOver(TakenOver { epoch: what.epoch })));
        self.here.turn(|state, turn| state.handed(turn, what.id, what.epoch, Handed::Taken));
        what.id
    }
}

#[test]
fn a_run_moves_and_goes_on_where_it_stood() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.here.complete("a", json!("A"));
    let coordinated = pair.coordinate(id, OTHER).unwrap();
    assert_eq!((coordinated.coordinator, coordinated.moving_to), (owner(), Some(other())));
    // Nobody had begun its tasks: they were taken out of the queue, and it can move at once.
    assert!(pair.here.queued().is_empty());
    pair.hand_over();
    assert_eq!(pair.here.try_get(id), Err(WorkflowError::Moved { id, to: other() }));
    let view = pair.there.get(id);
    assert_eq!((view.state, view.epoch, view.submitter), (RunState::Running, 2, Some(owner())));
    assert_eq!(view.steps[0].state, StepState::Completed);
    pair.there.complete("side", json!(0));
    assert_eq!(pair.there.input_of(pair.there.task("b")), json!({"a": "A"}));
    pair.there.complete("b", json!(0));
    pair.there.restart();
    let payload = Json::from_value(&json!(1));
    pair.there.control(id, RunAction::Signal { name: "go".into(), payload }).unwrap();
    pair.there.complete("end", json!("done"));
    assert_eq!(pair.there.output(id), json!({"end": "done"}));
    let ticket =
        pair.there.ask_as(member(owner()), Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: false }));
    assert!(pair.there.answer(ticket).is_ok(), "the peer whose client submitted it may read it");
    pair.here.restart();
    assert_eq!(pair.here.try_get(id), Err(WorkflowError::Moved { id, to: other() }));
    let ticket = pair.here.ask(Op::List(ListRuns::default()));
    let Ok(Answer::Page(page)) = pair.here.answer(ticket) else { panic!() };
    assert_eq!(page.runs[0].moved_to, Some(other()));
}

#[test]
fn running_steps_end_first_and_what_takes_too_long_begins_anew_there() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    for step in ["a", "side"] {
        let task = pair.here.task(step);
        pair.here.queue.tasks.get_mut(&task).unwrap().status = TaskStatus::Running;
    }
    let (a, side) = (
        pair.here.queue.tasks.keys().copied().next().unwrap(),
        pair.here.queue.tasks.keys().copied().nth(1).unwrap(),
    );
    pair.coordinate(id, OTHER).unwrap();
    assert!(pair.here.moves.is_empty());
    pair.here.finish(a, Ok(json!("A")));
    assert!(pair.here.moves.is_empty() && pair.here.queued().is_empty(), "nothing new starts");
    pair.here.advance(60_001);
    assert!(pair.here.moves.is_empty(), "it is told to stop, and has as long again for that");
    pair.here.advance(60_000);
    pair.hand_over();
    let before = pair.here.disk.events(id).len();
    pair.here.finish(side, Ok(json!("too late")));
    assert_eq!(pair.here.disk.events(id).len(), before);
    let steps: Vec<String> = pair.there.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["b", "side"]);
    let view = pair.there.get(id);
    assert_eq!(
        (view.steps[2].attempt, view.steps[2].max_attempts),
        (2, 1),
        "what was withdrawn did not count"
    );
}

#[test]
fn asking_again_gives_the_same_whatever_crashes_in_between() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    let (what, history) = pair.request();
    let ticket = pair.ask_there(&what, &history);
    assert!(pair.there.answer(ticket).is_ok());
    pair.there.complete("a", json!("A"));
    // The answer was lost, and the node that gave the run away starts anew: it asks again and starts nothing.
    pair.here.restart();
    assert!(pair.here.queued().is_empty());
    let (again, history) = pair.request();
    assert_eq!((again.id, again.epoch), (what.id, what.epoch));
    let ticket = pair.ask_there(&again, &history);
    assert_eq!(pair.there.answer(ticket), Ok(Answer::TakenOver(TakenOver { epoch: 2 })));
    pair.here.turn(|state, turn| state.handed(turn, id, 2, Handed::Taken));
    assert!(matches!(pair.here.try_get(id), Err(WorkflowError::Moved { .. })));
    assert_eq!(pair.there.get(id).steps[0].state, StepState::Completed, "nothing was overwritten");
}

#[test]
fn while_it_is_not_known_whether_a_run_moved_nothing_is_added_to_it() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    for action in [RunAction::Pause, RunAction::Cancel { reason: None, compensate: false }] {
        let error = pair.here.control(id, action).unwrap_err();
        assert!(error.to_string().contains("is being handed over"), "{error}");
    }
    let away = MeshError::new(ErrorCode::Unreachable, "cannot be reached");
    pair.here.moves.clear();
    let lost = Handed::Failed { error: away, unsure: true };
    pair.here.turn(|state, turn| state.handed(turn, id, 2, lost));
    let waiting_for = pair.here.get(id).waiting_for.unwrap();
    assert!(waiting_for.contains("to take it over: cannot be reached"), "{waiting_for}");
    let events = pair.here.disk.events(id).len();
    pair.here.advance(2_000_000);
    assert_eq!(pair.here.disk.events(id).len(), events, "not even its own times pass");
    assert!(!pair.here.moves.is_empty(), "it is asked again and again");
    let error = pair.coordinate(id, OWNER).unwrap_err();
    assert!(error.to_string().contains("is being handed over"), "{error}");
}

#[test]
fn a_peer_that_refuses_leaves_the_run_where_it_is_under_a_higher_epoch() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    let (what, history) = pair.request();
    let no = MeshError::new(ErrorCode::VersionMismatch, "no such request");
    let refused = Handed::Refused { error: no, never: false };
    pair.here.turn(|state, turn| state.handed(turn, id, 2, refused));
    let view = pair.here.get(id);
    assert_eq!((view.state, view.epoch), (RunState::Running, 3));
    let steps: Vec<String> = pair.here.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["a", "side"], "it goes on");
    pair.here.advance(500_000);
    assert_eq!(view.steps[3].state, StepState::Waiting, "its wait goes on as well");
    // A request that was under way all the time is answered now, and too late: the next hand-over is judged by epochs.
    let late = pair.ask_there(&what, &history);
    assert!(pair.there.answer(late).is_ok());
    for step in ["a", "side", "b"] {
        pair.there.complete(step, json!("void"));
    }
    pair.coordinate(id, OTHER).unwrap();
    pair.hand_over();
    let view = pair.there.get(id);
    assert_eq!(
        (view.epoch, view.steps[0].state),
        (4, StepState::Running),
        "what was decided under epoch 2 is void"
    );
    pair.there.restart();
    assert_eq!(pair.there.get(id).steps[0].state, StepState::Running);
    pair.there.complete("a", json!("A"));
    assert_eq!(pair.there.input_of(pair.there.task("b")), json!({"a": "A"}));
}

#[test]
fn a_hand_over_is_given_up_while_steps_are_still_waited_for() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    let task = pair.here.task("a");
    pair.here.queue.tasks.get_mut(&task).unwrap().status = TaskStatus::Running;
    pair.coordinate(id, OTHER).unwrap();
    let error = pair.coordinate(id, "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM").unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    let stays = pair.coordinate(id, OWNER).unwrap();
    assert_eq!(stays.moving_to, None);
    let steps: Vec<String> = pair.here.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["side"]);
    pair.here.advance(61_000);
    pair.here.finish(task, Ok(json!("A")));
    assert_eq!(pair.here.get(id).steps[0].state, StepState::Completed);
}

#[test]
fn histories_that_are_wrong_are_refused() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    let (what, history) = pair.request();
    let ticket = pair.there.ask(Op::TakeOver(what.clone()));
    assert!(matches!(pair.there.answer(ticket), Err(WorkflowError::Forbidden(_))), "only from a peer");
    let ticket = pair.ask_there(&TakeOverRun { epoch: 7, ..what.clone() }, &history);
    let error = pair.there.answer(ticket).unwrap_err().to_string();
    assert!(error.contains("does not say that it moves"), "{error}");
    let mut export = Export::decode(&history).unwrap();
    export.events.remove(1);
    for (place, event) in export.events.iter_mut().enumerate().skip(1) {
        event.0 = place as u64 + 2;
    }
    let stored = pair.there_stored(export);
    let ticket = pair.there.ask_as(member(owner()), Op::TakeOver(what.clone()));
    pair.there.fetches.clear();
    pair.there.turn(|state, turn| state.fetched_incoming(turn, &what, &owner(), Ok(stored)));
    assert!(pair.there.answer(ticket).unwrap_err().to_string().contains("lacks event 2"));
    for cut in [0, 1, 3, history.len() / 2] {
        assert!(Export::decode(&history[..cut]).is_err());
    }
    assert!(pair.there.disk.active().is_empty());
}

#[test]
fn a_run_comes_back_to_where_it_was() {
    let mut pair = Pair::new();
    let id = pair.here.submit(&definition(), &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    pair.hand_over();
    pair.there.complete("a", json!("A"));
    std::mem::swap(&mut pair.here, &mut pair.there);
    let coordinator = Some(owner());
    let ticket = pair.here.ask(Op::Coordinate(CoordinateRun { id, peers: None, coordinator }));
    assert!(pair.here.answer(ticket).is_ok());
    let (what, history) = pair.request();
    let ticket = pair.there.ask_as(member(other()), Op::TakeOver(what.clone()));
    let (from, _) = pair.there.fetches.pop_front().unwrap();
    let stored = pair.there_stored(Export::decode(&history).unwrap());
    assert_eq!(pair.there.disk.count(b's'), 1, "it is among those that moved");
    pair.there.turn(|state, turn| state.fetched_incoming(turn, &what, &from, Ok(stored)));
    assert_eq!(pair.there.answer(ticket), Ok(Answer::TakenOver(TakenOver { epoch: 3 })));
    let view = pair.there.get(id);
    assert_eq!((view.epoch, view.steps[0].state), (3, StepState::Completed));
    assert_eq!(pair.there.disk.count(b's'), 0, "it is not among those that moved any more");
    pair.there.restart();
    let steps: Vec<String> = pair.there.queued().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, ["b", "side"], "what was withdrawn is another attempt of the same step");
}

#[test]
fn a_run_is_spread_over_the_peers_that_are_named() {
    let mut pair = Pair::new();
    let mut submit = submission(&definition(), &json!({}));
    submit.target_peers = [owner()].into();
    let id = pair.here.try_submit(submit).unwrap().id;
    assert_eq!(pair.here.queue.tasks[&pair.here.task("a")].spec.target_peers, [owner()].into());
    let spread = CoordinateRun { id, peers: Some([other()].into()), coordinator: None };
    let ticket = pair.here.ask(Op::Coordinate(spread));
    let Ok(Answer::Coordinated(coordinated)) = pair.here.answer(ticket) else { panic!() };
    assert_eq!(coordinated.coordinating_peers, [owner(), other()]);
    pair.here.complete("a", json!(0));
    pair.here.restart();
    assert_eq!(pair.here.queue.tasks[&pair.here.task("b")].spec.target_peers, [other()].into());
}

#[test]
fn a_run_that_is_coordinated_here_cannot_be_replaced_by_somebody_else() {
    let mut pair = Pair::new();
    let id = pair.there.submit(&definition(), &json!({}));
    let forged = TakeOverRun { id, epoch: 9, history: Cid::of(b"forged"), len: 6 };
    let ticket = pair.there.ask_as(member(owner()), Op::TakeOver(forged));
    assert!(matches!(pair.there.answer(ticket), Err(WorkflowError::Forbidden(_))));
    assert!(pair.there.fetches.is_empty());
    assert_eq!(pair.there.get(id).epoch, 1);
}

#[test]
fn a_forged_history_cannot_claim_more_items_than_a_run_may_have() {
    let mut pair = Pair::new();
    let fan = json!({"name": "fan", "steps": [{"id": "f", "for_each": [1, 2], "tool": "t", "input": {}}]});
    let id = pair.here.submit(&fan, &json!({}));
    pair.coordinate(id, OTHER).unwrap();
    let (what, history) = pair.request();
    let mut export = Export::decode(&history).unwrap();
    for (_, record) in &mut export.events {
        if let crate::workflow::records::Event::Items { count, .. } = &mut record.event {
            *count = u32::MAX;
        }
    }
    let stored = pair.there_stored(export);
    let ticket = pair.there.ask_as(member(owner()), Op::TakeOver(what.clone()));
    pair.there.fetches.clear();
    pair.there.turn(|state, turn| state.fetched_incoming(turn, &what, &owner(), Ok(stored)));
    let error = pair.there.answer(ticket).unwrap_err().to_string();
    assert!(error.contains("a step with 4294967295 items"), "{error}");
}
