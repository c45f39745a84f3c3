//! How far a run is, as a client hears it while it waits.

use super::client::{Client, Era};
use super::fakes::{Node, eventually};
use super::workflow_tools::{definition, submit};
use crate::{GatewayOptions, stdio_bridge};
use meshwork_proto::workflow::StepState;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Waits for a run as this client, while its steps are finished one after another; gives the answer.
async fn watched(node: &Node, client: &Client, id: &str) -> Value {
    let waiting = client.call("p2p_workflow_status", json!({"workflow_id": id, "wait_s": 30}));
    let moving = async {
        for (index, step) in [0, 1].into_iter().enumerate() {
            // What was said of the step before was heard.
            eventually("the client heard", || client.heard().len() > index).await;
            node.state.runs.step(id, step, StepState::Running);
            node.state.runs.step(id, step, StepState::Completed);
        }
        eventually("the client heard of both", || client.heard().len() > 2).await;
        node.state.runs.complete(id, &json!("done"));
    };
    tokio::join!(waiting, moving).0
}

/// It heard of each step once, in order.
fn heard_of_steps(client: &Client) {
    let heard = client.heard();
    let done: Vec<f64> = heard.iter().map(|(done, ..)| *done).take(3).collect();
    assert_eq!(done, [0.0, 1.0, 2.0], "{heard:?}");
    assert!(heard.iter().all(|(_, total, _)| *total == Some(3.0)), "{heard:?}");
    assert_eq!(heard[1].2, "running: 1 of 3 steps are finished", "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_hears_how_far_the_run_is_in_both_eras() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let id = submit(&client, &["a", "b", "c"]).await;
        let run = watched(&node, &client, &id).await;
        assert_eq!((&run["state"], &run["output"]), (&json!("completed"), &json!("done")));
        assert_eq!(run["steps"].as_array().unwrap().len(), 3, "the answer has the steps");
        heard_of_steps(&client);
        // The SDK hands what came before the answer to the client beside it.
        eventually("the client heard of the end", || client.heard().len() == 4).await;
        assert_eq!(client.heard()[3].2, "completed: 3 of 3 steps are finished");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_behind_the_bridge_hears_it_too() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let work = async {
            let client = Client::stream(ours, era).await;
            let id = submit(&client, &["a", "b", "c"]).await;
            watched(&node, &client, &id).await;
            heard_of_steps(&client);
            client.0.cancel().await
        };
        let (client, bridged) = tokio::join!(work, stdio_bridge(&node.url, input, output));
        assert!(client.is_ok() && bridged.is_ok());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_that_waits_says_how_far_it_is_and_gives_the_result() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let arguments = json!({"workflow": definition("greet", &["a"]), "wait_s": 30});
    let moving = async {
        eventually("the client heard", || !client.heard().is_empty()).await;
        let list = client.call("p2p_workflow_list", json!({})).await;
        node.state.runs.complete(list["runs"][0]["workflow_id"].as_str().unwrap(), &json!({"n": 1}));
    };
    let (run, ()) = tokio::join!(client.call("p2p_workflow_submit", arguments), moving);
    assert_eq!((&run["state"], &run["output"]), (&json!("completed"), &json!({"n": 1})));
    assert_eq!((&run["existing"], &run["hint"]), (&json!(false), &Value::Null));

    let late =
        client.call("p2p_workflow_submit", json!({"workflow": definition("b", &["a"]), "wait_s": 0.1}));
    let late = late.await;
    assert_eq!((&late["state"], &late["output"]), (&json!("running"), &Value::Null));
    assert!(late["hint"].as_str().unwrap().contains("wait_s"), "{late}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_changes_all_the_time_is_told_of_at_a_bearable_pace_and_its_end_at_once() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let steps: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = submit(&client, &steps).await;
    let began = tokio::time::Instant::now();
    let moving = async {
        eventually("the client waits", || node.state.runs.waiting.load(Ordering::SeqCst) > 0).await;
        for step in 0..steps.len() {
            node.state.runs.step(&id, step, StepState::Completed);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        node.state.runs.complete(&id, &json!(1));
    };
    let waiting =
        client.call("p2p_workflow_status", json!({"workflow_id": id, "wait_s": 30, "steps": false}));
    let (run, ()) = tokio::join!(waiting, moving);
    let paces = usize::try_from(began.elapsed().as_millis() / 250).unwrap();
    assert_eq!(run["state"], "completed");
    eventually("the client heard of the end", || client.heard().iter().any(|said| said.0 > 199.5)).await;
    let heard = client.heard();
    assert!(heard.len() <= paces + 3, "{} in {paces} paces", heard.len());
    node.stop().await;
}
