//! All records that a node holds, the digest of them, and what is remembered of records that are gone.
//!
//! What decides between two records of a peer is only the sequence number that the peer itself gave. The age of a record
//! counts from when it was new, as far as those know who passed it on; each of them adds what it held it for, and
//! each receiver adds [`HOP`] for the way, so that an age is rather too large than too small and nobody keeps a record
//! of a node that is gone for longer than its time. A record that has not been renewed in time is kept and not passed on
//! any more: who comes new need not hear of those who are probably gone. One that is too old becomes a tombstone, its
//! number alone, so that it cannot come back from somebody whose count is behind. A goodbye is a tombstone from the start, one that
//! can be shown around: it is no part of the digest, because who has never heard of the peer need not hear of its end.
//!
//! [`room`] says who finds room when there is little left, and [`compare`] what two stores would tell each other.

mod compare;
mod hearsay;
mod room;

use super::sealed::{Genuine, MAX_SEQUENCE, Told, mark_of, mark_of_record};
use hearsay::{Hearsay, Spare};
use meshwork_proto::discovery::gossip::DIGEST_PARTS;
use meshwork_proto::{PeerId, UnixMillis};
use room::Room;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a record ages on its way from one node to the next.
pub(crate) const HOP: Duration = Duration::from_millis(500);
/// A record is passed on for this part of its time to live: one that is renewed is never older.
const PASSED_ON_FOR: u32 = 3;
/// Old records are looked for at most so often beside the passes of the reaper: each look is a look at all.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long tombstones last when records never grow too old.
const TOMBSTONES_OF_ETERNALS: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
struct Held {
    record: Genuine,
    /// When the record was new, on this node's clock.
    new_at: UnixMillis,
    /// Too old to be passed on.
    retired: bool,
    /// The only peer that has told of its peer; none: its peer came itself, or more than one have.
    word_of: Option<PeerId>,
    /// Not passed on until somebody else tells of its peer.
    kept_back: bool,
}

impl Held {
    /// Whether others are told of it: then, and only then, it is a part of the digest.
    const fn is_passed_on(&self) -> bool {
        !self.retired && !self.kept_back
    }

    fn spare(&self) -> Spare {
        Spare { passed_on: !self.kept_back, new_at: self.new_at, peer: self.record.peer.clone() }
    }
}

#[derive(Debug, Clone, Default)]
struct Part {
    /// Of the records in it that are passed on.
    sum: u64,
    held: BTreeMap<PeerId, Held>,
}

#[derive(Debug, Clone)]
struct Tombstone {
    sequence: u64,
    until: UnixMillis,
    /// The record with which the peer said goodbye, and when that was new.
    goodbye: Option<Held>,
}

/// What became of a record that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Somebody who was not known, or was gone.
    Newcomer,
    /// What it offers, or where it is, has changed.
    Changed,
    /// It lives, and perhaps its load has changed.
    Refreshed,
    /// It said goodbye.
    Left,
    /// Not newer than what is known.
    Old,
    /// Nobody may have heard of it for its whole time to live.
    TooOld,
    /// Its sequence number cannot be.
    Impossible,
    /// There is no room for somebody else.
    Full,
}

impl Accepted {
    /// Whether it told this node anything.
    pub(crate) const fn is_news(self) -> bool {
        matches!(self, Self::Newcomer | Self::Changed | Self::Refreshed | Self::Left)
    }

    /// Whether it is worth telling others at once.
    pub(crate) const fn is_material(self) -> bool {
        matches!(self, Self::Newcomer | Self::Changed | Self::Left)
    }
}

/// What became of a record, and of another one because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) accepted: Accepted,
    /// When it was new, on this node's clock.
    pub(crate) new_at: UnixMillis,
    /// There was no room for both: the record of this peer has gone.
    pub(crate) instead_of: Option<PeerId>,
}

/// What a look at a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It would be news.
    News,
    /// Something newer is known here.
    Behind,
    /// It is known, or cannot be believed.
    Nothing,
}

/// The records.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    parts: Vec<Part>,
    tombstones: BTreeMap<PeerId, Tombstone>,
    /// What rests on the word of one peer alone.
    hearsay: Hearsay,
    /// This node and who is connected with it: their records have not to go.
    near: BTreeSet<PeerId>,
    len: usize,
    max: usize,
    ttl: Option<Duration>,
    /// No record grows too old, and no tombstone ends, before.
    next_end: UnixMillis,
    next_look: UnixMillis,
    /// Whose records grew too old since the last pass of the reaper.
    just_expired: Vec<PeerId>,
}

impl Store {
    /// An empty store for at most `max` records; `ttl` is their time to live.
    pub(crate) fn new(max: usize, ttl: Option<Duration>) -> Self {
        let parts = vec![Part::default(); DIGEST_PARTS];
        Self {
            parts,
            tombstones: BTreeMap::new(),
            hearsay: Hearsay::default(),
            near: BTreeSet::new(),
            len: 0,
            max: max.max(1),
            ttl,
            next_end: UnixMillis(u64::MAX),
            next_look: UnixMillis(0),
            just_expired: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    fn part_of(mark: u64) -> usize {
        usize::try_from(mark % DIGEST_PARTS as u64).unwrap_or(0)
    }

    fn held(&self, peer: &PeerId) -> Option<&Held> {
        self.held_at(mark_of(peer), peer)
    }

    fn held_at(&self, mark: u64, peer: &PeerId) -> Option<&Held> {
        self.parts[Self::part_of(mark)].held.get(peer)
    }

    /// Whether a record of this age is not passed on any more.
    fn retires(&self, age: Duration) -> bool {
        self.ttl.is_some_and(|ttl| age >= ttl / PASSED_ON_FOR)
    }

    /// The record of a peer that is there, and when it was new.
    pub(crate) fn get(&self, peer: &PeerId) -> Option<(&Genuine, UnixMillis)> {
        self.held(peer).map(|held| (&held.record, held.new_at))
    }

    /// The newest record of a peer, its goodbye included, as it is told at `now`.
    pub(crate) fn told(&self, now: UnixMillis, peer: &PeerId) -> Option<Told> {
        let goodbye = || self.tombstones.get(peer).and_then(|tombstone| tombstone.goodbye.as_ref());
        let held = self.held(peer).or_else(goodbye)?;
        let age = now.since(held.new_at);
        if held.kept_back || self.retires(age) {
            return None;
        }
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Some(Told { sealed: held.record.sealed().clone(), age_ms })
    }

    /// The highest sequence number known of a peer, also of one that is gone.
    #[cfg(test)]
    pub(crate) fn sequence(&self, peer: &PeerId) -> Option<u64> {
        let held = self.held(peer).map(|held| held.record.sequence);
        held.max(self.tombstones.get(peer).map(|tombstone| tombstone.sequence))
    }

    /// Whether a record that `from` tells would be news. One that is older than a tombstone keeps the tombstone: somebody still
    /// tells it. One that is not news is still a word for its peer, whether or not it is genuine.
    pub(crate) fn look_at(&mut self, now: UnixMillis, from: &PeerId, told: &Told) -> Look {
        let (peer, sequence) = (&told.sealed.peer, told.sealed.sequence);
        if self.ages_out(told.age_ms) || sequence > MAX_SEQUENCE {
            return Look::Nothing;
        }
        let until = now.after(self.grace());
        if let Some(tombstone) = self.tombstones.get_mut(peer)
            && sequence <= tombstone.sequence
        {
            tombstone.until = tombstone.until.max(until);
            return if sequence < tombstone.sequence { Look::Behind } else { Look::Nothing };
        }
        match self.held_at(told.sealed.mark, peer).map(|held| held.record.sequence) {
            Some(known) if sequence > known => Look::News,
            Some(known) => {
                self.vouch(from, peer);
                if sequence < known { Look::Behind } else { Look::Nothing }
            }
            None if told.sealed.left || self.room_for(from, peer) != Room::None => Look::News,
            None => Look::Nothing,
        }
    }

    fn ages_out(&self, age_ms: u64) -> bool {
        let age = Duration::from_millis(age_ms).saturating_add(HOP);
        self.ttl.is_some_and(|ttl| age >= ttl)
    }

    fn grace(&self) -> Duration {
        self.ttl.unwrap_or(TOMBSTONES_OF_ETERNALS)
    }

    /// Believes a record that `from` tells, if it is news.
    pub(crate) fn accept(&mut self, now: UnixMillis, from: &PeerId, record: &Genuine, age_ms: u64) -> Taken {
        let age = Duration::from_millis(age_ms).saturating_add(HOP);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.accept_at(now, from, record, UnixMillis(now.0.saturating_sub(age_ms)))
    }

    /// As [`Store::accept`], for a record that was new at `new_at`.
    pub(crate) fn accept_at(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        record: &Genuine,
        new_at: UnixMillis,
    ) -> Taken {
        let taken = |accepted| Taken { accepted, new_at, instead_of: None };
        if record.sequence > MAX_SEQUENCE {
            return taken(Accepted::Impossible);
        }
        if self.ttl.is_some_and(|ttl| now.since(new_at) >= ttl) {
            return taken(Accepted::TooOld);
        }
        let peer = &record.peer;
        let buried = self.tombstones.get(peer).is_some_and(|stone| record.sequence <= stone.sequence);
        let before = self.held_at(record.mark, peer);
        let known = before.is_some_and(|held| record.sequence <= held.record.sequence);
        if buried || known {
            self.vouch(from, peer);
            return taken(Accepted::Old);
        }
        if record.left {
            self.say_goodbye(record, new_at);
            return taken(Accepted::Left);
        }
        let mut instead_of = None;
        let accepted = match before {
            Some(held) if same_but_load(&held.record, record) => Accepted::Refreshed,
            Some(_) => Accepted::Changed,
            None => {
                match self.room_for(from, peer) {
                    Room::None => return taken(Accepted::Full),
                    Room::InsteadOf(gone) => instead_of = Some(gone),
                    Room::Free => {}
                }
                Accepted::Newcomer
            }
        };
        if let Some(gone) = &instead_of {
            self.take(gone);
        }
        self.tombstones.remove(peer);
        self.put(now, from, record, new_at);
        Taken { accepted, new_at, instead_of }
    }

    fn put(&mut self, now: UnixMillis, from: &PeerId, record: &Genuine, new_at: UnixMillis) {
        let retired = self.retires(now.since(new_at));
        if let Some(ttl) = self.ttl {
            let end = if retired { ttl } else { ttl / PASSED_ON_FOR };
            self.next_end = self.next_end.min(new_at.after(end));
        }
        let before = self.held_at(record.mark, &record.peer);
        let (word_of, kept_back) = self.standing_of(from, &record.peer, before);
        self.take_at(record.mark, &record.peer);
        let held = Held { record: record.clone(), new_at, retired, word_of, kept_back };
        if let Some(teller) = &held.word_of {
            self.hearsay.add(teller, held.spare());
        }
        let part = &mut self.parts[Self::part_of(record.mark)];
        if held.is_passed_on() {
            part.sum ^= mark_of_record(record.mark, record.sequence);
        }
        part.held.insert(record.peer.clone(), held);
        self.len += 1;
    }

    fn say_goodbye(&mut self, record: &Genuine, new_at: UnixMillis) {
        self.take_at(record.mark, &record.peer);
        // Others may hold an older record for as long as it lives, and twice as long after they were restarted.
        let until = new_at.after(self.grace().saturating_mul(2));
        let goodbye =
            Some(Held { record: record.clone(), new_at, retired: true, word_of: None, kept_back: false });
        self.bury(record.peer.clone(), Tombstone { sequence: record.sequence, until, goodbye });
    }

    fn take(&mut self, peer: &PeerId) -> Option<Held> {
        self.take_at(mark_of(peer), peer)
    }

    fn take_at(&mut self, mark: u64, peer: &PeerId) -> Option<Held> {
        let part = &mut self.parts[Self::part_of(mark)];
        let held = part.held.remove(peer)?;
        if held.is_passed_on() {
            part.sum ^= mark_of_record(mark, held.record.sequence);
        }
        if let Some(teller) = &held.word_of {
            self.hearsay.remove(teller, &held.spare());
        }
        self.len -= 1;
        Some(held)
    }

    /// Takes a peer's record away and remembers its number, so that only a newer one brings it back.
    pub(crate) fn forget(&mut self, now: UnixMillis, peer: &PeerId) {
        if let Some(held) = self.take(peer) {
            let until = now.after(self.grace());
            let sequence = held.record.sequence;
            self.bury(peer.clone(), Tombstone { sequence, until, goodbye: None });
        }
    }

    fn bury(&mut self, peer: PeerId, tombstone: Tombstone) {
        if self.tombstones.len() >= self.max && !self.tombstones.contains_key(&peer) {
            let first = self.tombstones.iter().min_by_key(|(_, stone)| stone.until);
            if let Some(first) = first.map(|(peer, _)| peer.clone()) {
                self.tombstones.remove(&first);
            }
        }
        self.next_end = self.next_end.min(tombstone.until);
        self.tombstones.insert(peer, tombstone);
    }

    /// As [`Store::expire`], unless that was done a moment ago.
    pub(crate) fn expire_now_and_then(&mut self, now: UnixMillis, own: &PeerId) {
        if now >= self.next_look {
            self.next_look = now.after(LOOK_EVERY);
            let gone = self.expire_all(now, own);
            let room = self.max.saturating_sub(self.just_expired.len());
            self.just_expired.extend(gone.into_iter().take(room));
        }
    }

    /// Lets go of what is too old, but never of `own`. Gives whose records those were, since the last time.
    pub(crate) fn expire(&mut self, now: UnixMillis, own: &PeerId) -> Vec<PeerId> {
        let mut gone = std::mem::take(&mut self.just_expired);
        gone.extend(self.expire_all(now, own));
        gone
    }

    fn expire_all(&mut self, now: UnixMillis, own: &PeerId) -> Vec<PeerId> {
        if now < self.next_end {
            return Vec::new();
        }
        self.tombstones.retain(|_, tombstone| tombstone.until > now);
        let mut gone = Vec::new();
        if let Some(ttl) = self.ttl {
            for part in &mut self.parts {
                for (peer, held) in &mut part.held {
                    let age = now.since(held.new_at);
                    if age >= ttl && peer != own {
                        gone.push(peer.clone());
                    } else if age >= ttl / PASSED_ON_FOR && !held.retired {
                        if held.is_passed_on() {
                            part.sum ^= mark_of_record(held.record.mark, held.record.sequence);
                        }
                        held.retired = true;
                    }
                }
            }
            for peer in &gone {
                self.forget(now, peer);
            }
        }
        self.next_end = self.soonest_end(now);
        gone
    }

    fn soonest_end(&self, now: UnixMillis) -> UnixMillis {
        let stones = self.tombstones.values().map(|tombstone| tombstone.until);
        let held = self.parts.iter().flat_map(|part| part.held.values());
        let ends = held.filter_map(|held| {
            let ttl = self.ttl?;
            Some(held.new_at.after(if held.retired { ttl } else { ttl / PASSED_ON_FOR }))
        });
        // This node's own record may be overdue: that is no reason to look again at once.
        stones.chain(ends.filter(|end| *end > now)).min().unwrap_or(UnixMillis(u64::MAX))
    }

    /// The records that are passed on, in no order that means anything.
    #[cfg(test)]
    pub(crate) fn passed_on(&self) -> impl Iterator<Item = &Genuine> {
        let held = self.parts.iter().flat_map(|part| part.held.values());
        held.filter(|held| held.is_passed_on()).map(|held| &held.record)
    }
}

/// Whether two records of a peer differ in nothing that others must hear of at once.
fn same_but_load(before: &Genuine, after: &Genuine) -> bool {
    let (before, after) = (&*before.offers, &*after.offers);
    std::ptr::eq(before, after)
        || (before.agent == after.agent
            && before.slots == after.slots
            && before.addresses == after.addresses
            && before.labels == after.labels
            && before.tools == after.tools)
}
