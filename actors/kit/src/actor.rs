//! The two traits that make a plain struct an actor.

use crate::ctx::Ctx;
use crate::port::Reply;
use crate::supervise::ActorKind;
use meshwork_proto::Request;

/// A struct that owns its state, runs on one thread and is reached only through messages.
///
/// Handlers, timers and completions get `&mut self` one at a time and must be short (about 100 µs of CPU): waiting is
/// done in futures given to [`Ctx::spawn_then`]. A panic anywhere in them drops this state and every future and
/// timer of the actor; the supervisor makes a fresh one (see [`Mailbox::start`](crate::Mailbox::start)). `Drop` of
/// the state must hold no logic: it runs after a panic too.
pub trait Actor: Sized + 'static {
    /// Which actor of the node this is: decides its thread, restart limit and what happens when it is reached.
    const KIND: ActorKind;

    /// What others may see of it: small, cheap to make.
    type Status: serde::Serialize + Clone + Send + Sync + 'static;

    /// Runs at every start and restart, before any message: the place to start timers and to replay what is stored.
    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        let _ = ctx;
    }

    /// The present status. The supervisor publishes it after each start and, when something ran since, at most
    /// ten times a second.
    fn status(&self) -> Self::Status;
}

/// An actor that serves the request `R`.
pub trait Handles<R: Request>: Actor {
    /// Takes one request up. Answer through `reply`, now or from a future; dropping it unanswered tells the asker
    /// [`AskError::Closed`](crate::AskError::Closed).
    ///
    /// An ask whose asker has gone while it was queued never gets here.
    fn handle(&mut self, request: R, reply: Reply<R::Reply>, ctx: &mut Ctx<'_, Self>);
}
