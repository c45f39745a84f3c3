//! The moves of a task between its stages, each in memory and in the batch that writes it down.

use super::busy::{Busy, Closing};
use super::due::What;
use super::table::{Lease, Live, Slot, Stage};
use super::{After, Note, QueueState, Turn};
use crate::queue::records::{
    Batch, OutputRecord, SpecChanges, StateRecord, counts_key, finished_key, id_key, prune_key, status_key,
};
use meshwork_proto::store::Family;
use meshwork_proto::task::{Payload, TaskStatus};
use meshwork_proto::{Cid, MeshError, PeerId, TaskId, UnixMillis};

/// Longest text of an error that is kept, in characters.
const MAX_ERROR: usize = 4096;

/// How a task ends.
#[derive(Debug)]
pub(crate) struct End {
    pub status: TaskStatus,
    pub error: Option<MeshError>,
    pub output: Option<(Payload, Cid)>,
}

impl End {
    pub(crate) fn failed(error: MeshError) -> Self {
        Self { status: TaskStatus::Failed, error: Some(error), output: None }
    }

    pub(crate) fn cancelled(reason: &str) -> Self {
        let text = if reason.is_empty() {
            "task was cancelled".into()
        } else {
            format!("task was cancelled: {reason}")
        };
        let error = MeshError::new(meshwork_proto::ErrorCode::Cancelled, text);
        Self { status: TaskStatus::Cancelled, error: Some(error), output: None }
    }
}

impl QueueState {
    /// Puts a task that stands nowhere into the queue: to be claimed, or to wait for its time.
    pub(super) fn enqueue(&mut self, slot: Slot, now: UnixMillis) {
        let Some(live) = self.tasks.get_mut(slot) else { return };
        live.stage = if live.not_before > now { Stage::Delayed } else { Stage::Ready };
        if live.stage == Stage::Delayed {
            self.due.add(live.not_before, What::Wake, slot);
        } else {
            self.ready_since.insert((live.queued_at, slot));
            self.lanes.add(live.place(slot));
        }
        if let Some(at) = live.expires_at() {
            self.due.add(at, What::Expire, slot);
        }
        self.counts.enter(live.task_type, TaskStatus::Queued);
    }

    /// Takes a task from wherever it stands; its numbers may be changed then.
    pub(super) fn detach(&mut self, slot: Slot) {
        let Some(live) = self.tasks.get(slot) else { return };
        let status = match live.stage {
            Stage::Delayed => {
                self.due.remove(live.not_before, What::Wake, slot);
                TaskStatus::Queued
            }
            Stage::Ready => {
                self.ready_since.remove(&(live.queued_at, slot));
                self.lanes.remove(live.place(slot));
                TaskStatus::Queued
            }
            Stage::Leased => {
                if let Some(lease) = live.lease() {
                    self.due.remove(lease.due(), What::LeaseEnd, slot);
                    self.workers.released(&lease.worker);
                }
                self.leased.remove(&live.id);
                let place = live.place(slot);
                if self.mutated_keys_held() {
                    self.lanes.stop(super::lanes::Place { key: None, ..place });
                } else {
                    self.lanes.stop(place);
                }
                TaskStatus::Running
            }
        };
        if let Some(at) = live.expires_at() {
            self.due.remove(at, What::Expire, slot);
        }
        self.counts.leave(live.task_type, status);
    }

    /// Leases a ready task, or resumes a lease from before a restart (then it stands nowhere yet).
    pub(super) fn resume_lease(&mut self, slot: Slot, lease: Lease) {
        let Some(live) = self.tasks.get_mut(slot) else { return };
        live.stage = Stage::Leased;
        self.due.add(lease.due(), What::LeaseEnd, slot);
        self.leased.insert(live.id, slot);
        self.lanes.resume(live.place(slot));
        self.counts.enter(live.task_type, TaskStatus::Running);
        self.workers.leased(&lease.worker, lease.granted);
        live.run.get_or_insert_default().lease = Some(lease);
    }

    /// A detached task goes back into the queue, to be claimed from `not_before` on.
    pub(super) fn requeue(&mut self, now: UnixMillis, batch: &mut Batch, slot: Slot, not_before: UnixMillis) {
        let Some(live) = self.tasks.get_mut(slot) else { return };
        live.stage = Stage::Delayed;
        live.not_before = not_before;
        live.updated = now;
        self.enqueue(slot, now);
        self.put_state(batch, slot);
    }

    /// Writes down how an unfinished task stands that was claimed before.
    pub(super) fn put_state(&self, batch: &mut Batch, slot: Slot) {
        let Some(live) = self.tasks.get(slot) else { return };
        batch.put(Family::Leases, id_key(live.id), &self.state_of(live));
    }

    /// A detached task ends. The caller commits the batch and follows it with the returned steps.
    pub(super) fn close(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &mut Batch,
        slot: Slot,
        end: End,
    ) -> Option<After> {
        let live = self.tasks.remove(slot)?;
        let id = live.id;
        let mut state = self.state_of(&live);
        state.status = end.status;
        state.updated = turn.now;
        state.finished = Some(turn.now);
        state.lease_timeout_ms = None;
        state.error = end.error.map(clip_error);
        let mut output = None;
        if let Some((payload, cid)) = end.output {
            state.output_cid = Some(cid);
            state.stored_output = payload.stored_cid().copied();
            output = Some(payload);
        }
        self.write_end(batch, id, &state, output.as_ref());
        self.count_end(end.status);
        self.forget_names(&live);
        let spec = self.cache.remove(id);
        let getters = self.getters.take(id);
        let closing = Closing { spec, state, output, getters, watched: live.watched };
        self.busy.insert(id, Busy { parked: Vec::new(), closing: Some(Box::new(closing)) });
        batch.put(Family::Tasks, counts_key(), &self.counts.finished);
        Some(After::Unbusy(id))
    }

    fn write_end(&self, batch: &mut Batch, id: TaskId, state: &StateRecord, output: Option<&Payload>) {
        let finished = state.finished.unwrap_or_default();
        batch.put(Family::Tasks, finished_key(id), state);
        batch.put_raw(Family::Tasks, status_key(state.status, id), bytes::Bytes::new());
        batch.put_raw(Family::Delayed, prune_key(finished, id), bytes::Bytes::new());
        if !(self.mutated_completed_stays() && state.status == TaskStatus::Completed) {
            batch.delete(Family::Ready, id_key(id));
            batch.delete(Family::Leases, id_key(id));
        }
        if let Some(output) = output {
            batch.put(Family::Results, id_key(id), &OutputRecord { output: output.clone() });
            if let Some(cid) = output.stored_cid() {
                batch.pin(*cid, id);
            }
        }
    }

    fn count_end(&mut self, status: TaskStatus) {
        if let Some(count) = self.counts.finished.of_mut(status) {
            *count += 1;
        }
        match status {
            TaskStatus::Completed => self.totals.completed += 1,
            TaskStatus::Failed => self.totals.failed += 1,
            TaskStatus::Cancelled => self.totals.cancelled += 1,
            TaskStatus::Queued | TaskStatus::Running => {}
        }
    }

    fn forget_names(&mut self, live: &Live) {
        self.lanes.give_back_class(live.class);
        self.names.give_back(live.task_type);
        for name in [live.tenant, live.key, live.submitter].into_iter().flatten() {
            self.names.give_back(name);
        }
    }

    /// The record of an unfinished task as it stands.
    pub(super) fn state_of(&self, live: &Live) -> StateRecord {
        let empty = super::table::Run::default();
        let run = live.run.as_deref().unwrap_or(&empty);
        let leased = live.stage == Stage::Leased;
        StateRecord {
            status: if leased { TaskStatus::Running } else { TaskStatus::Queued },
            attempts: run.attempts,
            failures: run.failures,
            lease_losses: run.lease_losses,
            fence: run.fence,
            reported: run.reported,
            worker: run.worker.clone(),
            history: run.history.clone(),
            error: run.error.clone(),
            cancel: run.cancel.clone(),
            not_before: live.not_before,
            lease_timeout_ms: run.lease.as_ref().and_then(|lease| lease.timeout_ms),
            queued_at: live.queued_at,
            updated: live.updated,
            finished: None,
            output_cid: None,
            stored_output: None,
            task_type: self.names.text(live.task_type).to_owned(),
            submitter: self.submitter_of(live),
            changes: live.changed.then(|| self.changes_of(live)),
        }
    }

    /// The present values of what may be changed.
    pub(super) fn changes_of(&self, live: &Live) -> SpecChanges {
        let labels = self.lanes.spec(live.class).map(|class| class.labels.clone());
        SpecChanges {
            labels: labels.unwrap_or_default(),
            priority: live.priority,
            max_attempts: live.max_attempts,
            timeout_ms: (live.timeout_ms > 0).then_some(live.timeout_ms),
            expires_ms: (live.expires_ms > 0).then_some(live.expires_ms),
        }
    }

    pub(super) fn submitter_of(&self, live: &Live) -> Option<PeerId> {
        live.submitter.and_then(|name| self.names.text(name).parse().ok())
    }

    /// Ends the running attempt of a leased task: it is detached, its history says how it ended.
    pub(super) fn end_attempt(
        &mut self,
        turn: &mut Turn<'_>,
        slot: Slot,
        error: Option<MeshError>,
        outcome: &'static str,
    ) {
        self.detach(slot);
        let Some(run) = self.tasks.get_mut(slot).and_then(|live| live.run.as_mut()) else { return };
        let lease = run.lease.take();
        let error = error.map(clip_error);
        run.end(turn.now, error.clone());
        run.error = error;
        if let Some(lease) = lease {
            turn.note(Note::AttemptEnded { ran: turn.now.since(lease.granted), outcome });
        }
    }
}

/// Errors come from tools and other peers: what is kept of them is bounded.
pub(super) fn clip_error(mut error: MeshError) -> MeshError {
    if let Some((end, _)) = error.message.char_indices().nth(MAX_ERROR) {
        error.message.truncate(end);
        error.message.push_str("...");
    }
    error
}
