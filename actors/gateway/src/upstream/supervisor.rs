//! The task of one server: starts it, watches it, tells its tools, restarts it.

use super::connect::{Connection, Handshake, connect, with_last_words};
use super::stdio::LastWords;
use super::{Server, UpstreamState, clip, tools};
use futures::FutureExt;
use meshwork_kit::{Backoff, Port, TellError};
use meshwork_proto::executor::{UpstreamTool, UpstreamTools};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rmcp::RoleClient;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The wait before a restart.
const BACKOFF: Backoff = Backoff::doubling(Duration::from_millis(500), Duration::from_secs(60));
/// A server that was up for so long starts its next failures from the shortest wait.
const STABLE: Duration = Duration::from_secs(60);
/// How often a server that has nothing to do is asked whether it is there, and its tools are told again.
const CHECK: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// Checks in a row that may fail before the server is restarted.
const CHECKS_FAILED: u32 = 2;
/// A server that says that its tools changed may be about to say it again.
const CHANGES_SETTLE: Duration = Duration::from_millis(100);
/// How long a server may take to end.
const CLOSE: Duration = Duration::from_secs(10);
/// How long the executor may be too busy to hear of tools.
const TELL_RETRY: Duration = Duration::from_millis(100);
/// How often it is tried.
const TELL_ATTEMPTS: u32 = 50;

/// Problems of a server that are remembered as said.
const SAID: usize = 16;

/// Why a connection ended.
enum End {
    Stopped,
    Failed(String),
}

/// The supervisor of one server.
pub(super) struct Supervisor {
    server: Arc<Server>,
    base_env: Arc<BTreeMap<String, String>>,
    tools: Port<UpstreamTools>,
    rng: ChaCha8Rng,
    handshake: Handshake,
    /// Problems that were warned of since the server was up for long.
    said: BTreeSet<String>,
}

impl Supervisor {
    pub(super) fn new(
        server: Arc<Server>,
        base_env: Arc<BTreeMap<String, String>>,
        tools: Port<UpstreamTools>,
        seed: u64,
    ) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { server, base_env, tools, rng, handshake: Handshake::PresentFirst, said: BTreeSet::new() }
    }

    /// Keeps the server running until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let life = AssertUnwindSafe(Box::pin(self.live_once(&stop))).catch_unwind().await;
            // A fault of ours in the life of one server is the end of that life, and no more.
            let end = life.unwrap_or_else(|_| End::Failed("its supervision failed unexpectedly".into()));
            let End::Failed(problem) = end else {
                break;
            };
            self.server.peer.send_replace(None);
            let stable = began.elapsed() >= STABLE;
            failures = if stable { 1 } else { failures.saturating_add(1) };
            let delay = BACKOFF.delay(failures, &mut self.rng);
            if stable && self.server.status.borrow().state == UpstreamState::Up {
                self.said.clear();
            }
            self.say(&problem, delay);
            self.server.update(|status| {
                status.state = UpstreamState::BackingOff;
                status.last_error = Some(problem);
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = stop.cancelled() => break,
            }
            self.server.metrics.upstream_restarted(self.server.name());
            self.server.update(|status| {
                status.state = UpstreamState::Starting;
                status.restarts += 1;
            });
        }
        self.server.update(|status| status.state = UpstreamState::Stopped);
    }

    /// Warns of a problem once; a server that stays broken says the same at every start.
    fn say(&mut self, problem: &str, delay: Duration) {
        let (server, delay_ms) = (self.server.name(), delay.as_millis());
        if is_new(&mut self.said, problem) {
            tracing::warn!(server, problem, delay_ms, "MCP server failed, it is started again");
        } else {
            tracing::debug!(server, problem, delay_ms, "MCP server failed again, it is started again");
        }
    }

    /// One life of the server, from its start to its end.
    async fn live_once(&mut self, stop: &CancellationToken) -> End {
        let changed = Arc::new(Notify::new());
        let limit = self.server.options.startup_timeout;
        let deadline = Instant::now() + limit;
        let connecting = connect(&self.server, &self.base_env, self.handshake, Arc::clone(&changed));
        let connected = tokio::select! {
            connected = tokio::time::timeout_at(deadline, connecting) => connected,
            () = stop.cancelled() => return End::Stopped,
        };
        let problem = match connected {
            Ok(Ok((connection, last_words))) => {
                return Box::pin(self.serve(connection, &last_words, &changed, deadline, stop)).await;
            }
            Ok(Err(problem)) => problem,
            Err(_) => format!("it did not answer within {limit:?} of its start"),
        };
        self.handshake = self.handshake.other();
        End::Failed(clip(&problem))
    }

    /// From the handshake on: lists, watches, and cleans up behind the server.
    async fn serve(
        &self,
        connection: Connection,
        last_words: &LastWords,
        changed: &Notify,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> End {
        let peer = connection.peer().clone();
        let close = connection.cancellation_token();
        let mut ended = Box::pin(connection.waiting());
        let mut over = false;
        let end = tokio::select! {
            end = self.watch(&peer, changed, deadline) => end,
            _ = &mut ended => {
                over = true;
                // What it wrote last may still be on its way.
                tokio::time::sleep(CHANGES_SETTLE).await;
                End::Failed(with_last_words("it ended".into(), last_words))
            }
            () = stop.cancelled() => End::Stopped,
        };
        self.server.peer.send_replace(None);
        self.tell(Vec::new()).await;
        close.cancel();
        if !over && tokio::time::timeout(CLOSE, ended).await.is_err() {
            tracing::warn!(server = self.server.name(), "the connection did not close in time");
        }
        end
    }

    /// Lists the tools, now, when they change and once in a while; ends when the server does not answer any more.
    async fn watch(&self, peer: &Peer<RoleClient>, changed: &Notify, deadline: Instant) -> End {
        let mut known = match tokio::time::timeout_at(deadline, tools::list(&self.server, peer)).await {
            Ok(Ok(tools)) => tools,
            Ok(Err(problem)) => return End::Failed(clip(&problem)),
            Err(_) => return End::Failed("it did not list its tools in time".into()),
        };
        self.tell(known.clone()).await;
        self.server.peer.send_replace(Some(peer.clone()));
        self.server.update(|status| {
            status.state = UpstreamState::Up;
            status.last_error = None;
        });
        let subscription = subscribe(peer, changed);
        tokio::pin!(subscription);
        let mut failed = 0;
        loop {
            let changed = tokio::select! {
                () = changed.notified() => true,
                () = tokio::time::sleep(CHECK) => false,
                () = &mut subscription => false,
            };
            if changed {
                tokio::time::sleep(CHANGES_SETTLE).await;
            }
            // A server that works on a call may have no time for anything else: that is no failure.
            if changed || !self.server.is_busy() {
                match self.list_again(peer).await {
                    Ok(tools) => (known, failed) = (tools, 0),
                    Err(_) if self.server.is_busy() => {}
                    Err(problem) if failed + 1 >= CHECKS_FAILED => return End::Failed(problem),
                    Err(_) => failed += 1,
                }
            }
            self.tell(known.clone()).await;
        }
    }

    async fn list_again(&self, peer: &Peer<RoleClient>) -> Result<Vec<UpstreamTool>, String> {
        match tokio::time::timeout(CHECK_TIMEOUT, tools::list(&self.server, peer)).await {
            Ok(listed) => listed.map_err(|problem| clip(&problem)),
            Err(_) => Err(format!("it did not list its tools within {CHECK_TIMEOUT:?}")),
        }
    }

    /// Tells the executor which tools there are.
    async fn tell(&self, tools: Vec<UpstreamTool>) {
        self.server.update(|status| status.tools = tools.len());
        for _ in 0..TELL_ATTEMPTS {
            let body = UpstreamTools { server: self.server.name().to_owned(), tools: tools.clone() };
            match self.tools.tell(body) {
                Ok(()) => return,
                Err(TellError::Full { .. }) => tokio::time::sleep(TELL_RETRY).await,
                Err(TellError::Closed { .. }) => return,
            }
        }
        tracing::warn!(server = self.server.name(), "the executor is too busy to hear of the server's tools");
    }
}

/// Whether a problem was not said before; remembers it, and forgets the others when there are too many.
fn is_new(said: &mut BTreeSet<String>, problem: &str) -> bool {
    if said.contains(problem) {
        return false;
    }
    if said.len() >= SAID {
        said.clear();
    }
    said.insert(problem.to_owned())
}

/// In the present protocol, changes are only told to who listens. Never ends.
async fn subscribe(peer: &Peer<RoleClient>, changed: &Notify) {
    let listens = peer.peer_info().is_some_and(|info| {
        !info.protocol_version.has_initialize()
            && info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true))
    });
    if listens
        && let Ok(mut subscription) =
            peer.listen(SubscriptionFilter::builder().tools_list_changed().build()).await
    {
        while let Ok(Some(notification)) = subscription.next().await {
            if matches!(notification, ServerNotification::ToolListChangedNotification(_)) {
                changed.notify_one();
            }
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_new_once_and_what_is_remembered_is_bounded() {
        let mut said = BTreeSet::new();
        assert!(is_new(&mut said, "refused") && !is_new(&mut said, "refused"));
        for number in 0..100 {
            assert!(is_new(&mut said, &number.to_string()));
            assert!(said.len() <= SAID);
        }
    }
}
