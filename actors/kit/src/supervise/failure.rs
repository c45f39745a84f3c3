//! What failed, and how others hear of it.

use super::{ActorKind, GiveUp};
use std::any::Any;
use std::fmt;
use std::time::Duration;
use tokio::sync::broadcast;

/// Where an actor failed: the label `cause` of the restart counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// While its state was built.
    Fresh,
    /// In `started`.
    Started,
    /// In the handler of a message.
    Handler,
    /// In a timer.
    Timer,
    /// In a future that it had spawned, or in what followed it.
    Task,
    /// In `status`.
    Status,
    /// It gave itself up with `Ctx::fail`.
    Failed,
    /// While its old state was dropped.
    Drop,
    /// Its context ended without anybody having asked for it.
    Ended,
}

impl CauseKind {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Started => "started",
            Self::Handler => "handler",
            Self::Timer => "timer",
            Self::Task => "task",
            Self::Status => "status",
            Self::Failed => "failed",
            Self::Drop => "drop",
            Self::Ended => "ended",
        }
    }
}

/// Why an actor failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Where.
    pub kind: CauseKind,
    /// The request whose handler it was, if it was one.
    pub message: Option<&'static str>,
    /// The text of the panic, or the reason the actor gave.
    pub text: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.message) {
            (CauseKind::Failed, _) => write!(f, "it failed: {}", self.text),
            (CauseKind::Ended, _) => f.write_str("its context ended unasked"),
            (_, Some(message)) => write!(f, "panic in the handler of {message}: {}", self.text),
            (kind, None) => write!(f, "panic in {}: {}", kind.as_str(), self.text),
        }
    }
}

/// What happened to a supervised actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisionChange {
    /// It failed and starts afresh after `backoff`.
    Restarting {
        /// Why it failed.
        cause: Cause,
        /// How many failures there were within the policy's window, this one included.
        attempt: u32,
        /// The wait before the restart.
        backoff: Duration,
    },
    /// It failed too often; its ports are closed.
    GaveUp {
        /// Why it failed last.
        cause: Cause,
        /// What the node has to do about it.
        then: GiveUp,
    },
    /// It was stopped, or ended itself.
    Stopped,
}

/// Something that happened to a supervised actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisionEvent {
    /// To which actor.
    pub kind: ActorKind,
    /// What.
    pub what: SupervisionChange,
}

/// A bounded reader of supervision events.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<SupervisionEvent>);

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<SupervisionEvent>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` when supervision has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<SupervisionEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "supervision events were missed: the reader is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<SupervisionEvent> {
        loop {
            match self.0.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "supervision events were missed: the reader is too slow");
                }
                Err(_) => return None,
            }
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
