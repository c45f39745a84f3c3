//! A store in memory: what was committed to it, and artifacts.

use crate::workflow::definition::Workflow;
use crate::workflow::logic::doc::Doc;
use crate::workflow::logic::{Found, ReadPlan, Stored};
use crate::workflow::records::{
    EventRecord, HeaderRecord, active_range, event_key, event_range, header_key, read, read_active_key,
    read_event_key,
};
use bytes::Bytes;
use meshwork_proto::store::{Family, Scan, WriteOp};
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::{Cid, Json, RunId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entries, who pins which artifact, and the artifacts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    entries: BTreeMap<Bytes, Bytes>,
    pub(crate) pins: BTreeSet<(Cid, Bytes)>,
    pub(crate) artifacts: BTreeMap<Cid, Bytes>,
}

impl Disk {
    pub(crate) fn apply(&mut self, ops: &[WriteOp]) {
        for op in ops {
            match op {
                WriteOp::Put { family, key, value } => {
                    assert_eq!(*family, Family::Workflows, "the coordinator writes its own family only");
                    self.entries.insert(key.clone(), value.clone());
                }
                WriteOp::Delete { key, .. } => {
                    self.entries.remove(key);
                }
                WriteOp::Pin { cid, holder } => {
                    assert!(self.artifacts.contains_key(cid), "{cid} is pinned and was never stored");
                    self.pins.insert((*cid, holder.clone()));
                }
                WriteOp::Unpin { cid, holder } => {
                    self.pins.remove(&(*cid, holder.clone()));
                }
            }
        }
    }

    pub(crate) fn get(&self, key: &Bytes) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    /// How many entries begin with this letter.
    pub(crate) fn count(&self, letter: u8) -> usize {
        self.entries.keys().filter(|key| key.first() == Some(&letter)).count()
    }

    pub(crate) fn read(&self, plan: &ReadPlan) -> Found {
        match plan {
            ReadPlan::Range(scan) => Found::Entries(self.scan(scan)),
            ReadPlan::Keys(keys) => Found::Values(keys.iter().map(|key| self.get(key)).collect()),
        }
    }

    pub(crate) fn scan(&self, scan: &Scan) -> Vec<(Bytes, Bytes)> {
        let limit = scan.limit.min(10_000) as usize;
        let from = |key: &Bytes| match (scan.from.is_empty(), scan.reverse, scan.after) {
            (true, ..) => true,
            (false, false, false) => *key >= scan.from,
            (false, false, true) => *key > scan.from,
            (false, true, false) => *key <= scan.from,
            (false, true, true) => *key < scan.from,
        };
        let kept = self.entries.iter().filter(|(key, _)| from(key));
        let kept = kept.filter(|(key, _)| scan.to.as_ref().is_none_or(|to| *key < to));
        let mut all: Vec<_> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        if scan.reverse {
            all.reverse();
        }
        all.truncate(limit);
        all
    }

    /// Puts a document where it belongs.
    pub(crate) fn keep(&mut self, bytes: Bytes) -> Payload {
        if bytes.len() <= INLINE_LIMIT {
            return Payload::Inline(Json::from_checked(bytes));
        }
        let (cid, len) = (Cid::of(&bytes), bytes.len() as u64);
        self.artifacts.insert(cid, bytes);
        Payload::Stored { cid, len }
    }

    pub(crate) fn payload(&self, payload: &Payload) -> Json {
        match payload {
            Payload::Inline(json) => json.clone(),
            Payload::Stored { cid, .. } => {
                Json::from_checked(self.artifacts.get(cid).expect("an artifact").clone())
            }
        }
    }

    pub(crate) fn header(&self, run: RunId) -> Option<HeaderRecord> {
        self.get(&header_key(run)).map(|value| read(&value).unwrap())
    }

    pub(crate) fn event(&self, run: RunId, seq: u64) -> Option<EventRecord> {
        self.get(&event_key(run, seq)).map(|value| read(&value).unwrap())
    }

    pub(crate) fn events(&self, run: RunId) -> Vec<(u64, EventRecord)> {
        let entries = self.scan(&event_range(run, 0, 10_000));
        assert!(entries.len() < 10_000, "stories have fewer events");
        entries.iter().map(|(key, value)| (read_event_key(key).unwrap(), read(value).unwrap())).collect()
    }

    pub(crate) fn active(&self) -> Vec<RunId> {
        self.scan(&active_range(None, 10_000)).iter().map(|(key, _)| read_active_key(key).unwrap()).collect()
    }

    /// A document of a run, wherever it is.
    pub(crate) fn document(&self, run: RunId, doc: &Doc) -> Value {
        let payload = match doc {
            Doc::Inline(json) => return json.to_value(),
            Doc::Stored { cid, len } => Payload::Stored { cid: *cid, len: *len },
            Doc::Header { .. } => self.header(run).expect("a header").inputs,
            Doc::Event { seq, .. } => {
                let event = self.event(run, *seq).expect("an event that was acknowledged").event;
                event.payload().expect("a document").clone()
            }
        };
        self.payload(&payload).to_value()
    }

    pub(crate) fn stored(
        &self,
        run: RunId,
        compile: impl FnOnce(&HeaderRecord) -> Arc<Workflow>,
    ) -> Option<Stored> {
        let header = self.header(run)?;
        let workflow = compile(&header);
        Some(Stored { header, workflow, events: self.events(run) })
    }
}
