//! Who sees what, and on whose behalf it is started.

use super::bench::{Bench, every, member, peer};
use meshwork_proto::schedule::{AddSchedule, ScheduleAction, ScheduleError};
use meshwork_proto::{Caller, Role};

fn named(name: &str) -> AddSchedule {
    AddSchedule { name: name.into(), ..every(10_000) }
}

#[test]
fn what_a_peer_schedules_is_started_on_its_behalf() {
    let mut bench = Bench::new();
    let view = bench.try_add_as(member(0), every(10_000)).unwrap();
    assert_eq!(view.submitter, Some(peer(0)));
    bench.restart();
    bench.advance(10_000);
    assert_eq!(bench.outside.created[0].caller, member(0));
    bench.add(named("local"));
    bench.advance(10_000);
    assert!(bench.outside.created.iter().any(|creation| creation.caller == Caller::Local));
}

#[test]
fn members_see_and_change_their_own_and_admins_all() {
    let mut bench = Bench::new();
    bench.add(named("local"));
    bench.try_add_as(member(0), named("zero")).unwrap();
    bench.try_add_as(member(1), named("one")).unwrap();
    let names = |bench: &mut Bench, caller: Caller| -> Vec<String> {
        bench.list_as(caller, None).unwrap().into_iter().map(|view| view.name).collect()
    };
    assert_eq!(names(&mut bench, member(0)), ["zero"]);
    assert_eq!(names(&mut bench, Caller::Local), ["local", "one", "zero"], "in the order of names");
    let admin = Caller::Peer { peer: peer(0), role: Role::Admin };
    assert_eq!(names(&mut bench, admin.clone()).len(), 3);
    let unknown = |name: &str| Err(ScheduleError::Unknown(name.to_owned()));
    assert_eq!(bench.list_as(member(0), Some("one")), Err(ScheduleError::Unknown("one".into())));
    for action in
        [ScheduleAction::Pause, ScheduleAction::Resume, ScheduleAction::Remove, ScheduleAction::Trigger]
    {
        let ticket = bench.control_ticket(member(0), "one", action);
        assert_eq!(bench.view(ticket), unknown("one"));
    }
    let ticket = bench.control_ticket(member(0), "zero", ScheduleAction::Pause);
    assert!(bench.view(ticket).unwrap().paused);
    let ticket = bench.control_ticket(admin, "one", ScheduleAction::Remove);
    bench.view(ticket).unwrap();
}
