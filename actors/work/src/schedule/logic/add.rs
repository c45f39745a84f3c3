//! Making schedules.

use super::io::{Answer, Op, Ticket, Turn};
use super::{After, Asked, Entry, NEW, Schedules};
use crate::schedule::records::{Key, ProgressRecord, ScheduleRecord, holder, put};
use crate::schedule::timing::Times;
use meshwork_proto::codec::CodecError;
use meshwork_proto::schedule::{AddSchedule, ScheduleError, Scheduled};
use meshwork_proto::store::WriteOp;
use meshwork_proto::task::{INLINE_LIMIT, MAX_NAME, Payload};
use meshwork_proto::{Caller, ScheduleId, UnixMillis};
use rand::Rng;

/// Most peers that a workflow's steps may be limited to.
const MAX_TARGETS: usize = 64;

impl Schedules {
    pub(super) fn add(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, add: AddSchedule) {
        if let Err(error) = check_name(&add.name).and_then(|()| check_what(&add.what)) {
            return turn.refuse(ticket, error);
        }
        if let Some(waiting) = self.adding.get_mut(&add.name) {
            // What becomes of the first request decides what becomes of this one. Bounded by the port.
            waiting.push(Asked { ticket, caller, op: Op::Add(add) });
            return;
        }
        if let Some(entry) = self.names.get(&add.name).and_then(|id| self.entries.get(id)) {
            let same = is_same(&entry.record, &add) && entry.record.submitter.as_ref() == caller.peer();
            return match same {
                true => turn.answer(ticket, Answer::View(Box::new(entry.view()))),
                false => turn.refuse(ticket, ScheduleError::NameTaken { name: add.name }),
            };
        }
        let max = self.options.max_schedules;
        if self.entries.len() + self.adding.len() >= max as usize {
            return turn.refuse(ticket, ScheduleError::Full { max });
        }
        let times = match Times::read(&add.timing, turn.now) {
            Ok(times) => times,
            Err(error) => return turn.refuse(ticket, error),
        };
        let id = self.new_id(turn.now);
        let AddSchedule { name, timing, missed, no_overlap, what } = add;
        let (submitter, created) = (caller.peer().cloned(), turn.now);
        let record = ScheduleRecord { name, timing, missed, no_overlap, what, submitter, created };
        let progress = ProgressRecord {
            cursor: turn.now,
            paused: false,
            begun: None,
            made: None,
            last: Vec::new(),
            starts: 0,
            skipped: 0,
        };
        let ops = first_records(id, &record, &progress);
        self.adding.insert(record.name.clone(), Vec::new());
        let entry = Entry::new(id, record, times, progress);
        self.commit(turn, ops, NEW, vec![After::Insert(Box::new(entry), ticket)]);
    }

    /// The schedule's commit was acknowledged: it exists.
    pub(super) fn insert_added(&mut self, turn: &mut Turn<'_>, entry: Entry, ticket: Ticket) {
        turn.answer(ticket, Answer::View(Box::new(entry.view())));
        let name = entry.record.name.clone();
        self.insert(entry);
        self.release_name(turn, &name);
    }

    /// Puts a schedule into memory.
    pub(super) fn insert(&mut self, entry: Entry) {
        let id = entry.id;
        self.names.insert(entry.record.name.clone(), id);
        self.entries.insert(id, entry);
        self.place(id);
    }

    /// Nobody decides about this name any more: requests that waited for it go on.
    pub(super) fn release_name(&mut self, turn: &mut Turn<'_>, name: &str) {
        for asked in self.adding.remove(name).unwrap_or_default() {
            self.route(turn, asked);
        }
    }

    fn new_id(&mut self, now: UnixMillis) -> ScheduleId {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        ScheduleId::from_parts(now, random)
    }
}

fn is_same(record: &ScheduleRecord, add: &AddSchedule) -> bool {
    record.timing == add.timing
        && record.missed == add.missed
        && record.no_overlap == add.no_overlap
        && record.what == add.what
}

fn first_records(
    id: ScheduleId,
    record: &ScheduleRecord,
    progress: &ProgressRecord,
) -> Result<Vec<WriteOp>, CodecError> {
    let mut ops = vec![put(Key::Schedule(id), record)?, put(Key::Progress(id), progress)?];
    ops.extend(record.artifacts().into_iter().map(|cid| WriteOp::Pin { cid, holder: holder(id) }));
    Ok(ops)
}

fn invalid(field: &'static str, problem: impl Into<String>) -> ScheduleError {
    ScheduleError::Invalid { field, problem: problem.into() }
}

fn check_name(name: &str) -> Result<(), ScheduleError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let shown: String = name.chars().take(80).collect();
        let problem = format!("{shown:?} is not a name: expected 1 to {MAX_NAME} visible characters");
        return Err(invalid("name", problem));
    }
    if name.parse::<ScheduleId>().is_ok() {
        // Schedules are found by id and by name: the one must not look like the other.
        return Err(invalid("name", format!("{name:?} looks like the id of a schedule: use another name")));
    }
    Ok(())
}

fn check_what(what: &Scheduled) -> Result<(), ScheduleError> {
    let own_key = "must not be given: each start has a key of its own, made of the schedule and the time";
    match what {
        Scheduled::Task(spec) => {
            spec.check().map_err(|error| invalid(error.field, error.problem))?;
            check_payload("payload", &spec.payload)?;
            if spec.idempotency_key.is_some() { Err(invalid("idempotency_key", own_key)) } else { Ok(()) }
        }
        Scheduled::Workflow(run) => {
            check_payload("workflow", &run.definition)?;
            check_payload("inputs", &run.inputs)?;
            if run.idempotency_key.is_some() {
                return Err(invalid("idempotency_key", own_key));
            }
            if run.parent.is_some() {
                return Err(invalid("parent", "must not be given: a scheduled run is a part of no other"));
            }
            if run.target_peers.len() > MAX_TARGETS {
                let problem = format!("{} are too many: at most {MAX_TARGETS}", run.target_peers.len());
                return Err(invalid("target_peers", problem));
            }
            Ok(())
        }
    }
}

/// The limit of what is stored as an artifact is that of the queue or the coordinator, which checks it at each start.
fn check_payload(field: &'static str, payload: &Payload) -> Result<(), ScheduleError> {
    match payload {
        Payload::Inline(json) if json.is_empty() => {
            Err(invalid(field, "has 0 bytes: expected a JSON document"))
        }
        Payload::Inline(json) if json.len() > INLINE_LIMIT => {
            let problem = format!("of {} bytes is larger than the limit of {INLINE_LIMIT} bytes", json.len());
            Err(invalid(field, problem))
        }
        Payload::Inline(_) | Payload::Stored { .. } => Ok(()),
    }
}
