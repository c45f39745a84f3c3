//! Watching a run of a workflow, also across a restart of its node.

use super::connection::NodeClient;
use super::error::ClientError;
use super::workflows::RunStatus;
use std::time::Duration;
use tokio::time::Instant;

/// How long one request waits for something to happen.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Least pause between two requests: a run that changes a thousand times in a second need not be shown so often.
const PAUSE: Duration = Duration::from_millis(100);
/// Steps that lengthen that pause by as much again: large answers are work for the node.
const STEPS_PER_PAUSE: u32 = 200;
/// How long a node may be away before we give up: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between attempts at a node that is away.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Watches one run.
#[derive(Debug)]
pub(crate) struct RunWatcher<'a> {
    client: &'a NodeClient,
    id: &'a str,
    peer: Option<&'a str>,
    seen: Option<u64>,
    not_before: Instant,
    away_since: Option<Instant>,
}

/// What a watcher saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The run as it stands.
    Run(Box<RunStatus>),
    /// The node does not answer; it is asked again.
    NodeAway(ClientError),
}

impl<'a> RunWatcher<'a> {
    /// Begins; the first answer comes at once.
    #[must_use]
    pub(crate) fn new(client: &'a NodeClient, id: &'a str, peer: Option<&'a str>) -> Self {
        Self { client, id, peer, seen: None, not_before: Instant::now(), away_since: None }
    }

    /// Waits until the run has changed (or nothing has happened for long, or the node is away).
    ///
    /// # Errors
    /// When the node answers with an error, or is away for longer than a restart takes.
    pub(crate) async fn next(&mut self) -> Result<Seen, ClientError> {
        tokio::time::sleep_until(self.not_before).await;
        let wait = if self.seen.is_some() { LONG_POLL } else { Duration::ZERO };
        match self.client.run_status(self.id, wait, self.seen, self.peer).await {
            Ok(status) => {
                self.away_since = None;
                self.seen = Some(status.version);
                let steps = u32::try_from(status.steps.len()).unwrap_or(u32::MAX);
                self.not_before = Instant::now() + PAUSE * (1 + steps / STEPS_PER_PAUSE);
                Ok(Seen::Run(Box::new(status)))
            }
            Err(error) => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if !error.is_absence() || since.elapsed() >= PATIENCE {
                    return Err(error);
                }
                self.not_before = Instant::now() + RETRY_EVERY;
                Ok(Seen::NodeAway(error))
            }
        }
    }
}
