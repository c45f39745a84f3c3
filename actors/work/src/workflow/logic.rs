//! The coordinator as a pure state machine: requests, ends of tasks, evaluations, answers of the store and the passing of
//! time go in, effects come out.
//!
//! No clock, no I/O, no evaluation: whoever drives it (the actor, a simulator, the tests) passes the time in and carries
//! the [`Effect`]s out. Their results come back through the methods of [`Coordinator`].
//!
//! The state of a run is what its events say ([`run::Run::apply`]); everything else about it ([`live::Live`]) follows from
//! that and from what is under way. Deciding means: look at both, and write an event down. Events of one or more calls
//! leave together with [`Coordinator::flush`]; what is to be done about them goes with them, so that it is never done
//! before they were sent. New runs come into being when their commit is acknowledged, because the store may refuse them
//! for want of room; any other commit that fails ends this state ([`Effect::Fatal`]), and the next one is built from the
//! store.

mod control;
mod coordinate;
mod dag;
pub(crate) mod doc;
mod due;
mod end;
mod flight;
mod history;
mod io;
mod list;
mod live;
mod load;
mod outgoing;
mod prepare;
mod prepared;
mod prune;
pub(crate) mod pure;
mod replace;
mod run;
mod start;
mod stats;
mod sub;
mod submit;
pub(crate) mod take_over;
mod tasks;
mod undo;
mod units;
mod view;
mod waiters;

pub(crate) use io::{
    Answer, CheckId, Checked, CommitId, Effect, FlightId, Found, HandOver, Handed, Note, Op, PlacedPart,
    Prepare, Prepared, ReadId, ReadPlan, Shown, ShownTask, StepDoc, Stored, SubAnswer, SubCall, SubEnd,
    SubSubmit, SubmitTask, Ticket, Turn, Wanted, null,
};
pub(crate) use live::WHOLE;
#[cfg(test)]
pub(crate) use load::rebuild;
#[cfg(test)]
pub(crate) use run::Phase;
pub(crate) use run::Run;
pub(crate) use stats::Totals;
pub(crate) use tasks::{QUEUE_WITHIN, Refused};

use crate::workflow::options::WorkflowOptions;
use crate::workflow::records::Unit;
use live::{Flight, Live};
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{TaskEnded, WorkflowError};
use meshwork_proto::{Caller, Json, PeerId, RunId, TaskId, UnixMillis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Most units that are started in one turn: further ones come in the next, so that nobody waits for long.
const STARTS_PER_TURN: usize = 16;
/// Most due things worked off in one turn.
const DUE_PER_TURN: usize = 64;

/// A request on its way.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) caller: Caller,
    pub(crate) op: Op,
}

/// What follows when a commit is acknowledged.
#[derive(Debug)]
enum After {
    /// Answer.
    Answer(Ticket, Answer),
    /// The run comes into being.
    Arrived(Box<submit::Arrived>),
    /// The run's end may be told.
    Ended(RunId),
    /// The results of the items of a step can be read.
    Gather(RunId, crate::workflow::definition::StepIx),
    /// Everything of a run is written: it can be handed over.
    Export(RunId),
    /// A run that was taken over goes on.
    TakenOver(Box<replace::Incoming>),
    /// A sub-workflow at a peer can be given up: that its run ends is on the disk.
    CancelSub { peer: PeerId, run: RunId, compensate: bool },
    /// These documents can be read from the store.
    Written(Vec<(RunId, u64)>),
    /// Pruning may go on.
    PruneMore,
    /// The queue may forget steps that ended before the start.
    StepsKnown,
}

/// What follows when a read is done.
#[derive(Debug)]
enum Reading {
    /// A submission looks its key up.
    Key(Box<submit::Asker>, bytes::Bytes),
    /// A known key's run is not in memory: how did it end?
    Existing(Box<submit::Asker>, RunId),
    /// A list looks for finished runs.
    List(Box<list::ListJob>),
    /// Somebody reads what happened.
    History(Box<history::HistoryJob>),
    /// What may be pruned?
    PruneRuns,
    /// Headers and summaries of the runs that are pruned.
    PruneHeads(Vec<prune::Pruning>),
    /// Events of a run that is pruned.
    PruneEvents(prune::Pruning),
    /// Which results of pure steps may be pruned?
    PrunePure,
    /// The results of pure steps that are pruned.
    PurePage(Vec<prune::PureAge>),
}

/// What a state is made from.
pub(crate) struct Setup {
    pub options: WorkflowOptions,
    pub local_peer: PeerId,
    pub seed: u64,
}

/// The coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    options: WorkflowOptions,
    local_peer: PeerId,
    rng: ChaCha8Rng,
    /// Every unfinished run, and some finished ones.
    runs: BTreeMap<RunId, Box<Live>>,
    flights: HashMap<FlightId, Flight>,
    by_task: HashMap<TaskId, FlightId>,
    /// Sub-workflows that are coordinated here, and the units that wait for them.
    children: HashMap<RunId, FlightId>,
    /// Ends of tasks that came before the answer to their submission.
    early: HashMap<TaskId, TaskEnded>,
    /// Attempts from before the start of which the queue has not said yet where they stand.
    unheard: BTreeSet<FlightId>,
    /// There are none any more, and the queue was told.
    steps_known: bool,
    /// Submissions of tasks that are not answered yet.
    unanswered: usize,
    next_number: u64,
    /// Runs that have something to start, in turn.
    turns: VecDeque<RunId>,
    /// Runs that had their turn and found no place, those with the least under way first.
    crowded: BTreeSet<(u32, RunId)>,
    /// Units that take a place in the queue.
    in_flight: u32,
    /// Runs that wait for their place, in the order of their submission.
    pending: BTreeSet<(UnixMillis, RunId)>,
    /// The first thing that is due of each run.
    due: BTreeSet<(UnixMillis, RunId)>,
    /// Tasks under way by when they are asked after, roughly in order.
    watch: VecDeque<(UnixMillis, FlightId)>,
    /// Idempotency keys that are looked up or being committed, with the submissions that wait for the outcome.
    keys: BTreeMap<bytes::Bytes, Vec<submit::Asker>>,
    checks: BTreeMap<CheckId, Box<submit::Asker>>,
    commits: BTreeMap<CommitId, Vec<After>>,
    reads: BTreeMap<ReadId, Reading>,
    /// Runs that are being taken over, with whom to answer.
    incoming: BTreeMap<RunId, take_over::Receiving>,
    /// Hand-overs that were refused for good.
    refusals: take_over::Refusals,
    /// Runs that are read from the store, with what waits for them.
    fetching: BTreeMap<RunId, Vec<load::Awaiting>>,
    outgoing: outgoing::Outgoing,
    /// Larger documents of events that are not acknowledged yet.
    unwritten: HashMap<(RunId, u64), Json>,
    counts: stats::Counts,
    totals: Totals,
    /// Finished runs in memory and how many steps they have, the oldest first.
    done: VecDeque<(RunId, usize)>,
    done_steps: usize,
    waits: waiters::Waits,
    prune: prune::Prune,
    draining: bool,
    stalled: bool,
    loading: bool,
    dead: Option<StoreError>,
}

impl Coordinator {
    /// A coordinator without runs; fill it with what the store holds before anything else (see
    /// [`Coordinator::load_run`]).
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { options, local_peer, seed } = setup;
        Self {
            options,
            local_peer,
            rng: ChaCha8Rng::seed_from_u64(seed),
            runs: BTreeMap::new(),
            flights: HashMap::new(),
            by_task: HashMap::new(),
            children: HashMap::new(),
            early: HashMap::new(),
            unheard: BTreeSet::new(),
            steps_known: false,
            unanswered: 0,
            next_number: 0,
            turns: VecDeque::new(),
            crowded: BTreeSet::new(),
            in_flight: 0,
            pending: BTreeSet::new(),
            due: BTreeSet::new(),
            watch: VecDeque::new(),
            keys: BTreeMap::new(),
            checks: BTreeMap::new(),
            commits: BTreeMap::new(),
            reads: BTreeMap::new(),
            incoming: BTreeMap::new(),
            refusals: take_over::Refusals::default(),
            fetching: BTreeMap::new(),
            outgoing: outgoing::Outgoing::default(),
            unwritten: HashMap::new(),
            counts: stats::Counts::default(),
            totals: Totals::default(),
            done: VecDeque::new(),
            done_steps: 0,
            waits: waiters::Waits::default(),
            prune: prune::Prune::default(),
            draining: false,
            stalled: false,
            loading: true,
            dead: None,
        }
    }

    /// Takes a request up. It is answered now or by a later call, exactly once.
    pub(crate) fn apply(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, op: Op) {
        self.route(turn, Asked { ticket, caller, op });
        self.settle(turn);
    }

    /// A commit was acknowledged, or failed.
    pub(crate) fn on_commit(&mut self, turn: &mut Turn<'_>, id: CommitId, result: Result<(), StoreError>) {
        let Some(after) = self.commits.remove(&id) else { return };
        match result {
            Ok(()) => after.into_iter().for_each(|after| self.follow(turn, after)),
            Err(error) => self.undo_commit(turn, after, error),
        }
        self.settle(turn);
    }

    /// A read is done, or failed.
    pub(crate) fn on_read(&mut self, turn: &mut Turn<'_>, id: ReadId, result: Result<Found, StoreError>) {
        let Some(reading) = self.reads.remove(&id) else { return };
        match reading {
            Reading::Key(asker, key) => self.on_key(turn, *asker, &key, result),
            Reading::Existing(asker, run) => self.on_existing(turn, *asker, run, result),
            Reading::List(job) => self.on_list(turn, *job, result),
            Reading::History(job) => self.on_history(turn, *job, result),
            Reading::PruneRuns => self.on_prune_runs(turn, result),
            Reading::PruneHeads(due) => self.on_prune_heads(turn, due, result),
            Reading::PruneEvents(pruning) => self.on_prune_events(turn, pruning, result),
            Reading::PrunePure => self.on_prune_pure(turn, result),
            Reading::PurePage(ages) => self.on_pure_page(turn, &ages, result),
        }
        self.settle(turn);
    }

    /// Does what is due; call it again at [`Coordinator::next_due`].
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if self.loading || self.dead.is_some() {
            return;
        }
        self.work_off_due(turn);
        self.end_waits(turn);
        if !self.stalled {
            self.watch_tasks(turn);
            self.prune_if_due(turn);
        }
        self.settle(turn);
    }

    /// When [`Coordinator::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        if self.loading || self.dead.is_some() {
            return None;
        }
        let runs = self.due.first().map(|(at, _)| *at);
        let watch = self.watch.front().map(|(at, _)| *at).filter(|_| !self.stalled);
        let prune = self.prune.next_due().filter(|_| !self.stalled);
        [runs, watch, prune, self.waits.next_due()].into_iter().flatten().min()
    }

    /// Whether something can be done at once that was left so that others have their turn: call
    /// [`Coordinator::go_on`].
    pub(crate) fn wants_more(&self) -> bool {
        let idle = self.loading || self.stalled || self.dead.is_some();
        !idle && self.has_turns()
    }

    /// Does some of what was left.
    pub(crate) fn go_on(&mut self, turn: &mut Turn<'_>) {
        self.settle(turn);
    }

    /// Whether the store is behind: then nothing is started, because that would add to what waits to be written.
    pub(crate) fn set_stalled(&mut self, turn: &mut Turn<'_>, stalled: bool) {
        self.stalled = stalled;
        self.settle(turn);
    }

    /// The asker of this ticket has gone. Whether it waited: then it does so no more, and gets no answer.
    pub(crate) fn forget(&mut self, ticket: Ticket) -> bool {
        self.forget_wait(ticket)
    }

    /// Numbers since the start.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Units that take a place in the queue.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// A run that is in memory.
    #[cfg(test)]
    pub(crate) fn peek(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id).map(|live| &live.run)
    }

    fn route(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        if let Some(error) = &self.dead {
            let told = match asked.op {
                // It was not even looked for.
                Op::TakeOver(_) => WorkflowError::Unavailable(error.to_string()),
                _ => error.clone().into(),
            };
            return turn.refuse(asked.ticket, told);
        }
        let Asked { ticket, caller, op } = asked;
        match op {
            Op::Submit(submit) => self.submit(turn, submit::Asker::request(ticket, caller, submit)),
            Op::List(list) => self.list(turn, ticket, caller, list),
            Op::TakeOver(what) => self.take_over(turn, ticket, &caller, what),
            op @ (Op::Get(_) | Op::Control(_) | Op::Dag(_) | Op::History(_) | Op::Coordinate(_)) => {
                self.on_run(turn, Asked { ticket, caller, op });
            }
        }
    }

    /// A request about one run: in memory, on its way into it, or in the store.
    fn on_run(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Some(id) = asked.op.run() else { return };
        let Some(live) = self.runs.get_mut(&id) else {
            return self.fetch(turn, id, load::Awaiting::Request(Box::new(asked)));
        };
        let Asked { ticket, caller, op } = asked;
        if !live.run.may_be_touched_by(&caller) && !live.may_be_read_by(&caller, &op) {
            return turn.refuse(ticket, WorkflowError::UnknownRun(id));
        }
        if live.ending {
            // How it ended may not be told before it is on the disk.
            return live.parked.push(Asked { ticket, caller, op });
        }
        if let run::Phase::Moved(to) = &live.run.phase {
            return turn.refuse(ticket, WorkflowError::Moved { id, to: to.clone() });
        }
        match op {
            Op::Get(get) => self.get(turn, ticket, get),
            Op::Control(control) => self.control(turn, ticket, &caller, control),
            Op::Dag(_) => self.dag(turn, ticket, id),
            Op::History(get) => self.history(turn, ticket, get),
            Op::Coordinate(coordinate) => self.coordinate(turn, ticket, &caller, coordinate),
            Op::Submit(_) | Op::List(_) | Op::TakeOver(_) => {}
        }
    }

    fn follow(&mut self, turn: &mut Turn<'_>, after: After) {
        match after {
            After::Answer(ticket, answer) => turn.answer(ticket, answer),
            After::Arrived(arrived) => self.arrived(turn, *arrived),
            After::Ended(id) => self.end_written(turn, id),
            After::Gather(id, step) => self.gather(turn, id, step),
            After::Export(id) => self.export(turn, id),
            After::TakenOver(incoming) => self.taken_over(turn, *incoming),
            After::CancelSub { peer, run, compensate } => Self::cancel_sub(turn, peer, run, compensate),
            After::Written(documents) => {
                for document in documents {
                    self.unwritten.remove(&document);
                }
            }
            After::PruneMore => self.prune.go_on(),
            After::StepsKnown => turn.out.push(Effect::StepsKnown),
        }
    }

    /// A commit failed. What is not in memory yet and was refused (no room, or more at once than the store takes) is as
    /// if it had never been asked; everything else is in memory but not in the store.
    fn undo_commit(&mut self, turn: &mut Turn<'_>, after: Vec<After>, error: StoreError) {
        let refused = matches!(error, StoreError::DiskFull { .. } | StoreError::InvalidBatch(_));
        let not_applied = after.iter().all(|after| matches!(after, After::Arrived(_) | After::TakenOver(_)));
        if !refused || !not_applied || after.is_empty() {
            return self.fail(turn, error);
        }
        for after in after {
            match after {
                After::Arrived(arrived) => self.refuse_arrival(turn, *arrived, &error),
                After::TakenOver(incoming) => self.not_taken(turn, &incoming, &error),
                _ => {}
            }
        }
    }

    fn fail(&mut self, turn: &mut Turn<'_>, error: StoreError) {
        if self.dead.is_none() {
            self.dead = Some(error.clone());
            turn.out.push(Effect::Fatal(error));
        }
    }

    /// Lets runs take their places, and starts what can be started.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        if self.loading || self.dead.is_some() {
            return;
        }
        if !self.steps_known && self.unheard.is_empty() {
            self.steps_known = true;
            // When what they ended with is on the disk.
            self.after(After::StepsKnown);
        }
        self.promote(turn);
        self.pump(turn);
    }

    fn read(&mut self, turn: &mut Turn<'_>, plan: ReadPlan, reading: Reading) {
        let id = ReadId(self.number());
        self.reads.insert(id, reading);
        turn.out.push(Effect::Read { id, plan });
    }

    /// A number that was never given before.
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
