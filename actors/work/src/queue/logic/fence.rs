//! Where fences come from.

use meshwork_proto::Fence;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out fences, each larger than all before.
///
/// It outlives restarts of the queue inside one process, so a lease whose commit was lost with the state that granted
/// it cannot meet its own fence again. Across processes the epoch does that: the store raises it durably at each start.
/// Beyond four billion fences in one epoch the count runs into the next epoch's; a task's own fence still only grows,
/// because its record is looked at too.
#[derive(Debug, Clone)]
pub(crate) struct FenceSource(Arc<AtomicU64>);

impl FenceSource {
    /// The fences of an epoch.
    pub(crate) fn new(epoch: u32) -> Self {
        Self(Arc::new(AtomicU64::new(Fence::new(epoch, 1).0)))
    }

    /// The next fence, larger than `last`.
    pub(crate) fn next(&self, last: Fence) -> Fence {
        let floor = last.0.saturating_add(1);
        // One actor at a time draws from it, so there is nothing to race with.
        let next = self.0.load(Ordering::Relaxed).max(floor);
        self.0.store(next.saturating_add(1), Ordering::Relaxed);
        Fence(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_grow_also_past_the_task_that_has_a_larger_one() {
        let fences = FenceSource::new(3);
        let first = fences.next(Fence::default());
        assert_eq!(first, Fence::new(3, 1));
        let other = fences.clone();
        assert!(other.next(Fence::default()) > first);
        let high = Fence::new(4, 9);
        assert_eq!(fences.next(high), Fence(high.0 + 1));
        assert!(fences.next(Fence::default()) > high);
    }
}
