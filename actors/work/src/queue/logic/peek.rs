//! What tests see of the inside.

use super::{QueueState, table};
use meshwork_proto::{TaskId, WorkerId};

/// What a test sees of an unfinished task in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peek {
    pub attempts: u32,
    pub fence: meshwork_proto::Fence,
    /// Who holds the lease.
    pub holder: Option<WorkerId>,
    /// Whether it may be claimed now.
    pub open: bool,
}

impl QueueState {
    /// An unfinished task, if it is in memory.
    pub(crate) fn peek(&self, id: TaskId) -> Option<Peek> {
        let live = self.tasks.get(self.tasks.find(id)?)?;
        let blocked = live.key.is_some_and(|key| self.lanes.key_runs(key));
        Some(Peek {
            attempts: live.attempts(),
            fence: live.fence(),
            holder: live.lease().map(|lease| lease.worker.clone()),
            open: live.stage == table::Stage::Ready && !blocked,
        })
    }

    /// Whether something about the task is being written or read.
    pub(crate) fn is_busy(&self, id: TaskId) -> bool {
        self.busy.contains_key(&id)
    }

    /// Whether memory holds nothing of any task.
    pub(crate) fn is_empty(&self) -> bool {
        let waits = self.due.next().is_none() && self.ready_since.is_empty() && self.leased.is_empty();
        let under_way =
            self.busy.is_empty() && self.keys.is_empty() && self.commits.is_empty() && self.reads.is_empty();
        self.tasks.len() == 0
            && self.names.len() == 0
            && self.lanes.is_empty()
            && waits
            && under_way
            && self.pending == 0
    }

    /// How many names and classes are in use.
    pub(crate) fn shared_counts(&self) -> (usize, usize) {
        (self.names.len(), self.lanes.class_count())
    }
}

/// Bytes of an unfinished task, without its places in lines.
pub(crate) const fn live_size() -> usize {
    size_of::<Option<table::Live>>()
}
