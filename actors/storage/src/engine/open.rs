//! Opening: look first, lock, then open; refuse clearly what is not ours, newer or damaged.

use super::Engine;
use super::contents::{self, Contents};
use super::holder::Holder;
use super::tuning::Tuning;
use super::wal::{self, Markers, Verdict};
use crate::error::OpenError;
use crate::keys;
use crate::options::{Durability, StoreOptions};
use crate::records::{self, EpochRecord, FORMAT, FormatRecord};
use meshwork_proto::UnixMillis;
use meshwork_proto::codec::Record;
use meshwork_proto::store::Family;
use rocksdb::{ColumnFamily, DB, DBRecoveryMode, Error, ErrorKind, WriteOptions};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// An open database.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) epoch: u32,
    pub(crate) holder: Holder,
}

/// Opens the database of `options`, or makes it if the directory is empty or missing, and raises the epoch.
pub(crate) fn open_database(options: &StoreOptions, now: UnixMillis) -> Result<Opened, OpenError> {
    let path = options.path.as_path();
    let tuning = Tuning::new(options.block_cache_bytes, options.max_total_wal_bytes);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| OpenError::io(path, "making the directory", &error))?;
    // Once before locking, so that no lock file is left in a directory that is not ours.
    look(path)?;
    let holder = Holder::acquire(path)?;
    let db = match look(path)? {
        Contents::Unfinished => {
            contents::remove_unfinished(path)?;
            make(path, &tuning, now)?
        }
        Contents::Nothing => make(path, &tuning, now)?,
        Contents::Database | Contents::Parts(_) | Contents::Foreign(_) => {
            open_existing(path, &tuning, options.durability)?
        }
    };
    let epoch = raise_epoch(path, &db)?;
    let markers = Markers::of(&db).map_err(|error| refused(path, &error))?;
    Ok(Opened { engine: Engine::new(path.to_owned(), tuning, markers, db), epoch, holder })
}

/// What is in the directory, if it is something that can be opened.
fn look(path: &Path) -> Result<Contents, OpenError> {
    let contents =
        contents::inspect(path).map_err(|error| OpenError::io(path, "reading the directory", &error))?;
    match contents {
        Contents::Parts(missing) => Err(OpenError::corrupt(path, format!("it has no {missing}"))),
        Contents::Foreign(found) => Err(OpenError::NotADatabase { path: path.to_owned(), found }),
        Contents::Nothing | Contents::Unfinished | Contents::Database => Ok(contents),
    }
}

fn make(path: &Path, tuning: &Tuning, now: UnixMillis) -> Result<DB, OpenError> {
    contents::begin_making(path)?;
    let mut options = tuning.database().clone();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = DB::open_cf_descriptors(&options, path, tuning.all_families())
        .map_err(|error| refused(path, &error))?;
    put_meta(path, &db, keys::FORMAT, &FormatRecord { format: FORMAT, created_at: now })?;
    contents::end_making(path)?;
    Ok(db)
}

fn open_existing(path: &Path, tuning: &Tuning, durability: Durability) -> Result<DB, OpenError> {
    let names = DB::list_cf(tuning.database(), path).map_err(|error| refused(path, &error))?;
    if !names.iter().any(|name| name == Family::Meta.name()) {
        let found = format!("a RocksDB database of another program, with {}", names.join(", "));
        return Err(OpenError::NotADatabase { path: path.to_owned(), found });
    }
    let mut db = open_checked(path, tuning, durability, &names)?;
    check_format(path, &db)?;
    // A database of an older meshwork may lack families that were added since.
    for family in Family::ALL {
        if db.cf_handle(family.name()).is_none() {
            db.create_cf(family.name(), &tuning.options_of(*family))
                .map_err(|error| refused(path, &error))?;
        }
    }
    Ok(db)
}

/// Opens it, and if its log is damaged decides whether that is a torn tail (see [`wal`]).
fn open_checked(
    path: &Path,
    tuning: &Tuning,
    durability: Durability,
    names: &[String],
) -> Result<DB, OpenError> {
    let open = |mode| DB::open_cf_descriptors(&tuning.recovering(mode), path, tuning.families(names));
    let strict = match durability {
        Durability::Fsync => open(DBRecoveryMode::TolerateCorruptedTailRecords),
        // Nothing was promised about power loss: the longest whole beginning is the best there is.
        Durability::Os => open(DBRecoveryMode::PointInTime),
    };
    let first = match strict {
        Ok(db) => return Ok(db),
        Err(error) if error.kind() == ErrorKind::Corruption => error,
        Err(error) => return Err(refused(path, &error)),
    };
    let verdict =
        wal::judge(path, tuning, names).map_err(|error| OpenError::io(path, "reading the log", &error))?;
    match verdict {
        // Other files are damaged, and then the first error says it best.
        None => Err(refused(path, &first)),
        Some(Verdict::TornTail) => {
            tracing::warn!(path = %path.display(), "the log ends in records that were never synced; they are dropped");
            open(DBRecoveryMode::PointInTime).map_err(|error| refused(path, &error))
        }
        Some(Verdict::SyncedDataDamaged { readable, synced }) => {
            let what = format!(
                "its write-ahead log can be read up to change {readable}, but was synced up to change {synced} ({first})"
            );
            Err(OpenError::corrupt(path, what))
        }
    }
}

fn check_format(path: &Path, db: &DB) -> Result<(), OpenError> {
    let Some(value) = get_meta(path, db, keys::FORMAT)? else {
        let found = "a RocksDB database without meshwork's format record".to_owned();
        return Err(OpenError::NotADatabase { path: path.to_owned(), found });
    };
    let newer = |found| OpenError::NewerVersion { path: path.to_owned(), found, known: FORMAT };
    // The record itself may be of a newer version: its first byte says so.
    if let Some(version) = value.first().filter(|version| **version > FormatRecord::VERSION) {
        return Err(newer(FORMAT.saturating_add(u32::from(*version - FormatRecord::VERSION))));
    }
    let record: FormatRecord = records::decode(&value)
        .map_err(|error| OpenError::corrupt(path, format!("its format record: {error}")))?;
    if record.format > FORMAT {
        return Err(newer(record.format));
    }
    Ok(())
}

/// Raises the epoch and waits for the fsync, whatever durability is configured: fences depend on it.
fn raise_epoch(path: &Path, db: &DB) -> Result<u32, OpenError> {
    let damaged = |what: String| OpenError::corrupt(path, what);
    let last = match get_meta(path, db, keys::EPOCH)? {
        None => 0,
        Some(bytes) => {
            let record: EpochRecord =
                records::decode(&bytes).map_err(|error| damaged(format!("its epoch record: {error}")))?;
            record.epoch
        }
    };
    let epoch =
        last.checked_add(1).ok_or_else(|| damaged("its epoch has reached the largest number".to_owned()))?;
    put_meta(path, db, keys::EPOCH, &EpochRecord { epoch })?;
    Ok(epoch)
}

fn meta<'a>(path: &Path, db: &'a DB) -> Result<&'a ColumnFamily, OpenError> {
    db.cf_handle(Family::Meta.name())
        .ok_or_else(|| OpenError::corrupt(path, "its column family meta is missing"))
}

fn get_meta(path: &Path, db: &DB, key: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    db.get_cf(meta(path, db)?, key).map_err(|error| refused(path, &error))
}

/// Writes a record of the store's own and waits for the fsync.
fn put_meta<R: Record>(path: &Path, db: &DB, key: &[u8], record: &R) -> Result<(), OpenError> {
    let value = records::encode(record).map_err(|error| io(path, error.to_string()))?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.put_cf_opt(meta(path, db)?, key, value, &synced).map_err(|error| refused(path, &error))
}

/// Opens the database again after a failure in this process. Its lock is still held.
pub(super) fn reopen_writable(path: &Path, tuning: &Tuning) -> Result<DB, Error> {
    let names = DB::list_cf(tuning.database(), path)?;
    // The log ends in the record that failed. All that was acknowledged lies before it.
    let options = tuning.recovering(DBRecoveryMode::PointInTime);
    DB::open_cf_descriptors(&options, path, tuning.families(&names))
}

/// As [`reopen_writable`], when there is not even room for that.
pub(super) fn reopen_read_only(path: &Path, tuning: &Tuning) -> Result<DB, Error> {
    let names = DB::list_cf(tuning.database(), path)?;
    let options = tuning.recovering(DBRecoveryMode::PointInTime);
    DB::open_cf_descriptors_read_only(&options, path, tuning.families(&names), false)
}

/// RocksDB's error in our terms.
fn refused(path: &Path, error: &Error) -> OpenError {
    let text = error.as_ref();
    if let Some(known) = by_text(path, text) {
        return known;
    }
    // A file that the list names and that is not there is damage too.
    let missing = text.contains("No such file or directory");
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => OpenError::corrupt(path, text),
        _ if missing => OpenError::corrupt(path, text),
        _ => io(path, text.to_owned()),
    }
}

/// The bindings give errors of the operating system only as text.
fn by_text(path: &Path, text: &str) -> Option<OpenError> {
    let (path, what) = (path.to_owned(), text.to_owned());
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return Some(OpenError::DiskFull { path, what });
    }
    if text.contains("Permission denied") || text.contains("Read-only file system") {
        return Some(OpenError::NoPermission { path, what });
    }
    if text.contains("lock hold by current process") || text.contains("While lock file") {
        return Some(OpenError::Locked { path, holder: "another process".to_owned() });
    }
    None
}

fn io(path: &Path, what: String) -> OpenError {
    OpenError::Io { path: path.to_owned(), what }
}
