//! The bounded, typed handle through which everyone reaches everyone.
//!
//! A port has a quota. Each message takes a permit from it, and the permit travels *inside* the message: it is given
//! back when the receiver takes the message up (or, for a port that bounds work in flight, when the work is done), never
//! earlier. A permit held by the caller would be free again when an ask times out, although its message is still
//! queued, and the queue would grow without bound behind a slow receiver.

mod envelope;
mod inbox;
mod serve;
mod slot;

pub use envelope::{Envelope, Permit, Reply};
pub use inbox::{Inbox, channel_port, channel_port_to};
pub use serve::{serve_port, serve_port_at};
pub use slot::Slot;

use crate::metrics::PortMetrics;
use meshwork_proto::{Coded, ErrorCode, Request};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Why a [`Port::tell`] was refused. The message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// As many of these messages wait as may.
    #[error("{message}: refused, all {capacity} places are taken; try again later")]
    Full {
        /// Name of the request.
        message: &'static str,
        /// The port's quota.
        capacity: usize,
    },
    /// The receiver is gone for good.
    #[error("{message}: nobody serves this request any more")]
    Closed {
        /// Name of the request.
        message: &'static str,
    },
}

/// Why a [`Port::ask`] has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No place became free in time. The request was not delivered: asking again is safe.
    #[error("{message}: no place became free within {within:?}, all {capacity} are taken; try again later")]
    Full {
        /// Name of the request.
        message: &'static str,
        /// The port's quota.
        capacity: usize,
        /// How long the asker was ready to wait.
        within: Duration,
    },
    /// The receiver is gone, or failed on this request, or dropped it unanswered.
    #[error("{message}: ended without an answer (the receiver stopped, failed or gave the request up)")]
    Closed {
        /// Name of the request.
        message: &'static str,
    },
    /// The request was delivered, but no answer came in time: it may or may not take effect.
    #[error("{message}: no answer within {within:?}")]
    Timeout {
        /// Name of the request.
        message: &'static str,
        /// How long the asker was ready to wait.
        within: Duration,
    },
}

impl TellError {
    /// The stable code: `busy` or `unavailable`.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::Busy,
            Self::Closed { .. } => ErrorCode::Unavailable,
        }
    }
}

impl AskError {
    /// The stable code: `busy`, `unavailable` or `timeout`.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::Busy,
            Self::Closed { .. } => ErrorCode::Unavailable,
            Self::Timeout { .. } => ErrorCode::Timeout,
        }
    }
}

impl Coded for TellError {
    fn code(&self) -> ErrorCode {
        Self::code(self)
    }
}

impl Coded for AskError {
    fn code(&self) -> ErrorCode {
        Self::code(self)
    }
}

/// What bounds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Messages that wait to be taken up.
    Queue,
    /// Messages that wait or are being worked on: the reply handle keeps the permit.
    InFlight,
}

/// The part of a port that its messages carry with them.
pub(crate) struct PortShared {
    slots: Semaphore,
    capacity: usize,
    bound: Bound,
    pub(crate) metrics: PortMetrics,
}

impl PortShared {
    /// `server` is the label in metrics: who serves the port.
    pub(crate) fn new(
        server: &'static str,
        message: &'static str,
        capacity: usize,
        bound: Bound,
    ) -> Arc<Self> {
        // A port of no capacity would accept nothing, ever; a semaphore has an upper limit.
        let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
        let metrics = PortMetrics::new(server, message);
        let shared = Arc::new(Self { slots: Semaphore::new(capacity), capacity, bound, metrics });
        crate::metrics::watch_depth(&shared);
        shared
    }

    pub(crate) fn depth(&self) -> usize {
        self.capacity - self.slots.available_permits().min(self.capacity)
    }

    fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        self.slots.try_acquire().ok().map(|slot| {
            slot.forget();
            Permit::new(Arc::clone(self))
        })
    }

    async fn permit(self: &Arc<Self>) -> Option<Permit> {
        let slot = self.slots.acquire().await.ok()?;
        slot.forget();
        Some(Permit::new(Arc::clone(self)))
    }

    /// Called by [`Permit`] when it is dropped.
    fn give_back(&self) {
        self.slots.add_permits(1);
    }
}

/// Puts a message that has its permit where the receiver finds it. Never waits.
pub(crate) trait Deliver<R: Request>: Send + Sync {
    /// Hands the envelope back if the receiver is gone.
    fn deliver(&self, envelope: Envelope<R>) -> Result<(), Envelope<R>>;
    fn is_closed(&self) -> bool;
}

struct PortInner<R: Request> {
    shared: Arc<PortShared>,
    to: Box<dyn Deliver<R>>,
}

/// A bounded handle to whoever serves `R`: an actor, a task or a thread. Clones share the one quota.
pub struct Port<R: Request>(Arc<PortInner<R>>);

impl<R: Request> Clone for Port<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Request> fmt::Debug for Port<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("message", &R::NAME)
            .field("depth", &self.depth())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

impl<R: Request> Port<R> {
    pub(crate) fn new(shared: Arc<PortShared>, to: impl Deliver<R> + 'static) -> Self {
        Self(Arc::new(PortInner { shared, to: Box::new(to) }))
    }

    /// Sends without waiting for anything.
    ///
    /// # Errors
    /// [`TellError::Full`] at once when the quota is used up, [`TellError::Closed`] when the receiver is gone.
    pub fn tell(&self, body: R) -> Result<(), TellError> {
        let shared = &self.0.shared;
        let Some(permit) = shared.try_permit() else {
            return Err(self.refused());
        };
        self.deliver(Envelope::new(body, Reply::nobody(), permit))
            .map_err(|()| TellError::Closed { message: R::NAME })
    }

    /// Sends and waits for the answer; waiting for a place and for the answer together take at most `within`.
    ///
    /// Dropping the future gives the request up: if it has not been taken up by then, it never will be.
    ///
    /// # Errors
    /// [`AskError::Full`] if no place became free in time, [`AskError::Timeout`] if the answer did not come in time,
    /// [`AskError::Closed`] if the receiver is gone or dropped the request.
    pub async fn ask(&self, body: R, within: Duration) -> Result<R::Reply, AskError> {
        let deadline = Instant::now().checked_add(within);
        let shared = &self.0.shared;
        let permit = match shared.try_permit() {
            Some(permit) => Some(permit),
            None if self.is_closed() => None,
            None => match before(deadline, shared.permit()).await {
                Some(permit) => permit,
                None => return Err(self.no_place(within)),
            },
        };
        let Some(permit) = permit else {
            shared.metrics.closed.inc();
            return Err(AskError::Closed { message: R::NAME });
        };
        self.deliver_and_wait(body, permit, deadline, within).await
    }

    /// Like [`Port::ask`], but does not wait for a place.
    ///
    /// # Errors
    /// As [`Port::ask`]; [`AskError::Full`] at once.
    pub async fn try_ask(&self, body: R, within: Duration) -> Result<R::Reply, AskError> {
        let Some(permit) = self.0.shared.try_permit() else {
            return Err(self.no_place(Duration::ZERO));
        };
        let deadline = Instant::now().checked_add(within);
        self.deliver_and_wait(body, permit, deadline, within).await
    }

    /// Takes a place now, for a message that is sent later: [`Slot::ask`] cannot be refused for want of room.
    ///
    /// # Errors
    /// As [`Port::tell`].
    pub fn try_slot(&self) -> Result<Slot<R>, TellError> {
        let Some(permit) = self.0.shared.try_permit() else {
            return Err(self.refused());
        };
        Ok(Slot::new(self.clone(), permit))
    }

    /// Waits until there is a place, and takes it.
    ///
    /// # Errors
    /// [`AskError::Full`] if none became free in time, [`AskError::Closed`] if the receiver is gone.
    pub async fn slot(&self, within: Duration) -> Result<Slot<R>, AskError> {
        let deadline = Instant::now().checked_add(within);
        match before(deadline, self.0.shared.permit()).await {
            Some(Some(permit)) => Ok(Slot::new(self.clone(), permit)),
            Some(None) => Err(AskError::Closed { message: R::NAME }),
            None => Err(self.no_place(within)),
        }
    }

    /// How many messages hold a permit now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.shared.depth()
    }

    /// The quota.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.shared.capacity
    }

    /// Whether the receiver is gone for good. A receiver that is being restarted is not.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.to.is_closed()
    }

    fn deliver(&self, envelope: Envelope<R>) -> Result<(), ()> {
        self.0.to.deliver(envelope).map_err(Envelope::refuse)
    }

    async fn deliver_and_wait(
        &self,
        body: R,
        permit: Permit,
        deadline: Option<Instant>,
        within: Duration,
    ) -> Result<R::Reply, AskError> {
        let closed = AskError::Closed { message: R::NAME };
        let (reply, answer) = Reply::somebody();
        self.deliver(Envelope::new(body, reply, permit)).map_err(|()| closed)?;
        self.wait(answer, deadline, within).await
    }

    async fn wait(
        &self,
        answer: oneshot::Receiver<R::Reply>,
        deadline: Option<Instant>,
        within: Duration,
    ) -> Result<R::Reply, AskError> {
        match before(deadline, answer).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(AskError::Closed { message: R::NAME }),
            None => {
                self.0.shared.metrics.timeouts.inc();
                Err(AskError::Timeout { message: R::NAME, within })
            }
        }
    }

    /// The error for a `tell` that got no permit.
    fn refused(&self) -> TellError {
        if self.is_closed() {
            self.0.shared.metrics.closed.inc();
            return TellError::Closed { message: R::NAME };
        }
        self.0.shared.metrics.full.inc();
        TellError::Full { message: R::NAME, capacity: self.capacity() }
    }

    /// The error for an `ask` that got no permit within its time.
    fn no_place(&self, within: Duration) -> AskError {
        match self.refused() {
            TellError::Full { message, capacity } => AskError::Full { message, capacity, within },
            TellError::Closed { message } => AskError::Closed { message },
        }
    }
}

/// The future's output, or `None` at the deadline; a deadline beyond the clock's range is none.
async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
