//! Drives the state machine for stories: carries effects out against a [`Disk`] and a [`FakeQueue`], one after the other,
//! or in whatever order the story wants.

mod world;

use super::disk::Disk;
use super::fake_queue::FakeQueue;
use crate::workflow::definition::Workflow;
use crate::workflow::logic::{
    Answer, CheckId, CommitId, Coordinator, Effect, FlightId, HandOver, Op, Prepare, ReadId, ReadPlan,
    Refused, Setup, SubCall, SubSubmit, SubmitTask, Ticket, Turn, rebuild,
};
use crate::workflow::options::WorkflowOptions;
use meshwork_proto::canonical::to_canonical;
use meshwork_proto::store::{Acknowledge, Admission, StoreError, WriteOp};
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{
    ControlRun, GetRun, RunAction, RunChanged, RunSubmitted, RunView, SubmitRun, TakeOverRun, TaskEnded,
    WorkflowError,
};
use meshwork_proto::{Caller, Cid, Json, MeshError, PeerId, Role, RunId, TaskId, UnixMillis};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// When stories begin.
pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);
/// The node that coordinates.
pub(crate) const OWNER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
/// Another node.
pub(crate) const OTHER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

/// What was asked for outside and is not done yet.
#[derive(Debug)]
pub(crate) enum Pending {
    Commit { id: CommitId, ops: Vec<WriteOp>, acknowledge: Acknowledge, admission: Admission },
    Read(ReadId, ReadPlan),
    Load(RunId),
    Check(CheckId, Box<SubSubmit>),
    Prepare(Box<Prepare>),
    Submit(Box<SubmitTask>),
    Cancel(FlightId, TaskId),
    Watch(FlightId, TaskId),
    Ended(TaskEnded),
}

/// A coordinator under test.
pub(crate) struct Bench {
    pub options: WorkflowOptions,
    pub peer: PeerId,
    pub state: Coordinator,
    pub disk: Disk,
    pub queue: FakeQueue,
    pub now: UnixMillis,
    /// By how much the clock on the wall was set since the process began, in milliseconds.
    pub wall: i64,
    /// Everything outside is done as it comes.
    pub auto: bool,
    pub pending: VecDeque<Pending>,
    pub answers: BTreeMap<Ticket, Answer>,
    /// Calls to peers, which the story answers.
    pub calls: VecDeque<(FlightId, PeerId, SubCall)>,
    pub moves: VecDeque<HandOver>,
    pub fetches: VecDeque<(PeerId, TakeOverRun)>,
    pub fatal: Option<StoreError>,
    /// The queue was told so often that all steps are known.
    pub steps_known: usize,
    /// Commits that were sent.
    pub commits: usize,
    pub written: usize,
    definitions: BTreeMap<Cid, Arc<Workflow>>,
    /// How often it started: each start has other ids of runs.
    pub starts: u64,
    next_ticket: u64,
}

pub(crate) fn owner() -> PeerId {
    OWNER.parse().unwrap()
}

pub(crate) fn other() -> PeerId {
    OTHER.parse().unwrap()
}

pub(crate) fn member(peer: PeerId) -> Caller {
    Caller::Peer { peer, role: Role::Member }
}

fn canonical(value: &Value) -> Json {
    Json::from_checked(to_canonical(value).unwrap().into())
}

/// A submission of a definition with inputs.
pub(crate) fn submission(definition: &Value, inputs: &Value) -> SubmitRun {
    let (definition, inputs) = (canonical(definition), canonical(inputs));
    SubmitRun {
        definition_cid: Cid::of(definition.bytes()),
        definition: Payload::Inline(definition),
        inputs_cid: Cid::of(inputs.bytes()),
        inputs: Payload::Inline(inputs),
        target_peers: BTreeSet::new(),
        idempotency_key: None,
        allow_unknown_tools: true,
        parent: None,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(WorkflowOptions::default())
    }

    pub(crate) fn with(options: WorkflowOptions) -> Self {
        Self::at(owner(), options)
    }

    pub(crate) fn at(peer: PeerId, options: WorkflowOptions) -> Self {
        let mut bench = Self {
            state: fresh(&peer, &options, 1),
            peer,
            options,
            disk: Disk::default(),
            queue: FakeQueue::default(),
            now: START,
            wall: 0,
            auto: true,
            pending: VecDeque::new(),
            answers: BTreeMap::new(),
            calls: VecDeque::new(),
            moves: VecDeque::new(),
            fetches: VecDeque::new(),
            fatal: None,
            steps_known: 0,
            commits: 0,
            written: 0,
            definitions: BTreeMap::new(),
            starts: 1,
            next_ticket: 0,
        };
        bench.load();
        bench
    }

    /// The process ends and starts again: what was sent and not written is lost, and what the queue was told behind it.
    pub(crate) fn restart(&mut self) {
        self.queue.forget_behind(self.written);
        self.commits = self.written;
        self.rebuild();
    }

    /// As [`Bench::restart`], with another time on the clock.
    pub(crate) fn restart_at(&mut self, now: UnixMillis) {
        (self.now, self.wall) = (now, 0);
        self.restart();
    }

    fn rebuild(&mut self) {
        self.pending.clear();
        self.answers.clear();
        self.calls.clear();
        self.moves.clear();
        self.fetches.clear();
        self.fatal = None;
        self.steps_known = 0;
        self.starts += 1;
        self.state = fresh(&self.peer, &self.options, self.starts);
        self.load();
    }

    fn load(&mut self) {
        let counts = self.disk.get(&crate::workflow::records::counts_key());
        self.state.load_counts(counts.as_ref()).unwrap();
        for id in self.disk.active() {
            let stored = self.stored(id).expect("a run that is unfinished");
            self.state.load_run(Box::new(rebuild(id, &stored)));
        }
        self.turn(|state, turn| state.loaded(turn));
    }

    /// One call of the state machine, and what follows from it.
    pub(crate) fn turn(&mut self, call: impl FnOnce(&mut Coordinator, &mut Turn<'_>)) {
        self.one_turn(call);
        loop {
            if self.fatal.is_some() {
                // It is of no use any more, and sends nothing.
                return;
            }
            if self.state.wants_more() {
                self.one_turn(|state, turn| state.go_on(turn));
            } else if self.state.waiting_to_leave().0 {
                self.one_turn(|state, turn| state.flush(turn));
            } else if self.auto && !self.pending.is_empty() {
                self.perform(0);
            } else {
                return;
            }
        }
    }

    fn one_turn(&mut self, call: impl FnOnce(&mut Coordinator, &mut Turn<'_>)) {
        let mut out = Vec::new();
        let wall = UnixMillis(self.now.0.saturating_add_signed(self.wall));
        call(&mut self.state, &mut Turn { now: self.now, wall, out: &mut out });
        out.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Commit { id, ops, acknowledge, admission, then } => {
                self.commits += 1;
                self.pending.push_back(Pending::Commit { id, ops, acknowledge, admission });
                then.into_iter().for_each(|effect| self.carry_out(effect));
            }
            Effect::Read { id, plan } => self.pending.push_back(Pending::Read(id, plan)),
            Effect::Load(id) => self.pending.push_back(Pending::Load(id)),
            Effect::Check { id, submit } => self.pending.push_back(Pending::Check(id, submit)),
            Effect::Prepare(prepare) => self.pending.push_back(Pending::Prepare(prepare)),
            Effect::SubmitTask(task) => self.pending.push_back(Pending::Submit(task)),
            Effect::CancelTask { flight, task, .. } => self.pending.push_back(Pending::Cancel(flight, task)),
            Effect::WatchTask { flight, task } => self.pending.push_back(Pending::Watch(flight, task)),
            Effect::StepsKnown => self.steps_known += 1,
            Effect::CallSub { flight, peer, call } => self.calls.push_back((flight, peer, call)),
            Effect::HandOver(what) => self.moves.push_back(*what),
            Effect::Fetch { from, what } => self.fetches.push_back((from, what)),
            Effect::Answer(ticket, answer) => {
                assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered twice");
            }
            Effect::Note(_) => {}
            Effect::Fatal(error) => self.fatal = Some(error),
        }
    }

    /// Does one thing outside. Commits are written in their order, whichever is chosen.
    pub(crate) fn perform(&mut self, index: usize) {
        let is_commit = |pending: &Pending| matches!(pending, Pending::Commit { .. });
        let index = match self.pending.get(index) {
            Some(chosen) if is_commit(chosen) => self.pending.iter().position(is_commit).unwrap_or(index),
            _ => index,
        };
        let Some(pending) = self.pending.remove(index) else { return };
        match pending {
            Pending::Commit { id, ops, .. } => {
                self.disk.apply(&ops);
                self.written += 1;
                self.one_turn(|state, turn| state.on_commit(turn, id, Ok(())));
            }
            Pending::Read(id, plan) => {
                let found = self.disk.read(&plan);
                self.one_turn(|state, turn| state.on_read(turn, id, Ok(found)));
            }
            Pending::Load(id) => {
                let run = self.stored(id).map(|stored| Box::new(rebuild(id, &stored)));
                self.one_turn(|state, turn| state.fetched(turn, id, Ok(run)));
            }
            Pending::Check(id, what) => {
                let checked = self.check(&what);
                self.one_turn(|state, turn| state.checked(turn, id, checked));
            }
            Pending::Prepare(prepare) => {
                let prepared = self.prepare(&prepare);
                self.one_turn(|state, turn| state.prepared(turn, prepare.flight, prepared));
            }
            Pending::Submit(task) => self.submit_task(*task),
            Pending::Cancel(flight, task) => {
                let result = self.queue.cancel(task, self.commits).map_err(|error| Refused::of(&error));
                if self.queue.end_of(task).is_some() && result.is_ok() {
                    self.tell(task);
                }
                self.one_turn(|state, turn| state.asked_after(turn, flight, result));
            }
            Pending::Watch(flight, task) => {
                let result = self.queue.look(task).map_err(|error| Refused::of(&error));
                self.tell(task);
                self.one_turn(|state, turn| state.asked_after(turn, flight, result));
            }
            Pending::Ended(ended) => self.one_turn(|state, turn| state.task_ended(turn, ended)),
        }
    }

    fn submit_task(&mut self, task: SubmitTask) {
        let SubmitTask { flight, run, mut spec, read } = task;
        if let Some(seq) = read {
            let event = self.disk.event(run, seq).expect("an event that was acknowledged").event;
            spec.payload = event.payload().expect("an input").clone();
            spec.input_cid = Cid::of(self.disk.payload(&spec.payload).bytes());
        }
        let submitted = self.queue.submit(spec, self.commits);
        let (result, end) = match submitted {
            Ok((submitted, end)) => (Ok(submitted), end),
            Err(error) => (Err(Refused::of(&error)), None),
        };
        // Sometimes an end is told before the answer to the submission arrives.
        if let Some(end) = end {
            self.pending.push_front(Pending::Ended(end));
        }
        self.one_turn(|state, turn| state.submitted(turn, flight, result));
    }

    /// The coordinator is told how a task ended, if it did.
    pub(crate) fn tell(&mut self, task: TaskId) {
        if let Some(ended) = self.queue.end_of(task) {
            self.pending.push_back(Pending::Ended(ended));
        }
    }

    /// Everything outside is done, the oldest first.
    pub(crate) fn settle(&mut self) {
        while !self.pending.is_empty() {
            self.perform(0);
            self.turn(|_, _| {});
        }
    }

    /// Lets time pass; what is due meanwhile happens at its time.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = UnixMillis(self.now.0 + ms);
        while let Some(due) = self.state.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.turn(Coordinator::tick);
        }
        self.now = end;
    }

    pub(crate) fn ask_as(&mut self, caller: Caller, op: Op) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.turn(|state, turn| state.apply(turn, ticket, caller, op));
        ticket
    }

    pub(crate) fn ask(&mut self, op: Op) -> Ticket {
        self.ask_as(Caller::Local, op)
    }

    pub(crate) fn answered(&self, ticket: Ticket) -> bool {
        self.answers.contains_key(&ticket)
    }

    pub(crate) fn answer(&mut self, ticket: Ticket) -> Result<Answer, WorkflowError> {
        match self.answers.remove(&ticket).expect("an answer") {
            Answer::Refused(error) => Err(error),
            answer => Ok(answer),
        }
    }

    pub(crate) fn try_submit(&mut self, submit: SubmitRun) -> Result<RunSubmitted, WorkflowError> {
        let ticket = self.ask(Op::Submit(submit));
        match self.answer(ticket)? {
            Answer::Submitted(submitted) => Ok(submitted),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn submit(&mut self, definition: &Value, inputs: &Value) -> RunId {
        self.try_submit(submission(definition, inputs)).unwrap().id
    }

    pub(crate) fn try_get(&mut self, id: RunId) -> Result<RunView, WorkflowError> {
        let ticket = self.ask(Op::Get(GetRun { id, wait_ms: 0, seen: None, steps: true }));
        match self.answer(ticket)? {
            Answer::Run(shown) => Ok(shown.view),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn get(&mut self, id: RunId) -> RunView {
        self.try_get(id).unwrap()
    }

    pub(crate) fn control(&mut self, id: RunId, action: RunAction) -> Result<RunChanged, WorkflowError> {
        let ticket = self.ask(Op::Control(ControlRun { id, action }));
        match self.answer(ticket)? {
            Answer::Changed(changed) => Ok(changed),
            other => panic!("{other:?}"),
        }
    }

    /// The result of a completed run.
    pub(crate) fn output(&mut self, id: RunId) -> Value {
        let view = self.get(id);
        assert_eq!(view.error, None);
        self.disk.payload(&view.output.expect("a result")).to_value()
    }

    /// Queued tasks with the step that each is for.
    pub(crate) fn queued(&self) -> Vec<(TaskId, String)> {
        let queued = self.queue.queued();
        queued.into_iter().map(|id| (id, self.step_of(id))).collect()
    }

    /// The step, and the item, that a task is for: `name` or `name/3`.
    pub(crate) fn step_of(&self, id: TaskId) -> String {
        let metadata = self.queue.tasks[&id].spec.metadata.as_ref().unwrap().to_value();
        let undo = if metadata["compensation"] == true { "undo " } else { "" };
        let step = metadata["step"].as_str().unwrap();
        match metadata["item"].as_u64() {
            Some(item) => format!("{undo}{step}/{item}"),
            None => format!("{undo}{step}"),
        }
    }

    /// The arguments of a task.
    pub(crate) fn input_of(&self, id: TaskId) -> Value {
        self.disk.payload(&self.queue.tasks[&id].spec.payload).to_value()
    }

    /// The queued task of a step.
    pub(crate) fn task(&self, step: &str) -> TaskId {
        let queued = self.queued();
        let found = queued.iter().find(|(_, name)| name == step);
        found.unwrap_or_else(|| panic!("no task of {step} among {queued:?}")).0
    }

    /// A task ends.
    pub(crate) fn finish(&mut self, id: TaskId, result: Result<Value, MeshError>) {
        self.queue.finish(id, result, &format!("{OTHER}/00000001"));
        self.tell(id);
        self.turn(|_, _| {});
    }

    /// The task of a step completes.
    pub(crate) fn complete(&mut self, step: &str, output: Value) {
        let id = self.task(step);
        self.finish(id, Ok(output));
    }

    /// The task of a step fails.
    pub(crate) fn fail(&mut self, step: &str, message: &str) {
        let id = self.task(step);
        self.finish(id, Err(MeshError::new(meshwork_proto::ErrorCode::ToolFailed, message)));
    }

    /// Works on whatever is queued until nothing is: each task gives what `work` says.
    pub(crate) fn work(&mut self, mut work: impl FnMut(&str, &Value) -> Result<Value, MeshError>) {
        while let Some((id, step)) = self.queued().into_iter().next() {
            let result = work(&step, &self.input_of(id));
            self.finish(id, result);
        }
    }

    /// The kinds of what happened in a run, with the steps.
    pub(crate) fn history(&self, id: RunId) -> Vec<String> {
        let header = self.disk.header(id).unwrap();
        let document = self.disk.payload(&header.definition);
        let workflow = self.definitions.get(&Cid::of(document.bytes())).unwrap();
        let events = self.disk.events(id);
        let shown = events.iter().map(|(_, record)| match record.event.unit() {
            None => record.event.kind().to_owned(),
            Some(unit) => {
                let item = unit.item.map(|item| format!("/{item}")).unwrap_or_default();
                format!("{} {}{item}", record.event.kind(), workflow.steps[unit.step as usize].id)
            }
        });
        shown.collect()
    }
}

fn fresh(peer: &PeerId, options: &WorkflowOptions, seed: u64) -> Coordinator {
    Coordinator::new(Setup { options: options.clone(), local_peer: peer.clone(), seed })
}
