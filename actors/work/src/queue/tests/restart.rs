//! Restarts: memory is rebuilt from the store exactly.

use super::bench::{Bench, done, failed, labels, member, other, task};
use crate::queue::logic::Op;
use meshwork_proto::queue::{List, TaskChanges};
use meshwork_proto::task::TaskView;
use meshwork_proto::{Caller, TaskId};

/// Everything that can be seen of all tasks.
fn everything(bench: &mut Bench) -> Vec<TaskView> {
    bench.list_as(Caller::Local, List { limit: 1000, ..List::default() }).tasks
}

#[test]
fn every_task_looks_the_same_after_a_restart() {
    let mut bench = Bench::new();
    for n in 0..30_u64 {
        bench.advance(10);
        let mut spec = task(["a", "b"][usize::try_from(n % 2).unwrap()]);
        spec.priority = u8::try_from(n % 10 + 1).unwrap();
        spec.delay_ms = (n % 3) * 100_000;
        spec.tenant = (n % 4 == 0).then(|| "t".into());
        spec.concurrency_key = (n % 5 == 0).then(|| "k".into());
        spec.labels = if n % 7 == 0 { labels(&["x"]) } else { labels(&[]) };
        spec.timeout_ms = (n % 6 == 0).then_some(77_000);
        spec.idempotency_key = Some(format!("key {n}"));
        let ticket = bench.ask_as(if n % 2 == 0 { Caller::Local } else { member(other()) }, Op::Submit(spec));
        let id = bench.submitted(ticket).unwrap().id;
        if n % 8 == 0 {
            bench.update(id, TaskChanges { priority: Some(3), ..TaskChanges::default() }).unwrap();
        }
    }
    let grants = bench.claim("w", &["a", "b"], 6);
    bench.finish("w", &grants[0], done()).unwrap();
    bench.finish("w", &grants[1], failed()).unwrap();
    bench.cancel(grants[2].id, "stop").unwrap();
    bench.advance(10);
    let mut before = everything(&mut bench);
    assert_eq!(before.len(), 30);
    bench.restart();
    let mut after = everything(&mut bench);
    let mut leases = 0;
    for (before, after) in before.iter_mut().zip(&mut after) {
        // Leases of remote workers start afresh, and nobody has asked for work yet.
        leases += usize::from(before.lease_until.is_some());
        assert_eq!(before.lease_until.is_some(), after.lease_until.is_some());
        (before.lease_until, after.lease_until) = (None, None);
        (before.waiting_for, after.waiting_for) = (None, None);
        assert_eq!(before, after);
    }
    assert_eq!((after.len(), leases), (30, 4));
}

#[test]
fn the_order_of_waiting_tasks_survives() {
    let mut bench = Bench::new();
    let mut ids: Vec<TaskId> = (0..20).map(|_| bench.submit(task("a"))).collect();
    let first = bench.claim_one("w", "a");
    assert_eq!(first.id, ids[0]);
    bench.restart();
    ids.extend((0..5).map(|_| bench.submit(task("a"))));
    bench.restart();
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.extend(bench.claim("w", &["a"], 64).iter().map(|grant| grant.id));
    }
    assert_eq!(claimed, ids[1..]);
}

#[test]
fn a_damaged_record_is_an_error_that_names_what_it_is() {
    use meshwork_proto::store::StoreError;
    let mut bench = Bench::new();
    bench.submit(task("a"));
    let (key, _) = bench.disk.entries(meshwork_proto::store::Family::Ready)[0].clone();
    let page = [(key, bytes::Bytes::from_static(b"\x07"))];
    let error = bench.state.load_routes(bench.now, &page).unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("task route") && text.contains('7')),
        "{error}"
    );
}

#[test]
fn nothing_is_left_in_memory_of_tasks_that_are_gone() {
    let mut bench = Bench::new();
    for round in 0..3 {
        for n in 0..50 {
            let mut spec = task(&format!("tool {n}"));
            spec.tenant = Some(format!("tenant {n}"));
            spec.concurrency_key = Some(format!("key {n} {round}"));
            let id = bench.submit(spec);
            bench.cancel(id, "").unwrap();
        }
    }
    assert!(bench.state.is_empty(), "{:?}", bench.state);
}
