//! Reports of workers: how an attempt ended, and what becomes of the task.

use super::attempt::End;
use super::submit::check_payload;
use super::table::{Slot, Stage};
use super::{After, Answer, DURABLE, QueueState, Ticket, Turn, check_worker};
use crate::queue::records::{Batch, StateRecord};
use meshwork_proto::queue::{Finish, Finished, Outcome, QueueError};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::{Caller, ErrorCode, Fence, MeshError, TaskId, UnixMillis};

impl QueueState {
    pub(super) fn finish_live(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        caller: &Caller,
        finish: Finish,
        slot: Slot,
    ) {
        let checked = check_worker(caller, &finish.worker).and_then(|()| self.check_outcome(&finish.outcome));
        if let Err(error) = checked {
            return turn.refuse(ticket, error);
        }
        self.workers.seen(turn.now, &finish.worker);
        if !self.holds_lease(slot, &finish) {
            return self.finish_again(turn, ticket, &finish, slot);
        }
        let id = finish.id;
        let mut batch = Batch::default();
        let closed = self.apply_outcome(turn, &mut batch, slot, finish);
        let answer = Answer::Finished(self.how_finished(id));
        let early = self.mutated_early_finish();
        if early {
            turn.answer(ticket, answer.clone());
        }
        let answer = (!early).then_some(After::Answer(ticket, answer));
        self.commit(turn, batch, DURABLE, answer.into_iter().chain(closed).collect());
    }

    fn holds_lease(&self, slot: Slot, finish: &Finish) -> bool {
        let Some(live) = self.tasks.get(slot) else { return false };
        let Some(lease) = live.lease() else { return false };
        self.mutated_fence_check() || (live.fence() == finish.fence && lease.worker == finish.worker)
    }

    fn check_outcome(&self, outcome: &Outcome) -> Result<(), QueueError> {
        match outcome {
            Outcome::Completed { output, .. } => check_payload(output, self.options.max_payload_bytes),
            Outcome::Failed { .. } | Outcome::Released { .. } => Ok(()),
        }
    }

    /// The reporter holds no lease: it repeats a report whose answer it missed, or it comes too late.
    fn finish_again(&mut self, turn: &mut Turn<'_>, ticket: Ticket, finish: &Finish, slot: Slot) {
        let Some(live) = self.tasks.get(slot) else { return };
        let run = live.run.as_deref();
        let repeated = run.is_some_and(|run| {
            live.stage != Stage::Leased
                && run.reported == finish.fence
                && run.fence == finish.fence
                && run.worker.as_ref() == Some(&finish.worker)
        });
        if !repeated {
            return self.refuse_stale(turn, ticket, finish, live.fence());
        }
        // The commit of the first report may still be on its way: this one is answered behind it.
        let mut batch = Batch::default();
        self.put_state(&mut batch, slot);
        let answer = Answer::Finished(self.how_finished(finish.id));
        self.commit(turn, batch, DURABLE, vec![After::Answer(ticket, answer)]);
    }

    /// A report about a task that is finished already.
    pub(super) fn finish_finished(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        finish: &Finish,
        state: &StateRecord,
    ) {
        let latest = state.fence == finish.fence && state.reported == finish.fence;
        if latest && state.worker.as_ref() == Some(&finish.worker) {
            let finished = Finished { status: state.status, retry_at: None };
            return turn.answer(ticket, Answer::Finished(finished));
        }
        self.refuse_stale(turn, ticket, finish, state.fence);
    }

    fn refuse_stale(&mut self, turn: &mut Turn<'_>, ticket: Ticket, finish: &Finish, current: Fence) {
        self.totals.stale_reports += 1;
        turn.refuse(ticket, QueueError::StaleFence { id: finish.id, given: finish.fence, current });
    }

    fn apply_outcome(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &mut Batch,
        slot: Slot,
        finish: Finish,
    ) -> Option<After> {
        let (error, outcome) = match &finish.outcome {
            Outcome::Completed { .. } => (None, "completed"),
            Outcome::Failed { error, .. } => (Some(error.clone()), "failed"),
            Outcome::Released { reason } => {
                let text = format!("given back by the worker: {reason}");
                (Some(MeshError::new(ErrorCode::Unavailable, text)), "released")
            }
        };
        self.end_attempt(turn, slot, error, outcome);
        let live = self.tasks.get_mut(slot)?;
        let max_attempts = live.max_attempts;
        let run = live.run.as_mut()?;
        run.reported = finish.fence;
        let cancelled = run.cancel.clone();
        match finish.outcome {
            Outcome::Completed { output, output_cid } => {
                self.workers.completed(&finish.worker);
                let end = match cancelled {
                    // Whoever cancelled was told that it will be: that is not taken back by a late result.
                    Some(reason) => End::cancelled(&reason),
                    None => {
                        let output = Some((output, output_cid));
                        End { status: TaskStatus::Completed, error: None, output }
                    }
                };
                self.close(turn, batch, slot, end)
            }
            Outcome::Failed { error, retry } => {
                run.failures = run.failures.saturating_add(1);
                let again = retry && run.failures < max_attempts;
                self.workers.failed(&finish.worker);
                match cancelled {
                    Some(reason) => self.close(turn, batch, slot, End::cancelled(&reason)),
                    None => self.retry_or_fail(turn, batch, slot, again, error),
                }
            }
            Outcome::Released { .. } => match cancelled {
                Some(reason) => self.close(turn, batch, slot, End::cancelled(&reason)),
                None => {
                    self.totals.released += 1;
                    self.requeue(turn.now, batch, slot, UnixMillis::default());
                    None
                }
            },
        }
    }

    /// After a failure: another attempt after a while, or the end.
    pub(super) fn retry_or_fail(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &mut Batch,
        slot: Slot,
        again: bool,
        error: MeshError,
    ) -> Option<After> {
        if !again && !self.mutated_endless_retry() {
            return self.close(turn, batch, slot, End::failed(error));
        }
        let failures = self.tasks.get(slot).and_then(|live| live.run.as_ref()).map_or(1, |run| run.failures);
        let delay = self.options.backoff().delay(failures, &mut self.rng);
        self.totals.retried += 1;
        self.requeue(turn.now, batch, slot, turn.now.after(delay));
        None
    }

    /// How a report left the task.
    fn how_finished(&self, id: TaskId) -> Finished {
        let closing = self.busy.get(&id).and_then(|busy| busy.closing.as_ref());
        if let Some(closing) = closing {
            return Finished { status: closing.state.status, retry_at: None };
        }
        let live = self.tasks.find(id).and_then(|slot| self.tasks.get(slot));
        let retry_at = live.filter(|live| live.stage == Stage::Delayed).map(|live| live.not_before);
        Finished { status: TaskStatus::Queued, retry_at }
    }
}
