//! Ports that serve each request in a task of its own.

use super::{Bound, Deliver, Envelope, Port, PortShared};
use crate::metrics::HandlerTimer;
use crate::supervise::panic_text;
use futures::FutureExt;
use meshwork_proto::Request;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A port whose requests run as tasks on `handle`, at most `capacity` (at least 1) at a time.
///
/// A permit is held until the work has ended, also when its asker has gone: what still runs still counts. A panic
/// ends only its own request, whose asker sees [`AskError::Closed`](crate::AskError::Closed).
pub fn serve_port<R, F, Fut>(capacity: usize, handle: &Handle, serve: F) -> Port<R>
where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    serve_port_at("tasks", capacity, handle, serve)
}

/// Like [`serve_port`]; `server` is the value of the label `actor` in metrics.
pub fn serve_port_at<R, F, Fut>(server: &'static str, capacity: usize, handle: &Handle, serve: F) -> Port<R>
where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    let shared = PortShared::new(server, R::NAME, capacity, Bound::InFlight);
    Port::new(shared, Served { handle: handle.clone(), serve: Arc::new(serve) })
}

struct Served<F> {
    handle: Handle,
    serve: Arc<F>,
}

impl<R, F, Fut> Deliver<R> for Served<F>
where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R::Reply> + Send + 'static,
{
    fn deliver(&self, envelope: Envelope<R>) -> Result<(), Envelope<R>> {
        let serve = Arc::clone(&self.serve);
        self.handle.spawn(async move {
            if envelope.is_abandoned() {
                return envelope.abandon();
            }
            let (body, reply, shared) = envelope.take_up();
            let timer = HandlerTimer::start(shared);
            // The closure is called inside as well: it may panic before it has made a future.
            let work = AssertUnwindSafe(async move { serve(body).await });
            match work.catch_unwind().await {
                Ok(value) => {
                    timer.finished();
                    reply.send(value);
                }
                Err(payload) => {
                    timer.panicked();
                    tracing::error!(
                        message = R::NAME,
                        "panic while serving: {}",
                        panic_text(payload.as_ref())
                    );
                }
            }
        });
        Ok(())
    }

    fn is_closed(&self) -> bool {
        false
    }
}
