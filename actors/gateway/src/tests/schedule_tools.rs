//! The tools of schedules, as a client uses them.

use super::client::Era;
use super::fakes::{LOCAL, Node, PEER};
use super::workflow_tools::definition;
use crate::GatewayOptions;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_scheduled_by_cron_and_a_workflow_by_an_interval() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let task = json!({"task_type": "echo", "payload": {"text": "hi"}, "timeout_s": 5});
        let nightly = json!({
            "name": "nightly", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "no_overlap": true, "task": task,
        });
        let made = client.call("p2p_schedule_create", nightly).await;
        let expected = json!({
            "schedule_id": "05".repeat(16), "name": "nightly", "peer_id": LOCAL, "kind": "task", "what": "echo",
            "cron": "30 2 * * *", "timezone": "Europe/Berlin", "every_s": null, "missed": "once",
            "no_overlap": true, "paused": false, "next": 1_700_000_060.0, "last": [], "starts": 0, "skipped": 0,
            "submitter": null, "created": 1_700_000_000.0,
        });
        assert_eq!(made, expected);
        let often = json!({
            "name": "often", "every_s": 90, "missed": "all", "workflow": definition("greet", &["a"]),
            "inputs": {"who": "mesh"}, "target_peers": [PEER], "allow_unknown_tools": true,
        });
        let made = client.call("p2p_schedule_create", often).await;
        assert_eq!((&made["kind"], &made["what"]), (&json!("workflow"), &json!("greet")));
        assert_eq!(
            (&made["every_s"], &made["cron"], &made["missed"]),
            (&json!(90.0), &Value::Null, &json!("all"))
        );

        let list = client.call("p2p_schedule_list", json!({})).await;
        assert_eq!((&list["peer_id"], &list["count"]), (&json!(LOCAL), &json!(2)));
        assert_eq!(list["schedules"][0]["name"], "nightly");
        let one = client.call("p2p_schedule_list", json!({"name": "often"})).await;
        assert_eq!((&one["count"], &one["schedules"][0]["name"]), (&json!(1), &json!("often")));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_paused_triggered_and_removed() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let task = json!({"task_type": "echo", "payload": {}});
    client.call("p2p_schedule_create", json!({"name": "s", "every_s": 60, "task": task})).await;
    let which = json!({"schedule": "s"});
    let paused = client.call("p2p_schedule_pause", which.clone()).await;
    assert_eq!((&paused["paused"], &paused["next"]), (&json!(true), &Value::Null));
    assert_eq!(client.call("p2p_schedule_resume", which.clone()).await["paused"], false);
    let triggered = client.call("p2p_schedule_trigger", which.clone()).await;
    let start = json!({
        "due": 1_700_000_030.0, "at": 1_700_000_030.0, "task_id": "03".repeat(16), "workflow_id": null, "error": null,
    });
    assert_eq!((&triggered["starts"], &triggered["last"]), (&json!(1), &json!([start])));
    assert_eq!(client.call("p2p_schedule_remove", which.clone()).await["name"], "s");
    let gone = client.refused("p2p_schedule_remove", which).await;
    assert_eq!(gone["code"], "unknown_schedule");
    assert!(gone["message"].as_str().unwrap().contains("p2p_schedule_list"), "{gone}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_a_broken_workflow_is_refused_with_all_problems() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let arguments = json!({"name": "s", "every_s": 60, "workflow": definition("broken", &["a"])});
    let refused = client.refused("p2p_schedule_create", arguments).await;
    assert_eq!(refused["code"], "invalid_workflow");
    assert_eq!(refused["problems"].as_array().unwrap().len(), 7);
    assert_eq!(node.state.logged("add_schedule"), 0, "the scheduler never heard of it");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_with_what_would_be_right_before_anybody_is_asked() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let task = || json!({"task_type": "echo", "payload": {}});
    let workflow = || definition("greet", &["a"]);
    let cases = [
        (json!({}), "missing field `name`"),
        (json!({"name": "s", "task": task()}), "no time is given"),
        (json!({"name": "s", "cron": "* * * * *", "every_s": 5, "task": task()}), "give one of them"),
        (json!({"name": "s", "every_s": 0.5, "task": task()}), "at least 1 second"),
        (json!({"name": "s", "every_s": 60, "timezone": "UTC", "task": task()}), "timezone is for cron"),
        (json!({"name": "s", "every_s": 60, "missed": "skipp", "task": task()}), "did you mean \"skip\"?"),
        (json!({"name": "s", "every_s": 60}), "give task or workflow"),
        (json!({"name": "s", "every_s": 60, "task": task(), "workflow": workflow()}), "give one of them"),
        (json!({"name": "s", "every_s": 60, "task": task(), "inputs": {}}), "are for a workflow"),
        (json!({"name": "s", "every_s": 60, "task": {"task_type": "echo"}}), "task: missing field `payload`"),
        (
            json!({"name": "s", "every_s": 60, "task": {"task_type": "echo", "payload": {}, "peer": PEER}}),
            "give peer beside task",
        ),
        (
            json!({"name": "s", "every_s": 60,
                   "task": {"task_type": "echo", "payload": {}, "idempotency_key": "k"}}),
            "gives each start a key",
        ),
        (
            json!({"name": "s", "every_s": 60, "task": {"task_type": "echo", "payload": {}, "priority": 11}}),
            "priority 11",
        ),
    ];
    for (arguments, part) in cases {
        let error = client.refused("p2p_schedule_create", arguments.clone()).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], "invalid_argument", "{arguments}: {message}");
        assert!(message.contains(part), "{arguments}: {message}");
    }
    let error = client.refused("p2p_schedule_pause", json!({"schedul": "s"})).await;
    assert!(error["message"].as_str().unwrap().contains("did you mean \"schedule\"?"), "{error}");
    assert_eq!(*node.state.log.lock().unwrap(), Vec::<String>::new());
    node.stop().await;
}
