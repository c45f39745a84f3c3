//! Giving tasks up.

use super::attempt::End;
use super::lease::clip;
use super::table::{Slot, Stage};
use super::{After, Answer, DURABLE, QueueState, Ticket, Turn};
use crate::queue::records::{Batch, StateRecord};
use meshwork_proto::queue::{Cancel, QueueError, Submitted};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::{Caller, TaskId};

/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 1024;

impl QueueState {
    /// Cancels an unfinished task: at once when it waits; when it runs, its worker is told.
    pub(super) fn cancel_live(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        cancel: Cancel,
        slot: Slot,
    ) {
        let Some(live) = self.tasks.get(slot) else { return };
        let id = cancel.id;
        if !caller.may_touch(self.submitter_of(live).as_ref()) {
            return turn.refuse(ticket, QueueError::UnknownTask(id));
        }
        let reason = clip(&cancel.reason.unwrap_or_default(), MAX_REASON).to_owned();
        let mut batch = Batch::default();
        if live.stage != Stage::Leased {
            self.detach(slot);
            let closed = self.close(turn, &mut batch, slot, End::cancelled(&reason));
            let answer = After::Answer(ticket, answer(id, TaskStatus::Cancelled));
            return self.commit(turn, batch, DURABLE, std::iter::once(answer).chain(closed).collect());
        }
        if self.mutated_cancel_drops() {
            self.detach(slot);
            self.tasks.remove(slot);
            batch.delete(meshwork_proto::store::Family::Ready, crate::queue::records::id_key(id));
            batch.delete(meshwork_proto::store::Family::Leases, crate::queue::records::id_key(id));
        }
        if let Some(live) = self.tasks.get_mut(slot) {
            live.updated = turn.now;
            let run = live.run.get_or_insert_default();
            // The first reason stays: the worker was told then.
            run.cancel.get_or_insert(reason);
        }
        self.put_state(&mut batch, slot);
        self.ask_to_stop(turn, id);
        let answer = After::Answer(ticket, answer(id, TaskStatus::Running));
        self.commit(turn, batch, DURABLE, vec![answer]);
    }

    /// Cancelling what is finished changes nothing; what is cancelled already may be cancelled again.
    pub(super) fn cancel_finished(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        id: TaskId,
        state: &StateRecord,
    ) {
        if state.status == TaskStatus::Cancelled {
            return turn.answer(ticket, answer(id, state.status));
        }
        let wanted = "only a queued or running task can be cancelled";
        turn.refuse(ticket, QueueError::WrongState { id, status: state.status, wanted });
    }
}

fn answer(id: TaskId, status: TaskStatus) -> Answer {
    Answer::Submitted(Submitted { id, status, existing: true })
}
