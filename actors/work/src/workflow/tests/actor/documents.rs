//! Documents of any size: in memory, in the store, as artifacts.

use super::scene::{Scene, ask};
use crate::workflow::options::WorkflowOptions;
use crate::workflow::tests::bench::submission;
use meshwork_kit::testing;
use meshwork_proto::ErrorCode;
use meshwork_proto::artifact::ARTIFACT_CHUNK;
use meshwork_proto::task::Payload;
use meshwork_proto::workflow::{GetRun, RunState, WorkflowError};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;

fn pass_on() -> Value {
    json!({"name": "pass", "inputs": {"text": {"type": "string"}}, "steps": [
        {"id": "a", "tool": "t", "input": {"x": "${inputs.text}"}},
        {"id": "b", "tool": "t", "input": {"x": "${steps.a.output.x}", "of": "${inputs.text}"}},
        {"id": "c", "tool": "t", "input": {"size": "${size(steps.b.output.x)}"}}
    ]})
}

#[test]
fn documents_of_every_size_arrive_whole_also_after_a_restart() {
    for len in [10, 2_000, 40_000, ARTIFACT_CHUNK + 1_000] {
        testing::world(|world| async move {
            let scene = Scene::start(&world);
            let text = "x".repeat(len);
            let id = scene.submit(&pass_on(), &json!({"text": text})).await;
            world.settle().await;
            let (task, _, input) = scene.queued().remove(0);
            assert_eq!(input["x"].as_str().unwrap().len(), len);
            scene.finish(task, input);
            world.settle().await;
            let disk = scene.outside.borrow().disk.clone();
            let queue = scene.outside.borrow().queue.clone();
            let outside = super::scene::Outside { disk, queue, ..Default::default() };
            let second = Scene::with(&world, Rc::new(RefCell::new(outside)), WorkflowOptions::default());
            second.work(&world, |_, input| input.clone()).await;
            let view = second.end(id).await;
            assert_eq!(second.output(&view), json!({"c": {"size": len}}), "{:?}", view.error);
        });
    }
}

#[test]
fn a_definition_and_inputs_may_be_artifacts_and_are_refused_beyond_their_limits() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let steps: Vec<Value> = (0..400)
            .map(|n| json!({"id": format!("step_{n}"), "tool": "t", "input": {"text": "x".repeat(100)}}))
            .collect();
        let definition = json!({"name": "long", "steps": steps});
        let mut submit = submission(&definition, &json!({}));
        let Payload::Inline(json) = submit.definition.clone() else { panic!() };
        submit.definition = scene.outside.borrow_mut().disk.keep(json.bytes().clone());
        assert!(submit.definition.stored_cid().is_some());
        let id = scene.try_submit(submit.clone()).await.unwrap();
        scene.work(&world, |_, _| json!(0)).await;
        assert_eq!(scene.end(id).await.state, RunState::Completed);
        assert!(!scene.outside.borrow().disk.pins.is_empty());
        submit.definition = Payload::Stored { cid: submit.definition_cid, len: 10_000_000 };
        let error = scene.try_submit(submit).await.unwrap_err();
        let max = 1024 * 1024;
        assert_eq!(error, WorkflowError::TooLarge { what: "definition", len: 10_000_000, max });
    });
}

#[test]
fn an_expression_that_takes_too_much_fails_its_step_and_nothing_else() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let definition = json!({"name": "busy", "inputs": {"l": {"type": "array"}}, "steps": [
            {"id": "a", "tool": "t", "input": {"n": "${inputs.l.map(x, inputs.l.map(y, x + y)).size()}"}}
        ]});
        let list: Vec<u32> = (0..4_000).collect();
        let id = scene.submit(&definition, &json!({"l": list})).await;
        let small = scene.submit(&definition, &json!({"l": [1, 2]})).await;
        world.settle().await;
        let view = scene.end(id).await;
        let error = view.error.unwrap();
        assert_eq!((view.state, error.code), (RunState::Failed, ErrorCode::Expression));
        scene.work(&world, |_, input| input.clone()).await;
        let view = scene.end(small).await;
        assert_eq!(scene.output(&view), json!({"a": {"n": 2}}));
    });
}

#[test]
fn many_large_results_are_put_together_and_too_large_ones_are_refused() {
    testing::world(|world| async move {
        let options = WorkflowOptions { max_output_bytes: 1_000_000, ..WorkflowOptions::default() };
        let scene = Scene::with(&world, Rc::default(), options);
        let fan = |count: u32| {
            json!({"name": "fan", "inputs": {"n": {"default": (0..count).collect::<Vec<_>>()}}, "steps": [
                {"id": "f", "for_each": "${inputs.n}", "tool": "t", "input": {"n": "${item}"}}
            ]})
        };
        let id = scene.submit(&fan(700), &json!({})).await;
        scene.work(&world, |_, input| json!({"n": input["n"], "text": "y".repeat(500)})).await;
        let view = scene.end(id).await;
        assert_eq!(view.state, RunState::Completed, "{:?}", view.error);
        let output = scene.output(&view);
        let results = output["f"].as_array().unwrap();
        assert_eq!(results.len(), 700);
        assert!(results.iter().enumerate().all(|(n, result)| result["n"] == n), "in their order");
        assert!(matches!(view.output, Some(Payload::Stored { .. })));
        let id = scene.submit(&fan(40), &json!({})).await;
        scene.work(&world, |_, _| json!("z".repeat(40_000))).await;
        let view = scene.end(id).await;
        assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::TooLarge));
    });
}

#[test]
fn the_result_of_a_pure_step_is_found_again() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let pure = json!({"name": "p", "steps": [{"id": "a", "tool": "t", "pure": true, "input": {"n": 1}}]});
        let first = scene.submit(&pure, &json!({})).await;
        scene.work(&world, |_, _| json!("made once")).await;
        scene.end(first).await;
        let second = scene.submit(&pure, &json!({})).await;
        let view = ask(&scene.ports.get, GetRun { id: second, wait_ms: 60_000, seen: None, steps: true })
            .await
            .unwrap();
        assert!(view.steps[0].cached);
        assert_eq!(scene.output(&view), json!({"a": "made once"}));
        assert_eq!(scene.outside.borrow().submitted, 1);
    });
}

/// Finishes the only queued task.
fn finish_one(scene: &Scene, output: Value) {
    let queued = scene.queued();
    assert_eq!(queued.len(), 1, "{queued:?}");
    scene.finish(queued[0].0, output);
}

#[test]
fn a_long_list_is_read_once_for_all_the_items_that_are_taken_from_it() {
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        let definition = json!({"name": "list", "steps": [
            {"id": "make", "tool": "t", "input": {}},
            {"id": "each", "for_each": "${steps.make.output}", "tool": "t", "input": {"long": "${size(item)}"}}
        ]});
        let id = scene.submit(&definition, &json!({})).await;
        world.settle().await;
        // A list of 9 MB: more than a cache of 32 MiB was thought to hold.
        let list: Vec<String> = (0..600).map(|n| format!("{n:015000}")).collect();
        finish_one(&scene, json!(list));
        world.settle().await;
        scene.work(&world, |_, input| input["long"].clone()).await;
        let view = scene.end(id).await;
        assert_eq!(view.state, RunState::Completed, "{:?}", view.error);
        let read = scene.outside.borrow().pieces;
        let once = 600 * 15_000 / ARTIFACT_CHUNK + 1;
        // The result of the step, and the list that was made of it.
        assert!(read <= 2 * once + 4, "{read} pieces of {once}");
    });
}

#[test]
fn documents_that_do_not_fit_together_hold_nobody_up() {
    testing::world(|world| async move {
        let options = WorkflowOptions { document_cache_bytes: 100_000, ..WorkflowOptions::default() };
        let scene = Scene::with(&world, Rc::default(), options);
        let definition = json!({"name": "three", "steps": [
            {"id": "a", "tool": "t", "input": {}},
            {"id": "b", "tool": "t", "input": {}},
            {"id": "c", "tool": "t", "input": {}},
            {"id": "each", "for_each": [1, 2, 3, 4, 5, 6, 7, 8], "tool": "t", "input": {
                "n": "${size(steps.a.output) + size(steps.b.output) + size(steps.c.output)}"}},
            {"id": "other", "tool": "t", "input": {"n": "${size(steps.a.output) + size(steps.b.output)}"}}
        ]});
        let id = scene.submit(&definition, &json!({})).await;
        scene
            .work(&world, |step, input| match step {
                "a" | "b" | "c" => json!("x".repeat(70_000)),
                _ => input["n"].clone(),
            })
            .await;
        let view = scene.end(id).await;
        assert_eq!(view.state, RunState::Completed, "{:?}", view.error);
        let all = vec![210_000; 8];
        assert_eq!(scene.output(&view), json!({"each": all, "other": 140_000}));
    });
}

#[test]
fn a_result_that_is_too_large_to_be_read_fails_the_step_that_reads_it_and_says_why() {
    testing::world(|world| async move {
        let options = WorkflowOptions {
            max_output_bytes: 100_000,
            max_inputs_bytes: 100_000,
            ..WorkflowOptions::default()
        };
        let scene = Scene::with(&world, Rc::default(), options);
        let reads = |field: &str| {
            json!({"name": "large", "steps": [
                {"id": "a", "tool": "t", "input": {}},
                {"id": "b", "tool": "t", "needs": ["a"], "on_failure": "continue",
                 "input": {"x": field}, "retry": {"max_attempts": 3, "backoff_s": 1}}
            ]})
        };
        let id = scene.submit(&reads("${size(steps.a.output)}"), &json!({})).await;
        world.settle().await;
        finish_one(&scene, json!("x".repeat(200_000)));
        let view = scene.end(id).await;
        let error = view.steps[1].error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(
            error.message.starts_with("the result of step a cannot be read")
                && error.message.contains("100000"),
            "{error}"
        );
        // Whoever does not read it goes on.
        let id = scene.submit(&reads("nothing"), &json!({})).await;
        scene.work(&world, |_, _| json!("x".repeat(200_000))).await;
        assert_eq!(scene.end(id).await.steps[1].state, meshwork_proto::workflow::StepState::Completed);
    });
}

#[test]
fn a_result_that_is_not_there_any_more_or_damaged_fails_the_step_that_reads_it() {
    for damaged in [false, true] {
        testing::world(|world| async move {
            let scene = Scene::start(&world);
            let definition = json!({"name": "lost", "steps": [
                {"id": "a", "tool": "t", "input": {}},
                {"id": "gate", "needs": ["a"], "wait": {"seconds": 1}},
                {"id": "b", "tool": "t", "needs": ["gate"], "input": {"x": "${size(steps.a.output)}"}}
            ]});
            let id = scene.submit(&definition, &json!({})).await;
            world.settle().await;
            finish_one(&scene, json!("x".repeat(200_000)));
            world.settle().await;
            {
                let artifacts = &mut scene.outside.borrow_mut().disk.artifacts;
                let cid = *artifacts.keys().next().unwrap();
                let whole = artifacts.remove(&cid).unwrap();
                if damaged {
                    artifacts.insert(cid, vec![b'?'; whole.len()].into());
                }
            }
            let view = scene.end(id).await;
            let error = view.error.unwrap();
            let code = if damaged { ErrorCode::Corrupt } else { ErrorCode::UnknownArtifact };
            assert_eq!((view.state, error.code), (RunState::Failed, code), "{error}");
            assert!(error.message.starts_with("step b: the result of step a cannot be read"), "{error}");
        });
    }
}

#[test]
fn results_of_items_that_are_too_large_to_be_put_together_fail_their_step() {
    testing::world(|world| async move {
        let options = WorkflowOptions {
            max_output_bytes: 100_000,
            max_inputs_bytes: 100_000,
            ..WorkflowOptions::default()
        };
        let scene = Scene::with(&world, Rc::default(), options);
        let fan = json!({"name": "fan", "steps": [{"id": "f", "for_each": [1], "tool": "t", "input": {}}]});
        let id = scene.submit(&fan, &json!({})).await;
        scene.work(&world, |_, _| json!("x".repeat(200_000))).await;
        let view = scene.end(id).await;
        assert_eq!((view.state, view.error.unwrap().code), (RunState::Failed, ErrorCode::TooLarge));
    });
}
