//! Keys of the records that the store itself owns.
//!
//! In [`Family::Meta`](meshwork_proto::store::Family::Meta) its keys begin with `store/`. In
//! [`Family::Artifacts`](meshwork_proto::store::Family::Artifacts) the first byte says what the record is; a binary
//! CID follows, which ends itself (its lengths are part of it), so no key of one artifact is a prefix of another's:
//!
//! - `a` cid: what is known about the artifact
//! - `c` cid, offset (u64 big-endian): the bytes from that offset
//! - `p` cid, holder: a pin
//! - `u` cid: when it was last unpinned

use bytes::{BufMut, Bytes, BytesMut};
use meshwork_proto::Cid;

/// First bytes of the store's own keys in the family `meta`; nobody else may write them.
pub(crate) const OWN_META: &[u8] = b"store/";
/// Format of the database.
pub(crate) const FORMAT: &[u8] = b"store/format";
/// Raised at each start.
pub(crate) const EPOCH: &[u8] = b"store/epoch";
/// Sequence number up to which the log is known to be synced: it tells damage from a torn tail.
pub(crate) const SYNCED: &[u8] = b"store/synced";
/// Sums over all artifacts.
pub(crate) const USAGE: &[u8] = b"store/artifact_usage";

pub(crate) const ARTIFACT: u8 = b'a';
const PIECE: u8 = b'c';
const PIN: u8 = b'p';
pub(crate) const UNPINNED: u8 = b'u';

fn of(kind: u8, cid: &Cid, rest: &[u8]) -> Bytes {
    let cid = cid.to_bytes();
    let mut key = BytesMut::with_capacity(1 + cid.len() + rest.len());
    key.put_u8(kind);
    key.put_slice(&cid);
    key.put_slice(rest);
    key.freeze()
}

/// Key of an artifact's record.
pub(crate) fn artifact(cid: &Cid) -> Bytes {
    of(ARTIFACT, cid, &[])
}

/// Key of the bytes that begin at `offset`.
pub(crate) fn piece(cid: &Cid, offset: u64) -> Bytes {
    of(PIECE, cid, &offset.to_be_bytes())
}

/// Offset in a key made by [`piece`].
pub(crate) fn piece_offset(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|offset| u64::from_be_bytes(*offset))
}

/// First key after all pieces of an artifact.
pub(crate) fn pieces_end(cid: &Cid) -> Bytes {
    // No piece begins at the last offset there is.
    piece(cid, u64::MAX)
}

/// Key of one holder's pin.
pub(crate) fn pin(cid: &Cid, holder: &[u8]) -> Bytes {
    of(PIN, cid, holder)
}

/// First bytes of all pins of an artifact.
pub(crate) fn pins(cid: &Cid) -> Bytes {
    of(PIN, cid, &[])
}

/// Key of the time of the last unpin.
pub(crate) fn unpinned(cid: &Cid) -> Bytes {
    of(UNPINNED, cid, &[])
}

/// The CID in a key made by [`artifact`] or [`unpinned`].
pub(crate) fn cid_of(key: &[u8]) -> Option<Cid> {
    Cid::from_bytes(key.get(1..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_sort_by_offset_and_stay_below_their_end() {
        let cid = Cid::of(b"x");
        let offsets = [0, 1, 255, 256, 1 << 40, u64::MAX - 1];
        let keys: Vec<Bytes> = offsets.iter().map(|offset| piece(&cid, *offset)).collect();
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| *key < pieces_end(&cid)));
        for (key, offset) in keys.iter().zip(offsets) {
            assert_eq!(piece_offset(key), Some(offset));
        }
    }

    #[test]
    fn an_artifact_key_names_its_cid() {
        let cid = Cid::of(b"x");
        assert_eq!(cid_of(&artifact(&cid)), Some(cid));
        assert_eq!(cid_of(&unpinned(&cid)), Some(cid));
        assert_eq!(cid_of(b"a"), None);
        assert_eq!(cid_of(b""), None);
    }
}
