//! What is kept of a peer while it is connected: its standing, its limits, and the stream for our own requests.
//!
//! The swarm task makes a session with the first connection to a peer and ends it with the last one; everybody else
//! finds it in the [`Directory`].

use crate::link::Link;
use crate::score::FloodGate;
use meshwork_proto::wire::admission::MAX_REASON;
use meshwork_proto::{PeerId, Role, UnixMillis};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Streams of a peer that are served at a time. Honest peers have one for requests and, for a moment, one for the
/// handshake; a few more while old connections die.
const MAX_STREAMS_IN: usize = 8;

/// What two connected peers think of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No handshake has begun.
    Unknown,
    /// A handshake is under way.
    Proving,
    /// Both sides admit each other; the peer has this role here.
    Admitted(Role),
    /// One side refuses the other.
    Refused(Refusal),
    /// The last connection is gone.
    Gone,
}

/// Who refused whom, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// This node refuses the peer; else the peer refuses this node.
    pub(crate) by_us: bool,
    /// Why, at most [`MAX_REASON`] characters.
    pub(crate) reason: String,
}

impl Refusal {
    /// As a person at this node reads it.
    pub(crate) fn in_words(&self) -> String {
        let who = if self.by_us { "this node refuses it" } else { "it refuses this node" };
        format!("{who}: {}", self.reason.chars().take(MAX_REASON).collect::<String>())
    }
}

/// A connected peer.
#[derive(Debug)]
pub(crate) struct PeerSession {
    pub(crate) peer: PeerId,
    pub(crate) remote: libp2p::PeerId,
    standing: watch::Sender<Standing>,
    /// Places for requests to the peer.
    pub(crate) outbound: Semaphore,
    /// Places for requests of the peer.
    pub(crate) inbound: Arc<Semaphore>,
    /// Places for streams of the peer.
    pub(crate) streams: Arc<Semaphore>,
    /// All places for requests of the peer, taken or not.
    max_inbound: usize,
    /// It misbehaved: only a few of its requests are served at a time.
    throttled: AtomicBool,
    flood: Mutex<FloodGate>,
    request_ids: AtomicU64,
    link: Mutex<Option<Arc<Link>>>,
    /// Held while a stream is opened, so that only one is.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

impl PeerSession {
    pub(crate) fn new(
        peer: PeerId,
        remote: libp2p::PeerId,
        requests_out: u32,
        requests_in: u32,
    ) -> Arc<Self> {
        let places = |count: u32| Semaphore::new(usize::try_from(count.max(1)).unwrap_or(1));
        Arc::new(Self {
            peer,
            remote,
            standing: watch::Sender::new(Standing::Unknown),
            outbound: places(requests_out),
            inbound: Arc::new(places(requests_in)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS_IN)),
            max_inbound: usize::try_from(requests_in.max(1)).unwrap_or(1),
            throttled: AtomicBool::new(false),
            flood: Mutex::default(),
            request_ids: AtomicU64::new(1),
            link: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
        })
    }

    /// The peer's role, when both sides admit each other.
    pub(crate) fn role(&self) -> Option<Role> {
        match *self.standing.borrow() {
            Standing::Admitted(role) => Some(role),
            _ => None,
        }
    }

    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.send_replace(standing);
    }

    /// The standing, once a handshake that is under way has ended; at most `within` from now.
    pub(crate) async fn settled(&self, within: Duration) -> Standing {
        let mut standing = self.standing.subscribe();
        let settled = standing.wait_for(|standing| *standing != Standing::Proving);
        match tokio::time::timeout(within, settled).await {
            Ok(Ok(standing)) => standing.clone(),
            _ => self.standing.borrow().clone(),
        }
    }

    pub(crate) fn set_throttled(&self, throttled: bool) {
        self.throttled.store(throttled, Ordering::Relaxed);
    }

    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled.load(Ordering::Relaxed)
    }

    /// Requests of the peer that are served now.
    pub(crate) fn served_now(&self) -> usize {
        self.max_inbound.saturating_sub(self.inbound.available_permits())
    }

    /// Counts what the peer asked for beyond its limits; true: it is a flood.
    pub(crate) fn is_flood(&self, cost: u32, now: UnixMillis) -> bool {
        locked(&self.flood).hit(cost, now)
    }

    /// An id that no open request has.
    pub(crate) fn next_request_id(&self) -> u64 {
        self.request_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The stream for our requests, if one is open.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        locked(&self.link).as_ref().filter(|link| !link.is_closed()).map(Arc::clone)
    }

    pub(crate) fn set_link(&self, link: Arc<Link>) {
        *locked(&self.link) = Some(link);
    }

    /// The last connection is gone: everything that is under way fails.
    pub(crate) fn end(&self) {
        self.set_standing(Standing::Gone);
        self.outbound.close();
        if let Some(link) = locked(&self.link).take() {
            link.close();
        }
    }
}

/// The connected peers.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<BTreeMap<PeerId, Arc<PeerSession>>>);

impl Directory {
    pub(crate) fn get(&self, peer: &PeerId) -> Option<Arc<PeerSession>> {
        locked(&self.0).get(peer).map(Arc::clone)
    }

    pub(crate) fn insert(&self, session: Arc<PeerSession>) {
        locked(&self.0).insert(session.peer.clone(), session);
    }

    pub(crate) fn remove(&self, peer: &PeerId) -> Option<Arc<PeerSession>> {
        locked(&self.0).remove(peer)
    }

    /// Ends all sessions.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *locked(&self.0));
        for session in all.into_values() {
            session.end();
        }
    }
}

/// The value, also after a panic of another holder: these locks are held for single steps that leave no half-made
/// state.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
