//! Claims: what fits, in which order, and waiting for it.

use super::bench::{Bench, done, labels, member, offer, other, owner, task};
use crate::queue::logic::{Answer, Op};
use crate::queue::options::QueueOptions;
use meshwork_proto::queue::{Claim, Offer, QueueError};
use meshwork_proto::task::{TaskStatus, WaitingFor};
use meshwork_proto::{Fence, WorkerId};

fn local_worker() -> String {
    WorkerId::of_peer(&owner(), 7).to_string()
}

#[test]
fn a_grant_carries_what_the_worker_needs() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.timeout_ms = Some(60_000);
    let id = bench.submit(spec.clone());
    let grant = bench.claim_one("w", "echo");
    assert_eq!((grant.id, grant.attempt, grant.fence), (id, 1, Fence::new(1, 1)));
    assert_eq!((grant.payload, grant.input_cid), (spec.payload, spec.input_cid));
    assert_eq!((grant.lease_ms, grant.timeout_ms), (30_000, Some(60_000)));
    let view = bench.get(id);
    assert_eq!(view.status, TaskStatus::Running);
    assert!(matches!(view.waiting_for, Some(WaitingFor::Lease { .. })));
}

#[test]
fn the_highest_priority_comes_first_and_then_what_was_submitted_first() {
    let mut bench = Bench::new();
    let mut expected = Vec::new();
    for (n, priority) in [5, 10, 1, 5, 10].into_iter().enumerate() {
        let mut spec = task(if n % 2 == 0 { "even" } else { "odd" });
        spec.priority = priority;
        expected.push((10 - priority, n, bench.submit(spec)));
    }
    expected.sort_unstable();
    let claimed: Vec<_> = bench.claim("w", &["even", "odd"], 10).iter().map(|grant| grant.id).collect();
    assert_eq!(claimed, expected.iter().map(|(_, _, id)| *id).collect::<Vec<_>>());
}

#[test]
fn a_label_also_stands_for_a_tool_that_the_worker_serves() {
    let mut bench = Bench::new();
    let mut spec = task("echo");
    spec.labels = labels(&["resize"]);
    let id = bench.submit(spec);
    assert!(bench.claim("plain", &["echo"], 1).is_empty());
    let granted = bench.claim("able", &["echo", "resize"], 1);
    assert_eq!(granted.iter().map(|grant| grant.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn a_worker_gets_only_what_it_offers_has_labels_for_and_may_claim() {
    let mut bench = Bench::new();
    let plain = bench.submit(task("echo"));
    let mut spec = task("echo");
    spec.labels = labels(&["gpu"]);
    let with_label = bench.submit(spec);
    let mut spec = task("echo");
    spec.target_peers = [other()].into();
    let for_other = bench.submit(spec);
    bench.submit(task("sleep"));
    let mut claim = |worker: &str, with: &[&str]| -> Vec<_> {
        let offer = Offer { labels: labels(with), ..offer(&["echo", "cid"]) };
        let ticket = bench.claim_ticket(worker, offer, 10, 0);
        bench.claimed(ticket).grants.iter().map(|grant| grant.id).collect()
    };
    assert_eq!(claim("w", &[]), [plain]);
    assert_eq!(claim("w", &["gpu", "big"]), [with_label]);
    assert_eq!(claim(WorkerId::of_peer(&other(), 1).as_str(), &[]), [for_other]);
}

#[test]
fn credits_and_the_room_for_each_tool_bound_a_claim() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.submit(task("a"));
        bench.submit(task("b"));
    }
    let offer =
        Offer { tools: [("a".into(), 2), ("b".into(), 1), ("c".into(), 9)].into(), labels: labels(&[]) };
    let ticket = bench.claim_ticket("w", offer.clone(), 10, 0);
    let claimed = bench.claimed(ticket);
    let tools: Vec<_> = claimed.grants.iter().map(|grant| grant.tool.as_str()).collect();
    assert_eq!(
        (tools, claimed.more),
        (vec!["a", "b", "a"], false),
        "more of them wait, but not for this room"
    );
    let ticket = bench.claim_ticket("w", offer, 1, 0);
    let claimed = bench.claimed(ticket);
    assert_eq!((claimed.grants.len(), claimed.more), (1, true));
}

#[test]
fn a_waiting_claim_is_answered_when_something_fits_and_not_before() {
    let mut bench = Bench::new();
    let ticket = bench.claim_ticket("w", offer(&["echo"]), 5, 20_000);
    bench.submit(task("sleep"));
    assert!(!bench.answered(ticket));
    let id = bench.submit(task("echo"));
    assert_eq!(bench.claimed(ticket).grants[0].id, id);
}

#[test]
fn a_waiting_claim_ends_empty_at_its_time_and_at_the_latest_after_a_minute() {
    let mut bench = Bench::new();
    let short = bench.claim_ticket("w", offer(&["echo"]), 5, 2000);
    let long = bench.claim_ticket("w", offer(&["echo"]), 5, u64::MAX);
    bench.advance(1999);
    assert!(!bench.answered(short));
    bench.advance(1);
    assert!(bench.claimed(short).grants.is_empty());
    bench.advance(57_999);
    assert!(!bench.answered(long));
    bench.advance(1);
    assert!(bench.claimed(long).grants.is_empty());
}

#[test]
fn waiting_claims_are_served_in_their_order_but_the_own_executor_first() {
    let mut bench = Bench::new();
    let first = bench.claim_ticket("a", offer(&["echo"]), 1, 60_000);
    let second = bench.claim_ticket("b", offer(&["echo"]), 1, 60_000);
    let local = bench.claim_ticket(&local_worker(), offer(&["echo"]), 1, 60_000);
    for expected in [local, first, second] {
        assert!(!bench.answered(expected));
        bench.submit(task("echo"));
        assert_eq!(bench.claimed(expected).grants.len(), 1);
    }
}

#[test]
fn a_claim_whose_asker_has_gone_is_given_nothing() {
    let mut bench = Bench::new();
    let gone = bench.claim_ticket("a", offer(&["echo"]), 1, 60_000);
    let there = bench.claim_ticket("b", offer(&["echo"]), 1, 60_000);
    bench.gone.insert(gone);
    bench.submit(task("echo"));
    assert!(!bench.answered(gone));
    assert_eq!(bench.claimed(there).grants.len(), 1);
}

#[test]
fn without_credits_a_claim_only_listens() {
    let mut bench = Bench::new();
    let listens = bench.claim_ticket("w", offer(&["echo"]), 0, 60_000);
    let id = bench.submit(task("echo"));
    let claimed = bench.claimed(listens);
    assert!(claimed.grants.is_empty() && claimed.more);
    assert_eq!(bench.get(id).status, TaskStatus::Queued);
    let at_once = bench.claim_ticket("w", offer(&["echo"]), 0, 60_000);
    assert!(bench.claimed(at_once).more, "there is work already");
}

#[test]
fn a_listener_is_told_only_if_nobody_takes_the_work_and_the_next_one_if_the_first_does_not_come() {
    let mut bench = Bench::new();
    let listeners: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|worker| bench.claim_ticket(worker, offer(&["echo"]), 0, 60_000))
        .collect();
    let takes = bench.claim_ticket("d", offer(&["echo"]), 1, 60_000);
    bench.submit(task("echo"));
    assert_eq!(bench.claimed(takes).grants.len(), 1);
    assert!(listeners.iter().all(|ticket| !bench.answered(*ticket)));
    bench.submit(task("echo"));
    assert!(bench.answered(listeners[0]) && !bench.answered(listeners[1]));
    bench.advance(100);
    assert!(bench.answered(listeners[1]) && !bench.answered(listeners[2]));
    bench.claim_one("b", "echo");
    bench.advance(1000);
    assert!(!bench.answered(listeners[2]), "it was taken meanwhile");
}

#[test]
fn tasks_that_share_a_concurrency_key_run_one_at_a_time_in_their_order() {
    let mut bench = Bench::new();
    let mut ids = Vec::new();
    for tool in ["a", "b", "a"] {
        let mut spec = task(tool);
        spec.concurrency_key = Some("account-1".into());
        ids.push(bench.submit(spec));
    }
    let free = bench.submit(task("a"));
    for (n, id) in ids.iter().enumerate() {
        let grants = bench.claim("w", &["a", "b"], 10);
        let claimed: Vec<_> = grants.iter().map(|grant| grant.id).collect();
        assert_eq!(claimed, if n == 0 { vec![*id, free] } else { vec![*id] });
        assert!(bench.claim("w", &["a", "b"], 10).is_empty());
        if let Some(next) = ids.get(n + 1) {
            let key = "account-1".to_owned();
            assert_eq!(bench.get(*next).waiting_for, Some(WaitingFor::ConcurrencyKey { key }));
        }
        bench.finish("w", &grants[0], done()).unwrap();
    }
}

#[test]
fn a_key_stays_taken_over_a_restart_and_is_free_when_its_task_loses_its_lease() {
    let mut bench = Bench::new();
    let mut spec = task("a");
    spec.concurrency_key = Some("k".into());
    let first = bench.submit(spec.clone());
    bench.submit(spec);
    assert_eq!(bench.claim_one("w", "a").id, first);
    bench.restart();
    assert!(bench.claim("w", &["a"], 10).is_empty());
    bench.advance(30_000);
    let grants = bench.claim("w", &["a"], 10);
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].id, first, "it is the first again");
}

#[test]
fn ten_thousand_tasks_behind_one_key_cost_a_claim_nothing() {
    let mut bench = Bench::new();
    for _ in 0..10_000 {
        let mut spec = task("a");
        spec.concurrency_key = Some("k".into());
        bench.submit(spec);
    }
    let free = bench.submit(task("a"));
    bench.claim_one("w", "a");
    assert_eq!(bench.claim_one("w", "a").id, free);
    for _ in 0..1000 {
        assert!(bench.claim("w", &["a"], 1).is_empty());
    }
}

#[test]
fn a_worker_is_spoken_for_only_by_its_own_peer() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    for worker in [local_worker(), "laptop".into()] {
        let claim =
            Claim { worker: worker.parse().unwrap(), offer: offer(&["echo"]), credits: 1, wait_ms: 0 };
        let ticket = bench.ask_as(member(other()), Op::Claim(claim));
        assert!(matches!(bench.answer(ticket), Err(QueueError::Forbidden(_))), "{worker}");
    }
    let worker = WorkerId::of_peer(&other(), 1);
    let claim = Claim { worker, offer: offer(&["echo"]), credits: 1, wait_ms: 0 };
    let ticket = bench.ask_as(member(other()), Op::Claim(claim));
    assert!(matches!(bench.answer(ticket), Ok(Answer::Claimed(claimed)) if claimed.grants.len() == 1));
}

#[test]
fn an_offer_of_a_million_tools_is_refused() {
    let mut bench = Bench::new();
    let tools = (0..5000).map(|n| (format!("t{n}"), 1)).collect();
    let ticket = bench.claim_ticket("w", Offer { tools, labels: labels(&[]) }, 1, 0);
    assert!(matches!(bench.answer(ticket), Err(QueueError::Invalid(_))));
}

#[test]
fn specifications_that_are_not_in_memory_are_read_before_the_grant() {
    let mut bench = Bench::with(QueueOptions { spec_cache_bytes: 0, ..QueueOptions::default() });
    bench.submit(task("echo"));
    bench.reads = false;
    let ticket = bench.claim_ticket("w", offer(&["echo"]), 1, 0);
    assert!(!bench.answered(ticket));
    bench.read_next();
    assert_eq!(bench.claimed(ticket).grants[0].payload, task("echo").payload);
}

#[test]
fn if_a_specification_cannot_be_read_the_lease_is_given_back() {
    let mut bench = Bench::with(QueueOptions { spec_cache_bytes: 0, ..QueueOptions::default() });
    let id = bench.submit(task("echo"));
    bench.reads = false;
    let ticket = bench.claim_ticket("w", offer(&["echo"]), 1, 0);
    bench.fail_read();
    assert!(matches!(bench.answer(ticket), Err(QueueError::Store(_))));
    bench.reads = true;
    let view = bench.get(id);
    assert_eq!((view.status, view.lease_losses), (TaskStatus::Queued, 0));
    bench.advance(1000);
    assert_eq!(bench.claim_one("w", "echo").id, id);
}

#[test]
fn a_claimer_that_goes_while_the_specification_is_read_holds_no_lease() {
    let mut bench = Bench::with(QueueOptions { spec_cache_bytes: 0, ..QueueOptions::default() });
    let id = bench.submit(task("echo"));
    bench.reads = false;
    let ticket = bench.claim_ticket("w", offer(&["echo"]), 1, 0);
    bench.gone.insert(ticket);
    bench.reads = true;
    bench.read_next();
    assert!(!bench.answered(ticket));
    assert_eq!(bench.get(id).status, TaskStatus::Queued);
    assert_eq!(bench.claim_one("w", "echo").id, id);
}

#[test]
fn a_task_whose_specification_is_damaged_fails_and_does_not_come_back() {
    let mut bench = Bench::with(QueueOptions { spec_cache_bytes: 0, ..QueueOptions::default() });
    bench.submit(task("echo"));
    let good = bench.submit(task("echo"));
    let key = bench.disk.entries(meshwork_proto::store::Family::Tasks)[0].0.clone();
    assert_eq!(key[0], b's');
    let (family, value) = (meshwork_proto::store::Family::Tasks, bytes::Bytes::from_static(b"\x01broken"));
    bench.disk.apply(&[meshwork_proto::store::WriteOp::Put { family, key, value }]);
    let ids: Vec<_> = bench.claim("w", &["echo"], 10).iter().map(|grant| grant.id).collect();
    assert_eq!(ids, [good]);
    assert_eq!(bench.stats().by_status[&TaskStatus::Failed], 1);
}

#[test]
fn nothing_is_granted_while_the_store_is_behind() {
    let mut bench = Bench::new();
    bench.submit(task("echo"));
    bench.turn(|state, turn| state.set_stalled(turn, true));
    let ticket = bench.claim_ticket("w", offer(&["echo"]), 1, 60_000);
    assert!(!bench.answered(ticket));
    bench.turn(|state, turn| state.set_stalled(turn, false));
    assert_eq!(bench.claimed(ticket).grants.len(), 1);
}
