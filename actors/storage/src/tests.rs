//! Tests against a real database in a directory of its own.

mod artifacts;
mod commits;
mod disk_full;
mod opening;
mod power_loss;
mod scan_model;

use crate::{OpenError, Store, StoreOptions, open};
use bytes::Bytes;
use meshwork_kit::Clock;
use meshwork_proto::store::{Acknowledge, Admission, Commit, Family, ReadKey, Scan, StoreError, WriteOp};
use prometheus::Registry;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Real time: long enough for the slowest disk, and only waited for when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store and the registry in which it counts.
struct Opened {
    store: Store,
    registry: Registry,
}

fn try_open(options: StoreOptions) -> Result<Opened, OpenError> {
    let registry = Registry::new();
    let store = open(options, &Handle::current(), &registry, Clock::system())?;
    Ok(Opened { store, registry })
}

fn open_at(path: &Path) -> Opened {
    try_open(StoreOptions::at(path)).unwrap()
}

fn refused(path: &Path) -> OpenError {
    try_open(StoreOptions::at(path)).map(|_| ()).unwrap_err()
}

fn new_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

impl Opened {
    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.store.ports.commit.ask(commit, PATIENCE).await.unwrap()
    }

    /// A durable commit of new work.
    async fn put(&self, key: &str, value: &[u8]) {
        self.commit(putting(key, value)).await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<Bytes> {
        self.try_get(key).await.unwrap()
    }

    async fn try_get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let read = ReadKey { family: Family::Tasks, key: Bytes::copy_from_slice(key.as_bytes()) };
        self.store.ports.read_key.ask(read, PATIENCE).await.unwrap()
    }

    async fn scan(&self, scan: Scan) -> Vec<String> {
        let found = self.store.ports.scan.ask(scan, PATIENCE).await.unwrap().unwrap();
        found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    /// The sum of a counter over its labels.
    fn counted(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters of a test are small"
        )]
        let sum =
            family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>() as u64;
        sum
    }

    fn close(self) {
        self.store.close(PATIENCE).unwrap();
    }
}

fn op(key: &str, value: &[u8]) -> WriteOp {
    WriteOp::Put {
        family: Family::Tasks,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value),
    }
}

fn putting(key: &str, value: &[u8]) -> Commit {
    Commit { ops: vec![op(key, value)], acknowledge: Acknowledge::Durable, admission: Admission::New }
}

/// What a crash leaves behind: the files as they are on disk while the database is open.
fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // Locks do not survive a crash, and copying them is pointless.
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files of a directory that end so.
fn files_ending(dir: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}
