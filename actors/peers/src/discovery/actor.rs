//! The shell around the logic: mailbox, timers, and effects to ports.

mod gossip;
mod handlers;
mod leave;
mod providers;
mod register;
mod store;

use super::book::BookStatus;
use super::gossip::GossipTotals;
use super::logic::{Effect, Membership};
use super::metrics::Metrics;
use super::options::DiscoveryOptions;
use super::policy::Dial;
use super::runner::{Runner, RunnerDeps, SourceStatus};
use crate::sources::PeerSource;
use meshwork_kit::{
    Actor, ActorKind, ActorRef, Clock, Ctx, Mailbox, Port, Reply, Supervision, TimerHandle, mailbox,
};
use meshwork_proto::discovery::{
    Advertisement, Announce, CleanUp, DescribeNode, DiscoverNow, FindProviders, ForgetPeer, ListMembers,
    ListPeers, Notary, PeerAdvertised, PeerConnection, PeerExchange, PeersFound, RegisterPeer, SayGoodbye,
    SourceReport,
};
use meshwork_proto::store::{Commit, Scan};
use meshwork_proto::transport::{
    CallError, CallPeer, ConnectError, ConnectPeer, ConnectedPeer, DisconnectPeer, Offence, ReportOffence,
};
use meshwork_proto::{PeerId, UnixMillis};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// So much earlier than its asker the network gives a dial up.
const GRACE: Duration = Duration::from_secs(1);
/// How often gauges and counters are brought up to date.
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// While the transport has no addresses yet, at the start, this node is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// So many looks without addresses, and it is said as it is: nobody listens here.
const LOOKS: u32 = 20;

/// How others reach discovery.
#[derive(Clone)]
pub struct DiscoveryPorts {
    /// The peer book.
    pub list: Port<ListPeers>,
    /// Tell all peers now.
    pub announce: Port<Announce>,
    /// A peer told us.
    pub advertised: Port<PeerAdvertised>,
    /// Connection changes.
    pub connection: Port<PeerConnection>,
    /// The peer book, as it is shown.
    pub members: Port<ListMembers>,
    /// What a peer passes on.
    pub exchange: Port<PeerExchange>,
    /// Peers were found: by a source, or by bootstrap.
    pub found: Port<PeersFound>,
    /// Enter a peer by hand.
    pub register: Port<RegisterPeer>,
    /// Ask the sources now.
    pub discover: Port<DiscoverNow>,
    /// Look up who provides what.
    pub providers: Port<FindProviders>,
    /// Forget silent peers.
    pub clean_up: Port<CleanUp>,
    /// Forget a peer.
    pub forget: Port<ForgetPeer>,
    /// Say goodbye to everybody.
    pub goodbye: Port<SayGoodbye>,
}

/// Whom discovery needs, and who it is.
pub struct DiscoveryDeps {
    /// The node's clock.
    pub clock: Clock,
    /// This node.
    pub local_peer: PeerId,
    /// Signs this node's records and checks those of others.
    pub notary: Arc<dyn Notary>,
    /// Requests to peers.
    pub call_peer: Port<CallPeer>,
    /// Connections to peers.
    pub connect: Port<ConnectPeer>,
    /// The end of connections to peers.
    pub disconnect: Port<DisconnectPeer>,
    /// Who misbehaves.
    pub offence: Port<ReportOffence>,
    /// What to say of this node.
    pub describe: Port<DescribeNode>,
    /// Writes to the store.
    pub commit: Port<Commit>,
    /// Reads from the store.
    pub scan: Port<Scan>,
    /// Ways of finding peers that are visited.
    pub sources: Vec<Box<dyn PeerSource>>,
}

/// What others may see of discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiscoveryStatus {
    /// The book in numbers.
    #[serde(flatten)]
    pub book: BookStatus,
    /// Whether the book is still being read from the store.
    pub loading: bool,
    /// Signed records held, this node's own included.
    pub records: usize,
    /// Records that are gone and must not come back.
    pub tombstones: usize,
    /// Connections that are being opened.
    pub dials_in_flight: usize,
    /// Peers forgotten since the start.
    pub forgotten: u64,
    /// The sources that are visited.
    pub sources: Vec<SourceStatus>,
}

/// Discovery before it runs: its ports exist and queue up messages.
pub struct DiscoverySeed {
    mailbox: Mailbox<Discovery>,
    found: Port<PeersFound>,
}

/// Makes discovery's ports.
#[must_use]
pub fn prepare() -> (DiscoveryPorts, DiscoverySeed) {
    let mailbox = mailbox::<Discovery>();
    let ports = DiscoveryPorts {
        list: mailbox.port(64),
        announce: mailbox.port_in_flight(4),
        advertised: mailbox.port_in_flight(256),
        // Transport coalesces these per peer, so a burst is as large as the number of peers that change at once.
        connection: mailbox.port(1024),
        members: mailbox.port(64),
        exchange: mailbox.port_in_flight(256),
        found: mailbox.port(256),
        register: mailbox.port_in_flight(16),
        discover: mailbox.port_in_flight(8),
        providers: mailbox.port_in_flight(8),
        clean_up: mailbox.port(4),
        forget: mailbox.port(16),
        goodbye: mailbox.port_in_flight(2),
    };
    let found = ports.found.clone();
    (ports, DiscoverySeed { mailbox, found })
}

impl DiscoverySeed {
    /// Starts the actor, and the visits to its sources.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn start(
        self,
        sup: &Supervision,
        registry: &prometheus::Registry,
        options: DiscoveryOptions,
        deps: DiscoveryDeps,
    ) -> Result<ActorRef, prometheus::Error> {
        let Self { mailbox, found } = self;
        let metrics = Metrics::register(registry)?;
        let runner_deps = RunnerDeps {
            own: deps.local_peer.clone(),
            clock: deps.clock.clone(),
            describe: deps.describe.clone(),
            found,
            metrics: metrics.clone(),
        };
        let seeds = (1..).map(|n: u64| options.seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        // They outlive a restart of the actor: what they know of their sources is not its state.
        let runners = deps
            .sources
            .into_iter()
            .zip(seeds)
            .map(|(source, seed)| Runner::start(sup.runtime(), source, runner_deps.clone(), seed))
            .collect();
        let shared = Arc::new(Shared {
            options,
            local_peer: deps.local_peer,
            notary: deps.notary,
            call_peer: deps.call_peer,
            connect: deps.connect,
            disconnect: deps.disconnect,
            offence: deps.offence,
            describe: deps.describe,
            commit: deps.commit,
            scan: deps.scan,
            runners,
            metrics,
            left: AtomicBool::new(false),
        });
        let starts = AtomicU64::new(0);
        let fresh = move || Discovery::new(&shared, starts.fetch_add(1, Ordering::Relaxed));
        Ok(mailbox.start(sup, fresh))
    }
}

/// What outlives a restart of the actor.
struct Shared {
    options: DiscoveryOptions,
    local_peer: PeerId,
    notary: Arc<dyn Notary>,
    call_peer: Port<CallPeer>,
    connect: Port<ConnectPeer>,
    disconnect: Port<DisconnectPeer>,
    offence: Port<ReportOffence>,
    describe: Port<DescribeNode>,
    commit: Port<Commit>,
    scan: Port<Scan>,
    runners: Vec<Runner>,
    metrics: Metrics,
    /// Goodbye was said: a restarted actor must not take it back.
    left: AtomicBool,
}

/// What was counted already.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    gossip: GossipTotals,
    forgotten: u64,
    evicted: u64,
}

/// The actor.
pub(super) struct Discovery {
    shared: Arc<Shared>,
    core: Membership,
    timer: Option<(UnixMillis, TimerHandle)>,
    loading: bool,
    /// A batch is being written.
    saving: bool,
    /// Peers that a newer meshwork wrote down: not written over.
    untouchable: BTreeSet<PeerId>,
    /// The number that the store knows this node to have signed with.
    saved_sequence: u64,
    /// Who waits for the end of a comparison.
    comparing: Vec<(PeerId, oneshot::Sender<SourceReport>)>,
    /// Who waits until the book is written down, and how many peers heard the goodbye.
    parting: Vec<(Reply<u32>, u32)>,
    /// As it was at the last look: counting ten thousand entries at each status would be a waste.
    stand: BookStatus,
    counted: Counted,
}

impl Actor for Discovery {
    const KIND: ActorKind = ActorKind::Discovery;
    type Status = DiscoveryStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.core.hold();
        self.begin_loading(ctx);
        ctx.every(SHOW_EVERY, |actor, ctx| actor.show(ctx.now()));
        if self.shared.left.load(Ordering::Relaxed) {
            return;
        }
        self.look_at_itself(1, ctx);
        let options = &self.shared.options;
        let (describe_every, advertise_every, save_every) =
            (options.describe_every, options.advertise_every, options.save_every);
        ctx.every(describe_every, |actor, ctx| actor.look_at_itself(LOOKS, ctx));
        ctx.every(advertise_every, |actor, ctx| actor.step(ctx, |core, _, out| core.advertise(out)));
        ctx.every(save_every, |actor, ctx| actor.save(ctx));
        self.arm(ctx);
    }

    fn status(&self) -> DiscoveryStatus {
        let (records, tombstones) = self.core.gossip().sizes();
        let mut book = self.stand.clone();
        (book.known, book.connected) = (self.core.book.len(), self.core.book.linked().len());
        DiscoveryStatus {
            book,
            loading: self.loading,
            records,
            tombstones,
            dials_in_flight: self.core.dials_in_flight(),
            forgotten: self.core.forgotten(),
            sources: self.shared.runners.iter().map(Runner::status).collect(),
        }
    }
}

impl Discovery {
    /// The `start`th state of this process, from 0.
    fn new(shared: &Arc<Shared>, start: u64) -> Self {
        let options = &shared.options;
        let seed = options.seed.wrapping_add(start.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let core = Membership::new(shared.local_peer.clone(), options, Arc::clone(&shared.notary), seed);
        Self {
            shared: Arc::clone(shared),
            core,
            timer: None,
            loading: true,
            saving: false,
            untouchable: BTreeSet::new(),
            saved_sequence: 0,
            comparing: Vec::new(),
            parting: Vec::new(),
            stand: BookStatus::default(),
            counted: Counted::default(),
        }
    }

    /// Lets the logic decide, and carries out what it decided.
    fn step<T>(
        &mut self,
        ctx: &mut Ctx<'_, Self>,
        decide: impl FnOnce(&mut Membership, UnixMillis, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let result = decide(&mut self.core, ctx.now(), &mut out);
        for effect in out {
            self.carry_out(effect, ctx);
        }
        self.arm(ctx);
        result
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Ctx<'_, Self>) {
        match effect {
            Effect::Connect(dial) => self.dial(dial, ctx),
            Effect::Disconnect(peer) => {
                if let Err(error) = self.shared.disconnect.tell(DisconnectPeer { peer: peer.clone() }) {
                    tracing::warn!(%peer, %error, "a connection could not be closed");
                }
            }
            Effect::Ask(ask) => self.ask(ask, ctx),
            Effect::Advertise(peer) => self.advertise_to(peer, ctx),
            Effect::Offence(peer) => {
                tracing::warn!(%peer, "peer passed on a record that is not signed by whom it is about");
                let offence = ReportOffence { peer, offence: Offence::FalseAnnouncement };
                if let Err(error) = self.shared.offence.tell(offence) {
                    tracing::warn!(%error, "a false announcement could not be reported");
                }
            }
            Effect::Compared(peer, ended) => self.compared(&peer, ended.news),
        }
    }

    fn dial(&mut self, dial: Dial, ctx: &mut Ctx<'_, Self>) {
        let connecting = self.connecting(&dial, self.shared.options.dial_deadline);
        ctx.spawn_then(connecting, move |actor, result, ctx| {
            actor.shared.metrics.dialled(&result);
            if let Err(error) = &result {
                tracing::debug!(peer = ?dial.peer, %error, "a known peer could not be connected to");
            }
            actor.step(ctx, |core, now, _| core.dialled(now, &dial, &result));
        });
    }

    /// Opens a connection beside the mailbox.
    fn connecting(
        &self,
        dial: &Dial,
        within: Duration,
    ) -> impl Future<Output = Result<ConnectedPeer, ConnectError>> + use<> + 'static {
        let connect = self.shared.connect.clone();
        let target = dial.peer.as_ref().map_or_else(|| dial.addresses.join(", "), ToString::to_string);
        let request = ConnectPeer {
            peer: dial.peer.clone(),
            addresses: dial.addresses.clone(),
            // The network ends first and says what became of each address: an ask that ended first would know nothing.
            deadline_ms: millis(within.saturating_sub(GRACE).max(within / 2)),
        };
        async move {
            connect.ask(request, within).await.unwrap_or_else(|error| {
                let error = CallError::Unreachable { target, problem: error.to_string() };
                Err(ConnectError { error, failed: Vec::new() })
            })
        }
    }

    /// Sees to it that the logic is called when the next thing is due.
    fn arm(&mut self, ctx: &mut Ctx<'_, Self>) {
        let Some(due) = self.core.next_due(ctx.now()) else { return };
        match &self.timer {
            // An earlier timer finds nothing to do and arms the right one: cheaper than a new timer at each message.
            Some((armed, _)) if *armed <= due => return,
            Some((_, timer)) => timer.cancel(ctx),
            None => {}
        }
        let timer = ctx.after(due.since(ctx.now()), |actor, ctx| {
            actor.timer = None;
            actor.step(ctx, |core, now, out| core.tick(now, out));
        });
        self.timer = Some((due, timer));
    }

    /// Looks at what is true of this node now, and says it if there is an occasion.
    fn look_at_itself(&mut self, look: u32, ctx: &mut Ctx<'_, Self>) {
        let describe = self.shared.describe.clone();
        let within = self.shared.options.exchange_deadline;
        let asking = async move { describe.ask(DescribeNode, within).await };
        ctx.spawn_then(asking, move |actor, own: Result<Advertisement, _>, ctx| match own {
            Ok(own) if own.addresses.is_empty() && look < LOOKS => {
                ctx.after(LOOK_AGAIN, move |actor, ctx| actor.look_at_itself(look + 1, ctx));
            }
            Ok(own) => {
                actor.step(ctx, |core, now, out| core.describe(now, &own, out));
            }
            Err(error) => tracing::warn!(%error, "nothing is said of this node: it could not be described"),
        });
    }

    /// Brings gauges and counters up to date.
    fn show(&mut self, now: UnixMillis) {
        self.stand = self.core.book.status(now);
        let metrics = &self.shared.metrics;
        metrics.stand(&self.stand);
        let before = self.counted;
        let after = Counted {
            gossip: *self.core.gossip().totals(),
            forgotten: self.core.forgotten(),
            evicted: self.core.book.evicted(),
        };
        metrics.gossip(&before.gossip, &after.gossip);
        metrics.gone(after.forgotten - before.forgotten, after.evicted - before.evicted);
        self.counted = after;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
