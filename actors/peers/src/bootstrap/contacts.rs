//! The table of first contacts: who is to be tried when, and how far each is. Pure: time and randomness are handed in.
//!
//! A contact is tried until it was reached once. Then it rests: who stays connected is the transport's business for
//! contacts of the configuration, and discovery's for all others. One that was lost is tried again, as rarely as tries
//! ever are: it may be the only way into a part of the mesh that a cut network has hidden until nobody here remembers
//! it. When the node is alone, all begin again.
//!
//! What is shown of a contact is another matter than what is done about it: one that was reached may have been lost
//! since, and one that is still to be tried may have come by itself. So the table follows who is connected.

mod contact;
#[cfg(test)]
mod tests;

pub(super) use contact::How;

use super::places::Place;
use contact::{Contact, Step};
use meshwork_kit::Backoff;
use meshwork_proto::bootstrap::{ContactState, ContactView, SkippedEntry};
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::transport::PeerTarget;
use meshwork_proto::{PeerId, UnixMillis};
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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
    pub(super) lost: usize,
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
    /// Who is connected; with nobody the node is alone.
    connected: Arc<BTreeSet<PeerId>>,
}

impl Contacts {
    pub(super) fn new(pauses: Pauses, max_dials: usize, own: Option<PeerId>) -> Self {
        let max_dials = max_dials.max(1);
        let (ourselves, connected) = (BTreeSet::new(), Arc::default());
        Self { all: BTreeMap::new(), pauses, max_dials, own, ourselves, connected }
    }

    /// These peers are connected now. A node without any tries all contacts as often as those of the configuration.
    pub(super) fn set_connected(
        &mut self,
        now: UnixMillis,
        peers: Arc<BTreeSet<PeerId>>,
        rng: &mut impl Rng,
    ) {
        self.connected = peers;
        for contact in self.all.values_mut() {
            contact.follow(now, &self.connected, self.pauses.found, rng);
        }
    }

    /// By now it was told whether the peer that answered is connected.
    pub(super) fn no_longer_fresh(&mut self, now: UnixMillis, key: &str, rng: &mut impl Rng) {
        if let Some(contact) = self.all.get_mut(key) {
            contact.no_longer_fresh();
            contact.follow(now, &self.connected, self.pauses.found, rng);
        }
    }

    /// Takes a contact of the configuration; it is due at once.
    pub(super) fn keep(&mut self, now: UnixMillis, contact: FirstContact) -> Key {
        let key = contact.target.to_string();
        self.all
            .entry(key.clone())
            .or_insert_with(|| Contact::new(contact.source, How::Keep(contact.target), now));
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
            !dropped || contact.step == Step::Dialling
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
        let contact =
            self.all.entry(key.clone()).or_insert_with(|| Contact::new(place.source(), how.clone(), now));
        contact.places.insert(place.clone());
        let moved = contact.how.addresses() != how.addresses();
        contact.how = how;
        // What was learned of the old place says nothing of the new one.
        if moved && contact.step != Step::Dialling {
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
        let free = self.max_dials.saturating_sub(self.running());
        let due = |contact: &Contact| contact.next.filter(|next| *next <= now);
        let mut ready: Vec<_> =
            self.all.iter().filter_map(|(key, contact)| Some((due(contact)?, key.clone()))).collect();
        ready.sort();
        ready.truncate(free);
        let mut tries = Vec::with_capacity(ready.len());
        for (_, key) in ready {
            if let Some(contact) = self.all.get_mut(&key) {
                contact.step = Step::Dialling;
                contact.next = None;
                tries.push(Try { key, source: contact.source, how: contact.how.clone() });
            }
        }
        tries
    }

    /// When the next try is due; none while all rest, or no more may run.
    pub(super) fn next(&self) -> Option<UnixMillis> {
        let next = self.all.values().filter_map(|contact| contact.next).min();
        next.filter(|_| self.running() < self.max_dials)
    }

    fn running(&self) -> usize {
        self.all.values().filter(|contact| contact.step == Step::Dialling).count()
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
            // A node that was given the addresses of all may be among them.
            Outcome::Reached { peer, .. } if Some(&peer) == self.own.as_ref() => {
                self.all.remove(key);
                None
            }
            Outcome::Reached { peer, address } => {
                let learned = contact.answered_by(peer, address);
                learned.map(|found| (contact.source, found))
            }
            Outcome::Failed { problem, for_long, ourselves } => {
                // The transport itself dials a lost one of the configuration, at the address where it was.
                let kept = matches!(contact.how, How::Keep(_)) && !contact.is_lost();
                let urgent = kept || (self.connected.is_empty() && !for_long);
                let backoff = if urgent { self.pauses.kept } else { self.pauses.found };
                contact.failed(now, problem, for_long, backoff, rng);
                contact.follow(now, &self.connected, self.pauses.found, rng);
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
                && contact.step != Step::Dialling
            {
                contact.begin(now);
            }
        }
    }

    /// The node is alone: everybody is tried again, spread over a second.
    pub(super) fn begin_again(&mut self, now: UnixMillis, rng: &mut impl Rng) {
        for contact in self.all.values_mut().filter(|contact| contact.step != Step::Dialling) {
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
        self.all.get(key).is_none_or(|contact| match contact.step {
            Step::Dialling => false,
            Step::Resting => true,
            Step::Waiting => contact.next.is_none_or(|next| next > now),
        })
    }

    /// The contacts as they are shown; all, or those with these keys.
    pub(super) fn views(&self, now: UnixMillis, keys: Option<&BTreeSet<Key>>) -> Vec<ContactView> {
        let wanted = |key: &Key| keys.is_none_or(|keys| keys.contains(key));
        let shown = self.all.iter().filter(|(key, _)| wanted(key));
        shown.map(|(_, contact)| contact.view(now, &self.connected)).collect()
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for contact in self.all.values() {
            match contact.state(&self.connected) {
                ContactState::Dialling => tally.dialling += 1,
                ContactState::Connected => tally.connected += 1,
                ContactState::Waiting => tally.waiting += 1,
                ContactState::Lost => tally.lost += 1,
            }
        }
        tally
    }
}
