//! The shell around the logic: mailbox, timer, and effects to ports.

use super::held::Held;
use super::logic::{Answer, CommitId, Effect, FenceSource, Op, QueueState, Setup, Ticket, Totals, Turn};
use super::metrics::Metrics;
use super::{QueueDeps, QueueOptions};
use meshwork_kit::{Actor, ActorKind, Ctx, TimerHandle};
use meshwork_proto::queue::QueueError;
use meshwork_proto::store::{Commit, StoreError};
use meshwork_proto::task::TaskStatus;
use meshwork_proto::workflow::TaskEnded;
use meshwork_proto::{Caller, PeerId, UnixMillis};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod ended;
mod load;
mod stop;
mod store;

#[cfg(test)]
pub(super) use ended::MAX_UNTOLD;

/// How often gone askers are looked for, and gauges are set.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections that come and go while the state is loaded; more are not remembered, leases start afresh anyway.
const MAX_DEFERRED_TELLS: usize = 1024;

/// What outlives a restart of the actor.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: QueueOptions,
    pub(super) deps: QueueDeps,
    pub(super) fences: FenceSource,
    pub(super) metrics: Metrics,
    /// Once a node drains, it does so until its end.
    pub(super) draining: AtomicBool,
}

/// A message that is taken up now, or came while the state was loaded.
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
#[derive(Debug)]
pub(super) enum Deferred {
    Op(Held, Caller, Op),
    PeerLost(PeerId),
    PeerBack(PeerId),
    StepsKnown,
}

/// The actor.
pub(super) struct Queue {
    shared: Arc<Shared>,
    state: QueueState,
    /// Whether this is the first state of this process.
    new_process: bool,
    /// What waits until the state is loaded; bounded by the quotas of the ports.
    loading: Option<VecDeque<Deferred>>,
    held: BTreeMap<Ticket, Held>,
    next_ticket: u64,
    effects: Vec<Effect>,
    /// Commits that wait for a place at the store, in order.
    outbox: VecDeque<(CommitId, Commit)>,
    /// Somebody waits for a place for the first of them.
    waiting_for_place: bool,
    stalled: bool,
    timer: Option<(UnixMillis, TimerHandle)>,
    /// Workers that are being told to stop.
    stopping: usize,
    /// Ends of which the coordinator could not be told yet, in order.
    untold: VecDeque<TaskEnded>,
    counted: Totals,
}

/// What others may see of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// Whether memory is still being filled from the store.
    pub loading: bool,
    /// Tasks by status.
    pub tasks: BTreeMap<TaskStatus, u64>,
    /// Claims that wait for work.
    pub waiting_claims: usize,
    /// Readers that wait for the end of a task.
    pub waiting_readers: usize,
    /// Requests that are not answered yet, waiting ones included.
    pub unanswered: usize,
    /// Batches that wait for a place at the store.
    pub writes_waiting: usize,
    /// Ends of tasks of which the coordinator could not be told yet.
    pub ends_waiting: usize,
    /// Whether new work is refused.
    pub draining: bool,
}

impl Actor for Queue {
    const KIND: ActorKind = ActorKind::Queue;
    type Status = QueueStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.begin_loading(ctx);
        ctx.every(SWEEP, |queue, ctx| queue.sweep(ctx));
    }

    fn status(&self) -> QueueStatus {
        let (waiting_claims, waiting_readers) = self.state.waiting();
        QueueStatus {
            loading: self.loading.is_some(),
            tasks: self.state.by_status(),
            waiting_claims,
            waiting_readers,
            unanswered: self.held.len() + self.loading.as_ref().map_or(0, VecDeque::len),
            writes_waiting: self.outbox.len(),
            ends_waiting: self.untold.len(),
            draining: self.state.is_draining(),
        }
    }
}

impl Queue {
    /// The `start`th state of this process, from 0.
    pub(super) fn new(shared: &Arc<Shared>, start: u64) -> Self {
        let state = QueueState::new(Setup {
            options: shared.options.clone(),
            local_peer: shared.deps.local_peer.clone(),
            fences: shared.fences.clone(),
            // Another seed at each start: task ids must not come again.
            seed: shared.deps.seed.wrapping_add(start.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            draining: shared.draining.load(Ordering::Relaxed),
        });
        Self {
            shared: Arc::clone(shared),
            state,
            new_process: start == 0,
            loading: Some(VecDeque::new()),
            held: BTreeMap::new(),
            next_ticket: 0,
            effects: Vec::new(),
            outbox: VecDeque::new(),
            waiting_for_place: false,
            stalled: false,
            timer: None,
            stopping: 0,
            untold: VecDeque::new(),
            counted: Totals::default(),
        }
    }

    /// Takes a message up, or keeps it until the state is loaded.
    pub(super) fn take_up(&mut self, message: Deferred, ctx: &mut Ctx<'_, Self>) {
        if let Some(waiting) = &mut self.loading {
            let is_tell = !matches!(message, Deferred::Op(..));
            if !is_tell || waiting.len() < MAX_DEFERRED_TELLS {
                waiting.push_back(message);
            }
            return;
        }
        match message {
            Deferred::Op(held, caller, op) => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.held.insert(ticket, held);
                self.step(ctx, |state, turn| state.apply(turn, ticket, caller, op));
            }
            Deferred::PeerLost(peer) => self.step(ctx, |state, turn| state.peer_lost(turn, &peer)),
            Deferred::PeerBack(peer) => self.step(ctx, |state, _| state.peer_back(&peer)),
            Deferred::StepsKnown => self.step(ctx, |state, turn| state.steps_known(turn)),
        }
    }

    /// Lets the logic decide, and carries out what it decided.
    fn step(&mut self, ctx: &mut Ctx<'_, Self>, decide: impl FnOnce(&mut QueueState, &mut Turn<'_>)) {
        let mut out = std::mem::take(&mut self.effects);
        let held = &self.held;
        let gone = |ticket: Ticket| held.get(&ticket).is_none_or(Held::is_gone);
        let mut turn = Turn { now: ctx.now(), gone: &gone, out: &mut out };
        decide(&mut self.state, &mut turn);
        if self.state.is_draining() {
            self.shared.draining.store(true, Ordering::Relaxed);
        }
        for effect in out.drain(..) {
            self.carry_out(effect, ctx);
        }
        self.effects = out;
        self.send_commits(ctx);
        self.arm(ctx);
        let totals = *self.state.totals();
        if totals != self.counted {
            self.shared.metrics.count(&self.counted, &totals);
            self.counted = totals;
            self.show();
        }
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Ctx<'_, Self>) {
        match effect {
            Effect::Commit { id, ops, acknowledge, admission } => {
                self.outbox.push_back((id, Commit { ops, acknowledge, admission }));
            }
            Effect::Read { id, plan } => self.read(id, plan, ctx),
            Effect::Answer(ticket, answer) => {
                if let Some(held) = self.held.remove(&ticket) {
                    held.send(answer);
                }
            }
            Effect::Stop { worker, stop } => self.stop_worker(&worker, stop, ctx),
            Effect::Ended(ended) => self.tell_end(*ended, ctx),
            Effect::Note(note) => self.shared.metrics.note(note),
            Effect::Fatal(error) => self.give_up(&error, ctx),
        }
    }

    /// Memory and store do not agree any more: everybody is told, and the next state is built from the store.
    fn give_up(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        for (_, held) in std::mem::take(&mut self.held) {
            held.send(Answer::Refused(QueueError::Store(error.clone())));
        }
        self.outbox.clear();
        ctx.fail(format!("the store did not take a change that was made already: {error}"));
    }

    /// Sees to it that the logic is called when the next thing is due.
    fn arm(&mut self, ctx: &mut Ctx<'_, Self>) {
        let Some(due) = self.state.next_due() else { return };
        match &self.timer {
            // An earlier timer finds nothing to do and arms the right one: cheaper than a new timer at each message.
            Some((armed, _)) if *armed <= due => return,
            Some((_, timer)) => timer.cancel(ctx),
            None => {}
        }
        let timer = ctx.after(due.since(ctx.now()), |queue, ctx| {
            queue.timer = None;
            queue.step(ctx, |state, turn| state.tick(turn));
        });
        self.timer = Some((due, timer));
    }

    /// Forgets waits whose askers have gone, and sets gauges that change by themselves.
    fn sweep(&mut self, ctx: &mut Ctx<'_, Self>) {
        let gone: Vec<Ticket> =
            self.held.iter().filter(|(_, held)| held.is_gone()).map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            // Only waits end early: what is being written is answered, to nobody, when it is done.
            if self.state.forget(ticket) {
                self.held.remove(&ticket);
            }
        }
        self.show_at(ctx.now());
    }

    fn show(&self) {
        let metrics = &self.shared.metrics;
        metrics.stand(&self.state.by_status(), self.state.waiting(), self.outbox.len());
        metrics.ends_waiting(self.untold.len());
    }

    fn show_at(&self, now: UnixMillis) {
        self.show();
        self.shared.metrics.oldest_ready(self.state.oldest_ready_ms(now));
    }
}
