//! Discovery in a world: its store, its peers, its sources.

use crate::discovery::tests::bench::{Everybody, ME, offers, peer};
use crate::discovery::{DiscoveryDeps, DiscoveryOptions, DiscoveryPorts, DiscoveryStatus, prepare};
use crate::sources::{OwnCard, PeerSource, Schedule, SourceError};
use bytes::Bytes;
use futures::future::BoxFuture;
use meshwork_kit::testing::{Probe, World, probe};
use meshwork_kit::{ActorRef, Backoff, Port, Reply, channel_port};
use meshwork_proto::discovery::{
    DescribeNode, Exchange, Exchanged, FoundPeer, ListMembers, MemberView, SignedRecord, Source,
};
use meshwork_proto::store::{Commit, Scan, StoreError, WriteOp};
use meshwork_proto::transport::{
    CallError, CallPeer, ConnectError, ConnectPeer, ConnectedPeer, DisconnectPeer, PeerAnswer, PeerTarget,
    ReportOffence,
};
use meshwork_proto::wire::{MeshReply, MeshRequest};
use meshwork_proto::{ErrorCode, MeshError, PeerId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

const LONG: Duration = Duration::from_secs(600);
const X: &str = "/ip4/198.51.100.1/tcp/1";

/// A store that does what the story says.
#[derive(Default)]
pub(in crate::discovery::tests) struct Store {
    pub(in crate::discovery::tests) rows: BTreeMap<Bytes, Bytes>,
    pub(in crate::discovery::tests) broken: Option<StoreError>,
}

/// How the peers of the story answer.
#[derive(Default)]
struct Peers {
    exchanges: Vec<(PeerId, Exchange)>,
    advertisements: Vec<PeerId>,
    answer: Option<Vec<SignedRecord>>,
    plain: BTreeSet<PeerId>,
    silent: BTreeSet<PeerId>,
}

/// Discovery and everybody around it.
pub(in crate::discovery::tests) struct Scene {
    pub(in crate::discovery::tests) ports: DiscoveryPorts,
    pub(in crate::discovery::tests) dials: Probe<ConnectPeer>,
    pub(in crate::discovery::tests) disconnects: Probe<DisconnectPeer>,
    pub(in crate::discovery::tests) offences: Probe<ReportOffence>,
    pub(in crate::discovery::tests) registry: prometheus::Registry,
    peers: Rc<RefCell<Peers>>,
    actor: ActorRef,
}

type DialReply = Reply<Result<ConnectedPeer, ConnectError>>;

impl Scene {
    pub(in crate::discovery::tests) fn store() -> Rc<RefCell<Store>> {
        Rc::default()
    }

    pub(in crate::discovery::tests) fn start(world: &World) -> Self {
        Self::with(world, Self::store(), |_| {}, Vec::new())
    }

    pub(in crate::discovery::tests) fn with(
        world: &World,
        store: Rc<RefCell<Store>>,
        change: impl FnOnce(&mut DiscoveryOptions),
        sources: Vec<Box<dyn PeerSource>>,
    ) -> Self {
        let mut options = DiscoveryOptions { seed: 7, ..DiscoveryOptions::default() };
        change(&mut options);
        let (ports, seed) = prepare();
        let (connect, dials) = probe(64);
        let (disconnect, disconnects) = probe(64);
        let (offence, offences) = probe(64);
        let (describe, asked) = probe::<DescribeNode>(64);
        asked.reply_with(|_| offers(&[X]));
        let peers: Rc<RefCell<Peers>> = Rc::default();
        let deps = DiscoveryDeps {
            clock: world.clock().clone(),
            local_peer: peer(ME),
            notary: Arc::new(Everybody(peer(ME))),
            call_peer: peers_port(&peers),
            connect,
            disconnect,
            offence,
            describe,
            commit: commits(&store),
            scan: scans(&store),
            sources,
        };
        let registry = prometheus::Registry::new();
        let actor = seed.start(world.supervision(), &registry, options, deps).unwrap();
        Self { ports, dials, disconnects, offences, registry, peers, actor }
    }

    pub(in crate::discovery::tests) fn status(&self) -> DiscoveryStatus {
        self.actor.status().get::<DiscoveryStatus>().cloned().expect("it has a status")
    }

    pub(in crate::discovery::tests) async fn members(&self) -> Vec<MemberView> {
        self.ports.members.ask(ListMembers::default(), LONG).await.unwrap()
    }

    /// Everybody answers exchanges with these records.
    pub(in crate::discovery::tests) fn answer_exchanges(&self, records: Vec<SignedRecord>) {
        self.peers.borrow_mut().answer = Some(records);
    }

    pub(in crate::discovery::tests) fn speaks_only_the_first(&self, of: &str) {
        self.peers.borrow_mut().plain.insert(peer(of));
    }

    pub(in crate::discovery::tests) fn is_silent(&self, of: &str) {
        self.peers.borrow_mut().silent.insert(peer(of));
    }

    /// What was asked of whom.
    pub(in crate::discovery::tests) fn exchanges(&self) -> Vec<(PeerId, Exchange)> {
        self.peers.borrow().exchanges.clone()
    }

    pub(in crate::discovery::tests) fn advertisements(&self) -> Vec<PeerId> {
        self.peers.borrow().advertisements.clone()
    }

    /// The dial of this peer with this deadline; others are answered that nobody is there.
    pub(in crate::discovery::tests) async fn dial_of(
        &mut self,
        of: Option<&str>,
        deadline_ms: u64,
    ) -> (ConnectPeer, DialReply) {
        loop {
            let (request, reply) = self.dials.next().await;
            if request.peer == of.map(peer) && request.deadline_ms == deadline_ms {
                return (request, reply);
            }
            let error = CallError::Timeout { target: String::new(), after_ms: 1 };
            reply.send(Err(ConnectError { error, failed: Vec::new() }));
        }
    }
}

fn commits(store: &Rc<RefCell<Store>>) -> Port<Commit> {
    let (port, asked) = probe::<Commit>(64);
    let store = Rc::clone(store);
    asked.reply_with(move |commit| {
        let mut store = store.borrow_mut();
        if let Some(error) = &store.broken {
            return Err(error.clone());
        }
        for op in commit.ops {
            match op {
                WriteOp::Put { key, value, .. } => drop(store.rows.insert(key, value)),
                WriteOp::Delete { key, .. } => drop(store.rows.remove(&key)),
                WriteOp::Pin { .. } | WriteOp::Unpin { .. } => panic!("discovery pins nothing"),
            }
        }
        Ok(())
    });
    port
}

fn scans(store: &Rc<RefCell<Store>>) -> Port<Scan> {
    let (port, asked) = probe::<Scan>(64);
    let store = Rc::clone(store);
    asked.reply_with(move |scan| {
        let store = store.borrow();
        if let Some(error) = &store.broken {
            return Err(error.clone());
        }
        let rows = store.rows.iter().filter(|(key, _)| !scan.after || **key > scan.from);
        Ok(rows.take(scan.limit as usize).map(|(key, value)| (key.clone(), value.clone())).collect())
    });
    port
}

/// The peers, as transport gives their answers.
fn peers_port(peers: &Rc<RefCell<Peers>>) -> Port<CallPeer> {
    let (port, mut inbox) = channel_port::<CallPeer>(256);
    let peers = Rc::clone(peers);
    tokio::task::spawn_local(async move {
        while let Some(envelope) = inbox.recv().await {
            let (call, reply) = envelope.into_parts();
            let PeerTarget::Id(whom) = call.target else { panic!("by id only") };
            let mut peers = peers.borrow_mut();
            if peers.silent.contains(&whom) {
                reply.send(Err(CallError::ConnectionLost(whom)));
                continue;
            }
            reply.send(answer(&mut peers, whom, call.request));
        }
    });
    port
}

fn answer(peers: &mut Peers, whom: PeerId, request: MeshRequest) -> Result<PeerAnswer, CallError> {
    let reply = match request {
        MeshRequest::Exchange(_) if peers.plain.contains(&whom) => {
            let error = MeshError::new(ErrorCode::VersionMismatch, "exchange needs /meshwork/2");
            return Err(CallError::Refused(error));
        }
        MeshRequest::Exchange(exchange) => {
            peers.exchanges.push((whom.clone(), exchange));
            let Some(records) = peers.answer.clone() else {
                return Err(CallError::ConnectionLost(whom));
            };
            MeshReply::Exchanged(Exchanged { records, known: Vec::new(), news: 0 })
        }
        MeshRequest::Advertise(_) => {
            peers.advertisements.push(whom.clone());
            MeshReply::Advertised(offers(&[X]))
        }
        other => panic!("{}", other.name()),
    };
    Ok(PeerAnswer { peer: whom, reply })
}

/// What a source does when it is visited.
#[derive(Clone)]
pub(in crate::discovery::tests) enum Script {
    Gives(Vec<FoundPeer>),
    Fails(SourceError),
    Hangs,
    Panics,
}

/// A source that does what the story says.
pub(in crate::discovery::tests) struct Scripted {
    kind: Source,
    shared: Arc<Played>,
}

/// The story's end of it.
pub(in crate::discovery::tests) struct Played {
    script: Mutex<Script>,
    visits: AtomicUsize,
    withdrawals: AtomicUsize,
    card: Mutex<Option<OwnCard>>,
    news: Notify,
}

impl Played {
    pub(in crate::discovery::tests) fn set(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(in crate::discovery::tests) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }

    pub(in crate::discovery::tests) fn withdrawals(&self) -> usize {
        self.withdrawals.load(Ordering::SeqCst)
    }

    /// The source has news.
    pub(in crate::discovery::tests) fn has_news(&self) {
        self.news.notify_one();
    }

    pub(in crate::discovery::tests) fn last_card(&self) -> Option<OwnCard> {
        self.card.lock().unwrap().clone()
    }
}

impl Scripted {
    #[allow(
        clippy::new_ret_no_self,
        reason = "the source goes to discovery, the other end stays with the story"
    )]
    pub(in crate::discovery::tests) fn new(
        kind: Source,
        script: Script,
    ) -> (Box<dyn PeerSource>, Arc<Played>) {
        let shared = Arc::new(Played {
            script: Mutex::new(script),
            visits: AtomicUsize::new(0),
            withdrawals: AtomicUsize::new(0),
            card: Mutex::new(None),
            news: Notify::new(),
        });
        (Box::new(Self { kind, shared: Arc::clone(&shared) }), shared)
    }
}

impl PeerSource for Scripted {
    fn kind(&self) -> Source {
        self.kind
    }

    fn schedule(&self) -> Schedule {
        let backoff = Backoff::doubling(Duration::from_secs(30), Duration::from_secs(300));
        Schedule { interval: Duration::from_secs(60), deadline: Duration::from_secs(5), backoff }
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        self.shared.visits.fetch_add(1, Ordering::SeqCst);
        *self.shared.card.lock().unwrap() = Some(own.clone());
        let script = self.shared.script.lock().unwrap().clone();
        Box::pin(async move {
            match script {
                Script::Gives(found) => Ok(found),
                Script::Fails(error) => Err(error),
                Script::Hangs => std::future::pending().await,
                Script::Panics => panic!("a fault of the source"),
            }
        })
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        self.shared.withdrawals.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn woken(&mut self) -> BoxFuture<'_, ()> {
        if matches!(*self.shared.script.lock().unwrap(), Script::Panics) {
            panic!("a fault of the source");
        }
        Box::pin(self.shared.news.notified())
    }
}
