//! Who finds room in a store that grows full, and who goes for it: a peer that tells of thousands which only it knows neither
//! fills the store nor the mesh with them.
//!
//! Records cost their signer nothing: a peer can invent as many others as it likes, and sign for each of them. What it
//! cannot do is have them connect, or have somebody else tell of them. So a record counts for more when its peer came
//! itself, or when two have told of it; and what is held *on the word of one peer alone* is bounded by these rules:
//!
//! - **Room.** The last part of the store is not for a peer on whose word alone much is held already. When all is full,
//!   whoever has told most that nobody else confirms loses its oldest, as long as it has told more than who comes now.
//! - **Passing on.** When half of the store is taken, what rests on one peer's word is kept and not passed on until another
//!   one tells of it, or its peer comes. So an invented peer gets no further than those its inventor is connected with, and
//!   what others pass on is not held against *them*; a real one comes to its neighbours itself, and they all tell of it.
//! - **Neighbours.** For whoever is connected there is always room.
//!
//! In a store that is less than half full none of this shows.

use super::super::sealed::{mark_of, mark_of_record};
use super::{Held, Store};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::gossip::Digest;

/// A part of the store this small may be held on a peer's word alone before the last part of the room is closed to it.
const MODEST: usize = 16;
/// The last part of the room.
const LAST: usize = 8;
/// From so large a part on, what rests on one peer's word is not passed on.
const AMPLE: usize = 2;

/// Whether there is room for somebody new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// When this one goes.
    InsteadOf(PeerId),
    /// There is none.
    None,
}

impl Store {
    /// A peer is connected: its record has not to go, and needs nobody's word.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        self.near.insert(peer.clone());
        self.vouch(peer, peer);
    }

    /// It is connected no more.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.near.remove(peer);
    }

    /// Whether a record of `peer` that `from` tells rests on the word of `from` alone.
    fn is_hearsay(&self, from: &PeerId, peer: &PeerId) -> bool {
        from != peer && !self.near.contains(peer)
    }

    /// Whether there is room for somebody of whom nothing is held, and of whom `from` tells.
    pub(super) fn room_for(&self, from: &PeerId, peer: &PeerId) -> Room {
        let most = self.hearsay.most();
        if !self.is_hearsay(from, peer) {
            if self.len < self.max {
                return Room::Free;
            }
            let first = most.map(|(_, first)| first).or_else(|| self.oldest_stranger());
            return first.map_or(Room::None, |first| Room::InsteadOf(first.clone()));
        }
        let told = self.hearsay.told_by(from);
        let limit = if told > self.max / MODEST { self.max - self.max / LAST } else { self.max };
        if self.len < limit {
            return Room::Free;
        }
        match most {
            Some((count, first)) if count > told.saturating_add(1) => Room::InsteadOf(first.clone()),
            _ => Room::None,
        }
    }

    /// Whose record is the oldest of those that are not connected.
    fn oldest_stranger(&self) -> Option<&PeerId> {
        let held = self.parts.iter().flat_map(|part| &part.held);
        let strangers = held.filter(|(peer, _)| !self.near.contains(*peer));
        strangers.min_by_key(|(peer, held)| (held.new_at, *peer)).map(|(peer, _)| peer)
    }

    /// On whose word alone a record rests that `from` tells, and whether it is kept back for that. `before` is what is held
    /// of its peer: that of which two have told rests on nobody's word any more, whatever is told later.
    pub(super) fn standing_of(
        &self,
        from: &PeerId,
        peer: &PeerId,
        before: Option<&Held>,
    ) -> (Option<PeerId>, bool) {
        let confirmed = before.is_some_and(|held| held.word_of.as_ref().is_none_or(|teller| teller != from));
        if confirmed || !self.is_hearsay(from, peer) {
            return (None, false);
        }
        let ample = self.len < self.max / AMPLE;
        let told_on = before.is_some_and(|held| !held.kept_back);
        (Some(from.clone()), !ample && !told_on)
    }

    /// Another peer tells of this one too, or it came itself: what is held of it rests on nobody's word alone any more.
    pub(super) fn vouch(&mut self, by: &PeerId, peer: &PeerId) {
        if self.hearsay.is_empty() {
            return;
        }
        let mark = mark_of(peer);
        let part = &mut self.parts[Self::part_of(mark)];
        let Some(held) = part.held.get_mut(peer) else { return };
        let Some(teller) = held.word_of.take_if(|teller| *teller != *by) else { return };
        self.hearsay.remove(&teller, &held.spare());
        if std::mem::replace(&mut held.kept_back, false) && !held.retired {
            part.sum ^= mark_of_record(mark, held.record.sequence);
        }
    }

    /// A peer holds the same as this node in all parts whose sums are equal: it could tell of all that is passed on there.
    pub(crate) fn vouch_for_same(&mut self, by: &PeerId, theirs: &Digest) {
        if self.hearsay.is_empty() || theirs.0.len() != self.parts.len() {
            return;
        }
        let same = self.parts.iter().zip(&theirs.0).filter(|(part, sum)| part.sum == **sum);
        let told = same.flat_map(|(part, _)| &part.held).filter(|(_, held)| {
            held.is_passed_on() && held.word_of.as_ref().is_some_and(|teller| teller != by)
        });
        let told: Vec<PeerId> = told.map(|(peer, _)| peer.clone()).collect();
        for peer in told {
            self.vouch(by, &peer);
        }
    }

    /// Whether a record is held, and kept back until somebody else tells of its peer.
    pub(crate) fn keeps_back(&self, peer: &PeerId) -> bool {
        self.held(peer).is_some_and(|held| held.kept_back)
    }

    /// The only peer on whose word the record of this one is held.
    #[cfg(test)]
    pub(crate) fn on_whose_word(&self, peer: &PeerId) -> Option<&PeerId> {
        self.held(peer)?.word_of.as_ref()
    }

    /// How many records are held on the word of this peer alone, as it is noted and as it is.
    #[cfg(test)]
    pub(crate) fn on_the_word_of(&self, teller: &PeerId) -> (usize, usize) {
        let held = self.parts.iter().flat_map(|part| part.held.values());
        (self.hearsay.told_by(teller), held.filter(|held| held.word_of.as_ref() == Some(teller)).count())
    }
}
