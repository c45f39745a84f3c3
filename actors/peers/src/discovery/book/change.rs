//! What changes an entry: connections, dials, records, advertisements, being shut out.

use super::super::gossip::{Believed, bounded, dialable};
use super::entry::Link;
use super::{Book, Entry};
use crate::address::{Address, MAX_ADDRESS};
use meshwork_proto::discovery::{Advertisement, PeerConnection, Source};
use meshwork_proto::transport::{AddressFailure, CallError, ConnectError};
use meshwork_proto::{PeerId, UnixMillis};
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::Duration;

/// A connection that stood for less does not count as a success: else a peer that drops us at once is dialled without end.
const STEADY: Duration = Duration::from_secs(10);
/// Most addresses that are looked at in one failure.
const MAX_FAILED: usize = 64;

/// What a change of a connection means for the other parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dialled {
    /// It is connected and was not before.
    Up(PeerId),
    /// It is not connected any more.
    Down(PeerId),
    /// It must not be connected.
    Out(PeerId),
    /// Nothing of that.
    Nothing,
}

impl Book {
    /// Notes a change of a connection.
    pub(crate) fn connection(
        &mut self,
        now: UnixMillis,
        change: PeerConnection,
        rng: &mut SmallRng,
    ) -> Dialled {
        match change {
            PeerConnection::Up { peer, role, address } => {
                let Some(entry) = self.entry(&peer, true) else { return Dialled::Nothing };
                let (text, relayed) = place(&address);
                let known = entry.addresses.iter().any(|known| known.text == text);
                // Of a connection that the peer opened the address is a port that nobody listens at.
                if known {
                    entry.reached_at(now, &text, Source::Connection);
                }
                let newly = entry.link.is_none();
                let since = entry.link.as_ref().map_or(now, |link| link.since);
                entry.link = Some(Link { address: text, relayed, since });
                (entry.role, entry.refused, entry.left) = (Some(role), false, None);
                entry.confirm(Source::Connection, now);
                self.mark_dirty(&peer);
                if !newly {
                    return Dialled::Nothing;
                }
                self.linked.push(peer.clone());
                Dialled::Up(peer)
            }
            PeerConnection::Down { peer } => self.down(now, peer, rng),
            PeerConnection::Rtt { peer, rtt_us } => {
                let Some(entry) = self.entries.get_mut(&peer) else { return Dialled::Nothing };
                entry.rtt_us = Some(rtt_us);
                entry.confirm(Source::Connection, now);
                self.linked_after_all(now, peer)
            }
            PeerConnection::Refused { peer, .. } => {
                let pause = self.rules.refused_pause;
                // Anybody may knock: who is not known yet is not entered for it.
                let Some(entry) = self.entries.get_mut(&peer) else { return Dialled::Nothing };
                (entry.role, entry.refused) = (None, true);
                entry.dialling.not_before = now.after(pause);
                self.mark_dirty(&peer);
                self.down(now, peer, rng)
            }
            PeerConnection::ShutOut { peer, revoked } => {
                let Some(entry) = self.entry(&peer, true) else { return Dialled::Nothing };
                entry.shut_out = Some(revoked);
                self.mark_dirty(&peer);
                Dialled::Out(peer)
            }
            PeerConnection::LetIn { peer } => {
                if let Some(entry) = self.entries.get_mut(&peer) {
                    (entry.shut_out, entry.refused) = (None, false);
                    entry.dialling.not_before = now;
                    self.mark_dirty(&peer);
                }
                Dialled::Nothing
            }
        }
    }

    /// Only connected peers are measured. One that is measured and not known to be connected was connected before this
    /// book was begun: after a restart of the actor nobody says so again.
    fn linked_after_all(&mut self, now: UnixMillis, peer: PeerId) -> Dialled {
        let Some(entry) = self.entries.get_mut(&peer) else { return Dialled::Nothing };
        if entry.link.is_some() {
            return Dialled::Nothing;
        }
        let best = entry.best_first().first().map(|known| Arc::clone(&known.text));
        entry.link = Some(Link { address: best.unwrap_or_default(), relayed: false, since: now });
        entry.left = None;
        self.linked.push(peer.clone());
        Dialled::Up(peer)
    }

    fn down(&mut self, now: UnixMillis, peer: PeerId, rng: &mut SmallRng) -> Dialled {
        let backoff = self.rules.dial_backoff;
        let Some(entry) = self.entries.get_mut(&peer) else { return Dialled::Nothing };
        entry.rtt_us = None;
        let Some(link) = entry.link.take() else { return Dialled::Nothing };
        if now.since(link.since) < STEADY {
            entry.dialling.failures = entry.dialling.failures.saturating_add(1);
            let pause = backoff.delay(entry.dialling.failures, rng);
            entry.dialling.not_before = entry.dialling.not_before.max(now.after(pause));
        } else {
            entry.dialling.failures = 0;
        }
        entry.lost = entry.left.is_none();
        self.linked.retain(|linked| *linked != peer);
        self.mark_dirty(&peer);
        Dialled::Down(peer)
    }

    /// The peer was heard: it lives.
    pub(crate) fn heard(&mut self, now: UnixMillis, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.confirm(Source::Connection, now);
        }
    }

    /// A connection was opened by us, at this address.
    pub(crate) fn reached(&mut self, now: UnixMillis, peer: &PeerId, address: Option<&str>, source: Source) {
        let Some(entry) = self.entry(peer, true) else { return };
        entry.dialling.in_flight = false;
        if entry.left.is_none()
            && let Some(address) = address
        {
            entry.reached_at(now, &place(address).0, source);
        }
        entry.confirm(Source::Connection, now);
        self.mark_dirty(peer);
    }

    /// A connection could not be opened.
    pub(crate) fn not_reached(
        &mut self,
        now: UnixMillis,
        peer: &PeerId,
        error: &ConnectError,
        rng: &mut SmallRng,
    ) {
        let (backoff, refused_pause) = (self.rules.dial_backoff, self.rules.refused_pause);
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dialling.in_flight = false;
            entry.dialling.failures = entry.dialling.failures.saturating_add(1);
            let pause = if matches!(error.error, CallError::NotAdmitted { .. }) {
                entry.refused = true;
                refused_pause
            } else {
                backoff.delay(entry.dialling.failures, rng)
            };
            entry.dialling.not_before = now.after(pause);
        }
        for (address, failure) in error.failed.iter().take(MAX_FAILED) {
            self.failed_at(now, peer, address, failure);
        }
        self.mark_dirty(peer);
    }

    fn failed_at(&mut self, now: UnixMillis, peer: &PeerId, address: &str, failure: &AddressFailure) {
        let (text, _) = place(address);
        let Some(entry) = self.entries.get_mut(peer) else { return };
        match failure {
            AddressFailure::Unreachable(_) => entry.failed_at(&text),
            AddressFailure::Ourselves => {
                entry.refute(now, &text);
            }
            AddressFailure::WrongPeer(found) => {
                let Some(source) = entry.refute(now, &text) else { return };
                let own = *found == self.rules.own;
                // Who answered there is there.
                if !own && let Some(other) = self.entry(found, false) {
                    let fresh = other.confirmed.is_empty();
                    if other.left.is_none() {
                        other.learn(now, &text, source);
                        if fresh {
                            other.confirm(source, now);
                        }
                        self.mark_dirty(found);
                    }
                }
            }
        }
    }

    /// A record of the peer was believed. Of a peer that is shut out nothing is believed here.
    pub(crate) fn recorded(&mut self, now: UnixMillis, believed: &Believed) {
        let (record, new_at) = (&believed.record, believed.new_at);
        let there = if self.entries.contains_key(&record.peer) {
            self.entries.get_mut(&record.peer)
        } else if record.left {
            None
        } else {
            self.entry(&record.peer, true)
        };
        let Some(entry) = there.filter(|entry| entry.shut_out.is_none()) else { return };
        if record.left {
            entry.leave(new_at);
        } else {
            let before = entry.offers.replace(Arc::clone(&record.offers));
            entry.left = None;
            if before.is_none_or(|before| before.addresses != record.offers.addresses) {
                entry.moved_to(now, &record.addresses);
                if !entry.refused {
                    // It may be somewhere else now: what failed there says nothing of here.
                    (entry.dialling.failures, entry.dialling.not_before) = (0, UnixMillis(0));
                }
            }
        }
        entry.confirm(Source::Gossip, new_at);
        let behind = std::mem::replace(&mut entry.dirty, true);
        if !behind {
            self.dirty.push(record.peer.clone());
        }
    }

    /// The record of a peer had to go for another one. Who is known by its record alone goes with it.
    pub(crate) fn crowded_out(&mut self, peer: &PeerId) {
        let told_of_only = |entry: &Entry| {
            entry.link.is_none()
                && entry.shut_out.is_none()
                && entry.role.is_none()
                && entry.confirmed.iter().all(|(by, _)| *by == Source::Gossip)
        };
        if self.entries.get(peer).is_some_and(told_of_only) {
            self.remove(peer);
            self.evicted += 1;
        } else {
            self.record_expired(peer);
        }
    }

    /// A connected peer that signs no records has told what it offers.
    pub(crate) fn advertised(&mut self, now: UnixMillis, peer: &PeerId, said: Advertisement) {
        let said = bounded(said);
        let addresses = dialable(peer, &said.addresses);
        let Some(entry) = self.entry(peer, true) else { return };
        if entry.shut_out.is_some() {
            return;
        }
        entry.left = None;
        entry.confirm(Source::Connection, now);
        for text in &addresses {
            entry.learn(now, text, Source::Connection);
        }
        entry.offers = Some(Arc::new(said));
        self.mark_dirty(peer);
    }

    /// Takes a peer out of the book, as far as it may be: who is shut out stays so. Gives whether it was there.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> bool {
        match self.entries.get_mut(peer) {
            None => false,
            Some(Entry { shut_out: Some(revoked), .. }) => {
                let revoked = *revoked;
                self.remove(peer);
                if let Some(entry) = self.entry(peer, true) {
                    entry.shut_out = Some(revoked);
                }
                self.mark_dirty(peer);
                true
            }
            Some(_) => self.remove(peer).is_some(),
        }
    }

    /// Puts an entry back as it was on disk, unless more is known by now.
    pub(crate) fn restore(&mut self, now: UnixMillis, peer: &PeerId, stored: Entry) {
        let granted =
            |(source, at): &(Source, UnixMillis)| (*source, self.grant_after_restart(now, *source, *at));
        let confirmed: Vec<(Source, UnixMillis)> = stored.confirmed.iter().map(granted).collect();
        let Some(entry) = self.entry(peer, true) else { return };
        for (source, at) in confirmed {
            entry.confirm(source, at);
        }
        for known in stored.addresses {
            if !entry.addresses.iter().any(|there| there.text == known.text)
                && entry.addresses.len() < super::super::gossip::MAX_ADDRESSES
            {
                entry.addresses.push(known);
            }
        }
        entry.role = entry.role.or(stored.role);
        entry.refused |= stored.refused && entry.link.is_none();
        entry.shut_out = entry.shut_out.or(stored.shut_out);
        if entry.link.is_none() && entry.offers.is_none() {
            entry.left = stored.left;
        }
    }
}

/// An address without `/p2p/<id>` at its end, and whether it goes through a relay. What cannot be read stays as it is: it
/// is shown, and never dialled.
fn place(address: &str) -> (Arc<str>, bool) {
    match address.parse::<Address>() {
        Ok(read) => (read.text.into(), read.relayed),
        Err(_) => (address.chars().take(MAX_ADDRESS).collect::<String>().into(), false),
    }
}
