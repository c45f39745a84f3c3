//! What others can see of an actor and do with it as a whole: health, status, stop.

use super::ActorKind;
use serde::Serialize;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How an actor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ActorHealth {
    /// Its state is being built, or it has not begun.
    Starting,
    /// It serves.
    Running,
    /// It failed and waits before it starts afresh; messages are queued meanwhile.
    BackingOff {
        /// Failures within the policy's window.
        attempt: u32,
    },
    /// It failed too often and will not come back.
    GaveUp {
        /// Why it failed last.
        reason: String,
    },
    /// It was stopped, or ended itself.
    Stopped,
}

impl ActorHealth {
    /// Whether it has ended for good.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self, Self::GaveUp { .. } | Self::Stopped)
    }
}

/// The actor did not end within its time: its thread is busy, or blocked in a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor {kind} did not stop within {within:?}")]
pub struct StopError {
    /// Which actor.
    pub kind: ActorKind,
    /// The time it had.
    pub within: Duration,
}

trait View: Any + Send + Sync {
    fn json(&self) -> serde_json::Value;
    fn any(&self) -> &dyn Any;
}

impl<T: Serialize + Send + Sync + 'static> View for T {
    fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_else(|error| {
            serde_json::Value::String(format!("the status cannot be shown as JSON: {error}"))
        })
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

/// An actor's status as it was last published; cheap to clone, turned into JSON only when somebody looks.
#[derive(Clone, Default)]
pub struct StatusSnapshot(Option<Arc<dyn View>>);

impl StatusSnapshot {
    pub(super) fn new(status: impl Serialize + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(status)))
    }

    /// As JSON; `null` before the first start.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        self.0.as_ref().map_or(serde_json::Value::Null, |view| view.as_ref().json())
    }

    /// As the actor's own type; `None` before the first start, or if it is not of this type.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_ref()?.as_ref().any().downcast_ref()
    }
}

impl fmt::Debug for StatusSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json())
    }
}

/// A started actor, seen from outside. It says nothing about messages: those go through ports.
#[derive(Debug, Clone)]
pub struct ActorRef {
    kind: ActorKind,
    status: watch::Receiver<StatusSnapshot>,
    health: watch::Receiver<ActorHealth>,
    restarts: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// The other end of an [`ActorRef`], held by the actor's supervisor.
pub(super) struct Report {
    pub(super) status: watch::Sender<StatusSnapshot>,
    health: watch::Sender<ActorHealth>,
    pub(super) restarts: Arc<AtomicU64>,
    pub(super) stop: CancellationToken,
}

impl ActorRef {
    pub(super) fn new(kind: ActorKind) -> (Self, Report) {
        let (status_tx, status) = watch::channel(StatusSnapshot::default());
        let (health_tx, health) = watch::channel(ActorHealth::Starting);
        let restarts = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let report = Report {
            status: status_tx,
            health: health_tx,
            restarts: Arc::clone(&restarts),
            stop: stop.clone(),
        };
        (Self { kind, status, health, restarts, stop }, report)
    }

    /// Which actor this is.
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// How it is now.
    #[must_use]
    pub fn health(&self) -> ActorHealth {
        self.health.borrow().clone()
    }

    /// To wait for a change of health.
    #[must_use]
    pub fn watch_health(&self) -> watch::Receiver<ActorHealth> {
        self.health.clone()
    }

    /// Its status as last published.
    #[must_use]
    pub fn status(&self) -> StatusSnapshot {
        self.status.borrow().clone()
    }

    /// To wait for a change of status.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<StatusSnapshot> {
        self.status.clone()
    }

    /// How often it was restarted.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Lets the actor take up what is queued now, then ends it: its state, futures and timers are dropped, its ports
    /// close, and what came later is answered `Closed`. One that backs off after a failure ends at once, with its
    /// queue. No effect on one that has ended.
    ///
    /// # Errors
    /// When it has not ended within the time; it still will as soon as it can.
    pub async fn stop(&self, within: Duration) -> Result<(), StopError> {
        self.stop.cancel();
        let mut health = self.health.clone();
        let ended = health.wait_for(ActorHealth::has_ended);
        match tokio::time::timeout(within, ended).await {
            // An error means that the supervisor is gone, and the actor with it.
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(_) => Err(StopError { kind: self.kind, within }),
        }
    }
}

impl Report {
    pub(super) fn health(&self, health: ActorHealth) {
        self.health.send_replace(health);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // The thread can go before the actor has begun, and with it the supervisor: nobody shall wait for it.
        self.health.send_if_modified(|health| {
            let ended = health.has_ended();
            if !ended {
                *health = ActorHealth::Stopped;
            }
            !ended
        });
    }
}
