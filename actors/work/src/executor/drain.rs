//! Draining: nothing new, running tasks may end until the deadline, the rest goes back to its owners.

use super::stop::StopReason;
use super::work::Work;
use meshwork_proto::executor::Drained;
use std::time::Duration;

/// The last part of the time, kept for stopping tools and reporting: half of it, at most this.
const RELEASE_TIME: Duration = Duration::from_secs(4);

/// Drains within `deadline`; claims have been stopped.
pub(super) async fn drain(work: &Work, deadline: Duration) -> Drained {
    let running = work.board.run_count();
    let release_time = (deadline / 2).min(RELEASE_TIME);
    if tokio::time::timeout(deadline - release_time, work.board.no_runs()).await.is_ok() {
        return Drained { finished: running, released: 0 };
    }
    let grace = release_time / 2;
    let left = work.board.runs();
    for (_, run) in &left {
        run.stop.request(StopReason::Released { grace });
    }
    let released = u32::try_from(left.len()).unwrap_or(u32::MAX);
    if tokio::time::timeout(release_time, work.board.no_runs()).await.is_err() {
        tracing::warn!(
            tasks = work.board.run_count(),
            "drain is over and not all tasks could be given back: their leases will end"
        );
    }
    Drained { finished: running.saturating_sub(released), released }
}
