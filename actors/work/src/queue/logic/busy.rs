//! Tasks whose fate is being written: requests for them wait for the outcome instead of seeing half of it.

use super::watch::ended;
use super::{Asked, Op, QueueState, Ticket, Turn};
use crate::queue::records::{SpecRecord, StateRecord};
use meshwork_proto::queue::GetTask;
use meshwork_proto::task::Payload;
use meshwork_proto::{Caller, TaskId};
use std::rc::Rc;

/// A task with something under way.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// Requests that wait for the outcome.
    pub parked: Vec<Asked>,
    /// A task that has just finished, for those who waited for that.
    pub closing: Option<Box<Closing>>,
}

/// A task whose end is being written.
#[derive(Debug)]
pub(crate) struct Closing {
    pub spec: Option<Rc<SpecRecord>>,
    pub state: StateRecord,
    pub output: Option<Payload>,
    pub getters: Vec<(Ticket, Caller)>,
    /// Whether the coordinator wants to be told.
    pub watched: bool,
}

impl QueueState {
    /// What was under way is done: whoever waited gets an answer.
    pub(super) fn unbusy(&mut self, turn: &mut Turn<'_>, id: TaskId) {
        let Some(busy) = self.busy.remove(&id) else { return };
        if let Some(closing) = busy.closing {
            let Closing { spec, state, output, getters, watched } = *closing;
            if watched && !self.mutated_untold_end() {
                turn.out.push(ended(id, &state, output.clone()));
            }
            for (ticket, caller) in getters {
                match &spec {
                    Some(spec) => {
                        let view = super::read::view_of(id, spec, &state, output.clone());
                        turn.answer(ticket, super::Answer::Task(Box::new(view)));
                    }
                    None => {
                        let op = Op::Get(GetTask { id, wait_ms: 0 });
                        self.route(turn, Asked { ticket, caller, op });
                    }
                }
            }
        }
        for asked in busy.parked {
            self.route(turn, asked);
        }
    }
}
