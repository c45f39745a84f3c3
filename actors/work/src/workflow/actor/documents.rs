//! Documents that expressions read, read and parsed once: a hundred items that read the same result must not do it a
//! hundred times.
//!
//! Whoever needs a document that is being read waits for that read. What an evaluation needs is brought together and held
//! until it is done, so that documents that push one another out of the cache hold nobody up; how much is brought at a
//! time is bounded as the cache is.

use super::stored::Reader;
use crate::workflow::logic::doc::Doc;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared, WeakShared};
use meshwork_proto::{Cid, ErrorCode, Json, MeshError, RunId};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What surrounds a parsed document, in bytes.
const FIXED: u64 = 128;
/// How much larger than its text a parsed document is taken to be before it is there.
const FACTOR: u64 = 4;
/// Bytes of a place for documents that are brought.
const PLACE: u64 = 1024;
/// Longer documents are parsed on a thread for work that takes long.
const ASIDE: usize = 256 * 1024;

/// Where a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Event(RunId, u64),
    Header(RunId),
    Artifact(Cid),
}

/// What an evaluation reads, held for it.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    pub(super) values: Vec<(Doc, Arc<Value>)>,
    _places: Option<OwnedSemaphorePermit>,
}

/// A document that cannot be had, or not now.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) doc: Doc,
    pub(super) error: MeshError,
}

type Bringing = LocalBoxFuture<'static, Result<Rc<Bundle>, Missing>>;
type Reading = LocalBoxFuture<'static, Result<Arc<Value>, MeshError>>;

/// A bounded cache of parsed documents, and those that are being read.
#[derive(Debug)]
pub(super) struct Documents {
    cache: RefCell<Cache>,
    /// What is being brought, by all that belongs to it.
    bundles: RefCell<HashMap<Vec<Place>, WeakShared<Bringing>>>,
    reading: RefCell<HashMap<Place, WeakShared<Reading>>>,
    places: Arc<Semaphore>,
    all_places: u32,
}

#[derive(Debug, Default)]
struct Cache {
    max: u64,
    used: u64,
    entries: HashMap<Place, Entry>,
    /// By when each was used last.
    order: BTreeMap<u64, Place>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    value: Arc<Value>,
    size: u64,
    used: u64,
}

impl Documents {
    /// At most about `max` bytes are kept, or one document that is larger; and as much is brought at a time.
    pub(super) fn new(max: u64) -> Self {
        let all_places = u32::try_from(max / PLACE).unwrap_or(u32::MAX / 2).max(1);
        Self {
            cache: RefCell::new(Cache { max, ..Cache::default() }),
            bundles: RefCell::default(),
            reading: RefCell::default(),
            places: Arc::new(Semaphore::new(all_places as usize)),
            all_places,
        }
    }

    /// A document that is at hand.
    pub(super) fn get(&self, run: RunId, doc: &Doc) -> Option<Arc<Value>> {
        match doc {
            Doc::Inline(json) => Some(Arc::new(json.to_value())),
            other => place(run, other).and_then(|place| self.cache.borrow_mut().get(place)),
        }
    }

    /// All that an evaluation reads. Whoever wants the same meanwhile shares it.
    pub(super) fn bring(self: &Rc<Self>, reader: &Reader, run: RunId, docs: Vec<Doc>) -> Shared<Bringing> {
        let key: Vec<Place> = docs.iter().filter_map(|doc| place(run, doc)).collect();
        let under_way = self.bundles.borrow().get(&key).and_then(WeakShared::upgrade);
        if let Some(bringing) = under_way {
            return bringing;
        }
        let (documents, reader, done) = (Rc::clone(self), reader.clone(), key.clone());
        let bringing = async move {
            let bundle = documents.bring_all(&reader, run, docs).await;
            documents.bundles.borrow_mut().remove(&done);
            bundle.map(Rc::new)
        };
        let bringing = bringing.boxed_local().shared();
        if let Some(weak) = bringing.downgrade() {
            self.bundles.borrow_mut().insert(key, weak);
        }
        bringing
    }

    async fn bring_all(
        self: &Rc<Self>,
        reader: &Reader,
        run: RunId,
        docs: Vec<Doc>,
    ) -> Result<Bundle, Missing> {
        let missing = docs.iter().filter(|doc| self.get(run, doc).is_none());
        let bytes: u64 = missing.map(|doc| doc.len().saturating_mul(FACTOR).saturating_add(FIXED)).sum();
        let places = u32::try_from(bytes.div_ceil(PLACE)).unwrap_or(u32::MAX).min(self.all_places);
        // For all of it at once: nobody waits for places while holding some.
        let places = Arc::clone(&self.places).acquire_many_owned(places).await.ok();
        let mut values = Vec::with_capacity(docs.len());
        for doc in docs {
            match self.one(reader, run, &doc).await {
                Ok(value) => values.push((doc, value)),
                Err(error) => return Err(Missing { doc, error }),
            }
        }
        Ok(Bundle { values, _places: places })
    }

    async fn one(self: &Rc<Self>, reader: &Reader, run: RunId, doc: &Doc) -> Result<Arc<Value>, MeshError> {
        if let Some(value) = self.get(run, doc) {
            return Ok(value);
        }
        let Some(place) = place(run, doc) else { return Ok(Arc::default()) };
        let under_way = self.reading.borrow().get(&place).and_then(WeakShared::upgrade);
        if let Some(reading) = under_way {
            return reading.await;
        }
        let (documents, reader, doc) = (Rc::clone(self), reader.clone(), doc.clone());
        let reading = async move {
            let value = documents.read(&reader, run, place, &doc).await;
            documents.reading.borrow_mut().remove(&place);
            value
        };
        let reading = reading.boxed_local().shared();
        if let Some(weak) = reading.downgrade() {
            self.reading.borrow_mut().insert(place, weak);
        }
        reading.await
    }

    async fn read(
        &self,
        reader: &Reader,
        run: RunId,
        place: Place,
        doc: &Doc,
    ) -> Result<Arc<Value>, MeshError> {
        let json = reader.document(run, doc).await?;
        let parsed = if json.len() > ASIDE {
            let parsed = reader.runtime.spawn_blocking(move || parse(&json)).await;
            parsed.map_err(|error| {
                MeshError::new(ErrorCode::Internal, format!("parsing ended early: {error}"))
            })?
        } else {
            parse(&json)
        };
        let (value, size) = parsed?;
        self.cache.borrow_mut().insert(place, Arc::clone(&value), size);
        Ok(value)
    }
}

impl Cache {
    fn get(&mut self, place: Place) -> Option<Arc<Value>> {
        let entry = self.entries.get_mut(&place)?;
        self.order.remove(&entry.used);
        entry.used = self.next;
        self.order.insert(self.next, place);
        self.next += 1;
        Some(Arc::clone(&entry.value))
    }

    /// Keeps a document; those that were not used for longest go. One that is larger than all of the cache stays alone:
    /// the items of a list are not worth less for being many.
    fn insert(&mut self, place: Place, value: Arc<Value>, size: u64) {
        if self.entries.contains_key(&place) {
            return;
        }
        while self.used + size > self.max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.used = self.used.saturating_sub(entry.size);
            }
        }
        self.used += size;
        self.order.insert(self.next, place);
        self.entries.insert(place, Entry { value, size, used: self.next });
        self.next += 1;
    }
}

/// A document, parsed, and the memory that it takes.
fn parse(json: &Json) -> Result<(Arc<Value>, u64), MeshError> {
    let value = json.parse().map_err(|error| {
        MeshError::new(ErrorCode::Corrupt, format!("a document of {} bytes is not JSON: {error}", json.len()))
    })?;
    let size = size_of(&value).saturating_add(FIXED);
    Ok((Arc::new(value), size))
}

/// Bytes of a parsed document in memory, roughly. (The depth of parsed documents is bounded by their parser.)
fn size_of(value: &Value) -> u64 {
    let inner: u64 = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(list) => list.iter().map(size_of).sum(),
        // A key, its text, and its share of the tree around it.
        Value::Object(members) => {
            members.iter().map(|(key, value)| key.len() as u64 + 48 + size_of(value)).sum::<u64>()
        }
    };
    inner + std::mem::size_of::<Value>() as u64
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

    fn keep(documents: &Documents, run: RunId, seq: u64, value: &Value) {
        let size = size_of(value);
        let place = place(run, &event(seq)).unwrap();
        documents.cache.borrow_mut().insert(place, Arc::new(value.clone()), size);
    }

    #[test]
    fn it_stays_within_its_bound_and_forgets_what_was_not_used_for_longest() {
        let (documents, run) = (Documents::new(100_000), RunId::from_bytes([1; 16]));
        let value = Value::from("x".repeat(8000));
        for seq in 0..100 {
            keep(&documents, run, seq, &value);
            assert!(documents.get(run, &event(0)).is_some(), "it is used all the time");
        }
        assert!(documents.cache.borrow().used <= 100_000);
        assert!(documents.get(run, &event(1)).is_none());
        assert_eq!(documents.get(run, &event(99)).as_deref(), Some(&value));
        assert!(
            documents.get(RunId::from_bytes([2; 16]), &event(99)).is_none(),
            "numbers are those of a run"
        );
    }

    #[test]
    fn a_document_that_is_larger_than_all_of_it_is_kept_alone() {
        let (documents, run) = (Documents::new(1_000), RunId::from_bytes([1; 16]));
        keep(&documents, run, 1, &Value::from("small"));
        keep(&documents, run, 2, &Value::from("x".repeat(5000)));
        assert!(documents.get(run, &event(1)).is_none() && documents.get(run, &event(2)).is_some());
        keep(&documents, run, 3, &Value::from("small"));
        assert!(documents.get(run, &event(2)).is_none() && documents.get(run, &event(3)).is_some());
        assert!(documents.cache.borrow().used < 1_000);
    }

    #[test]
    fn what_a_document_takes_is_what_is_in_it() {
        let numbers: Value = (0..1000).collect();
        assert!((32_000..40_000).contains(&size_of(&numbers)), "{}", size_of(&numbers));
        let text = Value::from("x".repeat(1000));
        assert!((1000..1100).contains(&size_of(&text)));
    }
}
