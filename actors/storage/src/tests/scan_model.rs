//! Scans against a model: whatever the bounds, direction and limit, the database answers as a sorted map would.

use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;

/// Short keys over few letters, so that bounds often meet keys and prefixes of keys.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..4)
}

fn scan() -> impl Strategy<Value = Scan> {
    (key(), any::<bool>(), option::of(key()), 0..20_u32, any::<bool>()).prop_map(
        |(from, after, to, limit, reverse)| Scan {
            family: Family::Ready,
            from: from.into(),
            after,
            to: to.map(Bytes::from),
            limit,
            reverse,
        },
    )
}

/// What the documentation of [`Scan`] says, on a sorted set.
fn expected(keys: &BTreeSet<Bytes>, scan: &Scan) -> Vec<Bytes> {
    let begins = |key: &Bytes| {
        let from = &scan.from;
        let beyond = if scan.reverse { key < from } else { key > from };
        from.is_empty() || beyond || (!scan.after && key == from)
    };
    let before_end = |key: &Bytes| match &scan.to {
        None => true,
        Some(to) if scan.reverse => key > to,
        Some(to) => key < to,
    };
    let mut found: Vec<Bytes> = keys.iter().filter(|key| begins(key) && before_end(key)).cloned().collect();
    if scan.reverse {
        found.reverse();
    }
    found.truncate(usize::try_from(scan.limit).unwrap());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_answer_as_a_sorted_map_would() {
    let dir = new_dir();
    let opened = open_at(dir.path());
    let letters = [0, b'a', b'b', 0xff];
    let mut keys = BTreeSet::new();
    for one in letters {
        for two in letters {
            keys.extend([vec![one], vec![one, two], vec![one, two, b'a']].map(Bytes::from));
        }
    }
    let put = |key: &Bytes| WriteOp::Put { family: Family::Ready, key: key.clone(), value: Bytes::new() };
    opened.commit(Commit { ops: keys.iter().map(put).collect(), ..putting("", b"") }).await.unwrap();
    let engine = opened.store.engine();
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&scan(), |scan| {
            let found: Vec<Bytes> = engine.scan(&scan).unwrap().into_iter().map(|(key, _)| key).collect();
            prop_assert_eq!(found, expected(&keys, &scan));
            Ok(())
        })
        .unwrap();
}
