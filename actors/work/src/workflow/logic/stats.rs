//! Counts of runs, and numbers since the start.

use super::run::{Phase, Run};
use crate::workflow::records::CountsRecord;
use meshwork_proto::workflow::RunState;
use std::collections::BTreeMap;

/// Numbers since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Runs accepted.
    pub submitted: u64,
    /// Runs completed.
    pub completed: u64,
    /// Runs failed.
    pub failed: u64,
    /// Runs cancelled.
    pub cancelled: u64,
    /// Attempts submitted to the queue.
    pub attempts: u64,
    /// Units completed, results that were made before included.
    pub units_completed: u64,
    /// Units failed.
    pub units_failed: u64,
    /// Units skipped.
    pub units_skipped: u64,
    /// Units that used an earlier result.
    pub units_cached: u64,
    /// Failures that are followed by another attempt.
    pub retries: u64,
    /// Units taken back.
    pub compensated: u64,
    /// Runs given to other peers.
    pub moved_out: u64,
    /// Runs taken over from other peers.
    pub moved_in: u64,
    /// Finished runs forgotten after their retention.
    pub pruned: u64,
}

/// What a run counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it is unfinished.
    pub active: bool,
    /// Whether it has a place among the running ones.
    placed: bool,
    state: RunState,
}

impl Standing {
    pub(super) fn of(run: &Run) -> Self {
        let active = run.is_active();
        Self { active, placed: active && run.phase != Phase::Pending, state: run.state() }
    }
}

/// Runs by state.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    active: BTreeMap<RunState, u64>,
    /// Unfinished runs that have a place among the running ones.
    placed: u64,
    kept: CountsRecord,
    changed: bool,
}

impl Counts {
    /// What the store knows.
    pub(super) fn load(&mut self, kept: CountsRecord) {
        self.kept = kept;
    }

    /// What is kept of finished runs.
    pub(super) fn kept(&self) -> &CountsRecord {
        &self.kept
    }

    /// To change it; it is written with the next commit.
    pub(super) fn kept_mut(&mut self) -> &mut CountsRecord {
        self.changed = true;
        &mut self.kept
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A run is in memory that was not before.
    pub(super) fn arrived(&mut self, run: &Run) {
        self.add(Standing::of(run));
    }

    /// A run is not in memory any more.
    pub(super) fn left(&mut self, run: &Run) {
        let standing = Standing::of(run);
        self.moved(standing, Standing { active: false, ..standing });
    }

    /// Something happened in a run.
    pub(super) fn moved(&mut self, before: Standing, after: Standing) {
        if before == after {
            return;
        }
        if before.active {
            let count = self.active.entry(before.state).or_default();
            *count = count.saturating_sub(1);
            self.placed = self.placed.saturating_sub(u64::from(before.placed));
        }
        self.add(after);
    }

    fn add(&mut self, standing: Standing) {
        if standing.active {
            *self.active.entry(standing.state).or_default() += 1;
            self.placed += u64::from(standing.placed);
        }
    }

    /// Unfinished runs that have a place among the running ones.
    pub(super) fn placed(&self) -> u64 {
        self.placed
    }

    /// Unfinished runs.
    pub(super) fn unfinished(&self) -> u64 {
        self.active.values().sum()
    }

    pub(super) fn by_state(&self) -> BTreeMap<RunState, u64> {
        let mut states: BTreeMap<RunState, u64> = RunState::ALL.iter().map(|state| (*state, 0)).collect();
        for (state, count) in &self.active {
            states.insert(*state, *count);
        }
        states.insert(RunState::Completed, self.kept.completed);
        states.insert(RunState::Failed, self.kept.failed);
        states.insert(RunState::Cancelled, self.kept.cancelled);
        states
    }
}
