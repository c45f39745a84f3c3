//! Counts: kept as things happen, so that asking costs next to nothing.

use super::names::Name;
use super::{Answer, QueueState, Ticket, Turn};
use crate::queue::records::CountsRecord;
use meshwork_proto::queue::{QueueError, QueueStats};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::{Caller, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Most tools that are named as unserved.
const MAX_UNSERVED: usize = 100;

/// What happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub submitted: u64,
    pub claimed: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub retried: u64,
    pub released: u64,
    pub lease_losses: u64,
    pub stale_reports: u64,
    pub pruned: u64,
}

impl Totals {
    /// The numbers with their names.
    pub(crate) fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("submitted", self.submitted),
            ("claimed", self.claimed),
            ("completed", self.completed),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
            ("retried", self.retried),
            ("released", self.released),
            ("lease_losses", self.lease_losses),
            ("stale_reports", self.stale_reports),
            ("pruned", self.pruned),
        ]
    }
}

/// How many tasks there are.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub finished: CountsRecord,
    queued: u64,
    running: u64,
    /// Queued and running ones by type.
    by_type: BTreeMap<Name, (u64, u64)>,
}

impl Counts {
    pub(crate) fn enter(&mut self, task_type: Name, status: TaskStatus) {
        let (queued, running) = self.by_type.entry(task_type).or_default();
        if status == TaskStatus::Running {
            *running += 1;
            self.running += 1;
        } else {
            *queued += 1;
            self.queued += 1;
        }
    }

    pub(crate) fn leave(&mut self, task_type: Name, status: TaskStatus) {
        let Some((queued, running)) = self.by_type.get_mut(&task_type) else { return };
        if status == TaskStatus::Running {
            *running -= 1;
            self.running -= 1;
        } else {
            *queued -= 1;
            self.queued -= 1;
        }
        if (*queued, *running) == (0, 0) {
            self.by_type.remove(&task_type);
        }
    }
}

impl QueueState {
    /// Tasks by status.
    pub(crate) fn by_status(&self) -> BTreeMap<TaskStatus, u64> {
        let CountsRecord { completed, failed, cancelled } = self.counts.finished;
        BTreeMap::from([
            (TaskStatus::Queued, self.counts.queued),
            (TaskStatus::Running, self.counts.running),
            (TaskStatus::Completed, completed),
            (TaskStatus::Failed, failed),
            (TaskStatus::Cancelled, cancelled),
        ])
    }

    /// Age of the task that is ready longest, in milliseconds.
    pub(crate) fn oldest_ready_ms(&self, now: UnixMillis) -> Option<u64> {
        let (since, _) = self.ready_since.first()?;
        Some(now.0.saturating_sub(since.0))
    }

    /// Whether new work is refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Claims and readers that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.waiters.len(), self.getters.len())
    }

    pub(super) fn stats(&mut self, turn: &mut Turn<'_>, ticket: Ticket, detail: bool) {
        let mut totals: BTreeMap<String, u64> =
            self.totals.named().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        totals.insert("waiting_claims".into(), self.waiters.len() as u64);
        let stats = QueueStats {
            by_status: self.by_status(),
            by_type: if detail { self.by_type() } else { BTreeMap::new() },
            oldest_ready_ms: self.oldest_ready_ms(turn.now),
            delayed: self.due.waking(),
            unserved_tools: self.unserved_tools(turn.now),
            workers: self.workers.views(turn.now, detail),
            max_tasks: self.options.max_tasks,
            max_payload_bytes: self.options.max_payload_bytes,
            draining: self.draining,
            totals,
        };
        turn.answer(ticket, Answer::Stats(Box::new(stats)));
    }

    fn by_type(&self) -> BTreeMap<String, BTreeMap<TaskStatus, u64>> {
        let named = |(name, (queued, running)): (&Name, &(u64, u64))| {
            let counts = BTreeMap::from([(TaskStatus::Queued, *queued), (TaskStatus::Running, *running)]);
            (self.names.text(*name).to_owned(), counts)
        };
        self.counts.by_type.iter().map(named).collect()
    }

    /// Tools that unfinished tasks need and no worker offered lately.
    fn unserved_tools(&self, now: UnixMillis) -> Vec<String> {
        let served: BTreeSet<&String> =
            self.workers.lately(now).flat_map(|seen| seen.offer.tools.keys()).collect();
        self.lanes.tools().filter(|tool| !served.contains(tool)).take(MAX_UNSERVED).cloned().collect()
    }

    pub(super) fn drain(&mut self, turn: &mut Turn<'_>, ticket: Ticket, caller: &Caller) {
        if !caller.is_admin() {
            let text = "only an admin may drain this node: start it with --admin for your peer id";
            return turn.refuse(ticket, QueueError::Forbidden(text.into()));
        }
        self.draining = true;
        turn.answer(ticket, Answer::Draining(self.counts.running));
    }
}
