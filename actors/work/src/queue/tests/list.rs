//! Lists: newest first, by cursor, filtered, only one's own.

use super::bench::{Bench, done, failed, member, other, task};
use crate::queue::logic::Op;
use meshwork_proto::Json;
use meshwork_proto::queue::{List, Outcome};
use meshwork_proto::task::{Payload, TaskStatus, TaskView};
use meshwork_proto::{Caller, TaskId};

/// Every page of a list, one after the other.
fn all_pages(bench: &mut Bench, caller: &Caller, list: &List) -> Vec<TaskView> {
    let mut tasks: Vec<TaskView> = Vec::new();
    let mut list = list.clone();
    for _ in 0..1000 {
        let page = bench.list_as(caller.clone(), list.clone());
        assert!(page.tasks.len() <= list.limit as usize);
        tasks.extend(page.tasks);
        match page.next {
            Some(next) => list.cursor = Some(next),
            None => return tasks,
        }
    }
    panic!("the list has no end");
}

/// Forty tasks in all states, in the order of their submission.
fn mixed(bench: &mut Bench) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for n in 0..40 {
        bench.advance(5);
        let tool = if n % 3 == 0 { "a" } else { "b" };
        ids.push(bench.submit(task(tool)));
        match n % 5 {
            0 => {
                let grant = bench.claim_one("w", tool);
                bench.finish("w", &grant, done()).unwrap();
            }
            1 => {
                let grant = bench.claim_one("w", tool);
                let Outcome::Failed { error, .. } = failed() else { unreachable!() };
                bench.finish("w", &grant, Outcome::Failed { error, retry: false }).unwrap();
            }
            2 => drop(bench.cancel(ids[n], "")),
            3 => drop(bench.claim_one("w", tool)),
            _ => {
                let newest = bench.cancel(ids[n], "");
                newest.unwrap();
                bench.resubmit(ids[n]).unwrap();
                let labels = Some(super::bench::labels(&["nobody"]));
                let changes = meshwork_proto::queue::TaskChanges { labels, ..Default::default() };
                bench.update(ids[n], changes).unwrap();
            }
        }
    }
    ids
}

#[test]
fn pages_of_any_size_give_every_task_once_newest_first() {
    let mut bench = Bench::new();
    let mut ids = mixed(&mut bench);
    ids.reverse();
    for limit in [1, 7, 40, 1000] {
        let list = List { limit, ..List::default() };
        let listed: Vec<_> =
            all_pages(&mut bench, &Caller::Local, &list).iter().map(|task| task.id).collect();
        assert_eq!(listed, ids, "pages of {limit}");
    }
    assert_eq!(bench.list_as(Caller::Local, List::default()).tasks.len(), 40, "50 when no limit is given");
}

#[test]
fn a_list_can_be_of_one_state_and_of_one_type() {
    let mut bench = Bench::new();
    let ids = mixed(&mut bench);
    for status in TaskStatus::ALL {
        for task_type in [None, Some("a"), Some("b"), Some("c")] {
            let list = List {
                status: Some(status),
                task_type: task_type.map(str::to_owned),
                limit: 3,
                cursor: None,
            };
            let listed = all_pages(&mut bench, &Caller::Local, &list);
            let expected = ids.iter().rev().filter(|id| {
                let view = bench.get(**id);
                view.status == status && task_type.is_none_or(|wanted| wanted == view.spec.task_type)
            });
            let expected: Vec<TaskId> = expected.copied().collect();
            assert_eq!(
                listed.iter().map(|task| task.id).collect::<Vec<_>>(),
                expected,
                "{status} {task_type:?}"
            );
        }
    }
}

#[test]
fn a_listed_task_is_what_get_shows() {
    let mut bench = Bench::new();
    mixed(&mut bench);
    for listed in all_pages(&mut bench, &Caller::Local, &List { limit: 9, ..List::default() }) {
        assert_eq!(bench.get(listed.id), listed);
    }
}

#[test]
fn a_member_lists_only_what_it_submitted() {
    let mut bench = Bench::new();
    mixed(&mut bench);
    let mut own = Vec::new();
    for n in 0..6 {
        bench.advance(5);
        let ticket = bench.ask_as(member(other()), Op::Submit(task("a")));
        own.push(bench.submitted(ticket).unwrap().id);
        if n % 2 == 0 {
            bench.cancel(own[n], "").unwrap();
        }
    }
    own.reverse();
    let listed = all_pages(&mut bench, &member(other()), &List { limit: 4, ..List::default() });
    assert_eq!(listed.iter().map(|task| task.id).collect::<Vec<_>>(), own);
    let list = List { status: Some(TaskStatus::Cancelled), limit: 4, ..List::default() };
    assert_eq!(all_pages(&mut bench, &member(other()), &list).len(), 3);
}

#[test]
fn a_page_of_large_tasks_ends_before_it_is_too_large_for_a_frame() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.advance(1);
        let mut spec = task("a");
        spec.payload = Payload::Inline(Json::from_value(&"x".repeat(32_000).into()));
        bench.submit(spec);
    }
    let page = bench.list_as(Caller::Local, List { limit: 1000, ..List::default() });
    assert!(page.tasks.len() > 10 && page.tasks.len() < 40 && page.next.is_some());
    assert_eq!(all_pages(&mut bench, &Caller::Local, &List { limit: 1000, ..List::default() }).len(), 100);
}

#[test]
fn the_few_running_tasks_are_found_at_once_among_many_waiting_ones() {
    let mut bench = Bench::new();
    bench.submit(task("rare"));
    bench.claim_one("w", "rare");
    for n in 0..5000 {
        if n % 100 == 0 {
            bench.advance(1);
        }
        bench.submit(task("a"));
    }
    let list = List { status: Some(TaskStatus::Running), limit: 10, ..List::default() };
    assert_eq!(bench.list_as(Caller::Local, list).tasks.len(), 1);
    let list = List { task_type: Some("rare".into()), limit: 10, ..List::default() };
    assert_eq!(all_pages(&mut bench, &Caller::Local, &list).len(), 1);
}
