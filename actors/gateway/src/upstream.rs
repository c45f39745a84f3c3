//! Upstream MCP servers: each is started, watched and restarted in a task of its own.
//!
//! - A server is a child process on stdio, in a process group of its own that is killed as a whole, or an address over
//!   Streamable HTTP. It is asked for the present protocol first and for the older one after that.
//! - Its tools are told to the executor as `<server>__<tool>`, whenever they change and once in a while, in case the
//!   executor has forgotten them.
//! - A server that ends, does not start or does not answer is started again, with a growing delay and without end. Until
//!   then its tools are gone and its calls fail; nothing else is touched, and the node's start waits for none.
//! - Calls run beside one another up to the server's concurrency, are cancelled at the server when their asker goes
//!   away, and their results are relayed byte for byte: the SDK's types would drop what they do not know.

mod call;
mod connect;
mod http;
mod lines;
mod names;
mod process;
mod raw;
mod stdio;
mod supervisor;
mod tools;

pub(crate) use call::call_upstream;

use crate::actor::UpstreamChanged;
use crate::metrics::Metrics;
use crate::options::{GatewayOptions, UpstreamOptions};
use meshwork_kit::Port;
use meshwork_proto::executor::UpstreamTools;
use rmcp::RoleClient;
use rmcp::service::Peer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Calls to one server that may wait for one of its slots.
const WAITING: usize = 256;
/// Longest text of a server's error that is kept, in characters.
const MAX_ERROR: usize = 500;

/// How an upstream server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamState {
    /// It is being started, or its handshake is under way.
    Starting,
    /// It answers.
    Up,
    /// It failed and will be started again after a delay.
    BackingOff,
    /// The gateway has stopped it.
    Stopped,
}

/// An upstream server as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How it is.
    pub state: UpstreamState,
    /// How many tools it offers now.
    pub tools: usize,
    /// Starts after the first.
    pub restarts: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// One server: what its supervisor writes and its calls read.
pub(crate) struct Server {
    options: UpstreamOptions,
    status: watch::Sender<UpstreamStatus>,
    /// The connection, while it stands.
    peer: watch::Sender<Option<Peer<RoleClient>>>,
    slots: Semaphore,
    waiting: Semaphore,
    in_flight: AtomicUsize,
    metrics: Metrics,
    changed: Port<UpstreamChanged>,
}

impl Server {
    fn new(options: UpstreamOptions, metrics: Metrics, changed: Port<UpstreamChanged>) -> Self {
        let status = UpstreamStatus {
            name: options.name.clone(),
            state: UpstreamState::Starting,
            tools: 0,
            restarts: 0,
            last_error: None,
        };
        metrics.upstream_up(&options.name, false);
        let slots = Semaphore::new((options.concurrency as usize).clamp(1, Semaphore::MAX_PERMITS));
        let (status, peer) = (watch::Sender::new(status), watch::Sender::new(None));
        Self {
            options,
            status,
            peer,
            slots,
            waiting: Semaphore::new(WAITING),
            in_flight: AtomicUsize::new(0),
            metrics,
            changed,
        }
    }

    fn name(&self) -> &str {
        &self.options.name
    }

    /// Changes the status, if that changes anything, and has it shown.
    fn update(&self, change: impl FnOnce(&mut UpstreamStatus)) {
        let changed = self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
        if changed {
            self.metrics.upstream_up(self.name(), self.status.borrow().state == UpstreamState::Up);
            // When the actor has as many of these waiting as it takes, the status is about to be shown anyway.
            let _ = self.changed.tell(UpstreamChanged);
        }
    }

    /// Whether a call is under way: a server that works on one may have no time for anything else.
    fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}

/// Servers by name.
pub(crate) type Routes = BTreeMap<String, Arc<Server>>;

/// All servers of a gateway.
pub(crate) struct Upstreams {
    servers: Vec<Arc<Server>>,
    tasks: TaskTracker,
}

impl Upstreams {
    /// Starts a supervisor for each server; returns at once.
    pub(crate) fn start(
        options: &GatewayOptions,
        metrics: &Metrics,
        tools: Port<UpstreamTools>,
        changed: Port<UpstreamChanged>,
        stop: &CancellationToken,
        runtime: &Handle,
    ) -> Self {
        let tasks = TaskTracker::new();
        let base_env = Arc::new(options.base_env.clone());
        let mut servers = Vec::new();
        for (seed, upstream) in (options.seed..).zip(&options.upstreams) {
            let server = Arc::new(Server::new(upstream.clone(), metrics.clone(), changed.clone()));
            servers.push(Arc::clone(&server));
            let supervisor = supervisor::Supervisor::new(server, Arc::clone(&base_env), tools.clone(), seed);
            tasks.spawn_on(supervisor.run(stop.clone()), runtime);
        }
        tasks.close();
        Self { servers, tasks }
    }

    /// Where calls go.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        let by_name = |server: &Arc<Server>| (server.name().to_owned(), Arc::clone(server));
        Arc::new(self.servers.iter().map(by_name).collect())
    }

    /// Each server's status as it changes.
    pub(crate) fn watches(&self) -> Vec<watch::Receiver<UpstreamStatus>> {
        self.servers.iter().map(|server| server.status.subscribe()).collect()
    }

    /// Each server's status now.
    pub(crate) fn statuses(&self) -> Vec<UpstreamStatus> {
        self.servers.iter().map(|server| server.status.borrow().clone()).collect()
    }

    /// Waits until all servers have ended, after their stop was asked for.
    pub(crate) async fn ended(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.tasks.wait()).await.is_ok()
    }
}

/// The beginning of a text from outside, without secrets of URLs: errors and logs must not grow with it.
fn clip(text: &str) -> String {
    let text = &crate::causes::redact(text);
    if text.chars().count() <= MAX_ERROR {
        return text.to_owned();
    }
    text.chars().take(MAX_ERROR).chain("...".chars()).collect()
}
