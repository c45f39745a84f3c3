//! Between coordinators: parts at other peers, and hand-overs. The same questions, answers and deadlines as the actor
//! has, with shorter times.

use super::Fault;
use super::net::{Body, NODES, Party, peer};
use super::node::{Call, Called};
use super::world::{Event, World};
use crate::workflow::logic::take_over::is_final;
use crate::workflow::logic::{
    Answer, FlightId, HandOver, Handed, Op, Phase, Stored, SubAnswer, SubCall, SubEnd, SubSubmit,
};
use crate::workflow::records::Export;
use bytes::Bytes;
use meshwork_proto::workflow::{
    ControlRun, GetRun, RunAction, RunState, RunView, TakeOverRun, TakenOver, WorkflowError,
};
use meshwork_proto::{Cid, ErrorCode, MeshError, PeerId, RunId};
use rand::RngExt;

/// How long a peer may take for what waits for nothing.
const SOON: u64 = 6000;
/// How long a peer is asked to wait for the end of a part.
const WATCH: u64 = 6000;
/// How long the next coordinator may take.
const TAKE_OVER: u64 = 12_000;
/// How often a peer is asked to give a part up.
const CANCELS: u32 = 8;

fn place(of: &PeerId) -> usize {
    (0..NODES).find(|node| peer(*node) == *of).expect("one of the nodes")
}

/// Whether the same request will be refused again.
fn is_definite(error: &MeshError) -> bool {
    !error.code.is_transient()
        && !matches!(error.code, ErrorCode::Storage | ErrorCode::Internal | ErrorCode::Moved)
}

/// Whether a peer that says this for now has not begun to take a run over.
fn is_untouched(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::QueueFull | ErrorCode::Busy | ErrorCode::Draining | ErrorCode::DiskFull)
}

/// What it means that a peer says no to a hand-over.
fn no(error: MeshError, definite: bool) -> Handed {
    if definite && error.code != ErrorCode::Corrupt {
        let never = is_final(error.code);
        return Handed::Refused { error, never };
    }
    let unsure = !is_untouched(error.code);
    Handed::Failed { error, unsure }
}

fn outcome(view: RunView, peer: PeerId) -> SubEnd {
    let RunView { id, state, output, output_cid, error, .. } = view;
    let unknown =
        || MeshError::new(ErrorCode::Internal, format!("workflow run {id} is {state} without an error"));
    let result = match (state, output.zip(output_cid)) {
        (RunState::Completed, Some(result)) => Ok(result),
        _ => Err(error.unwrap_or_else(unknown)),
    };
    SubEnd { result, peer }
}

impl World {
    /// A question to a peer: it may not even be asked, if it is cut off or down.
    fn ask_peer(&mut self, node: usize, to: usize, what: Called, body: Body, within: u64) {
        let away = self.net.is_cut(self.now, node, to) || !self.nodes[to].up;
        let request = self.nodes[node].call(to, what);
        if away && self.rng.random_bool(0.6) {
            return self.after(800, Event::CallFailed { node, request, unsure: false });
        }
        self.send(Party::Node(node), Party::Node(to), request, body);
        self.after(within, Event::CallFailed { node, request, unsure: true });
    }

    pub(super) fn call_part(&mut self, node: usize, flight: FlightId, to: &PeerId, call: SubCall) {
        let to = place(to);
        match call {
            SubCall::Submit(what) => {
                let SubSubmit { mut submit, read } = *what;
                if let Some((run, seq)) = read {
                    let event =
                        self.nodes[node].bench.disk.event(run, seq).expect("an event that was acknowledged");
                    submit.inputs = event.event.payload().expect("inputs").clone();
                }
                self.ask_peer(node, to, Called::Submit(flight), Body::AskRuns(Op::Submit(submit)), SOON);
            }
            SubCall::Watch(run) => {
                let get = GetRun { id: run, wait_ms: WATCH, seen: None, steps: false };
                self.ask_peer(node, to, Called::Watch(flight), Body::AskRuns(Op::Get(get)), WATCH + 4000);
            }
            SubCall::Cancel { run, compensate } => self.cancel_part(node, to, run, compensate, 0),
        }
    }

    pub(super) fn cancel_part(&mut self, node: usize, to: usize, run: RunId, compensate: bool, tries: u32) {
        let action = RunAction::Cancel { reason: None, compensate };
        let op = Op::Control(ControlRun { id: run, action });
        self.ask_peer(node, to, Called::Cancel { run, compensate, tries }, Body::AskRuns(op), SOON);
    }

    pub(super) fn hand_over(&mut self, node: usize, what: &HandOver) {
        let disk = &self.nodes[node].bench.disk;
        let (header, events) = (disk.header(what.run).expect("a header"), disk.events(what.run));
        let history = Export::of(header, events).encode().unwrap();
        let (cid, len) = (Cid::of(&history), history.len() as u64);
        self.nodes[node].artifacts.insert(cid, history);
        let request = TakeOverRun { id: what.run, epoch: what.epoch, history: cid, len };
        let called = Called::TakeOver { run: what.run, epoch: what.epoch };
        self.ask_peer(node, place(&what.to), called, Body::AskRuns(Op::TakeOver(request)), TAKE_OVER);
    }

    pub(super) fn fetch(&mut self, node: usize, from: PeerId, what: TakeOverRun) {
        let (to, cid) = (place(&from), what.history);
        self.ask_peer(node, to, Called::Fetch { from, what }, Body::Fetch(cid), SOON);
    }

    /// The question that an answer is for, if its asker still lives.
    fn call_of(&mut self, node: usize, request: u64) -> Option<Call> {
        let this = &mut self.nodes[node];
        let call = this.calls.remove(&request)?;
        (this.up && call.life == this.lives.1).then_some(call)
    }

    /// A peer answered.
    pub(super) fn called(&mut self, node: usize, request: u64, answer: Answer) -> Result<(), String> {
        let Some(Call { to, what, .. }) = self.call_of(node, request) else { return Ok(()) };
        match (what, answer) {
            (Called::Submit(flight), Answer::Submitted(submitted)) => {
                self.part_answered(node, flight, SubAnswer::Placed(submitted.id))
            }
            (Called::Watch(flight), Answer::Run(shown)) if shown.view.state.is_finished() => {
                self.oracle.shown(&shown.view)?;
                self.part_answered(node, flight, SubAnswer::Ended(outcome(shown.view, peer(to))))
            }
            (Called::Watch(flight), Answer::Run(_)) => self.part_answered(node, flight, SubAnswer::Running),
            (Called::Watch(flight), Answer::Refused(WorkflowError::Moved { to, .. })) => {
                self.part_answered(node, flight, SubAnswer::Moved(to))
            }
            (Called::TakeOver { run, epoch }, Answer::TakenOver(_))
                if self.fault == Some(Fault::FalseRefusal) =>
            {
                let error = MeshError::new(ErrorCode::TooLarge, "it is too large");
                self.handed(node, run, epoch, Handed::Refused { error, never: true })
            }
            (Called::TakeOver { run, epoch }, Answer::TakenOver(TakenOver { epoch: taken }))
                if taken >= epoch =>
            {
                self.handed(node, run, epoch, Handed::Taken)
            }
            (what, Answer::Refused(error)) => {
                self.call_refused(node, to, what, &MeshError::from_coded(&error))
            }
            (Called::Cancel { .. }, Answer::Changed(_)) => Ok(()),
            (what, answer) => Err(format!("node {to} answers {what:?} with {answer:?}")),
        }
    }

    fn call_refused(
        &mut self,
        node: usize,
        to: usize,
        what: Called,
        error: &MeshError,
    ) -> Result<(), String> {
        let definite = is_definite(error);
        match what {
            Called::Cancel { .. } if definite => Ok(()),
            Called::Cancel { run, compensate, tries } if error.code == ErrorCode::Moved => {
                self.cancel_where_it_is(node, to, run, compensate, tries);
                Ok(())
            }
            Called::TakeOver { run, epoch } => self.handed(node, run, epoch, no(error.clone(), definite)),
            what => self.not_done(node, to, what, error.clone(), definite, false),
        }
    }

    /// A question was not answered in time, or could not be asked.
    pub(super) fn call_failed(&mut self, node: usize, request: u64, unsure: bool) -> Result<(), String> {
        let Some(Call { to, what, .. }) = self.call_of(node, request) else { return Ok(()) };
        let (code, text) = if unsure {
            (ErrorCode::Timeout, "it did not answer")
        } else {
            (ErrorCode::Unreachable, "it cannot be reached")
        };
        self.not_done(node, to, what, MeshError::new(code, text), false, unsure)
    }

    fn not_done(
        &mut self,
        node: usize,
        to: usize,
        what: Called,
        error: MeshError,
        definite: bool,
        unsure: bool,
    ) -> Result<(), String> {
        match what {
            Called::Submit(flight) | Called::Watch(flight) => {
                self.part_answered(node, flight, SubAnswer::Failed { error, definite, unsure })
            }
            Called::Cancel { run, compensate, tries } => {
                if tries + 1 < CANCELS {
                    let life = self.nodes[node].lives.1;
                    let tries = tries + 1;
                    self.after(250 << tries, Event::CancelPart { node, life, to, run, compensate, tries });
                }
                Ok(())
            }
            Called::TakeOver { run, epoch } => {
                self.handed(node, run, epoch, Handed::Failed { error, unsure })
            }
            Called::Fetch { from, what } => {
                let error = WorkflowError::Unavailable(error.to_string());
                self.runs(node, |state, turn| state.fetched_incoming(turn, &what, &from, Err(error)))
            }
        }
    }

    fn part_answered(&mut self, node: usize, flight: FlightId, answer: SubAnswer) -> Result<(), String> {
        self.runs(node, |state, turn| state.sub_answered(turn, flight, answer))
    }

    fn handed(&mut self, node: usize, run: RunId, epoch: u32, handed: Handed) -> Result<(), String> {
        self.runs(node, |state, turn| state.handed(turn, run, epoch, handed))
    }

    /// A part that is to be given up has moved: its new coordinator is told, unless that is this node, which finds it.
    fn cancel_where_it_is(&mut self, node: usize, at: usize, run: RunId, compensate: bool, tries: u32) {
        let moved = self.ledger.get(run, at).map(|history| history.run.phase.clone());
        let Some(Phase::Moved(to)) = moved else { return };
        let to = place(&to);
        if to != node && tries + 1 < CANCELS {
            self.cancel_part(node, to, run, compensate, tries + 1);
        }
    }

    /// The history of a run that is handed over has come, or its giver does not have it.
    pub(super) fn fetched(
        &mut self,
        node: usize,
        request: u64,
        history: Option<Bytes>,
    ) -> Result<(), String> {
        let Some(Call { what: Called::Fetch { from, what }, .. }) = self.call_of(node, request) else {
            return Ok(());
        };
        let bench = &mut self.nodes[node].bench;
        let result = match history {
            None => Err(WorkflowError::Unavailable("it has no such artifact".into())),
            Some(history) => {
                let Export { header, events } =
                    Export::decode(&history).map_err(|error| error.to_string())?;
                let document = bench.disk.payload(&header.definition);
                let workflow = bench.workflow(&document).map_err(|error| error.to_string())?;
                Ok(Stored { header, workflow, events })
            }
        };
        self.runs(node, |state, turn| state.fetched_incoming(turn, &what, &from, result))
    }
}
