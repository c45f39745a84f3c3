//! Watching: the coordinator is told how a task of its own ended, once that is durable.
//!
//! The wish is a mark at the unfinished task, so it costs nothing and is bounded by the limit of tasks. It is not written
//! down: after a restart the coordinator asks again. Nobody but this node's coordinator is told.

use super::table::{Slot, Stage};
use super::{Answer, Effect, QueueState, Ticket, Turn};
use crate::queue::records::StateRecord;
use meshwork_proto::queue::{QueueError, Submitted};
use meshwork_proto::task::{Payload, TaskStatus};
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Caller, TaskId};

impl QueueState {
    /// The end of an unfinished task will be told.
    pub(super) fn watch(&mut self, id: TaskId) {
        if let Some(live) = self.tasks.find(id).and_then(|slot| self.tasks.get_mut(slot)) {
            live.watched = true;
        }
    }

    /// As [`QueueState::watch`], for whoever asks.
    pub(super) fn watch_live(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: &Caller, slot: Slot) {
        let Some(live) = self.tasks.get(slot) else { return };
        let id = live.id;
        if !caller.may_touch(self.submitter_of(live).as_ref()) {
            return turn.refuse(ticket, QueueError::UnknownTask(id));
        }
        let status = if live.stage == Stage::Leased { TaskStatus::Running } else { TaskStatus::Queued };
        self.watch(id);
        turn.answer(ticket, Answer::Submitted(Submitted { id, status, existing: true }));
    }
}

/// The end of a task that is finished already is told at once.
pub(super) fn watch_finished(
    turn: &mut Turn<'_>,
    ticket: Ticket,
    id: TaskId,
    state: &StateRecord,
    output: Option<Payload>,
) {
    turn.answer(ticket, Answer::Submitted(Submitted { id, status: state.status, existing: true }));
    turn.out.push(ended(id, state, output));
}

/// Tells how a task ended.
pub(super) fn ended(id: TaskId, state: &StateRecord, output: Option<Payload>) -> Effect {
    Effect::Ended(Box::new(TaskEnded {
        id,
        status: state.status,
        worker: state.worker.clone(),
        attempts: state.attempts,
        output,
        output_cid: state.output_cid,
        error: state.error.clone(),
    }))
}
