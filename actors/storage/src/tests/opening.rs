//! Opening what is there: locked, newer, damaged, foreign, unfinished.

use super::*;
use crate::FORMAT;
use crate::records::{self, FormatRecord};
use meshwork_proto::{Coded, ErrorCode, UnixMillis};
use rocksdb::{DB, Options};
use std::path::PathBuf;

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_is_raised_at_each_start() {
    let dir = new_dir();
    for epoch in 1..=4 {
        let opened = open_at(dir.path());
        assert_eq!(opened.store.epoch(), epoch);
        opened.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = new_dir();
    let path = dir.path().join("data").join("store");
    open_at(&path).close();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_names_its_holder() {
    let dir = new_dir();
    let _first = open_at(dir.path());
    let error = refused(dir.path());
    assert_eq!(error.code(), ErrorCode::InUse);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_free_again_after_close() {
    let dir = new_dir();
    open_at(dir.path()).close();
    open_at(dir.path()).close();
}

fn with_raw(path: &Path, change: impl FnOnce(&DB)) {
    let names = DB::list_cf(&Options::default(), path).unwrap();
    let db = DB::open_cf(&Options::default(), path, names).unwrap();
    change(&db);
}

fn set_format(path: &Path, value: &[u8]) {
    with_raw(path, |db| db.put_cf(db.cf_handle("meta").unwrap(), b"store/format", value).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused_with_both_versions() {
    let dir = new_dir();
    open_at(dir.path()).close();
    let newer = FormatRecord { format: FORMAT + 6, created_at: UnixMillis(0) };
    set_format(dir.path(), &records::encode(&newer).unwrap());
    let error = refused(dir.path());
    assert_eq!(error.code(), ErrorCode::VersionMismatch);
    let text = error.to_string();
    assert!(text.contains("format 7") && text.contains("knows up to 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_record_of_a_newer_shape_is_refused_as_newer_too() {
    let dir = new_dir();
    open_at(dir.path()).close();
    set_format(dir.path(), &[3, 1, 2, 3]);
    assert!(matches!(refused(dir.path()), OpenError::NewerVersion { found: 3, known: 1, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lacks_a_family_gets_it() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    opened.put("key", b"value").await;
    opened.close();
    let names = DB::list_cf(&Options::default(), dir.path()).unwrap();
    let mut db = DB::open_cf(&Options::default(), dir.path(), names).unwrap();
    db.drop_cf("events").unwrap();
    db.create_cf("of_the_future", &Options::default()).unwrap();
    drop(db);
    let opened = open_at(dir.path());
    assert_eq!(opened.get("key").await.unwrap(), "value");
    let event = WriteOp::Put { family: Family::Events, key: "e".into(), value: Bytes::new() };
    opened.commit(Commit { ops: vec![event], ..putting("", b"") }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_files_are_never_turned_into_a_database() {
    let dir = new_dir();
    fs::write(dir.path().join("letters.txt"), b"dear").unwrap();
    let error = refused(dir.path());
    assert_eq!(error.code(), ErrorCode::Config);
    assert!(error.to_string().contains("letters.txt"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left behind");
    let file = dir.path().join("letters.txt");
    assert!(matches!(refused(&file), OpenError::NotADatabase { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_left_alone() {
    let dir = new_dir();
    let mut options = Options::default();
    options.create_if_missing(true);
    drop(DB::open(&options, dir.path()).unwrap());
    let error = refused(dir.path());
    assert!(
        matches!(&error, OpenError::NotADatabase { found, .. } if found.contains("another program")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_starts_anew() {
    let dir = new_dir();
    open_at(dir.path()).close();
    fs::write(dir.path().join("MAKING"), b"").unwrap();
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let opened = open_at(dir.path());
    assert_eq!(opened.store.epoch(), 1);
    assert!(!dir.path().join("MAKING").exists());
}

/// A closed database whose data lies in table files.
async fn settled() -> TempDir {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for n in 0..100 {
        opened.put(&format!("key{n:03}"), &[n; 200]).await;
    }
    opened.close();
    // Reading the log back at the next start writes the tables.
    open_at(dir.path()).close();
    assert!(!files_ending(dir.path(), ".sst").is_empty());
    dir
}

fn largest_table(dir: &Path) -> PathBuf {
    files_ending(dir, ".sst").into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

fn assert_corrupt(dir: &Path) {
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names.retain(|name| !name.to_string_lossy().starts_with("LOG") && name != "LOCK");
        names
    };
    let before = names(dir);
    let error = refused(dir);
    assert_eq!(error.code(), ErrorCode::Corrupt, "{error}");
    assert!(error.to_string().contains("restore the directory from a backup"), "{error}");
    assert_eq!(names(dir), before, "the damaged database was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_or_missing_files_are_an_error_with_advice() {
    let dir = settled().await;
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert_corrupt(dir.path());

    let dir = settled().await;
    fs::write(dir.path().join("CURRENT"), b"garbage").unwrap();
    assert_corrupt(dir.path());

    let dir = settled().await;
    for manifest in fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if manifest.to_string_lossy().contains("MANIFEST-") {
            fs::remove_file(manifest).unwrap();
        }
    }
    assert_corrupt(dir.path());

    let dir = settled().await;
    let manifest = fs::read_to_string(dir.path().join("CURRENT")).unwrap();
    flip(&dir.path().join(manifest.trim()), 20);
    assert_corrupt(dir.path());

    let dir = settled().await;
    fs::remove_file(largest_table(dir.path())).unwrap();
    assert_corrupt(dir.path());

    let dir = settled().await;
    let table = largest_table(dir.path());
    let len = fs::metadata(&table).unwrap().len();
    fs::OpenOptions::new().write(true).open(&table).unwrap().set_len(len / 2).unwrap();
    assert_corrupt(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_an_error_of_the_read_and_of_no_other() {
    let dir = settled().await;
    flip(&largest_table(dir.path()), 100);
    let opened = open_at(dir.path());
    let mut damaged = 0;
    for n in 0..100 {
        match opened.try_get(&format!("key{n:03}")).await {
            Ok(value) => assert_eq!(value.unwrap(), vec![n; 200]),
            Err(StoreError::Corrupt(_)) => damaged += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(damaged > 0);
    opened.put("new", b"value").await;
    assert_eq!(opened.get("new").await.unwrap(), "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_allowed_says_so() {
    let error = refused(Path::new("/proc/meshwork-store"));
    assert!(matches!(error, OpenError::NoPermission { .. } | OpenError::Io { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_two_stores_cannot_share_a_registry() {
    let (one, two) = (new_dir(), new_dir());
    let registry = Registry::new();
    let clock = Clock::system();
    let _first = open(StoreOptions::at(one.path()), &Handle::current(), &registry, clock.clone()).unwrap();
    let error =
        open(StoreOptions::at(two.path()), &Handle::current(), &registry, clock).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
}
