//! Times that passed while the node was down or the schedule was paused.

use super::bench::{Bench, HOUR, START, every};
use crate::schedule::logic::Note;
use meshwork_proto::UnixMillis;
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction};

/// An hourly schedule that started twice, and whose node is then down for ten hours and a half.
fn after_a_night(missed: Missed) -> Bench {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed, ..every(HOUR) });
    bench.advance(2 * HOUR + HOUR / 4);
    bench.down(10 * HOUR + HOUR / 2);
    bench
}

#[test]
fn skipped_ones_are_counted_and_nothing_is_started() {
    let mut bench = after_a_night(Missed::Skip);
    assert_eq!(bench.dues(), [HOUR, 2 * HOUR]);
    let view = bench.tick();
    assert_eq!((view.starts, view.skipped, view.next), (2, 10, Some(UnixMillis(START.0 + 13 * HOUR))));
    bench.advance(HOUR);
    assert_eq!(bench.dues().last(), Some(&(13 * HOUR)));
    assert!(bench.notes.contains(&Note::Skipped(10)));
}

#[test]
fn one_start_makes_up_for_all_of_them() {
    let mut bench = after_a_night(Missed::Once);
    assert_eq!(bench.dues(), [HOUR, 2 * HOUR, 12 * HOUR]);
    let view = bench.tick();
    assert_eq!((view.starts, view.skipped), (3, 0));
    assert_eq!(view.last[0].at, bench.now);
    bench.restart();
    bench.advance(HOUR / 8);
    assert_eq!(bench.dues().len(), 3, "once");
}

#[test]
fn each_of_them_is_made_up_for_in_order() {
    let mut bench = after_a_night(Missed::All);
    let all: Vec<u64> = (1..=12).map(|n| n * HOUR).collect();
    assert_eq!(bench.dues(), all);
    assert_eq!(bench.tick().skipped, 0);
}

#[test]
fn of_very_many_the_latest_hundred_are_made_up_for() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::All, ..every(HOUR) });
    bench.down(150 * HOUR + 1);
    let expected: Vec<u64> = (51..=150).map(|n| n * HOUR).collect();
    assert_eq!(bench.dues(), expected);
    assert_eq!(bench.tick().skipped, 50);
}

#[test]
fn a_time_that_passed_a_moment_ago_is_not_missed() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::Skip, ..every(HOUR) });
    bench.advance(HOUR - 10_000);
    bench.down(40_000);
    assert_eq!(bench.dues(), [HOUR], "a restart of the node takes nothing away");
    bench.advance(HOUR - 40_000);
    bench.down(71_000);
    assert_eq!((bench.dues().len(), bench.tick().skipped), (1, 1), "but a minute later it is too late");
}

#[test]
fn of_many_times_that_passed_a_moment_ago_one_is_started() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::Skip, ..every(1000) });
    bench.down(30_500);
    assert_eq!(bench.dues(), [30_000], "no burst");
    assert_eq!(bench.tick().skipped, 29);
}

#[test]
fn nothing_is_started_during_a_pause_and_what_passed_is_dealt_with_by_the_rule_after_it() {
    for (missed, expected, skipped) in [
        (Missed::Skip, vec![HOUR, 5 * HOUR], 3),
        (Missed::Once, vec![HOUR, 4 * HOUR, 5 * HOUR], 0),
        (Missed::All, vec![HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 5 * HOUR], 0),
    ] {
        let mut bench = Bench::new();
        bench.add(AddSchedule { missed, ..every(HOUR) });
        bench.advance(HOUR);
        let paused = bench.control(ScheduleAction::Pause).unwrap();
        assert_eq!((paused.paused, paused.next), (true, None));
        bench.advance(HOUR);
        bench.down(HOUR);
        // Just behind a time: even that one passed during the pause.
        bench.advance(HOUR + 1000);
        assert_eq!(bench.dues(), [HOUR]);
        let resumed = bench.control(ScheduleAction::Resume).unwrap();
        assert!(!resumed.paused && resumed.next.is_some());
        bench.advance(HOUR);
        assert_eq!((bench.dues(), bench.tick().skipped), (expected, skipped), "{missed:?}");
    }
}

#[test]
fn a_schedule_that_is_not_paused_can_be_resumed_and_nothing_is_left_out() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::Skip, ..every(HOUR) });
    bench.auto = false;
    bench.advance(HOUR);
    let ticket = bench.control_ticket(meshwork_proto::Caller::Local, "tick", ScheduleAction::Resume);
    while bench.step() {}
    assert!(!bench.view(ticket).unwrap().paused);
    assert_eq!((bench.dues(), bench.tick().skipped), (vec![HOUR], 0));
}
