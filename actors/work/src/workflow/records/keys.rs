//! Keys in the family `workflows`: a letter, and what orders the entries under it.

use bytes::Bytes;
use meshwork_proto::store::{Family, Scan};
use meshwork_proto::workflow::ParentStep;
use meshwork_proto::{PeerId, RunId, UnixMillis};

/// Length of an id in bytes.
const ID: usize = 16;
/// Length of a digest in bytes.
const DIGEST: usize = 32;

/// Key of a run's [`HeaderRecord`](super::HeaderRecord).
pub(crate) fn header_key(run: RunId) -> Bytes {
    tagged(b'h', run.as_bytes())
}

/// Key of an event: events of a run lie behind one another, in their order.
pub(crate) fn event_key(run: RunId, seq: u64) -> Bytes {
    let mut key = Vec::with_capacity(1 + ID + 8);
    key.push(b'e');
    key.extend_from_slice(run.as_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key.into()
}

/// The events of a run behind number `after`, at most `limit`.
pub(crate) fn event_range(run: RunId, after: u64, limit: u32) -> Scan {
    let end = event_key(run, u64::MAX);
    scan(event_key(run, after), true, Some(end), limit, false)
}

/// The number in an [`event_key`]; none if it is not one.
pub(crate) fn read_event_key(key: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(b"e")?.get(ID..)?;
    <[u8; 8]>::try_from(number).ok().map(u64::from_be_bytes)
}

/// Key that says that a run is unfinished.
pub(crate) fn active_key(run: RunId) -> Bytes {
    tagged(b'a', run.as_bytes())
}

/// The unfinished runs behind `after`.
pub(crate) fn active_range(after: Option<RunId>, limit: u32) -> Scan {
    forwards(b'a', after.map(active_key), limit)
}

/// The run of an [`active_key`].
pub(crate) fn read_active_key(key: &[u8]) -> Option<RunId> {
    key.strip_prefix(b"a").and_then(read_id)
}

/// Key of a [`SummaryRecord`](super::SummaryRecord).
pub(crate) fn summary_key(run: RunId) -> Bytes {
    tagged(b's', run.as_bytes())
}

/// Summaries, newest first, before `before`.
pub(crate) fn summary_range(before: Option<RunId>, limit: u32) -> Scan {
    let after = before.is_some();
    let from = before.map_or_else(|| Bytes::from_static(&[b's' + 1]), summary_key);
    scan(from, after, None, limit, true)
}

/// The run of a [`summary_key`]; none if it is not one.
pub(crate) fn read_summary_key(key: &[u8]) -> Option<RunId> {
    key.strip_prefix(b"s").and_then(read_id)
}

/// Key that orders finished runs by when they ended.
pub(crate) fn finish_key(finished: UnixMillis, run: RunId) -> Bytes {
    timed(b'f', finished, run.as_bytes())
}

/// The runs that ended first.
pub(crate) fn finish_range(limit: u32) -> Scan {
    forwards(b'f', None, limit)
}

/// The parts of a [`finish_key`].
pub(crate) fn read_finish_key(key: &[u8]) -> Option<(UnixMillis, RunId)> {
    let (time, id) = key.strip_prefix(b"f")?.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*time)), read_id(id)?))
}

/// Key of an idempotency key. Every submitter has its own; runs that are part of another run have those of that run,
/// whoever coordinates it.
pub(crate) fn key_key(submitter: Option<&PeerId>, parent: Option<&ParentStep>, key: &str) -> Bytes {
    let mut bytes = vec![b'i'];
    match parent {
        // No peer id begins so.
        Some(parent) => {
            bytes.push(1);
            bytes.extend_from_slice(parent.run.as_bytes());
        }
        None => bytes.extend_from_slice(submitter.map_or(&[][..], |peer| peer.as_str().as_bytes())),
    }
    bytes.push(0);
    bytes.extend_from_slice(key.as_bytes());
    bytes.into()
}

/// Key of a [`PureRecord`](super::PureRecord).
pub(crate) fn pure_key(digest: &[u8; DIGEST]) -> Bytes {
    tagged(b'p', digest)
}

/// Key that orders results of pure steps by when they were made.
pub(crate) fn pure_age_key(at: UnixMillis, digest: &[u8; DIGEST]) -> Bytes {
    timed(b'q', at, digest)
}

/// The oldest results of pure steps.
pub(crate) fn pure_age_range(limit: u32) -> Scan {
    forwards(b'q', None, limit)
}

/// The parts of a [`pure_age_key`].
pub(crate) fn read_pure_age_key(key: &[u8]) -> Option<(UnixMillis, [u8; DIGEST])> {
    let (time, digest) = key.strip_prefix(b"q")?.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*time)), digest.try_into().ok()?))
}

/// Key of the counts.
pub(crate) fn counts_key() -> Bytes {
    Bytes::from_static(b"c")
}

/// Who holds a run's artifacts.
pub(crate) fn holder(run: RunId) -> Bytes {
    tagged(b'w', run.as_bytes())
}

/// Who holds the artifact of a pure step's result.
pub(crate) fn pure_holder(digest: &[u8; DIGEST]) -> Bytes {
    tagged(b'p', digest)
}

fn forwards(tag: u8, after: Option<Bytes>, limit: u32) -> Scan {
    let from_start = after.is_none();
    let from = after.unwrap_or_else(|| Bytes::copy_from_slice(&[tag]));
    scan(from, !from_start, Some(Bytes::copy_from_slice(&[tag + 1])), limit, false)
}

fn scan(from: Bytes, after: bool, to: Option<Bytes>, limit: u32, reverse: bool) -> Scan {
    Scan { family: Family::Workflows, from, after, to, limit, reverse }
}

fn tagged(tag: u8, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key.into()
}

fn timed(tag: u8, time: UnixMillis, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(9 + rest.len());
    key.push(tag);
    key.extend_from_slice(&time.0.to_be_bytes());
    key.extend_from_slice(rest);
    key.into()
}

fn read_id(bytes: &[u8]) -> Option<RunId> {
    <[u8; ID]>::try_from(bytes).ok().map(RunId::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    #[test]
    fn keys_read_back_and_sort_as_they_should() {
        assert_eq!(read_event_key(&event_key(id(1), 7)), Some(7));
        assert!(event_key(id(1), 255) < event_key(id(1), 256) && event_key(id(1), 256) < event_key(id(2), 0));
        assert_eq!(read_active_key(&active_key(id(3))), Some(id(3)));
        assert_eq!(read_summary_key(&summary_key(id(3))), Some(id(3)));
        assert_eq!(read_summary_key(&active_key(id(3))), None);
        assert_eq!(read_finish_key(&finish_key(UnixMillis(5), id(3))), Some((UnixMillis(5), id(3))));
        assert!(finish_key(UnixMillis(5), id(9)) < finish_key(UnixMillis(6), id(1)));
        assert_eq!(read_pure_age_key(&pure_age_key(UnixMillis(5), &[7; 32])), Some((UnixMillis(5), [7; 32])));
    }

    #[test]
    fn idempotency_keys_of_submitters_and_of_parents_never_meet() {
        let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let parent = |run: u8| ParentStep { peer: peer.clone(), run: id(run), step: "s".into(), depth: 1 };
        let keys = [
            key_key(None, None, "k"),
            key_key(Some(&peer), None, "k"),
            key_key(None, Some(&parent(1)), "k"),
            key_key(None, Some(&parent(2)), "k"),
        ];
        let distinct: std::collections::BTreeSet<&Bytes> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        let same = key_key(Some(&peer), Some(&parent(1)), "k");
        assert_eq!(same, keys[2], "a run finds the parts it started before it moved to another peer");
    }
}
