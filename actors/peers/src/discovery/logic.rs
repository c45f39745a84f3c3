//! Book, gossip and policy together: the whole membership of a node as one pure state machine.
//!
//! What happened and when goes in, with a seed for everything random; effects and views come out. The actor and the
//! simulator run exactly this.

use super::book::{Book, BookRules, Dialled, Entry, Limit};
use super::gossip::{
    Answer, Ask, Believed, Checked, Ended, Genuine, Gossip, GossipRules, Heard, Occasion, Purpose, Talk,
};
use super::options::DiscoveryOptions;
use super::policy::{Dial, Policy};
use meshwork_proto::discovery::gossip::{Digest, KnownRecord};
use meshwork_proto::discovery::{
    Advertisement, CleanUp, CleanedUp, FoundPeer, Notary, PeerConnection, Source,
};
use meshwork_proto::transport::{ConnectError, ConnectedPeer};
use meshwork_proto::{PeerId, UnixMillis};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::Duration;

/// At least so many comparisons fit into the time to live of a record.
const COMPARISONS_IN_A_LIFE: u32 = 100;

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Open a connection and tell [`Membership::dialled`].
    Connect(Dial),
    /// Close the connections with a peer.
    Disconnect(PeerId),
    /// Ask and tell [`Membership::answered`] or [`Membership::unanswered`].
    Ask(Ask),
    /// Tell a peer of the first version of the wire what this node offers.
    Advertise(PeerId),
    /// The peer passed on what it must have known to be false.
    Offence(PeerId),
    /// A comparison that [`Membership::compare_now`] may have asked for has ended.
    Compared(PeerId, Ended),
}

/// Everything that a node knows and decides about membership.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) book: Book,
    gossip: Gossip,
    policy: Policy,
    rng: SmallRng,
    /// While the book is loaded no connection is opened: the best peers may be on the next page.
    holding: bool,
    forgotten: u64,
}

impl Membership {
    pub(crate) fn new(own: PeerId, options: &DiscoveryOptions, notary: Arc<dyn Notary>, seed: u64) -> Self {
        let book = Book::new(BookRules {
            own: own.clone(),
            max_peers: options.max_peers,
            ttl: options.ttl.clone(),
            allow_private: options.allow_private_addresses,
            dial_backoff: options.dial_backoff,
            refused_pause: options.refused_pause,
        });
        let ttl = options.ttl.of(Source::Gossip);
        // A short time to live needs a fast gossip: a renewal must be everywhere before the record before it is stale.
        let fast_enough = |every: Duration| ttl.map_or(every, |ttl| every.min(ttl / COMPARISONS_IN_A_LIFE));
        let rules = GossipRules {
            // One more: this node's own.
            max_records: options.max_peers.saturating_add(1),
            ttl,
            every: fast_enough(options.exchange_every),
            soon: fast_enough(options.exchange_soon),
            load_every: options.load_every,
            others: options.gossip,
        };
        Self {
            book,
            gossip: Gossip::new(rules, own, notary),
            policy: Policy::new(options.target_connections, options.max_dials),
            rng: SmallRng::seed_from_u64(seed),
            holding: false,
            forgotten: 0,
        }
    }

    pub(crate) fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    pub(crate) fn dials_in_flight(&self) -> usize {
        self.policy.dials_in_flight()
    }

    /// Peers forgotten since the start.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// No connection is opened until [`Membership::release`].
    pub(crate) fn hold(&mut self) {
        self.holding = true;
    }

    pub(crate) fn release(&mut self, now: UnixMillis) {
        self.holding = false;
        self.policy.stir(now);
    }

    /// When [`Membership::tick`] has something to do.
    pub(crate) fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        let dials = if self.may_dial() { self.policy.next_due() } else { None };
        [dials, self.gossip.next_due(now)].into_iter().flatten().min()
    }

    fn may_dial(&self) -> bool {
        !self.holding && !self.gossip.has_left()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
        let mut asks = Vec::new();
        self.gossip.tick(now, self.book.linked(), &mut self.rng, &mut asks);
        out.extend(asks.into_iter().map(Effect::Ask));
        if self.may_dial() {
            let mut dials = Vec::new();
            self.policy.tick(now, &mut self.book, &mut self.rng, &mut dials);
            out.extend(dials.into_iter().map(Effect::Connect));
        }
    }

    /// What is true of this node now. Gives why it is said, if it is.
    pub(crate) fn describe(
        &mut self,
        now: UnixMillis,
        offers: &Advertisement,
        out: &mut Vec<Effect>,
    ) -> Option<Occasion> {
        let occasion = self.gossip.describe(now, offers)?;
        if occasion == Occasion::Changed {
            self.advertise(out);
        }
        Some(occasion)
    }

    /// Tells all connected peers that sign no records.
    pub(crate) fn advertise(&self, out: &mut Vec<Effect>) {
        out.extend(self.plain_peers().into_iter().map(Effect::Advertise));
    }

    /// Connected peers that sign no records.
    pub(crate) fn plain_peers(&self) -> Vec<PeerId> {
        let linked = self.book.linked().iter();
        linked.filter(|peer| self.gossip.is_plain(peer)).cloned().collect()
    }

    /// Says what is true now to everybody connected, whether or not it is news: whom to tell, and what.
    pub(crate) fn announce(&mut self, now: UnixMillis, offers: Advertisement) -> (Vec<PeerId>, Option<Talk>) {
        self.gossip.say(now, offers, Occasion::Changed);
        let talk = self.gossip.own_told(now).map(|told| self.gossip.push(told));
        (self.book.linked().to_vec(), talk)
    }

    /// Says goodbye: whom to tell, and what. From now on this node asks nothing and connects to nobody.
    pub(crate) fn leave(&mut self, now: UnixMillis) -> (Vec<PeerId>, Option<Talk>) {
        let peers = self.book.linked().iter().filter(|peer| !self.gossip.is_plain(peer)).cloned().collect();
        let talk = self.gossip.leave(now).map(|told| self.gossip.push(told));
        (peers, talk)
    }

    /// A connection has changed.
    pub(crate) fn connection(&mut self, now: UnixMillis, change: PeerConnection, out: &mut Vec<Effect>) {
        match self.book.connection(now, change, &mut self.rng) {
            Dialled::Up(peer) => self.gossip.peer_up(&peer),
            Dialled::Down(peer) => {
                self.gossip.peer_down(&peer);
                self.policy.stir(now);
            }
            Dialled::Out(peer) => {
                let linked = self.book.get(&peer).is_some_and(|entry| entry.link.is_some());
                out.extend(linked.then_some(Effect::Disconnect(peer)));
                self.policy.stir(now);
            }
            Dialled::Nothing => self.policy.stir(now),
        }
    }

    /// A source has found peers. Gives how many it named, and how many of them were new.
    pub(crate) fn found(&mut self, now: UnixMillis, source: Source, found: &[FoundPeer]) -> (u32, u32) {
        let found = self.book.found(now, source, found);
        self.policy.try_nameless(now, found.nameless, source);
        self.policy.stir(now);
        (found.named, found.new)
    }

    /// A connection that was wanted was opened or not.
    pub(crate) fn dialled(
        &mut self,
        now: UnixMillis,
        dial: &Dial,
        result: &Result<ConnectedPeer, ConnectError>,
    ) {
        self.policy.dial_ended(now, result);
        self.tried(now, dial, result);
    }

    /// As [`Membership::dialled`], for a try that somebody else wanted.
    pub(crate) fn tried(
        &mut self,
        now: UnixMillis,
        dial: &Dial,
        result: &Result<ConnectedPeer, ConnectError>,
    ) {
        match (result, &dial.peer) {
            (Ok(reached), _) => {
                self.book.reached(now, &reached.peer, reached.address.as_deref(), dial.source);
            }
            (Err(error), Some(peer)) => self.book.not_reached(now, peer, error, &mut self.rng),
            (Err(_), None) => {}
        }
        if let Some(peer) = &dial.peer {
            self.book.set_in_flight(peer, false);
        }
        self.policy.stir(now);
    }

    /// A connected peer that signs no records has told what it offers.
    pub(crate) fn advertised(&mut self, now: UnixMillis, peer: &PeerId, said: Advertisement) {
        // A peer that signs records has said it better.
        if self.gossip.record(peer).is_none() || self.gossip.is_plain(peer) {
            self.book.advertised(now, peer, said);
        } else {
            self.book.heard(now, peer);
        }
    }

    /// Leaves of what a peer told only what would be news. Gives of whom the teller is behind.
    pub(crate) fn sift(&mut self, now: UnixMillis, from: &PeerId, heard: &mut Heard) -> Vec<PeerId> {
        self.gossip.sift(now, from, heard)
    }

    /// Counts bytes that came.
    pub(crate) fn count_in(&mut self, bytes: usize) {
        self.gossip.count_in(bytes);
    }

    fn believe(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        checked: Checked,
        out: &mut Vec<Effect>,
    ) -> Vec<Believed> {
        // Everybody checks before passing on: whoever passed these on did not, or made them.
        if checked.forged + checked.malformed > 0 {
            out.push(Effect::Offence(from.clone()));
        }
        let believed = self.gossip.believe(now, from, checked);
        for believed in &believed {
            self.take_up(now, believed);
        }
        if !believed.is_empty() && self.policy.wants_more(self.book.linked().len()) {
            self.policy.stir(now);
        }
        believed
    }

    fn take_up(&mut self, now: UnixMillis, believed: &Believed) {
        if let Some(gone) = &believed.instead_of {
            self.book.crowded_out(gone);
        }
        self.book.recorded(now, believed);
    }

    /// Answers an exchange of a connected peer, whose records were sifted and checked.
    pub(crate) fn asked(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        asked: Asked,
        out: &mut Vec<Effect>,
    ) -> Answer {
        let Asked { checked, behind, digest, want } = asked;
        self.book.heard(now, from);
        let news = self.believe(now, from, checked, out).len();
        let news = u32::try_from(news).unwrap_or(u32::MAX);
        self.gossip.answer(now, from, digest.as_ref(), &want, &behind, news)
    }

    /// A peer has answered; its records were sifted and checked.
    pub(crate) fn answered(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        purpose: Purpose,
        checked: Checked,
        known: &[KnownRecord],
        out: &mut Vec<Effect>,
    ) {
        self.book.heard(now, from);
        let believed = self.believe(now, from, checked, out);
        if purpose == Purpose::Push {
            return self.gossip.pushed();
        }
        let mut asks = Vec::new();
        let ended = self.gossip.answered(now, from, known, &believed, &mut self.rng, &mut asks);
        out.extend(asks.into_iter().map(Effect::Ask));
        out.extend(ended.map(|ended| Effect::Compared(from.clone(), ended)));
    }

    /// A peer has not answered; `mismatch`: it does not know such questions.
    pub(crate) fn unanswered(
        &mut self,
        now: UnixMillis,
        peer: &PeerId,
        purpose: Purpose,
        mismatch: bool,
        out: &mut Vec<Effect>,
    ) {
        let ended = self.gossip.failed(peer, purpose, mismatch);
        if mismatch {
            self.book.heard(now, peer);
            out.push(Effect::Advertise(peer.clone()));
        }
        out.extend(ended.map(|ended| Effect::Compared(peer.clone(), ended)));
    }

    /// Compares with one connected peer now. Gives with whom.
    pub(crate) fn compare_now(&mut self, now: UnixMillis, out: &mut Vec<Effect>) -> Option<PeerId> {
        let mut asks = Vec::new();
        let peer = self.gossip.compare_with_one(now, self.book.linked(), &mut self.rng, &mut asks);
        out.extend(asks.into_iter().map(Effect::Ask));
        peer
    }

    /// Forgets whom nothing has confirmed for too long.
    pub(crate) fn clean_up(&mut self, now: UnixMillis, order: &CleanUp) -> CleanedUp {
        let limit = match order.silent_ms {
            Some(ms) => Limit::Silence(Duration::from_millis(ms)),
            None => Limit::Lifetimes(self.book.lifetimes(&order.ttl_ms)),
        };
        let overdue = self.book.overdue(now, &limit);
        let kept = |gone: usize| u32::try_from(self.book.len().saturating_sub(gone)).unwrap_or(u32::MAX);
        if order.dry_run {
            return CleanedUp { kept: kept(overdue.len()), forgotten: overdue };
        }
        for peer in self.gossip.expire(now) {
            self.book.record_expired(&peer);
        }
        for peer in &overdue {
            self.book.forget(peer);
            self.gossip.forget(now, peer);
        }
        self.forgotten = self.forgotten.saturating_add(u64::try_from(overdue.len()).unwrap_or(u64::MAX));
        let kept = u32::try_from(self.book.len()).unwrap_or(u32::MAX);
        CleanedUp { forgotten: overdue, kept }
    }

    /// Forgets a peer. It comes back when it connects, or by a record that is newer than the one held of it. Gives
    /// whether it was there.
    pub(crate) fn forget(&mut self, now: UnixMillis, peer: &PeerId, out: &mut Vec<Effect>) -> bool {
        let linked = self.book.get(peer).is_some_and(|entry| entry.link.is_some());
        out.extend(linked.then(|| Effect::Disconnect(peer.clone())));
        let known = self.book.forget(peer);
        self.gossip.forget(now, peer);
        self.gossip.peer_down(peer);
        self.policy.stir(now);
        known
    }

    /// Puts back what was on disk of a peer.
    pub(crate) fn restore(
        &mut self,
        now: UnixMillis,
        peer: &PeerId,
        stored: Entry,
        record: Option<(Genuine, UnixMillis)>,
    ) {
        if peer == self.book.own() {
            return;
        }
        let behind = self.book.get(peer).is_some_and(|entry| entry.dirty);
        self.book.restore(now, peer, stored);
        if let Some((record, new_at)) = record {
            let new_at = self.book.grant_after_restart(now, Source::Gossip, new_at);
            if let Some(believed) = self.gossip.restore(now, record, new_at) {
                self.take_up(now, &believed);
            }
        }
        if !behind {
            self.book.is_as_stored(peer);
        }
    }

    /// About how many bytes of memory are held for a peer: for measurements.
    pub(crate) fn bytes_of(&self, peer: &PeerId) -> usize {
        let key = size_of::<PeerId>();
        let entry = self.book.get(peer).map_or(0, |entry| size_of::<Entry>() + key + entry.heap_bytes());
        let record = self.gossip.record(peer).map_or(0, |(record, _)| {
            key + size_of::<(Genuine, UnixMillis)>() + record.heap_bytes() + peer.as_str().len()
        });
        entry + record
    }

    /// A number that an earlier life of this node has used.
    pub(crate) fn jump_above(&mut self, sequence: u64) {
        self.gossip.jump_above(sequence);
    }
}

/// An exchange that is to be answered.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) checked: Checked,
    /// Of whom the asker told something older than what is known here.
    pub(crate) behind: Vec<PeerId>,
    pub(crate) digest: Option<Digest>,
    pub(crate) want: Vec<PeerId>,
}
