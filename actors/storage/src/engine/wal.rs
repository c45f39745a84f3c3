//! Damage in the write-ahead log: what is normal after a crash and what is not.
//!
//! After power loss the log may end in a torn record, and behind the last fsync its pages may have reached the disk in
//! any order. All of that was never acknowledged as durable, and dropping it is right. A damaged record *before* the
//! last fsync is lost data. RocksDB alone cannot tell the two apart: its mode `PointInTime` stops silently at any
//! damage, `TolerateCorruptedTailRecords` accepts only an incomplete record at the end and refuses everything else.
//!
//! So each synced group also writes down up to which change the log was synced before it ([`crate::keys::SYNCED`], no extra
//! fsync). If the strict mode refuses the log, it is opened without changing it to see up to where it can be read, and
//! its bytes are searched for markers. If one lies beyond what can be read, synced data is damaged: an error.
//! Otherwise the database is opened as it was at the damage. A marker carries a check value made with the database's
//! own random identity, so that no payload can pass for one. What this cannot see: damage in the very last group,
//! which no later one vouches for, and a log that was cut off at its end.

use super::tuning::Tuning;
use bytes::{BufMut, Bytes, BytesMut};
use rocksdb::{DB, DBRecoveryMode, Error};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A sequence number and as long a check value.
const MARKER: usize = 16;
/// Key of a marker, then the length of its value: how it lies in the log.
const PATTERN: &[u8] = b"store/synced\x10";

/// What a damaged log means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Only what was never synced is damaged.
    TornTail,
    /// Synced changes are damaged: readable up to the first, known to be synced up to the second sequence number.
    SyncedDataDamaged {
        /// Last sequence number before the damage.
        readable: u64,
        /// Sequence number up to which the log was synced.
        synced: u64,
    },
}

/// Makes and recognises the markers of one database.
#[derive(Debug)]
pub(super) struct Markers {
    identity: Vec<u8>,
}

impl Markers {
    pub(super) fn of(db: &DB) -> Result<Self, Error> {
        Ok(Self { identity: db.get_db_identity()? })
    }

    /// The value that says: synced up to `sequence`.
    pub(super) fn value(&self, sequence: u64) -> Bytes {
        let mut value = BytesMut::with_capacity(MARKER);
        value.put_u64(sequence);
        value.put_slice(&self.check(sequence));
        value.freeze()
    }

    fn check(&self, sequence: u64) -> [u8; 8] {
        let mut hash = Sha256::new();
        hash.update(&self.identity);
        hash.update(sequence.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut check = [0; 8];
        check.copy_from_slice(&digest[..8]);
        check
    }

    /// The highest genuine marker among these bytes of a log; zero if there is none.
    fn newest_in(&self, log: &[u8]) -> u64 {
        let mut newest = 0;
        for window in log.windows(PATTERN.len() + MARKER) {
            if let Some(value) = window.strip_prefix(PATTERN) {
                newest = newest.max(self.read(value).unwrap_or(0));
            }
        }
        newest
    }

    fn read(&self, value: &[u8]) -> Option<u64> {
        let (sequence, check) = value.split_first_chunk::<8>()?;
        let sequence = u64::from_be_bytes(*sequence);
        (check == self.check(sequence)).then_some(sequence)
    }
}

/// Reads a damaged log without changing anything. `None` if the database cannot even be opened for reading: then it is
/// not the log alone that is damaged.
pub(super) fn judge(path: &Path, tuning: &Tuning, names: &[String]) -> io::Result<Option<Verdict>> {
    let options = tuning.recovering(DBRecoveryMode::PointInTime);
    let opened = DB::open_cf_descriptors_read_only(&options, path, tuning.families(names), false);
    let Ok((readable, markers)) = opened.and_then(|db| Ok((db.latest_sequence_number(), Markers::of(&db)?)))
    else {
        return Ok(None);
    };
    let mut synced = 0;
    for log in logs(path)? {
        // A log is bounded by `max_total_wal_bytes` and one group.
        synced = synced.max(markers.newest_in(&fs::read(log)?));
    }
    if synced > readable {
        return Ok(Some(Verdict::SyncedDataDamaged { readable, synced }));
    }
    Ok(Some(Verdict::TornTail))
}

/// The files of the log.
pub(crate) fn logs(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "log") {
            logs.push(file);
        }
    }
    logs.sort();
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    fn log_with(value: &[u8]) -> Vec<u8> {
        [b"before".as_slice(), PATTERN, value, b"behind"].concat()
    }

    #[test]
    fn the_newest_marker_is_found_anywhere_in_a_log() {
        let markers = Markers { identity: b"this one".to_vec() };
        let log =
            [log_with(&markers.value(7)), log_with(&markers.value(9)), log_with(&markers.value(8))].concat();
        assert_eq!(markers.newest_in(&log), 9);
        assert_eq!(markers.newest_in(b"nothing here"), 0);
    }

    #[test]
    fn a_payload_cannot_pass_for_a_marker() {
        let (ours, other) = (Markers { identity: b"this".to_vec() }, Markers { identity: b"that".to_vec() });
        assert_eq!(ours.newest_in(&log_with(&other.value(7))), 0);
        assert_eq!(ours.newest_in(&log_with(&[0xff; 16])), 0);
        assert_eq!(ours.newest_in(&log_with(b"cut off")), 0);
    }

    #[test]
    fn the_pattern_is_the_key_and_the_length_of_the_value() {
        assert_eq!(PATTERN.strip_prefix(keys::SYNCED), Some([16].as_slice()));
    }
}
