//! Gossip as a pure state machine: what nodes tell one another of themselves and of others.
//!
//! Three ways, each bounded:
//! - **Rumours.** Who hears something that others must know at once (somebody new, gone, or changed) tells it once to
//!   a few connected peers, and never again: nearly everybody hears it within a second.
//! - **Comparisons.** Every few seconds a node compares a digest of all it holds with one connected peer, and both tell
//!   what the other lacks: whoever missed a rumour, was cut off, or is new has everything after a few of them. At
//!   rest this is all there is, and costs each node the same however large the mesh is, but for the renewals.
//! - **Greetings.** Peers that have just connected compare at once.
//!
//! Renewals and changes of load are no rumours: comparisons find them, and telling them unasked costs more than it saves.

mod hear;
mod own;
mod sealed;
mod store;
mod talk;
#[cfg(test)]
mod tests;

pub(crate) use own::Occasion;
pub(crate) use sealed::{Genuine, MAX_ADDRESSES, Sealed, Told, bounded, dialable};
pub(crate) use store::Accepted;
pub(crate) use talk::{Answer, Checked, Heard, Talk, size_of_answer, size_of_question};

use meshwork_proto::discovery::{Advertisement, Notary};
use meshwork_proto::{PeerId, UnixMillis};
use own::Own;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// How many peers a rumour is told to.
const FANOUT: usize = 4;
/// Rumours wait so long for others to go with them.
const GATHER: Duration = Duration::from_millis(200);
/// What is older was told to everybody long ago: only who was cut off does not know it, and asks.
const FRESH: Duration = Duration::from_secs(60);
/// Most comparisons under way at a time.
const MAX_FLIGHTS: usize = 2;
/// Most round trips of one comparison: what is missing then comes with the next one.
const MAX_ROUNDS: u8 = 16;

/// Settings of gossip.
#[derive(Debug, Clone)]
pub(crate) struct GossipRules {
    pub(crate) max_records: usize,
    pub(crate) ttl: Option<Duration>,
    pub(crate) every: Duration,
    pub(crate) soon: Duration,
    pub(crate) load_every: Duration,
    /// Whether records of others are passed on and believed; else each speaks for itself alone, to whom it is connected.
    pub(crate) others: bool,
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To compare, or to go on with a comparison.
    Compare,
    /// To tell news.
    Push,
}

/// Something to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) peer: PeerId,
    pub(crate) talk: Talk,
    pub(crate) purpose: Purpose,
}

/// A record that was believed, for the book.
#[derive(Debug, Clone)]
pub(crate) struct Believed {
    pub(crate) record: Genuine,
    pub(crate) accepted: Accepted,
    pub(crate) new_at: UnixMillis,
    /// There was no room for both: the record of this peer has gone.
    pub(crate) instead_of: Option<PeerId>,
}

/// What became of gossip since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct GossipTotals {
    pub(crate) compared: u64,
    pub(crate) pushed: u64,
    pub(crate) served: u64,
    pub(crate) failed: u64,
    pub(crate) mismatched: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) news: u64,
    pub(crate) forged: u64,
    pub(crate) malformed: u64,
    pub(crate) newer: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
}

#[derive(Debug, Clone, Default)]
struct Flight {
    wanted: VecDeque<PeerId>,
    lacking: VecDeque<PeerId>,
    rounds: u8,
    news: u32,
    material: bool,
}

/// A comparison that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) news: u32,
}

#[derive(Debug, Clone)]
struct Rumour {
    about: PeerId,
    /// Who told it: need not hear it again.
    from: Option<PeerId>,
}

/// The gossip of one node.
#[derive(Debug)]
pub(crate) struct Gossip {
    rules: GossipRules,
    own: Own,
    store: Store,
    flights: BTreeMap<PeerId, Flight>,
    /// Peers that connected and were not greeted yet.
    greet: VecDeque<PeerId>,
    /// Peers that do not speak of records.
    plain: BTreeSet<PeerId>,
    rumours: Vec<Rumour>,
    flush_at: Option<UnixMillis>,
    next_round: UnixMillis,
    totals: GossipTotals,
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Gossip {
    pub(crate) fn new(rules: GossipRules, own: PeerId, notary: Arc<dyn Notary>) -> Self {
        let mut store = Store::new(rules.max_records, rules.ttl);
        // Its own record is never the one that goes.
        store.connected(&own);
        let own = Own::new(own, notary, rules.ttl, rules.load_every);
        Self {
            rules,
            own,
            store,
            flights: BTreeMap::new(),
            greet: VecDeque::new(),
            plain: BTreeSet::new(),
            rumours: Vec::new(),
            flush_at: None,
            next_round: UnixMillis(0),
            totals: GossipTotals::default(),
        }
    }

    pub(crate) fn totals(&self) -> &GossipTotals {
        &self.totals
    }

    /// Records held, and tombstones.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.store.len(), self.store.tombstones())
    }

    /// What was said last of this node.
    pub(crate) fn said(&self) -> Option<&Advertisement> {
        self.own.offers()
    }

    pub(crate) fn own_sequence(&self) -> u64 {
        self.own.sequence()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.own.has_left()
    }

    /// A number that this node has used in an earlier life.
    pub(crate) fn jump_above(&mut self, sequence: u64) {
        self.own.jump_above(sequence);
    }

    /// The record held of a peer, and when it was new.
    pub(crate) fn record(&self, peer: &PeerId) -> Option<(&Genuine, UnixMillis)> {
        self.store.get(peer)
    }

    pub(crate) fn is_plain(&self, peer: &PeerId) -> bool {
        self.plain.contains(peer)
    }

    /// Says something new of this node, if there is an occasion. Gives the occasion.
    pub(crate) fn describe(&mut self, now: UnixMillis, offers: &Advertisement) -> Option<Occasion> {
        let occasion = self.own.occasion(now, offers)?;
        self.say(now, offers.clone(), occasion).is_some().then_some(occasion)
    }

    /// Says what is true now, whether or not there is an occasion.
    pub(crate) fn say(
        &mut self,
        now: UnixMillis,
        offers: Advertisement,
        occasion: Occasion,
    ) -> Option<Genuine> {
        if self.own.has_left() {
            return None;
        }
        let record = self.own.sign(now, offers)?;
        // There is one place more than the book has, so that nobody has to go for it.
        self.store.accept_at(now, self.own.peer(), &record, now);
        // Renewals and changes of load travel with comparisons, where there are any.
        if occasion == Occasion::Changed || !self.rules.others {
            self.spread(now, record.peer.clone(), None);
        }
        Some(record)
    }

    /// Signs the goodbye. From now on nothing is said and nothing is asked.
    pub(crate) fn leave(&mut self, now: UnixMillis) -> Option<Told> {
        let record = self.own.sign_goodbye(now)?;
        self.rumours.clear();
        self.greet.clear();
        Some(Told { sealed: record.sealed().clone(), age_ms: 0 })
    }

    /// A peer is connected: it is greeted, as soon as its turn comes.
    pub(crate) fn peer_up(&mut self, peer: &PeerId) {
        // It may have been replaced by a newer meshwork since.
        self.plain.remove(peer);
        self.store.connected(peer);
        if !self.greet.contains(peer) {
            self.greet.push_back(peer.clone());
        }
    }

    pub(crate) fn peer_down(&mut self, peer: &PeerId) {
        self.greet.retain(|waiting| waiting != peer);
        self.plain.remove(peer);
        self.flights.remove(peer);
        self.store.disconnected(peer);
    }

    /// When [`Gossip::tick`] has something to do.
    pub(crate) fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        if self.own.has_left() {
            return None;
        }
        let greet = (!self.greet.is_empty() && self.flights.len() < MAX_FLIGHTS).then_some(now);
        [greet, self.flush_at, Some(self.next_round)].into_iter().flatten().min()
    }

    /// When this node's own record must be renewed, for who does not look at itself every few seconds.
    pub(crate) fn renewal_due(&self) -> Option<UnixMillis> {
        self.own.renewal_due()
    }

    /// Does what is due: greets, tells rumours, compares.
    pub(crate) fn tick(
        &mut self,
        now: UnixMillis,
        linked: &[PeerId],
        rng: &mut SmallRng,
        out: &mut Vec<Ask>,
    ) {
        if self.own.has_left() {
            return;
        }
        while self.flights.len() < MAX_FLIGHTS {
            let Some(peer) = self.greet.pop_front() else { break };
            self.compare(now, &peer, true, out);
        }
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush(now, linked, rng, out);
        }
        if self.next_round <= now {
            self.next_round = now.after(spread_by_a_fifth(self.rules.every, rng));
            self.compare_with_one(now, linked, rng, out);
        }
    }

    /// Begins a comparison with a connected peer now. Gives with whom.
    pub(crate) fn compare_with_one(
        &mut self,
        now: UnixMillis,
        linked: &[PeerId],
        rng: &mut SmallRng,
        out: &mut Vec<Ask>,
    ) -> Option<PeerId> {
        if !self.rules.others {
            return None;
        }
        let speakers: Vec<&PeerId> = linked.iter().filter(|peer| !self.plain.contains(*peer)).collect();
        let peer = (*speakers.choose(rng)?).clone();
        self.compare(now, &peer, false, out);
        Some(peer)
    }

    fn compare(&mut self, now: UnixMillis, peer: &PeerId, greeting: bool, out: &mut Vec<Ask>) {
        if self.flights.contains_key(peer) || self.plain.contains(peer) {
            return;
        }
        if !self.rules.others {
            if let Some(own) = self.own_told(now).filter(|_| greeting) {
                self.ask(peer, Talk { records: vec![own], ..Talk::default() }, Purpose::Push, out);
            }
            return;
        }
        self.store.expire_now_and_then(now, self.own.peer());
        let mut records = Vec::new();
        if greeting {
            records.extend(self.store.told(now, self.own.peer()));
        }
        let digest = Some(self.store.digest());
        self.flights.insert(peer.clone(), Flight::default());
        self.ask(peer, Talk { records, digest, want: Vec::new() }, Purpose::Compare, out);
    }

    fn ask(&mut self, peer: &PeerId, talk: Talk, purpose: Purpose, out: &mut Vec<Ask>) {
        self.totals.sent += wide(talk.records.len());
        self.totals.bytes_out += wide(talk.size());
        out.push(Ask { peer: peer.clone(), talk, purpose });
    }

    /// Makes a rumour of a record.
    fn spread(&mut self, now: UnixMillis, about: PeerId, from: Option<PeerId>) {
        if !self.rules.others && about != *self.own.peer() {
            return;
        }
        self.rumours.retain(|rumour| rumour.about != about);
        self.rumours.push(Rumour { about, from });
        self.flush_at.get_or_insert(now.after(GATHER));
    }

    fn flush(&mut self, now: UnixMillis, linked: &[PeerId], rng: &mut SmallRng, out: &mut Vec<Ask>) {
        self.flush_at = None;
        let rumours = std::mem::take(&mut self.rumours);
        let speakers: Vec<&PeerId> = linked.iter().filter(|peer| !self.plain.contains(*peer)).collect();
        let listeners = if self.rules.others { FANOUT } else { speakers.len() };
        for peer in speakers.sample(rng, listeners) {
            let other = |rumour: &&Rumour| rumour.from.as_ref() != Some(*peer) && rumour.about != **peer;
            let told = rumours.iter().filter(other).filter_map(|rumour| self.store.told(now, &rumour.about));
            let records = talk::fill(told);
            if !records.is_empty() {
                self.ask(peer, Talk { records, ..Talk::default() }, Purpose::Push, out);
            }
        }
    }

    /// Counts what came over the wire.
    pub(crate) fn count_in(&mut self, bytes: usize) {
        self.totals.bytes_in += wide(bytes);
    }

    pub(crate) fn pushed(&mut self) {
        self.totals.pushed += 1;
    }

    /// A question was not answered; `mismatch`: the peer does not know such questions.
    pub(crate) fn failed(&mut self, peer: &PeerId, purpose: Purpose, mismatch: bool) -> Option<Ended> {
        let flight = if purpose == Purpose::Compare { self.flights.remove(peer) } else { None };
        if mismatch {
            self.totals.mismatched += 1;
            self.plain.insert(peer.clone());
        } else {
            self.totals.failed += 1;
        }
        flight.map(|flight| Ended { news: flight.news })
    }

    /// A record as it goes to everybody connected: after an announcement, or at the end.
    pub(crate) fn push(&mut self, told: Told) -> Talk {
        let talk = Talk { records: vec![told], ..Talk::default() };
        self.totals.sent += 1;
        self.totals.bytes_out += wide(talk.size());
        talk
    }

    /// This node's own record, as it is told now.
    pub(crate) fn own_told(&self, now: UnixMillis) -> Option<Told> {
        self.store.told(now, self.own.peer())
    }

    /// Lets go of records that are too old. Gives whose they were.
    pub(crate) fn expire(&mut self, now: UnixMillis) -> Vec<PeerId> {
        self.store.expire(now, self.own.peer())
    }

    /// Forgets a peer's record; only a newer one brings it back.
    pub(crate) fn forget(&mut self, now: UnixMillis, peer: &PeerId) {
        self.store.forget(now, peer);
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// A pause that differs from node to node, so that nodes started together do not act together.
pub(crate) fn spread_by_a_fifth(pause: Duration, rng: &mut SmallRng) -> Duration {
    pause.mul_f64(0.8 + 0.4 * rng.random::<f64>())
}
