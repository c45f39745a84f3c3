//! The actor: between messages and a world that the story holds in its hands, with a paused clock.

mod documents;
mod durable;
mod parts;
mod peers;
mod scene;
mod waiting;

use super::bench::{other, submission};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::prepare;
use meshwork_kit::testing;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{
    ControlRun, GetDag, GetHistory, GetRun, ListRuns, RunAction, RunState, StepState, ValidateWorkflow,
    WorkflowError,
};
use meshwork_proto::{Coded, ErrorCode, Json};
use scene::{LONG, Scene, ask, echo_schema};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn greet() -> Value {
    json!({
        "name": "greet",
        "inputs": {"who": {"type": "string", "default": "world"}},
        "steps": [
            {"id": "hello", "tool": "echo", "input": {"text": "hello ${inputs.who}"}},
            {"id": "each", "for_each": "${[1, 2, 3]}", "tool": "echo",
             "input": {"n": "${item}", "text": "${steps.hello.output.text}"}}
        ],
        "output": "${steps.each.output}"
    })
}

#[test]
fn a_run_goes_from_its_submission_to_its_result() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&greet(), &json!({"who": "mesh"})).await;
        let waiting = tokio::task::spawn_local({
            let get = scene.ports.get.clone();
            async move { ask(&get, GetRun { id, wait_ms: 60_000, seen: None, steps: true }).await }
        });
        scene.work(&world, |_, input| input.clone()).await;
        let view = waiting.await.unwrap().unwrap();
        assert_eq!(view.state, RunState::Completed);
        let line = |n: u32| json!({"n": n, "text": "hello mesh"});
        assert_eq!(scene.output(&view), json!([line(1), line(2), line(3)]));
        let page = ask(&scene.ports.list, ListRuns::default()).await.unwrap();
        assert_eq!((page.runs.len(), page.runs[0].id), (1, id));
        let dag = ask(&scene.ports.dag, GetDag { id }).await.unwrap();
        assert_eq!(dag.critical_path, ["hello", "each"]);
        let history = ask(&scene.ports.history, GetHistory { id, after: None, limit: 0 }).await.unwrap();
        assert_eq!(history.entries.last().unwrap().kind, "run_finished");
    });
}

#[test]
fn what_is_wrong_with_a_definition_is_told_at_once_with_step_and_field() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.outside.borrow_mut().tools.insert("echo".into(), echo_schema());
        let wrong = json!({"name": "w", "steps": [
            {"id": "a", "tool": "ecko", "input": {}},
            {"id": "b", "tool": "echo", "input": {"text": 7}},
            {"id": "c", "needs": ["nobody"], "tool": "echo", "input": {}}
        ]});
        let mut submit = submission(&wrong, &json!({}));
        submit.allow_unknown_tools = false;
        let Err(WorkflowError::Invalid(problems)) = scene.try_submit(submit).await else { panic!() };
        assert!(problems.iter().any(|problem| problem.step.as_deref() == Some("c")), "{problems:?}");
        let mut right = wrong;
        right["steps"][2]["needs"] = json!(["a"]);
        let mut submit = submission(&right, &json!({}));
        submit.allow_unknown_tools = false;
        let Err(WorkflowError::Invalid(problems)) = scene.try_submit(submit).await else { panic!() };
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            shown.iter().any(|line| line.contains("step a: tool: no peer serves tool \"ecko\"")),
            "{shown:#?}"
        );
        assert!(shown.iter().any(|line| line.contains("step b: input.text")), "{shown:#?}");
        let validate = ValidateWorkflow {
            definition: Payload::Inline(Json::from_value(&right)),
            inputs: Some(Payload::Inline(Json::from_value(&json!({"x": 1})))),
            allow_unknown_tools: true,
        };
        let validated = ask(&scene.ports.validate, validate).await.unwrap();
        assert_eq!(validated.order, ["a", "b", "c"]);
        assert_eq!(validated.problems.len(), 2, "{:?}", validated.problems);
        let mut other_cid = submission(&greet(), &json!({}));
        other_cid.definition_cid = meshwork_proto::Cid::of(b"something else");
        let error = scene.try_submit(other_cid).await.unwrap_err();
        assert!(error.to_string().contains("has the content id"), "{error}");
        assert!(scene.outside.borrow().disk.active().is_empty());
    });
}

#[test]
fn an_input_that_does_not_fit_its_tool_fails_the_step_and_names_where_it_comes_from() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        scene.outside.borrow_mut().tools.insert("echo".into(), echo_schema());
        let id = scene.submit(&greet(), &json!({})).await;
        world.settle().await;
        let (task, ..) = scene.queued().remove(0);
        scene.finish(task, json!({"text": ["no", "text"]}));
        let view = scene.end(id).await;
        let error = view.error.unwrap();
        assert_eq!((view.state, error.code), (RunState::Failed, ErrorCode::InvalidArgument));
        for part in ["step each", "input.text", "tool \"echo\"", "step hello"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
    });
}

#[test]
fn a_run_that_is_watched_shows_what_its_tasks_are_doing() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&greet(), &json!({})).await;
        world.settle().await;
        let view = scene.get(id).await;
        let step = &view.steps[0];
        assert_eq!((step.state, step.peer.clone()), (StepState::Running, Some(other())));
        assert_eq!(step.progress.as_ref().unwrap().done, 3.0);
        assert!(step.task.is_some());
        let watch = GetRun { id, wait_ms: 60_000, seen: Some(view.version), steps: true };
        let port = scene.ports.get.clone();
        let news = tokio::task::spawn_local(async move { ask(&port, watch).await.unwrap() });
        world.advance(Duration::from_secs(5)).await;
        assert!(!news.is_finished());
        let (task, ..) = scene.queued().remove(0);
        scene.finish(task, json!({"text": "x"}));
        let news = news.await.unwrap();
        assert!(news.version > view.version);
        assert_eq!(news.steps[0].state, StepState::Completed);
    });
}

#[test]
fn times_and_waits_pass_by_themselves() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let definition = json!({"name": "t", "steps": [
            {"id": "pause", "wait": {"seconds": 30}},
            {"id": "gate", "needs": ["pause"], "wait": {"signal": "go", "timeout_s": 10}}
        ]});
        let id = scene.submit(&definition, &json!({})).await;
        world.advance(Duration::from_secs(29)).await;
        assert_eq!(scene.get(id).await.steps[0].state, StepState::Waiting);
        world.advance(Duration::from_secs(2)).await;
        assert_eq!(scene.get(id).await.steps[1].state, StepState::Waiting);
        let action = RunAction::Signal { name: "go".into(), payload: Json::from_value(&json!(7)) };
        ask(&scene.ports.control, ControlRun { id, action }).await.unwrap();
        let view = scene.end(id).await;
        assert_eq!(scene.output(&view), json!({"gate": 7}));
        let late = scene.submit(&definition, &json!({})).await;
        let view = scene.end(late).await;
        assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::Timeout));
    });
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_behind() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&greet(), &json!({})).await;
        let by = meshwork_proto::workflow::By {
            caller: meshwork_proto::Caller::Local,
            op: GetRun { id, wait_ms: 60_000, seen: None, steps: false },
        };
        assert!(scene.ports.get.ask(by, Duration::from_secs(1)).await.is_err());
        world.advance(Duration::from_secs(2)).await;
        let status = scene.status();
        assert_eq!((status.waiting_readers, status.unanswered), (0, 0));
    });
}

#[test]
fn status_and_metrics_follow_what_happens() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&greet(), &json!({})).await;
        world.advance(Duration::from_millis(200)).await;
        let status = scene.status();
        assert_eq!((status.runs[&RunState::Running], status.in_flight, status.loading), (1, 1, false));
        scene.work(&world, |_, input| input.clone()).await;
        scene.end(id).await;
        world.advance(Duration::from_millis(1500)).await;
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        for line in [
            "meshwork_workflow_submitted_total 1",
            "meshwork_workflow_finished_total{outcome=\"completed\"} 1",
            "meshwork_workflow_attempts_total 4",
            "meshwork_workflow_runs{state=\"completed\"} 1",
            "meshwork_workflow_in_flight 0",
            "meshwork_workflow_run_seconds_count{outcome=\"completed\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    });
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_starts() {
    let wrong = WorkflowOptions { max_in_flight: 0, ..WorkflowOptions::default() };
    assert_eq!(prepare(wrong).unwrap_err().code(), ErrorCode::Config);
}

#[test]
fn messages_from_before_the_start_wait_until_the_runs_are_loaded() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let id = scene.submit(&greet(), &json!({})).await;
        let disk = scene.outside.borrow().disk.clone();
        let queue = scene.outside.borrow().queue.clone();
        let outside =
            Rc::new(std::cell::RefCell::new(scene::Outside { disk, queue, ..scene::Outside::default() }));
        let second = Scene::with(&world, outside, WorkflowOptions::default());
        let by = meshwork_proto::workflow::By {
            caller: meshwork_proto::Caller::Local,
            op: GetRun { id, wait_ms: 0, seen: None, steps: false },
        };
        let view = second.ports.get.ask(by, LONG).await.unwrap().unwrap();
        assert_eq!((view.id, view.state), (id, RunState::Running));
        second.work(&world, |_, input| input.clone()).await;
        assert_eq!(second.end(id).await.state, RunState::Completed);
        assert_eq!(second.outside.borrow().queue.tasks.len(), 4, "nothing was submitted twice");
    });
}
