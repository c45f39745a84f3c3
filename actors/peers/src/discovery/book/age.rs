//! How old what is known of a peer is, what that makes of it, and who is forgotten.
//!
//! Each source confirms a peer for its own time to live; once none does any more, the peer is forgotten. Peers that
//! are connected or shut out never are. Only this node's own clock counts, which does not jump while it runs; for what
//! was read from disk see [`Book::grant_after_restart`].

use super::super::options::Lifetimes;
use super::{Book, Entry};
use meshwork_proto::discovery::{PeerState, Source};
use meshwork_proto::{PeerId, UnixMillis};
use std::time::Duration;

/// A peer is stale when nothing has confirmed it for this part of its time to live.
const STALE_AFTER: u32 = 3;

/// Who is forgotten in a pass.
#[derive(Debug, Clone)]
pub(crate) enum Limit {
    /// Each source's own time to live.
    Lifetimes(Lifetimes),
    /// Everybody silent for so long.
    Silence(Duration),
}

impl Entry {
    /// For how long it counts as known without being confirmed again: the longest time to live among those who confirm
    /// it. None: for ever.
    fn lifetime(&self, now: UnixMillis, ttl: &Lifetimes) -> Option<Duration> {
        let mut longest = Duration::ZERO;
        for (source, at) in &self.confirmed {
            let ttl = ttl.of(*source)?;
            if now.since(*at) < ttl {
                longest = longest.max(ttl);
            }
        }
        Some(longest)
    }

    /// Where it stands.
    pub(crate) fn state(&self, now: UnixMillis, ttl: &Lifetimes) -> PeerState {
        if self.shut_out.is_some() {
            return PeerState::Banned;
        }
        if self.left.is_some() {
            return PeerState::Left;
        }
        if self.link.is_some() {
            return PeerState::Connected;
        }
        let silence = self.last_confirmed().map_or(Duration::MAX, |at| now.since(at));
        match self.lifetime(now, ttl) {
            Some(lifetime) if silence > lifetime / STALE_AFTER => PeerState::Stale,
            _ => PeerState::Known,
        }
    }

    fn is_overdue(&self, now: UnixMillis, limit: &Limit) -> bool {
        if self.link.is_some() || self.shut_out.is_some() || self.dialling.in_flight {
            return false;
        }
        match limit {
            Limit::Lifetimes(ttl) => {
                let overdue = |(source, at): &(Source, UnixMillis)| {
                    ttl.of(*source).is_some_and(|ttl| now.since(*at) >= ttl)
                };
                self.confirmed.iter().all(overdue)
            }
            // Nobody is silent for no time: that would be everybody.
            Limit::Silence(Duration::ZERO) => false,
            Limit::Silence(silence) => self.last_confirmed().is_none_or(|at| now.since(at) >= *silence),
        }
    }
}

impl Book {
    /// Where a peer stands.
    pub(crate) fn state_of(&self, now: UnixMillis, peer: &PeerId) -> Option<PeerState> {
        self.entries.get(peer).map(|entry| entry.state(now, &self.rules.ttl))
    }

    /// Whether a peer is not connected and has given no sign of life for longer than peers do that are well.
    pub(crate) fn is_silent(&self, now: UnixMillis, entry: &Entry) -> bool {
        entry.lost || entry.state(now, &self.rules.ttl) == PeerState::Stale
    }

    /// Who would be forgotten now.
    pub(crate) fn overdue(&self, now: UnixMillis, limit: &Limit) -> Vec<PeerId> {
        let overdue = self.entries.iter().filter(|(_, entry)| entry.is_overdue(now, limit));
        overdue.map(|(peer, _)| peer.clone()).collect()
    }

    /// The lifetimes of this node, with those of one pass laid over them.
    pub(crate) fn lifetimes(&self, of_pass: &std::collections::BTreeMap<Source, u64>) -> Lifetimes {
        let mut ttl = self.rules.ttl.clone();
        ttl.by_source.extend(of_pass.iter().map(|(source, ms)| (*source, Duration::from_millis(*ms))));
        ttl
    }

    /// What a peer offered goes with its record, unless it is connected or tells us itself.
    pub(crate) fn record_expired(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer)
            && entry.link.is_none()
        {
            entry.offers = None;
            self.mark_dirty(peer);
        }
    }

    /// How old something may be that is read from disk at a start: at most half of its time to live. While this node was
    /// down nothing could confirm it, and the system's clock may have jumped by years either way; time that was not
    /// spent listening forgets nobody.
    pub(crate) fn grant_after_restart(&self, now: UnixMillis, source: Source, at: UnixMillis) -> UnixMillis {
        let half = self.rules.ttl.of(source).map_or(Duration::ZERO, |ttl| ttl / 2);
        let half = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        let oldest = UnixMillis(now.0.saturating_sub(half));
        at.clamp(oldest, now)
    }
}
