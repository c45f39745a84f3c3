//! Power loss: everything behind the last real fsync is gone or garbage.
//!
//! What was really synced is known from RocksDB's own count of log syncs, not from what the store claims: the length
//! of the log is noted whenever that count has grown. Then the files are copied as they are, cut to those lengths, and
//! opened again.

use super::*;
use crate::Durability;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Lengths of the log files at the last sync.
struct Synced {
    count: u64,
    lengths: BTreeMap<PathBuf, u64>,
}

impl Synced {
    /// Opening syncs the epoch.
    fn at_start(opened: &Opened, dir: &Path) -> Self {
        Self { count: opened.store.engine().log_syncs(), lengths: lengths(dir) }
    }

    fn note(&mut self, opened: &Opened, dir: &Path) {
        let count = opened.store.engine().log_syncs();
        if count > self.count {
            *self = Self { count, lengths: lengths(dir) };
        }
    }

    /// Cuts the copied logs behind what was synced.
    fn cut(&self, copy: &Path) {
        for log in files_ending(copy, ".log") {
            let len = self.lengths[Path::new(log.file_name().unwrap())];
            fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(len).unwrap();
        }
    }
}

fn lengths(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let named =
        |path: PathBuf| (PathBuf::from(path.file_name().unwrap()), fs::metadata(&path).unwrap().len());
    files_ending(dir, ".log").into_iter().map(named).collect()
}

/// Commits, loses power, opens again; returns how many acknowledged commits are gone.
async fn lost_after_power_loss(durability: Durability) -> usize {
    let (dir, copy) = (new_dir(), new_dir());
    let opened = try_open(StoreOptions { durability, ..StoreOptions::at(dir.path()) }).unwrap();
    let mut synced = Synced::at_start(&opened, dir.path());
    for n in 0..50 {
        opened.put(&format!("acknowledged{n}"), &[7; 1000]).await;
        synced.note(&opened, dir.path());
    }
    for n in 0..50 {
        let commit =
            Commit { acknowledge: Acknowledge::Written, ..putting(&format!("unsynced{n}"), &[8; 1000]) };
        opened.commit(commit).await.unwrap();
    }
    copy_dir(dir.path(), copy.path());
    synced.cut(copy.path());
    let after = open_at(copy.path());
    assert_eq!(after.get("unsynced49").await, None, "the cut did not take what was never synced");
    let mut lost = 0;
    for n in 0..50 {
        lost += usize::from(after.get(&format!("acknowledged{n}")).await.is_none());
    }
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fsync_power_loss_takes_nothing_that_was_acknowledged() {
    assert_eq!(lost_after_power_loss(Durability::Fsync).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_test_catches_a_store_that_does_not_sync() {
    assert_eq!(lost_after_power_loss(Durability::Os).await, 50);
}

/// A store with synced commits, then unsynced ones; returns the copy, its log, and the lengths after each synced commit.
async fn crashed_store(commits: usize, value: &[u8]) -> (TempDir, PathBuf, Vec<u64>) {
    let (dir, copy) = (new_dir(), new_dir());
    let opened = open_at(dir.path());
    let mut synced = Vec::new();
    for n in 0..commits {
        opened.put(&format!("acknowledged{n}"), value).await;
        synced.push(*lengths(dir.path()).values().next_back().unwrap());
    }
    for n in 0..10 {
        let commit = Commit { acknowledge: Acknowledge::Written, ..putting(&format!("unsynced{n}"), value) };
        opened.commit(commit).await.unwrap();
    }
    copy_dir(dir.path(), copy.path());
    let log = files_ending(copy.path(), ".log").pop().unwrap();
    (copy, log, synced)
}

fn damage(log: &Path, at: u64, with: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let mut bytes = fs::read(log).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    fs::write(log, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_behind_the_last_fsync_may_be_lost_in_any_order() {
    let (copy, log, synced) = crashed_store(20, &[7; 1000]).await;
    // The first unsynced page never reached the disk, later ones did.
    damage(&log, synced[19], &[0xee; 2000]);
    let after = open_at(copy.path());
    for n in 0..20 {
        assert!(after.get(&format!("acknowledged{n}")).await.is_some(), "acknowledged{n} is gone");
    }
    assert_eq!(after.get("unsynced9").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_last_fsync_is_an_error_and_changes_nothing() {
    for (commits, len) in [(20, 10), (20, 1000), (200, 1000)] {
        let (copy, log, synced) = crashed_store(commits, &vec![7; len]).await;
        damage(&log, synced[4] + 30, &[0xee; 4]);
        let before = fs::read(&log).unwrap();
        for _ in 0..2 {
            let error = refused(copy.path());
            let OpenError::Corrupt { what, advice, .. } = &error else { panic!("{error}") };
            assert!(what.contains("write-ahead log") && what.contains("was synced up to"), "{what}");
            assert!(advice.contains("backup"), "{advice}");
        }
        assert_eq!(fs::read(&log).unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_torn_in_the_middle_is_dropped() {
    let (copy, log, synced) = crashed_store(5, &[7; 1000]).await;
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(synced[4] + 500).unwrap();
    let after = open_at(copy.path());
    assert!(after.get("acknowledged4").await.is_some());
    assert_eq!(after.get("unsynced0").await, None);
    // And it goes on from there.
    after.put("more", b"value").await;
    after.close();
    assert_eq!(open_at(copy.path()).get("more").await.unwrap(), "value");
}
