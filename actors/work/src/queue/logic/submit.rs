//! Accepting tasks.

use super::lanes::ClassSpec;
use super::table::{Live, Stage};
use super::{After, Answer, Asked, Found, NEW, Op, QueueState, ReadPlan, Reading, Ticket, Turn};
use crate::queue::records::{
    Batch, IdempotencyRecord, RouteRecord, SpecRecord, StateRecord, finished_key, id_key, idempotency_key,
    read_some, spec_key,
};
use bytes::Bytes;
use meshwork_proto::queue::{QueueError, Submitted, WatchTask};
use meshwork_proto::store::{Family, StoreError};
use meshwork_proto::task::{INLINE_LIMIT, Payload, TaskSpec, TaskStatus};
use meshwork_proto::{Caller, TaskId, UnixMillis};
use rand::Rng;
use std::rc::Rc;
use std::time::Duration;

/// A submission on its way.
#[derive(Debug)]
pub(crate) struct Submission {
    pub ticket: Ticket,
    pub caller: Caller,
    pub spec: TaskSpec,
    /// Whether the coordinator wants to be told of the task's end.
    pub watched: bool,
}

impl Submission {
    /// The request it came from.
    fn into_asked(self) -> Asked {
        let Self { ticket, caller, spec, watched } = self;
        Asked { ticket, caller, op: if watched { Op::Step(spec) } else { Op::Submit(spec) } }
    }
}

/// A task that comes into being when its commit is acknowledged.
#[derive(Debug)]
pub(crate) struct Insertion {
    pub ticket: Ticket,
    pub id: TaskId,
    pub route: RouteRecord,
    /// Its history, when it is put back after its end.
    pub state: Option<StateRecord>,
    pub spec: Rc<SpecRecord>,
    /// Its idempotency key, when it is new.
    pub key: Option<Bytes>,
    /// How it ended before, when it is put back.
    pub was: Option<TaskStatus>,
    /// Whether the coordinator wants to be told of its end.
    pub watched: bool,
}

impl QueueState {
    pub(super) fn submit(&mut self, turn: &mut Turn<'_>, submission: Submission) {
        if let Err(error) = self.check_spec(&submission.spec) {
            return turn.refuse(submission.ticket, error);
        }
        let Some(key) = submission.spec.idempotency_key.as_deref() else {
            return self.accept(turn, submission, None);
        };
        let key = idempotency_key(submission.caller.peer(), key);
        if let Some(followers) = self.keys.get_mut(&key) {
            // The same key is on its way: what becomes of that request decides what becomes of this one.
            followers.push(submission.into_asked());
            return;
        }
        self.keys.insert(key.clone(), Vec::new());
        let plan = ReadPlan::Keys(vec![(Family::Idempotency, vec![key.clone()])]);
        self.read(turn, plan, Reading::Idempotency { submission: Box::new(submission), key });
    }

    fn check_spec(&self, spec: &TaskSpec) -> Result<(), QueueError> {
        if self.draining {
            return Err(QueueError::Draining);
        }
        spec.check()?;
        check_payload(&spec.payload, self.options.max_payload_bytes)
    }

    /// The store knows whether the key was used.
    pub(super) fn on_idempotency(
        &mut self,
        turn: &mut Turn<'_>,
        submission: Submission,
        key: Bytes,
        result: Result<Found, StoreError>,
    ) {
        let known = result.and_then(|found| read_some::<IdempotencyRecord>(found.one()));
        match known {
            Err(error) => {
                turn.refuse(submission.ticket, error);
                self.release_key(turn, &key);
            }
            Ok(None) => self.accept(turn, submission, Some(key)),
            Ok(Some(first)) => {
                self.give_existing(turn, submission, &first);
                self.release_key(turn, &key);
            }
        }
    }

    /// The key was used: the first task, or an error if that is other work.
    fn give_existing(&mut self, turn: &mut Turn<'_>, submission: Submission, first: &IdempotencyRecord) {
        let id = first.task;
        if !first.same_work(&submission.spec) {
            let key = submission.spec.idempotency_key.unwrap_or_default();
            return turn.refuse(submission.ticket, QueueError::IdempotencyConflict { key, first: id });
        }
        if submission.watched {
            let Submission { ticket, caller, .. } = submission;
            return self.on_task(turn, Asked { ticket, caller, op: Op::Watch(WatchTask { id }) });
        }
        if let Some(busy) = self.busy.get_mut(&id) {
            busy.parked.push(submission.into_asked());
            return;
        }
        let ticket = submission.ticket;
        if let Some(live) = self.tasks.find(id).and_then(|slot| self.tasks.get(slot)) {
            let running = live.stage == Stage::Leased;
            let status = if running { TaskStatus::Running } else { TaskStatus::Queued };
            return turn.answer(ticket, Answer::Submitted(Submitted { id, status, existing: true }));
        }
        let plan = ReadPlan::Keys(vec![(Family::Tasks, vec![finished_key(id)])]);
        self.read(turn, plan, Reading::Existing { ticket, id });
    }

    pub(super) fn on_existing(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        id: TaskId,
        result: Result<Found, StoreError>,
    ) {
        match result.and_then(|found| read_some::<StateRecord>(found.one())) {
            Ok(state) => {
                // Put back into the queue meanwhile, if it is not finished any more.
                let status = state.map_or(TaskStatus::Queued, |state| state.status);
                turn.answer(ticket, Answer::Submitted(Submitted { id, status, existing: true }));
            }
            Err(error) => turn.refuse(ticket, error),
        }
    }

    /// Whether there is room for one more task of this class.
    pub(super) fn check_room(&self, class: &ClassSpec) -> Result<(), QueueError> {
        let held = self.tasks.len() as u64 + self.pending;
        let max = self.options.max_tasks;
        if held >= max {
            return Err(QueueError::Full { held, max });
        }
        let max = self.options.max_classes;
        if self.lanes.class_count() >= max as usize && self.lanes.is_new(class) {
            return Err(QueueError::Invalid(format!(
                "{max} combinations of tool, labels and target peers wait already, which is the limit: use one of \
                 them, or wait until some are finished"
            )));
        }
        Ok(())
    }

    /// Writes a new task down.
    fn accept(&mut self, turn: &mut Turn<'_>, submission: Submission, key: Option<Bytes>) {
        let Submission { ticket, caller, spec, watched } = submission;
        let class = class_of(&spec);
        if let Err(error) = self.check_room(&class) {
            turn.refuse(ticket, error);
            return key.into_iter().for_each(|key| self.release_key(turn, &key));
        }
        let id = self.new_id(turn.now);
        let spec = Rc::new(SpecRecord { spec, submitter: caller.peer().cloned(), created: turn.now });
        let route = route_of(&spec, self.take_seq(), turn.now);
        let mut batch = Batch::default();
        batch.put(Family::Tasks, spec_key(id), &*spec);
        batch.put(Family::Ready, id_key(id), &route);
        if let Some(cid) = spec.spec.payload.stored_cid() {
            batch.pin(*cid, id);
        }
        if let Some(key) = &key
            && !self.mutated_forget_idempotency()
        {
            batch.put(Family::Idempotency, key.clone(), &IdempotencyRecord::of(id, &spec.spec));
        }
        self.pending += 1;
        if self.mutated_early_answer() {
            turn.answer(ticket, Answer::Submitted(new_task(id)));
        }
        let insertion = Insertion { ticket, id, route, state: None, spec, key, was: None, watched };
        self.commit(turn, batch, NEW, vec![After::Insert(Box::new(insertion))]);
    }

    /// A task's commit was acknowledged: it exists.
    pub(super) fn insert_accepted(&mut self, turn: &mut Turn<'_>, insertion: Insertion) {
        let Insertion { ticket, id, route, state, spec, key, was, watched } = insertion;
        self.pending -= 1;
        self.cache.insert(id, spec);
        self.insert(turn.now, id, route, state);
        if watched {
            self.watch(id);
        }
        if was.is_none() {
            self.totals.submitted += 1;
        }
        if was.is_some() || !self.mutated_early_answer() {
            let existing = was.is_some();
            turn.answer(ticket, Answer::Submitted(Submitted { existing, ..new_task(id) }));
        }
        if let Some(key) = key {
            self.release_key(turn, &key);
        }
        if was.is_some() {
            self.unbusy(turn, id);
        }
    }

    /// The store has no room for a task: nothing was changed but what is undone here.
    pub(super) fn refuse_insertion(&mut self, turn: &mut Turn<'_>, insertion: Insertion, error: &StoreError) {
        self.pending -= 1;
        turn.refuse(insertion.ticket, error.clone());
        if let Some(key) = insertion.key {
            self.release_key(turn, &key);
        }
        if let Some(status) = insertion.was {
            self.undo_resubmit(turn, insertion.id, status);
        }
    }

    /// Puts an unfinished task into memory.
    pub(super) fn insert(
        &mut self,
        now: UnixMillis,
        id: TaskId,
        route: RouteRecord,
        state: Option<StateRecord>,
    ) {
        let class = self.lanes.take_class(ClassSpec {
            tool: route.tool,
            labels: route.labels,
            targets: route.target_peers,
        });
        let key = route.concurrency_key.filter(|_| !self.mutated_keys_ignored());
        let mut live = Live {
            id,
            seq: route.seq,
            queued_at: route.queued_at,
            updated: route.updated,
            not_before: route.not_before,
            timeout_ms: route.timeout_ms.unwrap_or(0),
            expires_ms: route.expires_ms.unwrap_or(0),
            class,
            task_type: self.names.take(&route.task_type),
            tenant: route.tenant.map(|tenant| self.names.take(&tenant)),
            key: key.map(|key| self.names.take(&key)),
            submitter: route.submitter.map(|peer| self.names.take(peer.as_str())),
            max_attempts: route.max_attempts,
            priority: self.mutated_priority(route.priority),
            stage: Stage::Delayed,
            changed: route.changed,
            watched: false,
            run: None,
        };
        let lease = state.and_then(|state| self.attach(&mut live, state, now));
        self.next_seq = self.next_seq.max(route.seq.saturating_add(1));
        let slot = self.tasks.insert(live);
        match lease {
            Some(lease) => self.resume_lease(slot, lease),
            None => self.enqueue(slot, now),
        }
    }

    /// Nobody decides about this key any more: requests that waited for it go on.
    pub(super) fn release_key(&mut self, turn: &mut Turn<'_>, key: &Bytes) {
        for asked in self.keys.remove(key).unwrap_or_default() {
            self.route(turn, asked);
        }
    }

    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn new_id(&mut self, now: UnixMillis) -> TaskId {
        let mut random = [0; 10];
        self.rng.fill_bytes(&mut random);
        TaskId::from_parts(now, random)
    }
}

fn new_task(id: TaskId) -> Submitted {
    Submitted { id, status: TaskStatus::Queued, existing: false }
}

/// The class of a task with this specification.
pub(super) fn class_of(spec: &TaskSpec) -> ClassSpec {
    ClassSpec { tool: spec.tool.clone(), labels: spec.labels.clone(), targets: spec.target_peers.clone() }
}

/// The route of a task that enters the queue now.
pub(super) fn route_of(record: &SpecRecord, seq: u64, now: UnixMillis) -> RouteRecord {
    let spec = &record.spec;
    RouteRecord {
        seq,
        queued_at: now,
        updated: now,
        not_before: delayed(now, spec.delay_ms),
        task_type: spec.task_type.clone(),
        tool: spec.tool.clone(),
        labels: spec.labels.clone(),
        target_peers: spec.target_peers.clone(),
        tenant: spec.tenant.clone(),
        concurrency_key: spec.concurrency_key.clone(),
        submitter: record.submitter.clone(),
        priority: spec.priority,
        max_attempts: spec.max_attempts,
        timeout_ms: spec.timeout_ms,
        expires_ms: spec.expires_ms,
        changed: false,
    }
}

/// A moment `delay_ms` from now; 0 = at once.
pub(super) fn delayed(now: UnixMillis, delay_ms: u64) -> UnixMillis {
    if delay_ms == 0 { UnixMillis::default() } else { now.after(Duration::from_millis(delay_ms)) }
}

/// Checks the size of a payload or result.
pub(super) fn check_payload(payload: &Payload, max_stored: u64) -> Result<(), QueueError> {
    let max = match payload {
        Payload::Inline(_) => max_stored.min(INLINE_LIMIT as u64),
        Payload::Stored { .. } => max_stored,
    };
    match payload.len() {
        len if len > max => Err(QueueError::TooLarge { len, max }),
        0 => Err(QueueError::Invalid("payload has 0 bytes: expected a JSON document".into())),
        _ => Ok(()),
    }
}
