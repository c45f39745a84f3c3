//! The shell around the logic: mailbox, timer, evaluation, and effects to ports.

use super::held::Held;
use super::logic::{
    Answer, CommitId, Coordinator, Effect, FlightId, Op, Prepared, Setup, Ticket, Totals, Turn,
};
use super::metrics::Metrics;
use super::{WorkflowDeps, WorkflowOptions};
use meshwork_kit::{Actor, ActorKind, Ctx, TimerHandle};
use meshwork_proto::store::{Commit, StoreError};
use meshwork_proto::workflow::{RunState, TaskEnded, WorkflowError};
use meshwork_proto::{Caller, UnixMillis};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

mod calls;
mod check;
mod definitions;
mod documents;
mod hand_over;
mod incoming;
mod load;
mod parts;
mod prepare;
mod store;
mod stored;
mod tasks;
mod tools;
mod view;

use calls::Calls;
use definitions::Definitions;
use documents::Documents;
use tools::Tools;

/// How often gone askers are looked for, and gauges are set.
const SWEEP: Duration = Duration::from_secs(1);
/// So many changes wait to leave, and they leave at once: a commit must not grow too large.
const LEAVE_AT: usize = 256;
/// Ends of tasks that come while the state is loaded; more are not remembered, they are asked after.
const MAX_DEFERRED_ENDS: usize = 16 * 1024;

/// What outlives a restart of the actor.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: WorkflowOptions,
    pub(super) deps: WorkflowDeps,
    pub(super) metrics: Metrics,
}

/// A message that is taken up now, or came while the state was loaded.
#[allow(
    clippy::large_enum_variant,
    reason = "a message is moved a few times; boxing would cost an allocation each"
)]
#[derive(Debug)]
pub(super) enum Deferred {
    Op(Held, Caller, Op),
    Ended(Box<TaskEnded>),
}

/// A commit that waits for a place at the store, and what may be done when it has been sent.
struct Leaving {
    id: CommitId,
    commit: Commit,
    then: Vec<Effect>,
}

/// The actor.
pub(super) struct WorkflowActor {
    shared: Arc<Shared>,
    state: Coordinator,
    /// What waits until the state is loaded; bounded by the quotas of the ports.
    loading: Option<VecDeque<Deferred>>,
    held: BTreeMap<Ticket, Held>,
    next_ticket: u64,
    /// Commits that wait for a place at the store, in order.
    outbox: VecDeque<Leaving>,
    /// Somebody waits for a place for the first of them.
    waiting_for_place: bool,
    stalled: bool,
    /// A turn is coming in which what was decided leaves, and what was left is done.
    turn_comes: bool,
    timer: Option<(UnixMillis, TimerHandle)>,
    definitions: Rc<Definitions>,
    documents: Rc<Documents>,
    tools: Rc<Tools>,
    calls: Rc<Calls>,
    counted: Totals,
}

/// What others may see of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkflowStatus {
    /// Whether memory is still being filled from the store.
    pub loading: bool,
    /// Runs by state.
    pub runs: BTreeMap<RunState, u64>,
    /// Steps and items that take a place in the queue.
    pub in_flight: u32,
    /// Readers that wait for the end of a run, or for news.
    pub waiting_readers: usize,
    /// Requests that are not answered yet, waiting ones included.
    pub unanswered: usize,
    /// Batches that wait for a place at the store.
    pub writes_waiting: usize,
}

impl Actor for WorkflowActor {
    const KIND: ActorKind = ActorKind::Workflow;
    type Status = WorkflowStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.begin_loading(ctx);
        ctx.every(SWEEP, |actor, ctx| actor.sweep(ctx));
    }

    fn status(&self) -> WorkflowStatus {
        WorkflowStatus {
            loading: self.loading.is_some(),
            runs: self.state.by_state(),
            in_flight: self.state.in_flight(),
            waiting_readers: self.state.waiting(),
            unanswered: self.held.len() + self.loading.as_ref().map_or(0, VecDeque::len),
            writes_waiting: self.outbox.len(),
        }
    }
}

impl WorkflowActor {
    /// The `start`th state of this process, from 0.
    pub(super) fn new(shared: &Arc<Shared>, start: u64) -> Self {
        let state = Coordinator::new(Setup {
            options: shared.options.clone(),
            local_peer: shared.deps.local_peer.clone(),
            // Another seed at each start: ids of runs must not come again.
            seed: shared.deps.seed.wrapping_add(start.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        });
        Self {
            shared: Arc::clone(shared),
            state,
            loading: Some(VecDeque::new()),
            held: BTreeMap::new(),
            next_ticket: 0,
            outbox: VecDeque::new(),
            waiting_for_place: false,
            stalled: false,
            turn_comes: false,
            timer: None,
            definitions: Rc::default(),
            documents: Rc::new(Documents::new(shared.options.document_cache_bytes)),
            tools: Rc::default(),
            calls: Rc::default(),
            counted: Totals::default(),
        }
    }

    /// Takes a message up, or keeps it until the state is loaded.
    pub(super) fn take_up(&mut self, message: Deferred, ctx: &mut Ctx<'_, Self>) {
        if let Some(waiting) = &mut self.loading {
            let is_end = matches!(message, Deferred::Ended(_));
            if !is_end || waiting.len() < MAX_DEFERRED_ENDS {
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
            Deferred::Ended(ended) => self.step(ctx, |state, turn| state.task_ended(turn, *ended)),
        }
    }

    /// Lets the logic decide, and carries out what it decided. Events leave in a turn of their own, together with those
    /// of whatever comes until then.
    fn step(&mut self, ctx: &mut Ctx<'_, Self>, decide: impl FnOnce(&mut Coordinator, &mut Turn<'_>)) {
        let (now, wall) = (ctx.now(), self.shared.deps.clock.wall());
        let mut out = Vec::new();
        decide(&mut self.state, &mut Turn { now, wall, out: &mut out });
        let mut effects: VecDeque<Effect> = out.into();
        while let Some(effect) = effects.pop_front() {
            if let Some((flight, prepared)) = self.carry_out(effect, ctx) {
                let mut out = Vec::new();
                self.state.prepared(&mut Turn { now, wall, out: &mut out }, flight, prepared);
                effects.extend(out);
            }
        }
        self.send_commits(ctx);
        self.arm(ctx);
        self.see_to_turn(ctx);
    }

    /// Sees to it that what waits to leave does so, and that what was left is done.
    fn see_to_turn(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (leaves, changes) = self.state.waiting_to_leave();
        if changes >= LEAVE_AT {
            return self.step(ctx, |state, turn| state.flush(turn));
        }
        if self.turn_comes || !(leaves || self.state.wants_more()) {
            return;
        }
        self.turn_comes = true;
        // After the messages that are there already: what they bring leaves with the same commit.
        ctx.spawn_then(std::future::ready(()), |actor, (), ctx| {
            actor.turn_comes = false;
            actor.step(ctx, |state, turn| {
                state.go_on(turn);
                state.flush(turn);
            });
            actor.count();
        });
    }

    /// Does one thing; what an evaluation gave if it was done at once.
    fn carry_out(&mut self, effect: Effect, ctx: &mut Ctx<'_, Self>) -> Option<(FlightId, Prepared)> {
        match effect {
            Effect::Commit { id, ops, acknowledge, admission, then } => {
                self.outbox.push_back(Leaving { id, commit: Commit { ops, acknowledge, admission }, then });
            }
            Effect::Read { id, plan } => self.read(id, plan, ctx),
            Effect::Load(id) => self.load(id, ctx),
            Effect::Check { id, submit } => self.check(id, *submit, ctx),
            Effect::Prepare(prepare) => return self.prepare(*prepare, ctx),
            Effect::SubmitTask(task) => self.submit_task(*task, ctx),
            Effect::CancelTask { flight, task, reason } => self.cancel_task(flight, task, reason, ctx),
            Effect::WatchTask { flight, task } => self.watch_task(flight, task, ctx),
            Effect::StepsKnown => self.tell_steps_known(),
            Effect::CallSub { flight, peer, call } => self.call_part(flight, peer, call, ctx),
            Effect::HandOver(what) => self.hand_over(*what, ctx),
            Effect::Fetch { from, what } => self.fetch_run(from, what, ctx),
            Effect::Answer(ticket, answer) => self.answer(ticket, answer, ctx),
            Effect::Note(note) => self.shared.metrics.note(note),
            Effect::Fatal(error) => self.give_up(&error, ctx),
        }
        None
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, ctx: &mut Ctx<'_, Self>) {
        let Some(held) = self.held.remove(&ticket) else { return };
        match answer {
            Answer::Run(shown) if !shown.tasks.is_empty() => self.show_progress(held, *shown, ctx),
            answer => held.send(answer),
        }
    }

    /// Memory and store do not agree any more: everybody is told, and the next state is built from the store.
    fn give_up(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        for (_, held) in std::mem::take(&mut self.held) {
            let told = match held {
                // Of what is on its way to the store nobody knows: it must not sound as if it had been refused.
                Held::TakenOver(_) => WorkflowError::Unavailable(error.to_string()),
                _ => WorkflowError::Store(error.clone()),
            };
            held.send(Answer::Refused(told));
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
        let timer = ctx.after(due.since(ctx.now()), |actor, ctx| {
            actor.timer = None;
            actor.step(ctx, Coordinator::tick);
        });
        self.timer = Some((due, timer));
    }

    /// Forgets waits whose askers have gone, and sets gauges.
    fn sweep(&mut self, _ctx: &mut Ctx<'_, Self>) {
        let gone: Vec<Ticket> =
            self.held.iter().filter(|(_, held)| held.is_gone()).map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            // Only waits end early: what is being written is answered, to nobody, when it is done.
            if self.state.forget(ticket) {
                self.held.remove(&ticket);
            }
        }
        self.count();
        let state = &self.state;
        self.shared.metrics.stand(&state.by_state(), state.in_flight(), state.waiting(), self.outbox.len());
    }

    fn count(&mut self) {
        let totals = *self.state.totals();
        if totals != self.counted {
            self.shared.metrics.count(&self.counted, &totals);
            self.counted = totals;
        }
    }
}
