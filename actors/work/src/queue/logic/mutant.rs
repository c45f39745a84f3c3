//! Deliberate faults: the simulator switches one on to show that it would notice it. None of them can be switched on
//! outside of this crate's own tests; in a node every question here is answered no.

use super::QueueState;

macro_rules! mutants {
    ($($(#[$doc:meta])* $mutant:ident, $question:ident;)*) => {
        /// A deliberate fault.
        #[cfg(test)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutant { $($(#[$doc])* $mutant,)* }

        impl QueueState {
            $(
                $(#[$doc])*
                #[cfg(test)]
                pub(super) fn $question(&self) -> bool {
                    self.mutant == Some(Mutant::$mutant)
                }

                $(#[$doc])*
                #[cfg(not(test))]
                #[allow(clippy::unused_self, reason = "the questions of tests and nodes look the same")]
                pub(super) const fn $question(&self) -> bool {
                    false
                }
            )*
        }
    };
}

mutants! {
    /// A report is accepted whatever its fence.
    NoFenceCheck, mutated_fence_check;
    /// A submission is answered before its commit.
    EarlyAnswer, mutated_early_answer;
    /// A report is answered before its commit.
    EarlyFinish, mutated_early_finish;
    /// A lease never ends by itself.
    EternalLease, mutated_eternal_lease;
    /// Failures are retried for ever.
    EndlessRetry, mutated_endless_retry;
    /// Priority is ignored.
    FlatPriority, mutated_flat_priority;
    /// Tasks with the same concurrency key run together.
    KeysIgnored, mutated_keys_ignored;
    /// A concurrency key is never free again.
    KeysHeld, mutated_keys_held;
    /// Idempotency keys are not written down.
    ForgetfulKeys, mutated_forget_idempotency;
    /// Cancelling a running task removes it.
    CancelDrops, mutated_cancel_drops;
    /// A completed task keeps its place in the queue.
    CompletedStays, mutated_completed_stays;
    /// A claim is not written down.
    UnwrittenClaim, mutated_unwritten_claim;
    /// The coordinator is not told of the end of a task that it watches.
    UntoldEnd, mutated_untold_end;
}

impl QueueState {
    /// The priority that counts.
    pub(super) fn mutated_priority(&self, priority: u8) -> u8 {
        if self.mutated_flat_priority() { 5 } else { priority }
    }

    /// Switches a fault on.
    #[cfg(test)]
    pub(crate) fn mutate(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }
}
