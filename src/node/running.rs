//! A node from its start to its end: what it waits for, and the order of its stop.

use super::admin::{self, Admin, Phase};
use super::describe::AGENT;
use super::ground::Ground;
use super::http::{self, HttpServers};
use super::ready::ReadyLine;
use super::signals::StopSignals;
use super::wiring::{self, Parts};
use super::{NodeError, logging, workflows};
use crate::config::{Effective, Environment, NodeConfig, NodeFile};
use crate::output::{Failure, Output};
use meshwork_kit::{Events, GiveUp, SupervisionChange, SupervisionEvent};
use meshwork_network::Network;
use meshwork_proto::discovery::SayGoodbye;
use meshwork_proto::executor::{DrainExecutor, Drained};
use meshwork_proto::node::Shutdown;
use meshwork_proto::queue::{By, StartDraining, Stats};
use meshwork_proto::transport::LocalPeer;
use meshwork_proto::{Caller, ErrorCode};
use meshwork_storage::StoreHealth;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a stop by signal lets running tasks finish before they are given back.
const SIGNAL_DRAIN: Duration = Duration::from_secs(10);
/// Each part of the stop gets at most so long.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Saying goodbye, and taking entries out of registries, takes at most so long.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// Longest that reading tasks, and runs of workflows, from disk may take.
const LOAD_WITHIN: Duration = Duration::from_secs(600);

/// Runs a node until it is told to stop, and writes the ready line; with `stdio`, serves MCP on standard input and output
/// instead, until that ends.
pub(crate) async fn run(
    effective: &Effective,
    environment: &Environment,
    output: Output,
    stdio: bool,
) -> Result<(), Failure> {
    logging::start(&effective.node.log, environment)?;
    for warning in &effective.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals =
        StopSignals::listen().map_err(|error| Failure::internal(format!("signals: {error}")))?;
    let (shutdowns, mut asked_to_drain) = mpsc::channel(4);
    let node = Node::start(&effective.node, environment, shutdowns).await?;
    let mut events = node.ground.supervision.events();
    node.loaded().await?;
    let line = node.announce()?;
    if !stdio {
        output.line(line.text(output.is_json()))?;
    }
    let outcome = loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping; once more ends at once");
                tokio::select! {
                    () = node.drain(SIGNAL_DRAIN) => {}
                    _ = signals.next() => tracing::warn!("not drained: running tasks go back when their leases end"),
                }
                break Ok(());
            }
            Some(Shutdown { deadline_ms, exit }) = asked_to_drain.recv() => {
                node.drain(Duration::from_millis(deadline_ms)).await;
                if exit {
                    break Ok(());
                }
            }
            served = node.parts.gateway.serve_stdio(tokio::io::stdin(), tokio::io::stdout()), if stdio => {
                node.drain(SIGNAL_DRAIN).await;
                break served.map_err(|error| Failure::from_coded(&error));
            }
            reason = broken(&mut events, node.ground.store.health(), &node.parts.network) => {
                break Err(Failure::new(ErrorCode::Internal, reason));
            }
        }
    };
    node.stop().await;
    outcome
}

/// Waits for what a node cannot go on with: an actor that gave up, a store that failed.
async fn broken(events: &mut Events, mut store: watch::Receiver<StoreHealth>, network: &Network) -> String {
    tokio::select! {
        () = network.ended() => "the network has ended".to_owned(),
        reason = async {
            loop {
                match events.next().await {
                    Some(event) => if let Some(reason) = must_stop(&event) { return reason },
                    None => return "supervision has ended".to_owned(),
                }
            }
        } => reason,
        failed = async { store.wait_for(|health| matches!(health, StoreHealth::Failed { .. })).await.map(|h| h.clone()) } => {
            match failed {
                Ok(StoreHealth::Failed { reason }) => format!("the store failed: {reason}"),
                _ => "the store has ended".to_owned(),
            }
        }
    }
}

fn must_stop(event: &SupervisionEvent) -> Option<String> {
    match &event.what {
        SupervisionChange::GaveUp { cause, then: GiveUp::StopNode } => {
            Some(format!("actor {} failed too often and the node cannot do without it: {cause}", event.kind))
        }
        _ => None,
    }
}

/// Everything that runs.
struct Node {
    ground: Ground,
    parts: Parts,
    http: HttpServers,
    phase: watch::Sender<Phase>,
    local: LocalPeer,
}

impl Node {
    /// Starts everything in order: addresses, store, actors, network, gateway, HTTP.
    async fn start(
        config: &NodeConfig,
        environment: &Environment,
        shutdowns: mpsc::Sender<Shutdown>,
    ) -> Result<Self, NodeError> {
        let listeners = http::bind(&config.server).await?;
        let ground = Ground::lay(config).await?;
        let parts = match wiring::start(&ground, config, environment, shutdowns).await {
            Ok(parts) => parts,
            Err(error) => {
                // Its threads must end before the runtime does.
                ground.close(STOP_WITHIN).await;
                return Err(error);
            }
        };
        let local = LocalPeer { peer: parts.network.peer_id(), listen: parts.network.addresses() };
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let admin = Arc::new(admin_of(&ground, &parts, &local, phase_seen));
        if !http::is_local(&config.server) {
            tracing::warn!(
                "HTTP has no login and is served beyond this machine: whoever reaches it has all rights"
            );
        }
        let http = http::serve(listeners, &parts.gateway, admin::router(admin))?;
        Ok(Self { ground, parts, http, phase, local })
    }

    /// Waits until queue, coordinator and scheduler have read what is on disk: a million tasks take seconds.
    async fn loaded(&self) -> Result<(), NodeError> {
        let stats = By { caller: Caller::Local, op: Stats { detail: false } };
        match self.parts.ports.queue.stats.ask(stats, LOAD_WITHIN).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(NodeError::of(error)),
            Err(error) => {
                let message = format!("the queue did not load its tasks: {error}");
                return Err(NodeError::new(error.code(), message));
            }
        }
        workflows::loaded(&self.parts.ports, LOAD_WITHIN).await
    }

    /// Marks the node ready and says so in its data directory.
    fn announce(&self) -> Result<ReadyLine, Failure> {
        let line = ReadyLine {
            peer_id: self.local.peer.to_string(),
            listen: self.local.listen.clone(),
            mcp_url: format!("http://{}/mcp", self.http.http),
            admin_url: format!("http://{}", self.http.admin),
            pid: std::process::id(),
        };
        let file = NodeFile {
            peer_id: self.local.peer.clone(),
            listen: line.listen.clone(),
            mcp_url: line.mcp_url.clone(),
            pid: line.pid,
        };
        file.write(&self.ground.data).map_err(|error| Failure::internal(format!("node.json: {error}")))?;
        self.phase.send_replace(Phase::Ready);
        tracing::info!(peer = %self.local.peer, mcp = line.mcp_url, "ready");
        Ok(line)
    }

    /// No new work; running tasks finish, or are given back at the deadline.
    async fn drain(&self, within: Duration) {
        self.phase.send_replace(Phase::Draining);
        let ports = &self.parts.ports;
        let draining = By { caller: Caller::Local, op: StartDraining };
        if let Err(error) = ports.queue.drain.ask(draining, STOP_WITHIN).await {
            tracing::warn!(%error, "the queue was not told to drain");
        }
        let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let drained = ports.executor.drain.ask(DrainExecutor { deadline_ms }, within + STOP_WITHIN).await;
        match drained {
            Ok(Drained { finished, released }) => tracing::info!(finished, released, "drained"),
            Err(error) => tracing::warn!(%error, "the executor did not drain"),
        }
    }

    /// Peers hear that this node leaves, and forget it at once instead of after its time to live.
    async fn say_goodbye(&self) {
        let within_ms = u64::try_from(GOODBYE_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let goodbye = SayGoodbye { within_ms };
        match self.parts.ports.discovery.goodbye.ask(goodbye, GOODBYE_WITHIN + STOP_WITHIN).await {
            Ok(heard) => tracing::debug!(heard, "said goodbye"),
            Err(error) => tracing::warn!(%error, "left without goodbye: peers forget this node only in time"),
        }
    }

    /// Stops everything in the reverse order of its start; what does not end in time is named in the log.
    async fn stop(self) {
        self.phase.send_replace(Phase::Stopping);
        self.say_goodbye().await;
        self.http.stop(STOP_WITHIN).await;
        self.parts.gateway.stop(STOP_WITHIN).await;
        if let Err(error) = self.parts.network.stop(STOP_WITHIN).await {
            tracing::warn!(%error, "network");
        }
        drop(self.parts.ports);
        NodeFile::remove(&self.ground.data);
        self.ground.close(STOP_WITHIN).await;
        tracing::info!("stopped");
    }
}

fn admin_of(ground: &Ground, parts: &Parts, local: &LocalPeer, phase: watch::Receiver<Phase>) -> Admin {
    let metrics = parts.network.metrics();
    let network = parts.network.status();
    let store = ground.store.health();
    Admin {
        registry: ground.registry.clone(),
        actors: ground.supervision.actors(),
        phase,
        libp2p_metrics: Box::new(move || metrics.encode_libp2p()),
        parts: Box::new(move || {
            vec![("network", json!(*network.borrow())), ("store", json!(format!("{:?}", *store.borrow())))]
        }),
        about: json!({"peer_id": local.peer, "listen": local.listen, "version": AGENT}),
    }
}
