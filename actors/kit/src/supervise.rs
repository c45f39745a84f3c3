//! Supervision: which thread an actor runs on, what happens when it fails, and the ordered stop.
//!
//! Wiring has two phases. First every actor's [`mailbox()`] is made and ports are taken from it, so that actors may
//! hold one another's ports in a circle; then each mailbox is started with a function that builds its state. What
//! is sent in between waits in the mailbox.

mod failure;
mod health;
pub(crate) mod life;
mod mailbox;
mod policy;
mod run;
mod shell;
mod threads;

pub use failure::{Cause, CauseKind, Events, SupervisionChange, SupervisionEvent};
pub use health::{ActorHealth, ActorRef, StatusSnapshot, StopError};
pub use mailbox::{Mailbox, mailbox};
pub use policy::{ActorKind, GiveUp, Policy, ThreadClass};
pub use shell::TURN;
#[cfg(any(test, feature = "testing"))]
pub(crate) use shell::live_actors;

pub(crate) use failure::panic_text;

use crate::clock::Clock;
use actix::prelude::{Arbiter, ArbiterHandle};
use prometheus::Registry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use threads::Threads;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// How many supervision events a slow reader may be behind before it misses the oldest.
const EVENTS_KEPT: usize = 1_024;

/// Owns the threads that actors run on and everything that is known about the actors.
#[derive(Debug)]
pub struct Supervision {
    place: Place,
    clock: Clock,
    runtime: Handle,
    events: broadcast::Sender<SupervisionEvent>,
    seed: u64,
    /// In the order of their start.
    actors: Mutex<Vec<ActorRef>>,
}

#[derive(Debug)]
enum Place {
    Threads(Mutex<Threads>),
    Here(ArbiterHandle),
}

/// Why supervision could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SupervisionError {
    /// A thread or its runtime could not be made.
    #[error("the thread {thread} could not be started: {source}")]
    Thread {
        /// Name of the thread.
        thread: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The registry has metrics of the same names.
    #[error("the metrics of the actors could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// There is no actix system on this thread.
    #[error("actors cannot run on this thread: it has no actix system (tests have one in `testing::world`)")]
    NoSystem,
}

/// Who was still running when the time for the stop was over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still running after {within:?}: actors [{}], threads [{}]", names(.actors), .threads.join(", "))]
pub struct ShutdownError {
    /// Actors that did not end: their thread is busy or blocked in a handler.
    pub actors: Vec<ActorKind>,
    /// Threads that did not end.
    pub threads: Vec<&'static str>,
    /// The time they had together.
    pub within: Duration,
}

fn names(actors: &[ActorKind]) -> String {
    actors.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

impl Supervision {
    /// For a node: one named thread per [`ThreadClass`], the system's clock, and `runtime` (the multi-thread one) for
    /// everything that does not run on an actor's thread. Shows the metrics of ports and actors in `registry`.
    ///
    /// # Errors
    /// When a thread cannot be made or the registry has the metrics already.
    pub fn threads(registry: &Registry, runtime: Handle) -> Result<Self, SupervisionError> {
        crate::metrics::register(registry)?;
        let threads = Threads::start()?;
        Ok(Self::new(Place::Threads(Mutex::new(threads)), Clock::system(), runtime, rand::random()))
    }

    /// For tests and simulations: all actors on this thread, with this clock, and back-off from this seed.
    ///
    /// # Errors
    /// [`SupervisionError::NoSystem`] outside of a `testing::world`.
    pub fn current_thread(clock: Clock, seed: u64) -> Result<Self, SupervisionError> {
        let here = Arbiter::try_current().ok_or(SupervisionError::NoSystem)?;
        let runtime = Handle::try_current().map_err(|_| SupervisionError::NoSystem)?;
        Ok(Self::new(Place::Here(here), clock, runtime, seed))
    }

    fn new(place: Place, clock: Clock, runtime: Handle, seed: u64) -> Self {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        Self { place, clock, runtime, events, seed, actors: Mutex::new(Vec::new()) }
    }

    /// Failures and ends of actors from now on; a reader more than 1024 events behind misses the oldest.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    /// The clock that the actors see.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The runtime for work outside of the actors' threads.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// All actors in the order of their start, those that have ended included.
    #[must_use]
    pub fn actors(&self) -> Vec<ActorRef> {
        self.started().clone()
    }

    /// Stops the actors one by one, the last started first, then ends and joins the threads. All that time is shared
    /// out so that one actor that does not end leaves some for the others.
    ///
    /// # Errors
    /// Names whoever was still running at the end; their threads are left behind.
    pub async fn shutdown(self, within: Duration) -> Result<(), ShutdownError> {
        self.close(within).await
    }

    pub(crate) async fn close(&self, within: Duration) -> Result<(), ShutdownError> {
        let deadline = Instant::now() + within.min(LONGEST_SHUTDOWN);
        let actors = self.actors();
        let threads = match &self.place {
            Place::Threads(threads) => locked(threads).take(),
            Place::Here(_) => Vec::new(),
        };
        let mut left = actors.len() + threads.len();
        let mut error = ShutdownError { actors: Vec::new(), threads: Vec::new(), within };
        for actor in actors.iter().rev() {
            if actor.stop(share(deadline, left)).await.is_err() {
                tracing::warn!(actor = actor.kind().name(), "did not stop in time");
                error.actors.push(actor.kind());
            }
            left -= 1;
        }
        threads.iter().for_each(threads::NamedThread::ask_to_end);
        for thread in threads {
            if let Err(name) = thread.join(share(deadline, left)).await {
                tracing::warn!(thread = name, "did not end in time");
                error.threads.push(name);
            }
            left -= 1;
        }
        if error.actors.is_empty() && error.threads.is_empty() { Ok(()) } else { Err(error) }
    }

    pub(crate) fn arbiter(&self, class: ThreadClass) -> Option<ArbiterHandle> {
        match &self.place {
            Place::Threads(threads) => locked(threads).arbiter(class),
            Place::Here(here) => Some(here.clone()),
        }
    }

    pub(crate) fn started(&self) -> MutexGuard<'_, Vec<ActorRef>> {
        locked(&self.actors)
    }

    /// A different seed for each actor, the same in each run of a test.
    pub(crate) fn seed_for(&self, start: usize) -> u64 {
        self.seed.wrapping_add((start as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn event_sink(&self) -> broadcast::Sender<SupervisionEvent> {
        self.events.clone()
    }
}

/// A stop that may take longer than this is one without a deadline.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(24 * 3600);

/// An equal share of the time that is left for `left` steps.
fn share(deadline: Instant, left: usize) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
}

/// Nothing that holds one of these locks can panic half way through a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
