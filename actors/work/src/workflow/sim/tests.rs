//! The coordinator passes; each deliberate fault is found.

use super::{Fault, Report, run};

/// Seeds of each test: thousands where the code is optimised.
const SEEDS: u64 = if cfg!(debug_assertions) { 45 } else { 1000 };

#[expect(clippy::disallowed_methods, reason = "what to rerun comes from whoever reruns it")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Of which run the events are to be printed.
pub(super) fn story() -> Option<String> {
    environment("MESHWORK_SIM_STORY")
}

/// Names the seed that reruns a broken promise.
fn must_pass(seed: u64) -> Report {
    match run(seed, None) {
        Ok(report) => report,
        Err(violation) => panic!(
            "seed {seed}, after {} ms: {}\nrerun it with MESHWORK_SIM_SEED={seed} cargo test -p meshwork-work --lib \
             workflow::sim::tests::the_seed -- --nocapture",
            violation.at, violation.what
        ),
    }
}

fn must_pass_all(part: u64) {
    let mut sum = Report::default();
    for seed in part * SEEDS..(part + 1) * SEEDS {
        let report = must_pass(seed);
        sum.add(&report);
    }
    println!("{sum:?}");
    assert!(sum.crashes > SEEDS && sum.messages_lost > SEEDS, "the worlds were too quiet: {sum:?}");
    assert!(sum.completed > SEEDS && sum.failed > SEEDS / 3, "too little happened: {sum:?}");
    assert!(sum.moved > SEEDS / 2 && sum.retried > SEEDS / 10, "too little happened: {sum:?}");
    assert!(
        sum.cancelled > SEEDS / 3 && sum.undone > SEEDS / 3 && sum.parts > SEEDS / 2,
        "too little happened: {sum:?}"
    );
}

#[test]
fn promises_are_kept_in_the_first_worlds() {
    must_pass_all(0);
}

#[test]
fn promises_are_kept_in_the_second_worlds() {
    must_pass_all(1);
}

#[test]
fn promises_are_kept_in_the_third_worlds() {
    must_pass_all(2);
}

#[test]
fn promises_are_kept_in_the_fourth_worlds() {
    must_pass_all(3);
}

#[test]
fn the_seed_of_the_environment_is_rerun() {
    let Some(seeds) = environment("MESHWORK_SIM_SEED") else { return };
    let number =
        |text: &str| text.parse::<u64>().expect("MESHWORK_SIM_SEED is a seed, or two with .. between");
    let (first, end) = match seeds.split_once("..") {
        Some((first, end)) => (number(first), number(end)),
        None => (number(&seeds), number(&seeds) + 1),
    };
    // All of them, so that one look shows what happens how often.
    let mut broken = Vec::new();
    let mut sum = Report::default();
    for seed in first..end {
        match run(seed, None) {
            Ok(report) => sum.add(&report),
            Err(violation) => {
                println!("seed {seed}, after {} ms: {}", violation.at, violation.what);
                broken.push(seed);
            }
        }
    }
    println!("{sum:?}");
    assert!(broken.is_empty(), "{} of {} worlds broke a promise: {broken:?}", broken.len(), end - first);
}

#[test]
fn a_seed_gives_the_same_world_every_time() {
    for seed in [3, 17] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(3, None), run(17, None));
}

/// A fault is found within a hundred seeds.
fn must_fail(fault: Fault) {
    for seed in 0..100 {
        if let Err(violation) = run(seed, Some(fault)) {
            println!("{fault:?} is found by seed {seed} after {} ms: {}", violation.at, violation.what);
            return;
        }
    }
    panic!("{fault:?} is not found within a hundred seeds");
}

macro_rules! faults {
    ($($name:ident = $fault:expr;)*) => {
        $(#[test]
        fn $name() {
            must_fail($fault);
        })*
    };
}

faults! {
    it_is_noticed_if_attempts_are_submitted_without_keys = Fault::KeysForgotten;
    it_is_noticed_if_tasks_of_ending_runs_are_not_given_up = Fault::DeafQueue;
    it_is_noticed_if_the_store_says_too_early_that_it_has_synced = Fault::EarlySync;
    it_is_noticed_if_results_are_not_those_of_workers = Fault::FalseResult;
    it_is_noticed_if_a_crash_tears_the_log = Fault::TornLog;
    it_is_noticed_if_a_hand_over_ends_with_two_coordinators = Fault::FalseRefusal;
}
