//! Sessions of clients of the older era, bounded: above the limit, the one that was not used for longest is closed.
//!
//! The SDK keeps sessions without a limit of number. A client that never closes its sessions would otherwise fill the
//! memory for as long as each stays idle.

use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::server_side_http::ServerSseMessage;
use rmcp::transport::streamable_http_server::SessionId;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The sessions that are open.
pub(crate) struct BoundedSessions {
    inner: LocalSessionManager,
    limit: usize,
    uses: Mutex<Uses>,
    open: Arc<AtomicUsize>,
}

/// Sessions by when they were last used, counted in uses.
#[derive(Default)]
struct Uses {
    count: u64,
    last: BTreeMap<SessionId, u64>,
}

impl BoundedSessions {
    pub(crate) fn new(limit: usize, idle: Duration) -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(idle);
        Self { inner, limit: limit.max(1), uses: Mutex::default(), open: Arc::default() }
    }

    /// How many are open, for who shows it.
    pub(crate) fn open(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        // Nothing that holds the lock can leave the counts half changed.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self, id: &SessionId) {
        let mut uses = self.uses();
        uses.count += 1;
        let count = uses.count;
        if let Some(last) = uses.last.get_mut(id) {
            *last = count;
        }
    }

    fn opened(&self, id: &SessionId) {
        let mut uses = self.uses();
        uses.count += 1;
        let count = uses.count;
        uses.last.insert(id.clone(), count);
        self.open.store(uses.last.len(), Ordering::Relaxed);
    }

    fn closed(&self, id: &SessionId) {
        let mut uses = self.uses();
        uses.last.remove(id);
        self.open.store(uses.last.len(), Ordering::Relaxed);
    }

    /// The session to close before another is opened.
    fn surplus(&self) -> Option<SessionId> {
        let uses = self.uses();
        if uses.last.len() < self.limit {
            return None;
        }
        uses.last.iter().min_by_key(|(_, last)| **last).map(|(id, _)| id.clone())
    }
}

impl SessionManager for BoundedSessions {
    type Error = <LocalSessionManager as SessionManager>::Error;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        if let Some(oldest) = self.surplus() {
            tracing::debug!(session = %oldest, limit = self.limit, "closing the session that was not used for longest");
            self.close_session(&oldest).await?;
        }
        let (id, transport) = self.inner.create_session().await?;
        self.opened(&id);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.inner.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.used(id);
        self.inner.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.closed(id);
        self.inner.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.inner.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.inner.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_session_that_was_not_used_for_longest_gives_way() {
        let sessions = BoundedSessions::new(2, Duration::from_secs(60));
        let (first, _first) = sessions.create_session().await.unwrap();
        let (second, _second) = sessions.create_session().await.unwrap();
        assert!(sessions.has_session(&first).await.unwrap());
        let (third, _third) = sessions.create_session().await.unwrap();
        assert!(sessions.has_session(&first).await.unwrap());
        assert!(!sessions.has_session(&second).await.unwrap());
        assert_eq!(sessions.open().load(Ordering::Relaxed), 2);
        sessions.close_session(&third).await.unwrap();
        assert_eq!(sessions.open().load(Ordering::Relaxed), 1);
    }
}
