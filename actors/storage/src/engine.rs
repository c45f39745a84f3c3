//! The open database: reads and writes in our terms, and replacing it after a failure.
//!
//! The database sits in a slot, so that it can be reopened behind the ports: RocksDB refuses all writes after an
//! error of its log until it has been reopened, and the bindings offer no other way. Readers share the slot; only
//! reopening and closing take it exclusively.

mod contents;
mod holder;
mod open;
mod tuning;
mod wal;

pub(crate) use holder::Holder;
pub(crate) use open::{Opened, open_database};

use crate::error::CloseError;
use crate::keys;
use bytes::Bytes;
use meshwork_proto::store::{Family, Scan, StoreError};
use rocksdb::{ColumnFamily, DB, Direction, ErrorKind, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tuning::Tuning;
use wal::Markers;

/// Most entries that one scan returns.
pub(crate) const MAX_SCAN: u32 = 10_000;

/// One change as the database sees it.
#[derive(Debug, Clone)]
pub(crate) enum RawOp {
    Put { family: Family, key: Bytes, value: Bytes },
    Delete { family: Family, key: Bytes },
    DeleteRange { family: Family, from: Bytes, to: Bytes },
}

/// A key with the value it had; `None` if it was not there.
pub(crate) type OldValue = (Family, Bytes, Option<Bytes>);

enum Slot {
    Writable(DB),
    /// Opened again after a failure, but not for writing yet.
    ReadOnly(DB),
    Closed,
}

/// The database.
pub(crate) struct Engine {
    path: PathBuf,
    tuning: Tuning,
    markers: Markers,
    slot: RwLock<Slot>,
    #[cfg(test)]
    pub(crate) broken_sync: broken_sync::BrokenSync,
}

impl Engine {
    fn new(path: PathBuf, tuning: Tuning, markers: Markers, db: DB) -> Self {
        let slot = RwLock::new(Slot::Writable(db));
        Self {
            path,
            tuning,
            markers,
            slot,
            #[cfg(test)]
            broken_sync: broken_sync::BrokenSync::default(),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One value.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.reading(|db| get(db, family, key))
    }

    /// Many values, in the order of the keys.
    pub(crate) fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.reading(|db| {
            let cf = handle(db, family)?;
            db.batched_multi_get_cf(cf, keys.iter(), false)
                .into_iter()
                .map(|value| {
                    value.map(|found| found.map(|v| Bytes::copy_from_slice(&v))).map_err(|e| fault(&e))
                })
                .collect()
        })
    }

    /// A page of a range.
    pub(crate) fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.reading(|db| {
            let cf = handle(db, scan.family)?;
            let mut options = ReadOptions::default();
            bound(&mut options, scan);
            let direction = if scan.reverse { Direction::Reverse } else { Direction::Forward };
            let mode = match (scan.from.is_empty(), scan.reverse) {
                (true, false) => IteratorMode::Start,
                (true, true) => IteratorMode::End,
                (false, _) => IteratorMode::From(&scan.from, direction),
            };
            let limit = usize::try_from(scan.limit.min(MAX_SCAN)).unwrap_or_default();
            let skip = |key: &[u8]| scan.after && !scan.from.is_empty() && key == scan.from.as_ref();
            db.iterator_cf_opt(cf, options, mode)
                .filter(|entry| !matches!(entry, Ok((key, _)) if skip(key)))
                .take(limit)
                .map(|entry| entry.map(|(k, v)| (Bytes::from(k), Bytes::from(v))).map_err(|e| fault(&e)))
                .collect()
        })
    }

    /// The last entry at or before `key` that is not before `from`.
    pub(crate) fn last_at_or_before(
        &self,
        family: Family,
        from: &[u8],
        key: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.reading(|db| {
            let mut options = ReadOptions::default();
            options.set_iterate_lower_bound(from);
            let mode = IteratorMode::From(key, Direction::Reverse);
            match db.iterator_cf_opt(handle(db, family)?, options, mode).next() {
                None => Ok(None),
                Some(Ok((key, value))) => Ok(Some((Bytes::from(key), Bytes::from(value)))),
                Some(Err(error)) => Err(fault(&error)),
            }
        })
    }

    /// Whether any key begins with `prefix`.
    pub(crate) fn has_prefix(&self, family: Family, prefix: &[u8]) -> Result<bool, StoreError> {
        self.reading(|db| {
            let mode = IteratorMode::From(prefix, Direction::Forward);
            match db.iterator_cf(handle(db, family)?, mode).next() {
                None => Ok(false),
                Some(Ok((key, _))) => Ok(key.starts_with(prefix)),
                Some(Err(error)) => Err(fault(&error)),
            }
        })
    }

    /// Writes all changes as one; with `sync` it returns after the fsync of the log.
    ///
    /// After an error the database holds none of the changes, but its log on disk may: see [`Engine::reopen`].
    pub(crate) fn write(&self, ops: &[RawOp], sync: bool) -> Result<(), StoreError> {
        #[cfg(test)]
        self.broken_sync.instead_of_write(ops)?;
        self.write_for_real(ops, sync)
    }

    fn write_for_real(&self, ops: &[RawOp], sync: bool) -> Result<(), StoreError> {
        let slot = self.read_slot();
        let db = match &*slot {
            Slot::Writable(db) => db,
            Slot::ReadOnly(_) => {
                return Err(StoreError::Database("database is open for reading only".to_owned()));
            }
            Slot::Closed => return Err(StoreError::Stopping),
        };
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                RawOp::Put { family, key, value } => batch.put_cf(handle(db, *family)?, key, value),
                RawOp::Delete { family, key } => batch.delete_cf(handle(db, *family)?, key),
                RawOp::DeleteRange { family, from, to } => {
                    batch.delete_range_cf(handle(db, *family)?, from, to)
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        db.write_opt(batch, &options).map_err(|error| fault(&error))
    }

    /// The values that all keys of `ops` have now; ranges are left out.
    pub(crate) fn values_before(&self, ops: &[RawOp]) -> Result<Vec<OldValue>, StoreError> {
        self.reading(|db| {
            ops.iter()
                .filter_map(|op| match op {
                    RawOp::Put { family, key, .. } | RawOp::Delete { family, key } => Some((*family, key)),
                    RawOp::DeleteRange { .. } => None,
                })
                .map(|(family, key)| Ok((family, key.clone(), get(db, family, key)?)))
                .collect()
        })
    }

    /// Sequence number of the last change.
    pub(crate) fn last_sequence(&self) -> Result<u64, StoreError> {
        self.reading(|db| Ok(db.latest_sequence_number()))
    }

    /// The change that says: synced up to `sequence`. It goes into every synced group (see `wal`).
    pub(crate) fn synced_marker(&self, sequence: u64) -> RawOp {
        let key = Bytes::from_static(keys::SYNCED);
        RawOp::Put { family: Family::Meta, key, value: self.markers.value(sequence) }
    }

    /// Whether RocksDB has stopped or slowed down writes because flushes or compactions do not keep up.
    pub(crate) fn is_write_stalled(&self) -> Result<bool, StoreError> {
        self.reading(|db| {
            let int = |name: &str| {
                db.property_int_value(name).map(Option::unwrap_or_default).map_err(|e| fault(&e))
            };
            Ok(int("rocksdb.is-write-stopped")? > 0 || int("rocksdb.actual-delayed-write-rate")? > 0)
        })
    }

    /// Lets RocksDB give back the room of a deleted range.
    pub(crate) fn compact(&self, family: Family, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        self.reading(|db| {
            db.compact_range_cf(handle(db, family)?, Some(from), Some(to));
            Ok(())
        })
    }

    /// Closes the database and opens it again. If that fails it is opened for reading only, so that reads go on.
    ///
    /// The log may hold a group whose write had failed, and then it is read back: the caller restores the old values.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        #[cfg(test)]
        self.write_for_real(&self.broken_sync.left_in_log(), true)?;
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Closed) {
            return Err(StoreError::Stopping);
        }
        // The old one must have let go of its lock file before the new one is opened.
        *slot = Slot::Closed;
        match open::reopen_writable(&self.path, &self.tuning) {
            Ok(db) => {
                *slot = Slot::Writable(db);
                Ok(())
            }
            Err(error) => {
                match open::reopen_read_only(&self.path, &self.tuning) {
                    Ok(db) => *slot = Slot::ReadOnly(db),
                    Err(other) => tracing::error!("database cannot even be opened for reading: {other}"),
                }
                Err(fault(&error))
            }
        }
    }

    /// Syncs the log.
    pub(crate) fn flush_log(&self) -> Result<(), CloseError> {
        match &*self.read_slot() {
            Slot::Writable(db) => db.flush_wal(true).map_err(|error| CloseError::Flush(error.into_string())),
            Slot::ReadOnly(_) | Slot::Closed => Ok(()),
        }
    }

    /// Closes the database; everything later is answered [`StoreError::Stopping`].
    pub(crate) fn close(&self) {
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = Slot::Closed;
    }

    fn reading<T>(&self, read: impl FnOnce(&DB) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.read_slot() {
            Slot::Writable(db) | Slot::ReadOnly(db) => read(db),
            Slot::Closed => Err(StoreError::Stopping),
        }
    }

    fn read_slot(&self) -> RwLockReadGuard<'_, Slot> {
        // A panic while the slot was held leaves a whole slot behind: it is only ever assigned.
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn get(db: &DB, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    db.get_pinned_cf(handle(db, family)?, key)
        .map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
        .map_err(|error| fault(&error))
}

fn handle(db: &DB, family: Family) -> Result<&ColumnFamily, StoreError> {
    db.cf_handle(family.name())
        .ok_or_else(|| StoreError::Corrupt(format!("column family {} is missing", family.name())))
}

/// Sets the end of a scan where RocksDB stops by itself, so that it does not read deleted entries behind it.
fn bound(options: &mut ReadOptions, scan: &Scan) {
    match (&scan.to, scan.reverse) {
        (Some(to), false) => options.set_iterate_upper_bound(to.to_vec()),
        // Backwards the end is the lower one, and exclusive as well: the least key after it is the first allowed.
        (Some(to), true) => {
            let mut lowest = to.to_vec();
            lowest.push(0);
            options.set_iterate_lower_bound(lowest);
        }
        (None, _) => {}
    }
}

fn fault(error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref().to_owned();
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(text),
        _ => StoreError::Database(text),
    }
}

/// Whether an error means that the disk is full.
pub(crate) fn is_no_space(error: &StoreError) -> bool {
    matches!(error, StoreError::Database(text) if text.contains("No space left on device"))
}

#[cfg(test)]
impl Engine {
    /// How often RocksDB has synced its log: its own count, not ours.
    pub(crate) fn log_syncs(&self) -> u64 {
        self.tuning.database().get_ticker_count(rocksdb::statistics::Ticker::WalFileSynced)
    }
}

/// A log whose sync fails after the record has been written to it: RocksDB reports an error and shows none of the
/// changes, but reading the log back brings them.
#[cfg(test)]
pub(crate) mod broken_sync {
    use super::{RawOp, StoreError};
    use std::sync::Mutex;

    #[derive(Default)]
    pub(crate) struct BrokenSync(Mutex<State>);

    #[derive(Default)]
    struct State {
        armed: bool,
        in_log: Vec<RawOp>,
    }

    impl BrokenSync {
        /// The next write fails.
        pub(crate) fn arm(&self) {
            self.0.lock().unwrap().armed = true;
        }

        pub(super) fn instead_of_write(&self, ops: &[RawOp]) -> Result<(), StoreError> {
            let mut state = self.0.lock().unwrap();
            if !std::mem::take(&mut state.armed) {
                return Ok(());
            }
            state.in_log = ops.to_vec();
            Err(StoreError::Database("IO error: while syncing the log: Input/output error".to_owned()))
        }

        pub(super) fn left_in_log(&self) -> Vec<RawOp> {
            std::mem::take(&mut self.0.lock().unwrap().in_log)
        }
    }
}
