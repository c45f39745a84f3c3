//! Support for tests: a world on one thread with a paused clock, and doubles for ports.
//!
//! ```
//! use meshwork_kit::testing;
//! use std::time::Duration;
//!
//! testing::world(|world| async move {
//!     let before = world.clock().now();
//!     world.advance(Duration::from_secs(600)).await; // takes no time
//!     assert_eq!(world.clock().now().since(before), Duration::from_secs(600));
//! });
//! ```

use crate::actor::Actor;
use crate::clock::Clock;
use crate::port::{Inbox, Port, Reply, channel_port_to};
use crate::supervise::{
    ActorRef, Events, Mailbox, Supervision, SupervisionChange, SupervisionEvent, live_actors,
};
use meshwork_proto::{Request, UnixMillis};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the clock of a world reads at its start: 2023-11-14T22:13:20Z.
pub const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// How long, in virtual time, a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on one thread with a paused clock: time passes only when everybody waits, and then at once.
///
/// At the end all actors are stopped. The test fails if one does not stop, if one is left that was started elsewhere
/// on this thread, or if an actor failed unexpectedly (see [`World::allow_failures`]).
///
/// # Panics
/// When the test fails.
pub fn world<F, Fut>(body: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    world_with_seed(1, body);
}

/// Like [`world`], with a seed for everything random in supervision.
///
/// # Panics
/// When the test fails.
pub fn world_with_seed<F, Fut>(seed: u64, body: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let outside = live_actors();
    // Paused from its very start: paused later, its timers would differ by parts of a millisecond from run to run.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime for the test: {error}"),
    };
    actix_rt::System::with_tokio_rt(move || runtime).block_on(async {
        let supervision = match Supervision::current_thread(Clock::starting_at(START), seed) {
            Ok(supervision) => supervision,
            Err(error) => panic!("{error}"),
        };
        let events = supervision.events();
        let inner = Inner { supervision, events: RefCell::new(events), failures_allowed: Cell::new(false) };
        let world = World(Rc::new(inner));
        body(world.clone()).await;
        world.end(outside).await;
    });
}

/// What a test runs in. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    supervision: Supervision,
    events: RefCell<Events>,
    failures_allowed: Cell<bool>,
}

impl World {
    /// What supervises the actors of this world.
    #[must_use]
    pub fn supervision(&self) -> &Supervision {
        &self.0.supervision
    }

    /// The paused clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.0.supervision.clock()
    }

    /// Starts an actor in this world.
    pub fn start<A: Actor>(
        &self,
        mailbox: Mailbox<A>,
        fresh: impl FnMut() -> A + Send + 'static,
    ) -> ActorRef {
        mailbox.start(&self.0.supervision, fresh)
    }

    /// Lets virtual time pass; everything that is due meanwhile happens in its order.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets everything happen that can happen now; takes a virtual millisecond.
    pub async fn settle(&self) {
        self.advance(Duration::from_millis(1)).await;
    }

    /// Actors may fail in this test without the test looking at it.
    pub fn allow_failures(&self) {
        self.0.failures_allowed.set(true);
    }

    /// The next supervision event; a failure that the test takes here is an expected one.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_event(&self) -> SupervisionEvent {
        for _ in 0..PATIENCE.as_millis() {
            let event = self.0.events.borrow_mut().try_next();
            if let Some(event) = event {
                return event;
            }
            self.settle().await;
        }
        panic!("no supervision event within {PATIENCE:?}");
    }

    /// The next supervision event if it has happened already; a failure that the test takes here is an expected one.
    #[must_use]
    pub fn try_event(&self) -> Option<SupervisionEvent> {
        self.0.events.borrow_mut().try_next()
    }

    async fn end(self, outside: usize) {
        if let Err(error) = self.0.supervision.close(PATIENCE).await {
            panic!("the test left actors behind: {error}");
        }
        let left = live_actors().saturating_sub(outside);
        assert!(left == 0, "the test left {left} actors behind that were not started in its world");
        while let Some(event) = self.try_event() {
            let expected = self.0.failures_allowed.get() || event.what == SupervisionChange::Stopped;
            assert!(expected, "an actor failed unexpectedly: {event:?}");
        }
    }
}

/// A port and the test that serves it.
#[must_use]
pub fn probe<R: Request>(capacity: usize) -> (Port<R>, Probe<R>) {
    let (port, inbox) = channel_port_to("probe", capacity);
    (port, Probe { inbox })
}

/// The serving end of a port in the hands of a test. Dropping it closes the port.
#[derive(Debug)]
pub struct Probe<R: Request> {
    inbox: Inbox<R>,
}

impl<R: Request> Probe<R> {
    /// The next request and whom to answer.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`] of virtual time.
    pub async fn next(&mut self) -> (R, Reply<R::Reply>) {
        match tokio::time::timeout(PATIENCE, self.inbox.recv()).await {
            Ok(Some(envelope)) => envelope.into_parts(),
            Ok(None) => panic!("{}: all ports are gone and no request came", R::NAME),
            Err(_) => panic!("{}: no request came within {PATIENCE:?}", R::NAME),
        }
    }

    /// The next request if one is there now.
    pub fn try_next(&mut self) -> Option<(R, Reply<R::Reply>)> {
        self.inbox.try_recv().map(crate::Envelope::into_parts)
    }

    /// Nothing comes within `time`.
    ///
    /// # Panics
    /// When a request comes.
    pub async fn expect_silence(&mut self, time: Duration) {
        if let Ok(Some(_)) = tokio::time::timeout(time, self.inbox.recv()).await {
            panic!("{}: a request came, none was expected within {time:?}", R::NAME);
        }
    }

    /// Answers every request from now on, in a task of this thread that ends with the last port.
    pub fn reply_with(mut self, mut answer: impl FnMut(R) -> R::Reply + 'static) {
        actix_rt::spawn(async move {
            while let Some(envelope) = self.inbox.recv().await {
                let (request, reply) = envelope.into_parts();
                reply.send(answer(request));
            }
        });
    }
}

/// A reply handle and where its answer arrives: to call a handler's logic without a port.
#[must_use]
pub fn reply<T>() -> (Reply<T>, oneshot::Receiver<T>) {
    Reply::somebody()
}
