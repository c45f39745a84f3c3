//! Drives the state machine for stories: effects are carried out at once, or one by one when the story says so.

use crate::schedule::logic::{Answer, Effect, Failure, Note, Op, Schedules, Ticket, Turn};
use crate::schedule::options::ScheduleOptions;
use crate::schedule::records::Made;
use bytes::Bytes;
use meshwork_proto::schedule::{
    AddSchedule, ControlSchedule, ListSchedules, Missed, ScheduleAction, ScheduleError, ScheduleView,
    Scheduled, Timing,
};
use meshwork_proto::store::{Admission, StoreError, WriteOp};
use meshwork_proto::task::TaskSpec;
use meshwork_proto::workflow::SubmitRun;
use meshwork_proto::{Caller, Cid, ErrorCode, Json, MeshError, PeerId, Role, RunId, TaskId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// When stories begin: 2023-11-14T22:13:20Z.
pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;

/// What is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) entries: BTreeMap<Bytes, Bytes>,
    pub(super) pins: BTreeSet<(Cid, Bytes)>,
}

impl Disk {
    pub(super) fn apply(&mut self, ops: &[WriteOp]) {
        for op in ops.iter().cloned() {
            match op {
                WriteOp::Put { key, value, .. } => drop(self.entries.insert(key, value)),
                WriteOp::Delete { key, .. } => drop(self.entries.remove(&key)),
                WriteOp::Pin { cid, holder } => drop(self.pins.insert((cid, holder))),
                WriteOp::Unpin { cid, holder } => drop(self.pins.remove(&(cid, holder))),
            }
        }
    }
}

/// A submission that made something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Creation {
    pub(super) key: String,
    pub(super) at: UnixMillis,
    pub(super) caller: Caller,
    pub(super) made: Made,
}

/// The queue and the coordinator.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) created: Vec<Creation>,
    pub(super) finished: BTreeSet<u128>,
    /// Answers to the next submissions.
    pub(super) refusals: VecDeque<Failure>,
    /// Answers to the next looks.
    pub(super) unseen: VecDeque<Failure>,
}

fn number(made: Made) -> u128 {
    match made {
        Made::Task(id) => u128::from_be_bytes(*id.as_bytes()),
        Made::Run(id) => u128::from_be_bytes(*id.as_bytes()),
    }
}

impl Outside {
    fn submit(&mut self, at: UnixMillis, caller: Caller, what: &Scheduled) -> Result<Made, Failure> {
        let key = match what {
            Scheduled::Task(spec) => spec.idempotency_key.clone().unwrap(),
            Scheduled::Workflow(run) => run.idempotency_key.clone().unwrap(),
        };
        if let Some(refusal) = self.refusals.pop_front() {
            return Err(refusal);
        }
        if let Some(known) = self.created.iter().find(|creation| creation.key == key) {
            return Ok(known.made);
        }
        let bytes = (self.created.len() as u128 + 1).to_be_bytes();
        let made = match what {
            Scheduled::Task(_) => Made::Task(TaskId::from_bytes(bytes)),
            Scheduled::Workflow(_) => Made::Run(RunId::from_bytes(bytes)),
        };
        self.created.push(Creation { key, at, caller, made });
        Ok(made)
    }

    pub(super) fn is_finished(&self, made: Made) -> bool {
        self.finished.contains(&number(made))
    }

    pub(super) fn finish_all(&mut self) {
        self.finished = self.created.iter().map(|creation| number(creation.made)).collect();
    }

    /// Due times of starts by the schedule's times, in milliseconds since the beginning of the story.
    pub(super) fn dues(&self) -> Vec<u64> {
        let due = |creation: &Creation| creation.key.rsplit('/').next().unwrap().parse::<u64>().ok();
        self.created.iter().filter_map(due).map(|due| due - START.0).collect()
    }
}

/// A scheduler under test.
pub(super) struct Bench {
    pub(super) options: ScheduleOptions,
    pub(super) state: Schedules,
    pub(super) disk: Disk,
    pub(super) outside: Outside,
    pub(super) now: UnixMillis,
    /// Effects are carried out as they come.
    pub(super) auto: bool,
    pub(super) pending: VecDeque<Effect>,
    pub(super) answers: BTreeMap<Ticket, Answer>,
    pub(super) notes: Vec<Note>,
    pub(super) fatal: Option<StoreError>,
    next_ticket: u64,
    starts: u64,
}

pub(super) fn peer(n: usize) -> PeerId {
    let peers = [
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo",
    ];
    peers[n].parse().unwrap()
}

pub(super) fn member(n: usize) -> Caller {
    Caller::Peer { peer: peer(n), role: Role::Member }
}

pub(super) fn json(text: &'static str) -> Json {
    Json::from_checked(Bytes::from_static(text.as_bytes()))
}

pub(super) fn task() -> TaskSpec {
    TaskSpec::new("echo", json("{\"text\":\"hello\"}"), Cid::of(b"{\"text\":\"hello\"}"))
}

pub(super) fn run() -> SubmitRun {
    SubmitRun {
        definition: meshwork_proto::task::Payload::Inline(json("{\"name\":\"greet\",\"steps\":[]}")),
        definition_cid: Cid::of(b"definition"),
        inputs: meshwork_proto::task::Payload::Inline(json("{}")),
        inputs_cid: Cid::of(b"{}"),
        target_peers: BTreeSet::new(),
        idempotency_key: None,
        allow_unknown_tools: false,
        parent: None,
    }
}

/// A task every so many milliseconds.
pub(super) fn every(interval_ms: u64) -> AddSchedule {
    AddSchedule {
        name: "tick".into(),
        timing: Timing::Every { interval_ms },
        missed: Missed::Once,
        no_overlap: false,
        what: Scheduled::Task(task()),
    }
}

/// A task by the clock in a zone.
pub(super) fn cron(expression: &str, timezone: &str) -> AddSchedule {
    AddSchedule {
        timing: Timing::Cron { expression: expression.into(), timezone: timezone.into() },
        ..every(1000)
    }
}

/// Something that may be otherwise soon.
pub(super) fn busy() -> Failure {
    Failure { error: MeshError::new(ErrorCode::QueueFull, "queue is full"), again: true }
}

/// Something that stays so.
pub(super) fn forbidden() -> Failure {
    Failure { error: MeshError::new(ErrorCode::Forbidden, "not you"), again: false }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(ScheduleOptions::default())
    }

    pub(super) fn with(options: ScheduleOptions) -> Self {
        let mut bench = Self {
            state: Schedules::new(options.clone(), 1),
            options,
            disk: Disk::default(),
            outside: Outside::default(),
            now: START,
            auto: true,
            pending: VecDeque::new(),
            answers: BTreeMap::new(),
            notes: Vec::new(),
            fatal: None,
            next_ticket: 0,
            starts: 1,
        };
        bench.turn(|state, turn| state.loaded(turn));
        bench
    }

    /// The process ends: what was not carried out never will be. It starts again from the disk.
    pub(super) fn restart(&mut self) {
        self.starts += 1;
        self.state = Schedules::new(self.options.clone(), self.starts);
        self.pending.clear();
        self.answers.clear();
        self.fatal = None;
        let page: Vec<_> = self.disk.entries.clone().into_iter().collect();
        for page in page.chunks(3) {
            assert_eq!(self.state.load_page(page).unwrap(), Vec::<String>::new());
        }
        self.turn(|state, turn| state.loaded(turn));
    }

    /// The node is down for a while.
    pub(super) fn down(&mut self, ms: u64) {
        self.now = UnixMillis(self.now.0 + ms);
        self.restart();
    }

    /// One call of the state machine, and everything that follows from it.
    pub(super) fn turn(&mut self, call: impl FnOnce(&mut Schedules, &mut Turn<'_>)) {
        let mut out = Vec::new();
        call(&mut self.state, &mut Turn { now: self.now, out: &mut out });
        for effect in out {
            match effect {
                Effect::Answer(ticket, answer) => {
                    assert!(self.answers.insert(ticket, answer).is_none(), "{ticket:?} is answered twice");
                }
                Effect::Note(note) => self.notes.push(note),
                Effect::Fatal(error) => self.fatal = Some(error),
                effect => self.pending.push_back(effect),
            }
        }
        while self.auto && self.step() {}
    }

    /// Carries the oldest effect out; false when there is none.
    pub(super) fn step(&mut self) -> bool {
        let Some(effect) = self.pending.pop_front() else { return false };
        match effect {
            Effect::Commit { id, ops, .. } => {
                self.disk.apply(&ops);
                self.turn(|state, turn| state.on_commit(turn, id, Ok(())));
            }
            Effect::Look { id, made } => {
                let seen = self.outside.unseen.pop_front().map_or(Ok(self.outside.is_finished(made)), Err);
                self.turn(|state, turn| state.on_looked(turn, id, seen));
            }
            Effect::Start { id, caller, what } => {
                let made = self.outside.submit(self.now, caller, &what);
                self.turn(|state, turn| state.on_started(turn, id, made));
            }
            Effect::Answer(..) | Effect::Note(_) | Effect::Fatal(_) => {}
        }
        true
    }

    /// The oldest effect is carried out, and nobody hears of it.
    pub(super) fn step_unheard(&mut self) {
        match self.pending.pop_front() {
            Some(Effect::Commit { ops, .. }) => self.disk.apply(&ops),
            Some(Effect::Start { caller, what, .. }) => drop(self.outside.submit(self.now, caller, &what)),
            _ => {}
        }
    }

    /// The oldest effect is a commit: it fails.
    pub(super) fn refuse_commit(&mut self, error: StoreError) {
        let Some(Effect::Commit { id, admission, .. }) = self.pending.pop_front() else {
            panic!("no commit waits")
        };
        assert!(admission == Admission::New || !matches!(error, StoreError::DiskFull { .. }));
        self.turn(|state, turn| state.on_commit(turn, id, Err(error)));
    }

    /// Lets time pass; what is due meanwhile happens at its time.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = UnixMillis(self.now.0 + ms);
        while let Some(due) = self.state.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.turn(Schedules::tick);
        }
        self.now = end;
    }

    /// Sets the clock on the wall.
    pub(super) fn set_clock(&mut self, by_ms: i64) {
        self.now = UnixMillis(self.now.0.saturating_add_signed(by_ms));
        self.turn(Schedules::tick);
    }

    pub(super) fn ask_as(&mut self, caller: Caller, op: Op) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.turn(|state, turn| state.apply(turn, ticket, caller, op));
        ticket
    }

    pub(super) fn answer(&mut self, ticket: Ticket) -> Result<Answer, ScheduleError> {
        match self.answers.remove(&ticket).expect("an answer") {
            Answer::Refused(error) => Err(error),
            answer => Ok(answer),
        }
    }

    pub(super) fn view(&mut self, ticket: Ticket) -> Result<ScheduleView, ScheduleError> {
        match self.answer(ticket)? {
            Answer::View(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn try_add_as(
        &mut self,
        caller: Caller,
        add: AddSchedule,
    ) -> Result<ScheduleView, ScheduleError> {
        let ticket = self.ask_as(caller, Op::Add(add));
        self.view(ticket)
    }

    pub(super) fn try_add(&mut self, add: AddSchedule) -> Result<ScheduleView, ScheduleError> {
        self.try_add_as(Caller::Local, add)
    }

    pub(super) fn add(&mut self, add: AddSchedule) -> ScheduleView {
        self.try_add(add).unwrap()
    }

    pub(super) fn control_ticket(&mut self, caller: Caller, which: &str, action: ScheduleAction) -> Ticket {
        self.ask_as(caller, Op::Control(ControlSchedule { which: which.into(), action }))
    }

    pub(super) fn control(&mut self, action: ScheduleAction) -> Result<ScheduleView, ScheduleError> {
        let ticket = self.control_ticket(Caller::Local, "tick", action);
        self.view(ticket)
    }

    pub(super) fn list_as(
        &mut self,
        caller: Caller,
        name: Option<&str>,
    ) -> Result<Vec<ScheduleView>, ScheduleError> {
        let ticket = self.ask_as(caller, Op::List(ListSchedules { name: name.map(Into::into) }));
        match self.answer(ticket)? {
            Answer::List(views) => Ok(views),
            other => panic!("{other:?}"),
        }
    }

    /// The schedule that most stories are about.
    pub(super) fn tick(&mut self) -> ScheduleView {
        self.list_as(Caller::Local, Some("tick")).unwrap().remove(0)
    }

    /// The earliest moment of a day, in milliseconds since the beginning of the story.
    pub(super) fn dues(&self) -> Vec<u64> {
        self.outside.dues()
    }
}
