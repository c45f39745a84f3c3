//! A full disk: new work is refused, accepted work goes on, nothing acknowledged is lost, and it recovers.

use super::*;
use crate::{FreeSpace, StoreHealth};
use meshwork_proto::artifact::{ArtifactError, PutArtifact};
use meshwork_proto::store::GetStoreStats;
use meshwork_proto::{Coded, ErrorCode};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1024 * 1024;

fn accepted(key: &str, value: &[u8]) -> Commit {
    Commit { admission: Admission::Accepted, ..putting(key, value) }
}

/// A store whose free space the test says.
fn with_free(dir: &Path) -> (Opened, Arc<AtomicU64>) {
    let free = Arc::new(AtomicU64::new(1024 * MIB));
    let asked = Arc::clone(&free);
    let free_space = FreeSpace::from_fn(move |_| Ok(asked.load(Ordering::SeqCst)));
    (try_open(StoreOptions { free_space, ..StoreOptions::at(dir) }).unwrap(), free)
}

/// Makes the store look again instead of believing its last answer.
async fn set_free(opened: &Opened, free: &AtomicU64, bytes: u64) {
    free.store(bytes, Ordering::SeqCst);
    let stats = opened.store.ports.stats.ask(GetStoreStats, PATIENCE).await.unwrap().unwrap();
    assert_eq!(stats.free_bytes, bytes);
    assert_eq!(stats.disk_full, bytes < 64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_reserve_new_work_is_refused_and_accepted_work_goes_on() {
    let dir = new_dir();
    let (opened, free) = with_free(dir.path());
    opened.put("before", b"value").await;
    set_free(&opened, &free, 10 * MIB).await;

    let refused = opened.commit(putting("new", b"value")).await.unwrap_err();
    assert_eq!(refused, StoreError::DiskFull { free: 10 * MIB, reserve: 64 * MIB });
    assert_eq!(refused.code(), ErrorCode::DiskFull);
    opened.commit(accepted("accepted", b"value")).await.unwrap();
    assert_eq!(opened.get("before").await.unwrap(), "value");
    assert_eq!(opened.get("new").await, None);
    let put = opened.store.ports.put_artifact.ask(PutArtifact("x".into()), PATIENCE).await.unwrap();
    assert!(matches!(put, Err(ArtifactError::Store(StoreError::DiskFull { .. }))), "{put:?}");
    assert_eq!(opened.counted("meshwork_store_refusals_total"), 2);

    set_free(&opened, &free, 1024 * MIB).await;
    opened.put("new", b"value").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_may_use_half_of_the_reserve() {
    let dir = new_dir();
    let (opened, free) = with_free(dir.path());
    set_free(&opened, &free, 40 * MIB).await;
    let put = |bytes: Vec<u8>| opened.store.ports.put_artifact.ask(PutArtifact(bytes.into()), PATIENCE);
    put(vec![1; 1000]).await.unwrap().unwrap();
    assert!(put(vec![2; 9 * 1024 * 1024]).await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_space_that_cannot_be_read_refuses_new_work_with_the_reason() {
    let dir = new_dir();
    let free_space = FreeSpace::from_fn(|_| Err(std::io::Error::other("disk unplugged")));
    let opened = try_open(StoreOptions { free_space, ..StoreOptions::at(dir.path()) }).unwrap();
    let refused = opened.commit(putting("new", b"value")).await.unwrap_err();
    assert!(refused.to_string().contains("disk unplugged"), "{refused}");
    opened.commit(accepted("accepted", b"value")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_sync_failed_is_refused_and_taken_back_when_the_log_brings_it_back() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let mut health = opened.store.health();
    opened.put("old", b"before").await;
    opened.store.engine().broken_sync.arm();
    let ops = vec![
        op("old", b"changed"),
        op("new", b"value"),
        WriteOp::Delete { family: Family::Tasks, key: "old".into() },
    ];
    let error = opened.commit(Commit { ops, ..putting("", b"") }).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Storage);
    assert_eq!(opened.commit(accepted("later", b"value")).await.unwrap_err(), error);
    assert_eq!(opened.get("old").await.unwrap(), "before");

    let running = health.wait_for(|health| *health == StoreHealth::Running);
    drop(tokio::time::timeout(PATIENCE, running).await.expect("it did not recover").unwrap());
    assert_eq!(opened.get("old").await.unwrap(), "before");
    assert_eq!(opened.get("new").await, None);
    opened.put("after", b"value").await;
    opened.close();
    let again = open_at(dir.path());
    assert_eq!(again.get("old").await.unwrap(), "before");
    assert_eq!(again.get("new").await, None);
    assert_eq!(again.get("after").await.unwrap(), "value");
}

/// A small file system in memory, unmounted at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(mib: u64) -> Option<Self> {
        let dir = new_dir();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: a real full disk needs the right to mount a tmpfs, which this process has not");
        None
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).unwrap();
        let block = vec![0; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "the test's file system could not be unmounted"
        );
    }
}

/// Writes until the disk is full; returns the keys that were acknowledged and the one that was not.
async fn write_until_refused(opened: &Opened) -> (Vec<String>, String, StoreError) {
    let mut acknowledged = Vec::new();
    for n in 0..10_000 {
        let key = format!("key{n}");
        match opened.commit(accepted(&key, &[3; 64 * 1024])).await {
            Ok(()) => acknowledged.push(key),
            Err(error) => return (acknowledged, key, error),
        }
    }
    panic!("the disk never became full");
}

async fn assert_all_there(opened: &Opened, keys: &[String]) {
    for key in keys {
        let value = opened.try_get(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(value.map(|value| value.len()), Some(64 * 1024), "{key} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_really_full_loses_nothing_and_the_store_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount(96) else { return };
    let path = disk.0.path().join("store");
    let opened = try_open(StoreOptions { disk_reserve_bytes: 8 * MIB, ..StoreOptions::at(&path) }).unwrap();
    let mut health = opened.store.health();
    opened.put("small", b"value").await;
    disk.fill();

    let (acknowledged, failed, error) = write_until_refused(&opened).await;
    assert_eq!(error.code(), ErrorCode::DiskFull, "{error}");
    assert!(
        matches!(&*health.borrow_and_update(), StoreHealth::Degraded { reason } if reason.contains("disk is full"))
    );
    assert_eq!(opened.commit(accepted("later", b"value")).await.unwrap_err().code(), ErrorCode::DiskFull);
    // Reads go on, also while it tries in vain to recover.
    assert_all_there(&opened, &acknowledged).await;
    assert_eq!(opened.get(&failed).await, None);

    fs::remove_file(disk.ballast()).unwrap();
    let running = health.wait_for(|health| *health == StoreHealth::Running);
    drop(tokio::time::timeout(PATIENCE, running).await.expect("it did not recover").unwrap());
    assert_eq!(opened.counted("meshwork_store_recoveries_total"), 1);
    assert_eq!(opened.get(&failed).await, None, "a commit that was refused came back");
    assert_all_there(&opened, &acknowledged).await;
    opened.put("after", b"value").await;
    opened.close();

    let again = try_open(StoreOptions { disk_reserve_bytes: 8 * MIB, ..StoreOptions::at(&path) }).unwrap();
    assert_all_there(&again, &acknowledged).await;
    assert_eq!(again.get(&failed).await, None);
    assert_eq!(again.get("small").await.unwrap(), "value");
    assert_eq!(again.get("after").await.unwrap(), "value");
    again.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_to_open_is_said_and_harms_nothing() {
    let Some(disk) = SmallDisk::mount(128) else { return };
    let path = disk.0.path().join("store");
    let opened = open_at(&path);
    opened.put("key", b"value").await;
    opened.close();
    disk.fill();
    let error = refused(&path);
    assert_eq!(error.code(), ErrorCode::DiskFull, "{error}");
    fs::remove_file(disk.ballast()).unwrap();
    let again = open_at(&path);
    assert_eq!(again.get("key").await.unwrap(), "value");
    again.close();
}
