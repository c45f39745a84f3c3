//! Several nodes that hand runs over to one another, question by question, for stories in which any of these is lost.

use super::bench::{Bench, OTHER, member, other};
use crate::workflow::logic::{Answer, Handed, Op, Stored, Ticket};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::records::Export;
use bytes::Bytes;
use meshwork_proto::workflow::{CoordinateRun, Coordinated, TakeOverRun, TakenOver, WorkflowError};
use meshwork_proto::{Cid, ErrorCode, MeshError, PeerId, RunId};
use serde_json::{Value, json};

/// A third node.
pub(super) const THIRD: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM";

pub(super) fn third() -> PeerId {
    THIRD.parse().unwrap()
}

pub(super) fn node(peer: PeerId) -> Bench {
    Bench::at(peer, WorkflowOptions::default())
}

/// Two steps that wait for nothing, and one behind them.
pub(super) fn definition() -> Value {
    json!({"name": "moving", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "b", "tool": "t", "input": {}},
        {"id": "end", "needs": ["a", "b"], "tool": "t", "input": {}}
    ]})
}

pub(super) fn coordinate(bench: &mut Bench, id: RunId, to: &str) -> Result<Coordinated, WorkflowError> {
    let coordinator = Some(to.parse().unwrap());
    let ticket = bench.ask(Op::Coordinate(CoordinateRun { id, peers: None, coordinator }));
    match bench.answer(ticket)? {
        Answer::Coordinated(coordinated) => Ok(coordinated),
        answer => panic!("{answer:?}"),
    }
}

/// What the coordinator of a run asks the next one.
pub(super) fn request(from: &mut Bench) -> (TakeOverRun, Bytes) {
    let what = from.moves.pop_front().expect("a hand-over");
    let header = from.disk.header(what.run).unwrap();
    let history = Export::of(header, from.disk.events(what.run)).encode().unwrap();
    let (cid, len) = (Cid::of(&history), history.len() as u64);
    (TakeOverRun { id: what.run, epoch: what.epoch, history: cid, len }, history)
}

pub(super) fn read(to: &mut Bench, history: &Bytes) -> Stored {
    let Export { header, events } = Export::decode(history).unwrap();
    let document = to.disk.payload(&header.definition);
    let workflow = to.workflow(&document).unwrap();
    Stored { header, workflow, events }
}

/// The next coordinator is asked; it fetches what it wants.
pub(super) fn ask(to: &mut Bench, from: PeerId, what: &TakeOverRun, history: &Bytes) -> Ticket {
    let ticket = to.ask_as(member(from), Op::TakeOver(what.clone()));
    if let Some((from, what)) = to.fetches.pop_front() {
        let stored = read(to, history);
        to.turn(|state, turn| state.fetched_incoming(turn, &what, &from, Ok(stored)));
    }
    ticket
}

pub(super) fn taken(to: &mut Bench, ticket: Ticket) -> Result<u32, WorkflowError> {
    match to.answer(ticket)? {
        Answer::TakenOver(TakenOver { epoch }) => Ok(epoch),
        answer => panic!("{answer:?}"),
    }
}

pub(super) fn handed(from: &mut Bench, what: &TakeOverRun, handed: Handed) {
    from.turn(|state, turn| state.handed(turn, what.id, what.epoch, handed));
}

/// The whole hand-over.
pub(super) fn give(from: &mut Bench, to: &mut Bench, id: RunId) {
    coordinate(from, id, to.peer.as_str()).unwrap();
    let (what, history) = request(from);
    let ticket = ask(to, from.peer.clone(), &what, &history);
    assert_eq!(taken(to, ticket), Ok(what.epoch));
    handed(from, &what, Handed::Taken);
}

pub(super) fn lost() -> Handed {
    Handed::Failed { error: MeshError::new(ErrorCode::Timeout, "no answer"), unsure: true }
}

pub(super) fn away() -> Handed {
    Handed::Failed { error: MeshError::new(ErrorCode::Unreachable, "cannot be reached"), unsure: false }
}

pub(super) fn refused(code: ErrorCode, never: bool) -> Handed {
    Handed::Refused { error: MeshError::new(code, "no"), never }
}

/// How many of the nodes would start something of the run.
pub(super) fn coordinators(benches: &[&Bench], id: RunId) -> usize {
    let active =
        |bench: &&&Bench| bench.state.peek(id).is_some_and(|run| run.is_active() && run.moving.is_none());
    benches.iter().filter(active).count()
}

/// A run of the first node that the second one took over, which nobody heard; and what was asked for that.
pub(super) fn unheard(a: &mut Bench, b: &mut Bench) -> (RunId, TakeOverRun, Bytes) {
    let id = a.submit(&definition(), &json!({}));
    coordinate(a, id, OTHER).unwrap();
    let (what, history) = request(a);
    let ticket = ask(b, a.peer.clone(), &what, &history);
    assert_eq!((taken(b, ticket), b.peer.clone()), (Ok(2), other()));
    handed(a, &what, lost());
    (id, what, history)
}
