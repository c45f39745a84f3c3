//! Times of cron expressions over changes of the clock, of intervals, and what is refused.

use super::*;
use chrono::NaiveDateTime;
use proptest::prelude::*;

/// A moment, as it is written in UTC.
fn utc(text: &str) -> UnixMillis {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    UnixMillis(u64::try_from(time.and_utc().timestamp_millis()).unwrap())
}

fn shown(at: UnixMillis) -> String {
    local(Tz::UTC, at).unwrap().format("%Y-%m-%d %H:%M:%S").to_string()
}

fn cron(expression: &str, timezone: &str) -> Times {
    let timing = Timing::Cron { expression: expression.into(), timezone: timezone.into() };
    Times::read(&timing, utc("2026-01-01 00:00:00")).unwrap()
}

fn problem(timing: Timing) -> (&'static str, String) {
    match Times::read(&timing, utc("2026-01-01 00:00:00")) {
        Err(ScheduleError::Invalid { field, problem }) => (field, problem),
        other => panic!("{other:?}"),
    }
}

fn wrong_cron(expression: &str) -> String {
    problem(Timing::Cron { expression: expression.into(), timezone: "UTC".into() }).1
}

/// The first `n` times after a moment, in UTC.
fn times(times: &Times, after: &str, n: usize) -> Vec<String> {
    let next = |at: &UnixMillis| times.next_after(*at);
    let first = times.next_after(utc(after));
    std::iter::successors(first, next).take(n).map(shown).collect()
}

#[test]
fn five_fields_are_minutes_and_six_begin_with_seconds() {
    let daily = cron("30 9 * * *", "UTC");
    assert_eq!(times(&daily, "2026-01-01 09:30:00", 2), ["2026-01-02 09:30:00", "2026-01-03 09:30:00"]);
    let often = cron("*/20 * * * * *", "UTC");
    assert_eq!(times(&often, "2026-01-01 00:00:01", 2), ["2026-01-01 00:00:20", "2026-01-01 00:00:40"]);
    let weekdays = cron("0 12 * * MON-FRI", "UTC");
    assert_eq!(times(&weekdays, "2026-01-02 13:00:00", 1), ["2026-01-05 12:00:00"]);
    assert_eq!(times(&cron("@monthly", "UTC"), "2026-01-02 13:00:00", 1), ["2026-02-01 00:00:00"]);
}

#[test]
fn a_fraction_of_a_second_neither_repeats_a_time_nor_leaves_one_out() {
    let times = cron("0 10 * * *", "UTC");
    let ten = utc("2026-03-03 10:00:00");
    assert_eq!(times.next_after(UnixMillis(ten.0 - 1)), Some(ten));
    assert_eq!(times.next_after(UnixMillis(ten.0 + 1)), Some(utc("2026-03-04 10:00:00")));
    assert_eq!(times.passed(UnixMillis(ten.0 - 1), UnixMillis(ten.0 + 1), 9).latest, [ten]);
    assert_eq!(times.passed(ten, UnixMillis(ten.0 + 999), 9), Passed::default());
}

#[test]
fn a_time_of_the_day_is_that_of_its_zone_in_winter_and_in_summer() {
    let berlin = cron("0 9 * * *", "Europe/Berlin");
    assert_eq!(times(&berlin, "2026-01-10 00:00:00", 1), ["2026-01-10 08:00:00"]);
    assert_eq!(times(&berlin, "2026-07-10 00:00:00", 1), ["2026-07-10 07:00:00"]);
    let tokyo = cron("0 9 * * *", "Asia/Tokyo");
    assert_eq!(times(&tokyo, "2026-01-10 00:00:00", 2), ["2026-01-11 00:00:00", "2026-01-12 00:00:00"]);
}

#[test]
fn a_time_of_the_day_that_the_change_to_summer_time_leaves_out_comes_right_after_the_gap() {
    // 02:00 becomes 03:00 on the 29th of March.
    let night = cron("30 2 * * *", "Europe/Berlin");
    let expected = ["2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"];
    assert_eq!(times(&night, "2026-03-28 00:00:00", 3), expected);
}

#[test]
fn of_many_times_those_in_the_gap_are_left_out() {
    let often = cron("*/30 * * * *", "Europe/Berlin");
    let expected = ["2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00"];
    assert_eq!(times(&often, "2026-03-29 00:00:00", 3), expected, "02:00 and 02:30 do not exist");
}

#[test]
fn a_time_of_the_day_that_comes_twice_is_taken_the_first_time_only() {
    // 03:00 becomes 02:00 on the 25th of October.
    let night = cron("30 2 * * *", "Europe/Berlin");
    let expected = ["2026-10-24 00:30:00", "2026-10-25 00:30:00", "2026-10-26 01:30:00"];
    assert_eq!(times(&night, "2026-10-24 00:00:00", 3), expected);
}

#[test]
fn of_many_times_those_that_come_twice_are_taken_twice() {
    let hourly = cron("15 * * * *", "Europe/Berlin");
    let expected = ["2026-10-25 00:15:00", "2026-10-25 01:15:00", "2026-10-25 02:15:00"];
    assert_eq!(times(&hourly, "2026-10-25 00:00:00", 3), expected, "02:15, 02:15 again, 03:15");
}

#[test]
fn a_whole_day_that_a_zone_leaves_out_does_not_end_its_schedules() {
    // Samoa went from the 29th of December 2011 to the 31st.
    let noon = cron("0 12 * * *", "Pacific/Apia");
    let next = times(&noon, "2011-12-29 23:00:00", 2);
    assert_eq!(next, ["2011-12-30 22:00:00", "2011-12-31 22:00:00"]);
}

#[test]
fn what_passed_is_counted_and_the_latest_are_kept() {
    let hourly = cron("0 * * * *", "UTC");
    let (after, until) = (utc("2026-01-01 00:00:00"), utc("2026-01-02 00:00:00"));
    let passed = hourly.passed(after, until, 3);
    let latest: Vec<_> = passed.latest.iter().map(|at| shown(*at)).collect();
    assert_eq!(latest, ["2026-01-01 22:00:00", "2026-01-01 23:00:00", "2026-01-02 00:00:00"]);
    assert_eq!(passed.count, 24);
    let much = cron("* * * * * *", "UTC").passed(after, until, 100);
    assert_eq!((much.latest.len(), much.count), (100, MAX_COUNTED));
}

#[test]
fn intervals_are_counted_from_when_the_schedule_was_made() {
    let from = UnixMillis(5_500);
    let times = Times::read(&Timing::Every { interval_ms: 2000 }, from).unwrap();
    assert_eq!(times.next_after(from), Some(UnixMillis(7_500)));
    assert_eq!(times.next_after(UnixMillis(7_499)), Some(UnixMillis(7_500)));
    assert_eq!(times.next_after(UnixMillis(7_500)), Some(UnixMillis(9_500)));
    let passed = times.passed(UnixMillis(7_500), UnixMillis(1_000_000), 2);
    assert_eq!(passed, Passed { latest: [UnixMillis(997_500), UnixMillis(999_500)].into(), count: 496 });
    assert_eq!(times.passed(UnixMillis(7_500), UnixMillis(7_500), 2), Passed::default());
    assert_eq!(times.next_after(UnixMillis(100)), Some(UnixMillis(1_500)), "a clock that was set back");
    assert_eq!(times.next_after(UnixMillis(u64::MAX)), None);
}

#[test]
fn what_is_no_timing_is_refused_with_what_would_be_one() {
    for wrong in ["", "* * * *", "61 * * * *", "* * * * * * *", "* * * * * * 2027", "every day", "@never"] {
        let problem = wrong_cron(wrong);
        assert!(problem.contains(&format!("{wrong:?}")) && problem.contains("five fields"), "{problem}");
    }
    assert!(wrong_cron("0 0 30 2 *").contains("never comes"), "the 30th of February");
    assert!(wrong_cron(&"1,".repeat(500)).contains("too long"));
    let zone = |name: &str| problem(Timing::Cron { expression: "@daily".into(), timezone: name.into() });
    assert_eq!(zone("Berlin").0, "timezone");
    assert!(zone("Berlin").1.contains("did you mean Europe/Berlin?"), "{:?}", zone("Berlin"));
    assert!(zone("europe/berlin").1.contains("did you mean Europe/Berlin?"));
    assert!(zone("new york").1.contains("did you mean America/New_York?"), "{:?}", zone("new york"));
    assert!(zone(&"x".repeat(5000)).1.len() < 300);
    for wrong in [0, 999, u64::MAX] {
        let (field, problem) = problem(Timing::Every { interval_ms: wrong });
        assert!(field == "interval" && problem.contains(&wrong.to_string()), "{problem}");
    }
}

fn zone() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Asia/Kathmandu",
    ])
}

fn expression() -> impl Strategy<Value = String> {
    let minute =
        prop_oneof![Just("*".to_owned()), Just("*/7".to_owned()), (0..60_u8).prop_map(|n| n.to_string())];
    let hour =
        prop_oneof![Just("*".to_owned()), Just("1-3".to_owned()), (0..24_u8).prop_map(|n| n.to_string())];
    let day = prop_oneof![3 => Just("*".to_owned()), 1 => (1..29_u8).prop_map(|n| n.to_string())];
    (minute, hour, day).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day} * *"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn looking_back_finds_the_times_that_looking_forward_finds(
        expression in expression(),
        zone in zone(),
        // Around both changes of the clock of both hemispheres, for a few years.
        begin in 1_700_000_000_u64..1_830_000_000,
    ) {
        let times = cron(&expression, zone);
        let after = UnixMillis(begin * 1000);
        let until = UnixMillis(after.0 + 3 * 24 * 3600 * 1000);
        let first = times.next_after(after);
        let forward: VecDeque<_> = std::iter::successors(first, |at| times.next_after(*at))
            .take_while(|at| *at <= until)
            .take(usize::try_from(MAX_COUNTED).unwrap())
            .collect();
        if (forward.len() as u64) < MAX_COUNTED {
            let passed = times.passed(after, until, usize::MAX);
            prop_assert_eq!(&passed.latest, &forward);
            prop_assert_eq!(passed.count, forward.len() as u64);
        }
        prop_assert!(forward.iter().zip(forward.iter().skip(1)).all(|(a, b)| a < b));
    }
}
