//! Gossip: what nodes pass on of one another, signed by whom it is about.
//!
//! A node's record is made and signed by itself; others carry it unchanged. What counts between two records of a node is
//! only its own sequence number: clocks of different machines are never compared. The age travels beside the record, so
//! that a record of a node that is gone grows old everywhere, however often it is passed on.

use super::Advertisement;
use crate::codec::Record;
use crate::{PeerId, Request};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most records in one exchange, each way.
pub const MAX_RECORDS: usize = 256;
/// Longest encoded record, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;
/// Most records asked for or listed in one exchange.
pub const MAX_LISTED: usize = 4096;
/// Parts into which a digest divides the peers.
pub const DIGEST_PARTS: usize = 64;
/// What a signature is made over begins with this: it can never be taken for a signature of something else.
pub const RECORD_DOMAIN: &[u8] = b"meshwork node record 1";

/// What a node says of itself to everybody in its mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Who.
    pub peer: PeerId,
    /// Strictly growing with each record of this node, also across its restarts.
    pub sequence: u64,
    /// It says goodbye: forget its addresses and what it offered.
    pub left: bool,
    /// What it offers, and its addresses.
    pub offers: Advertisement,
}

impl Record for NodeRecord {
    const KIND: &'static str = "node record";
    const VERSION: u8 = 1;
}

/// A record as it is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// The encoded [`NodeRecord`].
    pub record: Bytes,
    /// The signature of the peer it is about over [`RECORD_DOMAIN`] and `record`.
    pub signature: Bytes,
    /// Milliseconds since the record was new, as far as the sender knows.
    pub age_ms: u64,
}

/// The state of a set of records: one number for each part of the peers, equal at two nodes that know the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest(pub Vec<u64>);

/// Tells a peer news and compares what both know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// Records that the receiver may not know.
    pub records: Vec<SignedRecord>,
    /// What the sender knows altogether; none: only news, nothing to compare.
    pub digest: Option<Digest>,
    /// Records that the sender wants: they are newer at the receiver, as an answer before this said.
    pub want: Vec<PeerId>,
}

/// The answer to an [`Exchange`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exchanged {
    /// What was asked for.
    pub records: Vec<SignedRecord>,
    /// Where the digests differ: what is known here of those parts.
    pub known: Vec<KnownRecord>,
    /// How many of the records told were news.
    pub news: u32,
}

/// A record that a node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRecord {
    /// Of whom.
    pub peer: PeerId,
    /// Its sequence number.
    pub sequence: u64,
}

/// An exchange that came from an admitted peer.
#[derive(Debug, Clone)]
pub struct PeerExchange {
    /// From whom.
    pub from: PeerId,
    /// What.
    pub exchange: Exchange,
}

impl Request for PeerExchange {
    type Reply = Exchanged;
    const NAME: &'static str = "peer_exchange";
}

/// Signs records of this node and checks those of others. Pure functions of the node's key: no I/O.
pub trait Notary: Send + Sync {
    /// The signature of this node over a message.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;

    /// Whether the signature over the message is that of the peer.
    fn verify(&self, peer: &PeerId, message: &[u8], signature: &[u8]) -> bool;
}

/// The bytes that the signature of a record is made over.
#[must_use]
pub fn record_message(record: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(RECORD_DOMAIN.len() + record.len());
    message.extend_from_slice(RECORD_DOMAIN);
    message.extend_from_slice(record);
    message
}
