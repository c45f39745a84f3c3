//! The actix actor around ours: takes messages up, runs timers and futures, publishes the status, yields.

use super::health::StatusSnapshot;
use super::life::{Activity, Life};
use crate::actor::{Actor, Handles};
use crate::ctx::{Ctx, Tasks};
use crate::metrics::HandlerTimer;
use crate::port::Envelope;
use actix::fut::ActorFuture;
use actix::prelude::{ActorContext, AsyncContext, Context, Handler, Message, Supervised};
use meshwork_proto::Request;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// After this many messages, and after as many timers and finished futures, an actor gives its thread back once.
///
/// actix itself drains a mailbox until it is empty, and its channel takes no part in tokio's budget: without this
/// one busy actor would stall all others, and all timers, of its thread.
pub const TURN: u32 = 128;

/// The shortest time between two publications of a status.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// What actix sees: it outlives the failures of the actor inside.
pub(super) struct Shell<A: Actor> {
    /// `None` before the start and between a failure and the restart.
    actor: Option<Box<A>>,
    fresh: Box<dyn FnMut() -> A>,
    tasks: Tasks<A>,
    life: Rc<Life>,
    /// Messages since the thread was last given back.
    taken_up: u32,
    status: StatusPacer,
    #[cfg(any(test, feature = "testing"))]
    _alive: Alive,
}

impl<A: Actor> Shell<A> {
    pub(super) fn new(fresh: impl FnMut() -> A + 'static, life: Rc<Life>) -> Self {
        Self {
            actor: None,
            fresh: Box::new(fresh),
            tasks: Tasks::new(),
            life,
            taken_up: 0,
            status: StatusPacer::new(),
            #[cfg(any(test, feature = "testing"))]
            _alive: Alive::new(),
        }
    }

    /// One uninterrupted piece of the actor's work.
    fn turn(
        &mut self,
        context: &mut Context<Self>,
        activity: Activity,
        work: impl FnOnce(&mut A, &mut Ctx<'_, A>),
    ) {
        let Some(actor) = self.actor.as_deref_mut() else {
            return;
        };
        self.life.enter(activity);
        work(actor, &mut Ctx::new(&mut self.tasks, &self.life));
        self.status.changed = true;
        if self.life.is_ending() {
            // Ends the poll of the mailbox before the next message; the supervisor does the rest.
            context.stop();
        }
    }

    fn publish(&mut self) {
        if let Some(actor) = &self.actor {
            self.life.enter(Activity::Status);
            self.life.publish(StatusSnapshot::new(actor.status()));
        }
    }

    /// Runs what is due; true if there may be more.
    fn run_due(&mut self, context: &mut Context<Self>, cx: &mut TaskContext<'_>) -> bool {
        for _ in 0..TURN {
            self.life.enter(Activity::Task);
            let Poll::Ready(due) = self.tasks.poll_due(cx) else {
                return false;
            };
            if let Some(activity) = due.activity() {
                self.turn(context, activity, |actor, ctx| due.run(actor, ctx));
            }
            if self.life.is_ending() {
                return false;
            }
        }
        true
    }
}

impl<A: Actor> actix::Actor for Shell<A> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.life.enter(Activity::Fresh);
        self.actor = Some(Box::new((self.fresh)()));
        context.spawn(Driver);
        self.turn(context, Activity::Started, A::started);
        if !self.life.is_ending() {
            self.publish();
            self.status.published();
            self.life.running();
        }
    }
}

impl<A: Actor> Supervised for Shell<A> {
    /// Called right after a failure: nothing of the state that failed is left when the back-off begins.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.life.enter(Activity::Drop);
        self.taken_up = 0;
        self.status = StatusPacer::new();
        // One after the other: if a drop panics, this is called again and goes on with what is left.
        drop(std::mem::replace(&mut self.tasks, Tasks::new()));
        drop(self.actor.take());
    }
}

impl<R: Request> Message for Envelope<R> {
    type Result = ();
}

impl<A, R> Handler<Envelope<R>> for Shell<A>
where
    A: Handles<R>,
    R: Request,
{
    type Result = ();

    fn handle(&mut self, envelope: Envelope<R>, context: &mut Self::Context) {
        self.taken_up += 1;
        if self.taken_up >= TURN {
            self.taken_up = 0;
            context.wait(YieldOnce(false));
        }
        if envelope.is_abandoned() {
            return envelope.abandon();
        }
        let (body, reply, shared) = envelope.take_up();
        let timer = HandlerTimer::start(shared);
        self.turn(context, Activity::Handler(R::NAME), |actor, ctx| actor.handle(body, reply, ctx));
        timer.finished();
    }
}

/// The last message that an actor takes up: it was asked to stop when this was queued.
pub(super) struct Farewell;

impl Message for Farewell {
    type Result = ();
}

impl<A: Actor> Handler<Farewell> for Shell<A> {
    type Result = ();

    fn handle(&mut self, _: Farewell, context: &mut Self::Context) {
        self.life.request_stop();
        context.stop();
    }
}

/// Runs the actor's futures and timers, and publishes its status. It never ends, so the actor does not end when
/// its last port is dropped: only a stop ends it.
struct Driver;

impl<A: Actor> ActorFuture<Shell<A>> for Driver {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shell: &mut Shell<A>,
        context: &mut Context<Shell<A>>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if shell.run_due(context, cx) {
            cx.waker().wake_by_ref();
        }
        if !shell.life.is_ending() && shell.status.poll_due(cx) {
            shell.publish();
        }
        Poll::Pending
    }
}

/// Keeps the mailbox waiting until the other tasks of the thread had their turn.
struct YieldOnce(bool);

impl<A: Actor> ActorFuture<Shell<A>> for YieldOnce {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        _: &mut Shell<A>,
        _: &mut Context<Shell<A>>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Decides when a changed status is published: soon, but not more often than the interval, and never when idle.
struct StatusPacer {
    changed: bool,
    next: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StatusPacer {
    fn new() -> Self {
        Self { changed: false, next: Instant::now(), timer: None }
    }

    fn published(&mut self) {
        self.changed = false;
        self.timer = None;
        self.next = Instant::now() + STATUS_INTERVAL;
    }

    /// Whether to publish now; otherwise the task is woken when it is time.
    fn poll_due(&mut self, cx: &mut TaskContext<'_>) -> bool {
        if !self.changed {
            return false;
        }
        let next = self.next;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.published();
        true
    }
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static ALIVE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many actors have not been dropped on this thread.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn live_actors() -> usize {
    ALIVE.get()
}

#[cfg(any(test, feature = "testing"))]
struct Alive;

#[cfg(any(test, feature = "testing"))]
impl Alive {
    fn new() -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self
    }
}

#[cfg(any(test, feature = "testing"))]
impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}
