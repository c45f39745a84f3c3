//! Making schedules: what they start, when, and what is refused.

use super::bench::{Bench, HOUR, MINUTE, START, cron, every, json, member, run, task};
use crate::schedule::logic::Op;
use crate::schedule::options::ScheduleOptions;
use crate::schedule::records::holder;
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction, ScheduleError, Scheduled};
use meshwork_proto::store::StoreError;
use meshwork_proto::task::{Payload, TaskSpec};
use meshwork_proto::workflow::SubmitRun;
use meshwork_proto::{Caller, Cid, Json, UnixMillis};

#[test]
fn a_task_is_started_at_every_time_with_a_key_of_its_own() {
    let mut bench = Bench::new();
    let made = bench.add(every(10_000));
    assert_eq!((made.next, made.created, made.starts), (Some(UnixMillis(START.0 + 10_000)), START, 0));
    bench.advance(35_000);
    assert_eq!(bench.dues(), [10_000, 20_000, 30_000]);
    let view = bench.tick();
    let keys: Vec<_> = bench.outside.created.iter().map(|creation| creation.key.clone()).collect();
    assert_eq!(keys[0], format!("schedule/{}/{}", view.id, START.0 + 10_000));
    assert_eq!((view.starts, view.skipped, view.what.as_str(), view.workflow), (3, 0, "echo", false));
    assert_eq!(view.next, Some(UnixMillis(START.0 + 40_000)));
    let last = &view.last[0];
    assert_eq!((last.due.0 - START.0, last.at.0 - START.0), (30_000, 30_000), "the newest first");
    assert!(last.task.is_some() && last.run.is_none() && last.error.is_none());
}

#[test]
fn a_workflow_is_started_by_the_clock_on_the_wall_of_its_zone() {
    let mut bench = Bench::new();
    let add = AddSchedule { what: Scheduled::Workflow(run()), ..cron("0 9 * * *", "Asia/Kathmandu") };
    let view = bench.add(add);
    assert_eq!((view.what.as_str(), view.workflow), ("greet", true));
    bench.advance(24 * HOUR);
    // 09:00 there is 03:15 UTC; the story begins at 22:13:20 UTC.
    let due = 5 * HOUR + MINUTE + 40_000;
    assert_eq!(bench.dues(), [due]);
    assert!(bench.tick().last[0].run.is_some());
}

#[test]
fn a_workflow_is_shown_by_its_name_or_by_its_content() {
    let mut bench = Bench::new();
    let mut shown = |definition: Payload| {
        let what = Scheduled::Workflow(SubmitRun { definition, ..run() });
        let view = bench.add(AddSchedule { what, ..every(10_000) });
        bench.control(ScheduleAction::Remove).unwrap();
        view.what
    };
    assert_eq!(shown(Payload::Inline(json("{\"tasks\":[{\"type\":\"echo\"}]}"))), "tasks");
    assert_eq!(shown(Payload::Inline(json("{\"name\":\"x\",\"tasks\":[]}"))), "x");
    let cid = Cid::of(b"definition");
    assert_eq!(shown(Payload::Stored { cid, len: 100_000 }), cid.to_string());
}

#[test]
fn only_the_latest_ten_starts_are_shown() {
    let mut bench = Bench::new();
    bench.add(every(1000));
    bench.advance(25_000);
    let view = bench.tick();
    assert_eq!((view.starts, view.last.len()), (25, 10));
    assert_eq!(view.last[9].due.0 - START.0, 16_000);
}

#[test]
fn the_same_name_and_content_is_the_first_schedule_and_other_content_is_refused() {
    let mut bench = Bench::new();
    let first = bench.add(every(10_000));
    bench.advance(15_000);
    let again = bench.add(every(10_000));
    assert_eq!((again.id, again.starts), (first.id, 1));
    let taken = Err(ScheduleError::NameTaken { name: "tick".into() });
    for other in [
        every(20_000),
        cron("@daily", "UTC"),
        AddSchedule { missed: Missed::All, ..every(10_000) },
        AddSchedule { no_overlap: true, ..every(10_000) },
        AddSchedule { what: Scheduled::Workflow(run()), ..every(10_000) },
    ] {
        assert_eq!(bench.try_add(other), taken);
    }
    assert_eq!(bench.try_add_as(member(0), every(10_000)), taken, "of somebody else");
    bench.control(ScheduleAction::Remove).unwrap();
    assert_ne!(bench.add(every(20_000)).id, first.id, "the name is free again");
}

#[test]
fn a_schedule_exists_when_it_is_durable_and_a_second_request_waits_for_that() {
    let mut bench = Bench::new();
    bench.auto = false;
    let first = bench.ask_as(Caller::Local, Op::Add(every(10_000)));
    let second = bench.ask_as(Caller::Local, Op::Add(every(10_000)));
    let other = bench.ask_as(Caller::Local, Op::Add(every(20_000)));
    assert!(bench.answers.is_empty());
    assert_eq!(bench.list_as(Caller::Local, None), Ok(vec![]));
    bench.step();
    assert_eq!(bench.view(first).unwrap().id, bench.view(second).unwrap().id);
    assert!(matches!(bench.view(other), Err(ScheduleError::NameTaken { .. })));
}

#[test]
fn a_schedule_that_the_disk_has_no_room_for_is_as_if_it_had_never_been() {
    let mut bench = Bench::new();
    let full = StoreError::DiskFull { free: 1, reserve: 2 };
    bench.auto = false;
    let first = bench.ask_as(Caller::Local, Op::Add(every(10_000)));
    let second = bench.ask_as(Caller::Local, Op::Add(every(10_000)));
    bench.refuse_commit(full.clone());
    assert_eq!(bench.view(first), Err(ScheduleError::Store(full.clone())));
    assert!(!bench.answers.contains_key(&second), "the one behind it tries for itself");
    bench.refuse_commit(full.clone());
    assert_eq!(bench.view(second), Err(ScheduleError::Store(full)));
    assert!(bench.fatal.is_none() && bench.disk.entries.is_empty());
    bench.auto = true;
    bench.add(every(20_000));
}

#[test]
fn there_is_a_limit_and_those_being_written_count() {
    let mut bench = Bench::with(ScheduleOptions { max_schedules: 2, ..ScheduleOptions::default() });
    let named = |name: &str| AddSchedule { name: name.into(), ..every(10_000) };
    bench.add(named("a"));
    bench.auto = false;
    let pending = bench.ask_as(Caller::Local, Op::Add(named("b")));
    assert_eq!(bench.try_add(named("c")), Err(ScheduleError::Full { max: 2 }));
    bench.step();
    bench.view(pending).unwrap();
    bench.auto = true;
    assert_eq!(bench.try_add(named("c")), Err(ScheduleError::Full { max: 2 }));
    assert_eq!(bench.add(named("a")).name, "a", "one that exists is found");
}

#[test]
fn what_is_wrong_is_refused_by_field_with_what_would_be_right() {
    let mut bench = Bench::new();
    let mut field = |add: AddSchedule| match bench.try_add(add) {
        Err(ScheduleError::Invalid { field, problem }) => {
            assert!(problem.len() > 10 && problem.len() < 400, "{problem}");
            field
        }
        other => panic!("{other:?}"),
    };
    let named = |name: &str| AddSchedule { name: name.into(), ..every(10_000) };
    let of_task = |task: TaskSpec| AddSchedule { what: Scheduled::Task(task), ..every(10_000) };
    let of_run = |run: SubmitRun| AddSchedule { what: Scheduled::Workflow(run), ..every(10_000) };
    let large = Payload::Inline(Json::from_value(&"x".repeat(40_000).into()));
    for name in ["", "a\nb", &"x".repeat(201), "0123456789abcdef0123456789abcdef"] {
        assert_eq!(field(named(name)), "name");
    }
    assert_eq!(field(every(10)), "interval");
    assert_eq!(field(cron("often", "UTC")), "cron");
    assert_eq!(field(cron("@daily", "Mars")), "timezone");
    assert_eq!(field(of_task(TaskSpec { priority: 11, ..task() })), "priority");
    assert_eq!(field(of_task(TaskSpec { idempotency_key: Some("k".into()), ..task() })), "idempotency_key");
    assert_eq!(field(of_task(TaskSpec { payload: large.clone(), ..task() })), "payload");
    assert_eq!(field(of_task(TaskSpec { payload: Payload::Inline(json("")), ..task() })), "payload");
    assert_eq!(field(of_run(SubmitRun { definition: large.clone(), ..run() })), "workflow");
    assert_eq!(field(of_run(SubmitRun { inputs: large, ..run() })), "inputs");
    assert_eq!(field(of_run(SubmitRun { idempotency_key: Some("k".into()), ..run() })), "idempotency_key");
    let parent = meshwork_proto::workflow::ParentStep {
        peer: super::bench::peer(0),
        run: meshwork_proto::RunId::from_bytes([1; 16]),
        step: "a".into(),
        depth: 1,
    };
    assert_eq!(field(of_run(SubmitRun { parent: Some(parent), ..run() })), "parent");
    assert!(bench.disk.entries.is_empty());
}

#[test]
fn artifacts_of_a_schedule_are_kept_as_long_as_it_is_there() {
    let mut bench = Bench::new();
    let cid = Cid::of(b"large");
    let what = Scheduled::Task(TaskSpec { payload: Payload::Stored { cid, len: 1_000_000 }, ..task() });
    let view = bench.add(AddSchedule { what, ..every(10_000) });
    assert!(bench.disk.pins.contains(&(cid, holder(view.id))));
    bench.advance(30_000);
    assert_eq!(bench.disk.pins.len(), 1);
    bench.control(ScheduleAction::Remove).unwrap();
    assert!(bench.disk.pins.is_empty() && bench.disk.entries.is_empty());
}

#[test]
fn every_schedule_looks_the_same_after_a_restart() {
    let mut bench = Bench::new();
    for n in 0..20_u64 {
        let add = AddSchedule { name: format!("s{n}"), ..every(5000 + n * 1000) };
        let add = if n % 3 == 0 { AddSchedule { what: Scheduled::Workflow(run()), ..add } } else { add };
        bench.add(add);
        bench.advance(100);
    }
    bench.advance(30_000);
    let ticket = bench.control_ticket(Caller::Local, "s4", ScheduleAction::Pause);
    bench.view(ticket).unwrap();
    let before = bench.list_as(Caller::Local, None).unwrap();
    bench.restart();
    assert_eq!(bench.list_as(Caller::Local, None).unwrap(), before);
}

#[test]
fn many_that_are_due_together_are_started_a_few_at_a_time_and_all_of_them() {
    let mut bench = Bench::new();
    for n in 0..200 {
        bench.add(AddSchedule { name: format!("s{n}"), ..cron("0 0 * * *", "UTC") });
    }
    bench.auto = false;
    bench.advance(2 * HOUR);
    assert_eq!(bench.state.starting().0, 64);
    assert_eq!(bench.state.next_due(), None, "the next ones wait for a place");
    while bench.step() {
        assert!(bench.state.starting().0 <= 64);
    }
    assert_eq!(bench.outside.created.len(), 200);
}
