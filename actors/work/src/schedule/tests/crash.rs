//! Crashes between any two steps: every one of them is tried.

use super::bench::{Bench, HOUR, START, every};
use crate::schedule::logic::Note;
use meshwork_proto::Caller;
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction};

const PERIOD: u64 = 10_000;
const END: u64 = 65_000;

/// Where the crash comes: before the nth step is carried out, or right behind it before anybody hears of it.
#[derive(Debug, Clone, Copy)]
struct Crash {
    step: usize,
    unheard: bool,
    down: u64,
}

/// Runs the schedule to its end with one crash; when that came, if it did.
fn run(add: &AddSchedule, takes: u64, crash: Crash) -> (Bench, Option<u64>) {
    let mut bench = Bench::new();
    bench.add(add.clone());
    bench.auto = false;
    let (mut steps, mut crashed) = (0, None);
    while bench.now.0 < START.0 + END {
        bench.advance(1000);
        while !bench.pending.is_empty() {
            if steps == crash.step && crashed.is_none() {
                if crash.unheard {
                    bench.step_unheard();
                }
                crashed = Some(bench.now.0 - START.0);
                bench.down(crash.down);
            } else {
                let running = |at: u64| at + takes > bench.now.0;
                let finished =
                    bench.outside.created.iter().filter(|creation| !running(creation.at.0)).count();
                bench.outside.finished = (1..=finished as u128).collect();
                let before = bench.outside.created.len();
                let idle =
                    bench.outside.created.iter().all(|creation| bench.outside.is_finished(creation.made));
                bench.step();
                let created = bench.outside.created.len() > before;
                assert!(!created || !add.no_overlap || idle, "two overlap: {crash:?}");
            }
            steps += 1;
        }
    }
    (bench, crashed)
}

/// Every crash there is, for one schedule; `check` is told when it came.
fn every_crash(add: &AddSchedule, takes: u64, check: impl Fn(&mut Bench, Crash, u64)) {
    for down in [0, 25_000, 2 * HOUR] {
        for unheard in [false, true] {
            let mut crash = Crash { step: 0, unheard, down };
            loop {
                let (mut bench, crashed) = run(add, takes, crash);
                let Some(at) = crashed else { break };
                assert!(bench.fatal.is_none());
                check(&mut bench, crash, at);
                crash.step += 1;
            }
            assert!(crash.step > 10, "only {} steps", crash.step);
        }
    }
}

/// All times until now, in milliseconds since the beginning.
fn passed(bench: &Bench) -> Vec<u64> {
    (1..=(bench.now.0 - START.0) / PERIOD).map(|n| n * PERIOD).collect()
}

/// Starts of which nobody knows any more whether they were made.
fn unsure(bench: &Bench) -> usize {
    bench.notes.iter().filter(|note| matches!(note, Note::Failed { .. })).count()
}

/// Everything that was made is recorded, once, and no time was started twice.
fn check_records(bench: &mut Bench, crash: Crash, _: u64) {
    let view = bench.tick();
    let unsure = unsure(bench);
    // Only after a long while it is not known whether a start was made.
    assert!(unsure <= usize::from(crash.down > HOUR), "{crash:?}");
    let lost = unsure as u64;
    let made = bench.outside.created.len() as u64;
    assert!(view.starts <= made && view.starts + lost >= made, "{crash:?}");
    let dues = bench.dues();
    assert!(dues.windows(2).all(|pair| pair[0] < pair[1]), "{dues:?} {crash:?}");
    let shown = view.last.iter().filter(|started| started.error.is_none());
    let shown: Vec<u64> = shown.map(|started| started.due.0 - START.0).collect();
    assert!(unsure > 0 || dues.iter().rev().take(10).eq(shown.iter()), "{crash:?}");
}

#[test]
fn each_time_is_started_exactly_once_when_all_are_made_up_for() {
    let add = AddSchedule { missed: Missed::All, ..every(PERIOD) };
    every_crash(&add, 0, |bench, crash, at| {
        check_records(bench, crash, at);
        let (all, skipped, dues) = (passed(bench), bench.tick().skipped, bench.dues());
        if crash.down < HOUR {
            return assert_eq!((dues, skipped), (all, 0), "{crash:?}");
        }
        // Of two hours of times the latest hundred are made up for; those before the crash were started.
        assert!(dues.ends_with(&all[all.len() - 100..]), "{crash:?}");
        let dealt_with = view_count(bench) + usize::try_from(skipped).unwrap();
        assert_eq!(dealt_with, all.len(), "{crash:?}");
    });
}

#[test]
fn each_time_is_started_or_counted_as_skipped_when_none_is_made_up_for() {
    let add = AddSchedule { missed: Missed::Skip, ..every(PERIOD) };
    every_crash(&add, 0, |bench, crash, at| {
        check_records(bench, crash, at);
        let skipped = usize::try_from(bench.tick().skipped).unwrap();
        assert_eq!(view_count(bench) + skipped, passed(bench).len(), "{crash:?}");
        assert!(crash.down > 0 || skipped == 0, "{crash:?}");
    });
}

/// Starts that were recorded, well or not.
fn view_count(bench: &mut Bench) -> usize {
    usize::try_from(bench.tick().starts).unwrap() + unsure(bench)
}

#[test]
fn one_start_makes_up_for_what_a_crash_made_the_node_miss() {
    let add = AddSchedule { missed: Missed::Once, ..every(PERIOD) };
    every_crash(&add, 0, |bench, crash, at| {
        check_records(bench, crash, at);
        assert_eq!(bench.tick().skipped, 0);
        let dues = bench.dues();
        let down = at + 1..=at + crash.down;
        let made_up = dues.iter().filter(|due| down.contains(due)).count();
        assert!(made_up <= 1, "{crash:?}");
        let all = passed(bench);
        let missing = all.iter().filter(|due| !down.contains(due) && !dues.contains(due)).count();
        // The time that was due at the crash may be among those that one start makes up for.
        assert!(missing <= made_up + unsure(bench), "{crash:?}");
    });
}

#[test]
fn starts_never_overlap_whatever_was_lost() {
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        let add = AddSchedule { missed, no_overlap: true, ..every(PERIOD) };
        every_crash(&add, 15_000, check_records);
    }
}

#[test]
fn a_start_by_hand_that_had_begun_is_made_once() {
    for (step, unheard) in (0..3).flat_map(|step| [(step, false), (step, true)]) {
        let mut bench = Bench::new();
        bench.add(every(HOUR));
        bench.auto = false;
        bench.control_ticket(Caller::Local, "tick", ScheduleAction::Trigger);
        for _ in 0..step {
            assert!(bench.step());
        }
        if unheard {
            bench.step_unheard();
        }
        bench.down(5_000);
        while bench.step() {}
        let begun = step > 0 || unheard;
        let view = bench.tick();
        assert_eq!((bench.outside.created.len(), view.starts), (usize::from(begun), u64::from(begun)));
        assert_eq!(view.next.unwrap().0, START.0 + HOUR);
    }
}

#[test]
fn a_schedule_that_was_written_without_anybody_hearing_of_it_is_found_when_it_is_made_again() {
    for unheard in [false, true] {
        let mut bench = Bench::new();
        bench.auto = false;
        bench.ask_as(Caller::Local, crate::schedule::logic::Op::Add(every(PERIOD)));
        if unheard {
            bench.step_unheard();
        }
        bench.down(1000);
        bench.auto = true;
        let view = bench.add(every(PERIOD));
        assert_eq!(view.created.0, START.0 + if unheard { 0 } else { 1000 });
        assert_eq!(bench.list_as(Caller::Local, None).unwrap().len(), 1);
    }
}

#[test]
fn pauses_and_removals_hold_once_they_were_answered() {
    for action in [ScheduleAction::Pause, ScheduleAction::Remove] {
        let mut bench = Bench::new();
        bench.add(every(PERIOD));
        bench.advance(PERIOD + 1);
        bench.control(action).unwrap();
        bench.down(HOUR);
        bench.advance(HOUR);
        assert_eq!(bench.dues(), [PERIOD], "{action:?}");
    }
}
