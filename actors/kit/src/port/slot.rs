//! A place in a port's quota, taken before the message that fills it.

use super::{AskError, Envelope, Permit, Port, Reply};
use meshwork_proto::Request;
use std::fmt;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// A place in a port's quota. Dropping it gives the place back.
///
/// Asks from several futures arrive in no certain order, because each of them waits for its own place. Whoever needs an
/// order takes a place, and then sends: [`Slot::ask`] delivers at the call, not when its future is polled.
pub struct Slot<R: Request> {
    port: Port<R>,
    permit: Option<Permit>,
}

impl<R: Request> Slot<R> {
    pub(crate) fn new(port: Port<R>, permit: Permit) -> Self {
        Self { port, permit: Some(permit) }
    }

    /// Delivers the request now; the future waits for the answer.
    ///
    /// # Errors
    /// The future gives [`AskError::Timeout`] if the answer did not come in time, [`AskError::Closed`] if the receiver
    /// is gone or dropped the request.
    pub fn ask(
        mut self,
        body: R,
        within: Duration,
    ) -> impl Future<Output = Result<R::Reply, AskError>> + use<R> + 'static {
        let deadline = Instant::now().checked_add(within);
        let (reply, answer) = Reply::somebody();
        let port = self.port.clone();
        let delivered = match self.permit.take() {
            Some(permit) => port.deliver(Envelope::new(body, reply, permit)),
            None => Err(()),
        };
        async move {
            delivered.map_err(|()| AskError::Closed { message: R::NAME })?;
            port.wait(answer, deadline, within).await
        }
    }
}

impl<R: Request> Drop for Slot<R> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.unused();
        }
    }
}

impl<R: Request> fmt::Debug for Slot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("message", &R::NAME).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::port::{TellError, channel_port};
    use meshwork_proto::Request;
    use std::time::Duration;

    struct Number(u32);
    impl Request for Number {
        type Reply = u32;
        const NAME: &'static str = "number";
    }

    const LONG: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn requests_arrive_in_the_order_of_the_calls_whatever_the_order_of_their_futures() {
        let (port, mut inbox) = channel_port::<Number>(8);
        let mut waiting = Vec::new();
        for n in 0..8 {
            waiting.push(port.try_slot().unwrap().ask(Number(n), LONG));
        }
        assert!(matches!(port.try_slot(), Err(TellError::Full { .. })));
        waiting.reverse();
        for expected in 0..8 {
            let (Number(n), reply) = inbox.recv().await.unwrap().into_parts();
            assert_eq!(n, expected);
            reply.send(n);
        }
        for (answer, expected) in waiting.into_iter().zip((0..8).rev()) {
            assert_eq!(answer.await, Ok(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_not_used_is_free_again_and_one_that_is_waited_for_comes() {
        let (port, mut inbox) = channel_port::<Number>(1);
        let slot = port.try_slot().unwrap();
        assert_eq!(port.depth(), 1);
        assert!(port.slot(Duration::from_millis(10)).await.is_err());
        drop(slot);
        assert_eq!(port.depth(), 0);
        let first = port.slot(LONG).await.unwrap().ask(Number(1), LONG);
        let second = port.slot(LONG);
        let serve = async {
            inbox.recv().await.unwrap().into_parts().1.send(7);
        };
        let (slot, answer, ()) = futures::join!(second, first, serve);
        assert_eq!(answer, Ok(7));
        assert!(slot.is_ok());
    }
}
