//! What an actor can do beside answering: futures, timers, the clock, ending itself.
//!
//! All futures and timers of an actor live in one set that polls only what was woken, so an actor may have thousands
//! in flight. They run on the actor's thread, inside the supervisor's panic guard, and are dropped at a restart.

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::supervise::life::{Activity, Life};
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable};
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The shortest period of [`Ctx::every`]: a shorter one would leave the thread to nobody else.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

type Completion<A> = Box<dyn FnOnce(&mut A, &mut Ctx<'_, A>)>;
type Periodic<A> = Box<dyn FnMut(&mut A, &mut Ctx<'_, A>)>;
type Task<A> = Pin<Box<dyn Future<Output = Done<A>>>>;

/// What a finished future or a timer that is due leaves to do with the actor.
enum Done<A: Actor> {
    Nothing,
    Task(Completion<A>),
    Timer(Completion<A>),
    Tick(Tick<A>),
}

struct Tick<A: Actor> {
    run: Periodic<A>,
    due: Instant,
    period: Duration,
}

/// The futures and timers of one actor.
pub(crate) struct Tasks<A: Actor>(FuturesUnordered<Task<A>>);

impl<A: Actor> Tasks<A> {
    pub(crate) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    fn push(&self, task: impl Future<Output = Done<A>> + 'static) {
        self.0.push(Box::pin(task));
    }

    fn push_tick(&self, tick: Tick<A>) {
        self.push(async move {
            tokio::time::sleep_until(tick.due).await;
            Done::Tick(tick)
        });
    }

    /// The next thing that is due; `Pending` when nothing is, also when there are no tasks.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due<A>> {
        match self.0.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => Poll::Ready(Due(done)),
            // An empty set registers no waker and needs none: tasks are added only in the actor's own turn.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Something that is due: run it with the actor.
pub(crate) struct Due<A: Actor>(Done<A>);

impl<A: Actor> Due<A> {
    /// What the actor is doing while this runs; `None` if the actor has no part in it.
    pub(crate) fn activity(&self) -> Option<Activity> {
        match self.0 {
            Done::Nothing => None,
            Done::Task(_) => Some(Activity::Task),
            Done::Timer(_) | Done::Tick(_) => Some(Activity::Timer),
        }
    }

    pub(crate) fn run(self, actor: &mut A, ctx: &mut Ctx<'_, A>) {
        match self.0 {
            Done::Nothing => {}
            Done::Task(then) | Done::Timer(then) => then(actor, ctx),
            Done::Tick(mut tick) => {
                (tick.run)(actor, ctx);
                // Ticks that were missed are not made up for: that would be a burst after every stall.
                let now = Instant::now();
                let next = later(tick.due, tick.period);
                tick.due = if next > now { next } else { later(now, tick.period) };
                ctx.tasks.push_tick(tick);
            }
        }
    }
}

/// `delay` after `from`; a delay beyond the clock's range is a century.
fn later(from: Instant, delay: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    from.checked_add(delay).unwrap_or_else(|| from + CENTURY)
}

/// A timer that can still be cancelled.
#[derive(Debug, Clone)]
pub struct TimerHandle(AbortHandle);

impl TimerHandle {
    /// The closure of this timer will not run; no effect if it has run, or belonged to an actor before its restart.
    pub fn cancel<A: Actor>(&self, _ctx: &mut Ctx<'_, A>) {
        self.0.abort();
    }
}

/// An actor's surroundings during one turn.
pub struct Ctx<'a, A: Actor> {
    tasks: &'a mut Tasks<A>,
    life: &'a Rc<Life>,
}

impl<'a, A: Actor> Ctx<'a, A> {
    pub(crate) fn new(tasks: &'a mut Tasks<A>, life: &'a Rc<Life>) -> Self {
        Self { tasks, life }
    }

    /// Runs a future beside the actor, on its thread; dropped when the actor restarts or stops. A panic in it
    /// restarts the actor.
    pub fn spawn<F>(&mut self, fut: F)
    where
        F: Future<Output = ()> + 'static,
    {
        self.tasks.push(async move {
            fut.await;
            Done::Nothing
        });
    }

    /// Like [`Ctx::spawn`]; `then` gets the result together with the actor, in a turn of its own. The state may
    /// have changed since: look again before acting on what was true before.
    pub fn spawn_then<F, T>(&mut self, fut: F, then: impl FnOnce(&mut A, T, &mut Ctx<'_, A>) + 'static)
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.tasks.push(async move {
            let value = fut.await;
            Done::Task(Box::new(move |actor: &mut A, ctx: &mut Ctx<'_, A>| then(actor, value, ctx)))
        });
    }

    /// Runs blocking work on the node's blocking pool, then `then` with its result in a turn of the actor. Work that
    /// has begun ends even if the actor restarts meanwhile; its result is then dropped. A panic in it restarts the
    /// actor.
    pub fn spawn_blocking_then<T>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut A, T, &mut Ctx<'_, A>) + 'static,
    ) where
        T: Send + 'static,
    {
        let running = self.life.runtime.spawn_blocking(work);
        self.tasks.push(async move {
            match running.await {
                Ok(value) => {
                    Done::Task(Box::new(move |actor: &mut A, ctx: &mut Ctx<'_, A>| then(actor, value, ctx)))
                }
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => std::panic::resume_unwind(payload),
                    // The runtime is going down, and this actor with it.
                    Err(_) => Done::Nothing,
                },
            }
        });
    }

    /// Runs `run` with the actor once `delay` has passed.
    pub fn after(
        &mut self,
        delay: Duration,
        run: impl FnOnce(&mut A, &mut Ctx<'_, A>) + 'static,
    ) -> TimerHandle {
        let (abort, registration) = AbortHandle::new_pair();
        let due = later(Instant::now(), delay);
        let timer = Abortable::new(
            async move {
                tokio::time::sleep_until(due).await;
                Done::Timer(Box::new(run))
            },
            registration,
        );
        self.tasks.push(async move { timer.await.unwrap_or(Done::Nothing) });
        TimerHandle(abort)
    }

    /// Runs `run` with the actor every `period` (at least [`SHORTEST_PERIOD`]), the first time after one period, until
    /// the actor restarts or stops: start it in [`Actor::started`]. Ticks that came too late are skipped.
    pub fn every(&mut self, period: Duration, run: impl FnMut(&mut A, &mut Ctx<'_, A>) + 'static) {
        let period = period.max(SHORTEST_PERIOD);
        self.tasks.push_tick(Tick { run: Box::new(run), due: later(Instant::now(), period), period });
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.life.clock.now()
    }

    /// How many futures and timers of this actor have not finished: what an actor bounds itself by.
    #[must_use]
    pub fn tasks_in_flight(&self) -> usize {
        self.tasks.0.len()
    }

    /// The node's multi-thread runtime, for what must not run on an actor's thread.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.life.runtime
    }

    /// Ends the actor for good after this turn; its ports close, and what is queued is refused.
    pub fn stop(&mut self) {
        self.life.request_stop();
    }

    /// Gives this state up after this turn: the actor restarts as after a panic, with back-off and limit.
    pub fn fail(&mut self, reason: String) {
        self.life.request_failure(reason);
    }
}
