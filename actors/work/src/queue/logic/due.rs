//! What happens at a time, in the order of time.

use super::table::Slot;
use meshwork_proto::UnixMillis;
use std::collections::BTreeSet;

/// What is due for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Its delay or back-off is over.
    Wake,
    /// It waited longer than it may.
    Expire,
    /// Its lease ends.
    LeaseEnd,
}

/// Times at which something is due for tasks.
#[derive(Debug, Default)]
pub(crate) struct Due {
    times: BTreeSet<(UnixMillis, What, Slot)>,
    waking: u64,
}

impl Due {
    pub(crate) fn add(&mut self, at: UnixMillis, what: What, slot: Slot) {
        if self.times.insert((at, what, slot)) && what == What::Wake {
            self.waking += 1;
        }
    }

    pub(crate) fn remove(&mut self, at: UnixMillis, what: What, slot: Slot) {
        if self.times.remove(&(at, what, slot)) && what == What::Wake {
            self.waking -= 1;
        }
    }

    /// The next that is due by `now`; it stays until it is removed.
    pub(crate) fn first_by(&self, now: UnixMillis) -> Option<(UnixMillis, What, Slot)> {
        self.times.first().copied().filter(|(at, _, _)| *at <= now)
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<UnixMillis> {
        self.times.first().map(|(at, _, _)| *at)
    }

    /// How many tasks wait for a time.
    pub(crate) fn waking(&self) -> u64 {
        self.waking
    }
}
