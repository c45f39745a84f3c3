//! One retrying dial for each configured peer.

use super::BootstrapOptions;
use meshwork_kit::{Actor, ActorKind, ActorRef, Ctx, Handles, Mailbox, Port, Reply, Supervision, mailbox};
use meshwork_proto::bootstrap::{BootstrapNow, ListContacts};
use meshwork_proto::transport::{DialPeer, PeerTarget};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whom bootstrap asks.
#[derive(Clone)]
pub struct BootstrapDeps {
    /// Connections to peers.
    pub dial: Port<DialPeer>,
}

/// How far each first contact is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BootstrapStatus {
    /// By peer as configured: `connected`, or the last error.
    pub contacts: BTreeMap<String, String>,
}

/// How others reach bootstrap.
#[derive(Clone)]
pub struct BootstrapPorts {
    /// Read first contacts and dial them.
    pub now: Port<BootstrapNow>,
    /// The first contacts.
    pub contacts: Port<ListContacts>,
}

/// Bootstrap before it runs: its ports exist and queue up messages.
pub struct BootstrapSeed(Mailbox<Bootstrap>);

/// Makes bootstrap's ports.
#[must_use]
pub fn prepare() -> (BootstrapPorts, BootstrapSeed) {
    let mailbox = mailbox::<Bootstrap>();
    let ports = BootstrapPorts { now: mailbox.port(8), contacts: mailbox.port(16) };
    (ports, BootstrapSeed(mailbox))
}

impl BootstrapSeed {
    /// Starts the actor.
    pub fn start(self, sup: &Supervision, options: BootstrapOptions, deps: BootstrapDeps) -> ActorRef {
        self.0.start(sup, move || Bootstrap {
            options: options.clone(),
            deps: deps.clone(),
            rng: StdRng::seed_from_u64(options.seed),
            status: BootstrapStatus::default(),
        })
    }
}

struct Bootstrap {
    options: BootstrapOptions,
    deps: BootstrapDeps,
    rng: StdRng,
    status: BootstrapStatus,
}

impl Bootstrap {
    fn contact(&mut self, target: PeerTarget, attempt: u32, ctx: &mut Ctx<'_, Self>) {
        let dial = self.deps.dial.clone();
        let within = self.options.dial_deadline;
        let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let request = DialPeer { target: target.clone(), deadline_ms };
        ctx.spawn_then(async move { dial.ask(request, within).await }, move |actor, answer, ctx| {
            let problem = match answer {
                Ok(Ok(peer)) => {
                    tracing::info!(%peer, %target, "joined the mesh through this peer");
                    actor.status.contacts.insert(target.to_string(), "connected".into());
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            let pause = actor.options.backoff.delay(attempt, &mut actor.rng);
            tracing::warn!(%target, %problem, attempt, retry_in_ms = pause.as_millis(), "first contact failed");
            actor.status.contacts.insert(target.to_string(), problem);
            ctx.after(pause, move |actor, ctx| actor.contact(target, attempt.saturating_add(1), ctx));
        });
    }
}

impl Actor for Bootstrap {
    const KIND: ActorKind = ActorKind::Bootstrap;
    type Status = BootstrapStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        for target in self.options.peers.clone() {
            self.status.contacts.insert(target.to_string(), "dialling".into());
            self.contact(target, 1, ctx);
        }
    }

    fn status(&self) -> BootstrapStatus {
        self.status.clone()
    }
}

impl Handles<BootstrapNow> for Bootstrap {
    fn handle(
        &mut self,
        _: BootstrapNow,
        reply: Reply<<BootstrapNow as meshwork_proto::Request>::Reply>,
        _: &mut Ctx<'_, Self>,
    ) {
        drop(reply);
    }
}

impl Handles<ListContacts> for Bootstrap {
    fn handle(
        &mut self,
        _: ListContacts,
        reply: Reply<<ListContacts as meshwork_proto::Request>::Reply>,
        _: &mut Ctx<'_, Self>,
    ) {
        reply.send(Vec::new());
    }
}
