//! A record of a node: as it came, and as it is believed once its signature was checked.

use super::talk::size_of_record;
use crate::address::{Address, MAX_ADDRESS};
use meshwork_proto::PeerId;
use meshwork_proto::codec::{self, CodecError};
use meshwork_proto::discovery::gossip::{MAX_RECORD_BYTES, record_message};
use meshwork_proto::discovery::{Advertisement, NodeRecord, Notary, SignedRecord};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

/// Addresses kept of one peer: enough for several interfaces, too few for a peer that invents them.
pub(crate) const MAX_ADDRESSES: usize = 16;
/// Most tools, and most labels, believed of one peer.
const MAX_NAMES: usize = 2000;
/// Longest name of a tool or label, in bytes.
const MAX_NAME: usize = 256;
/// Longest name of a software, in bytes.
const MAX_AGENT: usize = 128;
/// No node makes a record with a larger number: milliseconds since 1970 get there in 36 million years.
pub(crate) const MAX_SEQUENCE: u64 = 1 << 60;

/// A record that was read, and not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) peer: PeerId,
    pub(crate) sequence: u64,
    pub(crate) left: bool,
    /// What it offers, within bounds.
    pub(crate) offers: Arc<Advertisement>,
    /// The addresses in it that can be dialled, without the peer's own id.
    pub(crate) addresses: Vec<Arc<str>>,
    /// As it was signed.
    record: bytes::Bytes,
    signature: bytes::Bytes,
    /// See [`mark_of`].
    pub(crate) mark: u64,
}

/// A record whose signature is that of the peer it is about. There is no other way to make one than to check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Genuine(Arc<Sealed>);

/// A record that somebody passed on, with its age as that peer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) sealed: Arc<Sealed>,
    pub(crate) age_ms: u64,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A newer meshwork wrote it: nobody's fault.
    Newer,
    /// Nobody can have checked it before passing it on.
    Malformed,
}

impl Sealed {
    /// Reads a record as it came over the wire or from the disk. Its signature is not checked here.
    pub(crate) fn read(signed: &SignedRecord) -> Result<Self, Unreadable> {
        if signed.record.len() > MAX_RECORD_BYTES || signed.signature.len() > MAX_RECORD_BYTES {
            return Err(Unreadable::Malformed);
        }
        let record: NodeRecord = codec::decode(&signed.record).map_err(|error| match error {
            CodecError::UnknownVersion { found, supported, .. } if found > supported => Unreadable::Newer,
            _ => Unreadable::Malformed,
        })?;
        Ok(Self::of(record, signed.record.clone(), signed.signature.clone()))
    }

    fn of(record: NodeRecord, bytes: bytes::Bytes, signature: bytes::Bytes) -> Self {
        let offers = bounded(record.offers);
        let addresses = dialable(&record.peer, &offers.addresses);
        let mark = mark_of(&record.peer);
        Self {
            peer: record.peer,
            sequence: record.sequence,
            left: record.left,
            offers: Arc::new(offers),
            addresses,
            record: bytes,
            signature,
            mark,
        }
    }

    /// As it is passed on.
    pub(crate) fn signed(&self, age_ms: u64) -> SignedRecord {
        SignedRecord { record: self.record.clone(), signature: self.signature.clone(), age_ms }
    }

    /// About how many bytes it holds, decoded and as it was signed.
    pub(crate) fn heap_bytes(&self) -> usize {
        // A node of a set has room for eleven names.
        let node = 11 * size_of::<String>() + 4 * size_of::<usize>();
        let set = |names: &BTreeSet<String>| {
            names.len().div_ceil(6) * node + names.iter().map(String::len).sum::<usize>()
        };
        let offers = &self.offers;
        let said = offers.addresses.iter().map(|text| size_of::<String>() + text.len());
        let kept = self.addresses.iter().map(|text| 4 * size_of::<usize>() + text.len());
        size_of::<Self>()
            + size_of::<Advertisement>()
            + offers.agent.len()
            + set(&offers.tools)
            + set(&offers.labels)
            + said.sum::<usize>()
            + kept.sum::<usize>()
            + self.record.len()
            + self.signature.len()
    }

    /// Bytes of it on a wire.
    pub(crate) fn size(&self, age_ms: u64) -> usize {
        size_of_record(self.record.len(), self.signature.len(), age_ms)
    }
}

impl Genuine {
    /// Checks the signature.
    pub(crate) fn check(sealed: Arc<Sealed>, notary: &dyn Notary) -> Option<Self> {
        let message = record_message(&sealed.record);
        notary.verify(&sealed.peer, &message, &sealed.signature).then_some(Self(sealed))
    }

    /// Makes and signs a record of this node; none if that cannot be done.
    pub(crate) fn sign(record: NodeRecord, notary: &dyn Notary) -> Option<Self> {
        let bytes = codec::encode(&record).ok().filter(|bytes| bytes.len() <= MAX_RECORD_BYTES)?;
        let signature = notary.sign(&record_message(&bytes))?;
        Some(Self(Arc::new(Sealed::of(record, bytes.into(), signature.into()))))
    }

    pub(crate) fn sealed(&self) -> &Arc<Sealed> {
        &self.0
    }
}

impl Deref for Genuine {
    type Target = Sealed;

    fn deref(&self) -> &Sealed {
        &self.0
    }
}

/// A peer may say what it likes; what is kept of it is bounded.
pub(crate) fn bounded(mut said: Advertisement) -> Advertisement {
    said.agent.truncate(said.agent.floor_char_boundary(MAX_AGENT));
    for names in [&mut said.tools, &mut said.labels] {
        if names.len() > MAX_NAMES || names.iter().any(|name| name.len() > MAX_NAME) {
            let short = |name: &String| name.len() <= MAX_NAME;
            *names = std::mem::take(names).into_iter().filter(short).take(MAX_NAMES).collect::<BTreeSet<_>>();
        }
    }
    said.addresses.retain(|address| address.len() <= MAX_ADDRESS);
    said.addresses.truncate(MAX_ADDRESSES);
    said
}

/// The addresses among these that can be dialled and do not name somebody else.
pub(crate) fn dialable(peer: &PeerId, addresses: &[String]) -> Vec<Arc<str>> {
    let mut kept: Vec<Arc<str>> = Vec::new();
    for text in addresses.iter().take(MAX_ADDRESSES) {
        let Ok(address) = text.parse::<Address>() else { continue };
        let others = address.peer.as_ref().is_some_and(|named| named != peer);
        if !others && !kept.iter().any(|known| **known == *address.text) {
            kept.push(address.text.into());
        }
    }
    kept
}

/// A number for a peer that is the same at every node, whatever it was built with (FNV-1a).
pub(crate) fn mark_of(peer: &PeerId) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    peer.as_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// A number for a record: what digests are sums of. The steps at the end are those of splitmix64.
pub(crate) fn mark_of_record(peer_mark: u64, sequence: u64) -> u64 {
    let mixed = peer_mark.wrapping_add(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
