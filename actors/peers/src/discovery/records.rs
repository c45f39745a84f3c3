//! What discovery keeps in the store (family `peers`), so that a node finds its mesh again by itself after a restart.
//!
//! | key | value |
//! |---|---|
//! | `p` peer id | [`PeerRecord`]: one peer of the book, with the record it signed |
//! | `own` | [`OwnRecord`]: the last number this node has signed with |
//!
//! A record that is damaged is skipped; one that a newer meshwork wrote is left alone, and never written over.

use super::book::{Entry, KnownAddress};
use super::gossip::{Genuine, MAX_ADDRESSES, Sealed};
use bytes::Bytes;
use meshwork_proto::codec::{self, CodecError, Record};
use meshwork_proto::discovery::{Notary, SignedRecord, Source};
use meshwork_proto::store::{Family, WriteOp};
use meshwork_proto::{PeerId, Role, UnixMillis};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const OWN: &[u8] = b"own";
const PEER: u8 = b'p';

/// A peer of the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    /// Its addresses.
    pub(crate) addresses: Vec<AddressRecord>,
    /// By whom it was found, and when each said so last, on the clock of this node then.
    pub(crate) confirmed: Vec<(Source, UnixMillis)>,
    /// As which it was admitted last.
    pub(crate) role: Option<Role>,
    /// One side refused the other last.
    pub(crate) refused: bool,
    /// The operator has revoked it.
    pub(crate) revoked: bool,
    /// When it said goodbye.
    pub(crate) left: Option<UnixMillis>,
    /// What it signed.
    pub(crate) signed: Option<SignedByPeer>,
}

/// An address of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressRecord {
    /// Without the peer's own id.
    pub(crate) text: String,
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

/// A record as its peer signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedByPeer {
    /// The encoded record.
    pub(crate) record: Bytes,
    /// Its signature.
    pub(crate) signature: Bytes,
    /// When it was new, on the clock of this node then.
    pub(crate) new_at: UnixMillis,
}

/// What this node must remember of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnRecord {
    /// The last number it has signed a record with.
    pub(crate) sequence: u64,
}

impl Record for PeerRecord {
    const KIND: &'static str = "peer";
    const VERSION: u8 = 1;
}

impl Record for OwnRecord {
    const KIND: &'static str = "own number";
    const VERSION: u8 = 1;
}

/// The change that writes a peer down.
///
/// # Errors
/// When it cannot be encoded.
pub(crate) fn put(
    peer: &PeerId,
    entry: &Entry,
    signed: Option<(&Genuine, UnixMillis)>,
) -> Result<WriteOp, CodecError> {
    let address = |known: &KnownAddress| AddressRecord {
        text: known.text.to_string(),
        source: known.source,
        learned: known.learned,
        confirmed: known.confirmed,
        successes: known.successes,
        failures: known.failures,
    };
    let signed = signed.map(|(genuine, new_at)| {
        let SignedRecord { record, signature, .. } = genuine.signed(0);
        SignedByPeer { record, signature, new_at }
    });
    let record = PeerRecord {
        addresses: entry.addresses.iter().map(address).collect(),
        confirmed: entry.confirmed.clone(),
        role: entry.role,
        refused: entry.refused,
        revoked: entry.shut_out == Some(true),
        left: entry.left,
        signed,
    };
    let value = codec::encode(&record)?.into();
    Ok(WriteOp::Put { family: Family::Peers, key: peer_key(peer), value })
}

/// The change that takes a peer away.
pub(crate) fn delete(peer: &PeerId) -> WriteOp {
    WriteOp::Delete { family: Family::Peers, key: peer_key(peer) }
}

/// The change that writes the last number down.
///
/// # Errors
/// When it cannot be encoded.
pub(crate) fn put_own(sequence: u64) -> Result<WriteOp, CodecError> {
    let value = codec::encode(&OwnRecord { sequence })?.into();
    Ok(WriteOp::Put { family: Family::Peers, key: Bytes::from_static(OWN), value })
}

fn peer_key(peer: &PeerId) -> Bytes {
    let mut key = vec![PEER];
    key.extend_from_slice(peer.as_str().as_bytes());
    key.into()
}

/// A peer as it was read.
#[derive(Debug)]
pub(crate) struct ReadPeer {
    pub(crate) peer: PeerId,
    pub(crate) entry: Entry,
    pub(crate) record: Option<(Genuine, UnixMillis)>,
}

/// A page of what is stored.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) peers: Vec<ReadPeer>,
    /// The last number that this node has signed with.
    pub(crate) own: Option<u64>,
    /// What is wrong with each entry that cannot be read.
    pub(crate) damaged: Vec<String>,
    /// Entries that a newer meshwork wrote.
    pub(crate) newer: Vec<PeerId>,
}

/// Reads a page. Signatures are checked again: what is passed on must be right, and disks are not always.
pub(crate) fn read(entries: &[(Bytes, Bytes)], notary: &dyn Notary) -> Page {
    let mut page = Page::default();
    for (key, value) in entries {
        if *key == OWN {
            match codec::decode::<OwnRecord>(value) {
                Ok(own) => page.own = Some(own.sequence),
                Err(error) => page.damaged.push(error.to_string()),
            }
            continue;
        }
        let Some(peer) = read_key(key) else {
            page.damaged.push(format!("a key of {} bytes names no peer", key.len()));
            continue;
        };
        match codec::decode::<PeerRecord>(value) {
            Ok(record) => page.peers.push(read_peer(peer, record, notary)),
            Err(CodecError::UnknownVersion { found, supported, .. }) if found > supported => {
                page.newer.push(peer);
            }
            Err(error) => page.damaged.push(format!("{peer}: {error}")),
        }
    }
    page
}

fn read_key(key: &[u8]) -> Option<PeerId> {
    let (tag, id) = key.split_first()?;
    if *tag != PEER {
        return None;
    }
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn read_peer(peer: PeerId, stored: PeerRecord, notary: &dyn Notary) -> ReadPeer {
    let address = |known: AddressRecord| KnownAddress {
        text: known.text.into(),
        source: known.source,
        learned: known.learned,
        confirmed: known.confirmed,
        successes: known.successes,
        failures: known.failures,
    };
    let entry = Entry {
        addresses: stored.addresses.into_iter().take(MAX_ADDRESSES).map(address).collect(),
        confirmed: stored.confirmed,
        role: stored.role,
        refused: stored.refused,
        // A ban for a time ends with the process that counted it; the transport knows of one that has not ended.
        shut_out: stored.revoked.then_some(true),
        left: stored.left,
        ..Entry::default()
    };
    let record = stored.signed.and_then(|SignedByPeer { record, signature, new_at }| {
        let sealed = Sealed::read(&SignedRecord { record, signature, age_ms: 0 }).ok()?;
        let genuine = Genuine::check(Arc::new(sealed), notary)?;
        (genuine.peer == peer).then_some((genuine, new_at))
    });
    ReadPeer { peer, entry, record }
}
