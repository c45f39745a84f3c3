//! A virtual node: the real membership, a clock of its own, and a name.

use crate::discovery::logic::Membership;
use crate::discovery::options::DiscoveryOptions;
use meshwork_proto::discovery::{Advertisement, Notary};
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Virtual time begins here, so that it is not zero anywhere.
const BEGIN: u64 = 1_700_000_000_000;
/// Ids of nodes are this one with other last digits: any such text is the id of some key.
const SOMEBODY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4k";
const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LAST: usize = 6;

/// The id of the `index`th node.
pub(crate) fn name(index: usize) -> PeerId {
    let mut text = SOMEBODY.to_owned();
    let mut rest = index;
    let mut digits = [b'1'; LAST];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get(rest % DIGITS.len()).copied().unwrap_or(b'1');
        rest /= DIGITS.len();
    }
    text.extend(digits.map(char::from));
    match text.parse() {
        Ok(peer) => peer,
        Err(error) => unreachable!("{error}"),
    }
}

/// Which node has this id.
pub(super) fn index_of(peer: &PeerId) -> usize {
    let last = peer.as_str().as_bytes().iter().skip(SOMEBODY.len());
    let value = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).unwrap_or(0);
    last.fold(0, |index, byte| index * DIGITS.len() + value(byte))
}

/// Where the `slot`th place of the network is.
pub(super) fn place(slot: usize) -> String {
    format!("/ip4/198.51.{}.{}/tcp/4001", slot / 250, slot % 250 + 1)
}

/// Signs with something that only the owner of the name makes, in virtual worlds.
pub(super) struct Signet(pub(super) PeerId);

fn seal(peer: &PeerId, message: &[u8]) -> Vec<u8> {
    let end = |bytes: &[u8]| bytes.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
    let length = u64::try_from(message.len()).unwrap_or(0);
    let name = end(peer.as_str().as_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut seal = vec![0; 56];
    // As long as real signatures are: 64 bytes.
    seal.extend((name ^ end(message) ^ length).to_le_bytes());
    seal
}

impl Notary for Signet {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(seal(&self.0, message))
    }

    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool {
        seal(peer, message) == signature
    }
}

/// A node.
pub(super) struct Node {
    pub(super) name: PeerId,
    /// None: it is gone.
    pub(super) core: Option<Membership>,
    pub(super) notary: Arc<Signet>,
    pub(super) offers: Advertisement,
    /// Where it is.
    pub(super) slot: usize,
    /// By how much its clock is ahead of the beginning.
    offset: u64,
    pub(super) born: u64,
    pub(super) died: Option<u64>,
    /// When it is called next.
    pub(super) armed: u64,
    pub(super) links: BTreeSet<usize>,
    pub(super) liar: bool,
}

impl Node {
    pub(super) fn new(
        index: usize,
        slot: usize,
        options: &DiscoveryOptions,
        now: u64,
        clock: u64,
        seed: u64,
    ) -> Self {
        let name = name(index);
        let notary = Arc::new(Signet(name.clone()));
        let core = Membership::new(name.clone(), options, notary.clone(), seed);
        let tools = ["echo", "sleep", "hash"].map(String::from);
        let offers = Advertisement {
            agent: "meshwork/0.1.0".into(),
            tools: tools.into(),
            labels: [format!("zone-{}", index % 7)].into(),
            free_slots: 4,
            slots: 4,
            running: 0,
            queued: 0,
            addresses: vec![place(slot)],
        };
        Self {
            name,
            core: Some(core),
            notary,
            offers,
            slot,
            offset: clock,
            born: now,
            died: None,
            armed: u64::MAX,
            links: BTreeSet::new(),
            liar: false,
        }
    }

    /// Its own clock.
    pub(super) fn clock(&self, now: u64) -> UnixMillis {
        UnixMillis(BEGIN + self.offset + now)
    }

    /// When its clock reads this, in the time of the world.
    pub(super) fn world_time(&self, clock: UnixMillis) -> u64 {
        clock.0.saturating_sub(BEGIN + self.offset)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.core.is_some()
    }
}
