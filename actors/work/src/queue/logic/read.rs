//! Reading tasks: unfinished ones from memory, finished ones from the store.

use super::busy::Busy;
use super::claim::read_spec;
use super::table::{Live, Slot, Stage};
use super::watch::watch_finished;
use super::{Answer, Asked, Found, Op, QueueState, ReadPlan, Reading, Ticket, Turn};
use crate::queue::records::{
    OutputRecord, SpecRecord, StateRecord, finished_key, id_key, metadata_key, read_some, spec_key,
};
use meshwork_proto::queue::{GetTask, QueueError};
use meshwork_proto::store::{Family, StoreError};
use meshwork_proto::task::{Payload, TaskStatus, TaskView, WaitingFor};
use meshwork_proto::{Caller, TaskId, UnixMillis};
use std::time::Duration;

/// A task that is neither in memory nor whole in the store is looked up so often before that is an error: it may be
/// on its way from one to the other.
const LOOK_AGAIN: u8 = 5;

impl QueueState {
    pub(super) fn get_live(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: Caller,
        get: GetTask,
        slot: Slot,
    ) {
        let Some(live) = self.tasks.get(slot) else { return };
        if !caller.may_touch(self.submitter_of(live).as_ref()) {
            return turn.refuse(ticket, QueueError::UnknownTask(get.id));
        }
        let wait = Duration::from_millis(get.wait_ms).min(self.options.max_wait());
        if wait.is_zero() || self.getters.len() >= self.options.max_waiters as usize {
            return self.view(turn, ticket, caller, get.id);
        }
        self.getters.add(ticket, caller, get.id, turn.now.after(wait));
    }

    /// Answers with the task as it is now.
    pub(super) fn view(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: Caller, id: TaskId) {
        let live = self.tasks.find(id).and_then(|slot| self.tasks.get(slot));
        let Some(live) = live else {
            let op = Op::Get(GetTask { id, wait_ms: 0 });
            return self.on_task(turn, Asked { ticket, caller, op });
        };
        if let Some(spec) = self.cache.get(id) {
            let view = self.live_view(turn.now, live, spec);
            return turn.answer(ticket, Answer::Task(Box::new(view)));
        }
        let plan = ReadPlan::Keys(vec![(Family::Tasks, vec![spec_key(id), metadata_key(id)])]);
        self.read(turn, plan, Reading::View { ticket, caller, id });
    }

    pub(super) fn on_view(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: Caller,
        id: TaskId,
        result: Result<Found, StoreError>,
    ) {
        let live = self.tasks.find(id).and_then(|slot| self.tasks.get(slot));
        let Some(live) = live else {
            // Finished while its specification was read.
            let op = Op::Get(GetTask { id, wait_ms: 0 });
            return self.on_task(turn, Asked { ticket, caller, op });
        };
        match result.and_then(|found| read_spec(&found, 0)) {
            Ok(spec) => {
                let view = self.live_view(turn.now, live, &spec);
                turn.answer(ticket, Answer::Task(Box::new(view)));
            }
            Err(error) => turn.refuse(ticket, error),
        }
    }

    /// An unfinished task as it is now.
    pub(super) fn live_view(&self, now: UnixMillis, live: &Live, spec: &SpecRecord) -> TaskView {
        let state = self.state_of(live);
        let lease = live.lease();
        TaskView {
            lease_until: lease.map(|lease| lease.until),
            cancel_requested: live.stage == Stage::Leased && state.cancel.is_some(),
            progress: lease.and_then(|lease| lease.progress.clone()),
            waiting_for: Some(self.waiting_for(now, live)),
            ..view_of(live.id, spec, &state, None)
        }
    }

    /// Why an unfinished task is not running, or who runs it.
    fn waiting_for(&self, now: UnixMillis, live: &Live) -> WaitingFor {
        if let Some(lease) = live.lease() {
            return WaitingFor::Lease { worker: lease.worker.clone(), until: lease.until };
        }
        if self.draining {
            return WaitingFor::Draining;
        }
        if live.stage == Stage::Delayed {
            return WaitingFor::NotBefore { at: live.not_before };
        }
        if let Some(key) = live.key.filter(|key| self.lanes.key_runs(*key)) {
            return WaitingFor::ConcurrencyKey { key: self.names.text(key).to_owned() };
        }
        if let (Some(limit), Some(tenant)) = (self.lanes.reached_limit(live.tenant), live.tenant) {
            return WaitingFor::TenantLimit { tenant: self.names.text(tenant).to_owned(), limit };
        }
        let Some(class) = self.lanes.spec(live.class) else { return WaitingFor::BusyWorkers { workers: 0 } };
        let serving: Vec<_> =
            self.workers.lately(now).filter(|seen| seen.offer.tools.contains_key(&class.tool)).collect();
        if serving.is_empty() {
            return WaitingFor::NoWorkerForType { tool: class.tool.clone() };
        }
        let matching = serving.iter().filter(|seen| class.admits(&seen.offer, seen.peer.as_ref())).count();
        if matching > 0 {
            return WaitingFor::BusyWorkers { workers: u32::try_from(matching).unwrap_or(u32::MAX) };
        }
        // Labels that some worker of a right peer has are not what is missing, unless no worker has them together.
        let lacking: Vec<_> = class
            .labels
            .iter()
            .filter(|label| !serving.iter().any(|seen| super::lanes::has(&seen.offer, label)))
            .cloned()
            .collect();
        let labels = if lacking.is_empty() { class.labels.iter().cloned().collect() } else { lacking };
        WaitingFor::NoWorkerWithLabels { labels, workers: u32::try_from(serving.len()).unwrap_or(u32::MAX) }
    }

    /// A request about a task that is not in memory.
    pub(super) fn read_finished(&mut self, turn: &mut Turn<'_>, asked: Asked, id: TaskId) {
        if matches!(asked.op, Op::Resubmit(_)) {
            // From now on nobody else changes it, so what is read stays true until the commit.
            self.busy.insert(id, Busy::default());
        }
        self.look_up(turn, asked, id, 0);
    }

    fn look_up(&mut self, turn: &mut Turn<'_>, asked: Asked, id: TaskId, tries: u8) {
        let mut groups = vec![(Family::Tasks, vec![spec_key(id), metadata_key(id), finished_key(id)])];
        if matches!(asked.op, Op::Get(_) | Op::Watch(_)) {
            groups.push((Family::Results, vec![id_key(id)]));
        }
        self.read(turn, ReadPlan::Keys(groups), Reading::Finished(Box::new(asked), tries));
    }

    pub(super) fn on_finished_task(
        &mut self,
        turn: &mut Turn<'_>,
        asked: Asked,
        tries: u8,
        result: Result<Found, StoreError>,
    ) {
        let Some(id) = asked.op.task() else { return };
        let resubmits = matches!(asked.op, Op::Resubmit(_));
        if !resubmits && (self.busy.contains_key(&id) || self.tasks.find(id).is_some()) {
            return self.on_task(turn, asked);
        }
        let stored = result.and_then(|found| read_stored(&found));
        let (refused, spec_only) = match stored {
            // Watching tells the result on: one that was taken away between the two reads is looked for again.
            Ok((Some(_), Some(state), None))
                if matches!(asked.op, Op::Watch(_)) && state.status == TaskStatus::Completed =>
            {
                (QueueError::UnknownTask(id), true)
            }
            Ok((Some(spec), Some(state), output)) => {
                return self.answer_finished(turn, asked, spec, state, output);
            }
            Ok((spec, ..)) => (QueueError::UnknownTask(id), spec.is_some()),
            Err(error) => (error.into(), false),
        };
        if spec_only && tries < LOOK_AGAIN {
            return self.look_up(turn, asked, id, tries + 1);
        }
        turn.refuse(asked.ticket, refused);
        if resubmits {
            self.unbusy(turn, id);
        }
    }

    fn answer_finished(
        &mut self,
        turn: &mut Turn<'_>,
        asked: Asked,
        spec: SpecRecord,
        state: StateRecord,
        output: Option<Payload>,
    ) {
        let Asked { ticket, caller, op } = asked;
        let Some(id) = op.task() else { return };
        if let Op::Finish(finish) = &op {
            return match super::check_worker(&caller, &finish.worker) {
                Ok(()) => self.finish_finished(turn, ticket, finish, &state),
                Err(error) => turn.refuse(ticket, error),
            };
        }
        if !caller.may_touch(spec.submitter.as_ref()) {
            turn.refuse(ticket, QueueError::UnknownTask(id));
            if matches!(op, Op::Resubmit(_)) {
                self.unbusy(turn, id);
            }
            return;
        }
        match op {
            Op::Get(_) => {
                let view = view_of(id, &spec, &state, output);
                turn.answer(ticket, Answer::Task(Box::new(view)));
            }
            Op::Watch(_) => watch_finished(turn, ticket, id, &state, output),
            Op::Cancel(_) => self.cancel_finished(turn, ticket, id, &state),
            Op::Resubmit(resubmit) => self.resubmit_finished(turn, ticket, &resubmit, spec, state),
            _ => {
                let wanted = "only a queued or running task can be changed";
                turn.refuse(ticket, QueueError::WrongState { id, status: state.status, wanted });
            }
        }
    }
}

/// A task as it stands in its records; for an unfinished one the caller adds what only memory knows.
pub(super) fn view_of(
    id: TaskId,
    record: &SpecRecord,
    state: &StateRecord,
    output: Option<Payload>,
) -> TaskView {
    let mut spec = record.spec.clone();
    if let Some(changes) = &state.changes {
        changes.apply(&mut spec);
    }
    TaskView {
        id,
        spec,
        submitter: record.submitter.clone(),
        status: state.status,
        attempts: state.attempts,
        lease_losses: state.lease_losses,
        history: state.history.clone(),
        worker: state.worker.clone(),
        fence: state.fence,
        lease_until: None,
        cancel_requested: false,
        progress: None,
        output,
        output_cid: state.output_cid,
        error: state.error.clone(),
        created: record.created,
        updated: state.updated,
        finished: state.finished,
        waiting_for: None,
    }
}

type Stored = (Option<SpecRecord>, Option<StateRecord>, Option<Payload>);

/// Specification, final state and result out of a lookup.
fn read_stored(found: &Found) -> Result<Stored, StoreError> {
    let spec = match found.value(0, 0) {
        Some(_) => Some(read_spec(found, 0)?),
        None => None,
    };
    let state = read_some(found.value(0, 2))?;
    let output = read_some::<OutputRecord>(found.value(1, 0))?.map(|record| record.output);
    Ok((spec, state, output))
}
