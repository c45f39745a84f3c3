//! Ports that a task or a thread of its own serves.

use super::{Bound, Deliver, Envelope, Port, PortShared};
use meshwork_proto::Request;
use tokio::sync::mpsc;

/// A port served by whoever holds the inbox; `capacity` bounds what is queued (at least 1).
#[must_use]
pub fn channel_port<R: Request>(capacity: usize) -> (Port<R>, Inbox<R>) {
    channel_port_to("channel", capacity)
}

/// Like [`channel_port`]; `server` is the value of the label `actor` in metrics.
#[must_use]
pub fn channel_port_to<R: Request>(server: &'static str, capacity: usize) -> (Port<R>, Inbox<R>) {
    let shared = PortShared::new(server, R::NAME, capacity, Bound::Queue);
    // A queued message holds a permit, so the channel is never full before the quota is.
    let (tx, rx) = mpsc::channel(shared.capacity);
    (Port::new(shared, Channel(tx)), Inbox(rx))
}

struct Channel<R: Request>(mpsc::Sender<Envelope<R>>);

impl<R: Request> Deliver<R> for Channel<R> {
    fn deliver(&self, envelope: Envelope<R>) -> Result<(), Envelope<R>> {
        self.0.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(envelope) | mpsc::error::TrySendError::Closed(envelope) => {
                envelope
            }
        })
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The receiving end of a [`channel_port`]. Dropping it closes the port: what is queued is answered
/// [`AskError::Closed`](crate::AskError::Closed).
///
/// Requests whose asker has gone while they were queued are skipped: nobody needs them done.
#[derive(Debug)]
pub struct Inbox<R: Request>(mpsc::Receiver<Envelope<R>>);

impl<R: Request> Inbox<R> {
    /// The next message; `None` when every port is gone and the queue is empty. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Envelope<R>> {
        loop {
            let envelope = self.0.recv().await?;
            if let Some(envelope) = wanted(envelope) {
                return Some(envelope);
            }
        }
    }

    /// Like [`Inbox::recv`], for a plain thread.
    ///
    /// # Panics
    /// If called from async code.
    pub fn blocking_recv(&mut self) -> Option<Envelope<R>> {
        loop {
            let envelope = self.0.blocking_recv()?;
            if let Some(envelope) = wanted(envelope) {
                return Some(envelope);
            }
        }
    }

    /// The next message if one is there now.
    pub fn try_recv(&mut self) -> Option<Envelope<R>> {
        loop {
            let envelope = self.0.try_recv().ok()?;
            if let Some(envelope) = wanted(envelope) {
                return Some(envelope);
            }
        }
    }

    /// Accepts nothing more; what is queued can still be received.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// How many messages are queued, abandoned ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn wanted<R: Request>(envelope: Envelope<R>) -> Option<Envelope<R>> {
    if envelope.is_abandoned() {
        envelope.abandon();
        return None;
    }
    Some(envelope)
}
