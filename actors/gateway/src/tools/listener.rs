//! Who hears how far a call is: a client that sent a progress token along with it.

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the client may take to receive a notification; then it hears no more of this call.
const WITHIN: Duration = Duration::from_secs(1);

/// Who hears how far a call is; perhaps nobody.
pub(crate) struct Listener(Option<Ear>);

struct Ear {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// What it heard last, plus one: the protocol wants each notification to say more than the one before.
    heard: AtomicU64,
    deaf: AtomicBool,
}

impl Listener {
    /// Nobody.
    pub(crate) const fn nobody() -> Self {
        Self(None)
    }

    /// The client that called, if it wants to hear.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Self {
        Self(context.meta.get_progress_token().map(|token| Ear {
            peer: context.peer.clone(),
            token,
            heard: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
        }))
    }

    /// Whether somebody listens.
    pub(crate) fn hears(&self) -> bool {
        self.0.as_ref().is_some_and(|ear| !ear.deaf.load(Ordering::Relaxed))
    }

    /// Says that so much of all is done; nothing if it is no more than what was said last.
    pub(crate) async fn hear(&self, done: u32, total: u32, message: String) {
        let Some(ear) = self.0.as_ref().filter(|_| self.hears()) else {
            return;
        };
        let say = u64::from(done) + 1;
        if ear.heard.fetch_max(say, Ordering::Relaxed) >= say {
            return;
        }
        let progress = ProgressNotificationParam::new(ear.token.clone(), f64::from(done))
            .with_total(f64::from(total))
            .with_message(message);
        let sent = tokio::time::timeout(WITHIN, ear.peer.notify_progress(progress)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(?sent, "a client does not receive how far its call is");
            ear.deaf.store(true, Ordering::Relaxed);
        }
    }
}
