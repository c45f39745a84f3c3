//! One group of commits: what is in it, when it is full, whether waiting for more is worth it.

use crate::engine::RawOp;
use crate::keys;
use crate::options::StoreOptions;
use crate::records::{self, PinRecord, UnpinnedRecord};
use crate::writer::InternalWrite;
use meshwork_kit::{Envelope, Reply};
use meshwork_proto::UnixMillis;
use meshwork_proto::store::{Acknowledge, Commit, Family, StoreError, WriteOp};
use std::time::Duration;

/// Longest key in bytes.
const MAX_KEY: usize = 64 * 1024;
/// Largest commit in bytes: it must fit into the log as one record with room to spare.
const MAX_COMMIT: usize = meshwork_proto::store::MAX_COMMIT_BYTES;
/// Most changes in one commit.
const MAX_OPS: usize = meshwork_proto::store::MAX_COMMIT_OPS;
/// The part of an fsync's usual time for which it pays to look out for one more commit.
const WAIT_FRACTION: u32 = 8;

/// What bounds a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    max_ops: usize,
    max_bytes: usize,
    max_wait: Duration,
}

impl Limits {
    pub(crate) fn new(options: &StoreOptions) -> Self {
        Self {
            max_ops: options.group_max_ops.max(1),
            max_bytes: options.group_max_bytes.max(1),
            max_wait: options.group_wait.min(StoreOptions::MAX_GROUP_WAIT),
        }
    }

    /// Most changes, and most commits, in one group.
    pub(crate) fn max_ops(&self) -> usize {
        self.max_ops
    }

    /// Whether more commits are probably on their way, and worth the wait.
    ///
    /// `len` commits are in the group, `last` were in the one before; for `quiet` nothing has arrived, and the whole
    /// wait has lasted `waited`. An fsync usually takes `sync`.
    pub(crate) fn is_worth_waiting(
        &self,
        len: usize,
        last: usize,
        quiet: Duration,
        waited: Duration,
        sync: Duration,
    ) -> bool {
        let one_client = last <= 1;
        !one_client && len < last && quiet < sync / WAIT_FRACTION && waited < self.max_wait
    }
}

/// Commits that are written together.
#[derive(Default)]
pub(crate) struct Group {
    askers: Vec<Reply<Result<(), StoreError>>>,
    ops: Vec<RawOp>,
    bytes: usize,
    durable: bool,
}

impl Group {
    /// Number of commits.
    pub(crate) fn len(&self) -> usize {
        self.askers.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }

    pub(crate) fn ops(&self) -> &[RawOp] {
        &self.ops
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any of its commits waits for the fsync.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether another commit may join. The one that crosses the limit is still in.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.ops.len() < limits.max_ops && self.bytes < limits.max_bytes && self.askers.len() < limits.max_ops
    }

    pub(crate) fn push(&mut self, op: RawOp) {
        self.bytes = self.bytes.saturating_add(size(&op));
        self.ops.push(op);
    }

    /// Adds the changes of a commit; on an error the group is as before.
    pub(crate) fn join(&mut self, commit: Commit, now: UnixMillis) -> Result<(), StoreError> {
        let before = (self.ops.len(), self.bytes);
        for op in commit.ops {
            if let Err(error) = self.add(op, now) {
                self.ops.truncate(before.0);
                self.bytes = before.1;
                return Err(error);
            }
        }
        self.durable |= commit.acknowledge == Acknowledge::Durable;
        Ok(())
    }

    /// Who waits for the commit that has just joined.
    pub(crate) fn add_asker(&mut self, reply: Reply<Result<(), StoreError>>) {
        self.askers.push(reply);
    }

    /// Adds a write of the store's own, which was checked where it was made.
    pub(crate) fn join_internal(&mut self, envelope: Envelope<InternalWrite>) {
        let (write, reply) = envelope.into_parts();
        for op in write.ops {
            self.push(op);
        }
        self.durable |= write.acknowledge == Acknowledge::Durable;
        self.askers.push(reply);
    }

    /// Tells everyone how it went.
    pub(crate) fn answer(self, outcome: &Result<(), StoreError>) {
        for asker in self.askers {
            asker.send(outcome.clone());
        }
    }

    fn add(&mut self, op: WriteOp, now: UnixMillis) -> Result<(), StoreError> {
        let family = Family::Artifacts;
        match op {
            WriteOp::Put { family, key, value } => self.push(RawOp::Put { family, key, value }),
            WriteOp::Delete { family, key } => self.push(RawOp::Delete { family, key }),
            WriteOp::Pin { cid, holder } => {
                let value = records::encode(&PinRecord { pinned_at: now })?;
                self.push(RawOp::Put { family, key: keys::pin(&cid, &holder), value });
            }
            WriteOp::Unpin { cid, holder } => {
                let value = records::encode(&UnpinnedRecord { at: now })?;
                self.push(RawOp::Delete { family, key: keys::pin(&cid, &holder) });
                self.push(RawOp::Put { family, key: keys::unpinned(&cid), value });
            }
        }
        Ok(())
    }
}

fn size(op: &RawOp) -> usize {
    match op {
        RawOp::Put { key, value, .. } => key.len().saturating_add(value.len()),
        RawOp::Delete { key, .. } => key.len(),
        RawOp::DeleteRange { from, to, .. } => from.len().saturating_add(to.len()),
    }
}

/// Refuses what would harm the group or the store, so that a bad commit fails alone.
pub(crate) fn validate(commit: &Commit) -> Result<(), StoreError> {
    if commit.ops.len() > MAX_OPS {
        return refuse(format!("{} changes, at most {MAX_OPS} may be in one commit", commit.ops.len()));
    }
    let mut bytes = 0_usize;
    for op in &commit.ops {
        let (key, value) = match op {
            WriteOp::Put { family, key, value } => (own(*family, key)?, value.len()),
            WriteOp::Delete { family, key } => (own(*family, key)?, 0),
            WriteOp::Pin { holder, .. } | WriteOp::Unpin { holder, .. } => (holder.as_ref(), 0),
        };
        if key.len() > MAX_KEY {
            return refuse(format!("a key of {} bytes, at most {MAX_KEY} are allowed", key.len()));
        }
        bytes = bytes.saturating_add(key.len()).saturating_add(value);
    }
    if bytes > MAX_COMMIT {
        return refuse(format!(
            "{bytes} bytes, at most {MAX_COMMIT} may be in one commit: store them as an artifact"
        ));
    }
    Ok(())
}

/// The key, unless it belongs to the store itself.
fn own(family: Family, key: &[u8]) -> Result<&[u8], StoreError> {
    match family {
        Family::Artifacts => {
            refuse("artifacts are written through put_artifact, append_artifact, pin and unpin".into())
        }
        Family::Meta if key.starts_with(keys::OWN_META) => {
            refuse(format!("key {} of family meta is the store's own", String::from_utf8_lossy(key)))
        }
        _ => Ok(key),
    }
}

fn refuse<T>(why: String) -> Result<T, StoreError> {
    Err(StoreError::InvalidBatch(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use meshwork_proto::Cid;
    use meshwork_proto::store::Admission;

    fn commit(ops: Vec<WriteOp>) -> Commit {
        Commit { ops, acknowledge: Acknowledge::Durable, admission: Admission::New }
    }

    fn put(family: Family, key: &'static [u8], len: usize) -> WriteOp {
        WriteOp::Put { family, key: Bytes::from_static(key), value: Bytes::from(vec![0; len]) }
    }

    fn limits() -> Limits {
        Limits::new(&StoreOptions::at("x"))
    }

    #[test]
    fn an_idle_store_and_a_single_client_never_wait() {
        let sync = Duration::from_millis(1);
        for last in [0, 1] {
            assert!(!limits().is_worth_waiting(1, last, Duration::ZERO, Duration::ZERO, sync));
        }
    }

    #[test]
    fn a_group_smaller_than_the_last_waits_a_fraction_of_an_fsync_and_never_longer_than_the_limit() {
        let (sync, none) = (Duration::from_millis(8), Duration::ZERO);
        assert!(limits().is_worth_waiting(3, 8, none, none, sync));
        assert!(!limits().is_worth_waiting(8, 8, none, none, sync));
        assert!(!limits().is_worth_waiting(3, 8, Duration::from_millis(1), none, sync));
        assert!(!limits().is_worth_waiting(3, 8, none, Duration::from_millis(2), sync));
    }

    #[test]
    fn the_stores_own_keys_are_refused_and_others_of_the_same_family_are_not() {
        assert!(validate(&commit(vec![put(Family::Meta, b"store/epoch", 1)])).is_err());
        assert!(validate(&commit(vec![put(Family::Artifacts, b"a", 1)])).is_err());
        assert!(validate(&commit(vec![put(Family::Meta, b"node/name", 1)])).is_ok());
        let cid = Cid::of(b"x");
        assert!(validate(&commit(vec![WriteOp::Pin { cid, holder: Bytes::from_static(b"task") }])).is_ok());
    }

    #[test]
    fn oversized_commits_are_refused_with_the_limit() {
        let large = commit(vec![put(Family::Tasks, b"k", MAX_COMMIT + 1)]);
        let text = validate(&large).unwrap_err().to_string();
        assert!(text.contains("67108864"), "{text}");
        let key = Bytes::from(vec![0; MAX_KEY + 1]);
        assert!(validate(&commit(vec![WriteOp::Delete { family: Family::Tasks, key }])).is_err());
    }

    #[test]
    fn a_group_is_full_by_bytes_and_by_changes() {
        let mut group = Group::default();
        assert!(group.has_room(&limits()));
        group.join(commit(vec![put(Family::Tasks, b"k", 5 * 1024 * 1024)]), UnixMillis(0)).unwrap();
        assert!(!group.has_room(&limits()));
        let mut group = Group::default();
        let many = (0..4096).map(|_| put(Family::Tasks, b"k", 0)).collect();
        group.join(commit(many), UnixMillis(0)).unwrap();
        assert!(!group.has_room(&limits()));
    }

    #[test]
    fn a_group_is_synced_only_if_somebody_waits_for_it() {
        let mut group = Group::default();
        let mut written = commit(Vec::new());
        written.acknowledge = Acknowledge::Written;
        group.join(written, UnixMillis(0)).unwrap();
        assert!(!group.is_durable());
        group.join(commit(Vec::new()), UnixMillis(0)).unwrap();
        assert!(group.is_durable());
    }
}
