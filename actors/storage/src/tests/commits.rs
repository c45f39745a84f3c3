//! Commits, reads, groups.

use super::*;
use futures::future::join_all;
use meshwork_proto::artifact::PutArtifact;
use meshwork_proto::store::{GetStoreStats, ReadKeys};
use meshwork_proto::{Coded, ErrorCode};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash() {
    let (dir, copy) = (new_dir(), new_dir());
    let opened = open_at(dir.path());
    for n in 0..20 {
        opened.put(&format!("key{n}"), format!("value{n}").as_bytes()).await;
    }
    copy_dir(dir.path(), copy.path());
    let crashed = open_at(copy.path());
    for n in 0..20 {
        assert_eq!(crashed.get(&format!("key{n}")).await.unwrap(), format!("value{n}"));
    }
    assert_eq!(crashed.store.epoch(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_share_their_fsyncs() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for round in 0..20 {
        let keys: Vec<String> = (0..64).map(|n| format!("{round}-{n}")).collect();
        join_all(keys.iter().map(|key| opened.put(key, b"value"))).await;
    }
    let (commits, fsyncs) =
        (opened.counted("meshwork_store_commits_total"), opened.counted("meshwork_store_fsyncs_total"));
    assert_eq!(commits, 20 * 64);
    assert!(fsyncs * 4 <= commits, "{fsyncs} fsyncs for {commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_client_gets_a_group_and_an_fsync_for_each_commit() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for n in 0..10 {
        opened.put(&n.to_string(), b"value").await;
    }
    assert_eq!(opened.counted("meshwork_store_commit_groups_total"), 10);
    assert_eq!(opened.counted("meshwork_store_fsyncs_total"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_only_ask_for_the_write_cause_no_fsync() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let before = opened.store.engine().log_syncs();
    for n in 0..10 {
        let commit = Commit { acknowledge: Acknowledge::Written, ..putting(&n.to_string(), b"value") };
        opened.commit(commit).await.unwrap();
    }
    assert_eq!(opened.store.engine().log_syncs(), before);
    assert_eq!(opened.get("7").await.unwrap(), "value");
    opened.put("durable", b"value").await;
    assert_eq!(opened.store.engine().log_syncs(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_take_effect_in_the_order_in_which_they_were_sent() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    for round in 0_u32..50 {
        join_all((0_u32..20).map(|n| opened.commit(putting("key", &(round * 20 + n).to_be_bytes())))).await;
        assert_eq!(opened.get("key").await.unwrap(), (round * 20 + 19).to_be_bytes().to_vec());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_commit_fails_alone() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let reserved = Bytes::from_static(b"store/epoch");
    let bad = || Commit {
        ops: vec![op("bad", b"value"), WriteOp::Delete { family: Family::Meta, key: reserved.clone() }],
        acknowledge: Acknowledge::Durable,
        admission: Admission::New,
    };
    let outcomes = join_all([
        opened.commit(putting("a", b"1")),
        opened.commit(bad()),
        opened.commit(putting("b", b"2")),
    ])
    .await;
    assert_eq!(outcomes[0], Ok(()));
    assert_eq!(outcomes[1].as_ref().unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(outcomes[2], Ok(()));
    assert_eq!(opened.get("bad").await, None);
    assert_eq!(opened.get("b").await.unwrap(), "2");
    assert_eq!(opened.counted("meshwork_store_refusals_total"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_a_commit_apply_in_their_order_and_an_empty_one_is_answered() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let delete = WriteOp::Delete { family: Family::Tasks, key: Bytes::from_static(b"key") };
    let ops = vec![op("key", b"1"), delete, op("key", b"2")];
    opened.commit(Commit { ops, ..putting("", b"") }).await.unwrap();
    assert_eq!(opened.get("key").await.unwrap(), "2");
    opened.commit(Commit { ops: Vec::new(), ..putting("", b"") }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_read_in_the_order_asked_for() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    opened.put("a", b"1").await;
    opened.put("b", b"2").await;
    let keys = ["b", "none", "a", "b"].map(|key| Bytes::from_static(key.as_bytes())).to_vec();
    let read = ReadKeys { family: Family::Tasks, keys };
    let values = opened.store.ports.read_keys.ask(read, PATIENCE).await.unwrap().unwrap();
    assert_eq!(values, [Some("2".into()), None, Some("1".into()), Some("2".into())]);
    let keys = vec![Bytes::new(); 10_001];
    let read = ReadKeys { family: Family::Tasks, keys };
    assert!(opened.store.ports.read_keys.ask(read, PATIENCE).await.unwrap().is_err());
}

fn whole() -> Scan {
    Scan { family: Family::Tasks, from: Bytes::new(), after: false, to: None, limit: 100, reverse: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_page_in_both_directions_with_exclusive_ends() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let other = WriteOp::Put { family: Family::Ready, key: "c1".into(), value: Bytes::new() };
    let mut ops: Vec<WriteOp> = ["a", "b", "c", "d", "e"].iter().map(|key| op(key, b"")).collect();
    ops.push(other);
    opened.commit(Commit { ops, ..putting("", b"") }).await.unwrap();

    assert_eq!(opened.scan(whole()).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(opened.scan(Scan { from: "b".into(), to: Some("d".into()), ..whole() }).await, ["b", "c"]);
    assert_eq!(opened.scan(Scan { from: "b".into(), after: true, limit: 2, ..whole() }).await, ["c", "d"]);
    assert_eq!(opened.scan(Scan { from: "bb".into(), after: true, limit: 1, ..whole() }).await, ["c"]);
    assert_eq!(opened.scan(Scan { limit: 0, ..whole() }).await, Vec::<String>::new());

    let back = |from: &'static str| Scan { from: from.into(), reverse: true, ..whole() };
    assert_eq!(opened.scan(back("")).await, ["e", "d", "c", "b", "a"]);
    assert_eq!(opened.scan(back("c")).await, ["c", "b", "a"]);
    assert_eq!(opened.scan(back("cc")).await, ["c", "b", "a"]);
    assert_eq!(opened.scan(Scan { after: true, ..back("c") }).await, ["b", "a"]);
    assert_eq!(opened.scan(Scan { to: Some("b".into()), ..back("d") }).await, ["d", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_returns_at_most_ten_thousand_entries() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let ops = (0..10_050).map(|n| op(&format!("{n:06}"), b"")).collect();
    opened.commit(Commit { ops, ..putting("", b"") }).await.unwrap();
    let first = opened.scan(Scan { limit: u32::MAX, ..whole() }).await;
    assert_eq!(first.len(), 10_000);
    let from = Bytes::from(first.last().unwrap().clone());
    assert_eq!(opened.scan(Scan { from, after: true, limit: u32::MAX, ..whole() }).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_answers_what_waits_and_closes_the_ports() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let ports = opened.store.ports.clone();
    let asked: Vec<_> = (0..100)
        .map(|n| {
            let commit = ports.commit.clone();
            tokio::spawn(async move { commit.ask(putting(&n.to_string(), b"value"), PATIENCE).await })
        })
        .collect();
    opened.put("last", b"value").await;
    opened.close();
    assert!(ports.commit.is_closed() && ports.read_key.is_closed() && ports.scan.is_closed());
    assert!(ports.put_artifact.is_closed());
    let mut acknowledged = Vec::new();
    for (n, answer) in join_all(asked).await.into_iter().enumerate() {
        if matches!(answer.unwrap(), Ok(Ok(()))) {
            acknowledged.push(n.to_string());
        }
    }
    let again = open_at(dir.path());
    for key in acknowledged {
        assert!(again.get(&key).await.is_some(), "{key} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tell_sizes() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    opened.store.ports.put_artifact.ask(PutArtifact("hello".into()), PATIENCE).await.unwrap().unwrap();
    let stats = opened.store.ports.stats.ask(GetStoreStats, PATIENCE).await.unwrap().unwrap();
    assert_eq!((stats.artifacts, stats.artifact_bytes), (1, 5));
    assert!(stats.disk_bytes > 0 && stats.free_bytes > 0 && !stats.disk_full);
}
