//! The peer book as a pure state machine: what happened and when goes in, views come out.
//!
//! Everything that names a peer is merged into one entry: configuration, sources, gossip, connections. Each source
//! confirms a peer for its own time to live; an entry that nothing confirms any more is forgotten. What strangers say is
//! kept within bounds: entries per visit, addresses per peer, peers in all.

mod age;
mod change;
mod entry;
mod found;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use age::Limit;
pub(crate) use change::Dialled;
pub(crate) use entry::{Entry, KnownAddress};
pub use view::BookStatus;

use super::options::Lifetimes;
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the book is full, so many entries go at once: each look for the least valuable one is a look at all.
const EVICTED_AT_ONCE: usize = 64;

/// Settings of the book.
#[derive(Debug, Clone)]
pub(crate) struct BookRules {
    pub(crate) own: PeerId,
    pub(crate) max_peers: usize,
    pub(crate) ttl: Lifetimes,
    pub(crate) allow_private: bool,
    pub(crate) dial_backoff: meshwork_kit::Backoff,
    pub(crate) refused_pause: Duration,
}

/// Everybody this node has heard of.
#[derive(Debug)]
pub(crate) struct Book {
    rules: BookRules,
    entries: BTreeMap<PeerId, Entry>,
    /// Who is connected, in no order that means anything: partners are drawn from it.
    linked: Vec<PeerId>,
    /// Entries whose state on disk is behind, those that are gone included.
    dirty: Vec<PeerId>,
    evicted: u64,
}

impl Book {
    pub(crate) fn new(rules: BookRules) -> Self {
        Self { rules, entries: BTreeMap::new(), linked: Vec::new(), dirty: Vec::new(), evicted: 0 }
    }

    pub(crate) fn own(&self) -> &PeerId {
        &self.rules.own
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Who is connected.
    pub(crate) fn linked(&self) -> &[PeerId] {
        &self.linked
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Entry> {
        self.entries.get(peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.entries.iter()
    }

    /// Entries that had to go for want of room, since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The peers whose state on disk is behind, each once; those that are not in the book are to be deleted there.
    pub(crate) fn take_dirty(&mut self) -> Vec<PeerId> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for peer in &dirty {
            if let Some(entry) = self.entries.get_mut(peer) {
                entry.dirty = false;
            }
        }
        dirty
    }

    /// These could not be written: they are still behind.
    pub(crate) fn still_dirty(&mut self, peers: Vec<PeerId>) {
        for peer in peers {
            self.mark_dirty(&peer);
        }
    }

    /// What is known of this peer is what was just read from disk.
    pub(crate) fn is_as_stored(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dirty = false;
        }
        while self.dirty.pop_if(|last| last == peer).is_some() {}
    }

    fn mark_dirty(&mut self, peer: &PeerId) {
        match self.entries.get_mut(peer) {
            Some(entry) if entry.dirty => {}
            Some(entry) => {
                entry.dirty = true;
                self.dirty.push(peer.clone());
            }
            None => self.dirty.push(peer.clone()),
        }
    }

    /// The entry of a peer, made if it is new and there is room. What has proven itself displaces hearsay, never the
    /// other way round. Never an entry for this node itself.
    fn entry(&mut self, peer: &PeerId, proven: bool) -> Option<&mut Entry> {
        if *peer == self.rules.own {
            return None;
        }
        if !self.entries.contains_key(peer) && self.entries.len() >= self.rules.max_peers.max(1) {
            self.make_room(proven);
            if self.entries.len() >= self.rules.max_peers.max(1) {
                return None;
            }
        }
        Some(self.entries.entry(peer.clone()).or_default())
    }

    /// Lets the least valuable entries go.
    fn make_room(&mut self, for_proven: bool) {
        let spare = |entry: &Entry| entry.link.is_none() && entry.shut_out.is_none();
        let mut candidates: Vec<(bool, Option<UnixMillis>, &PeerId)> = self
            .entries
            .iter()
            .filter(|(_, entry)| spare(entry) && (for_proven || !entry.is_proven()))
            .map(|(peer, entry)| (entry.is_proven(), entry.last_confirmed(), peer))
            .collect();
        let count = EVICTED_AT_ONCE.min(self.rules.max_peers / EVICTED_AT_ONCE + 1).min(candidates.len());
        if count == 0 {
            return;
        }
        candidates.select_nth_unstable(count - 1);
        let gone: Vec<PeerId> = candidates.iter().take(count).map(|(.., peer)| (*peer).clone()).collect();
        for peer in gone {
            self.remove(&peer);
            self.evicted += 1;
        }
    }

    fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        let entry = self.entries.remove(peer)?;
        self.linked.retain(|linked| linked != peer);
        // The entry's own mark is gone with it.
        if !entry.dirty {
            self.dirty.push(peer.clone());
        }
        Some(entry)
    }

    /// A connection to the peer is being opened, or that was given up.
    pub(crate) fn set_in_flight(&mut self, peer: &PeerId, in_flight: bool) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dialling.in_flight = in_flight;
        }
    }
}
