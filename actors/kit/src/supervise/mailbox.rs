//! Phase 1 of wiring: a mailbox and its ports, before there is an actor.

use super::health::ActorRef;
use super::run::{Seed, run};
use super::shell::Shell;
use super::{ActorHealth, Supervision};
use crate::actor::{Actor, Handles};
use crate::port::{Bound, Deliver, Envelope, Port, PortShared};
use actix::dev::channel::{AddressReceiver, AddressSender, channel};
use actix::prelude::SendError;
use meshwork_proto::Request;
use std::fmt;

/// The mailbox of an actor that has not been started.
pub struct Mailbox<A: Actor> {
    sender: AddressSender<Shell<A>>,
    receiver: AddressReceiver<Shell<A>>,
}

/// A mailbox for an actor of this type. Dropping it closes its ports.
#[must_use]
pub fn mailbox<A: Actor>() -> Mailbox<A> {
    // actix's own capacity bounds nothing here: only the permits of the ports do.
    let (sender, receiver) = channel(0);
    Mailbox { sender, receiver }
}

impl<A: Actor> Mailbox<A> {
    /// A port for one kind of request, with a quota of its own (at least 1) for messages that wait to be taken up. An
    /// urgent kind of request is one with a port of its own; messages are still taken up in the order they came.
    #[must_use]
    pub fn port<R: Request>(&self, quota: usize) -> Port<R>
    where
        A: Handles<R>,
    {
        self.bounded(quota, Bound::Queue)
    }

    /// Like [`Mailbox::port`], but a message counts against the quota until it is answered (or its reply handle is
    /// dropped): bounds the work in flight of an actor that answers from futures.
    #[must_use]
    pub fn port_in_flight<R: Request>(&self, quota: usize) -> Port<R>
    where
        A: Handles<R>,
    {
        self.bounded(quota, Bound::InFlight)
    }

    fn bounded<R: Request>(&self, quota: usize, bound: Bound) -> Port<R>
    where
        A: Handles<R>,
    {
        let shared = PortShared::new(A::KIND.name(), R::NAME, quota, bound);
        Port::new(shared, ToActor(self.sender.clone()))
    }

    /// Phase 2: starts the actor on the thread of its kind. `fresh` builds its state there, now and after each
    /// failure; a panic in it counts as a failure too.
    pub fn start(self, supervision: &Supervision, fresh: impl FnMut() -> A + Send + 'static) -> ActorRef {
        let (actor, report) = ActorRef::new(A::KIND);
        let mut started = supervision.started();
        let seed = Seed {
            kind: A::KIND,
            report,
            clock: supervision.clock().clone(),
            runtime: supervision.runtime().clone(),
            events: supervision.event_sink(),
            randomness: supervision.seed_for(started.len()),
        };
        started.push(actor.clone());
        drop(started);
        let Self { sender, receiver } = self;
        let begin = move || {
            actix_rt::spawn(run(seed, sender, receiver, fresh));
        };
        let placed = supervision.arbiter(A::KIND.thread()).is_some_and(|arbiter| arbiter.spawn_fn(begin));
        if !placed {
            tracing::error!(actor = A::KIND.name(), "not started: its thread has ended");
            debug_assert_eq!(actor.health(), ActorHealth::Stopped);
        }
        actor
    }
}

impl<A: Actor> fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("actor", &A::KIND).finish_non_exhaustive()
    }
}

struct ToActor<A: Actor>(AddressSender<Shell<A>>);

impl<A, R> Deliver<R> for ToActor<A>
where
    A: Handles<R>,
    R: Request,
{
    fn deliver(&self, envelope: Envelope<R>) -> Result<(), Envelope<R>> {
        self.0.do_send(envelope).map_err(|error| match error {
            SendError::Full(envelope) | SendError::Closed(envelope) => envelope,
        })
    }

    fn is_closed(&self) -> bool {
        !self.0.connected()
    }
}
