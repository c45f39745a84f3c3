//! Artifacts: bytes named by their content id, stored in pieces, verified as they arrive, collected when nobody needs
//! them.
//!
//! Large ones are written as several small groups, so that they never make the commits of others wait; a record says
//! how much of an artifact is there, in the same batch as each piece, so an exchange that was cut off (or a crash)
//! leaves a partial artifact that goes on where it stopped or is collected when nobody goes on with it. Only a whole
//! one, whose bytes have been checked against the id, can be read.
//!
//! An artifact is kept while anybody pins it, and for the grace time after it was stored or last unpinned.

mod collect;
mod keeper;

pub(crate) use collect::{CollectNow, Collector};
pub(crate) use keeper::{Keeper, KeeperParts};

use crate::engine::Engine;
use crate::keys;
use crate::records::{self, ArtifactRecord};
use bytes::{Bytes, BytesMut};
use meshwork_proto::Cid;
use meshwork_proto::artifact::{
    ARTIFACT_CHUNK, ArtifactError, ArtifactPiece, ArtifactPresence, ReadArtifact,
};
use meshwork_proto::store::{Family, StoreError};

/// What is known about an artifact.
fn record(engine: &Engine, cid: &Cid) -> Result<Option<ArtifactRecord>, StoreError> {
    let stored = engine.get(Family::Artifacts, &keys::artifact(cid))?;
    stored.map(|bytes| records::decode(&bytes)).transpose()
}

/// How much of an artifact is here.
pub(crate) fn presence(engine: &Engine, cid: &Cid) -> Result<ArtifactPresence, ArtifactError> {
    Ok(match record(engine, cid)? {
        None => ArtifactPresence::Absent,
        Some(record) if record.whole => ArtifactPresence::Whole { len: record.total_len },
        Some(record) => ArtifactPresence::Partial { have: record.have },
    })
}

/// Some bytes of a whole artifact.
pub(crate) fn read(engine: &Engine, read: &ReadArtifact) -> Result<ArtifactPiece, ArtifactError> {
    let cid = &read.cid;
    let record = record(engine, cid)?.filter(|record| record.whole).ok_or(ArtifactError::Unknown(*cid))?;
    let total_len = record.total_len;
    let wanted = usize::try_from(read.max_len).unwrap_or(ARTIFACT_CHUNK).min(ARTIFACT_CHUNK);
    let left = usize::try_from(total_len.saturating_sub(read.offset)).unwrap_or(ARTIFACT_CHUNK);
    match bytes_from(engine, cid, read.offset, wanted.min(left)) {
        Ok(bytes) => Ok(ArtifactPiece { total_len, bytes }),
        // It may have been collected since its record was read.
        Err(error) => match self::record(engine, cid)? {
            Some(record) if record.whole => Err(error.into()),
            _ => Err(ArtifactError::Unknown(*cid)),
        },
    }
}

/// `len` bytes from `offset`, out of as many stored pieces as it takes.
fn bytes_from(engine: &Engine, cid: &Cid, offset: u64, len: usize) -> Result<Bytes, StoreError> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    let mut gathered = BytesMut::new();
    while gathered.len() < len {
        let at = offset.saturating_add(gathered.len() as u64);
        let piece = bytes_at(engine, cid, at)?;
        let take = piece.len().min(len - gathered.len());
        if gathered.is_empty() && take == len {
            return Ok(piece.slice(..take));
        }
        gathered.extend_from_slice(&piece[..take]);
    }
    Ok(gathered.freeze())
}

/// The rest of the stored piece that holds the byte at `offset`; never empty.
fn bytes_at(engine: &Engine, cid: &Cid, offset: u64) -> Result<Bytes, StoreError> {
    let missing = || StoreError::Corrupt(format!("artifact {cid} has no bytes at offset {offset}"));
    let found =
        engine.last_at_or_before(Family::Artifacts, &keys::piece(cid, 0), &keys::piece(cid, offset))?;
    let (key, value) = found.ok_or_else(missing)?;
    let start = keys::piece_offset(&key).ok_or_else(missing)?;
    let skip = usize::try_from(offset.saturating_sub(start)).map_err(|_| missing())?;
    if skip >= value.len() {
        return Err(missing());
    }
    Ok(value.slice(skip..))
}
