//! The supervisor of one actor: a future that polls the actor's context behind a panic guard.
//!
//! actix's own supervisor polls the context directly, so a panic takes the mailbox with it. The context's `restart`
//! is public and keeps the mailbox: that, `catch_unwind` and a back-off are the whole trick.

use super::failure::{Cause, CauseKind, SupervisionChange, SupervisionEvent, panic_text};
use super::health::{ActorHealth, Report};
use super::life::{Life, Request};
use super::policy::{ActorKind, Policy};
use super::shell::{Farewell, Shell};
use crate::actor::Actor;
use crate::clock::Clock;
use actix::dev::ContextFut;
use actix::dev::channel::{AddressReceiver, AddressSender};
use actix::prelude::{ActorContext, Context};
use futures::FutureExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// What a supervisor is given.
pub(super) struct Seed {
    pub(super) kind: ActorKind,
    pub(super) report: Report,
    pub(super) clock: Clock,
    pub(super) runtime: Handle,
    pub(super) events: broadcast::Sender<SupervisionEvent>,
    pub(super) randomness: u64,
}

type Fut<A> = ContextFut<Shell<A>, Context<Shell<A>>>;

/// How a run of the actor came to its end.
enum End {
    /// Somebody asked for it, from outside or inside.
    Stopped,
    Failed(Cause),
}

pub(super) async fn run<A: Actor>(
    seed: Seed,
    // Held to the end: actix restarts no context whose last address is gone.
    address: AddressSender<Shell<A>>,
    receiver: AddressReceiver<Shell<A>>,
    fresh: impl FnMut() -> A + 'static,
) {
    let life = Rc::new(Life::new(seed.kind, seed.clock, seed.runtime, seed.report));
    let mut failures = Failures::new(seed.kind.policy(), seed.randomness);
    let mut context = Context::with_receiver(receiver).into_future(Shell::new(fresh, Rc::clone(&life)));
    let (health, change) = loop {
        let cause = match one_run(&mut context, &life, &address).await {
            End::Stopped => break (ActorHealth::Stopped, SupervisionChange::Stopped),
            End::Failed(cause) => cause,
        };
        clear(&mut context, &life);
        crate::metrics::count_failure(life.kind.name(), cause.kind.as_str());
        let Some((attempt, backoff)) = failures.next(Instant::now()) else {
            let then = failures.policy.give_up;
            tracing::error!(actor = life.kind.name(), %cause, ?then, "actor gave up: it failed too often");
            let health = ActorHealth::GaveUp { reason: cause.to_string() };
            break (health, SupervisionChange::GaveUp { cause, then });
        };
        tracing::error!(actor = life.kind.name(), %cause, attempt, ?backoff, "actor failed and restarts");
        life.report.health(ActorHealth::BackingOff { attempt });
        tell(&seed.events, life.kind, SupervisionChange::Restarting { cause, attempt, backoff });
        if life.report.stop.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
            break (ActorHealth::Stopped, SupervisionChange::Stopped);
        }
        life.report.restarts.fetch_add(1, Ordering::Relaxed);
        life.report.health(ActorHealth::Starting);
    };
    end(context);
    // Only now that the state is dropped and the ports are closed; and the event first, so that of two actors stopped
    // one after the other the first is heard of first.
    tell(&seed.events, life.kind, change);
    life.report.health(health);
}

/// Runs the actor until it is stopped or fails.
async fn one_run<A: Actor>(context: &mut Fut<A>, life: &Life, address: &AddressSender<Shell<A>>) -> End {
    let mut told_to_stop = false;
    let ended = loop {
        let guarded = AssertUnwindSafe(&mut *context).catch_unwind();
        tokio::select! {
            biased;
            () = life.report.stop.cancelled(), if !told_to_stop => {
                told_to_stop = true;
                // Behind everything that is queued. It cannot fail: the context, and so the receiver, is alive.
                let _ = address.do_send(Farewell);
            }
            ended = guarded => break ended,
        }
    };
    if let Err(payload) = ended {
        // What the actor asked for in the turn that failed has lost its meaning.
        life.take_request();
        return End::Failed(life.panicked(panic_text(payload.as_ref())));
    }
    match life.take_request() {
        Some(Request::Stop) => End::Stopped,
        Some(Request::Fail(text)) => End::Failed(Cause { kind: CauseKind::Failed, message: None, text }),
        None => End::Failed(Cause { kind: CauseKind::Ended, message: None, text: String::new() }),
    }
}

/// Drops the failed state and makes the context ready for a new one; the mailbox stays.
fn clear<A: Actor>(context: &mut Fut<A>, life: &Life) {
    // A second panic, while the state is dropped, is part of the same failure. `restart` has taken the state out by
    // then, so calling it again ends.
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| context.restart())) {
        let cause = life.panicked(panic_text(payload.as_ref()));
        tracing::error!(actor = life.kind.name(), %cause, "panic while the failed state was dropped");
    }
}

/// Drops the context without running actix's stop hooks, whatever state it is in.
fn end<A: Actor>(mut context: Fut<A>) {
    context.ctx().terminate();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(context))) {
        tracing::error!(
            "panic while the state of an ended actor was dropped: {}",
            panic_text(payload.as_ref())
        );
    }
}

fn tell(events: &broadcast::Sender<SupervisionEvent>, kind: ActorKind, what: SupervisionChange) {
    // Without a reader there is nobody to tell: it has been logged, counted and shown in the health.
    let _ = events.send(SupervisionEvent { kind, what });
}

/// The failures that still count.
struct Failures {
    policy: Policy,
    recent: VecDeque<Instant>,
    rng: ChaCha8Rng,
}

impl Failures {
    fn new(policy: Policy, randomness: u64) -> Self {
        Self { policy, recent: VecDeque::new(), rng: ChaCha8Rng::seed_from_u64(randomness) }
    }

    /// The number of this failure within the window and the wait before the restart; `None` if it is one too many.
    fn next(&mut self, now: Instant) -> Option<(u32, Duration)> {
        while self.recent.front().is_some_and(|then| now.duration_since(*then) > self.policy.window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let attempt = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        (attempt <= self.policy.restarts)
            .then(|| (attempt, self.policy.backoff.delay(attempt, &mut self.rng)))
    }
}
