//! The table of first contacts: who is to be tried when, and how far each is. Pure: time and randomness are handed in.
//!
//! A contact is tried until it was reached once. Then it rests: who stays connected is the transport's business for
//! contacts of the configuration, and discovery's for all others. When the node is alone, all begin again.

use super::places::Place;
use meshwork_kit::Backoff;
use meshwork_proto::bootstrap::{ContactState, ContactView, SkippedEntry};
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::{PeerId, UnixMillis};
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most contacts of all places together.
const MAX_CONTACTS: usize = 1_024;
/// Most addresses at which this node itself answered.
const MAX_OURSELVES: usize = 256;
/// Over how long a new beginning is spread: nodes that lost one another at the same moment do not all call at once.
const SPREAD_MS: u64 = 1_000;

/// A peer that the configuration or an invitation names: contact with it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstContact {
    /// Who, or where.
    pub target: PeerTarget,
    /// Which of the two named it.
    pub source: Source,
}

/// By what a contact is told apart: the peer's id if it is known, else its address.
pub(super) type Key = String;

/// A try that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) key: Key,
    pub(super) source: Source,
    pub(super) how: How,
}

/// How a contact is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// The transport keeps the connection.
    Keep(PeerTarget),
    /// The connection may end.
    Connect { peer: Option<PeerId>, addresses: Vec<String> },
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both sides admit each other.
    Reached {
        /// Who answered.
        peer: PeerId,
        /// At which address, if that was told.
        address: Option<String>,
    },
    /// Nobody did.
    Failed {
        /// Why.
        problem: String,
        /// Somebody answered and the two do not trust each other: trying soon again changes nothing.
        for_long: bool,
        /// Addresses at which this node itself answered.
        ourselves: Vec<String>,
    },
}

/// How many contacts there are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) dialling: usize,
    pub(super) connected: usize,
    pub(super) waiting: usize,
}

#[derive(Debug, Clone)]
struct Contact {
    source: Source,
    how: How,
    /// The places that name it; none for one of the configuration.
    places: BTreeSet<Place>,
    state: ContactState,
    reached: Option<(PeerId, Option<String>)>,
    attempts: u32,
    problem: Option<String>,
    next: Option<UnixMillis>,
}

/// The pauses between tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    pub(super) kept: Backoff,
    pub(super) found: Backoff,
}

/// The table.
#[derive(Debug)]
pub(super) struct Contacts {
    all: BTreeMap<Key, Contact>,
    pauses: Pauses,
    max_dials: usize,
    own: Option<PeerId>,
    ourselves: BTreeSet<String>,
    alone: bool,
}

impl Contacts {
    pub(super) fn new(pauses: Pauses, max_dials: usize, own: Option<PeerId>) -> Self {
        let max_dials = max_dials.max(1);
        Self { all: BTreeMap::new(), pauses, max_dials, own, ourselves: BTreeSet::new(), alone: true }
    }

    /// A node without any peer tries all contacts as often as those of the configuration.
    pub(super) fn set_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// Takes a contact of the configuration; it is due at once.
    pub(super) fn keep(&mut self, now: UnixMillis, contact: FirstContact) -> Key {
        let key = contact.target.to_string();
        self.all
            .entry(key.clone())
            .or_insert_with(|| Contact::new(contact.source, How::Keep(contact.target), BTreeSet::new(), now));
        key
    }

    /// Takes what a place holds now: new contacts are due at once, and those that the place does not name any more are
    /// forgotten. Gives the keys of what it holds, and what was not taken.
    pub(super) fn merge(
        &mut self,
        now: UnixMillis,
        place: &Place,
        found: Vec<FoundPeer>,
    ) -> (BTreeSet<Key>, Vec<SkippedEntry>) {
        let mut keys = BTreeSet::new();
        let mut skipped = Vec::new();
        for candidate in found {
            match self.take(now, place, candidate) {
                Ok(key) => drop(keys.insert(key)),
                Err(entry) => skipped.push(entry),
            }
        }
        self.all.retain(|key, contact| {
            let dropped = !keys.contains(key) && contact.places.remove(place) && contact.places.is_empty();
            // A try that runs is waited for, or it would run beside another one if the place names it again.
            !dropped || contact.state == ContactState::Dialling
        });
        (keys, skipped)
    }

    fn take(&mut self, now: UnixMillis, place: &Place, candidate: FoundPeer) -> Result<Key, SkippedEntry> {
        let FoundPeer { peer, mut addresses } = candidate;
        let shown = || addresses.first().cloned().unwrap_or_default();
        let refuse = |problem: &str| SkippedEntry { entry: shown(), problem: problem.into() };
        if peer.is_some() && peer == self.own {
            return Err(refuse("it is this node itself"));
        }
        if addresses.iter().all(|address| self.ourselves.contains(address)) {
            return Err(refuse("this node itself answered there"));
        }
        let full = refuse("there are too many contacts");
        addresses.retain(|address| !self.ourselves.contains(address));
        if let Some(key) = self.kept_one(peer.as_ref(), &addresses) {
            return Ok(key);
        }
        let key = match (&peer, addresses.first()) {
            (Some(peer), _) => peer.to_string(),
            (None, Some(address)) => address.clone(),
            (None, None) => return Err(SkippedEntry { problem: "it has no address".into(), ..full }),
        };
        if !self.all.contains_key(&key) && self.all.len() >= MAX_CONTACTS {
            return Err(full);
        }
        let how = How::Connect { peer, addresses };
        let contact = self
            .all
            .entry(key.clone())
            .or_insert_with(|| Contact::new(place.source(), how.clone(), BTreeSet::new(), now));
        contact.places.insert(place.clone());
        let moved = contact.addresses() != addresses_in(&how);
        contact.how = how;
        // What was learned of the old place says nothing of the new one.
        if moved && contact.state != ContactState::Dialling {
            contact.begin(now);
        }
        Ok(key)
    }

    /// The contact of the configuration that is the same peer or the same address.
    fn kept_one(&self, peer: Option<&PeerId>, addresses: &[String]) -> Option<Key> {
        let same = |contact: &Contact| match &contact.how {
            How::Keep(PeerTarget::Id(kept)) => Some(kept) == peer,
            How::Keep(PeerTarget::Address(kept)) => {
                addresses.contains(kept) || peer.is_some_and(|peer| kept.ends_with(&format!("/p2p/{peer}")))
            }
            How::Connect { .. } => false,
        };
        self.all.iter().find(|(_, contact)| same(contact)).map(|(key, _)| key.clone())
    }

    /// The tries that are due, as many as may run now; each must be answered with [`Contacts::tried`].
    pub(super) fn due(&mut self, now: UnixMillis) -> Vec<Try> {
        let running = self.all.values().filter(|contact| contact.state == ContactState::Dialling).count();
        let free = self.max_dials.saturating_sub(running);
        let due = |contact: &Contact| contact.next.filter(|next| *next <= now);
        let mut ready: Vec<_> =
            self.all.iter().filter_map(|(key, contact)| Some((due(contact)?, key.clone()))).collect();
        ready.sort();
        ready.truncate(free);
        let mut tries = Vec::with_capacity(ready.len());
        for (_, key) in ready {
            if let Some(contact) = self.all.get_mut(&key) {
                contact.state = ContactState::Dialling;
                contact.next = None;
                tries.push(Try { key, source: contact.source, how: contact.how.clone() });
            }
        }
        tries
    }

    /// When the next try is due; none while all rest, or no more may run.
    pub(super) fn next(&self) -> Option<UnixMillis> {
        let running = self.all.values().filter(|contact| contact.state == ContactState::Dialling).count();
        let next = self.all.values().filter_map(|contact| contact.next).min();
        next.filter(|_| running < self.max_dials)
    }

    /// Notes what came of a try. Gives how the peer was found, if it is reached and nobody knew who it is.
    pub(super) fn tried(
        &mut self,
        now: UnixMillis,
        key: &str,
        outcome: Outcome,
        rng: &mut impl Rng,
    ) -> Option<(Source, FoundPeer)> {
        let contact = self.all.get_mut(key)?;
        if contact.is_dropped() {
            self.all.remove(key);
            return None;
        }
        match outcome {
            Outcome::Reached { peer, address } => {
                let learned = contact.learned(&peer, address.as_deref());
                contact.state = ContactState::Connected;
                contact.attempts = 0;
                contact.problem = None;
                contact.next = None;
                contact.reached = Some((peer, address));
                learned.map(|found| (contact.source, found))
            }
            Outcome::Failed { problem, for_long, ourselves } => {
                let urgent = matches!(contact.how, How::Keep(_)) || (self.alone && !for_long);
                let backoff = if urgent { self.pauses.kept } else { self.pauses.found };
                contact.failed(now, problem, for_long, backoff, rng);
                self.leave_out(key, &ourselves);
                None
            }
        }
    }

    /// Addresses that lead to this node itself are not tried again.
    fn leave_out(&mut self, key: &str, ourselves: &[String]) {
        let Some(contact) = self.all.get_mut(key) else { return };
        let How::Connect { addresses, .. } = &mut contact.how else { return };
        let bare =
            |text: &str| text.rsplit_once("/p2p/").map_or_else(|| text.to_owned(), |(bare, _)| bare.into());
        let ours: BTreeSet<String> = ourselves.iter().map(|address| bare(address)).collect();
        let (gone, left): (Vec<_>, Vec<_>) =
            std::mem::take(addresses).into_iter().partition(|address| ours.contains(&bare(address)));
        let empty = left.is_empty();
        *addresses = left;
        for address in gone {
            if self.ourselves.len() < MAX_OURSELVES {
                self.ourselves.insert(address);
            }
        }
        if empty {
            self.all.remove(key);
        }
    }

    /// Makes contacts due now, whatever they waited for: somebody asks for it.
    pub(super) fn hurry(&mut self, now: UnixMillis, keys: &BTreeSet<Key>) {
        for key in keys {
            if let Some(contact) = self.all.get_mut(key)
                && contact.state != ContactState::Dialling
            {
                contact.begin(now);
            }
        }
    }

    /// The node is alone: everybody is tried again, spread over a second.
    pub(super) fn begin_again(&mut self, now: UnixMillis, rng: &mut impl Rng) {
        for contact in self.all.values_mut().filter(|contact| contact.state != ContactState::Dialling) {
            contact.begin(now.after(Duration::from_millis(rng.random_range(0..=SPREAD_MS))));
        }
    }

    /// All contacts of the configuration.
    pub(super) fn kept(&self) -> BTreeSet<Key> {
        let kept = |contact: &Contact| matches!(contact.how, How::Keep(_));
        self.all.iter().filter(|(_, contact)| kept(contact)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a contact was tried since it became due, or is not there any more.
    pub(super) fn is_settled(&self, now: UnixMillis, key: &str) -> bool {
        self.all.get(key).is_none_or(|contact| match contact.state {
            ContactState::Dialling => false,
            ContactState::Connected => true,
            ContactState::Waiting => contact.next.is_none_or(|next| next > now),
        })
    }

    /// The contacts as they are shown; all, or those with these keys.
    pub(super) fn views(&self, now: UnixMillis, keys: Option<&BTreeSet<Key>>) -> Vec<ContactView> {
        let wanted = |key: &Key| keys.is_none_or(|keys| keys.contains(key));
        self.all.iter().filter(|(key, _)| wanted(key)).map(|(_, contact)| contact.view(now)).collect()
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for contact in self.all.values() {
            match contact.state {
                ContactState::Dialling => tally.dialling += 1,
                ContactState::Connected => tally.connected += 1,
                ContactState::Waiting => tally.waiting += 1,
            }
        }
        tally
    }
}

/// Without their order: name servers mix it up on purpose.
fn addresses_in(how: &How) -> BTreeSet<&String> {
    match how {
        How::Keep(_) => BTreeSet::new(),
        How::Connect { addresses, .. } => addresses.iter().collect(),
    }
}

impl Contact {
    fn new(source: Source, how: How, places: BTreeSet<Place>, now: UnixMillis) -> Self {
        let state = ContactState::Waiting;
        Self { source, how, places, state, reached: None, attempts: 0, problem: None, next: Some(now) }
    }

    /// No place names it any more.
    fn is_dropped(&self) -> bool {
        matches!(self.how, How::Connect { .. }) && self.places.is_empty()
    }

    fn addresses(&self) -> BTreeSet<&String> {
        addresses_in(&self.how)
    }

    fn begin(&mut self, at: UnixMillis) {
        self.state = ContactState::Waiting;
        self.attempts = 0;
        self.next = Some(at);
    }

    fn failed(
        &mut self,
        now: UnixMillis,
        problem: String,
        for_long: bool,
        backoff: Backoff,
        rng: &mut impl Rng,
    ) {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = if for_long { u32::MAX } else { self.attempts };
        self.state = ContactState::Waiting;
        self.problem = Some(problem);
        self.next = Some(now.after(backoff.delay(attempt, rng)));
    }

    /// What the peer book should know of a peer that answered.
    fn learned(&self, peer: &PeerId, address: Option<&str>) -> Option<FoundPeer> {
        let addresses: Vec<String> = match (address, &self.how) {
            (Some(address), _) => vec![address.to_owned()],
            (None, How::Keep(PeerTarget::Address(address))) => vec![address.clone()],
            // Without an id, each of several addresses could be of another peer.
            (None, How::Connect { peer: None, addresses }) if addresses.len() == 1 => addresses.clone(),
            _ => return None,
        };
        Some(FoundPeer { peer: Some(peer.clone()), addresses })
    }

    fn view(&self, now: UnixMillis) -> ContactView {
        let address = match (&self.reached, &self.how) {
            (Some((peer, Some(address))), _) if !address.contains("/p2p/") => format!("{address}/p2p/{peer}"),
            (Some((_, Some(address))), _) => address.clone(),
            (_, How::Keep(target)) => target.to_string(),
            (_, How::Connect { addresses, .. }) => addresses.first().cloned().unwrap_or_default(),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        ContactView {
            address,
            source: self.source,
            state: self.state,
            peer: self.reached.as_ref().map(|(peer, _)| peer.clone()),
            attempts: self.attempts,
            problem: self.problem.clone(),
            next_try_in_ms: self.next.map(|next| millis(next.since(now))),
        }
    }
}

#[cfg(test)]
mod tests;
