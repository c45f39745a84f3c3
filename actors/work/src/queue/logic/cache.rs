//! Specifications of recently submitted tasks, so that a claim soon after needs no read.

use crate::queue::records::SpecRecord;
use meshwork_proto::{Json, TaskId};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// A rough size of what surrounds the variable parts of a specification, in bytes.
const FIXED: u64 = 700;

/// A bounded cache; the oldest entries go first.
#[derive(Debug, Default)]
pub(crate) struct SpecCache {
    max: u64,
    used: u64,
    entries: HashMap<TaskId, (Rc<SpecRecord>, u64)>,
    /// In order of arrival; entries that were removed since are skipped.
    order: VecDeque<TaskId>,
}

impl SpecCache {
    /// At most about `max` bytes.
    pub(crate) fn new(max: u64) -> Self {
        Self { max, ..Self::default() }
    }

    pub(crate) fn insert(&mut self, id: TaskId, record: Rc<SpecRecord>) {
        let size = weight(&record);
        if size > self.max / 4 {
            return;
        }
        while self.used + size > self.max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(oldest);
        }
        if self.order.len() > 2 * self.entries.len() + 64 {
            self.order.retain(|id| self.entries.contains_key(id));
        }
        self.used += size;
        self.entries.insert(id, (record, size));
        self.order.push_back(id);
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Rc<SpecRecord>> {
        self.entries.get(&id).map(|(record, _)| record)
    }

    /// New metadata of a task.
    pub(crate) fn set_metadata(&mut self, id: TaskId, metadata: &Json) {
        let Some((mut record, _)) = self.take(id) else { return };
        Rc::make_mut(&mut record).spec.metadata = Some(metadata.clone());
        self.insert(id, record);
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Rc<SpecRecord>> {
        self.take(id).map(|(record, _)| record)
    }

    fn take(&mut self, id: TaskId) -> Option<(Rc<SpecRecord>, u64)> {
        let entry = self.entries.remove(&id)?;
        self.used -= entry.1;
        Some(entry)
    }
}

fn weight(record: &SpecRecord) -> u64 {
    let spec = &record.spec;
    let payload = match &spec.payload {
        meshwork_proto::task::Payload::Inline(json) => json.len(),
        meshwork_proto::task::Payload::Stored { .. } => 0,
    };
    let metadata = spec.metadata.as_ref().map_or(0, Json::len);
    let names = spec.labels.iter().map(|label| label.len() + 32).sum::<usize>() + spec.task_type.len() * 2;
    let ids = spec.target_peers.len() * 96 + spec.parents.len() * 16;
    FIXED + (payload + metadata + names + ids) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshwork_proto::task::TaskSpec;
    use meshwork_proto::{Cid, UnixMillis};

    fn record(text: &str) -> Rc<SpecRecord> {
        let payload = Json::from_value(&text.into());
        let cid = Cid::of(payload.bytes());
        let created = UnixMillis(1);
        Rc::new(SpecRecord { spec: TaskSpec::new("echo", payload, cid), submitter: None, created })
    }

    fn id(n: u8) -> TaskId {
        TaskId::from_bytes([n; 16])
    }

    #[test]
    fn it_stays_within_its_bound_and_forgets_the_oldest() {
        let mut cache = SpecCache::new(8000);
        for n in 0..100 {
            cache.insert(id(n), record("hello"));
        }
        assert!(cache.used <= 8000);
        assert!(cache.get(id(0)).is_none());
        assert!(cache.get(id(99)).is_some());
        cache.insert(id(200), record(&"x".repeat(5000)));
        assert!(cache.get(id(200)).is_none(), "what would push out everything else is not kept");
    }

    #[test]
    fn removed_entries_leave_nothing_behind() {
        let mut cache = SpecCache::new(1_000_000);
        for round in 0..1000_u32 {
            let n = u8::try_from(round % 200).unwrap();
            cache.insert(id(n), record("hello"));
            cache.remove(id(n));
        }
        assert_eq!((cache.used, cache.entries.len()), (0, 0));
        assert!(cache.order.len() < 200);
    }
}
