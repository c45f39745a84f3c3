//! The queue passes; each deliberate fault is found.

use super::{Fault, Report, run};
use crate::queue::logic::Mutant;

/// Names the seed that reruns a broken promise.
fn must_pass(seed: u64) -> Report {
    match run(seed, None) {
        Ok(report) => report,
        Err(violation) => panic!(
            "seed {seed}, after {} ms: {}\nrerun it with MESHWORK_SIM_SEED={seed} cargo nextest run -p meshwork-work \
             the_seed_of_the_environment",
            violation.at, violation.what
        ),
    }
}

fn must_pass_all(seeds: std::ops::Range<u64>) {
    let mut sum = Report::default();
    for seed in seeds {
        let report = must_pass(seed);
        sum.crashes += report.crashes;
        sum.messages_lost += report.messages_lost;
        sum.accepted += report.accepted;
        sum.grants += report.grants;
        sum.finished += report.finished;
        sum.stale += report.stale;
        sum.events += report.events;
    }
    println!("{sum:?}");
    assert!(
        sum.crashes > 50 && sum.messages_lost > 1000 && sum.stale > 20,
        "the runs were too quiet: {sum:?}"
    );
    assert!(sum.grants > sum.accepted && sum.accepted > 1000, "too little happened: {sum:?}");
}

#[test]
fn promises_are_kept_in_the_first_hundred_worlds() {
    must_pass_all(0..100);
}

#[test]
fn promises_are_kept_in_the_second_hundred_worlds() {
    must_pass_all(100..200);
}

#[test]
fn promises_are_kept_in_the_third_hundred_worlds() {
    must_pass_all(200..300);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the seed to rerun comes from whoever reruns it")]
fn the_seed_of_the_environment_is_rerun() {
    let Ok(seeds) = std::env::var("MESHWORK_SIM_SEED") else { return };
    let number = |text: &str| text.parse().expect("MESHWORK_SIM_SEED is a seed, or two with .. between");
    let (first, end) = match seeds.split_once("..") {
        Some((first, end)) => (number(first), number(end)),
        None => (number(&seeds), number(&seeds) + 1),
    };
    for seed in first..end {
        println!("{seed}: {:?}", must_pass(seed));
    }
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
    it_is_noticed_if_fences_are_not_checked = Fault::Logic(Mutant::NoFenceCheck);
    it_is_noticed_if_submissions_are_answered_before_their_commit = Fault::Logic(Mutant::EarlyAnswer);
    it_is_noticed_if_reports_are_answered_before_their_commit = Fault::Logic(Mutant::EarlyFinish);
    it_is_noticed_if_leases_never_end = Fault::Logic(Mutant::EternalLease);
    it_is_noticed_if_failures_are_retried_for_ever = Fault::Logic(Mutant::EndlessRetry);
    it_is_noticed_if_priority_is_ignored = Fault::Logic(Mutant::FlatPriority);
    it_is_noticed_if_concurrency_keys_are_ignored = Fault::Logic(Mutant::KeysIgnored);
    it_is_noticed_if_a_concurrency_key_is_never_free_again = Fault::Logic(Mutant::KeysHeld);
    it_is_noticed_if_idempotency_keys_are_forgotten = Fault::Logic(Mutant::ForgetfulKeys);
    it_is_noticed_if_cancelling_drops_a_running_task = Fault::Logic(Mutant::CancelDrops);
    it_is_noticed_if_a_completed_task_stays_in_the_queue = Fault::Logic(Mutant::CompletedStays);
    it_is_noticed_if_a_claim_is_not_written_down = Fault::Logic(Mutant::UnwrittenClaim);
    it_is_noticed_if_the_end_of_a_watched_task_is_not_told = Fault::Logic(Mutant::UntoldEnd);
    it_is_noticed_if_fences_begin_again_after_a_restart = Fault::EpochNotRaised;
}
