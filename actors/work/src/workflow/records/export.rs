//! Everything of a run as one document: what goes to the peer that takes its coordination over.
//!
//! One version byte, then records, each behind its length (u32, little-endian): the header, and the events from number 1
//! on. Large documents are named in them by their content ids, and fetched by those.

use super::{Event, EventRecord, HeaderRecord, read};
use bytes::{BufMut, Bytes, BytesMut};
use meshwork_proto::codec::{self, Record};
use meshwork_proto::store::{MAX_COMMIT_OPS, StoreError};
use meshwork_proto::task::Payload;
use std::collections::BTreeMap;

/// Version of the format.
const VERSION: u8 = 1;
/// Largest export, in bytes: the store takes all of it in one commit.
/// The rest of that is for keys and for pins: a hundred bytes for each change, and more than they need.
pub(crate) const MAX_EXPORT: u64 = 48 * 1024 * 1024;
/// Most changes that the events of an export make, for the same reason. Who takes it over has some more to write, and what it
/// knows of the run from before to delete.
const MAX_CHANGES: usize = MAX_COMMIT_OPS - 1000;

/// Everything of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    /// What was submitted.
    pub header: HeaderRecord,
    /// What happened, with its number.
    pub events: Vec<(u64, EventRecord)>,
}

impl Export {
    /// What is given away of a run. That it was sent is for who sends it, who knows it when it starts anew.
    pub(crate) fn of(header: HeaderRecord, mut events: Vec<(u64, EventRecord)>) -> Self {
        if matches!(events.last(), Some((_, EventRecord { event: Event::Exported, .. }))) {
            events.pop();
        }
        Self { header, events }
    }

    /// Changes that its events make in the store, if one commit does not have room for them; with the most it has.
    pub(crate) fn too_many_changes(&self) -> Option<(usize, usize)> {
        let stored = |(_, record): &(u64, EventRecord)| {
            let pins = record.event.payload().is_some_and(|payload| payload.stored_cid().is_some());
            1 + usize::from(pins)
        };
        let changes = self.events.iter().map(stored).sum();
        (changes > MAX_CHANGES).then_some((changes, MAX_CHANGES))
    }

    /// The document.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub(crate) fn encode(&self) -> Result<Bytes, StoreError> {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        append(&mut out, &self.header)?;
        for (_, event) in &self.events {
            append(&mut out, event)?;
        }
        Ok(out.freeze())
    }

    /// Reads the document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |problem: String| StoreError::Corrupt(format!("history of a workflow run: {problem}"));
        let (version, mut rest) = match bytes.split_first() {
            Some((version, rest)) => (*version, rest),
            None => return Err(corrupt("it has 0 bytes".into())),
        };
        if version != VERSION {
            return Err(corrupt(format!("it has version {version}, this build reads version {VERSION}")));
        }
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let Some((len, behind)) = rest.split_first_chunk::<4>() else {
                return Err(corrupt("it ends within a length".into()));
            };
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let Some((frame, behind)) = behind.split_at_checked(len) else {
                return Err(corrupt("it ends within a record".into()));
            };
            frames.push(frame);
            rest = behind;
        }
        let Some((header, events)) = frames.split_first() else {
            return Err(corrupt("it has no header".into()));
        };
        let header = read(header)?;
        let events = (1..).zip(events).map(|(seq, event)| Ok((seq, read(event)?)));
        Ok(Self { header, events: events.collect::<Result<_, StoreError>>()? })
    }

    /// The artifacts that it names, with their lengths.
    pub(crate) fn artifacts(&self) -> BTreeMap<meshwork_proto::Cid, u64> {
        let own = [&self.header.definition, &self.header.inputs];
        let events = self.events.iter().filter_map(|(_, record)| record.event.payload());
        let stored = own.into_iter().chain(events).filter_map(|payload| match payload {
            Payload::Stored { cid, len } => Some((*cid, *len)),
            Payload::Inline(_) => None,
        });
        stored.collect()
    }
}

fn append<R: Record>(out: &mut BytesMut, record: &R) -> Result<(), StoreError> {
    let bytes = codec::encode(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let len = u32::try_from(bytes.len()).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    out.put_u32_le(len);
    out.put_slice(&bytes);
    Ok(())
}
