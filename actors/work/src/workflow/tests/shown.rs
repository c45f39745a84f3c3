//! Lists, histories, graphs; limits; what is kept and forgotten.

use super::bench::{Bench, member, other, submission};
use crate::workflow::logic::{Answer, Op};
use crate::workflow::options::WorkflowOptions;
use meshwork_proto::workflow::{
    DagView, GetDag, GetHistory, HistoryPage, ListRuns, RunAction, RunPage, RunState, WorkflowError,
};
use meshwork_proto::{ErrorCode, RunId};
use serde_json::{Value, json};

fn one(name: &str) -> Value {
    json!({"name": name, "steps": [{"id": "a", "tool": "t", "input": {}}]})
}

fn list(bench: &mut Bench, list: ListRuns) -> RunPage {
    let ticket = bench.ask(Op::List(list));
    match bench.answer(ticket).unwrap() {
        Answer::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn history(bench: &mut Bench, id: RunId, after: Option<u64>, limit: u32) -> HistoryPage {
    let ticket = bench.ask(Op::History(GetHistory { id, after, limit }));
    match bench.answer(ticket).unwrap() {
        Answer::History(page) => page,
        other => panic!("{other:?}"),
    }
}

fn dag(bench: &mut Bench, id: RunId) -> DagView {
    let ticket = bench.ask(Op::Dag(GetDag { id }));
    match bench.answer(ticket).unwrap() {
        Answer::Dag(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn runs_are_listed_newest_first_finished_or_not_by_state_and_name() {
    let mut bench = Bench::new();
    let mut ids = Vec::new();
    for n in 0..12 {
        bench.advance(10);
        ids.push(bench.submit(&one(if n % 2 == 0 { "even" } else { "odd" }), &json!({})));
        if n < 6 {
            bench.complete("a", json!(n));
        }
    }
    bench.restart();
    let mut newest = ids.clone();
    newest.reverse();
    let all: Vec<RunId> = list(&mut bench, ListRuns::default()).runs.iter().map(|run| run.id).collect();
    assert_eq!(all, newest);
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let page = list(&mut bench, ListRuns { limit: 5, cursor, ..ListRuns::default() });
        assert!(page.runs.len() <= 5);
        paged.extend(page.runs.iter().map(|run| run.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, newest);
    let completed = list(&mut bench, ListRuns { state: Some(RunState::Completed), ..ListRuns::default() });
    assert_eq!(completed.runs.len(), 6);
    assert!(completed.runs.iter().all(|run| run.finished.is_some() && run.finished_steps == 1));
    let odd = ListRuns { state: Some(RunState::Running), name: Some("odd".into()), ..ListRuns::default() };
    assert_eq!(list(&mut bench, odd).runs.len(), 3);
    let ticket = bench.ask_as(member(other()), Op::List(ListRuns::default()));
    assert_eq!(bench.answer(ticket), Ok(Answer::Page(RunPage { runs: vec![], next: None })));
}

#[test]
fn a_history_tells_everything_in_words_and_in_json() {
    let mut bench = Bench::new();
    let definition = json!({"name": "h", "steps": [
        {"id": "a", "tool": "t", "input": {"x": 1}, "retry": {"max_attempts": 2, "backoff_s": 1}},
        {"id": "b", "for_each": [1, 2], "tool": "t", "input": {"a": "${steps.a.output}"}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    bench.fail("a", "first");
    bench.advance(1_001);
    bench.complete("a", json!("A"));
    bench.control(id, RunAction::Pause).unwrap();
    bench.control(id, RunAction::Resume).unwrap();
    bench.work(|_, _| Ok(json!(0)));
    let page = history(&mut bench, id, None, 0);
    assert_eq!(page.next, None);
    let seqs: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=page.entries.len() as u64).collect::<Vec<_>>(), "nothing is left out");
    let find =
        |kind: &str| page.entries.iter().find(|entry| entry.kind == kind).unwrap_or_else(|| panic!("{kind}"));
    let failed = find("attempt_failed");
    assert_eq!(failed.step.as_deref(), Some("a"));
    assert!(
        failed.text.starts_with("step a failed at peer 12D3Koo")
            && failed.text.contains("tried again at 2023-11-14T22:13:2"),
        "{}",
        failed.text
    );
    assert_eq!(failed.detail.to_value()["error"], json!({"code": "tool_failed", "message": "first"}));
    assert_eq!(find("step_started").detail.to_value()["input"], json!({"x": 1}));
    assert_eq!(find("run_paused").text, "the run was paused");
    let last = page.entries.last().unwrap();
    assert_eq!((last.kind.as_str(), last.text.as_str()), ("run_finished", "the run is completed"));
    let item = page.entries.iter().find(|entry| entry.item == Some(1)).unwrap();
    assert!(item.text.starts_with("step b, item 1 started"), "{}", item.text);
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = history(&mut bench, id, after, 3);
        paged.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, page.entries);
}

#[test]
fn the_graph_shows_states_and_the_chain_that_takes_the_time() {
    let mut bench = Bench::new();
    let definition = json!({"name": "g", "steps": [
        {"id": "a", "tool": "t", "input": {}},
        {"id": "slow", "needs": ["a"], "tool": "t", "input": {}},
        {"id": "fast", "needs": ["a"], "tool": "t", "input": {}},
        {"id": "end", "needs": ["slow", "fast"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&definition, &json!({}));
    let view = dag(&mut bench, id);
    assert_eq!(view.critical_path, ["a", "slow", "end"], "of equal chains the first of the longest");
    assert_eq!((view.nodes.len(), view.edges.len(), view.critical_ms), (4, 4, 0));
    bench.advance(100);
    bench.complete("a", json!(0));
    bench.advance(10);
    bench.complete("slow", json!(0));
    bench.advance(990);
    let view = dag(&mut bench, id);
    assert_eq!((view.critical_path, view.critical_ms), (vec!["a".into(), "fast".into(), "end".into()], 1100));
    bench.complete("fast", json!(0));
    bench.work(|_, _| Ok(json!(0)));
    bench.advance(5_000);
    assert_eq!(dag(&mut bench, id).critical_ms, 1100, "what is finished takes no more time");
}

#[test]
fn only_so_many_runs_run_at_a_time_and_the_others_take_their_turn() {
    let mut bench =
        Bench::with(WorkflowOptions { max_running: 2, max_unfinished: 4, ..WorkflowOptions::default() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        bench.advance(1);
        ids.push(bench.submit(&one("n"), &json!({})));
    }
    let states = |bench: &mut Bench, ids: &[RunId]| -> Vec<RunState> {
        ids.iter().map(|id| bench.get(*id).state).collect()
    };
    use RunState::{Completed, Pending, Running};
    assert_eq!(states(&mut bench, &ids), [Running, Running, Pending, Pending]);
    assert!(bench.get(ids[2]).waiting_for.unwrap().contains("2 runs are running, of at most 2"));
    let full = bench.try_submit(submission(&one("n"), &json!({}))).unwrap_err();
    assert_eq!(full, WorkflowError::Full { held: 4, max: 4 });
    bench.restart();
    bench.complete("a", json!(0));
    assert_eq!(states(&mut bench, &ids), [Completed, Running, Running, Pending]);
    bench.control(ids[3], RunAction::Cancel { reason: None, compensate: false }).unwrap();
    bench.work(|_, _| Ok(json!(0)));
    assert_eq!(states(&mut bench, &ids), [Completed, Completed, Completed, RunState::Cancelled]);
}

#[test]
fn only_so_many_tasks_are_in_flight_and_runs_take_turns() {
    let mut bench = Bench::with(WorkflowOptions { max_in_flight: 10, ..WorkflowOptions::default() });
    let items: Vec<u32> = (0..50).collect();
    let fan = json!({"name": "fan", "steps": [{"id": "f", "for_each": items, "tool": "t", "input": {}}]});
    let first = bench.submit(&fan, &json!({}));
    assert_eq!(bench.queued().len(), 5, "it leaves as many places as it takes");
    let second = bench.submit(&one("small"), &json!({}));
    assert!(bench.queued().iter().any(|(_, step)| step == "a"), "it does not wait for the large one");
    let third = bench.submit(&fan, &json!({}));
    assert!((7..=10).contains(&bench.queued().len()), "{:?}", bench.queued());
    let mut most = 0;
    while let Some((task, _)) = bench.queued().into_iter().next() {
        most = most.max(bench.queued().len());
        bench.finish(task, Ok(json!(0)));
    }
    assert!((7..=10).contains(&most), "{most}");
    for id in [first, second, third] {
        assert_eq!(bench.get(id).state, RunState::Completed);
    }
    assert_eq!(bench.state.in_flight(), 0);
}

#[test]
fn a_run_whose_ten_thousand_tasks_nobody_takes_keeps_no_other_from_running() {
    let mut bench = Bench::new();
    let items: Vec<u32> = (0..10_000).collect();
    let fan = json!({"name": "fan", "inputs": {"l": {"default": items}}, "steps": [
        {"id": "f", "for_each": "${inputs.l}", "tool": "nobody", "input": {}}
    ]});
    let stuck = bench.submit(&fan, &json!({}));
    assert_eq!(bench.queued().len(), 512, "half of the places");
    let small = bench.submit(&one("small"), &json!({}));
    bench.complete("a", json!(0));
    assert_eq!(bench.get(small).state, RunState::Completed);
    bench.submit(&fan, &json!({}));
    bench.submit(&fan, &json!({}));
    assert!(bench.queued().len() < 1024);
    let small = bench.submit(&one("small"), &json!({}));
    bench.complete("a", json!(0));
    assert_eq!(bench.get(small).state, RunState::Completed);
    assert_eq!(bench.get(stuck).state, RunState::Running);
}

#[test]
fn a_run_with_nothing_under_way_finds_a_place_whatever_others_have() {
    let mut bench = Bench::with(WorkflowOptions { max_in_flight: 8, ..WorkflowOptions::default() });
    for _ in 0..30 {
        bench.submit(&one("stuck"), &json!({}));
    }
    assert_eq!(bench.queued().len(), 30);
    let two = json!({"name": "two", "steps": [
        {"id": "x", "tool": "t", "input": {}},
        {"id": "y", "needs": ["x"], "tool": "t", "input": {}}
    ]});
    let id = bench.submit(&two, &json!({}));
    bench.complete("x", json!(0));
    bench.complete("y", json!(0));
    assert_eq!(bench.get(id).state, RunState::Completed);
}

#[test]
fn places_that_become_free_go_to_who_found_none_before() {
    let mut bench = Bench::with(WorkflowOptions { max_in_flight: 12, ..WorkflowOptions::default() });
    let fan = |name: &str, items: u32| {
        let items: Vec<u32> = (0..items).collect();
        json!({"name": name, "steps": [{"id": name, "for_each": items, "tool": "t", "input": {}}]})
    };
    let count = |bench: &Bench, name: &str| {
        bench.queued().iter().filter(|(_, step)| step.starts_with(&format!("{name}/"))).count()
    };
    bench.submit(&fan("large", 50), &json!({}));
    bench.submit(&fan("short", 3), &json!({}));
    bench.submit(&fan("late", 50), &json!({}));
    assert_eq!((count(&bench, "large"), count(&bench, "short"), count(&bench, "late")), (6, 3, 2));
    for _ in 0..3 {
        let (task, _) = bench.queued().into_iter().find(|(_, step)| step.starts_with("short")).unwrap();
        bench.finish(task, Ok(json!(0)));
    }
    assert_eq!((count(&bench, "large"), count(&bench, "late")), (6, 3), "none of its own tasks ended");
}

#[test]
fn a_fan_out_beyond_the_limit_is_refused_with_the_limit_named() {
    let mut bench = Bench::with(WorkflowOptions { max_items: 100, ..WorkflowOptions::default() });
    let definition = json!({"name": "f", "inputs": {"n": {"type": "array"}}, "steps": [
        {"id": "f", "for_each": "${inputs.n}", "tool": "t", "input": {}}
    ]});
    let items: Vec<u32> = (0..101).collect();
    let id = bench.submit(&definition, &json!({"n": items}));
    let error = bench.get(id).error.unwrap();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("101 items") && error.message.contains("100"), "{error}");
}

#[test]
fn large_documents_are_artifacts_that_are_kept_as_long_as_the_run() {
    let options = WorkflowOptions { retention_s: 1000.0, ..WorkflowOptions::default() };
    let mut bench = Bench::with(options);
    let definition = json!({"name": "large", "inputs": {"text": {"type": "string"}}, "steps": [
        {"id": "a", "tool": "t", "input": {"long": "${inputs.text}"}},
        {"id": "b", "tool": "t", "input": {"mid": "${steps.a.output}"}}
    ]});
    let id = bench.submit(&definition, &json!({"text": "x".repeat(40_000)}));
    bench.complete("a", json!("y".repeat(5_000)));
    bench.restart();
    assert_eq!(bench.input_of(bench.task("b")), json!({"mid": "y".repeat(5_000)}));
    bench.complete("b", json!(0));
    assert_eq!(bench.get(id).state, RunState::Completed);
    assert_eq!(bench.disk.pins.len(), 2, "its inputs, and the input of the step that reads them");
    bench.advance(900_000);
    assert_eq!(bench.get(id).state, RunState::Completed);
    bench.advance(300_000);
    assert_eq!(bench.try_get(id), Err(WorkflowError::UnknownRun(id)));
    assert!(bench.disk.pins.is_empty());
    assert_eq!(bench.disk.scan(&all()).len(), 1, "only the counts are left");
}

fn all() -> meshwork_proto::store::Scan {
    let family = meshwork_proto::store::Family::Workflows;
    let from = bytes::Bytes::new();
    meshwork_proto::store::Scan { family, from, after: false, to: None, limit: 10_000, reverse: false }
}

#[test]
fn finished_runs_beyond_the_limit_are_forgotten_the_oldest_first() {
    let options = WorkflowOptions { max_finished: 3, finished_in_memory: 1, ..WorkflowOptions::default() };
    let mut bench = Bench::with(options);
    let mut ids = Vec::new();
    for n in 0..6 {
        bench.advance(10);
        let mut submit = submission(&one("n"), &json!({}));
        submit.idempotency_key = Some(format!("k{n}"));
        ids.push(bench.try_submit(submit).unwrap().id);
        bench.complete("a", json!(n));
    }
    bench.advance(120_000);
    let kept: Vec<bool> = ids.iter().map(|id| bench.try_get(*id).is_ok()).collect();
    assert_eq!(kept, [false, false, false, true, true, true]);
    assert_eq!(bench.disk.count(b'i'), 3, "their keys are free again");
    assert_eq!(bench.state.by_state()[&RunState::Completed], 3);
}

#[test]
fn the_result_of_a_pure_step_is_used_again_for_the_same_input_and_for_a_while() {
    let options = WorkflowOptions { pure_retention_s: 1000.0, ..WorkflowOptions::default() };
    let mut bench = Bench::with(options);
    let pure = json!({"name": "p", "inputs": {"n": {"type": "integer"}}, "steps": [
        {"id": "a", "tool": "t", "pure": true, "input": {"n": "${inputs.n}"}}
    ]});
    let first = bench.submit(&pure, &json!({"n": 1}));
    bench.complete("a", json!("one"));
    assert_eq!(bench.output(first), json!({"a": "one"}));
    let again = bench.submit(&pure, &json!({"n": 1}));
    assert!(bench.queued().is_empty());
    assert_eq!(bench.output(again), json!({"a": "one"}));
    let step = &bench.get(again).steps[0];
    assert!(step.cached && step.attempt == 0);
    bench.submit(&pure, &json!({"n": 2}));
    assert_eq!(bench.queued().len(), 1, "another input is other work");
    bench.complete("a", json!("two"));
    bench.advance(1_200_000);
    assert_eq!((bench.disk.count(b'p'), bench.disk.count(b'q')), (0, 0));
    bench.submit(&pure, &json!({"n": 1}));
    assert_eq!(bench.queued().len(), 1);
}

#[test]
fn many_runs_are_forgotten_with_few_commits() {
    let mut bench = Bench::with(WorkflowOptions { retention_s: 1000.0, ..WorkflowOptions::default() });
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(bench.submit(&one("n"), &json!({})));
        bench.complete("a", json!(n));
    }
    // One of them has more events than are read at a time.
    let items: Vec<u32> = (0..300).collect();
    let fan = json!({"name": "fan", "steps": [{"id": "f", "for_each": items, "tool": "t", "input": {}}]});
    ids.push(bench.submit(&fan, &json!({})));
    bench.work(|_, _| Ok(json!(0)));
    let kept = bench.submit(&one("n"), &json!({}));
    bench.restart();
    let before = bench.commits;
    bench.advance(1_100_000);
    for id in ids {
        assert_eq!(bench.try_get(id), Err(WorkflowError::UnknownRun(id)));
    }
    let commits = bench.commits - before;
    assert!(commits <= 25, "{commits} commits");
    assert_eq!(bench.get(kept).state, RunState::Running);
    assert_eq!((bench.disk.count(b'h'), bench.disk.count(b's'), bench.disk.count(b'f')), (1, 0, 0));
    assert!(bench.disk.count(b'e') < 10);
    assert_eq!(bench.state.by_state()[&RunState::Completed], 0);
}

#[test]
fn results_of_pure_steps_are_forgotten_as_many_as_are_due() {
    let mut bench = Bench::with(WorkflowOptions { pure_retention_s: 1000.0, ..WorkflowOptions::default() });
    let items: Vec<u32> = (0..510).collect();
    let pure = json!({"name": "p", "steps": [
        {"id": "a", "for_each": items, "tool": "t", "pure": true, "input": {"n": "${item}"}}
    ]});
    bench.submit(&pure, &json!({}));
    bench.work(|_, input| Ok(input.clone()));
    assert_eq!(bench.disk.count(b'p'), 510);
    bench.advance(1_000_000);
    while bench.disk.count(b'p') == 510 {
        bench.advance(100);
    }
    bench.advance(100);
    assert_eq!((bench.disk.count(b'p'), bench.disk.count(b'q')), (0, 0), "not some of them each second");
}

#[test]
fn results_of_pure_steps_are_used_only_where_they_would_be_made_in_the_same_way() {
    use meshwork_proto::PeerId;
    let step = |more: Value| {
        let mut step = json!({"id": "a", "tool": "t", "pure": true, "input": {"n": 1}});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"name": "p", "steps": [step]})
    };
    let mut bench = Bench::new();
    let mut run = |caller: meshwork_proto::Caller, definition: &Value, targets: &[PeerId]| {
        let mut submit = submission(definition, &json!({}));
        submit.target_peers = targets.iter().cloned().collect();
        let ticket = bench.ask_as(caller, Op::Submit(submit));
        bench.answer(ticket).unwrap();
        let made = bench.queued().len();
        bench.work(|_, _| Ok(json!("made")));
        made
    };
    let (plain, local) = (step(json!({})), meshwork_proto::Caller::Local);
    assert_eq!(run(local.clone(), &plain, &[]), 1);
    assert_eq!(run(local.clone(), &plain, &[]), 0, "the same");
    assert_eq!(
        run(member(other()), &plain, &[]),
        1,
        "of another submitter, who may have made anything of it"
    );
    assert_eq!(run(member(other()), &plain, &[]), 0);
    assert_eq!(run(local.clone(), &plain, &[other()]), 1, "only that peer is trusted with it");
    assert_eq!(run(local.clone(), &plain, &[other()]), 0);
    let at_peer = step(json!({"peer": super::bench::OWNER}));
    assert_eq!(run(local.clone(), &at_peer, &[]), 1, "at a peer that is named");
    let labelled = step(json!({"labels": ["gpu"]}));
    assert_eq!(run(local.clone(), &labelled, &[]), 1, "by a worker of another kind");
    assert_eq!(run(local.clone(), &labelled, &[]), 0);
    assert_eq!(run(local.clone(), &at_peer, &[]), 1, "who made it was not who is named: nothing was kept");
    let with_model = step(json!({"model": "m"}));
    assert_eq!(run(local, &with_model, &[]), 1);
}
