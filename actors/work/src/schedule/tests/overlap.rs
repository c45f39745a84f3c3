//! Starts that may not overlap.

use super::bench::{Bench, busy, every, forbidden};
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction, ScheduleError};
use meshwork_proto::{Coded, ErrorCode};

fn alone() -> AddSchedule {
    AddSchedule { no_overlap: true, ..every(10_000) }
}

#[test]
fn while_the_last_start_has_not_finished_times_are_left_out() {
    let mut bench = Bench::new();
    bench.add(alone());
    bench.advance(35_000);
    assert_eq!(bench.dues(), [10_000]);
    let view = bench.tick();
    assert_eq!((view.starts, view.skipped), (1, 2));
    bench.outside.finish_all();
    bench.advance(10_000);
    assert_eq!(bench.dues(), [10_000, 40_000]);
    bench.restart();
    bench.advance(10_000);
    assert_eq!((bench.dues().len(), bench.tick().skipped), (2, 3), "also after a restart");
}

#[test]
fn schedules_whose_starts_may_overlap_do_not_ask() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.outside.unseen.push_back(forbidden());
    bench.advance(30_000);
    assert_eq!((bench.dues().len(), bench.outside.unseen.len()), (3, 1));
}

#[test]
fn of_missed_times_that_are_all_made_up_for_those_that_would_overlap_are_left_out() {
    let mut bench = Bench::new();
    bench.add(AddSchedule { missed: Missed::All, ..alone() });
    bench.down(55_000);
    assert_eq!((bench.dues(), bench.tick().skipped), (vec![10_000], 4));
}

#[test]
fn a_start_beside_the_times_is_refused_while_the_last_one_has_not_finished() {
    let mut bench = Bench::new();
    bench.add(alone());
    bench.advance(10_000);
    let error = bench.control(ScheduleAction::Trigger).unwrap_err();
    assert_eq!(error.code(), ErrorCode::WrongState);
    let ScheduleError::Refused(error) = error else { panic!("{error:?}") };
    assert!(error.message.contains("task 00000000000000000000000000000001"), "{error}");
    bench.outside.finish_all();
    assert_eq!(bench.control(ScheduleAction::Trigger).unwrap().starts, 2);
    assert_eq!(bench.tick().skipped, 0);
}

#[test]
fn what_cannot_be_looked_at_is_looked_at_again_before_anything_is_started() {
    let mut bench = Bench::new();
    bench.add(alone());
    bench.advance(10_000);
    bench.outside.finish_all();
    bench.outside.unseen.extend([busy(), busy()]);
    bench.advance(10_000);
    assert_eq!((bench.dues().len(), bench.state.starting()), (1, (0, 1)));
    bench.advance(5_000);
    assert_eq!(bench.dues(), [10_000, 20_000]);
}

#[test]
fn what_can_never_be_looked_at_ends_in_an_error_that_is_shown() {
    let mut bench = Bench::new();
    bench.add(alone());
    bench.advance(10_000);
    bench.outside.unseen.push_back(forbidden());
    bench.advance(10_000);
    let view = bench.tick();
    let error = view.last[0].error.clone().unwrap();
    assert!(error.code == ErrorCode::Forbidden && error.message.contains("not you"), "{error}");
    bench.outside.finish_all();
    bench.advance(10_000);
    assert_eq!(bench.dues(), [10_000, 30_000], "and the next time is another one");
}

#[test]
fn a_pause_that_comes_while_the_last_start_is_looked_at_holds() {
    let mut bench = Bench::new();
    bench.add(alone());
    bench.advance(10_000);
    bench.outside.finish_all();
    bench.auto = false;
    bench.advance(10_000);
    let ticket = bench.control_ticket(meshwork_proto::Caller::Local, "tick", ScheduleAction::Pause);
    while bench.step() {}
    bench.view(ticket).unwrap();
    bench.auto = true;
    assert_eq!(bench.dues(), [10_000]);
    bench.control(ScheduleAction::Resume).unwrap();
    bench.advance(1);
    assert_eq!(bench.dues(), [10_000, 20_000], "it is made up for after the pause");
}
