//! Documents that expressions read, parsed once: a hundred items that read the same result must not parse it a hundred
//! times.

use crate::workflow::logic::doc::Doc;
use meshwork_proto::{Cid, Json, RunId};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What surrounds a parsed document, in bytes.
const FIXED: u64 = 128;
/// How much larger than its text a parsed document is taken to be.
const FACTOR: u64 = 4;

/// Where a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Event(RunId, u64),
    Header(RunId),
    Artifact(Cid),
}

/// A bounded cache of parsed documents; the oldest go first.
#[derive(Debug)]
pub(super) struct Documents(RefCell<Cache>);

#[derive(Debug, Default)]
struct Cache {
    max: u64,
    used: u64,
    entries: HashMap<Place, (Arc<Value>, u64)>,
    order: VecDeque<Place>,
}

impl Documents {
    /// At most about `max` bytes.
    pub(super) fn new(max: u64) -> Self {
        Self(RefCell::new(Cache { max, ..Cache::default() }))
    }

    /// A document that is at hand.
    pub(super) fn get(&self, run: RunId, doc: &Doc) -> Option<Arc<Value>> {
        match doc {
            Doc::Inline(json) => Some(Arc::new(json.to_value())),
            other => place(run, other)
                .and_then(|place| self.0.borrow().entries.get(&place).map(|(value, _)| Arc::clone(value))),
        }
    }

    /// Keeps a document that was read, and gives it parsed.
    pub(super) fn keep(&self, run: RunId, doc: &Doc, json: &Json) -> Arc<Value> {
        let value = Arc::new(json.to_value());
        if let Some(place) = place(run, doc) {
            self.0.borrow_mut().insert(place, Arc::clone(&value), json.len() as u64 * FACTOR + FIXED);
        }
        value
    }
}

impl Cache {
    fn insert(&mut self, place: Place, value: Arc<Value>, size: u64) {
        if size > self.max / 2 || self.entries.contains_key(&place) {
            return;
        }
        while self.used + size > self.max {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, size)) = self.entries.remove(&oldest) {
                self.used = self.used.saturating_sub(size);
            }
        }
        self.used += size;
        self.entries.insert(place, (value, size));
        self.order.push_back(place);
    }
}

fn place(run: RunId, doc: &Doc) -> Option<Place> {
    match doc {
        Doc::Inline(_) => None,
        Doc::Event { seq, .. } => Some(Place::Event(run, *seq)),
        Doc::Header { .. } => Some(Place::Header(run)),
        Doc::Stored { cid, .. } => Some(Place::Artifact(*cid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Doc {
        Doc::Event { seq, len: 0 }
    }

    #[test]
    fn it_stays_within_its_bound_and_forgets_the_oldest() {
        let (documents, run) = (Documents::new(100_000), RunId::from_bytes([1; 16]));
        let json = Json::from_value(&"x".repeat(2000).into());
        for seq in 0..100 {
            documents.keep(run, &event(seq), &json);
        }
        assert!(documents.0.borrow().used <= 100_000);
        assert!(documents.get(run, &event(0)).is_none());
        assert_eq!(documents.get(run, &event(99)).as_deref(), Some(&json.to_value()));
        assert!(
            documents.get(RunId::from_bytes([2; 16]), &event(99)).is_none(),
            "numbers are those of a run"
        );
    }
}
