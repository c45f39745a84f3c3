//! Drives the state machine for stories: carries effects out against a [`Disk`], acknowledging commits at once or when
//! the story says so.

use super::disk::Disk;
use crate::queue::logic::{
    Answer, CommitId, Effect, FenceSource, Mutant, Op, QueueState, ReadId, ReadPlan, Setup, Ticket, Turn,
};
use crate::queue::options::QueueOptions;
use crate::queue::records::counts_key;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{
    Cancel, Claim, Claimed, Finish, Finished, GetTask, LeaseReport, List, Offer, Outcome, QueueError,
    QueueStats, Renew, Renewal, Resubmit, Submitted, TaskChanges, TaskPage, Update, WatchTask,
};
use meshwork_proto::store::{Acknowledge, Admission, Family, StoreError, WriteOp};
use meshwork_proto::task::{Payload, TaskGrant, TaskSpec, TaskView};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{
    Caller, Cid, ErrorCode, Fence, Json, MeshError, PeerId, Role, TaskId, UnixMillis, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// When stories begin.
pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);
/// The node that owns the queue.
pub(crate) const OWNER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
/// Another node.
pub(crate) const OTHER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

/// A commit that is not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Sent {
    pub id: CommitId,
    pub ops: Vec<WriteOp>,
    pub acknowledge: Acknowledge,
    pub admission: Admission,
}

/// A queue under test.
pub(crate) struct Bench {
    pub options: QueueOptions,
    pub state: QueueState,
    pub disk: Disk,
    pub now: UnixMillis,
    /// Commits are acknowledged as they come.
    pub auto: bool,
    /// The coordinator of workflows knows of all its steps as soon as the queue is there.
    pub coordinator: bool,
    /// Reads are done as they come.
    pub reads: bool,
    pub sent: VecDeque<Sent>,
    pub reading: VecDeque<(ReadId, ReadPlan)>,
    pub answers: BTreeMap<Ticket, Answer>,
    pub gone: BTreeSet<Ticket>,
    pub stops: Vec<(WorkerId, StopTask)>,
    /// What the coordinator was told.
    pub ended: Vec<TaskEnded>,
    pub fatal: Option<StoreError>,
    /// What is wrong on purpose.
    pub mutant: Option<Mutant>,
    fences: FenceSource,
    epoch: u32,
    starts: u64,
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

/// A task for this tool.
pub(crate) fn task(tool: &str) -> TaskSpec {
    let payload = Json::from_value(&serde_json::json!({"text": "hello"}));
    let cid = Cid::of(payload.bytes());
    TaskSpec::new(tool, payload, cid)
}

/// What a worker without labels offers that has room for ten calls of each of these tools.
pub(crate) fn offer(tools: &[&str]) -> Offer {
    Offer { tools: tools.iter().map(|tool| ((*tool).to_owned(), 10)).collect(), labels: BTreeSet::new() }
}

pub(crate) fn labels(labels: &[&str]) -> BTreeSet<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

/// A result.
pub(crate) fn done() -> Outcome {
    let output = Json::from_value(&serde_json::json!({"done": true}));
    let output_cid = Cid::of(output.bytes());
    Outcome::Completed { output: Payload::Inline(output), output_cid }
}

/// A failure after which another attempt may help.
pub(crate) fn failed() -> Outcome {
    Outcome::Failed { error: MeshError::new(ErrorCode::ToolFailed, "it broke"), retry: true }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(QueueOptions::default())
    }

    pub(crate) fn with(options: QueueOptions) -> Self {
        let fences = FenceSource::new(1);
        let mut bench = Self {
            state: fresh(&options, &fences, 1),
            options,
            disk: Disk::default(),
            now: START,
            auto: true,
            coordinator: true,
            reads: true,
            sent: VecDeque::new(),
            reading: VecDeque::new(),
            answers: BTreeMap::new(),
            gone: BTreeSet::new(),
            stops: Vec::new(),
            ended: Vec::new(),
            fatal: None,
            mutant: None,
            fences,
            epoch: 1,
            starts: 1,
            next_ticket: 0,
        };
        bench.load(true);
        bench
    }

    /// The process ends and starts again: what was not acknowledged is lost, the epoch is raised.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        self.fences = FenceSource::new(self.epoch);
        self.rebuild(true);
    }

    /// Only the actor restarts: what was sent is written, fences go on.
    pub(crate) fn restart_actor(&mut self) {
        while let Some(sent) = self.sent.pop_front() {
            self.disk.apply(&sent.ops);
        }
        self.rebuild(false);
    }

    fn rebuild(&mut self, new_process: bool) {
        self.sent.clear();
        self.reading.clear();
        self.answers.clear();
        self.fatal = None;
        self.starts += 1;
        self.state = fresh(&self.options, &self.fences, self.starts);
        self.state.mutate(self.mutant);
        self.load(new_process);
    }

    fn load(&mut self, new_process: bool) {
        let counts = self.disk.get(Family::Tasks, &counts_key());
        self.state.load_counts(counts.as_ref()).unwrap();
        self.state.load_states(&self.disk.entries(Family::Leases)).unwrap();
        self.state.load_routes(self.now, &self.disk.entries(Family::Ready)).unwrap();
        self.turn(|state, turn| {
            assert_eq!(state.loaded(turn, new_process), 0, "states without tasks");
        });
        if self.coordinator {
            self.turn(|state, turn| state.steps_known(turn));
        }
    }

    /// One call of the state machine, and everything that follows from it.
    pub(crate) fn turn(&mut self, call: impl FnOnce(&mut QueueState, &mut Turn<'_>)) {
        let mut out = Vec::new();
        {
            let gone = |ticket: Ticket| self.gone.contains(&ticket);
            call(&mut self.state, &mut Turn { now: self.now, gone: &gone, out: &mut out });
        }
        for effect in out {
            match effect {
                Effect::Commit { id, ops, acknowledge, admission } => {
                    self.sent.push_back(Sent { id, ops, acknowledge, admission });
                }
                Effect::Read { id, plan } => self.reading.push_back((id, plan)),
                Effect::Answer(ticket, answer) => {
                    assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered twice");
                }
                Effect::Stop { worker, stop } => self.stops.push((worker, stop)),
                Effect::Ended(ended) => self.ended.push(*ended),
                Effect::Note(_) => {}
                Effect::Fatal(error) => self.fatal = Some(error),
            }
        }
        if self.auto && !self.sent.is_empty() {
            self.acknowledge();
        }
        if self.reads {
            self.read_next();
        }
    }

    /// The oldest commit is written and acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        let sent = self.sent.pop_front().expect("a commit waits");
        self.disk.apply(&sent.ops);
        self.turn(|state, turn| state.on_commit(turn, sent.id, Ok(())));
    }

    /// The oldest commit fails.
    pub(crate) fn refuse(&mut self, error: StoreError) {
        let sent = self.sent.pop_front().expect("a commit waits");
        self.turn(|state, turn| state.on_commit(turn, sent.id, Err(error)));
    }

    pub(crate) fn read_next(&mut self) {
        if let Some((id, plan)) = self.reading.pop_front() {
            let found = self.disk.read(&plan);
            self.turn(|state, turn| state.on_read(turn, id, Ok(found)));
        }
    }

    /// The oldest read fails.
    pub(crate) fn fail_read(&mut self) {
        let (id, _) = self.reading.pop_front().expect("a read waits");
        let error = StoreError::Database("bad sector".into());
        self.turn(|state, turn| state.on_read(turn, id, Err(error)));
    }

    /// Lets time pass; what is due meanwhile happens at its time.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = UnixMillis(self.now.0 + ms);
        while let Some(due) = self.state.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.turn(QueueState::tick);
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

    pub(crate) fn answer(&mut self, ticket: Ticket) -> Result<Answer, QueueError> {
        match self.answers.remove(&ticket).expect("an answer") {
            Answer::Refused(error) => Err(error),
            answer => Ok(answer),
        }
    }

    pub(crate) fn submitted(&mut self, ticket: Ticket) -> Result<Submitted, QueueError> {
        match self.answer(ticket)? {
            Answer::Submitted(submitted) => Ok(submitted),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_submit(&mut self, spec: TaskSpec) -> Result<Submitted, QueueError> {
        let ticket = self.ask(Op::Submit(spec));
        self.submitted(ticket)
    }

    pub(crate) fn try_step(&mut self, spec: TaskSpec) -> Result<Submitted, QueueError> {
        let ticket = self.ask(Op::Step(spec));
        self.submitted(ticket)
    }

    pub(crate) fn watch(&mut self, id: TaskId) -> Result<Submitted, QueueError> {
        let ticket = self.ask(Op::Watch(WatchTask { id }));
        self.submitted(ticket)
    }

    pub(crate) fn submit(&mut self, spec: TaskSpec) -> TaskId {
        self.try_submit(spec).unwrap().id
    }

    pub(crate) fn worker(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    pub(crate) fn claim_ticket(&mut self, worker: &str, offer: Offer, credits: u32, wait_ms: u64) -> Ticket {
        self.ask(Op::Claim(Claim { worker: Self::worker(worker), offer, credits, wait_ms }))
    }

    pub(crate) fn claimed(&mut self, ticket: Ticket) -> Claimed {
        match self.answer(ticket).unwrap() {
            Answer::Claimed(claimed) => claimed,
            other => panic!("{other:?}"),
        }
    }

    /// Claims without waiting.
    pub(crate) fn claim(&mut self, worker: &str, tools: &[&str], credits: u32) -> Vec<TaskGrant> {
        let ticket = self.claim_ticket(worker, offer(tools), credits, 0);
        self.claimed(ticket).grants
    }

    /// Claims one task that must be there.
    pub(crate) fn claim_one(&mut self, worker: &str, tool: &str) -> TaskGrant {
        let mut grants = self.claim(worker, &[tool], 1);
        assert_eq!(grants.len(), 1, "one grant");
        grants.remove(0)
    }

    pub(crate) fn finish_ticket(
        &mut self,
        worker: &str,
        id: TaskId,
        fence: Fence,
        outcome: Outcome,
    ) -> Ticket {
        self.ask(Op::Finish(Finish { id, fence, worker: Self::worker(worker), outcome }))
    }

    pub(crate) fn finish(
        &mut self,
        worker: &str,
        grant: &TaskGrant,
        outcome: Outcome,
    ) -> Result<Finished, QueueError> {
        let ticket = self.finish_ticket(worker, grant.id, grant.fence, outcome);
        match self.answer(ticket)? {
            Answer::Finished(finished) => Ok(finished),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn renew(&mut self, worker: &str, grant: &TaskGrant) -> Renewal {
        let lease = LeaseReport { id: grant.id, fence: grant.fence, progress: None };
        let ticket = self.ask(Op::Renew(Renew { worker: Self::worker(worker), leases: vec![lease] }));
        match self.answer(ticket).unwrap() {
            Answer::Renewed(renewals) => renewals[0],
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, id: TaskId, reason: &str) -> Result<Submitted, QueueError> {
        let ticket = self.ask(Op::Cancel(Cancel { id, reason: Some(reason.into()) }));
        self.submitted(ticket)
    }

    pub(crate) fn resubmit(&mut self, id: TaskId) -> Result<Submitted, QueueError> {
        let ticket = self.ask(Op::Resubmit(Resubmit { id, delay_ms: 0 }));
        self.submitted(ticket)
    }

    pub(crate) fn update(&mut self, id: TaskId, changes: TaskChanges) -> Result<TaskView, QueueError> {
        let ticket = self.ask(Op::Update(Update { id, changes }));
        self.task(ticket)
    }

    pub(crate) fn task(&mut self, ticket: Ticket) -> Result<TaskView, QueueError> {
        match self.answer(ticket)? {
            Answer::Task(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn try_get(&mut self, id: TaskId) -> Result<TaskView, QueueError> {
        let ticket = self.ask(Op::Get(GetTask { id, wait_ms: 0 }));
        self.task(ticket)
    }

    pub(crate) fn get(&mut self, id: TaskId) -> TaskView {
        self.try_get(id).unwrap()
    }

    pub(crate) fn list_as(&mut self, caller: Caller, list: List) -> TaskPage {
        let ticket = self.ask_as(caller, Op::List(list));
        match self.answer(ticket).unwrap() {
            Answer::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stats(&mut self) -> QueueStats {
        let ticket = self.ask(Op::Stats { detail: true });
        match self.answer(ticket).unwrap() {
            Answer::Stats(stats) => *stats,
            other => panic!("{other:?}"),
        }
    }
}

fn fresh(options: &QueueOptions, fences: &FenceSource, seed: u64) -> QueueState {
    let (options, fences) = (options.clone(), fences.clone());
    QueueState::new(Setup { options, local_peer: owner(), fences, seed, draining: false })
}
