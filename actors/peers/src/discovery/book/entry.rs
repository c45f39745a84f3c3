//! What is known of one peer, and which of its addresses are worth a try.

use super::super::gossip::MAX_ADDRESSES;
use meshwork_proto::discovery::{Advertisement, PeerTrust, Source};
use meshwork_proto::{Role, UnixMillis};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// An address at which somebody else answered is not believed again for so long, whoever names it.
const REFUTED_FOR: Duration = Duration::from_secs(600);

/// An address of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownAddress {
    /// Without `/p2p/<id>` of the peer itself.
    pub(crate) text: Arc<str>,
    /// Who named it last.
    pub(crate) source: Source,
    /// When.
    pub(crate) learned: UnixMillis,
    /// When a connection to it succeeded last.
    pub(crate) confirmed: Option<UnixMillis>,
    /// Connections that succeeded.
    pub(crate) successes: u32,
    /// Tries that failed since.
    pub(crate) failures: u32,
}

impl KnownAddress {
    /// The order in which addresses are tried: those that work, then those never tried, then those that worked once, and
    /// within that those with fewer failures, from better sources, and learned later.
    fn rank(&self) -> impl Ord + use<> {
        let class = match (self.confirmed, self.failures) {
            (Some(_), 0) => 0,
            (None, 0) => 1,
            (Some(_), _) => 2,
            (None, _) => 3_u8,
        };
        (class, self.failures, Reverse(self.confirmed), quality(self.source), Reverse(self.learned))
    }
}

/// How much a source knows of the addresses that it names; less is better.
const fn quality(source: Source) -> u8 {
    match source {
        Source::Connection => 0,
        // Signed by the peer itself.
        Source::Gossip => 1,
        Source::Configured | Source::Invitation | Source::Manual => 2,
        Source::Mdns => 3,
        Source::Environment
        | Source::File
        | Source::Dns
        | Source::Dht
        | Source::Rendezvous
        | Source::FileRegistry => 4,
        Source::PublicList | Source::PublicDht | Source::Github => 5,
    }
}

/// A connection on which both sides admit each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Without `/p2p/<id>`; of a connection that the peer opened it is not one to dial.
    pub(crate) address: Arc<str>,
    pub(crate) relayed: bool,
    pub(crate) since: UnixMillis,
}

/// How dialling goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dialling {
    /// Failures in a row.
    pub(crate) failures: u32,
    pub(crate) not_before: UnixMillis,
    pub(crate) in_flight: bool,
}

/// What is known of one peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) addresses: Vec<KnownAddress>,
    /// Where somebody else answered, and until when that is remembered.
    pub(crate) refuted: Vec<(Arc<str>, UnixMillis)>,
    /// By whom it was found, and when each said so last.
    pub(crate) confirmed: Vec<(Source, UnixMillis)>,
    /// When it gave a sign of life itself.
    pub(crate) alive: Option<UnixMillis>,
    pub(crate) link: Option<Link>,
    /// As which it was admitted last.
    pub(crate) role: Option<Role>,
    pub(crate) refused: bool,
    /// When it said goodbye.
    pub(crate) left: Option<UnixMillis>,
    /// Revoked by the operator (true), or banned for a time.
    pub(crate) shut_out: Option<bool>,
    pub(crate) offers: Option<Arc<Advertisement>>,
    pub(crate) rtt_us: Option<u64>,
    pub(crate) dialling: Dialling,
    /// Its connection was lost, and nothing of it was heard since.
    pub(crate) lost: bool,
    /// Whether what is on disk is behind.
    pub(crate) dirty: bool,
}

impl Entry {
    /// Notes that a source has named it.
    pub(crate) fn confirm(&mut self, source: Source, at: UnixMillis) {
        match self.confirmed.iter_mut().find(|(by, _)| *by == source) {
            Some((_, last)) => *last = (*last).max(at),
            None => self.confirmed.push((source, at)),
        }
        // What it signed and what it said on a connection comes from itself; all else is hearsay.
        if matches!(source, Source::Connection | Source::Gossip) {
            self.alive = self.alive.max(Some(at));
            self.lost = false;
        }
    }

    pub(crate) fn last_confirmed(&self) -> Option<UnixMillis> {
        self.confirmed.iter().map(|(_, at)| *at).max()
    }

    /// Whether it has ever shown that it is there and belongs to the mesh.
    pub(crate) fn is_proven(&self) -> bool {
        self.link.is_some() || self.role.is_some() || self.offers.is_some()
    }

    pub(crate) fn trust(&self) -> PeerTrust {
        match (self.shut_out, self.refused, self.role) {
            (Some(true), ..) => PeerTrust::Revoked,
            (_, true, _) => PeerTrust::Refused,
            (_, false, Some(role)) => role.into(),
            (_, false, None) => PeerTrust::Unproven,
        }
    }

    /// Whether it may be dialled, were it time.
    pub(crate) fn may_be_dialled(&self) -> bool {
        self.link.is_none()
            && self.shut_out.is_none()
            && self.left.is_none()
            && !self.dialling.in_flight
            && !self.addresses.is_empty()
    }

    /// Adds an address, or notes that it was named again. The worst one goes when there are too many.
    pub(crate) fn learn(&mut self, now: UnixMillis, text: &Arc<str>, source: Source) {
        if self.is_refuted(now, text) {
            return;
        }
        if let Some(known) = self.addresses.iter_mut().find(|known| known.text == *text) {
            (known.source, known.learned) = (source, now);
            return;
        }
        self.addresses.push(KnownAddress {
            text: Arc::clone(text),
            source,
            learned: now,
            confirmed: None,
            successes: 0,
            failures: 0,
        });
        if self.addresses.len() > MAX_ADDRESSES {
            self.addresses.sort_by_key(KnownAddress::rank);
            self.addresses.truncate(MAX_ADDRESSES);
        }
    }

    /// The peer itself says where it is: what it said earlier and does not say any more goes.
    pub(crate) fn moved_to(&mut self, now: UnixMillis, addresses: &[Arc<str>]) {
        self.addresses.retain(|known| known.source != Source::Gossip || addresses.contains(&known.text));
        for text in addresses {
            self.learn(now, text, Source::Gossip);
        }
    }

    /// A connection to an address succeeded; it is added if it was not known.
    pub(crate) fn reached_at(&mut self, now: UnixMillis, text: &Arc<str>, source: Source) {
        self.refuted.retain(|(refuted, _)| refuted != text);
        if !self.addresses.iter().any(|known| known.text == *text) {
            self.learn(now, text, source);
        }
        if let Some(known) = self.addresses.iter_mut().find(|known| known.text == *text) {
            known.confirmed = Some(now);
            known.successes = known.successes.saturating_add(1);
            known.failures = 0;
        }
    }

    pub(crate) fn failed_at(&mut self, text: &str) {
        if let Some(known) = self.addresses.iter_mut().find(|known| *known.text == *text) {
            known.failures = known.failures.saturating_add(1);
        }
    }

    /// Somebody else answered at an address. Gives who had named it.
    pub(crate) fn refute(&mut self, now: UnixMillis, text: &Arc<str>) -> Option<Source> {
        let at = self.addresses.iter().position(|known| known.text == *text)?;
        let source = self.addresses.remove(at).source;
        if self.refuted.len() >= MAX_ADDRESSES {
            self.refuted.remove(0);
        }
        self.refuted.push((Arc::clone(text), now.after(REFUTED_FOR)));
        Some(source)
    }

    fn is_refuted(&mut self, now: UnixMillis, text: &Arc<str>) -> bool {
        self.refuted.retain(|(_, until)| *until > now);
        self.refuted.iter().any(|(refuted, _)| refuted == text)
    }

    /// Its addresses, the most promising first.
    pub(crate) fn best_first(&self) -> Vec<&KnownAddress> {
        let mut all: Vec<&KnownAddress> = self.addresses.iter().collect();
        all.sort_by_key(|known| known.rank());
        all
    }

    /// It is gone: where it was and what it offered is of no use any more.
    pub(crate) fn leave(&mut self, at: UnixMillis) {
        self.left = Some(at);
        self.addresses.clear();
        self.refuted.clear();
        self.offers = None;
        self.rtt_us = None;
        self.dialling = Dialling::default();
    }

    /// About how many bytes it holds beside itself; what it offers is counted with its record.
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts: usize = self.addresses.iter().map(|known| known.text.len() + 2 * size_of::<usize>()).sum();
        self.addresses.capacity() * size_of::<KnownAddress>()
            + texts
            + self.refuted.capacity() * size_of::<(Arc<str>, UnixMillis)>()
            + self.confirmed.capacity() * size_of::<(Source, UnixMillis)>()
    }
}
