//! How a running call is told to stop, and why.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Why a call is to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Its task was cancelled, and the owner waits for the report.
    Cancelled,
    /// The node drains and its time is over: the task goes back to its owner.
    Released {
        /// How long the tool may take to end by itself.
        grace: Duration,
    },
    /// Whoever called the tool directly has gone.
    AskerGone,
    /// No renewal reached the owner before the lease was over: somebody else may have the task by now.
    Expired,
    /// The owner said that the task is not ours any more: nothing is to be reported.
    Lost,
}

impl StopReason {
    /// The label in metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Released { .. } => "released",
            Self::AskerGone => "asker_gone",
            Self::Expired => "lease_expired",
            Self::Lost => "lease_lost",
        }
    }

    /// How long a tool may take to end by itself. Behind a lost lease it may do nothing more at all.
    pub(super) fn grace(self, usual: Duration) -> Duration {
        match self {
            Self::Cancelled | Self::AskerGone => usual,
            Self::Released { grace } => grace.min(usual),
            Self::Expired | Self::Lost => Duration::ZERO,
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Cancelled | Self::Released { .. } | Self::AskerGone => 1,
            Self::Expired => 2,
            Self::Lost => 3,
        }
    }
}

/// One call's stop signal; clones are the same signal.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<watch::Sender<Option<StopReason>>>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Asks the call to stop. The first reason stands, except that a lost lease outranks all others.
    pub(super) fn request(&self, reason: StopReason) {
        self.0.send_if_modified(|present| {
            let stands = present.is_some_and(|present| present.rank() >= reason.rank());
            if !stands {
                *present = Some(reason);
            }
            !stands
        });
    }

    /// Why it is to stop, if it is.
    pub(super) fn requested(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    /// Ends when the call is to stop.
    pub(super) async fn wanted(&self) -> StopReason {
        self.until(|_| true).await
    }

    /// Ends when the lease is gone and not even a grace time is left.
    pub(super) async fn lease_gone(&self) -> StopReason {
        self.until(|reason| matches!(reason, StopReason::Expired | StopReason::Lost)).await
    }

    async fn until(&self, fits: impl Fn(StopReason) -> bool) -> StopReason {
        let mut watch = self.0.subscribe();
        loop {
            if let Some(reason) = self.requested().filter(|reason| fits(*reason)) {
                return reason;
            }
            if watch.changed().await.is_err() {
                // Cannot happen while `self` holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stands_but_a_lost_lease_outranks_it() {
        let stop = Stop::new();
        assert_eq!(stop.requested(), None);
        stop.request(StopReason::Cancelled);
        stop.request(StopReason::AskerGone);
        assert_eq!(stop.wanted().await, StopReason::Cancelled);
        stop.clone().request(StopReason::Lost);
        stop.request(StopReason::Expired);
        assert_eq!(stop.lease_gone().await, StopReason::Lost);
        assert_eq!(StopReason::Lost.grace(Duration::from_secs(2)), Duration::ZERO);
    }
}
