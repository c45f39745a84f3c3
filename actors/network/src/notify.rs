//! Telling other actors what changed about a peer, such that they always learn the latest.
//!
//! A tell to a full port is refused, and a lost "the peer is back" would leave a worker without its leases. So the
//! latest state of each peer waits here until its receiver has taken it; older states of the same peer are skipped.

use crate::session::locked;
use meshwork_kit::TellError;
use meshwork_proto::PeerId;
use prometheus::{IntCounter, IntCounterVec};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Peers whose state may wait. Only admitted and refused peers have one, and refused ones are dropped first.
const MAX_WAITING: usize = 4096;
/// How long a full receiver is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// How much it matters that a state arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Others depend on it.
    Essential,
    /// Strangers can cause any number of these.
    Expendable,
}

#[derive(Debug)]
struct Waiting<S> {
    states: BTreeMap<PeerId, S>,
    /// The receiver is gone: nothing is kept any more.
    closed: bool,
}

#[derive(Debug)]
struct Shared<S> {
    waiting: Mutex<Waiting<S>>,
    wake: Notify,
    dropped: IntCounter,
}

/// Where changes are put.
#[derive(Debug)]
pub(crate) struct Outbox<S>(Arc<Shared<S>>);

impl<S: Send + 'static> Outbox<S> {
    /// An outbox and the task that delivers from it, through `tell`.
    pub(crate) fn new<F>(
        receiver: &'static str,
        events: &IntCounterVec,
        tell: F,
    ) -> (Self, impl Future<Output = ()> + Send + 'static)
    where
        F: Fn(&PeerId, &S) -> Result<(), TellError> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting { states: BTreeMap::new(), closed: false }),
            wake: Notify::new(),
            dropped: events.with_label_values(&[receiver, "dropped"]),
        });
        let counters = Counters {
            delivered: events.with_label_values(&[receiver, "delivered"]),
            delayed: events.with_label_values(&[receiver, "delayed"]),
        };
        (Self(Arc::clone(&shared)), deliver(shared, receiver, counters, tell))
    }

    /// The latest state of a peer; replaces one that still waits.
    pub(crate) fn put(&self, peer: PeerId, state: S, weight: Weight) {
        let mut waiting = locked(&self.0.waiting);
        let full = waiting.states.len() >= MAX_WAITING && !waiting.states.contains_key(&peer);
        if waiting.closed || (full && weight == Weight::Expendable) {
            self.0.dropped.inc();
            return;
        }
        waiting.states.insert(peer, state);
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// Whether a state of this peer still waits.
    pub(crate) fn is_waiting(&self, peer: &PeerId) -> bool {
        locked(&self.0.waiting).states.contains_key(peer)
    }
}

struct Counters {
    delivered: IntCounter,
    delayed: IntCounter,
}

async fn deliver<S, F>(shared: Arc<Shared<S>>, receiver: &'static str, counters: Counters, tell: F)
where
    S: Send + 'static,
    F: Fn(&PeerId, &S) -> Result<(), TellError> + Send + 'static,
{
    let mut last: Option<PeerId> = None;
    loop {
        let Some((peer, state)) = take_after(&shared, last.as_ref()) else {
            shared.wake.notified().await;
            continue;
        };
        match tell(&peer, &state) {
            Ok(()) => counters.delivered.inc(),
            Err(TellError::Full { .. }) => {
                counters.delayed.inc();
                tracing::debug!(receiver, %peer, "receiver is full, a change waits");
                // Unless a newer state has come meanwhile.
                locked(&shared.waiting).states.entry(peer.clone()).or_insert(state);
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(TellError::Closed { .. }) => {
                tracing::debug!(receiver, "receiver is gone, changes are no longer told to it");
                let mut waiting = locked(&shared.waiting);
                waiting.closed = true;
                waiting.states.clear();
                return;
            }
        }
        last = Some(peer);
    }
}

/// The next peer's state in the order of ids, round and round: no peer waits for ever behind one that flaps.
fn take_after<S>(shared: &Shared<S>, last: Option<&PeerId>) -> Option<(PeerId, S)> {
    let mut waiting = locked(&shared.waiting);
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let next = waiting.states.range((from, Bound::Unbounded)).next().or_else(|| waiting.states.iter().next());
    let peer = next.map(|(peer, _)| peer.clone())?;
    waiting.states.remove_entry(&peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;
    use crate::metrics::NetworkMetrics;
    use meshwork_kit::{Inbox, channel_port};
    use meshwork_proto::Request;

    struct Changed(PeerId, u32);
    impl Request for Changed {
        type Reply = ();
        const NAME: &'static str = "changed";
    }

    fn outbox(capacity: usize) -> (Outbox<u32>, Inbox<Changed>) {
        let (port, inbox) = channel_port::<Changed>(capacity);
        let events = NetworkMetrics::unregistered().events;
        let (outbox, task) = Outbox::new("test", &events, move |peer: &PeerId, state: &u32| {
            port.tell(Changed(peer.clone(), *state))
        });
        tokio::spawn(task);
        (outbox, inbox)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_receiver_gets_the_latest_state_of_each_peer_later() {
        let (outbox, mut inbox) = outbox(1);
        let peers: Vec<PeerId> = (0..3).map(|_| NodeIdentity::generate().peer_id()).collect();
        for state in 0..100 {
            for peer in &peers {
                outbox.put(peer.clone(), state, Weight::Essential);
            }
            tokio::task::yield_now().await;
        }
        let mut latest = BTreeMap::new();
        while latest.len() < 3 || latest.values().any(|state| *state != 99) {
            let (Changed(peer, state), _) = inbox.recv().await.unwrap().into_parts();
            assert!(latest.insert(peer, state).is_none_or(|before| before < state), "went back in time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_cannot_fill_it() {
        let (outbox, _inbox) = outbox(1);
        for _ in 0..MAX_WAITING + 10 {
            outbox.put(NodeIdentity::generate().peer_id(), 1, Weight::Expendable);
        }
        let essential = NodeIdentity::generate().peer_id();
        outbox.put(essential.clone(), 2, Weight::Essential);
        assert!(outbox.is_waiting(&essential));
        assert!(locked(&outbox.0.waiting).states.len() <= MAX_WAITING + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_gone_leaves_nothing_behind() {
        let (outbox, inbox) = outbox(1);
        drop(inbox);
        let peer = NodeIdentity::generate().peer_id();
        outbox.put(peer.clone(), 1, Weight::Essential);
        tokio::time::sleep(Duration::from_millis(1)).await;
        outbox.put(peer.clone(), 2, Weight::Essential);
        assert!(!outbox.is_waiting(&peer));
    }
}
