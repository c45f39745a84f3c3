//! What this node says of itself: when it says something new, and with which number.

use super::sealed::{Genuine, MAX_SEQUENCE};
use meshwork_proto::discovery::{Advertisement, NodeRecord, Notary};
use meshwork_proto::{PeerId, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// A record is renewed at least so often, whatever its time to live is here: others may have the usual one.
const RENEW_AT_MOST: Duration = Duration::from_secs(450);
/// Records are renewed so often within their time to live. A third of it makes a peer stale, so that leaves a renewed
/// record time to get around.
const RENEWALS: u32 = 4;

/// Why this node says something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is the first thing said, or tools, labels or addresses are others.
    Changed,
    /// It has become busy or idle.
    Load,
    /// What was said is growing old.
    Renewal,
}

/// The records of this node itself.
pub(crate) struct Own {
    peer: PeerId,
    notary: Arc<dyn Notary>,
    /// The last number used, or seen in use.
    sequence: u64,
    offers: Option<Advertisement>,
    signed_at: UnixMillis,
    renew_every: Duration,
    load_every: Duration,
    left: bool,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own")
            .field("peer", &self.peer)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Own {
    pub(crate) fn new(
        peer: PeerId,
        notary: Arc<dyn Notary>,
        ttl: Option<Duration>,
        load_every: Duration,
    ) -> Self {
        let renew_every = ttl.map_or(RENEW_AT_MOST, |ttl| (ttl / RENEWALS).min(RENEW_AT_MOST));
        Self {
            peer,
            notary,
            sequence: 0,
            offers: None,
            signed_at: UnixMillis(0),
            renew_every,
            load_every,
            left: false,
        }
    }

    pub(crate) fn peer(&self) -> &PeerId {
        &self.peer
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn offers(&self) -> Option<&Advertisement> {
        self.offers.as_ref()
    }

    /// A number that was used before, perhaps by an earlier start of this node whose clock was ahead.
    pub(crate) fn jump_above(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence.min(MAX_SEQUENCE));
    }

    /// Whether what is true now must be said, and why. What was said last decides, not what was looked at last.
    pub(crate) fn occasion(&self, now: UnixMillis, offers: &Advertisement) -> Option<Occasion> {
        if self.left {
            return None;
        }
        let Some(said) = &self.offers else { return Some(Occasion::Changed) };
        let age = now.since(self.signed_at);
        if differ(said, offers) {
            return Some(Occasion::Changed);
        }
        let load = |offers: &Advertisement| (offers.free_slots == 0, offers.queued == 0);
        if load(said) != load(offers) && age >= self.load_every {
            return Some(Occasion::Load);
        }
        (age >= self.renew_every).then_some(Occasion::Renewal)
    }

    /// When what was said last must be renewed.
    pub(crate) fn renewal_due(&self) -> Option<UnixMillis> {
        (self.offers.is_some() && !self.left).then(|| self.signed_at.after(self.renew_every))
    }

    /// Makes the next record; none when the key does not sign.
    pub(crate) fn sign(&mut self, now: UnixMillis, offers: Advertisement) -> Option<Genuine> {
        let record = self.next(now, offers.clone(), false)?;
        self.offers = Some(offers);
        Some(record)
    }

    /// Makes the last record: from now on this node says nothing more.
    pub(crate) fn sign_goodbye(&mut self, now: UnixMillis) -> Option<Genuine> {
        let agent = self.offers.take().map(|offers| offers.agent).unwrap_or_default();
        let record = self.next(now, Advertisement { agent, ..Advertisement::default() }, true);
        self.left = true;
        record
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left
    }

    fn next(&mut self, now: UnixMillis, offers: Advertisement, left: bool) -> Option<Genuine> {
        let sequence = now.0.max(self.sequence.saturating_add(1));
        let record = NodeRecord { peer: self.peer.clone(), sequence, left, offers };
        let signed = Genuine::sign(record, self.notary.as_ref())?;
        self.sequence = sequence;
        self.signed_at = now;
        Some(signed)
    }
}

/// Whether two descriptions differ in what others must hear of at once. The order of addresses does not matter: the
/// transport gives them in no certain one.
fn differ(before: &Advertisement, after: &Advertisement) -> bool {
    let sorted = |offers: &Advertisement| {
        let mut addresses = offers.addresses.clone();
        addresses.sort_unstable();
        addresses
    };
    before.agent != after.agent
        || before.slots != after.slots
        || before.tools != after.tools
        || before.labels != after.labels
        || (before.addresses != after.addresses && sorted(before) != sorted(after))
}
