//! Clocks that jump, and changes of summer time over restarts.

use super::bench::{Bench, HOUR, MINUTE, START, busy, cron, every};
use crate::schedule::logic::Note;
use crate::schedule::records::{Begun, Key, ProgressRecord, ScheduleRecord, put, read};
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction, Timing};
use meshwork_proto::{ErrorCode, UnixMillis};
use std::time::Duration;

const DAY: i64 = 24 * 3_600_000;

#[test]
fn a_clock_that_is_corrected_backwards_starts_nothing_twice() {
    let mut bench = Bench::new();
    bench.add(every(10 * MINUTE));
    bench.advance(30 * MINUTE);
    bench.set_clock(-25 * 60_000);
    assert!(bench.notes.contains(&Note::ClockWentBack(Duration::from_secs(25 * 60))));
    bench.advance(24 * MINUTE);
    assert_eq!(bench.dues().len(), 3, "10, 20 and 30 minutes were dealt with");
    bench.restart();
    bench.advance(15 * MINUTE);
    assert_eq!(bench.dues().last(), Some(&(40 * MINUTE)));
    assert_eq!(bench.dues().len(), 4);
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_schedules_when_it_is_right_again() {
    let mut bench = Bench::new();
    bench.add(every(HOUR));
    bench.set_clock(400 * DAY);
    assert_eq!(bench.dues().len(), 1, "one for all that passed");
    bench.set_clock(-400 * DAY);
    bench.advance(2 * HOUR);
    assert_eq!(bench.dues()[1..], [HOUR, 2 * HOUR]);
}

#[test]
fn a_clock_that_was_far_ahead_before_the_start_of_the_node_does_not_stop_schedules_either() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::Skip, ..every(HOUR) });
    bench.set_clock(400 * DAY + DAY / 48);
    bench.now = UnixMillis(START.0 + HOUR / 2);
    bench.restart();
    bench.advance(HOUR);
    assert_eq!(bench.dues(), [HOUR]);
}

#[test]
fn a_schedule_that_was_made_when_the_clock_was_far_ahead_keeps_its_pace() {
    let mut bench = Bench::new();
    bench.set_clock(10 * DAY);
    bench.add(every(HOUR));
    bench.set_clock(-10 * DAY);
    bench.advance(3 * HOUR);
    assert_eq!(bench.dues(), [HOUR, 2 * HOUR, 3 * HOUR]);
}

#[test]
fn times_that_a_clock_passes_when_it_is_set_forward_were_missed() {
    for (missed, starts, skipped) in [(Missed::Skip, 0, 5), (Missed::Once, 1, 0), (Missed::All, 5, 0)] {
        let mut bench = Bench::new();
        bench.add(AddSchedule { missed, ..every(HOUR) });
        bench.set_clock(5 * 3_600_000 + 1_800_000);
        let view = bench.tick();
        assert_eq!((bench.dues().len(), view.skipped), (starts, skipped), "{missed:?}");
    }
}

#[test]
fn another_try_is_not_put_off_when_the_clock_goes_back() {
    let mut bench = Bench::new();
    bench.add(every(HOUR));
    bench.outside.refusals.push_back(busy());
    bench.advance(HOUR);
    bench.set_clock(-3_000_000);
    bench.advance(MINUTE);
    assert_eq!(bench.dues(), [HOUR]);
}

#[test]
fn a_start_that_had_begun_long_ago_is_not_made_again() {
    let mut bench = Bench::new();
    let id = bench.add(AddSchedule { missed: Missed::Skip, ..every(HOUR) }).id;
    bench.auto = false;
    bench.advance(HOUR);
    bench.step_unheard();
    bench.step_unheard();
    bench.auto = true;
    bench.down(30 * HOUR + HOUR / 2);
    let view = bench.tick();
    let unsure = view.last[0].clone();
    assert_eq!((unsure.due.0 - START.0, unsure.error.unwrap().code), (HOUR, ErrorCode::Unavailable));
    assert_eq!((view.starts, view.skipped), (0, 30));
    let progress: ProgressRecord = read(&bench.disk.entries[&Key::Progress(id).bytes()]).unwrap();
    assert_eq!(progress.begun, None::<Begun>);
}

#[test]
fn a_night_that_has_no_half_past_two_and_one_that_has_two_start_once_each() {
    // From the 28th of March 2026, 12:00 UTC, over the change to summer time, with a restart in every hour.
    let begin = 1_774_699_200_000;
    for (begin, nights) in [(begin, 2), (begin + 210 * 24 * HOUR, 2)] {
        let mut bench = Bench::new();
        bench.now = UnixMillis(begin);
        bench.restart();
        bench.add(AddSchedule { missed: Missed::All, ..cron("30 2 * * *", "Europe/Berlin") });
        for _ in 0..nights * 24 {
            bench.advance(HOUR / 2);
            bench.down(HOUR / 2);
        }
        assert_eq!(bench.outside.created.len(), nights, "from {begin}");
    }
}

#[test]
fn a_schedule_that_this_build_cannot_read_is_shown_and_can_be_removed() {
    let mut bench = Bench::new();
    let id = bench.add(every(HOUR)).id;
    let key = Key::Schedule(id).bytes();
    let record: ScheduleRecord = read(&bench.disk.entries[&key]).unwrap();
    let timing = Timing::Cron { expression: "at full moon".into(), timezone: "UTC".into() };
    bench.disk.apply(&[put(Key::Schedule(id), &ScheduleRecord { timing, ..record }).unwrap()]);
    bench.state = crate::schedule::logic::Schedules::new(bench.options.clone(), 9);
    let page: Vec<_> = bench.disk.entries.clone().into_iter().collect();
    let problems = bench.state.load_page(&page).unwrap();
    assert!(problems[0].starts_with("tick: ") && problems[0].contains("full moon"), "{problems:?}");
    bench.turn(|state, turn| state.loaded(turn));
    bench.advance(48 * HOUR);
    assert_eq!((bench.tick().next, bench.dues().len()), (None, 0));
    bench.control(ScheduleAction::Remove).unwrap();
}

#[test]
fn a_damaged_record_and_one_without_its_other_half_are_errors() {
    let mut bench = Bench::new();
    let id = bench.add(every(HOUR)).id;
    let load = |bench: &mut Bench| {
        let page: Vec<_> = bench.disk.entries.clone().into_iter().collect();
        crate::schedule::logic::Schedules::new(bench.options.clone(), 9).load_page(&page)
    };
    load(&mut bench).unwrap();
    let progress = bench.disk.entries.remove(&Key::Progress(id).bytes()).unwrap();
    assert!(load(&mut bench).unwrap_err().to_string().contains(&id.to_string()));
    bench.disk.entries.insert(Key::Progress(id).bytes(), progress.slice(..progress.len() - 1));
    assert!(load(&mut bench).is_err());
}
