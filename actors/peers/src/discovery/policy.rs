//! To whom connections are opened: until enough peers are connected, and to whom it is worth trying.
//!
//! Everybody is known by gossip, so a node need not be connected with everybody: with a few dozen, drawn at random, the
//! mesh holds together when many go at once. Calls to others open a connection when they are made.
//!
//! How many are opened at a time depends on how it goes. A handshake costs both sides some processor time; where many nodes
//! share a processor, or many come to one node at once, so many begun together that none ends in time would be work for
//! nothing, again and again. So each that stalls halves the number, and each that succeeds adds one.
//!
//! Who has enough connections still tries, now and then, somebody who has gone silent without a goodbye: after a network
//! was cut in two and is whole again, both halves have all the connections they want, each within itself, and would
//! otherwise never meet again. For the same reason it tries somebody whom only a source names: the halves may have been
//! apart for so long that they have forgotten each other, or may never have been one.

use super::book::{Book, Entry};
use super::gossip::spread_by_a_fifth;
use meshwork_proto::discovery::Source;
use meshwork_proto::transport::{CallError, ConnectError, ConnectedPeer};
use meshwork_proto::{PeerId, UnixMillis};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the whole book, for each peer in it: looking takes a small part of the time whatever its size, and
/// a node that has just found its first peers does not wait.
const LOOK_EVERY_PER_PEER: Duration = Duration::from_micros(50);
/// The shortest and the longest of these pauses: what comes in a burst is looked at once.
const LOOK_EVERY: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(500);
/// How often somebody silent, and somebody never met, is tried by who has enough connections.
const BRIDGE_EVERY: Duration = Duration::from_secs(60);
/// Most addresses without a peer id that wait for a try.
const MAX_NAMELESS: usize = 64;
/// Most addresses of a peer that are tried at a time.
const TRIED_AT_ONCE: usize = 8;

/// A connection to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dial {
    /// None: whoever answers.
    pub(crate) peer: Option<PeerId>,
    /// The most promising first.
    pub(crate) addresses: Vec<String>,
    /// Who named the addresses, when no peer is known.
    pub(crate) source: Source,
}

/// What becomes of connections.
#[derive(Debug)]
pub(crate) struct Policy {
    target: usize,
    max_dials: usize,
    /// How many may be opened at a time now.
    window: usize,
    in_flight: usize,
    nameless: VecDeque<(Arc<str>, Source)>,
    /// When to look again; none: when something changes.
    next_look: Option<UnixMillis>,
    last_look: UnixMillis,
    /// Until the next look, at the soonest.
    pause: Duration,
    next_bridge: UnixMillis,
}

impl Policy {
    pub(crate) fn new(target: usize, max_dials: usize) -> Self {
        let max_dials = max_dials.max(1);
        Self {
            target,
            max_dials,
            window: max_dials.div_ceil(2),
            in_flight: 0,
            nameless: VecDeque::new(),
            next_look: None,
            last_look: UnixMillis(0),
            pause: *LOOK_EVERY.start(),
            next_bridge: UnixMillis(0),
        }
    }

    /// Something changed that may make a connection possible or necessary.
    pub(crate) fn stir(&mut self, now: UnixMillis) {
        let soonest = self.last_look.after(self.pause).max(now);
        self.next_look = Some(self.next_look.map_or(soonest, |look| look.min(soonest)));
    }

    /// Addresses of which nobody says whose they are: each is tried once.
    pub(crate) fn try_nameless(&mut self, now: UnixMillis, addresses: Vec<Arc<str>>, source: Source) {
        for address in addresses {
            let waiting = self.nameless.iter().any(|(known, _)| *known == address);
            if !waiting && self.nameless.len() < MAX_NAMELESS {
                self.nameless.push_back((address, source));
            }
        }
        if !self.nameless.is_empty() {
            self.stir(now);
        }
    }

    /// Whether another connection is wanted.
    pub(crate) fn wants_more(&self, linked: usize) -> bool {
        linked + self.in_flight < self.target
    }

    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        Some(self.next_look.map_or(self.next_bridge, |look| look.min(self.next_bridge)))
    }

    pub(crate) fn dials_in_flight(&self) -> usize {
        self.in_flight
    }

    /// A connection that [`Policy::tick`] wanted was opened, or was not.
    pub(crate) fn dial_ended(&mut self, now: UnixMillis, result: &Result<ConnectedPeer, ConnectError>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.window = match result {
            Ok(_) => self.window.saturating_add(1).min(self.max_dials),
            Err(error) if is_stalled(error) => (self.window / 2).max(1),
            Err(_) => self.window,
        };
        self.stir(now);
    }

    /// Chooses whom to connect to now.
    pub(crate) fn tick(&mut self, now: UnixMillis, book: &mut Book, rng: &mut SmallRng, out: &mut Vec<Dial>) {
        if self.next_bridge <= now {
            self.bridge(now, book, rng, out);
        }
        if self.next_look.is_none_or(|look| look > now) {
            return;
        }
        (self.next_look, self.last_look) = (None, now);
        let peers = u32::try_from(book.len()).unwrap_or(u32::MAX);
        let pause = LOOK_EVERY_PER_PEER.saturating_mul(peers);
        self.pause = pause.clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end());
        let wanted = self.target.saturating_sub(book.linked().len() + self.in_flight);
        let mut room = wanted.min(self.window.saturating_sub(self.in_flight));
        if room == 0 {
            return;
        }
        for peer in self.candidates(now, book, rng, room) {
            self.dial(peer, book, out);
            room -= 1;
        }
        while room > 0
            && let Some((address, source)) = self.nameless.pop_front()
        {
            out.push(Dial { peer: None, addresses: vec![address.to_string()], source });
            (room, self.in_flight) = (room - 1, self.in_flight + 1);
        }
    }

    fn dial(&mut self, peer: PeerId, book: &mut Book, out: &mut Vec<Dial>) {
        let Some(entry) = book.get(&peer) else { return };
        let best = entry.best_first().into_iter().take(TRIED_AT_ONCE);
        let addresses = best.map(|known| known.text.to_string()).collect();
        book.set_in_flight(&peer, true);
        self.in_flight += 1;
        out.push(Dial { peer: Some(peer), addresses, source: Source::Connection });
    }

    /// Tries one peer that has gone silent and one that has never shown itself, when there are enough connections: else
    /// they have their turn anyway.
    fn bridge(&mut self, now: UnixMillis, book: &mut Book, rng: &mut SmallRng, out: &mut Vec<Dial>) {
        self.next_bridge = now.after(spread_by_a_fifth(BRIDGE_EVERY, rng));
        let linked = book.linked().len();
        if linked < self.target || linked >= self.target.saturating_mul(2) || self.in_flight > 0 {
            return;
        }
        let (mut silent, mut unmet) = (None, None);
        for (peer, entry) in book.iter() {
            if !entry.may_be_dialled() || entry.dialling.not_before > now || entry.refused {
                continue;
            }
            let drawn = match (entry.is_proven(), book.is_silent(now, entry)) {
                (true, true) => &mut silent,
                (false, _) => &mut unmet,
                (true, false) => continue,
            };
            let lot = (rng.random::<u32>(), peer);
            *drawn = Some(drawn.map_or(lot, |best: (u32, &PeerId)| best.min(lot)));
        }
        let drawn = [silent, unmet].map(|lot| lot.map(|(_, peer)| peer.clone()));
        for peer in drawn.into_iter().flatten() {
            self.dial(peer, book, out);
        }
    }

    /// The best candidates, drawn at random among equals; notes when the next one is due.
    fn candidates(&mut self, now: UnixMillis, book: &Book, rng: &mut SmallRng, room: usize) -> Vec<PeerId> {
        let mut due: Vec<(u8, u32, &PeerId)> = Vec::new();
        let mut later: Option<UnixMillis> = None;
        for (peer, entry) in book.iter().filter(|(_, entry)| entry.may_be_dialled()) {
            let not_before = entry.dialling.not_before;
            if not_before <= now {
                due.push((class(entry), rng.random(), peer));
            } else {
                later = Some(later.map_or(not_before, |later| later.min(not_before)));
            }
        }
        if due.len() > room {
            due.select_nth_unstable(room - 1);
            // Those that are left have their turn when a dial has ended.
            due.truncate(room);
        }
        self.next_look = later;
        due.into_iter().map(|(.., peer)| peer.clone()).collect()
    }
}

/// Whether one side was too busy: nothing is wrong with an address, and still both sides did not admit each other in time.
fn is_stalled(error: &ConnectError) -> bool {
    let late = matches!(error.error, CallError::Timeout { .. } | CallError::Unreachable { .. });
    late && error.failed.is_empty()
}

/// Who is tried first: less is better.
fn class(entry: &Entry) -> u8 {
    match (entry.refused, entry.dialling.failures, entry.is_proven()) {
        (false, 0, true) => 0,
        (false, 0, false) => 1,
        (false, _, true) => 2,
        (false, _, false) => 3,
        (true, ..) => 4,
    }
}
