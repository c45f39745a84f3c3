//! Reading: who may, waiting for the end, why a task waits, counts.

use super::bench::{Bench, done, labels, member, offer, other, task};
use crate::queue::logic::Op;
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::{GetTask, Offer, QueueError};
use meshwork_proto::task::{TaskStatus, WaitingFor};
use meshwork_proto::{Caller, Role, TaskId, WorkerId};

#[test]
fn a_reader_that_waits_is_answered_at_the_end_of_the_task() {
    for cache in [64 * 1024 * 1024, 0] {
        let mut bench = Bench::with(QueueOptions { spec_cache_bytes: cache, ..QueueOptions::default() });
        let id = bench.submit(task("echo"));
        let ticket = bench.ask(Op::Get(GetTask { id, wait_ms: 60_000 }));
        let grant = bench.claim_one("w", "echo");
        assert!(!bench.answered(ticket));
        bench.finish("w", &grant, done()).unwrap();
        let view = bench.task(ticket).unwrap();
        assert!(view.status == TaskStatus::Completed && view.output.is_some(), "cache of {cache}");
    }
}

#[test]
fn a_reader_that_waited_long_enough_gets_the_task_as_it_is() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let ticket = bench.ask(Op::Get(GetTask { id, wait_ms: 5000 }));
    bench.advance(5000);
    assert_eq!(bench.task(ticket).unwrap().status, TaskStatus::Queued);
    let gone = bench.ask(Op::Get(GetTask { id, wait_ms: 5000 }));
    assert!(bench.state.forget(gone), "it waited");
    bench.advance(5000);
    assert!(!bench.answered(gone));
    assert!(!bench.state.forget(gone));
}

#[test]
fn a_member_reads_only_what_it_submitted_and_an_admin_reads_all() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let read = |bench: &mut Bench, caller: Caller| {
        let ticket = bench.ask_as(caller, Op::Get(GetTask { id, wait_ms: 0 }));
        bench.task(ticket)
    };
    for _ in 0..2 {
        assert_eq!(read(&mut bench, member(other())).unwrap_err(), QueueError::UnknownTask(id));
        assert!(read(&mut bench, Caller::Peer { peer: other(), role: Role::Admin }).is_ok());
        if bench.get(id).status == TaskStatus::Queued {
            bench.cancel(id, "").unwrap();
        }
    }
    let unknown = TaskId::from_bytes([3; 16]);
    assert_eq!(bench.try_get(unknown).unwrap_err(), QueueError::UnknownTask(unknown));
}

#[test]
fn a_task_says_that_nobody_serves_its_tool_or_has_its_labels_or_that_all_are_busy() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.labels = labels(&["gpu", "fast"]);
    let id = bench.submit(spec);
    let why = |bench: &mut Bench| bench.get(id).waiting_for.unwrap();
    assert_eq!(why(&mut bench), WaitingFor::NoWorkerForType { tool: "echo".into() });
    assert_eq!(bench.stats().unserved_tools, ["echo"]);
    bench.claim("plain", &["echo"], 1);
    bench.claim("fast", &["sleep"], 1);
    let both = vec!["fast".to_owned(), "gpu".to_owned()];
    assert_eq!(why(&mut bench), WaitingFor::NoWorkerWithLabels { labels: both, workers: 1 });
    let ticket = bench.claim_ticket("fast", Offer { labels: labels(&["fast"]), ..offer(&["echo"]) }, 1, 0);
    assert!(bench.claimed(ticket).grants.is_empty());
    let gpu = vec!["gpu".to_owned()];
    assert_eq!(why(&mut bench), WaitingFor::NoWorkerWithLabels { labels: gpu, workers: 2 });
    assert!(bench.stats().unserved_tools.is_empty());
    let busy = Offer { tools: [("echo".into(), 0)].into(), labels: labels(&["gpu", "fast"]) };
    let ticket = bench.claim_ticket("right", busy, 1, 0);
    assert!(bench.claimed(ticket).grants.is_empty());
    assert_eq!(why(&mut bench), WaitingFor::BusyWorkers { workers: 1 });
    bench.advance(90_000);
    assert_eq!(
        why(&mut bench),
        WaitingFor::NoWorkerForType { tool: "echo".into() },
        "they are silent for long"
    );
}

#[test]
fn a_worker_whose_connection_is_lost_serves_nothing_until_it_is_heard_of_again() {
    let mut bench = Bench::new();
    let id = bench.submit(task("echo"));
    let worker = WorkerId::of_peer(&other(), 1).to_string();
    assert_eq!(bench.claim(&worker, &["echo"], 1).len(), 1);
    let second = bench.submit(task("echo"));
    let why = |bench: &mut Bench, id| bench.get(id).waiting_for.unwrap();
    let nobody = WaitingFor::NoWorkerForType { tool: "echo".into() };
    assert_eq!(why(&mut bench, second), WaitingFor::BusyWorkers { workers: 1 });
    bench.turn(|state, turn| state.peer_lost(turn, &other()));
    assert_eq!(why(&mut bench, second), nobody);
    assert_eq!(bench.stats().unserved_tools, ["echo"]);
    assert!(matches!(why(&mut bench, id), WaitingFor::Lease { .. }), "its lease has its grace");
    bench.turn(|state, _| state.peer_back(&other()));
    assert_eq!(why(&mut bench, second), WaitingFor::BusyWorkers { workers: 1 });
}

#[test]
fn counts_follow_what_happens_and_are_the_same_after_a_restart() {
    let mut bench = Bench::new();
    for tool in ["a", "a", "a", "b"] {
        bench.submit(task(tool));
    }
    let mut spec = task("a");
    spec.delay_ms = 60_000;
    bench.submit(spec);
    let grants = bench.claim("w", &["a"], 2);
    bench.finish("w", &grants[0], done()).unwrap();
    bench.advance(1500);
    for _ in 0..2 {
        let stats = bench.stats();
        let count = |status| stats.by_status[&status];
        assert_eq!(
            (count(TaskStatus::Queued), count(TaskStatus::Running), count(TaskStatus::Completed)),
            (3, 1, 1)
        );
        assert_eq!(stats.by_type["a"], [(TaskStatus::Queued, 2), (TaskStatus::Running, 1)].into());
        assert_eq!((stats.delayed, stats.oldest_ready_ms), (1, Some(1500)));
        assert_eq!(stats.max_tasks, 1_000_000);
        bench.restart();
    }
    assert_eq!(bench.stats().totals["submitted"], 0, "totals count since the start");
}

#[test]
fn workers_are_shown_with_what_they_offer_and_did() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    bench.submit(task("echo"));
    let grants = bench.claim("w", &["echo", "cid"], 2);
    bench.finish("w", &grants[0], done()).unwrap();
    let stats = bench.stats();
    let [worker] = &stats.workers[..] else { panic!("one worker") };
    assert_eq!(
        (worker.tools.clone(), worker.running, worker.completed),
        (vec!["cid".into(), "echo".into()], 1, 1)
    );
    assert!(!worker.local);
    assert_eq!(stats.totals["claimed"], 2);
}
