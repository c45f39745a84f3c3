//! Leases: renewed by heartbeat, ended by the owner's clock.

use super::attempt::End;
use super::due::What;
use super::table::{Lease, Slot, Stage};
use super::{
    After, Answer, DUE_PER_TURN, DURABLE, Effect, QueueState, Ticket, Turn, belongs_to, check_worker,
};
use crate::queue::records::Batch;
use meshwork_proto::executor::StopTask;
use meshwork_proto::queue::{LeaseReport, Renew, Renewal};
use meshwork_proto::task::Progress;
use meshwork_proto::{Caller, ErrorCode, MeshError, PeerId, TaskId, UnixMillis, WorkerId};
use std::time::Duration;

/// Most leases in one heartbeat.
const MAX_LEASES: usize = 10_000;
/// Lines of a running task's log that are kept.
const LOG_LINES: usize = 50;
/// Bytes of a running task's log that are kept.
const LOG_BYTES: usize = 8 * 1024;
/// Longest message of a progress report, in bytes.
const MESSAGE_BYTES: usize = 1024;
/// A task whose specification could not be read is tried again after this time.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Why a worker has a lease no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It was not renewed in time.
    Expired,
    /// The worker's connection is gone.
    PeerGone,
    /// The attempt ran longer than it may, and its worker did not stop it.
    TimedOut,
    /// The owner restarted, and its own executor with it.
    OwnerRestarted,
    /// Whoever claimed it has gone before it was answered.
    Undelivered,
    /// The store could not read the specification.
    Unread,
    /// Another task with its concurrency key holds an older lease: a write between the two was lost.
    KeyTaken,
}

impl Loss {
    /// What history says.
    fn error(self, lease: &Lease, now: UnixMillis) -> MeshError {
        let worker = &lease.worker;
        let (code, text) = match self {
            Self::Expired => {
                (ErrorCode::LeaseLost, format!("worker {worker} did not renew its lease in time"))
            }
            Self::PeerGone => (ErrorCode::LeaseLost, format!("connection to worker {worker} was lost")),
            Self::TimedOut => {
                let ran = now.since(lease.granted).as_millis();
                let text = format!("attempt ran for {ran} ms on worker {worker}: longer than it may");
                (ErrorCode::ToolTimeout, text)
            }
            Self::OwnerRestarted => {
                (ErrorCode::Unavailable, "node restarted while the task ran on it".into())
            }
            Self::Undelivered => {
                (ErrorCode::Unavailable, format!("worker {worker} had gone when it was granted"))
            }
            Self::Unread => {
                (ErrorCode::Storage, "specification could not be read when it was granted".into())
            }
            Self::KeyTaken => {
                (ErrorCode::Unavailable, "another task with its concurrency key was running".into())
            }
        };
        MeshError::new(code, text)
    }

    /// Whether it counts against the limit of lost leases.
    fn counts(self) -> bool {
        matches!(self, Self::Expired | Self::PeerGone)
    }

    /// Whether the worker may still be at work.
    fn may_run_on(self) -> bool {
        matches!(self, Self::Expired | Self::PeerGone | Self::TimedOut | Self::KeyTaken)
    }
}

impl QueueState {
    pub(super) fn renew(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: &Caller, renew: Renew) {
        let Renew { worker, leases } = renew;
        if let Err(error) = check_worker(caller, &worker) {
            return turn.refuse(ticket, error);
        }
        if leases.len() > MAX_LEASES {
            let text = format!("heartbeat names {} leases: at most {MAX_LEASES}", leases.len());
            return turn.refuse(ticket, meshwork_proto::queue::QueueError::Invalid(text));
        }
        self.workers.seen(turn.now, &worker);
        let renewals = leases.into_iter().map(|report| self.renew_one(turn.now, &worker, report)).collect();
        turn.answer(ticket, Answer::Renewed(renewals));
    }

    fn renew_one(&mut self, now: UnixMillis, worker: &WorkerId, report: LeaseReport) -> Renewal {
        let lease_time = self.options.lease();
        let Some(slot) = self.tasks.find(report.id) else { return Renewal::Lost };
        let Some(live) = self.tasks.get_mut(slot) else { return Renewal::Lost };
        let Some(run) = live.run.as_mut().filter(|run| run.fence == report.fence) else {
            return Renewal::Lost;
        };
        let cancelled = run.cancel.is_some();
        let Some(lease) = run.lease.as_mut().filter(|lease| lease.worker == *worker) else {
            return Renewal::Lost;
        };
        let before = lease.due();
        lease.grace = None;
        if !cancelled {
            // A cancelled task's lease is not prolonged: a worker that never stops must not hold it for ever.
            lease.until = now.after(lease_time);
        }
        if let Some(progress) = report.progress {
            keep_progress(lease.progress.get_or_insert_default(), progress);
        }
        let due = lease.due();
        if due != before {
            self.due.remove(before, What::LeaseEnd, slot);
            self.due.add(due, What::LeaseEnd, slot);
        }
        if cancelled {
            return Renewal::CancelRequested;
        }
        Renewal::Renewed { lease_ms: u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX) }
    }

    /// The connection to a peer is gone: its workers have the grace time to come back.
    pub(crate) fn peer_lost(&mut self, turn: &mut Turn<'_>, peer: &PeerId) {
        let grace = turn.now.after(self.options.grace());
        self.set_grace(peer, Some(grace));
        self.workers.set_away(peer, true);
    }

    /// The connection to a peer is back.
    pub(crate) fn peer_back(&mut self, peer: &PeerId) {
        self.set_grace(peer, None);
        self.workers.set_away(peer, false);
    }

    fn set_grace(&mut self, peer: &PeerId, grace: Option<UnixMillis>) {
        for slot in self.leased.values() {
            let Some(lease) = self.tasks.get_mut(*slot).and_then(|live| live.lease_mut()) else { continue };
            if !belongs_to(&lease.worker, peer) {
                continue;
            }
            let before = lease.due();
            lease.grace = grace;
            self.due.remove(before, What::LeaseEnd, *slot);
            self.due.add(lease.due(), What::LeaseEnd, *slot);
        }
    }

    /// Does what is due for tasks, a bounded number of them.
    pub(super) fn work_off_due(&mut self, turn: &mut Turn<'_>) {
        let mut batch = Batch::default();
        let mut after = Vec::new();
        for _ in 0..DUE_PER_TURN {
            let Some((at, what, slot)) = self.due.first_by(turn.now) else { break };
            self.due.remove(at, what, slot);
            match what {
                What::Wake => self.wake(turn.now, slot),
                What::Expire => after.extend(self.expire(turn, &mut batch, slot)),
                What::LeaseEnd if self.mutated_eternal_lease() => {}
                What::LeaseEnd => after.extend(self.end_lease(turn, &mut batch, slot)),
            }
        }
        if !batch.is_empty() {
            self.commit(turn, batch, DURABLE, after);
        }
    }

    /// A delay is over; nothing is written, the times in the records say the same.
    fn wake(&mut self, now: UnixMillis, slot: Slot) {
        self.detach(slot);
        self.enqueue(slot, now);
    }

    fn expire(&mut self, turn: &mut Turn<'_>, batch: &mut Batch, slot: Slot) -> Option<After> {
        let waited = self.tasks.get(slot)?.expires_ms;
        self.detach(slot);
        let text = format!("task waited for {waited} ms without being claimed: longer than it may");
        self.close(turn, batch, slot, End::failed(MeshError::new(ErrorCode::Expired, text)))
    }

    fn end_lease(&mut self, turn: &mut Turn<'_>, batch: &mut Batch, slot: Slot) -> Option<After> {
        let lease = self.tasks.get(slot)?.lease()?;
        let loss = if lease.timeout_at.is_some_and(|at| at <= turn.now) {
            Loss::TimedOut
        } else if lease.grace.is_some_and(|at| at <= turn.now) {
            Loss::PeerGone
        } else {
            Loss::Expired
        };
        self.lose(turn, batch, slot, loss)
    }

    /// A leased task is taken from its worker.
    pub(super) fn lose(
        &mut self,
        turn: &mut Turn<'_>,
        batch: &mut Batch,
        slot: Slot,
        loss: Loss,
    ) -> Option<After> {
        let live = self.tasks.get(slot).filter(|live| live.stage == Stage::Leased)?;
        let (id, fence) = (live.id, live.fence());
        let lease = live.lease()?;
        let worker = lease.worker.clone();
        let error = loss.error(lease, turn.now);
        if loss.may_run_on() {
            let stop = StopTask { id, fence, report: false };
            turn.out.push(Effect::Stop { worker: worker.clone(), stop });
        }
        let outcome = if loss == Loss::TimedOut { "timed_out" } else { "lost" };
        self.end_attempt(turn, slot, Some(error.clone()), outcome);
        let live = self.tasks.get_mut(slot)?;
        let max_attempts = live.max_attempts;
        let run = live.run.as_mut()?;
        if let Some(reason) = run.cancel.clone() {
            return self.close(turn, batch, slot, End::cancelled(&reason));
        }
        if loss == Loss::TimedOut {
            run.failures = run.failures.saturating_add(1);
            let failures = run.failures;
            self.workers.failed(&worker);
            return self.retry_or_fail(turn, batch, slot, failures < max_attempts, error);
        }
        if loss.counts() {
            run.lease_losses = run.lease_losses.saturating_add(1);
            self.totals.lease_losses += 1;
            self.workers.lost(&worker);
            if run.lease_losses >= self.options.max_lease_losses {
                let text = format!(
                    "task lost its worker {} times, which is the limit; last: {}",
                    run.lease_losses, error.message
                );
                let end = End::failed(MeshError::new(ErrorCode::LeaseLost, text));
                return self.close(turn, batch, slot, end);
            }
        }
        let not_before =
            if loss == Loss::Unread { turn.now.after(READ_AGAIN) } else { UnixMillis::default() };
        self.requeue(turn.now, batch, slot, not_before);
        None
    }

    /// Tells the worker of a leased task to stop, and to report that it did.
    pub(super) fn ask_to_stop(&self, turn: &mut Turn<'_>, id: TaskId) {
        let live = self.tasks.find(id).and_then(|slot| self.tasks.get(slot));
        if let Some((live, lease)) = live.and_then(|live| Some((live, live.lease()?))) {
            let stop = StopTask { id, fence: live.fence(), report: true };
            turn.out.push(Effect::Stop { worker: lease.worker.clone(), stop });
        }
    }
}

/// Keeps the latest of what a task reports, within bounds.
fn keep_progress(kept: &mut Progress, report: Progress) {
    kept.done = report.done;
    kept.total = report.total.or(kept.total);
    if let Some(message) = report.message {
        kept.message = Some(clip(&message, MESSAGE_BYTES).to_owned());
    }
    let skipped = report.log.len().saturating_sub(LOG_LINES);
    kept.log.extend(report.log.iter().skip(skipped).map(|line| clip(line, LOG_BYTES / 8).to_owned()));
    let mut bytes: usize = kept.log.iter().map(String::len).sum();
    let mut drop = 0;
    for line in &kept.log {
        if bytes <= LOG_BYTES && kept.log.len() - drop <= LOG_LINES {
            break;
        }
        bytes -= line.len();
        drop += 1;
    }
    kept.log.drain(..drop);
}

/// The first `max` bytes of a text, or a little less.
pub(super) fn clip(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_keeps_the_last_lines_within_its_bounds() {
        let mut kept = Progress::default();
        for n in 0..1000_u16 {
            let log = vec![format!("line {n} ä{}", "x".repeat(usize::from(n) * 10))];
            keep_progress(&mut kept, Progress { done: f64::from(n), total: None, message: None, log });
        }
        assert!(kept.log.len() <= LOG_LINES);
        assert!(kept.log.iter().map(String::len).sum::<usize>() <= LOG_BYTES);
        assert!(kept.log.last().unwrap().starts_with("line 999"));
        assert_eq!(clip("äää", 3), "ä");
    }
}
