//! Artifacts: stored, exchanged in pieces, pinned, collected.

use super::*;
use crate::artifacts::CollectNow;
use crate::writer::{CollectArtifacts, Victim};
use futures::future::join_all;
use meshwork_proto::artifact::{
    ARTIFACT_CHUNK, AppendArtifact, ArtifactError, ArtifactPresence, PutArtifact, ReadArtifact, StatArtifact,
};
use meshwork_proto::store::GetStoreStats;
use meshwork_proto::{Cid, UnixMillis};

const HOUR: Duration = Duration::from_secs(3600);

/// Bytes that differ everywhere, so that a piece in the wrong place is seen.
fn content(len: usize) -> Bytes {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

impl Opened {
    async fn put_artifact(&self, bytes: Bytes) -> Result<Cid, ArtifactError> {
        self.store.ports.put_artifact.ask(PutArtifact(bytes), PATIENCE).await.unwrap()
    }

    async fn stat(&self, cid: Cid) -> ArtifactPresence {
        self.store.ports.stat_artifact.ask(StatArtifact(cid), PATIENCE).await.unwrap().unwrap()
    }

    async fn read(&self, cid: Cid, offset: u64, max_len: u32) -> Result<Bytes, ArtifactError> {
        let read = ReadArtifact { cid, offset, max_len };
        self.store.ports.read_artifact.ask(read, PATIENCE).await.unwrap().map(|piece| piece.bytes)
    }

    async fn read_all(&self, cid: Cid) -> Bytes {
        let mut bytes = Vec::new();
        loop {
            let piece = self.read(cid, bytes.len() as u64, u32::MAX).await.unwrap();
            if piece.is_empty() {
                return bytes.into();
            }
            bytes.extend_from_slice(&piece);
        }
    }

    async fn append(
        &self,
        cid: Cid,
        offset: usize,
        whole: &Bytes,
        len: usize,
    ) -> Result<ArtifactPresence, ArtifactError> {
        let bytes = whole.slice(offset..offset + len);
        let append = AppendArtifact { cid, offset: offset as u64, total_len: whole.len() as u64, bytes };
        self.store.ports.append_artifact.ask(append, PATIENCE).await.unwrap()
    }

    async fn pin(&self, cid: Cid, holder: &'static str) {
        self.pinning(WriteOp::Pin { cid, holder: holder.into() }).await;
    }

    async fn unpin(&self, cid: Cid, holder: &'static str) {
        self.pinning(WriteOp::Unpin { cid, holder: holder.into() }).await;
    }

    async fn pinning(&self, op: WriteOp) {
        self.commit(Commit { ops: vec![op], ..putting("", b"") }).await.unwrap();
    }

    /// Collects as if so much time had passed; returns the bytes collected.
    async fn collect_after(&self, time: Duration) -> u64 {
        let now: UnixMillis = Clock::system().now().after(time);
        self.store.collect_port().ask(CollectNow { now }, PATIENCE).await.unwrap().unwrap()
    }

    async fn artifacts(&self) -> (u64, u64) {
        let stats = self.store.ports.stats.ask(GetStoreStats, PATIENCE).await.unwrap().unwrap();
        (stats.artifacts, stats.artifact_bytes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_can_be_read_whole_and_in_any_range() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for len in [0, 1, ARTIFACT_CHUNK, ARTIFACT_CHUNK + 1, 5 * ARTIFACT_CHUNK + 77] {
        let bytes = content(len);
        let cid = opened.put_artifact(bytes.clone()).await.unwrap();
        assert_eq!(cid, Cid::of(&bytes));
        assert_eq!(opened.stat(cid).await, ArtifactPresence::Whole { len: len as u64 });
        assert_eq!(opened.read_all(cid).await, bytes);
    }
    let bytes = content(5 * ARTIFACT_CHUNK + 77);
    let cid = Cid::of(&bytes);
    for (offset, len) in
        [(3, 10), (ARTIFACT_CHUNK - 1, 2), (ARTIFACT_CHUNK + 5, ARTIFACT_CHUNK), (bytes.len() - 1, 1)]
    {
        let read = opened.read(cid, offset as u64, u32::try_from(len).unwrap()).await.unwrap();
        assert_eq!(read, bytes.slice(offset..offset + len));
    }
    for offset in [bytes.len() as u64, bytes.len() as u64 + 1, u64::MAX] {
        assert_eq!(opened.read(cid, offset, 10).await.unwrap(), Bytes::new());
    }
    assert_eq!(opened.read(cid, 0, 0).await.unwrap(), Bytes::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_stored_is_unknown() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = Cid::of(b"never");
    assert_eq!(opened.read(cid, 0, 10).await, Err(ArtifactError::Unknown(cid)));
    assert_eq!(opened.stat(cid).await, ArtifactPresence::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_stored_once() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let same = join_all((0..20).map(|_| opened.put_artifact(content(1000)))).await;
    assert!(same.iter().all(|cid| *cid == Ok(Cid::of(&content(1000)))));
    opened.put_artifact(content(3 * ARTIFACT_CHUNK)).await.unwrap();
    opened.put_artifact(content(3 * ARTIFACT_CHUNK)).await.unwrap();
    assert_eq!(opened.artifacts().await, (2, 1000 + 3 * ARTIFACT_CHUNK as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_artifacts_put_at_the_same_time_share_writes() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let puts = (0..32_u8).map(|n| opened.put_artifact(Bytes::from(vec![n; 100])));
    for cid in join_all(puts).await {
        assert_eq!(opened.read_all(cid.unwrap()).await.len(), 100);
    }
    assert_eq!(opened.artifacts().await, (32, 3200));
    let fsyncs = opened.counted("meshwork_store_fsyncs_total");
    assert!(fsyncs <= 16, "{fsyncs} fsyncs for 32 artifacts");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_goes_on_where_it_was_cut_off_also_after_a_crash() {
    let (dir, copy) = (new_dir(), new_dir());
    let opened = open_at(dir.path());
    let bytes = content(3 * ARTIFACT_CHUNK + 500);
    let cid = Cid::of(&bytes);
    let first = ARTIFACT_CHUNK + 33;
    assert_eq!(opened.append(cid, 0, &bytes, 33).await, Ok(ArtifactPresence::Partial { have: 33 }));
    opened.append(cid, 33, &bytes, ARTIFACT_CHUNK).await.unwrap();
    assert_eq!(opened.read(cid, 0, 10).await, Err(ArtifactError::Unknown(cid)), "not verified yet");
    copy_dir(dir.path(), copy.path());

    let crashed = open_at(copy.path());
    assert_eq!(crashed.stat(cid).await, ArtifactPresence::Partial { have: first as u64 });
    let rest = bytes.len() - first;
    assert_eq!(
        crashed.append(cid, first, &bytes, rest).await,
        Ok(ArtifactPresence::Whole { len: bytes.len() as u64 })
    );
    assert_eq!(crashed.read_all(cid).await, bytes);
    assert_eq!(crashed.artifacts().await, (1, bytes.len() as u64));
    // A late piece of a whole artifact is no error.
    assert_eq!(
        crashed.append(cid, 0, &bytes, 33).await,
        Ok(ArtifactPresence::Whole { len: bytes.len() as u64 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_pieces_make_a_whole_and_an_empty_artifact_is_one() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let bytes = content(1000);
    let cid = Cid::of(&bytes);
    for offset in (0..1000).step_by(7) {
        opened.append(cid, offset, &bytes, 7.min(1000 - offset)).await.unwrap();
    }
    assert_eq!(opened.read_all(cid).await, bytes);
    assert_eq!(opened.read(cid, 5, 100).await.unwrap(), bytes.slice(5..105));
    let nothing = Bytes::new();
    let empty = opened.append(Cid::of(&nothing), 0, &nothing, 0).await;
    assert_eq!(empty, Ok(ArtifactPresence::Whole { len: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_out_of_order_say_what_is_held() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let bytes = content(1000);
    let cid = Cid::of(&bytes);
    let skipped = opened.append(cid, 500, &bytes, 100).await;
    assert_eq!(skipped, Err(ArtifactError::OutOfOrder { cid, offset: 500, have: 0 }));
    opened.append(cid, 0, &bytes, 100).await.unwrap();
    let twice = opened.append(cid, 0, &bytes, 100).await;
    assert_eq!(twice, Err(ArtifactError::OutOfOrder { cid, offset: 0, have: 100 }));
    let append = AppendArtifact { cid, offset: 100, total_len: 1000, bytes: content(901) };
    let beyond = opened.store.ports.append_artifact.ask(append, PATIENCE).await.unwrap();
    assert_eq!(beyond, Err(ArtifactError::TooLarge { len: 1001, max: 1000 }));
    assert_eq!(opened.stat(cid).await, ArtifactPresence::Partial { have: 100 });
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_the_id_are_dropped() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let bytes = content(1000);
    let cid = Cid::of(b"something else");
    opened.append(cid, 0, &bytes, 600).await.unwrap();
    let mismatch = opened.append(cid, 600, &bytes, 400).await;
    assert_eq!(mismatch, Err(ArtifactError::Mismatch { expected: cid, found: Cid::of(&bytes) }));
    assert_eq!(opened.stat(cid).await, ArtifactPresence::Absent);
    assert_eq!(opened.artifacts().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_claims_another_length_starts_anew() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let bytes = content(1000);
    let cid = Cid::of(&bytes);
    let wrong = AppendArtifact { cid, offset: 0, total_len: 5000, bytes: content(300) };
    opened.store.ports.append_artifact.ask(wrong, PATIENCE).await.unwrap().unwrap();
    opened.append(cid, 0, &bytes, 1000).await.unwrap();
    assert_eq!(opened.read_all(cid).await, bytes);
    assert_eq!(opened.artifacts().await, (1, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_completes_a_partial_exchange() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for len in [1000, 2 * ARTIFACT_CHUNK] {
        let bytes = content(len);
        opened.append(Cid::of(&bytes), 0, &bytes, 300).await.unwrap();
        let cid = opened.put_artifact(bytes.clone()).await.unwrap();
        assert_eq!(opened.read_all(cid).await, bytes);
    }
    assert_eq!(opened.artifacts().await, (2, 1000 + 2 * ARTIFACT_CHUNK as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_pins_is_collected_after_the_grace_time() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = opened.put_artifact(content(1000)).await.unwrap();
    let large = opened.put_artifact(content(3 * ARTIFACT_CHUNK)).await.unwrap();
    assert_eq!(opened.collect_after(HOUR / 2).await, 0);
    assert_eq!(opened.collect_after(HOUR * 2).await, 1000 + 3 * ARTIFACT_CHUNK as u64);
    assert_eq!(opened.stat(cid).await, ArtifactPresence::Absent);
    assert_eq!(opened.read(large, 0, 10).await, Err(ArtifactError::Unknown(large)));
    assert_eq!(opened.artifacts().await, (0, 0));
    assert_eq!(opened.counted("meshwork_store_artifacts_collected_total"), 2);
    // And it can be stored again.
    opened.put_artifact(content(3 * ARTIFACT_CHUNK)).await.unwrap();
    assert_eq!(opened.read_all(large).await, content(3 * ARTIFACT_CHUNK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_keeps_an_artifact_until_its_last_holder_lets_go() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = opened.put_artifact(content(1000)).await.unwrap();
    opened.pin(cid, "task 1").await;
    opened.pin(cid, "task 1").await;
    opened.pin(cid, "task 2").await;
    assert_eq!(opened.collect_after(HOUR * 2).await, 0);
    opened.unpin(cid, "task 1").await;
    assert_eq!(opened.collect_after(HOUR * 2).await, 0);
    opened.unpin(cid, "task 2").await;
    assert_eq!(opened.collect_after(HOUR / 2).await, 0, "the grace time begins anew");
    assert_eq!(opened.collect_after(HOUR * 2).await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_part_of_its_commit_and_survives_a_restart() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = opened.put_artifact(content(10)).await.unwrap();
    let refused = vec![
        WriteOp::Pin { cid, holder: "refused".into() },
        WriteOp::Delete { family: Family::Artifacts, key: "x".into() },
    ];
    opened.commit(Commit { ops: refused, ..putting("", b"") }).await.unwrap_err();
    let other = opened.put_artifact(content(20)).await.unwrap();
    opened
        .commit(Commit {
            ops: vec![op("task", b""), WriteOp::Pin { cid: other, holder: "task".into() }],
            ..putting("", b"")
        })
        .await
        .unwrap();
    opened.close();
    let again = open_at(dir.path());
    assert_eq!(again.collect_after(HOUR * 2).await, 10);
    assert_eq!(again.stat(other).await, ArtifactPresence::Whole { len: 20 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_pinned_after_it_was_proposed_is_kept() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = opened.put_artifact(content(10)).await.unwrap();
    let stored = opened.store.engine().get(Family::Artifacts, &crate::keys::artifact(&cid)).unwrap().unwrap();
    let victim = Victim { cid, record: crate::records::decode(&stored).unwrap() };
    opened.pin(cid, "task").await;
    let request = CollectArtifacts { victims: vec![victim], stale_unpins: Vec::new() };
    let collected = opened.store.collects().ask(request, PATIENCE).await.unwrap().unwrap();
    assert!(collected.is_empty());
    assert_eq!(opened.read_all(cid).await, content(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_through_more_artifacts_than_one_step_looks_at() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let puts = (0..600_u32).map(|n| opened.put_artifact(Bytes::copy_from_slice(&n.to_be_bytes())));
    let cids: Vec<Cid> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    for cid in cids.iter().step_by(3) {
        opened.pin(*cid, "holder").await;
    }
    assert_eq!(opened.collect_after(HOUR * 2).await, 4 * 400);
    assert_eq!(opened.artifacts().await, (200, 800));
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_that_nobody_goes_on_with_are_dropped() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let bytes = content(1000);
    let cid = Cid::of(&bytes);
    opened.append(cid, 0, &bytes, 400).await.unwrap();
    assert_eq!(opened.collect_after(HOUR / 2).await, 0);
    assert_eq!(opened.collect_after(HOUR * 2).await, 400);
    assert_eq!(opened.append(cid, 0, &bytes, 1000).await, Ok(ArtifactPresence::Whole { len: 1000 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_unpins_do_not_outlive_their_artifacts() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let cid = Cid::of(b"never stored");
    opened.unpin(cid, "task").await;
    let unpins = || opened.store.engine().get(Family::Artifacts, &crate::keys::unpinned(&cid)).unwrap();
    assert!(unpins().is_some());
    opened.collect_after(HOUR * 2).await;
    assert_eq!(unpins(), None);
}

fn small_store(dir: &Path, grace: Duration) -> Opened {
    let options = StoreOptions {
        artifact_max_bytes: 1000,
        artifact_quota_bytes: 2000,
        artifact_grace: grace,
        ..StoreOptions::at(dir)
    };
    try_open(options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_size_and_quota_are_kept() {
    let dir = new_dir();
    let opened = small_store(dir.path(), HOUR);
    assert_eq!(
        opened.put_artifact(content(1001)).await,
        Err(ArtifactError::TooLarge { len: 1001, max: 1000 })
    );
    opened.put_artifact(content(1000)).await.unwrap();
    opened.put_artifact(content(900)).await.unwrap();
    let full = opened.put_artifact(content(101)).await;
    assert_eq!(full, Err(ArtifactError::QuotaExceeded { used: 1900, quota: 2000, len: 101 }));
    // What is there already needs no room, and smaller ones still fit.
    opened.put_artifact(content(1000)).await.unwrap();
    opened.put_artifact(content(100)).await.unwrap();
    let large = content(1001);
    let append = opened.append(Cid::of(&large), 0, &large, 10).await;
    assert_eq!(append, Err(ArtifactError::TooLarge { len: 1001, max: 1000 }));
    let announced = content(500);
    let append = opened.append(Cid::of(&announced), 0, &announced, 10).await;
    assert!(matches!(append, Err(ArtifactError::QuotaExceeded { len: 500, .. })), "{append:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_quota_garbage_is_collected_first() {
    let dir = new_dir();
    let opened = small_store(dir.path(), Duration::ZERO);
    let kept = Cid::of(&content(900));
    // Pinned before it is stored: without a grace time it could be collected in between.
    opened.pin(kept, "task").await;
    opened.put_artifact(content(900)).await.unwrap();
    opened.put_artifact(content(1000)).await.unwrap();
    opened.put_artifact(content(800)).await.unwrap();
    assert_eq!(opened.stat(kept).await, ArtifactPresence::Whole { len: 900 });
    assert_eq!(opened.stat(Cid::of(&content(1000))).await, ArtifactPresence::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_collected_gives_its_room_on_the_disk_back() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    // Not the log: it is bounded by itself, and written with every commit.
    let files = || -> u64 {
        let sizes =
            |end| files_ending(dir.path(), end).into_iter().filter_map(|path| fs::metadata(path).ok());
        sizes(".blob").chain(sizes(".sst")).map(|file| file.len()).sum()
    };
    for n in 0..10_u8 {
        let mut bytes = content(8 * 1024 * 1024).to_vec();
        bytes[0] = n;
        opened.put_artifact(bytes.into()).await.unwrap();
    }
    let full = files();
    assert!(full > 40 << 20, "{full}");
    assert_eq!(opened.collect_after(HOUR * 2).await, 80 << 20);
    // RocksDB removes files that a flush or compaction still looks at when that has ended.
    let freed = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        while files() > 1 << 20 {
            look.tick().await;
        }
    };
    let freed = tokio::time::timeout(PATIENCE, freed).await;
    assert!(freed.is_ok(), "{} of {full} bytes are still on the disk", files());
}
