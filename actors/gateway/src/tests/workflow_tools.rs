//! The tools of workflows, as a client uses them.

use super::client::{Client, Era};
use super::fakes::{LOCAL, Node, PEER, keys, peer, stored};
use crate::GatewayOptions;
use meshwork_proto::workflow::{ItemCounts, StepState};
use meshwork_proto::{ErrorCode, MeshError, RunId, TaskId, UnixMillis};
use serde_json::{Value, json};

/// A definition of these steps.
pub(super) fn definition(name: &str, steps: &[&str]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|id| json!({"id": id, "tool": "echo"})).collect();
    json!({"name": name, "steps": steps})
}

/// Submits a run of these steps; gives its id.
pub(super) async fn submit(client: &Client, steps: &[&str]) -> String {
    let run = client.call("p2p_workflow_submit", json!({"workflow": definition("greet", steps)})).await;
    run["workflow_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_submitted_watched_and_its_result_read_in_both_eras() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let arguments = json!({
            "workflow": definition("greet", &["a", "b"]), "inputs": {"who": "mesh"}, "target_peers": [PEER],
            "idempotency_key": "k",
        });
        let run = client.call("p2p_workflow_submit", arguments.clone()).await;
        assert_eq!(keys(&run), ["error", "existing", "hint", "output", "peer_id", "state", "workflow_id"]);
        let (state, known) = if era == Era::Present { ("running", false) } else { ("completed", true) };
        assert_eq!(
            (&run["state"], &run["existing"]),
            (&json!(state), &json!(known)),
            "the key is known by then"
        );
        assert_eq!(run["peer_id"], LOCAL);
        let id = run["workflow_id"].as_str().unwrap();
        let again = client.call("p2p_workflow_submit", arguments).await;
        assert_eq!((&again["existing"], &again["workflow_id"]), (&json!(true), &json!(id)));
        if era == Era::Present {
            node.state.runs.step(id, 0, StepState::Running);
            let running = client.call("p2p_workflow_status", json!({"workflow_id": id})).await;
            assert_eq!((&running["state"], &running["output"]), (&json!("running"), &Value::Null));
            assert_eq!(running["counts"], json!({"pending": 1, "running": 1}));
            assert!(running["hint"].as_str().unwrap().contains("wait_s"), "{running}");
            node.state.runs.complete(id, &json!({"text": "hello mesh"}));
        }
        let done = client.call("p2p_workflow_status", json!({"workflow_id": id, "wait_s": 5})).await;
        assert_eq!((&done["state"], &done["output"]), (&json!("completed"), &json!({"text": "hello mesh"})));
        assert_eq!((&done["hint"], &done["finished"]), (&Value::Null, &json!(1_700_000_001.5)));
    }
    let of = "submit_run greet of None with 14 bytes of inputs for 1 peers";
    assert_eq!(node.state.logged(of), 4);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_has_the_agreed_shape_and_a_step_only_what_it_has() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let id = submit(&client, &["a", "b"]).await;
    node.state.runs.change(&id, |run| {
        run.waiting_for = Some("a place among the running runs".into());
        let step = &mut run.steps[1];
        step.state = StepState::Retrying;
        (step.attempt, step.max_attempts) = (2, 3);
        step.peer = Some(peer());
        step.task = Some(TaskId::from_bytes([3; 16]));
        step.run = Some((peer(), RunId::from_bytes([4; 16])));
        step.items = Some(ItemCounts { total: 9, pending: 4, running: 3, completed: 2, failed: 0 });
        step.error = Some(MeshError::new(ErrorCode::ToolFailed, "it did not work"));
        step.started = Some(UnixMillis(1_700_000_000_250));
        step.due = Some(UnixMillis(1_700_000_009_000));
        step.needs = vec!["a".into()];
    });
    let run = client.call("p2p_workflow_status", json!({"workflow_id": id})).await;
    for member in ["workflow_id", "state", "coordinating_peers", "steps", "output", "error"] {
        assert!(keys(&run).contains(&member), "{member}");
    }
    assert_eq!((&run["coordinating_peers"], &run["epoch"]), (&json!([LOCAL]), &json!(1)));
    assert_eq!(run["waiting_for"], "a place among the running runs");
    let always = ["attempt", "id", "kind", "max_attempts", "needs", "peer", "state", "what"];
    assert_eq!(keys(&run["steps"][0]), always);
    let step = &run["steps"][1];
    assert_eq!((&step["id"], &step["state"], &step["peer"]), (&json!("b"), &json!("retrying"), &json!(PEER)));
    assert_eq!((&step["attempt"], &step["max_attempts"]), (&json!(2), &json!(3)));
    assert_eq!(step["run"], json!({"peer_id": PEER, "workflow_id": "04".repeat(16)}));
    assert_eq!((&step["items"]["total"], &step["items"]["running"]), (&json!(9), &json!(3)));
    assert_eq!(step["error"], json!({"code": "tool_failed", "message": "it did not work"}));
    assert_eq!((&step["started"], &step["due"]), (&json!(1_700_000_000.25), &json!(1_700_000_009.0)));

    let bare = client.call("p2p_workflow_status", json!({"workflow_id": id, "steps": false})).await;
    assert_eq!((&bare["steps"], &bare["counts"]), (&json!([]), &json!({"pending": 1, "retrying": 1})));
    let version = bare["version"].as_u64().unwrap();
    let same = json!({"workflow_id": id, "wait_s": 0.05, "seen_version": version});
    assert_eq!(client.call("p2p_workflow_status", same).await["version"], version, "nothing changed");
    let other = json!({"workflow_id": id, "wait_s": 60, "seen_version": version - 1});
    assert_eq!(client.call("p2p_workflow_status", other).await["version"], version, "at once");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_problems_of_a_definition_are_named_with_step_and_field() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    for peer in [Value::Null, json!(PEER)] {
        let arguments = json!({"workflow": definition("broken", &["a"]), "peer": peer});
        let checked = client.call("p2p_workflow_validate", arguments.clone()).await;
        assert_eq!((&checked["valid"], checked["problems"].as_array().unwrap().len()), (&json!(false), 7));
        if peer.is_null() {
            let refused = client.refused("p2p_workflow_submit", arguments).await;
            assert_eq!(refused["code"], "invalid_workflow");
            assert!(refused["message"].as_str().unwrap().contains("and 2 more"), "{refused}");
            let problems = refused["problems"].as_array().unwrap();
            assert_eq!(problems.len(), 7, "the sentence names five, the list all");
            let sixth = json!({"step": "s6", "field": "tool", "message": "nobody serves \"x\""});
            assert_eq!(problems[6], sixth);
        }
    }
    let fine = json!({"workflow": definition("greet", &["a", "b"]), "inputs": {}});
    let fine = client.call("p2p_workflow_validate", fine).await;
    let expected =
        json!({"peer_id": LOCAL, "valid": true, "name": "greet", "steps": ["a", "b"], "problems": []});
    assert_eq!(fine, expected);
    assert_eq!(node.state.logged("validate greet true"), 1);
    assert_eq!(node.state.logged("validate broken false"), 1);
    assert_eq!(node.state.logged("submit_run greet"), 0, "a check runs nothing");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_of_ten_megabytes_is_refused_with_the_limit_and_a_large_one_is_an_artifact() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Older).await;
    let of = |len: usize| {
        let mut workflow = definition("greet", &["a"]);
        workflow["description"] = "x".repeat(len).into();
        workflow
    };
    for tool in ["p2p_workflow_submit", "p2p_workflow_validate"] {
        let refused = client.refused(tool, json!({"workflow": of(10 << 20)})).await;
        let message = refused["message"].as_str().unwrap();
        assert_eq!(refused["code"], "too_large", "{tool}");
        assert!(message.contains("definition") && message.contains("limit of 1048576 bytes"), "{message}");
    }
    let inputs = json!({"workflow": of(1), "inputs": {"text": "x".repeat(2 << 20)}});
    let refused = client.refused("p2p_workflow_submit", inputs).await;
    assert!(refused["message"].as_str().unwrap().starts_with("inputs of 2097"), "{refused}");
    let scheduled = json!({"name": "s", "every_s": 60, "workflow": of(2 << 20)});
    assert_eq!(client.refused("p2p_schedule_create", scheduled).await["code"], "too_large");
    assert_eq!(*node.state.log.lock().unwrap(), Vec::<String>::new(), "nothing was stored, nobody was asked");

    client.call("p2p_workflow_submit", json!({"workflow": of(100_000)})).await;
    assert_eq!(node.state.logged("put 100"), 1);
    assert_eq!(node.state.logged("submit_run greet"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_course_of_a_run_is_changed() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let id = submit(&client, &["a"]).await;
    let with = |more: Value| {
        let mut arguments = json!({"workflow_id": id});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    for (tool, more, state, logged) in [
        ("p2p_workflow_pause", json!({}), "paused", "control Pause"),
        ("p2p_workflow_resume", json!({}), "running", "control Resume"),
        (
            "p2p_workflow_signal",
            json!({"name": "approved", "payload": {"by": "me"}}),
            "running",
            "control Signal { name: \"approved\", payload: Json(11 bytes) }",
        ),
        ("p2p_workflow_signal", json!({"name": "go"}), "running", "payload: Json(4 bytes)"),
        (
            "p2p_workflow_cancel",
            json!({"reason": "enough", "compensate": true}),
            "cancelled",
            "control Cancel { reason: Some(\"enough\"), compensate: true }",
        ),
        ("p2p_workflow_retry", json!({"from_step": "a"}), "running", "control Retry { from: Some(\"a\") }"),
        ("p2p_workflow_retry", json!({}), "running", "control Retry { from: None }"),
    ] {
        let changed = client.call(tool, with(more)).await;
        assert_eq!(changed, json!({"workflow_id": id, "peer_id": LOCAL, "state": state}), "{tool}");
        assert_eq!(node.state.logged(logged), 1, "{logged}");
    }
    let large = with(json!({"name": "go", "payload": "x".repeat(40_000)}));
    let refused = client.refused("p2p_workflow_signal", large).await;
    assert_eq!(refused["code"], "too_large");
    assert!(refused["message"].as_str().unwrap().contains("32768 bytes"), "{refused}");
    client.call("p2p_workflow_cancel", with(json!({}))).await;
    assert_eq!(client.refused("p2p_workflow_cancel", with(json!({}))).await["code"], "wrong_state");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_histories_are_read_page_by_page() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let ids = [submit(&client, &["a"]).await, submit(&client, &["a"]).await, submit(&client, &["a"]).await];
    node.state.runs.fail(&ids[1], "no luck");
    let first = client.call("p2p_workflow_list", json!({"limit": 2})).await;
    let of = |page: &Value| {
        let runs = page["runs"].as_array().unwrap();
        runs.iter().map(|run| run["workflow_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&first), [ids[2].clone(), ids[1].clone()], "newest first");
    let second = client.call("p2p_workflow_list", json!({"limit": 2, "cursor": first["next_cursor"]})).await;
    assert_eq!((of(&second), &second["next_cursor"]), (vec![ids[0].clone()], &Value::Null));
    let failed = client.call("p2p_workflow_list", json!({"state": "failed", "name": "greet"})).await;
    assert_eq!(failed["runs"][0]["error"], json!({"code": "tool_failed", "message": "no luck"}));
    assert_eq!((of(&failed).len(), &failed["runs"][0]["steps"]), (1, &json!(1)));

    let history = |after: Value| json!({"workflow_id": ids[0], "limit": 3, "after": after});
    let page = client.call("p2p_workflow_history", history(Value::Null)).await;
    let expected = json!({
        "seq": 1, "at": 1_700_000_000.001, "kind": "step_started", "step": "a", "item": null,
        "text": "entry 1", "detail": {"seq": 1},
    });
    assert_eq!((&page["entries"][0], &page["next_after"]), (&expected, &json!(3)));
    let rest = client.call("p2p_workflow_history", history(json!(3))).await;
    assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["next_after"]), (2, &Value::Null));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_comes_as_json_or_as_a_text_to_be_drawn() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let id = submit(&client, &["a", "b"]).await;
    node.state.runs.step(&id, 0, StepState::Completed);
    let json = client.call("p2p_workflow_get_dag", json!({"workflow_id": id})).await;
    assert_eq!((&json["format"], &json["text"]), (&json!("json"), &Value::Null));
    assert_eq!(json["edges"], json!([{"from": "a", "to": "b"}]));
    let first = json!({
        "id": "a", "kind": "task", "what": "echo", "state": "completed", "items": null, "duration_s": 1.5,
        "critical": true,
    });
    assert_eq!(json["nodes"][0], first);
    assert_eq!((&json["critical_path"], &json["critical_s"]), (&json!(["a", "b"]), &json!(3.0)));
    for (format, part) in [("mermaid", "s0 ==> s1"), ("dot", "\"a\" -> \"b\" [color=")] {
        let drawn = client.call("p2p_workflow_get_dag", json!({"workflow_id": id, "format": format})).await;
        assert!(drawn["text"].as_str().unwrap().contains(part), "{drawn}");
        assert_eq!((&drawn["format"], &drawn["nodes"]), (&json!(format), &Value::Null));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_spread_over_peers_and_handed_over() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let id = submit(&client, &["a"]).await;
    let coordinate = async |more: Value| {
        let mut arguments = json!({"workflow_id": id});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.call("p2p_workflow_coordinate", arguments).await
    };
    let shown = coordinate(json!({})).await;
    assert_eq!((&shown["peer_id"], &shown["coordinating_peers"]), (&json!(LOCAL), &json!([LOCAL])));
    assert_eq!((&shown["moving_to"], &shown["epoch"]), (&Value::Null, &json!(1)));
    let spread = coordinate(json!({"discover": true})).await;
    assert_eq!(spread["coordinating_peers"], json!([LOCAL, PEER]), "who is connected, and the coordinator");
    assert_eq!(coordinate(json!({"target_peers": [PEER]})).await["coordinating_peers"], json!([LOCAL, PEER]));
    coordinate(json!({"target_peers": []})).await;
    let counts = ["coordinate None", "coordinate Some(2)", "coordinate Some(1)", "coordinate Some(0)"];
    assert_eq!(counts.map(|line| node.state.logged(line)), [1, 1, 1, 1]);
    assert_eq!(coordinate(json!({"coordinator": PEER})).await["moving_to"], PEER);
    assert_eq!(coordinate(json!({"take_back": true})).await["peer_id"], LOCAL);
    assert_eq!(node.state.logged("control TakeBack"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_handed_over_is_found_where_it_is_now() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let (id, newer) = (submit(&client, &["a"]).await, submit(&client, &["a"]).await);
    node.state.runs.move_to(&id, peer());
    let run = client.call("p2p_workflow_status", json!({"workflow_id": id})).await;
    assert_eq!(
        (&run["peer_id"], &run["epoch"], &run["output"]),
        (&json!(PEER), &json!(2), &json!("far away"))
    );
    assert_eq!(
        client.refused("p2p_workflow_cancel", json!({"workflow_id": id})).await["code"],
        "wrong_state",
        "that is what the peer says"
    );
    let history = client.call("p2p_workflow_history", json!({"workflow_id": id})).await;
    assert_eq!(history["peer_id"], PEER);
    let list = client.call("p2p_workflow_list", json!({})).await;
    assert_eq!(list["runs"][1]["moved_to"], PEER);
    assert_eq!(
        (&list["runs"][0]["workflow_id"], &list["runs"][0]["moved_to"]),
        (&json!(newer), &Value::Null)
    );

    // Its result is in the store of who coordinates it.
    let (cid, bytes) = stored(&format!("\"{}\"", "r".repeat(50_000)));
    node.state.remote.lock().unwrap().insert(cid, bytes);
    let run = client.call("p2p_workflow_status", json!({"workflow_id": id})).await;
    assert_eq!(run["output"].as_str().unwrap().len(), 50_000);
    assert_eq!(node.state.logged("fetch"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_with_what_would_be_right_before_anybody_is_asked() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let run = "01890a5d2c7e7b6e8f0a1b2c3d4e5f60";
    let many = vec![PEER; 65];
    let cases = [
        ("p2p_workflow_submit", json!({}), "missing field `workflow`"),
        ("p2p_workflow_submit", json!({"workflow": "greet"}), "workflow: invalid type"),
        ("p2p_workflow_submit", json!({"workflow": {}, "imputs": {}}), "did you mean \"inputs\"?"),
        ("p2p_workflow_submit", json!({"workflow": {}, "target_peers": ["me"]}), "target_peers[0]"),
        ("p2p_workflow_submit", json!({"workflow": {}, "target_peers": many}), "at most 64"),
        ("p2p_workflow_submit", json!({"workflow": {}, "wait_s": 61}), "expected 0 to 60 seconds"),
        ("p2p_workflow_status", json!({"workflow_id": "x"}), "workflow id \"x\""),
        ("p2p_workflow_status", json!({"workflow_id": run, "seen_version": 3}), "give wait_s too"),
        ("p2p_workflow_status", json!({"workflow_id": run, "seen_version": -3}), "seen_version: invalid"),
        ("p2p_workflow_cancel", json!({"workflow_id": run, "reason": "x".repeat(501)}), "500 characters"),
        ("p2p_workflow_signal", json!({"workflow_id": run}), "missing field `name`"),
        ("p2p_workflow_list", json!({"state": "done"}), "expected one of pending, running"),
        ("p2p_workflow_list", json!({"limit": 0}), "expected 1 to 1000"),
        ("p2p_workflow_list", json!({"cursor": "x"}), "use next_cursor"),
        (
            "p2p_workflow_get_dag",
            json!({"workflow_id": run, "format": "mermade"}),
            "did you mean \"mermaid\"?",
        ),
        ("p2p_workflow_history", json!({"workflow_id": run, "limit": 1001}), "expected 1 to 1000"),
        ("p2p_workflow_coordinate", json!({"workflow_id": run, "coordinator": "me"}), "coordinator: peer id"),
        (
            "p2p_workflow_coordinate",
            json!({"workflow_id": run, "discover": true, "target_peers": [PEER]}),
            "give one of them",
        ),
        (
            "p2p_workflow_coordinate",
            json!({"workflow_id": run, "take_back": true, "coordinator": PEER}),
            "give one of them",
        ),
    ];
    for (tool, arguments, part) in cases {
        let error = client.refused(tool, arguments.clone()).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], "invalid_argument", "{tool} {arguments}: {message}");
        assert!(message.contains(part), "{tool} {arguments}: {message}");
    }
    let integer = json!({"workflow": {"n": 18_446_744_073_709_551_615_u64}});
    let refused = client.refused("p2p_workflow_submit", integer).await;
    assert_eq!(refused["code"], "invalid_json");
    assert!(refused["message"].as_str().unwrap().starts_with("workflow: "), "{refused}");
    assert_eq!(*node.state.log.lock().unwrap(), Vec::<String>::new());
    node.stop().await;
}
