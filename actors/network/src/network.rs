//! Wiring, start and stop of the network.

use crate::error::{StartError, StopError};
use crate::fetch::Fetcher;
use crate::identity::NodeIdentity;
use crate::metrics::NetworkMetrics;
use crate::options::NetworkOptions;
use crate::revoked::Revocations;
use crate::shared::{Core, Parts};
use crate::status::NetworkStatus;
use crate::swarm::{Driver, TrustCommand, build};
use crate::trust::{MeshSecret, MeshSecrets, Trust};
use libp2p::metrics::{Metrics, Registry as Libp2pRegistry};
use meshwork_kit::{Clock, Inbox, Port, channel_port};
use meshwork_proto::artifact::{AppendArtifact, StatArtifact};
use meshwork_proto::discovery::{PeerConnection, PeersFound};
use meshwork_proto::executor::WorkSource;
use meshwork_proto::queue::{WorkerPeerBack, WorkerPeerLost};
use meshwork_proto::transport::{
    CallPeer, ConnectPeer, ConsiderAddresses, DialPeer, DisconnectPeer, EnterSelf, FetchArtifact,
    GetLocalPeer, ListNeighbours, ListShutOut, LookUp, OpenPairing, PairWith, ReportOffence, RevokePeer,
    SecretsError, SecretsSet, ServeRequest, SetSecrets,
};
use meshwork_proto::{PeerId, Request};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Commands to the swarm task that wait.
const COMMANDS: usize = 1024;
/// Dials asked for at a time.
const DIALS: usize = 64;
/// Asks for this node's own addresses that wait.
const LOCAL_ASKS: usize = 64;
/// Look-ups and entries under way.
const LOOK_UPS: usize = 32;

/// What can be asked of the network.
#[derive(Debug, Clone)]
pub struct NetworkPorts {
    /// Ask a peer for something.
    pub call: Port<CallPeer>,
    /// Fetch an artifact from a peer into this node's store.
    pub fetch: Port<FetchArtifact>,
    /// Connect to a peer, now and whenever the connection is lost.
    pub dial: Port<DialPeer>,
    /// This node's id and addresses.
    pub local: Port<GetLocalPeer>,
    /// Connect to a peer that was found, at whichever address answers.
    pub connect: Port<ConnectPeer>,
    /// Close the connections to a peer.
    pub disconnect: Port<DisconnectPeer>,
    /// Look peers up in a table or at a rendezvous point.
    pub look_up: Port<LookUp>,
    /// Enter this node there.
    pub enter_self: Port<EnterSelf>,
    /// Whom multicast DNS hears.
    pub neighbours: Port<ListNeighbours>,
    /// Have addresses of this node tried out.
    pub consider: Port<ConsiderAddresses>,
    /// A peer misbehaved.
    pub offence: Port<ReportOffence>,
    /// Revoke a peer.
    pub revoke: Port<RevokePeer>,
    /// Who is revoked or banned.
    pub shut_out: Port<ListShutOut>,
    /// Open the door for a new node.
    pub open_pairing: Port<OpenPairing>,
    /// Join the mesh of another node.
    pub pair_with: Port<PairWith>,
    /// Replace the mesh secrets.
    pub secrets: Port<SetSecrets>,
}

/// What the network asks and tells others.
#[derive(Debug, Clone)]
pub struct NetworkDeps {
    /// The node's clock.
    pub clock: Clock,
    /// Serves what peers ask of this node.
    pub serve: Port<ServeRequest>,
    /// How much of an artifact is in the store.
    pub stat_artifact: Port<StatArtifact>,
    /// Stores a piece of an artifact.
    pub append_artifact: Port<AppendArtifact>,
    /// Discovery: connections.
    pub connection: Port<PeerConnection>,
    /// Discovery: the peer that invited this node.
    pub found: Port<PeersFound>,
    /// Queue: a worker's peer is gone.
    pub worker_lost: Port<WorkerPeerLost>,
    /// Queue: it is back.
    pub worker_back: Port<WorkerPeerBack>,
    /// Executor: peers that may have work.
    pub work_source: Port<WorkSource>,
}

/// A network whose ports exist and which has not started: what is asked of it waits.
pub struct NetworkSeed {
    identity: NodeIdentity,
    trust: Trust,
    options: NetworkOptions,
    calls: Inbox<CallPeer>,
    fetches: Inbox<FetchArtifact>,
    dials: Inbox<DialPeer>,
    locals: Inbox<GetLocalPeer>,
    membership: Membership,
}

/// What is asked about finding peers and letting them in.
struct Membership {
    connects: Inbox<ConnectPeer>,
    disconnects: Inbox<DisconnectPeer>,
    look_ups: Inbox<LookUp>,
    entries: Inbox<EnterSelf>,
    neighbours: Inbox<ListNeighbours>,
    considered: Inbox<ConsiderAddresses>,
    offences: Inbox<ReportOffence>,
    revocations: Inbox<RevokePeer>,
    shut_outs: Inbox<ListShutOut>,
    openings: Inbox<OpenPairing>,
    pairings: Inbox<PairWith>,
    secrets: Inbox<SetSecrets>,
}

impl fmt::Debug for NetworkSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkSeed").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Makes the ports of a network; it runs from [`NetworkSeed::start`] on.
#[must_use]
pub fn prepare(identity: NodeIdentity, trust: Trust, options: NetworkOptions) -> (NetworkPorts, NetworkSeed) {
    let (call, calls) = channel_port(options.max_calls);
    let (fetch, fetches) = channel_port(options.max_fetches);
    let (dial, dials) = channel_port(DIALS);
    let (local, locals) = channel_port(LOCAL_ASKS);
    let (connect, connects) = channel_port(DIALS);
    let (disconnect, disconnects) = channel_port(DIALS);
    let (look_up, look_ups) = channel_port(LOOK_UPS);
    let (enter_self, entries) = channel_port(LOOK_UPS);
    let (neighbours, heard) = channel_port(4);
    let (consider, considered) = channel_port(4);
    let (offence, offences) = channel_port(LOCAL_ASKS);
    let (revoke, revocations) = channel_port(4);
    let (shut_out, shut_outs) = channel_port(4);
    let (open_pairing, openings) = channel_port(4);
    let (pair_with, pairings) = channel_port(4);
    let (secrets, new_secrets) = channel_port(4);
    let membership = Membership {
        connects,
        disconnects,
        look_ups,
        entries,
        neighbours: heard,
        considered,
        offences,
        revocations,
        shut_outs,
        openings,
        pairings,
        secrets: new_secrets,
    };
    let seed = NetworkSeed { identity, trust, options, calls, fetches, dials, locals, membership };
    let ports = NetworkPorts {
        call,
        fetch,
        dial,
        local,
        connect,
        disconnect,
        look_up,
        enter_self,
        neighbours,
        consider,
        offence,
        revoke,
        shut_out,
        open_pairing,
        pair_with,
        secrets,
    };
    (ports, seed)
}

impl NetworkSeed {
    /// Starts the network on the current tokio runtime; answers when it listens on all configured addresses.
    ///
    /// # Errors
    /// When an address is in use or cannot be listened on, or libp2p cannot be set up.
    pub async fn start(
        self,
        deps: NetworkDeps,
        registry: &prometheus::Registry,
    ) -> Result<Network, StartError> {
        let revocations = Revocations::load(self.options.revoked_file.as_deref())?;
        let revoked = revocations.peers();
        let mut libp2p_registry = Libp2pRegistry::default();
        let swarm = build(&self.identity, &self.options, &mut libp2p_registry)?;
        let libp2p_metrics = Metrics::new(&mut libp2p_registry);
        let metrics = NetworkMetrics::with_libp2p(libp2p_registry);
        metrics.register(registry).map_err(|error| StartError::Setup {
            problem: format!("metrics cannot be registered: {error}"),
        })?;
        let (commands, queue) = mpsc::channel(COMMANDS);
        let core = Core::new(Parts {
            identity: self.identity,
            options: self.options,
            trust: self.trust,
            revocations,
            commands,
            deps,
            metrics,
        });
        let guard = core.stopping.clone().drop_guard();
        let mut driver = Driver::new(swarm, Arc::clone(&core), queue, libp2p_metrics);
        driver.shut_out_revoked(revoked);
        driver.listen().await?;
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        let swarm = tokio::spawn(async move {
            // Also when it panics.
            let _ends = ends;
            driver.run().await;
        });
        let fetcher = Arc::new(Fetcher::default());
        serve(&core, self.calls, |core, call| async move { core.call(call).await });
        serve(&core, self.dials, |core, dial| async move { core.dial(dial).await });
        serve(&core, self.locals, |core, _| async move { core.listening.borrow().clone() });
        serve(&core, self.fetches, move |core, request| {
            let fetcher = Arc::clone(&fetcher);
            async move { fetcher.fetch(&core, request).await }
        });
        self.membership.serve(&core);
        Ok(Network { core, swarm, ended, _guard: guard })
    }
}

impl Membership {
    /// Serves what is asked about who is connected and who is let in.
    fn serve(self, core: &Arc<Core>) {
        serve(core, self.connects, |core, request| async move { core.connect_peer(request).await });
        serve(core, self.shut_outs, |core, _| async move { core.list_shut_out().await });
        serve(core, self.openings, |core, request| async move { core.open_pairing(request) });
        serve(core, self.pairings, |core, request| async move { core.pair_with(request).await });
        serve_to_the_end(core, self.disconnects, |core, request| async move {
            core.disconnect_peer(request).await
        });
        serve_to_the_end(core, self.offences, |core, request| async move {
            core.report(&request.peer, request.offence);
        });
        serve_to_the_end(core, self.revocations, |core, request| async move { core.revoke(request).await });
        serve_to_the_end(
            core,
            self.secrets,
            |core, request| async move { set_secrets(&core, request).await },
        );
        serve(core, self.look_ups, |core, ask| async move { core.look_up(ask).await });
        serve(core, self.entries, |core, ask| async move { core.enter_self(ask).await });
        serve(core, self.neighbours, |core, ask| async move { core.list_neighbours(ask).await });
        serve(core, self.considered, |core, ask| async move { core.consider(ask).await });
    }
}

/// Serves [`SetSecrets`].
async fn set_secrets(core: &Core, request: SetSecrets) -> Result<SecretsSet, SecretsError> {
    let wrong = |error: crate::trust::SecretError| SecretsError(error.to_string());
    let secrets: Vec<MeshSecret> = request
        .secrets
        .iter()
        .map(|bytes| MeshSecret::from_bytes(bytes))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if secrets.is_empty() {
        return Err(SecretsError("there must be at least one".into()));
    }
    let secrets = MeshSecrets::new(secrets).map_err(wrong)?;
    let set = core.ask_swarm(|reply| TrustCommand::SetSecrets { secrets, reply }).await;
    set.ok_or_else(|| SecretsError("this node's network is stopping".into()))
}

/// A network that runs. Dropping it stops it without waiting.
pub struct Network {
    core: Arc<Core>,
    swarm: JoinHandle<()>,
    ended: CancellationToken,
    _guard: DropGuard,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("peer", &self.core.local).finish_non_exhaustive()
    }
}

impl Network {
    /// This node's peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.core.local.clone()
    }

    /// Where others reach this node: external addresses, configured or confirmed, then those it listens on, then those
    /// through relays, each with `/p2p/<id>`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.core.listening.borrow().listen.clone()
    }

    /// The network as it is; published at most four times a second.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<NetworkStatus> {
        self.core.status.subscribe()
    }

    /// The mesh's metrics, and libp2p's own as text.
    #[must_use]
    pub fn metrics(&self) -> NetworkMetrics {
        self.core.metrics.clone()
    }

    /// Ends when the swarm task has ended. Before [`Network::stop`] was called that is a fault, after which the network
    /// does nothing any more: the node should stop.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes up nothing more, lets replies that are ready leave, and closes all connections. What is still asked of
    /// the network ends unanswered.
    ///
    /// # Errors
    /// When it did not end in time; it is cut off then.
    pub async fn stop(self, within: Duration) -> Result<(), StopError> {
        let deadline = Instant::now() + within;
        self.core.stopping.cancel();
        self.core.tasks.close();
        let abort = self.swarm.abort_handle();
        let stopped = async {
            // A panic of the swarm task was reported when it happened.
            let _ = self.swarm.await;
            self.core.tasks.wait().await;
        };
        if tokio::time::timeout_at(deadline, stopped).await.is_ok() {
            return Ok(());
        }
        let left = self.core.tasks.len() + usize::from(!abort.is_finished());
        abort.abort();
        Err(StopError { within, left })
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// Serves each request of an inbox in a task of its own, which ends when its asker goes away. The permits of the
/// inbox bound the work in flight.
fn serve<R, F, Fut>(core: &Arc<Core>, mut inbox: Inbox<R>, answer: F)
where
    R: Request,
    F: Fn(Arc<Core>, R) -> Fut + Send + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    let shared = Arc::clone(core);
    core.spawn(async move {
        while let Some(envelope) = inbox.recv().await {
            let (request, mut reply, permit) = envelope.into_parts_with_permit();
            let answering = answer(Arc::clone(&shared), request);
            shared.spawn(async move {
                let _permit = permit;
                tokio::select! {
                    biased;
                    answer = answering => reply.send(answer),
                    () = reply.abandoned() => {}
                }
            });
        }
    });
}

/// Like [`serve`], for what must not stop half way because its asker went away.
fn serve_to_the_end<R, F, Fut>(core: &Arc<Core>, mut inbox: Inbox<R>, answer: F)
where
    R: Request,
    F: Fn(Arc<Core>, R) -> Fut + Send + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    let shared = Arc::clone(core);
    core.spawn(async move {
        while let Some(envelope) = inbox.recv().await {
            let (request, reply, permit) = envelope.into_parts_with_permit();
            let answering = answer(Arc::clone(&shared), request);
            shared.spawn(async move {
                let _permit = permit;
                reply.send(answering.await);
            });
        }
    });
}
