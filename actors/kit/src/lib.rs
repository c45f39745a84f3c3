//! What every actor of a mesh node stands on: typed bounded ports, supervision that survives panics, a clock that
//! tests can pause, observable status, metrics.
//!
//! This is the only crate that names actix. An actor elsewhere is a plain struct that implements [`Actor`], and
//! [`Handles`] once for each request that it serves; others hold a [`Port`] of that request and know nothing else.
//!
//! What this adds to actix 0.13, which does none of it:
//! - **Restart after a panic.** actix's own supervisor drops the actor, its mailbox and every queued message. Here the
//!   mailbox outlives the panic: ports stay valid, queued messages are answered by the restarted actor, which starts
//!   from a fresh state after an exponential back-off, up to a limit ([`supervise::Policy`]).
//! - **Bounds that hold.** actix's mailbox capacity counts per clone of an address and not at all for `send`. Here
//!   each port has a quota, and the permit travels inside the message, so the bound survives clones and time-outs.
//! - **Turns.** actix drains a mailbox until it is empty. Here an actor gives the thread back after
//!   [`supervise::TURN`] messages, and again after as many timers and finished tasks.
//!
//! ```
//! use meshwork_kit::{Actor, ActorKind, Ctx, Handles, Reply};
//! use meshwork_proto::Request;
//!
//! struct Add(u32);
//! impl Request for Add {
//!     type Reply = u32;
//!     const NAME: &'static str = "add";
//! }
//!
//! struct Sum(u32);
//! impl Actor for Sum {
//!     const KIND: ActorKind = ActorKind::Discovery;
//!     type Status = u32;
//!     fn status(&self) -> u32 {
//!         self.0
//!     }
//! }
//! impl Handles<Add> for Sum {
//!     fn handle(&mut self, Add(n): Add, reply: Reply<u32>, _: &mut Ctx<'_, Self>) {
//!         self.0 += n;
//!         reply.send(self.0);
//!     }
//! }
//! ```

#[cfg(panic = "abort")]
compile_error!("meshwork restarts actors that panic: build with panic = \"unwind\"");

pub mod actor;
pub mod backoff;
pub mod clock;
pub mod ctx;
pub mod metrics;
pub mod port;
pub mod supervise;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use actor::{Actor, Handles};
pub use backoff::Backoff;
pub use clock::{Clock, Timestamp};
pub use ctx::{Ctx, TimerHandle};
pub use port::{
    AskError, Envelope, Inbox, Permit, Port, Reply, Slot, TellError, channel_port, channel_port_to,
    serve_port, serve_port_at,
};
pub use supervise::{
    ActorHealth, ActorKind, ActorRef, Cause, CauseKind, Events, GiveUp, Mailbox, Policy, ShutdownError,
    StatusSnapshot, StopError, Supervision, SupervisionChange, SupervisionError, SupervisionEvent,
    ThreadClass, mailbox,
};
