//! Schedules as a pure state machine: requests, answers and the passing of time go in, effects come out.
//!
//! No clock, no I/O: whoever drives it passes the time on the wall in (it may jump) and carries the [`Effect`]s out.
//!
//! One start goes through these steps, each of which may be the last one before a crash:
//! 1. with `no_overlap`, whether the last start has finished is asked ([`Effect::Look`]);
//! 2. that the start begins is written ([`ProgressRecord::begun`]);
//! 3. it is made, with an idempotency key that names the schedule and the time ([`Effect::Start`]);
//! 4. what was made is written, and the cursor moves to the time: everything up to it is dealt with.
//!
//! A crash before 2 leaves the time due. After one behind it the same start is made again under the same key, which
//! gives what the first try made: a time is never started twice.

mod add;
mod control;
mod entry;
mod fire;
mod io;
mod load;
mod time;

pub(crate) use entry::Entry;
pub(crate) use io::{Answer, CommitId, Effect, Failure, Note, Op, Ticket, Turn};

use super::options::ScheduleOptions;
use super::records::ProgressRecord;
use entry::Work;
use meshwork_kit::Backoff;
use meshwork_proto::codec::CodecError;
use meshwork_proto::schedule::{ListSchedules, ScheduleError};
use meshwork_proto::store::{Acknowledge, Admission, StoreError, WriteOp};
use meshwork_proto::{Caller, ScheduleId, UnixMillis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most starts under way at a time: at midnight many schedules are due together.
const MAX_UNDER_WAY: usize = 64;
/// Most schedules taken up in one turn.
const TAKEN_UP_PER_TURN: usize = 256;
/// A start that could not be made for now is tried so often; the waits between make half a minute.
const MAX_TRIES: u32 = 6;
/// Waits between tries.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(30));

/// Waits until it is durable.
const DURABLE: (Acknowledge, Admission) = (Acknowledge::Durable, Admission::Accepted);
/// Nobody waits for it: it is made up for after a crash.
const WRITTEN: (Acknowledge, Admission) = (Acknowledge::Written, Admission::Accepted);
/// New work.
const NEW: (Acknowledge, Admission) = (Acknowledge::Durable, Admission::New);

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
    /// The schedule comes into being.
    Insert(Box<Entry>, Ticket),
    /// That a start begins is written: it is made.
    Make(ScheduleId),
}

/// All schedules.
#[derive(Debug)]
pub(crate) struct Schedules {
    options: ScheduleOptions,
    rng: ChaCha8Rng,
    entries: BTreeMap<ScheduleId, Entry>,
    names: BTreeMap<String, ScheduleId>,
    /// Names of schedules that are being written, with the requests that wait for the outcome.
    adding: BTreeMap<String, Vec<Asked>>,
    /// When which schedule has something to do, in the order of time.
    order: BTreeSet<(UnixMillis, ScheduleId)>,
    /// Starts between the first question and their record.
    under_way: usize,
    commits: BTreeMap<CommitId, Vec<After>>,
    next_commit: u64,
    /// How far schedules are whose own record has not been read yet.
    arriving: BTreeMap<ScheduleId, ProgressRecord>,
    /// The latest look at the clock.
    seen: UnixMillis,
    loading: bool,
    dead: Option<StoreError>,
}

impl Schedules {
    /// None; fill it with what the store holds before anything else (see [`Schedules::load_page`]).
    pub(crate) fn new(options: ScheduleOptions, seed: u64) -> Self {
        Self {
            options,
            rng: ChaCha8Rng::seed_from_u64(seed),
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            adding: BTreeMap::new(),
            order: BTreeSet::new(),
            under_way: 0,
            commits: BTreeMap::new(),
            next_commit: 0,
            arriving: BTreeMap::new(),
            seen: UnixMillis::default(),
            loading: true,
            dead: None,
        }
    }

    /// Takes a request up. It is answered now or by a later call, exactly once.
    pub(crate) fn apply(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, op: Op) {
        self.route(turn, Asked { ticket, caller, op });
        self.go_on(turn);
    }

    fn route(&mut self, turn: &mut Turn<'_>, asked: Asked) {
        let Asked { ticket, caller, op } = asked;
        if let Some(error) = &self.dead {
            return turn.refuse(ticket, error.clone());
        }
        match op {
            Op::Add(add) => self.add(turn, ticket, caller, add),
            Op::List(list) => self.list(turn, ticket, &caller, &list),
            Op::Control(control) => self.control(turn, ticket, &caller, control),
        }
    }

    /// A commit was acknowledged, or failed.
    pub(crate) fn on_commit(&mut self, turn: &mut Turn<'_>, id: CommitId, result: Result<(), StoreError>) {
        let Some(after) = self.commits.remove(&id) else { return };
        match result {
            Ok(()) => {
                for after in after {
                    match after {
                        After::Answer(ticket, answer) => turn.answer(ticket, answer),
                        After::Insert(entry, ticket) => self.insert_added(turn, *entry, ticket),
                        After::Make(id) => self.make(turn, id),
                    }
                }
            }
            Err(error) => self.undo(turn, after, error),
        }
        self.go_on(turn);
    }

    /// A commit failed. A new schedule that the disk has no room for is as if it had never been asked for; anything else
    /// is in memory but not in the store.
    fn undo(&mut self, turn: &mut Turn<'_>, after: Vec<After>, error: StoreError) {
        let new = after.iter().all(|after| matches!(after, After::Insert(..))) && !after.is_empty();
        if !new || !matches!(error, StoreError::DiskFull { .. }) {
            return self.fail(turn, error);
        }
        for after in after {
            if let After::Insert(entry, ticket) = after {
                turn.refuse(ticket, error.clone());
                self.release_name(turn, &entry.record.name);
            }
        }
    }

    fn fail(&mut self, turn: &mut Turn<'_>, error: StoreError) {
        if self.dead.is_none() {
            self.dead = Some(error.clone());
            turn.out.push(Effect::Fatal(error));
        }
    }

    fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        ops: Result<Vec<WriteOp>, CodecError>,
        how: (Acknowledge, Admission),
        after: Vec<After>,
    ) {
        match ops {
            // What is in memory is not in the store any more: nothing that follows from it may get there.
            Ok(_) if self.dead.is_some() => {}
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

    fn list(&self, turn: &mut Turn<'_>, ticket: Ticket, caller: &Caller, list: &ListSchedules) {
        let wanted = |name: &String| list.name.as_ref().is_none_or(|wanted| wanted == name);
        let entries = self.names.iter().filter(|(name, _)| wanted(name));
        let entries = entries.filter_map(|(_, id)| self.entries.get(id));
        let visible = entries.filter(|entry| caller.may_touch(entry.record.submitter.as_ref()));
        let views: Vec<_> = visible.map(Entry::view).collect();
        match &list.name {
            Some(name) if views.is_empty() => turn.refuse(ticket, ScheduleError::Unknown(name.clone())),
            _ => turn.answer(ticket, Answer::List(views)),
        }
    }

    /// How many there are, and how many of them are paused.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.values().filter(|entry| entry.progress.paused).count())
    }

    /// Starts under way, and those that wait for their next try.
    pub(crate) fn starting(&self) -> (usize, usize) {
        let waiting = self.entries.values().filter(|entry| matches!(entry.work, Work::Waiting { .. }));
        (self.under_way, waiting.count())
    }
}
