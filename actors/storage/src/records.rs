//! Records that the store itself keeps, each with its version byte.

use bytes::Bytes;
use meshwork_proto::UnixMillis;
use meshwork_proto::codec::{self, CodecError, Record};
use meshwork_proto::store::StoreError;
use serde::{Deserialize, Serialize};

/// Newest format of the database that this program knows. Raised when older programs would misread it.
pub const FORMAT: u32 = 1;

/// Which format the database has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormatRecord {
    pub(crate) format: u32,
    pub(crate) created_at: UnixMillis,
}

/// Raised durably at each start; fences carry it, so none is ever used twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) epoch: u32,
}

/// What is known about an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArtifactRecord {
    /// Length of the whole.
    pub(crate) total_len: u64,
    /// Bytes held, from the start.
    pub(crate) have: u64,
    /// Verified and readable; otherwise an exchange is under way.
    pub(crate) whole: bool,
    /// When it was stored, or the last piece came.
    pub(crate) stored_at: UnixMillis,
}

/// Sums over all artifacts, written with every change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRecord {
    /// Bytes of whole artifacts.
    pub(crate) whole_bytes: u64,
    /// Number of whole artifacts.
    pub(crate) whole: u64,
    /// Bytes of artifacts that are not yet whole.
    pub(crate) partial_bytes: u64,
}

impl UsageRecord {
    /// Bytes that count against the quota.
    pub(crate) fn bytes(&self) -> u64 {
        self.whole_bytes.saturating_add(self.partial_bytes)
    }

    /// Adds what a record stands for.
    pub(crate) fn add(&mut self, record: &ArtifactRecord) {
        if record.whole {
            self.whole = self.whole.saturating_add(1);
            self.whole_bytes = self.whole_bytes.saturating_add(record.total_len);
        } else {
            self.partial_bytes = self.partial_bytes.saturating_add(record.have);
        }
    }

    /// Takes away what a record stands for.
    pub(crate) fn remove(&mut self, record: &ArtifactRecord) {
        if record.whole {
            self.whole = self.whole.saturating_sub(1);
            self.whole_bytes = self.whole_bytes.saturating_sub(record.total_len);
        } else {
            self.partial_bytes = self.partial_bytes.saturating_sub(record.have);
        }
    }
}

/// A holder needs an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinRecord {
    pub(crate) pinned_at: UnixMillis,
}

/// A holder needs an artifact no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpinnedRecord {
    pub(crate) at: UnixMillis,
}

macro_rules! first_version {
    ($($record:ident = $kind:literal,)*) => {
        $(impl Record for $record {
            const KIND: &'static str = $kind;
            const VERSION: u8 = 1;
        })*
    };
}

first_version! {
    FormatRecord = "store format",
    EpochRecord = "store epoch",
    ArtifactRecord = "artifact",
    UsageRecord = "artifact usage",
    PinRecord = "artifact pin",
    UnpinnedRecord = "artifact unpin",
}

/// The stored form.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Bytes, StoreError> {
    codec::encode(record).map(Bytes::from).map_err(|error| damaged(&error))
}

/// Reads the stored form.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    codec::decode(bytes).map_err(|error| damaged(&error))
}

fn damaged(error: &CodecError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back() {
        let record = ArtifactRecord { total_len: 10, have: 4, whole: false, stored_at: UnixMillis(7) };
        assert_eq!(decode::<ArtifactRecord>(&encode(&record).unwrap()).unwrap(), record);
        let usage = UsageRecord { whole_bytes: u64::MAX, whole: 1, partial_bytes: 2 };
        assert_eq!(decode::<UsageRecord>(&encode(&usage).unwrap()).unwrap(), usage);
    }

    #[test]
    fn a_record_of_a_newer_version_is_an_error_that_names_both() {
        let mut bytes = encode(&EpochRecord { epoch: 3 }).unwrap().to_vec();
        bytes[0] = 9;
        let error = decode::<EpochRecord>(&bytes).unwrap_err().to_string();
        assert!(error.contains('9') && error.contains('1'), "{error}");
    }

    #[test]
    fn usage_neither_overflows_nor_goes_below_zero() {
        let record = ArtifactRecord { total_len: 5, have: 5, whole: true, stored_at: UnixMillis(0) };
        let mut usage = UsageRecord::default();
        usage.remove(&record);
        assert_eq!(usage, UsageRecord::default());
        usage.whole_bytes = u64::MAX;
        usage.add(&record);
        assert_eq!(usage.bytes(), u64::MAX);
    }
}
