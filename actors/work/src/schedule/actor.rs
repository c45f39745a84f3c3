//! The shell around the logic: mailbox, timer, and effects to ports.

use super::logic::{Answer, CommitId, Effect, Note, Op, Schedules, Ticket, Turn};
use super::metrics::Metrics;
use super::{ScheduleDeps, ScheduleOptions};
use meshwork_kit::{Actor, ActorKind, Ctx, Reply, TimerHandle};
use meshwork_proto::schedule::{ScheduleError, ScheduleView};
use meshwork_proto::store::{Commit, StoreError};
use meshwork_proto::{Caller, UnixMillis};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

mod load;
mod start;
mod store;

/// The clock on the wall is looked at so often at least: it may be set, or have gone on while the machine slept.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often gauges are set.
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// A clock that went back by less is not worth a line in the log.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// What outlives a restart of the actor.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: ScheduleOptions,
    pub(super) deps: ScheduleDeps,
    pub(super) metrics: Metrics,
}

/// Whom to answer, with what type.
#[derive(Debug)]
pub(super) enum Held {
    View(Reply<Result<ScheduleView, ScheduleError>>),
    List(Reply<Result<Vec<ScheduleView>, ScheduleError>>),
}

impl Held {
    fn send(self, answer: Answer) {
        match (self, answer) {
            (Self::View(reply), Answer::View(view)) => reply.send(Ok(*view)),
            (Self::List(reply), Answer::List(views)) => reply.send(Ok(views)),
            (Self::View(reply), Answer::Refused(error)) => reply.send(Err(error)),
            (Self::List(reply), Answer::Refused(error)) => reply.send(Err(error)),
            (held, answer) => tracing::error!(?held, ?answer, "an answer of the wrong type was dropped"),
        }
    }
}

/// The actor.
pub(super) struct Scheduler {
    shared: Arc<Shared>,
    state: Schedules,
    /// What waits until the state is loaded; bounded by the quotas of the ports.
    loading: Option<VecDeque<(Held, Caller, Op)>>,
    held: BTreeMap<Ticket, Held>,
    next_ticket: u64,
    effects: Vec<Effect>,
    /// Commits that wait for a place at the store, in order.
    outbox: VecDeque<(CommitId, Commit)>,
    /// Somebody waits for a place for the first of them.
    waiting_for_place: bool,
    timer: Option<(UnixMillis, TimerHandle)>,
}

/// What others may see of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleStatus {
    /// Whether memory is still being filled from the store.
    pub loading: bool,
    /// Schedules, paused ones included.
    pub schedules: usize,
    /// Paused ones.
    pub paused: usize,
    /// Starts that are being made.
    pub starting: usize,
    /// Starts that could not be made and are tried again soon.
    pub retrying: usize,
    /// When there is something to do next.
    pub next: Option<UnixMillis>,
    /// Requests that are not answered yet.
    pub unanswered: usize,
}

impl Actor for Scheduler {
    const KIND: ActorKind = ActorKind::Schedule;
    type Status = ScheduleStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.begin_loading(ctx);
        ctx.every(SHOW_EVERY, |scheduler, _| {
            scheduler.shared.metrics.stand(scheduler.state.counts(), scheduler.state.starting());
        });
    }

    fn status(&self) -> ScheduleStatus {
        let ((schedules, paused), (starting, retrying)) = (self.state.counts(), self.state.starting());
        ScheduleStatus {
            loading: self.loading.is_some(),
            schedules,
            paused,
            starting,
            retrying,
            next: self.state.next_due(),
            unanswered: self.held.len() + self.loading.as_ref().map_or(0, VecDeque::len),
        }
    }
}

impl Scheduler {
    /// The `start`th state of this process, from 0.
    pub(super) fn new(shared: &Arc<Shared>, start: u64) -> Self {
        // Another seed at each start: ids must not come again.
        let seed = shared.deps.seed.wrapping_add(start.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            state: Schedules::new(shared.options.clone(), seed),
            shared: Arc::clone(shared),
            loading: Some(VecDeque::new()),
            held: BTreeMap::new(),
            next_ticket: 0,
            effects: Vec::new(),
            outbox: VecDeque::new(),
            waiting_for_place: false,
            timer: None,
        }
    }

    /// Takes a request up, or keeps it until the state is loaded.
    pub(super) fn take_up(&mut self, held: Held, caller: Caller, op: Op, ctx: &mut Ctx<'_, Self>) {
        if let Some(waiting) = &mut self.loading {
            return waiting.push_back((held, caller, op));
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.held.insert(ticket, held);
        self.step(ctx, |state, turn| state.apply(turn, ticket, caller, op));
    }

    /// Lets the logic decide, and carries out what it decided.
    fn step(&mut self, ctx: &mut Ctx<'_, Self>, decide: impl FnOnce(&mut Schedules, &mut Turn<'_>)) {
        let mut out = std::mem::take(&mut self.effects);
        let now = self.shared.deps.clock.wall();
        decide(&mut self.state, &mut Turn { now, out: &mut out });
        for effect in out.drain(..) {
            self.carry_out(effect, ctx);
        }
        self.effects = out;
        self.send_commits(ctx);
        self.arm(now, ctx);
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Ctx<'_, Self>) {
        match effect {
            Effect::Commit { id, ops, acknowledge, admission } => {
                self.outbox.push_back((id, Commit { ops, acknowledge, admission }));
            }
            Effect::Look { id, made } => self.look(id, made, ctx),
            Effect::Start { id, caller, what } => self.make(id, caller, *what, ctx),
            Effect::Answer(ticket, answer) => {
                if let Some(held) = self.held.remove(&ticket) {
                    held.send(answer);
                }
            }
            Effect::Note(note) => self.note(&note),
            Effect::Fatal(error) => self.give_up(&error, ctx),
        }
    }

    fn note(&self, note: &Note) {
        self.shared.metrics.note(note);
        match note {
            Note::Failed { name, error } => tracing::warn!(schedule = name, "a start was not made: {error}"),
            Note::ClockWentBack(by) if *by >= WORTH_TELLING => {
                tracing::warn!(
                    "the clock went back by {by:?}: times that were dealt with are not started again"
                );
            }
            Note::Started { .. } | Note::Skipped(_) | Note::ClockWentBack(_) => {}
        }
    }

    /// Memory and store do not agree any more: everybody is told, and the next state is built from the store.
    fn give_up(&mut self, error: &StoreError, ctx: &mut Ctx<'_, Self>) {
        for (_, held) in std::mem::take(&mut self.held) {
            held.send(Answer::Refused(ScheduleError::Store(error.clone())));
        }
        self.outbox.clear();
        ctx.fail(format!("the store did not take a change that was made already: {error}"));
    }

    /// Sees to it that the logic is called when the next thing is due.
    fn arm(&mut self, now: UnixMillis, ctx: &mut Ctx<'_, Self>) {
        let Some(due) = self.state.next_due() else { return };
        let due = due.min(now.after(LOOK_EVERY));
        match &self.timer {
            // An earlier timer finds nothing to do and arms the right one. It is never later than the next look.
            Some((armed, _)) if *armed <= due => return,
            Some((_, timer)) => timer.cancel(ctx),
            None => {}
        }
        let timer = ctx.after(due.since(now), |scheduler, ctx| {
            scheduler.timer = None;
            scheduler.step(ctx, |state, turn| state.tick(turn));
        });
        self.timer = Some((due, timer));
    }
}
