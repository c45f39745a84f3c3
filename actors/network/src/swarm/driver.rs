//! The swarm task: polls the swarm, takes commands, ends of handshakes and ticks, and applies what follows. Owns the
//! swarm and everything that is decided beside it. Awaits nothing while it runs.

use super::behaviour::Behaviour;
use super::book::AddressBook;
use super::dialling::Dials;
use super::keep::Keeper;
use super::listening::Listeners;
use super::peers::{Change, PeerTable};
use super::reach::ReachState;
use super::trusting::Guard;
use super::{Command, OpenReply};
use crate::address;
use crate::admission::AdmissionError;
use crate::admission::logic::{Outcome, Ruling};
use crate::notify::{Outbox, Weight};
use crate::shared::Core;
use crate::status::NetworkStatus;
use futures::StreamExt;
use libp2p::metrics::Metrics;
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, StreamProtocol, Swarm};
use meshwork_proto::discovery::PeerConnection;
use meshwork_proto::executor::WorkSource;
use meshwork_proto::queue::{WorkerPeerBack, WorkerPeerLost};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often time itself is looked at: strangers, redials, status.
const TICK: Duration = Duration::from_millis(250);
/// Handshakes whose end waits to be taken.
const HANDSHAKE_QUEUE: usize = 64;
/// How long replies under way and closing connections may take at the stop.
const LAST_WRITES: Duration = Duration::from_millis(250);

/// A handshake that has ended.
pub(super) struct HandshakeEnd {
    pub(super) connection: ConnectionId,
    pub(super) outcome: Result<Outcome, AdmissionError>,
}

/// Whom changes are told to.
pub(super) struct Outboxes {
    pub(super) discovery: Outbox<PeerConnection>,
    queue: Outbox<bool>,
    work: Outbox<WorkSource>,
    /// Discovery again: who is shut out is told beside its connections, so that neither takes the place of the other.
    pub(super) shut_out: Outbox<PeerConnection>,
}

impl Outboxes {
    /// The outboxes; the tasks that deliver from them run until the network stops.
    fn start(core: &Arc<Core>) -> Self {
        let events = &core.metrics.events;
        let connection = core.deps.connection.clone();
        let (discovery, task) =
            Outbox::new("discovery", events, move |_, state: &PeerConnection| connection.tell(state.clone()));
        core.spawn(task);
        let connection = core.deps.connection.clone();
        let (shut_out, task) =
            Outbox::new("discovery", events, move |_, state: &PeerConnection| connection.tell(state.clone()));
        core.spawn(task);
        let (lost, back) = (core.deps.worker_lost.clone(), core.deps.worker_back.clone());
        let (queue, task) = Outbox::new("queue", events, move |peer, connected: &bool| match connected {
            true => back.tell(WorkerPeerBack(peer.clone())),
            false => lost.tell(WorkerPeerLost(peer.clone())),
        });
        core.spawn(task);
        let source = core.deps.work_source.clone();
        let (work, task) =
            Outbox::new("executor", events, move |_, state: &WorkSource| source.tell(state.clone()));
        core.spawn(task);
        Self { discovery, queue, work, shut_out }
    }
}

/// The swarm task's state.
pub(crate) struct Driver {
    pub(super) swarm: Box<Swarm<Behaviour>>,
    pub(super) core: Arc<Core>,
    pub(super) table: PeerTable,
    pub(super) dials: Dials,
    pub(super) keeper: Keeper,
    pub(super) book: AddressBook,
    pub(super) listeners: Listeners,
    pub(super) reach: ReachState,
    pub(super) guard: Guard,
    pub(super) outboxes: Outboxes,
    pub(super) libp2p_metrics: Metrics,
    pub(super) handshake_ends: mpsc::Sender<HandshakeEnd>,
    handshakes: mpsc::Receiver<HandshakeEnd>,
    commands: mpsc::Receiver<Command>,
    /// Something changed that the status shows.
    pub(super) changed: bool,
}

impl Driver {
    pub(crate) fn new(
        swarm: Box<Swarm<Behaviour>>,
        core: Arc<Core>,
        commands: mpsc::Receiver<Command>,
        libp2p_metrics: Metrics,
    ) -> Self {
        let (handshake_ends, handshakes) = mpsc::channel(HANDSHAKE_QUEUE);
        let options = &core.options;
        let keeper = Keeper::new(options.max_kept, options.redial, StdRng::seed_from_u64(options.seed));
        Self {
            swarm,
            table: PeerTable::default(),
            dials: Dials::default(),
            keeper,
            book: AddressBook::default(),
            listeners: Listeners::default(),
            reach: ReachState::new(options),
            guard: Guard::default(),
            outboxes: Outboxes::start(&core),
            libp2p_metrics,
            handshake_ends,
            handshakes,
            commands,
            changed: true,
            core,
        }
    }

    /// Runs until the network stops.
    pub(crate) async fn run(mut self) {
        let stopping = self.core.stopping.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(end) = self.handshakes.recv() => self.on_handshake_end(end),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = tick.tick() => self.on_tick(),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        self.stop().await;
    }

    /// Lets replies leave, says goodbye to all peers, and ends.
    async fn stop(mut self) {
        self.commands.close();
        self.core.directory.clear();
        let tasks = self.core.tasks.clone();
        let replies_left = async {
            tokio::select! {
                () = tasks.wait() => {}
                () = async { loop { self.swarm.next().await; } } => {}
            }
        };
        let on_time = timeout(LAST_WRITES, replies_left).await.is_ok();
        for peer in self.table.peers() {
            // Only an error when it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let all_closed = async {
            while !self.table.is_empty() {
                let event = self.swarm.select_next_some().await;
                self.on_event(event);
            }
        };
        let closed = timeout(LAST_WRITES, all_closed).await.is_ok();
        tracing::debug!(on_time, closed, "network stopped");
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { target, name, keep, until, reply } => {
                self.on_connect(target, name, keep, until, reply);
            }
            Command::Open { peer, protocols, reply } => self.on_open(peer, protocols, reply),
            Command::Trust(command) => self.on_trust(command),
            Command::Directory(command) => self.on_directory(command),
            // Whoever asked may have gone meanwhile: then the answer is for nobody.
            Command::Consider { ips, reply } => drop(reply.send(self.consider(&ips))),
        }
    }

    fn on_open(&mut self, peer: PeerId, protocols: Vec<StreamProtocol>, reply: OpenReply) {
        // Without a connection the reply is dropped, which says so.
        if let Some(connection) = self.table.newest_connection(&peer) {
            self.swarm.behaviour_mut().streams.open(peer, connection, protocols, reply);
        }
    }

    fn on_handshake_end(&mut self, end: HandshakeEnd) {
        let Some(end) = self.review(end) else { return };
        let ruling = end.outcome.map(Outcome::ruling).map_err(|error| error.to_string());
        let verdict = match &ruling {
            Ok(Ruling::Admitted(..)) => "admitted",
            Ok(Ruling::RefusedByUs(_)) => "refused_by_us",
            Ok(Ruling::RefusedByThem(_)) => "refused_by_them",
            Err(_) => "undecided",
        };
        self.core.metrics.admissions.with_label_values(&[verdict]).inc();
        let changes = self.table.handshake_ended(end.connection, ruling);
        self.apply(changes);
        self.ask_again_if_outdated(end.connection);
    }

    fn on_tick(&mut self) {
        let now = self.core.deps.clock.now();
        let overdue = self.table.overdue(now, self.core.options.stranger_grace);
        let overdue = self.spare_needed(overdue, now);
        self.apply(overdue);
        self.reach_tick(now);
        self.redial(now);
        self.guard_tick(now);
        self.dials.drop_abandoned();
        if std::mem::take(&mut self.changed) {
            self.publish();
        }
    }

    /// Does what follows from an event at the table.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.changed = true;
            match change {
                Change::Joined(session) => {
                    session.set_throttled(self.guard.is_throttled(&session.peer));
                    self.core.directory.insert(session);
                }
                Change::Left(session, addresses) => {
                    self.core.directory.remove(&session.peer);
                    session.end();
                    self.book.remember(session.remote, addresses);
                    self.keeper.lost(session.remote, self.core.deps.clock.now());
                    self.settle_waiters_of_lost(&session);
                }
                Change::Up(session, role, address) => {
                    let peer = session.peer.clone();
                    tracing::info!(%peer, ?role, %address, "peer admitted");
                    let address = address::with_peer(&address, &session.remote);
                    let up = PeerConnection::Up { peer: peer.clone(), role, address };
                    self.outboxes.discovery.put(peer.clone(), up, Weight::Essential);
                    self.outboxes.queue.put(peer.clone(), true, Weight::Essential);
                    self.outboxes.work.put(peer.clone(), WorkSource::Connected(peer), Weight::Essential);
                    self.keeper.admitted(session.remote);
                    self.feed_tables(session.remote);
                    self.settle_waiters(session.remote);
                }
                Change::Down(session) => {
                    let peer = session.peer.clone();
                    tracing::info!(%peer, "peer lost");
                    let down = PeerConnection::Down { peer: peer.clone() };
                    self.outboxes.discovery.put(peer.clone(), down, Weight::Essential);
                    self.outboxes.queue.put(peer.clone(), false, Weight::Essential);
                    self.outboxes.work.put(peer.clone(), WorkSource::Lost(peer), Weight::Essential);
                }
                Change::Refused(session, refusal) => {
                    let (peer, reason) = (session.peer.clone(), refusal.in_words());
                    if self.core.may_log_refusal(&peer) {
                        tracing::warn!(%peer, "peer not admitted: {reason}");
                    }
                    let refused = PeerConnection::Refused { peer: peer.clone(), reason };
                    self.outboxes.discovery.put(peer, refused, Weight::Expendable);
                    self.settle_waiters(session.remote);
                }
                Change::Undecided(session, problem) => self.fail_waiters(session.remote, &problem),
                Change::Close(connection, reason) => {
                    self.core.metrics.connections_closed.with_label_values(&[reason]).inc();
                    self.swarm.close_connection(connection);
                }
            }
        }
    }

    /// Tells discovery a round-trip time, which may be lost: another one follows.
    pub(super) fn tell_rtt(&self, peer: PeerId, rtt: Duration) {
        let Some((session, _)) = self.table.session(&peer) else { return };
        // Not before discovery knows that the peer is there.
        if session.role().is_none() || self.outboxes.discovery.is_waiting(&session.peer) {
            return;
        }
        let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let told = self.core.deps.connection.tell(PeerConnection::Rtt { peer: session.peer.clone(), rtt_us });
        if told.is_err() {
            self.core.metrics.events.with_label_values(&["discovery", "dropped"]).inc();
        }
    }

    fn publish(&self) {
        for ((direction, transport), count) in self.table.connection_counts() {
            self.core.metrics.connections.with_label_values(&[direction, transport]).set(count);
        }
        let (admitted, strangers) = self.table.counts();
        self.core.metrics.admitted_peers.set(i64::try_from(admitted).unwrap_or(i64::MAX));
        let (kept, kept_lost) = self.keeper.counts(|peer| self.table.is_connected(peer));
        self.core.status.send_replace(NetworkStatus {
            peer: self.core.local.clone(),
            listen: self.core.listening.borrow().listen.clone(),
            connections: self.table.status(),
            admitted,
            strangers,
            kept,
            kept_lost,
            dialling: self.dials.under_way(),
            reachability: self.reach.reachable.reachability(),
            external: self.reach.reachable.external().map(ToString::to_string).collect(),
            relays: self.relay_status(),
            observed: self.observed_status(),
        });
    }
}
