//! Calls to peers about sub-workflows: they wait for the ends of runs, so there may only be some of them at a time, or
//! nothing else would get through to a peer, leases least of all. Who finds no place waits for it; and while somebody
//! does, each call waits for less.

use meshwork_proto::PeerId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls at a time, of those that a node may have under way.
const ALL: usize = 64;
/// Calls to one peer at a time: one that does not answer must not keep the others from being asked.
const TO_ONE: usize = 32;
/// How long a peer is asked to wait for the end of a run when nobody waits for a place.
const LONG: Duration = Duration::from_secs(30);
/// The same when somebody does.
const SHORT: Duration = Duration::from_secs(1);

/// The places of calls.
#[derive(Debug)]
pub(super) struct Calls {
    all: Arc<Semaphore>,
    peers: RefCell<HashMap<PeerId, Weak<Semaphore>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), peers: RefCell::default() }
    }
}

/// The place of a call.
#[derive(Debug)]
pub(super) struct CallPlace {
    all: Arc<Semaphore>,
    peer: Arc<Semaphore>,
    _held: (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>),
}

impl Calls {
    /// Waits for a place.
    pub(super) async fn place(&self, peer: &PeerId) -> CallPlace {
        let (all, peer) = (Arc::clone(&self.all), self.of(peer));
        // First that of the peer: nobody takes a place of all while it waits for a peer that does not answer. (They are
        // never closed.)
        let own = Arc::clone(&peer).acquire_owned().await.ok();
        let one = Arc::clone(&all).acquire_owned().await.ok();
        CallPlace { all, peer, _held: (own, one) }
    }

    fn of(&self, peer: &PeerId) -> Arc<Semaphore> {
        let mut peers = self.peers.borrow_mut();
        if let Some(known) = peers.get(peer).and_then(Weak::upgrade) {
            return known;
        }
        peers.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(TO_ONE));
        peers.insert(peer.clone(), Arc::downgrade(&places));
        places
    }
}

impl CallPlace {
    /// How long the peer may be asked to wait.
    pub(super) fn patience(&self) -> Duration {
        let free = self.all.available_permits().min(self.peer.available_permits());
        if free == 0 { SHORT } else { LONG }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::tests::bench::{other, owner};
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_keeps_nobody_from_asking_another() {
        let third = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTM";
        let peers = [owner(), other(), third.parse().unwrap()];
        let calls = Calls::default();
        let mut held = Vec::new();
        for _ in 0..TO_ONE {
            held.push(calls.place(&peers[0]).await);
        }
        assert_eq!((held[0].patience(), held[TO_ONE - 1].patience()), (SHORT, SHORT));
        assert!(calls.place(&peers[0]).now_or_never().is_none());
        let other = calls.place(&peers[1]).now_or_never().expect("a place");
        assert_eq!(other.patience(), LONG);
        drop(held);
        assert!(calls.place(&peers[0]).now_or_never().is_some());
        drop(other);
        drop(calls.of(&peers[2]));
        assert_eq!(calls.peers.borrow().len(), 1, "who has no calls is forgotten");
    }
}
