//! The queue as a pure state machine: requests, answers of the store and the passing of time go in, effects come out.
//!
//! No clock, no I/O: whoever drives it (the actor, the simulator, the tests) passes the time in and carries the
//! [`Effect`]s out. Reads and writes are effects too; their results come back through [`QueueState::on_read`] and
//! [`QueueState::on_commit`]. An answer that promises something is only given when the commit behind it has been
//! acknowledged.
//!
//! Changes are applied first and committed then, in the order in which they were applied, with two exceptions that
//! the store may refuse because the disk is full: a submission and a resubmission come into being when their commit is
//! acknowledged. Any other commit that fails ends this state ([`Effect::Fatal`]): the next one is built from the store.

mod attempt;
mod busy;
mod cache;
mod cancel;
mod change;
mod claim;
mod due;
mod fence;
mod finish;
mod io;
mod lanes;
mod lease;
mod list;
mod load;
mod mutant;
mod names;
#[cfg(test)]
mod peek;
mod prune;
mod read;
mod stats;
mod submit;
mod table;
mod waiters;
mod watch;
mod workers;

pub(crate) use fence::FenceSource;
pub(crate) use io::{Answer, CommitId, Effect, Found, Note, Op, ReadId, ReadPlan, Ticket, Turn};
#[cfg(test)]
pub(crate) use mutant::Mutant;
#[cfg(test)]
pub(crate) use peek::{Peek, live_size};
pub(crate) use stats::Totals;

use crate::queue::options::QueueOptions;
use crate::queue::records::{Batch, StateRecord};
use bytes::Bytes;
use meshwork_proto::queue::QueueError;
use meshwork_proto::store::{Acknowledge, Admission, StoreError};
use meshwork_proto::{Caller, PeerId, TaskId, UnixMillis, WorkerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use submit::Submission;

/// Most due entries worked off in one turn.
const DUE_PER_TURN: usize = 256;

/// A request on its way.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    caller: Caller,
    op: Op,
}

/// What follows when a commit is acknowledged.
#[derive(Debug)]
enum After {
    /// Answer.
    Answer(Ticket, Answer),
    /// The task comes into being.
    Insert(Box<submit::Insertion>),
    /// The task may be worked on again.
    Unbusy(TaskId),
    /// Answer with the task as it is.
    View(Ticket, Caller, TaskId),
    /// Pruning may go on.
    PruneMore,
}

/// What follows when a read is done.
#[derive(Debug)]
enum Reading {
    /// A submission looks its key up.
    Idempotency { submission: Box<submit::Submission>, key: Bytes },
    /// A known key's task is finished: how?
    Existing { ticket: Ticket, id: TaskId },
    /// A claim needs specifications.
    Grants(Box<claim::Delivery>),
    /// A request about a task that is not in memory.
    Finished(Box<Asked>, u8),
    /// A reader needs the specification of an unfinished task.
    View { ticket: Ticket, caller: Caller, id: TaskId },
    /// A list looks for finished tasks.
    List(Box<list::ListJob>),
    /// What may be pruned?
    PruneScan,
    /// What belongs to the tasks that are pruned?
    Prune(Vec<(UnixMillis, TaskId)>),
}

/// What a state is made from.
pub(crate) struct Setup {
    pub options: QueueOptions,
    pub local_peer: PeerId,
    pub fences: FenceSource,
    pub seed: u64,
    /// Whether new work is refused from the start, because a state before this one did so.
    pub draining: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct QueueState {
    options: QueueOptions,
    local_peer: PeerId,
    fences: FenceSource,
    rng: ChaCha8Rng,
    next_seq: u64,
    next_commit: u64,
    next_read: u64,
    tasks: table::Table,
    names: names::Names,
    lanes: lanes::Lanes,
    due: due::Due,
    /// Ready tasks, the longest waiting first.
    ready_since: BTreeSet<(UnixMillis, table::Slot)>,
    /// Leased tasks.
    leased: BTreeMap<TaskId, table::Slot>,
    /// Tasks with a commit or read under way that decides their fate; requests for them wait.
    busy: BTreeMap<TaskId, busy::Busy>,
    /// Idempotency keys that are looked up or being committed, with the requests that wait for the outcome.
    keys: BTreeMap<Bytes, Vec<Asked>>,
    /// Submissions that are not acknowledged yet.
    pending: u64,
    commits: BTreeMap<CommitId, Vec<After>>,
    reads: BTreeMap<ReadId, Reading>,
    workers: workers::Workers,
    waiters: waiters::Waiters,
    getters: waiters::Getters,
    cache: cache::SpecCache,
    counts: stats::Counts,
    totals: Totals,
    /// States that were loaded and wait for their routes.
    arriving: BTreeMap<TaskId, StateRecord>,
    prune_at: UnixMillis,
    pruning: bool,
    draining: bool,
    stalled: bool,
    loading: bool,
    dead: Option<StoreError>,
    #[cfg(test)]
    mutant: Option<Mutant>,
}

impl QueueState {
    /// An empty queue; fill it with what the store holds before anything else (see [`QueueState::load_states`]).
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { options, local_peer, fences, seed, draining } = setup;
        Self {
            lanes: lanes::Lanes::new(options.tenant_limit),
            cache: cache::SpecCache::new(options.spec_cache_bytes),
            options,
            local_peer,
            fences,
            rng: ChaCha8Rng::seed_from_u64(seed),
            next_seq: 1,
            next_commit: 0,
            next_read: 0,
            tasks: table::Table::default(),
            names: names::Names::default(),
            due: due::Due::default(),
            ready_since: BTreeSet::new(),
            leased: BTreeMap::new(),
            busy: BTreeMap::new(),
            keys: BTreeMap::new(),
            pending: 0,
            commits: BTreeMap::new(),
            reads: BTreeMap::new(),
            workers: workers::Workers::default(),
            waiters: waiters::Waiters::default(),
            getters: waiters::Getters::default(),
            counts: stats::Counts::default(),
            totals: Totals::default(),
            arriving: BTreeMap::new(),
            prune_at: UnixMillis::default(),
            pruning: false,
            draining,
            stalled: false,
            loading: true,
            dead: None,
            #[cfg(test)]
            mutant: None,
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
            Err(error) => self.undo(turn, after, error),
        }
        self.settle(turn);
    }

    /// A read is done, or failed.
    pub(crate) fn on_read(&mut self, turn: &mut Turn<'_>, id: ReadId, result: Result<Found, StoreError>) {
        let Some(reading) = self.reads.remove(&id) else { return };
        match reading {
            Reading::Idempotency { submission, key } => self.on_idempotency(turn, *submission, key, result),
            Reading::Existing { ticket, id } => self.on_existing(turn, ticket, id, result),
            Reading::Grants(delivery) => self.on_specs(turn, *delivery, result),
            Reading::Finished(asked, tries) => self.on_finished_task(turn, *asked, tries, result),
            Reading::View { ticket, caller, id } => self.on_view(turn, ticket, caller, id, result),
            Reading::List(job) => self.on_list(turn, *job, result),
            Reading::PruneScan => self.on_prune_scan(turn, result),
            Reading::Prune(ids) => self.on_prune_read(turn, ids, result),
        }
        self.settle(turn);
    }

    /// Does what is due; call it again at [`QueueState::next_due`].
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if self.loading || self.dead.is_some() {
            return;
        }
        if !self.stalled {
            self.work_off_due(turn);
            self.prune_if_due(turn);
        }
        self.end_waits(turn);
        self.nudge_if_due(turn);
        self.settle(turn);
    }

    /// When [`QueueState::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        if self.loading || self.dead.is_some() {
            return None;
        }
        let waits = [self.waiters.next_due(), self.getters.next_due()];
        let prune = (!self.pruning && !self.stalled).then_some(self.prune_at);
        let tasks = if self.stalled { None } else { self.due.next() };
        waits.into_iter().chain([prune, tasks]).flatten().min()
    }

    /// Whether the store is behind: then nothing is granted and nothing that is due is worked off, because both
    /// would add to what waits to be written.
    pub(crate) fn set_stalled(&mut self, turn: &mut Turn<'_>, stalled: bool) {
        if self.stalled && !stalled {
            self.lanes.mark_all();
        }
        self.stalled = stalled;
        self.settle(turn);
    }

    /// The asker of this ticket has gone. Whether it waited: then it does so no more, and gets no answer.
    pub(crate) fn forget(&mut self, ticket: Ticket) -> bool {
        self.waiters.forget(ticket) || self.getters.forget(ticket)
    }

    /// Numbers since the start.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    fn route(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Asked { ticket, caller, op } = asked;
        if let Some(error) = &self.dead {
            return turn.refuse(ticket, error.clone());
        }
        match op {
            Op::Submit(spec) => self.submit(turn, Submission { ticket, caller, spec, watched: false }),
            Op::Step(spec) => self.submit(turn, Submission { ticket, caller, spec, watched: true }),
            Op::Claim(claim) => self.claim(turn, ticket, &caller, claim),
            Op::Renew(renew) => self.renew(turn, ticket, &caller, renew),
            Op::List(list) => self.list(turn, ticket, caller, list),
            Op::Stats { detail } => self.stats(turn, ticket, detail),
            Op::Drain => self.drain(turn, ticket, &caller),
            op @ (Op::Finish(_)
            | Op::Cancel(_)
            | Op::Update(_)
            | Op::Resubmit(_)
            | Op::Get(_)
            | Op::Watch(_)) => self.on_task(turn, Asked { ticket, caller, op }),
        }
    }

    /// A request about one task: in memory, with something under way, or finished.
    fn on_task(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Some(id) = asked.op.task() else { return };
        if let Some(busy) = self.busy.get_mut(&id) {
            busy.parked.push(asked);
            return;
        }
        let Some(slot) = self.tasks.find(id) else {
            return self.read_finished(turn, asked, id);
        };
        let Asked { ticket, caller, op } = asked;
        match op {
            Op::Finish(finish) => self.finish_live(turn, ticket, &caller, finish, slot),
            Op::Cancel(cancel) => self.cancel_live(turn, ticket, &caller, cancel, slot),
            Op::Update(update) => self.update_live(turn, ticket, caller, update, slot),
            Op::Resubmit(_) => self.resubmit_live(turn, ticket, &caller, id, slot),
            Op::Get(get) => self.get_live(turn, ticket, caller, get, slot),
            Op::Watch(_) => self.watch_live(turn, ticket, &caller, slot),
            Op::Submit(_)
            | Op::Step(_)
            | Op::Claim(_)
            | Op::Renew(_)
            | Op::List(_)
            | Op::Stats { .. }
            | Op::Drain => {}
        }
    }

    fn follow(&mut self, turn: &mut Turn<'_>, after: After) {
        match after {
            After::Answer(ticket, answer) => turn.answer(ticket, answer),
            After::Insert(insertion) => self.insert_accepted(turn, *insertion),
            After::Unbusy(id) => self.unbusy(turn, id),
            After::View(ticket, caller, id) => self.view(turn, ticket, caller, id),
            After::PruneMore => self.pruning = false,
        }
    }

    /// A commit failed. What is not in memory yet and was refused for want of room is as if it had never been asked;
    /// everything else is in memory but not in the store.
    fn undo(&mut self, turn: &mut Turn<'_>, after: Vec<After>, error: StoreError) {
        let refused = matches!(error, StoreError::DiskFull { .. });
        let not_applied = after.iter().all(|after| matches!(after, After::Insert(_)));
        if !refused || !not_applied || after.is_empty() {
            return self.fail(turn, error);
        }
        for after in after {
            if let After::Insert(insertion) = after {
                self.refuse_insertion(turn, *insertion, &error);
            }
        }
    }

    fn fail(&mut self, turn: &mut Turn<'_>, error: StoreError) {
        if self.dead.is_none() {
            self.dead = Some(error.clone());
            turn.out.push(Effect::Fatal(error));
        }
    }

    /// Gives what came into the open to whoever waits for it.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        while self.may_grant() {
            let Some(class) = self.lanes.take_dirty() else { return };
            self.serve(turn, class);
        }
    }

    fn may_grant(&self) -> bool {
        !self.draining && !self.stalled && !self.loading && self.dead.is_none()
    }

    fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        batch: Batch,
        how: (Acknowledge, Admission),
        after: Vec<After>,
    ) {
        match batch.into_ops() {
            Ok(ops) => {
                let id = CommitId(self.next_commit);
                self.next_commit += 1;
                self.commits.insert(id, after);
                let (acknowledge, admission) = how;
                turn.out.push(Effect::Commit { id, ops, acknowledge, admission });
            }
            Err(error) => self.fail(turn, StoreError::Corrupt(error.to_string())),
        }
    }

    fn read(&mut self, turn: &mut Turn<'_>, plan: ReadPlan, reading: Reading) {
        let id = ReadId(self.next_read);
        self.next_read += 1;
        self.reads.insert(id, reading);
        turn.out.push(Effect::Read { id, plan });
    }
}

/// Work that was accepted, acknowledged when it is durable.
const DURABLE: (Acknowledge, Admission) = (Acknowledge::Durable, Admission::Accepted);
/// Work that was accepted; nobody waits for it.
const WRITTEN: (Acknowledge, Admission) = (Acknowledge::Written, Admission::Accepted);
/// New work.
const NEW: (Acknowledge, Admission) = (Acknowledge::Durable, Admission::New);

/// A worker may only be spoken for by its own peer, or by this node's own clients.
fn check_worker(caller: &Caller, worker: &WorkerId) -> Result<(), QueueError> {
    match caller.peer() {
        Some(peer) if !belongs_to(worker, peer) => {
            Err(QueueError::Forbidden(format!("worker {worker} is not one of peer {peer}")))
        }
        _ => Ok(()),
    }
}

/// Whether the worker is one of this peer's.
fn belongs_to(worker: &WorkerId, peer: &PeerId) -> bool {
    worker.as_str().split_once('/').is_some_and(|(owner, _)| owner == peer.as_str())
}
