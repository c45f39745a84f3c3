//! What all tasks of the network share: who this node is, whom it trusts, who is connected, and the way to the swarm task.

use crate::NetworkDeps;
use crate::identity::NodeIdentity;
use crate::metrics::NetworkMetrics;
use crate::options::NetworkOptions;
use crate::pairing::{Door, Exchanges};
use crate::revoked::Revocations;
use crate::session::{Directory, locked};
use crate::status::NetworkStatus;
use crate::swarm::{Command, TrustCommand};
use crate::trust::Trust;
use meshwork_proto::transport::{LocalPeer, LookUpError, Neighbours, Offence};
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One log line about the same matter with the same peer in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Matters about which the time of the last line is kept.
const MAX_LOGGED_KEPT: usize = 1024;

/// What all tasks of the network share.
pub(crate) struct Core {
    pub(crate) local: PeerId,
    pub(crate) identity: NodeIdentity,
    pub(crate) options: NetworkOptions,
    trust: Mutex<Arc<Trust>>,
    pub(crate) revocations: tokio::sync::Mutex<Revocations>,
    pub(crate) door: Mutex<Door>,
    pub(crate) exchanges: Exchanges,
    pub(crate) directory: Directory,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) deps: NetworkDeps,
    pub(crate) metrics: NetworkMetrics,
    pub(crate) listening: watch::Sender<LocalPeer>,
    /// Whom multicast DNS hears, or why nobody.
    pub(crate) neighbours: watch::Sender<Result<Neighbours, LookUpError>>,
    pub(crate) status: watch::Sender<NetworkStatus>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    logged: Mutex<BTreeMap<(PeerId, &'static str), UnixMillis>>,
}

/// What a [`Core`] is made of.
pub(crate) struct Parts {
    pub(crate) identity: NodeIdentity,
    pub(crate) options: NetworkOptions,
    pub(crate) trust: Trust,
    pub(crate) revocations: Revocations,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) deps: NetworkDeps,
    pub(crate) metrics: NetworkMetrics,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let local = parts.identity.peer_id();
        Arc::new(Self {
            identity: parts.identity,
            options: parts.options,
            trust: Mutex::new(Arc::new(parts.trust)),
            revocations: tokio::sync::Mutex::new(parts.revocations),
            door: Mutex::default(),
            exchanges: Exchanges::default(),
            directory: Directory::default(),
            commands: parts.commands,
            deps: parts.deps,
            metrics: parts.metrics,
            listening: watch::Sender::new(LocalPeer { peer: local.clone(), listen: Vec::new() }),
            neighbours: watch::Sender::new(Ok(Neighbours::default())),
            status: watch::Sender::new(NetworkStatus::of(local.clone())),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            logged: Mutex::default(),
            local,
        })
    }

    /// Whom this node trusts now.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&locked(&self.trust))
    }

    pub(crate) fn set_trust(&self, trust: Arc<Trust>) {
        *locked(&self.trust) = trust;
    }

    /// A peer misbehaved. With a full queue this one is lost: a peer that misbehaves does so again.
    pub(crate) fn report(&self, peer: &PeerId, offence: Offence) {
        let command = TrustCommand::Offence { peer: peer.clone(), offence };
        if self.commands.try_send(Command::Trust(command)).is_err() {
            tracing::debug!(%peer, offence = offence.as_str(), "an offence was not counted: the swarm is busy");
        }
    }

    /// A task that ends when the network stops.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Whether the refusal of a peer is worth a line in the log now.
    pub(crate) fn may_log_refusal(&self, peer: &PeerId) -> bool {
        self.may_log(peer, "refusal")
    }

    /// Whether this matter with a peer is worth a line in the log now.
    pub(crate) fn may_log(&self, peer: &PeerId, matter: &'static str) -> bool {
        let now = self.deps.clock.now();
        let recent = |at: &UnixMillis| now.since(*at) < LOG_EVERY;
        let mut logged = locked(&self.logged);
        let key = (peer.clone(), matter);
        if logged.get(&key).is_some_and(recent) {
            return false;
        }
        if logged.len() >= MAX_LOGGED_KEPT {
            logged.retain(|_, at| recent(at));
            if logged.len() >= MAX_LOGGED_KEPT {
                return false;
            }
        }
        logged.insert(key, now);
        true
    }

    /// Asks the swarm task something about trust; none: the network is stopping.
    pub(crate) async fn ask_swarm<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> TrustCommand,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Trust(command(reply))).await.ok()?;
        answer.await.ok()
    }
}
