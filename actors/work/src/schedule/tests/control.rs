//! Starting now, removing, and who waits meanwhile.

use super::bench::{Bench, START, busy, every, forbidden};
use meshwork_proto::schedule::{ScheduleAction, ScheduleError};
use meshwork_proto::{Caller, ErrorCode, UnixMillis};

#[test]
fn a_start_beside_the_times_moves_none_of_them() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.advance(4_000);
    let view = bench.control(ScheduleAction::Trigger).unwrap();
    assert_eq!((view.starts, view.next), (1, Some(UnixMillis(START.0 + 10_000))));
    assert_eq!(view.last[0].due.0 - START.0, 4_000);
    bench.advance(10_000);
    assert_eq!((bench.dues(), bench.tick().starts), (vec![10_000], 2));
}

#[test]
fn two_starts_in_one_millisecond_are_two() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.control(ScheduleAction::Trigger).unwrap();
    bench.control(ScheduleAction::Trigger).unwrap();
    bench.advance(10_000);
    bench.control(ScheduleAction::Trigger).unwrap();
    assert_eq!(bench.outside.created.len(), 4);
}

#[test]
fn a_paused_schedule_can_be_started_by_hand() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.control(ScheduleAction::Pause).unwrap();
    let view = bench.control(ScheduleAction::Trigger).unwrap();
    assert_eq!((view.starts, view.paused), (1, true));
}

#[test]
fn a_start_by_hand_is_answered_when_it_is_durable() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.auto = false;
    let ticket = bench.control_ticket(Caller::Local, "tick", ScheduleAction::Trigger);
    let mut steps = 0;
    while bench.step() {
        steps += 1;
        assert_eq!(bench.answers.contains_key(&ticket), steps == 3, "begun, made, written");
    }
    assert_eq!(steps, 3);
}

#[test]
fn a_start_by_hand_that_is_refused_says_why() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.outside.refusals.push_back(forbidden());
    let error = bench.control(ScheduleAction::Trigger).unwrap_err();
    assert!(matches!(error, ScheduleError::Refused(error) if error.code == ErrorCode::Forbidden));
}

#[test]
fn a_removed_schedule_starts_nothing_and_is_forgotten() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.advance(10_000);
    let view = bench.control(ScheduleAction::Remove).unwrap();
    assert_eq!(view.starts, 1);
    bench.advance(60_000);
    assert_eq!(bench.dues(), [10_000]);
    assert_eq!(bench.control(ScheduleAction::Pause), Err(ScheduleError::Unknown("tick".into())));
    bench.restart();
    assert_eq!(bench.list_as(Caller::Local, None), Ok(vec![]));
}

#[test]
fn removing_while_a_start_is_made_leaves_that_start_and_nothing_else() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.auto = false;
    let asked = bench.control_ticket(Caller::Local, "tick", ScheduleAction::Trigger);
    let behind = bench.control_ticket(Caller::Local, "tick", ScheduleAction::Trigger);
    assert!(bench.step(), "that it begins is written");
    let removed = bench.control_ticket(Caller::Local, "tick", ScheduleAction::Remove);
    assert!(bench.view(asked).is_err() && bench.view(behind).is_err(), "nobody waits for ever");
    while bench.step() {}
    bench.view(removed).unwrap();
    assert_eq!(bench.outside.created.len(), 1, "it had been sent");
    assert!(bench.disk.entries.is_empty());
    assert_eq!(bench.state.starting(), (0, 0));
}

#[test]
fn a_schedule_is_found_by_its_id_too() {
    let mut bench = Bench::new();
    let id = bench.add(every(10_000)).id;
    let ticket = bench.control_ticket(Caller::Local, &id.to_string(), ScheduleAction::Pause);
    assert!(bench.view(ticket).unwrap().paused);
    let long = "x".repeat(5000);
    let ticket = bench.control_ticket(Caller::Local, &long, ScheduleAction::Pause);
    assert!(bench.view(ticket).unwrap_err().to_string().len() < 200);
}

#[test]
fn a_pause_ends_a_wait_for_another_try_only_if_nothing_was_begun() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.outside.refusals.push_back(busy());
    bench.advance(10_000);
    assert_eq!(bench.state.starting(), (0, 1));
    bench.control(ScheduleAction::Pause).unwrap();
    bench.advance(60_000);
    assert_eq!(bench.dues(), [10_000], "it may have been made, so it is");
}
