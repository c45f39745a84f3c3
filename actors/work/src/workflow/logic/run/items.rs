//! The items of a step with `for_each`.

use super::Tries;
use crate::workflow::logic::doc::Doc;
use meshwork_proto::workflow::{ItemCounts, StepState};
use std::collections::BTreeMap;

/// Items by state. A finished item takes thirteen bytes; what happens to one is kept only until it is finished.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Items {
    /// The list.
    pub list: Doc,
    /// How many in which state.
    pub counts: ItemCounts,
    /// Attempts begun, of all items together.
    pub begun: u32,
    /// Bytes of all results together.
    pub bytes: u64,
    /// Items that began and are not finished.
    pub live: BTreeMap<u32, Tries>,
    /// Items in state completed.
    done: u32,
    states: Vec<StepState>,
    /// Number of the event that completed each; 0 = none did.
    ends: Vec<u64>,
    /// Bytes of the result of each.
    lens: Vec<u32>,
}

impl Items {
    /// Items that have not begun.
    pub(super) fn new(list: Doc, total: u32) -> Self {
        Self {
            list,
            counts: ItemCounts { total, pending: total, ..ItemCounts::default() },
            begun: 0,
            bytes: 0,
            live: BTreeMap::new(),
            done: 0,
            states: vec![StepState::Pending; total as usize],
            ends: vec![0; total as usize],
            lens: vec![0; total as usize],
        }
    }

    /// Where an item stands.
    pub(crate) fn state(&self, item: u32) -> Option<StepState> {
        self.states.get(item as usize).copied()
    }

    /// The event that completed an item.
    pub(crate) fn end(&self, item: u32) -> Option<u64> {
        self.ends.get(item as usize).copied().filter(|seq| *seq > 0)
    }

    /// The events that completed the items, in their order; 0 where none did.
    pub(crate) fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// Whether all are finished.
    pub(crate) fn are_finished(&self) -> bool {
        self.counts.pending == 0 && self.counts.running == 0
    }

    /// Whether any completed, and was not taken back since.
    pub(super) fn any_completed(&self) -> bool {
        self.done > 0
    }

    /// The event that completed an item, with its result of so many bytes; 0 = none did.
    pub(super) fn set_end(&mut self, item: u32, seq: u64, len: u64) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let places = (self.ends.get_mut(item as usize), self.lens.get_mut(item as usize));
        if let (Some(end), Some(old)) = places {
            *end = seq;
            self.bytes = self.bytes.saturating_sub(u64::from(std::mem::replace(old, len)));
            self.bytes = self.bytes.saturating_add(u64::from(len));
        }
    }

    /// A new state of an item.
    pub(super) fn set(&mut self, item: u32, state: StepState) {
        let Some(place) = self.states.get_mut(item as usize) else { return };
        let old = std::mem::replace(place, state);
        *self.count(old) = self.count(old).saturating_sub(1);
        *self.count(state) += 1;
        self.done += u32::from(state == StepState::Completed);
        self.done = self.done.saturating_sub(u32::from(old == StepState::Completed));
        if state.is_finished() {
            self.live.remove(&item);
        }
    }

    /// What has not completed begins anew.
    pub(super) fn resume(&mut self) {
        for item in 0..self.counts.total {
            let done = matches!(self.state(item), Some(StepState::Completed | StepState::Skipped));
            if !done {
                self.set(item, StepState::Pending);
                self.set_end(item, 0, 0);
            }
        }
        self.live.clear();
    }

    /// What is not finished is given up.
    pub(super) fn give_up(&mut self) {
        for item in 0..self.counts.total {
            if self.state(item).is_some_and(|state| !state.is_finished()) {
                self.set(item, StepState::Cancelled);
            }
        }
    }

    fn count(&mut self, state: StepState) -> &mut u32 {
        match state {
            StepState::Pending => &mut self.counts.pending,
            StepState::Running | StepState::Waiting | StepState::Retrying => &mut self.counts.running,
            StepState::Completed | StepState::Skipped => &mut self.counts.completed,
            StepState::Failed | StepState::Cancelled | StepState::Compensated => &mut self.counts.failed,
        }
    }
}
