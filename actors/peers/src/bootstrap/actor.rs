//! The thin shell around the table of contacts: mailbox, timers, reading places and dialling.

use super::BootstrapOptions;
use super::asked::Waiting;
use super::attempt::attempt;
use super::contacts::{Contacts, How, Key, Outcome, Pauses, Try};
use super::metrics::Metrics;
use super::places::{Place, Reader, Reading, reader};
use meshwork_kit::{
    Actor, ActorKind, ActorRef, Ctx, Handles, Mailbox, Port, Reply, Supervision, TimerHandle, mailbox,
};
use meshwork_proto::PeerId;
use meshwork_proto::bootstrap::{
    BootstrapError, BootstrapNow, ContactState, ContactView, ListContacts, SkippedEntry,
};
use meshwork_proto::discovery::{FoundPeer, PeersFound, Source};
use meshwork_proto::transport::{ConnectPeer, DialPeer};
use prometheus::Registry;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most contacts in the published status; all are listed by [`ListContacts`].
const MAX_SHOWN: usize = 64;
/// After a peer has answered: how long it may take until the watch of connected peers shows it.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// Whom bootstrap asks.
#[derive(Clone)]
pub struct BootstrapDeps {
    /// Connections to configured peers: kept by the transport.
    pub dial: Port<DialPeer>,
    /// Connections to contacts that were read somewhere.
    pub connect: Port<ConnectPeer>,
    /// Tells the peer book what was read, and where.
    pub found: Port<PeersFound>,
    /// The admitted peers that are connected, no more than there may be connections: without any the node is alone. A
    /// change is shown within a second.
    pub connected: watch::Receiver<Arc<BTreeSet<PeerId>>>,
}

/// How far each first contact is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootstrapStatus {
    /// By address, at most 64 of them: `connected`, `lost` (it was), or else the last error, `dialling` or `waiting`.
    pub contacts: BTreeMap<String, String>,
}

/// How others reach bootstrap.
#[derive(Clone)]
pub struct BootstrapPorts {
    /// Read first contacts and dial them.
    pub now: Port<BootstrapNow>,
    /// The first contacts.
    pub contacts: Port<ListContacts>,
}

/// Bootstrap before it runs: its ports exist and queue up messages.
pub struct BootstrapSeed(Mailbox<Bootstrap>);

/// Makes bootstrap's ports.
#[must_use]
pub fn prepare() -> (BootstrapPorts, BootstrapSeed) {
    let mailbox = mailbox::<Bootstrap>();
    let ports = BootstrapPorts { now: mailbox.port(8), contacts: mailbox.port(16) };
    (ports, BootstrapSeed(mailbox))
}

impl BootstrapSeed {
    /// Starts the actor, and shows its metrics in the registry.
    ///
    /// # Errors
    /// When the registry has metrics of the same names already.
    pub fn start(
        self,
        sup: &Supervision,
        registry: &Registry,
        options: BootstrapOptions,
        deps: BootstrapDeps,
    ) -> Result<ActorRef, prometheus::Error> {
        let read = reader(&options);
        self.start_with(sup, registry, options, deps, read)
    }

    pub(super) fn start_with(
        self,
        sup: &Supervision,
        registry: &Registry,
        options: BootstrapOptions,
        deps: BootstrapDeps,
        read: Reader,
    ) -> Result<ActorRef, prometheus::Error> {
        let metrics = Metrics::register(registry)?;
        Ok(self.0.start(sup, move || {
            let pauses = Pauses { kept: options.backoff, found: options.found_backoff };
            Bootstrap {
                contacts: Contacts::new(pauses, options.max_dials, options.own.clone()),
                rng: StdRng::seed_from_u64(options.seed),
                options: options.clone(),
                deps: deps.clone(),
                read: read.clone(),
                metrics: metrics.clone(),
                places: BTreeMap::new(),
                waiting: BTreeMap::new(),
                next_waiting: 0,
                wake: None,
                alone: None,
            }
        }))
    }
}

pub(super) struct Bootstrap {
    pub(super) options: BootstrapOptions,
    deps: BootstrapDeps,
    pub(super) read: Reader,
    metrics: Metrics,
    rng: StdRng,
    pub(super) contacts: Contacts,
    places: BTreeMap<Place, PlaceState>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) next_waiting: u64,
    /// Set for the next try that is due.
    wake: Option<TimerHandle>,
    /// Set while the node has no peer, until it counts as alone.
    alone: Option<TimerHandle>,
}

/// How the regular reading of a place is going.
#[derive(Default)]
struct PlaceState {
    timer: Option<TimerHandle>,
    failures: u32,
    problem: Option<String>,
}

/// What became of the entries of a place.
pub(super) struct Taken {
    pub(super) keys: BTreeSet<Key>,
    /// Entries that cannot be used.
    pub(super) skipped: Vec<SkippedEntry>,
    /// Entries that can, but not here or not now.
    pub(super) refused: Vec<SkippedEntry>,
}

impl Bootstrap {
    /// Starts the tries that are due, and sets the timer for the next one.
    pub(super) fn pump(&mut self, ctx: &mut Ctx<'_, Self>) {
        let now = ctx.now();
        for due in self.contacts.due(now) {
            self.attempt(due, ctx);
        }
        if let Some(timer) = self.wake.take() {
            timer.cancel(ctx);
        }
        if let Some(next) = self.contacts.next() {
            self.wake = Some(ctx.after(next.since(now), |actor, ctx| {
                actor.wake = None;
                actor.pump(ctx);
            }));
        }
        self.metrics.show(self.contacts.tally());
    }

    fn attempt(&self, due: Try, ctx: &mut Ctx<'_, Self>) {
        let Try { key, source, how } = due;
        let kept = matches!(how, How::Keep(_));
        let work = attempt(self.deps.clone(), how, self.options.dial_deadline);
        ctx.spawn_then(work, move |actor, outcome, ctx| {
            let ok = matches!(outcome, Outcome::Reached { .. });
            actor.metrics.dialled(source, ok);
            match &outcome {
                Outcome::Reached { peer, .. } if Some(peer) == actor.options.own.as_ref() => {
                    tracing::debug!(contact = key, %source, "a first contact is this node itself: left out");
                }
                Outcome::Reached { peer, .. } => {
                    tracing::info!(%peer, contact = key, %source, "joined the mesh through this peer");
                }
                Outcome::Failed { problem, .. } if kept => {
                    tracing::warn!(contact = key, %source, problem, "first contact failed: tried again later");
                }
                // There may be many of the others, and some are of the past: the list of contacts has the reason.
                Outcome::Failed { problem, .. } => {
                    tracing::debug!(contact = key, %source, problem, "first contact failed: tried again later");
                }
            }
            if let Some((source, found)) = actor.contacts.tried(ctx.now(), &key, outcome, &mut actor.rng) {
                actor.tell(source, vec![found]);
            }
            if ok {
                ctx.after(SHOWN_WITHIN, move |actor, ctx| {
                    actor.contacts.no_longer_fresh(ctx.now(), &key, &mut actor.rng);
                    actor.pump(ctx);
                });
            }
            actor.pump(ctx);
            actor.answer_settled(ctx);
        });
    }

    /// Tells the peer book. If it has too much to do, the next reading tells it again.
    fn tell(&self, source: Source, found: Vec<FoundPeer>) {
        if found.is_empty() {
            return;
        }
        if let Err(error) = self.deps.found.tell(PeersFound { source, found }) {
            tracing::debug!(%error, "the peer book was not told of first contacts");
        }
    }

    /// Reads a configured place, now and from now on.
    fn read_regularly(&mut self, place: Place, ctx: &mut Ctx<'_, Self>) {
        if let Some(timer) = self.places.entry(place.clone()).or_default().timer.take() {
            timer.cancel(ctx);
        }
        let work = (self.read)(place.clone());
        ctx.spawn_then(work, move |actor, read, ctx| {
            actor.take_regular(place, read, ctx);
            actor.pump(ctx);
            actor.answer_settled(ctx);
        });
    }

    fn take_regular(&mut self, place: Place, read: Result<Reading, BootstrapError>, ctx: &mut Ctx<'_, Self>) {
        let taken = self.take(&place, read, ctx);
        let failed = taken.is_err();
        let problem = match taken {
            // That this node is among them itself is usual.
            Ok(taken) => taken.skipped.first().map(|entry| format!("{}: {}", entry.entry, entry.problem)),
            Err(error) => Some(error.to_string()),
        };
        let state = self.places.entry(place.clone()).or_default();
        if problem != state.problem {
            if let Some(problem) = &problem {
                tracing::warn!(%place, problem, "first contacts that cannot be used");
            }
            state.problem = problem;
        }
        state.failures = if failed { state.failures.saturating_add(1) } else { 0 };
        if !place.changes() {
            return;
        }
        let pause = match state.failures {
            0 => self.options.read_every,
            // Sooner at first: at the start of a machine names and file systems are a little late.
            failures => self.options.backoff.delay(failures, &mut self.rng).min(self.options.read_every),
        };
        let again = place.clone();
        let timer = ctx.after(pause, move |actor, ctx| actor.read_regularly(again, ctx));
        if let Some(old) = self.places.entry(place).or_default().timer.replace(timer) {
            old.cancel(ctx);
        }
    }

    /// Takes what a place holds into the table.
    pub(super) fn take(
        &mut self,
        place: &Place,
        read: Result<Reading, BootstrapError>,
        ctx: &mut Ctx<'_, Self>,
    ) -> Result<Taken, BootstrapError> {
        self.metrics.read(place.source(), read.is_ok());
        let (found, skipped) = read?.into_parts();
        let named = found.iter().filter(|found| found.peer.is_some()).cloned().collect();
        self.tell(place.source(), named);
        let (keys, refused) = self.contacts.merge(ctx.now(), place, found);
        Ok(Taken { keys, skipped, refused })
    }

    fn begin(&mut self, ctx: &mut Ctx<'_, Self>) {
        for contact in self.options.peers.clone() {
            self.contacts.keep(ctx.now(), contact);
        }
        for place in Place::configured(&self.options) {
            self.read_regularly(place, ctx);
        }
        self.pump(ctx);
    }

    /// Follows which peers are connected.
    fn watch(&self, mut connected: watch::Receiver<Arc<BTreeSet<PeerId>>>, ctx: &mut Ctx<'_, Self>) {
        let next = async move {
            let changed = connected.changed().await;
            (changed.is_ok(), connected)
        };
        ctx.spawn_then(next, |actor, (goes_on, mut connected), ctx| {
            let peers = Arc::clone(&connected.borrow_and_update());
            actor.on_connected(peers, ctx);
            // It ends with the node.
            if goes_on {
                actor.watch(connected, ctx);
            }
        });
    }

    fn on_connected(&mut self, peers: Arc<BTreeSet<PeerId>>, ctx: &mut Ctx<'_, Self>) {
        match (peers.is_empty(), self.alone.take()) {
            (true, None) => {
                self.alone = Some(ctx.after(self.options.alone_after, |actor, ctx| {
                    actor.alone = None;
                    actor.on_alone(ctx);
                }));
            }
            (true, Some(timer)) => self.alone = Some(timer),
            (false, Some(timer)) => timer.cancel(ctx),
            (false, None) => {}
        }
        self.contacts.set_connected(ctx.now(), peers, &mut self.rng);
        self.pump(ctx);
    }

    fn on_alone(&mut self, ctx: &mut Ctx<'_, Self>) {
        tracing::warn!("no peer is connected any more: all first contacts are tried again");
        self.metrics.was_left_alone();
        self.contacts.begin_again(ctx.now(), &mut self.rng);
        self.begin(ctx);
    }
}

impl Actor for Bootstrap {
    const KIND: ActorKind = ActorKind::Bootstrap;
    type Status = BootstrapStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        // What it is at the start is no change: the contacts are tried now in any case.
        let mut connected = self.deps.connected.clone();
        let peers = Arc::clone(&connected.borrow_and_update());
        self.contacts.set_connected(ctx.now(), peers, &mut self.rng);
        self.watch(connected, ctx);
        self.begin(ctx);
    }

    fn status(&self) -> BootstrapStatus {
        let shown = |view: ContactView| {
            let far = match (view.state, view.problem) {
                (ContactState::Dialling | ContactState::Waiting, Some(problem)) => problem,
                (state, _) => state.as_str().to_owned(),
            };
            (view.address, far)
        };
        let views = self.contacts.views(meshwork_proto::UnixMillis::default(), None);
        BootstrapStatus { contacts: views.into_iter().take(MAX_SHOWN).map(shown).collect() }
    }
}

impl Handles<ListContacts> for Bootstrap {
    fn handle(&mut self, _: ListContacts, reply: Reply<Vec<ContactView>>, ctx: &mut Ctx<'_, Self>) {
        reply.send(self.contacts.views(ctx.now(), None));
    }
}
