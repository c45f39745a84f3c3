//! Waiting for the end of a task, also across a restart of its node.

use super::answers::{Answer, TaskEnd};
use super::connection::NodeClient;
use super::error::ClientError;
use std::time::Duration;
use tokio::time::Instant;

/// How long one request waits when nobody watches.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long one request waits when somebody watches: so often the display changes.
const WATCHED_POLL: Duration = Duration::from_secs(1);
/// How long a node may be away before we give up: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between attempts at a node that is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitOptions {
    /// Which task.
    pub(crate) task_id: String,
    /// The peer that owns it; none: the node itself.
    pub(crate) peer: Option<String>,
    /// How long at most; none: until it ends.
    pub(crate) within: Option<Duration>,
    /// Whether somebody watches, and is to be told every second.
    pub(crate) watched: bool,
}

/// What a watcher is told.
#[derive(Debug)]
pub(crate) enum Observed<'a> {
    /// The record of the task, as `task_status` gives it.
    Task(&'a Answer),
    /// The node does not answer; it is asked again.
    NodeAway(&'a ClientError),
}

/// Waits for the end of a task. At the deadline it gives the task as it stands, unfinished.
///
/// # Errors
/// When the node answers with an error, or is away for longer than a restart takes.
pub(crate) async fn wait(
    client: &NodeClient,
    options: &WaitOptions,
    mut observe: impl FnMut(Observed<'_>),
) -> Result<TaskEnd, ClientError> {
    let deadline = options.within.map(|within| Instant::now() + within);
    let poll = if options.watched { WATCHED_POLL } else { LONG_POLL };
    let mut away_since: Option<Instant> = None;
    loop {
        let left = deadline.map_or(poll, |deadline| deadline.saturating_duration_since(Instant::now()));
        let asked = step(client, options, poll.min(left), &mut observe).await;
        let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        match asked {
            Ok(end) if end.is_finished() || over => return Ok(end),
            Ok(_) => away_since = None,
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if !error.is_absence() || over || since.elapsed() >= PATIENCE {
                    return Err(error);
                }
                observe(Observed::NodeAway(&error));
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }
}

async fn step(
    client: &NodeClient,
    options: &WaitOptions,
    poll: Duration,
    observe: &mut impl FnMut(Observed<'_>),
) -> Result<TaskEnd, ClientError> {
    let (task_id, peer) = (options.task_id.as_str(), options.peer.as_deref());
    if options.watched {
        observe(Observed::Task(&client.task_status(task_id, peer).await?));
    }
    client.get_result(task_id, poll, peer).await
}
