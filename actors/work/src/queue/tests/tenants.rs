//! Tenants: turns inside a priority, limits.

use super::bench::{Bench, done, task};
use crate::queue::options::QueueOptions;
use meshwork_proto::task::{TaskSpec, WaitingFor};
use std::collections::BTreeMap;

fn of(tenant: &str, tool: &str) -> TaskSpec {
    let mut spec = task(tool);
    spec.tenant = Some(tenant.into());
    spec
}

#[test]
fn a_tenant_with_one_task_does_not_wait_behind_the_thousand_of_another() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.submit(of("large", "a"));
    }
    let small = bench.submit(of("small", "a"));
    let claimed: Vec<_> = bench.claim("w", &["a"], 3).iter().map(|grant| grant.id).collect();
    assert!(claimed.contains(&small));
}

#[test]
fn tenants_take_turns_across_tools_and_a_higher_priority_still_comes_first() {
    let mut bench = Bench::new();
    let mut tenants = BTreeMap::new();
    for n in 0..30 {
        for tenant in ["x", "y", "z"] {
            tenants.insert(bench.submit(of(tenant, if n % 2 == 0 { "a" } else { "b" })), tenant);
        }
    }
    let mut urgent = of("x", "a");
    urgent.priority = 6;
    let urgent = bench.submit(urgent);
    let claimed = bench.claim("w", &["a", "b"], 10);
    assert_eq!(claimed[0].id, urgent);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for grant in &claimed[1..] {
        *counts.entry(tenants[&grant.id]).or_default() += 1;
    }
    assert!(counts.values().all(|count| (2..=4).contains(count)), "{counts:?}");
}

#[test]
fn inside_a_tenant_what_was_submitted_first_comes_first() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..10).map(|n| bench.submit(of("t", ["a", "b"][n % 2]))).collect();
    let claimed: Vec<_> = bench.claim("w", &["a", "b"], 10).iter().map(|grant| grant.id).collect();
    assert_eq!(claimed, ids);
}

#[test]
fn a_tenant_runs_as_many_tasks_as_it_may_and_others_are_not_held_up() {
    let mut bench = Bench::with(QueueOptions { tenant_limit: Some(2), ..QueueOptions::default() });
    for _ in 0..5 {
        bench.submit(of("t", "a"));
    }
    let free = bench.submit(task("a"));
    let grants = bench.claim("w", &["a"], 10);
    assert_eq!(grants.len(), 3);
    assert!(grants.iter().any(|grant| grant.id == free));
    assert!(bench.claim("w", &["a"], 10).is_empty());
    bench.restart();
    assert!(bench.claim("w", &["a"], 10).is_empty(), "the limit holds after a restart");
    let waiting = bench.submit(of("t", "a"));
    let tenant = "t".to_owned();
    assert_eq!(bench.get(waiting).waiting_for, Some(WaitingFor::TenantLimit { tenant, limit: 2 }));
    let blocked = bench.claim_ticket("w", super::bench::offer(&["a"]), 10, 60_000);
    let first = grants.iter().find(|grant| grant.id != free).unwrap();
    bench.finish("w", first, done()).unwrap();
    assert_eq!(bench.claimed(blocked).grants.len(), 1, "the next one starts when one ends");
}

#[test]
fn limits_and_keys_hold_together() {
    let mut bench = Bench::with(QueueOptions { tenant_limit: Some(2), ..QueueOptions::default() });
    for n in 0..12 {
        let mut spec = of(["t", "u"][n % 2], ["a", "b"][n / 2 % 2]);
        spec.concurrency_key = Some(format!("k{}", n / 4));
        bench.submit(spec);
    }
    let mut done_count = 0;
    while done_count < 12 {
        let grants = bench.claim("w", &["a", "b"], 10);
        assert!(!grants.is_empty() && grants.len() <= 3, "three keys");
        for grant in grants {
            bench.finish("w", &grant, done()).unwrap();
            done_count += 1;
        }
    }
}
