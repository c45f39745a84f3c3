//! A message on its way: the request, whom to answer, and the permit that it holds.

use super::{Bound, PortShared};
use meshwork_proto::Request;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One place in a port's quota; free again when this is dropped.
pub struct Permit {
    shared: Arc<PortShared>,
    /// Nobody has taken the message up yet.
    queued: bool,
}

impl Permit {
    pub(crate) fn new(shared: Arc<PortShared>) -> Self {
        Self { shared, queued: true }
    }

    pub(crate) fn shared(&self) -> &Arc<PortShared> {
        &self.shared
    }

    /// Gives a place back that no message was sent with.
    pub(crate) fn unused(mut self) {
        self.queued = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.queued {
            self.shared.metrics.dropped.inc();
        }
        self.shared.give_back();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("queued", &self.queued).finish_non_exhaustive()
    }
}

/// Whom to answer. Dropping it unanswered tells the asker
/// [`AskError::Closed`](crate::AskError::Closed); for a `tell` nobody waits, and it does nothing.
pub struct Reply<T> {
    to: Option<oneshot::Sender<T>>,
    /// A port that bounds work in flight keeps its permit until the work is answered.
    permit: Option<Permit>,
}

impl<T> Reply<T> {
    /// For a `tell`.
    pub(crate) fn nobody() -> Self {
        Self { to: None, permit: None }
    }

    /// For an `ask`.
    pub(crate) fn somebody() -> (Self, oneshot::Receiver<T>) {
        let (to, answer) = oneshot::channel();
        (Self { to: Some(to), permit: None }, answer)
    }

    /// Answers. An asker that has gone meanwhile misses it.
    pub fn send(self, value: T) {
        if let Some(to) = self.to {
            // The asker may have given up at its deadline: that is its decision, and counted there.
            let _ = to.send(value);
        }
    }

    /// Whether an asker waited once and has gone; false for a `tell`.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.to.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Whether anybody waits for an answer now.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.to.as_ref().is_some_and(|to| !to.is_closed())
    }

    /// Ends when the asker has gone; never for a `tell`.
    pub async fn abandoned(&mut self) {
        match &mut self.to {
            Some(to) => to.closed().await,
            None => std::future::pending().await,
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}

/// A message with its permit and reply handle, as it lies in a queue.
pub struct Envelope<R: Request> {
    body: R,
    reply: Reply<R::Reply>,
    permit: Permit,
}

impl<R: Request> Envelope<R> {
    pub(crate) fn new(body: R, reply: Reply<R::Reply>, permit: Permit) -> Self {
        Self { body, reply, permit }
    }

    /// The request, to look at before taking it up.
    #[must_use]
    pub fn body(&self) -> &R {
        &self.body
    }

    /// Whether the asker has gone while this was queued: nobody needs it done any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    /// Takes the message up and frees its permit: the port then bounds the length of the queue.
    #[must_use]
    pub fn into_parts(self) -> (R, Reply<R::Reply>) {
        let (body, reply, _permit) = self.into_parts_with_permit();
        (body, reply)
    }

    /// Takes the message up and keeps its permit: as long as it is held, the work counts against the quota.
    #[must_use]
    pub fn into_parts_with_permit(mut self) -> (R, Reply<R::Reply>, Permit) {
        self.permit.queued = false;
        self.permit.shared.metrics.handled.inc();
        (self.body, self.reply, self.permit)
    }

    /// Takes the message up as the port's bound says, without counting an outcome: the caller does.
    pub(crate) fn take_up(mut self) -> (R, Reply<R::Reply>, Arc<PortShared>) {
        self.permit.queued = false;
        let shared = Arc::clone(&self.permit.shared);
        match shared.bound {
            Bound::InFlight => self.reply.permit = Some(self.permit),
            Bound::Queue => drop(self.permit),
        }
        (self.body, self.reply, shared)
    }

    /// Drops a message whose asker has gone.
    pub(crate) fn abandon(mut self) {
        self.permit.queued = false;
        self.permit.shared().metrics.abandoned.inc();
    }

    /// Drops a message that could not be delivered because the receiver is gone.
    pub(crate) fn refuse(mut self) {
        self.permit.queued = false;
        self.permit.shared().metrics.closed.inc();
    }
}

impl<R: Request> fmt::Debug for Envelope<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("message", &R::NAME)
            .field("reply", &self.reply)
            .finish_non_exhaustive()
    }
}
