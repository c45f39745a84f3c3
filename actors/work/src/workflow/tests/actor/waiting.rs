//! What a run says it waits for: exactly that, and what of it nobody has.

use super::scene::{Scene, peer_view};
use crate::workflow::tests::bench::{OTHER, other};
use meshwork_kit::testing;
use meshwork_proto::discovery::{Advertisement, PeerView};
use meshwork_proto::task::WaitingFor;
use serde_json::{Value, json};
use std::cell::RefCell;

/// A peer that says what it serves.
fn serving(connected: bool, tools: &[&str], labels: &[&str]) -> PeerView {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let advertisement = Advertisement {
        agent: "meshwork".into(),
        tools: names(tools),
        labels: names(labels),
        free_slots: 1,
        slots: 1,
        running: 0,
        queued: 0,
        addresses: Vec::new(),
    };
    PeerView { connected, advertisement: Some(advertisement), ..peer_view(other()) }
}

/// What a run of these steps says it waits for, and how often the peers were listed for that.
fn waits_for(steps: Value, why: Vec<(&'static str, WaitingFor)>, peers: Vec<PeerView>) -> (String, usize) {
    let found = RefCell::new(None);
    let result = &found;
    testing::world(|world| async move {
        let scene = Scene::start(&world);
        {
            let mut outside = scene.outside.borrow_mut();
            outside.why = why.into_iter().map(|(tool, why)| (tool.to_owned(), why)).collect();
            outside.peers = peers;
        }
        let id = scene.submit(&json!({"name": "w", "steps": steps}), &json!({})).await;
        world.settle().await;
        let view = scene.get(id).await;
        assert!(view.steps.iter().all(|step| step.waiting_for.is_some()), "each says so itself");
        *result.borrow_mut() = Some((view.waiting_for.unwrap(), scene.outside.borrow().listed));
    });
    found.into_inner().unwrap()
}

#[test]
fn a_tool_that_nobody_serves_is_named_for_all_the_steps_that_call_it() {
    let mut steps: Vec<Value> =
        (0..40).map(|n| json!({"id": format!("s{n}"), "tool": "ghost", "input": {}})).collect();
    steps.push(json!({"id": "last", "tool": "phantom", "input": {}}));
    let nobody = |tool: &str| WaitingFor::NoWorkerForType { tool: tool.into() };
    let why = vec![("ghost", nobody("ghost")), ("phantom", nobody("phantom"))];
    let (text, listed) = waits_for(json!(steps), why, Vec::new());
    assert_eq!(
        text,
        "a worker that serves ghost: nobody serves it now (steps s0, s1, s2, s3, s4 and 35 more); a worker that serves \
         phantom: nobody serves it now (step last)"
    );
    assert_eq!(listed, 0, "no peer is meant");
}

#[test]
fn a_peer_that_is_named_and_gone_is_named() {
    let steps = json!([
        {"id": "a", "tool": "echo", "peer": OTHER, "input": {}},
        {"id": "b", "tool": "draw", "peer": OTHER, "labels": ["gpu"], "input": {}}
    ]);
    let gone = |workers| WaitingFor::NoWorkerWithLabels { labels: Vec::new(), workers };
    let why = vec![("echo", gone(2)), ("draw", WaitingFor::NoWorkerForType { tool: "draw".into() })];
    let (text, listed) = waits_for(steps.clone(), why.clone(), vec![serving(false, &["echo"], &[])]);
    assert_eq!(
        text,
        format!(
            "a worker that serves echo at peer {OTHER}: peer {OTHER} is not connected (step a); a worker that serves \
             draw with the label gpu at peer {OTHER}: peer {OTHER} is not connected (step b)"
        )
    );
    assert_eq!(listed, 1, "once for all of them");
    let (text, _) = waits_for(steps, why, vec![serving(true, &["draw"], &[])]);
    assert!(text.contains(&format!("peer {OTHER} does not serve it (step a)")), "{text}");
    assert!(text.contains(&format!("peer {OTHER} lacks the label gpu (step b)")), "{text}");
}

#[test]
fn a_label_that_nobody_has_is_named() {
    let steps = json!([{"id": "a", "tool": "echo", "labels": ["gpu", "linux"], "input": {}}]);
    let why = WaitingFor::NoWorkerWithLabels { labels: vec!["gpu".into()], workers: 3 };
    let (text, listed) = waits_for(steps, vec![("echo", why)], Vec::new());
    assert_eq!(
        text,
        "a worker that serves echo with the labels gpu, linux: 3 serve it, and none has the label gpu (step a)"
    );
    assert_eq!(listed, 0);
}
