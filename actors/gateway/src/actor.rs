//! The gateway's actor: it owns nothing but what others may see of the gateway.
//!
//! Calls never pass through its mailbox: each is served in a task of its own. It accepts [`UpstreamChanged`], asks
//! nobody, and after a restart shows the same as before, because it reads the watches that the upstream servers' tasks
//! write.

use crate::metrics::Metrics;
use crate::upstream::UpstreamStatus;
use meshwork_kit::{Actor, ActorKind, Ctx, Handles, Reply};
use meshwork_proto::Request;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often the counts in the status are brought up to date.
const REFRESH: Duration = Duration::from_secs(1);

/// What others may see of the gateway.
#[derive(Debug, Clone, Serialize)]
pub struct GatewayStatus {
    /// Sessions of clients of the older era (the present one has none).
    pub sessions: usize,
    /// Tool calls since the start.
    pub calls: u64,
    /// Upstream servers, in the order of the configuration.
    pub upstreams: Vec<UpstreamStatus>,
}

/// The state of an upstream server changed: show it (tell).
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpstreamChanged;

impl Request for UpstreamChanged {
    type Reply = ();
    const NAME: &'static str = "upstream_changed";
}

/// The actor.
pub(crate) struct GatewayActor {
    metrics: Metrics,
    sessions: Arc<AtomicUsize>,
    upstreams: Vec<watch::Receiver<UpstreamStatus>>,
}

impl GatewayActor {
    pub(crate) fn new(
        metrics: Metrics,
        sessions: Arc<AtomicUsize>,
        upstreams: Vec<watch::Receiver<UpstreamStatus>>,
    ) -> Self {
        Self { metrics, sessions, upstreams }
    }
}

impl Actor for GatewayActor {
    const KIND: ActorKind = ActorKind::Gateway;
    type Status = GatewayStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        // The counts change without a message; a turn of the actor is what has its status published.
        ctx.every(REFRESH, |_, _| {});
    }

    fn status(&self) -> GatewayStatus {
        GatewayStatus {
            sessions: self.sessions.load(Ordering::Relaxed),
            calls: self.metrics.calls(),
            upstreams: self.upstreams.iter().map(|upstream| upstream.borrow().clone()).collect(),
        }
    }
}

impl Handles<UpstreamChanged> for GatewayActor {
    fn handle(&mut self, _: UpstreamChanged, reply: Reply<()>, _: &mut Ctx<'_, Self>) {
        reply.send(());
    }
}
