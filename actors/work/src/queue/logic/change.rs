//! Changing unfinished tasks, and putting finished ones back.

use super::lanes::ClassSpec;
use super::submit::{Insertion, class_of, delayed, route_of};
use super::table::{Live, Slot, Stage};
use super::{After, DURABLE, NEW, QueueState, Ticket, Turn};
use crate::queue::records::{
    Batch, MetadataRecord, RouteRecord, SpecRecord, StateRecord, counts_key, finished_key, id_key,
    metadata_key, prune_key, status_key,
};
use meshwork_proto::queue::{QueueError, Resubmit, TaskChanges, Update};
use meshwork_proto::store::Family;
use meshwork_proto::task::{
    MAX_PRIORITY, MIN_PRIORITY, SpecError, TaskStatus, check_attempts, check_labels, check_metadata,
};
use meshwork_proto::{Caller, Fence, TaskId, UnixMillis};
use std::rc::Rc;

impl QueueState {
    pub(super) fn update_live(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: Caller,
        update: Update,
        slot: Slot,
    ) {
        let Update { id, changes } = update;
        let checked = self.check_changes(&caller, id, &changes, slot);
        if let Err(error) = checked {
            return turn.refuse(ticket, error);
        }
        let mut batch = Batch::default();
        if let Some(metadata) = &changes.metadata {
            self.cache.set_metadata(id, metadata);
            batch.put(Family::Tasks, metadata_key(id), &MetadataRecord { metadata: metadata.clone() });
        }
        self.change(turn.now, slot, &changes);
        let Some(live) = self.tasks.get(slot) else { return };
        batch.put(Family::Ready, id_key(id), &self.route_record(live));
        if live.run.is_some() {
            self.put_state(&mut batch, slot);
        }
        self.commit(turn, batch, DURABLE, vec![After::View(ticket, caller, id)]);
    }

    fn check_changes(
        &self,
        caller: &Caller,
        id: TaskId,
        changes: &TaskChanges,
        slot: Slot,
    ) -> Result<(), QueueError> {
        let live = self.tasks.get(slot).ok_or(QueueError::UnknownTask(id))?;
        if !caller.may_touch(self.submitter_of(live).as_ref()) {
            return Err(QueueError::UnknownTask(id));
        }
        check_metadata(changes.metadata.as_ref())?;
        changes.max_attempts.map_or(Ok(()), check_attempts)?;
        if let Some(priority) = changes.priority
            && !(MIN_PRIORITY..=MAX_PRIORITY).contains(&priority)
        {
            let problem = format!("{priority} is out of range: expected 1 to 10, 10 is claimed first");
            return Err(SpecError { field: "priority", problem }.into());
        }
        if changes.timeout_ms == Some(0) || changes.expires_ms == Some(0) {
            let problem = "must be larger than 0".into();
            return Err(SpecError { field: "timeout_s and expires_s", problem }.into());
        }
        if let Some(labels) = &changes.labels {
            check_labels(labels)?;
            let class = self.with_labels(live, labels.clone());
            if self.lanes.is_new(&class) && self.lanes.class_count() > self.options.max_classes as usize {
                let text =
                    "too many combinations of tool, labels and target peers wait already: use one of them";
                return Err(QueueError::Invalid(text.into()));
            }
        }
        Ok(())
    }

    fn with_labels(&self, live: &Live, labels: std::collections::BTreeSet<String>) -> ClassSpec {
        let class = self.lanes.spec(live.class);
        let (tool, targets) =
            class.map(|class| (class.tool.clone(), class.targets.clone())).unwrap_or_default();
        ClassSpec { tool, labels, targets }
    }

    /// Changes a task in memory. A waiting one takes its new place; a running one keeps its lease as it was granted.
    fn change(&mut self, now: UnixMillis, slot: Slot, changes: &TaskChanges) {
        let Some(live) = self.tasks.get(slot) else { return };
        let waits = live.stage != Stage::Leased;
        let old_class = live.class;
        let new_class = changes.labels.clone().map(|labels| self.with_labels(live, labels));
        if waits {
            self.detach(slot);
        }
        let class = new_class.map(|class| self.lanes.take_class(class));
        let priority = changes.priority.map(|priority| self.mutated_priority(priority));
        let Some(live) = self.tasks.get_mut(slot) else { return };
        live.updated = now;
        live.class = class.unwrap_or(live.class);
        live.priority = priority.unwrap_or(live.priority);
        live.max_attempts = changes.max_attempts.unwrap_or(live.max_attempts);
        live.timeout_ms = changes.timeout_ms.unwrap_or(live.timeout_ms);
        live.expires_ms = changes.expires_ms.unwrap_or(live.expires_ms);
        live.changed |=
            TaskChanges { metadata: changes.metadata.clone(), ..TaskChanges::default() } != *changes;
        if waits {
            self.enqueue(slot, now);
        }
        if class.is_some() {
            self.lanes.give_back_class(old_class);
        }
    }

    /// The route of an unfinished task as it is now.
    fn route_record(&self, live: &Live) -> RouteRecord {
        let class = self.lanes.spec(live.class).map(|class| (**class).clone());
        let class = class.unwrap_or_else(|| self.with_labels(live, Default::default()));
        let text = |name: Option<super::names::Name>| name.map(|name| self.names.text(name).to_owned());
        let changes = self.changes_of(live);
        RouteRecord {
            seq: live.seq,
            queued_at: live.queued_at,
            updated: live.updated,
            not_before: live.not_before,
            task_type: self.names.text(live.task_type).to_owned(),
            tool: class.tool,
            labels: class.labels,
            target_peers: class.targets,
            tenant: text(live.tenant),
            concurrency_key: text(live.key),
            submitter: self.submitter_of(live),
            priority: changes.priority,
            max_attempts: changes.max_attempts,
            timeout_ms: changes.timeout_ms,
            expires_ms: changes.expires_ms,
            changed: live.changed,
        }
    }

    pub(super) fn resubmit_live(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        id: TaskId,
        slot: Slot,
    ) {
        let Some(live) = self.tasks.get(slot) else { return };
        if !caller.may_touch(self.submitter_of(live).as_ref()) {
            return turn.refuse(ticket, QueueError::UnknownTask(id));
        }
        let status = if live.stage == Stage::Leased { TaskStatus::Running } else { TaskStatus::Queued };
        let wanted = "only a finished task can be resubmitted";
        turn.refuse(ticket, QueueError::WrongState { id, status, wanted });
    }

    /// Puts a finished task back. It is marked as busy since before it was read, so nothing of it has changed.
    pub(super) fn resubmit_finished(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        resubmit: &Resubmit,
        record: SpecRecord,
        old: StateRecord,
    ) {
        let id = resubmit.id;
        let mut spec = record;
        if let Some(changes) = &old.changes {
            changes.apply(&mut spec.spec);
        }
        let ready =
            if self.draining { Err(QueueError::Draining) } else { self.check_room(&class_of(&spec.spec)) };
        if let Err(error) = ready {
            turn.refuse(ticket, error);
            return self.unbusy(turn, id);
        }
        let mut route = route_of(&spec, self.take_seq(), turn.now);
        route.not_before = delayed(turn.now, resubmit.delay_ms);
        route.changed = old.changes.is_some();
        let was = old.status;
        let mut batch = Batch::default();
        self.write_resubmission(&mut batch, id, &spec, &old);
        let state = begin_again(old, &route);
        batch.put(Family::Ready, id_key(id), &route);
        batch.put(Family::Leases, id_key(id), &state);
        self.pending += 1;
        if let Some(count) = self.counts.finished.of_mut(was) {
            *count = count.saturating_sub(1);
        }
        batch.put(Family::Tasks, counts_key(), &self.counts.finished);
        let spec = Rc::new(spec);
        let (state, was) = (Some(state), Some(was));
        let insertion = Insertion { ticket, id, route, state, spec, key: None, was, watched: false };
        self.commit(turn, batch, NEW, vec![After::Insert(Box::new(insertion))]);
    }

    /// Takes away what belongs to the task's end.
    fn write_resubmission(&self, batch: &mut Batch, id: TaskId, spec: &SpecRecord, old: &StateRecord) {
        batch.delete(Family::Tasks, finished_key(id));
        batch.delete(Family::Tasks, status_key(old.status, id));
        batch.delete(Family::Results, id_key(id));
        if let Some(finished) = old.finished {
            batch.delete(Family::Delayed, prune_key(finished, id));
        }
        if let Some(cid) = old.stored_output
            && Some(&cid) != spec.spec.payload.stored_cid()
        {
            batch.unpin(cid, id);
        }
    }

    /// The store had no room for a resubmission: the task stays finished.
    pub(super) fn undo_resubmit(&mut self, turn: &mut Turn<'_>, id: TaskId, status: TaskStatus) {
        if let Some(count) = self.counts.finished.of_mut(status) {
            *count += 1;
        }
        // Ends written meanwhile carry the smaller count.
        let mut batch = Batch::default();
        batch.put(Family::Tasks, counts_key(), &self.counts.finished);
        self.commit(turn, batch, super::WRITTEN, Vec::new());
        self.unbusy(turn, id);
    }
}

/// The state of a finished task that starts over: with its history and its fence, without its counts.
fn begin_again(old: StateRecord, route: &RouteRecord) -> StateRecord {
    StateRecord {
        status: TaskStatus::Queued,
        attempts: 0,
        failures: 0,
        lease_losses: 0,
        reported: Fence::default(),
        error: None,
        cancel: None,
        not_before: route.not_before,
        queued_at: route.queued_at,
        updated: route.updated,
        finished: None,
        output_cid: None,
        stored_output: None,
        ..old
    }
}
