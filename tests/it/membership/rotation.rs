//! The mesh secret is changed while the mesh works.

use super::{book, in_state, seen, together};
use crate::support::{Node, config, eventually, invitation, run_cli};
use serde_json::{Value, json};
use std::path::Path;
use tokio::sync::watch;

/// Runs `meshwork secret` for a node's data directory, and gives its answer.
async fn secret(dir: &Path, args: &[&str]) -> Value {
    let mut all = vec!["secret"];
    all.extend_from_slice(args);
    all.extend_from_slice(&["--json", "--data-dir", dir.to_str().unwrap()]);
    let (code, out, err) = run_cli(&all).await;
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// Waits until a running node has taken this many changes of its file.
async fn taken(node: &Node, changes: usize) {
    eventually("the node takes the change", || async {
        (node.log().matches("the mesh secrets were changed").count() >= changes).then_some(())
    })
    .await;
}

/// Submits tasks until told to stop, and gives their ids; all the time the workers are connected.
async fn submit_all_the_time(
    owner: &Node,
    workers: [&Node; 2],
    mut stop: watch::Receiver<bool>,
) -> Vec<String> {
    let mut ids = Vec::new();
    while !*stop.borrow_and_update() {
        ids.push(owner.submit("echo", json!({"n": ids.len()})).await);
        for worker in workers {
            let entry = seen(owner, worker.peer_id()).await.unwrap();
            assert_eq!(entry["state"], "connected", "{entry}\n{}", owner.log());
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_changed_without_a_task_lost_and_who_did_not_follow_is_out() {
    let dir = tempfile::tempdir().unwrap();
    let idle = config(dir.path(), "idle.yaml", "executor:\n  slots: 0\n");
    let a = Node::start(&dir.path().join("a"), &["--config", &idle]).await;
    let invited = invitation(&a).await;
    let join = ["--join", invited.as_str()];
    let b = Node::start(&dir.path().join("b"), &join).await;
    let c = Node::start(&dir.path().join("c"), &join).await;
    let d = Node::start(&dir.path().join("d"), &["--join", &invited, "--config", &idle]).await;
    for (one, other) in [(&a, &b), (&a, &c), (&a, &d), (&b, &c), (&b, &d), (&c, &d)] {
        together(one, other).await;
    }
    let (stop, stopped) = watch::channel(false);
    let rotate = async {
        let made = secret(&a.dir, &["add"]).await["secret"].as_str().unwrap().to_owned();
        // Until the others have the new one, the old one is tried next and nobody is out.
        taken(&a, 1).await;
        for node in [&b, &c] {
            secret(&node.dir, &["add", &made]).await;
        }
        for node in [&b, &c] {
            taken(node, 1).await;
        }
        in_state(&a, d.peer_id(), "connected").await;
        for node in [&a, &b, &c] {
            assert_eq!(secret(&node.dir, &["retire"]).await["retired"].as_array().unwrap().len(), 1);
        }
        for node in [&a, &b, &c] {
            taken(node, 2).await;
        }
        stop.send(true).unwrap();
    };
    let (ids, ()) = tokio::join!(submit_all_the_time(&a, [&b, &c], stopped), rotate);
    assert!(ids.len() > 10, "only {} tasks were submitted", ids.len());
    for id in &ids {
        let result = a.result(id).await;
        assert_eq!(result["status"], "completed", "{result}");
    }
    for node in [&a, &b, &c] {
        eventually("who did not follow is out", || async {
            let entry = seen(node, d.peer_id()).await;
            entry.is_none_or(|entry| entry["state"] != "connected").then_some(())
        })
        .await;
        let error = d
            .queue_error("submit", json!({"task_type": "echo", "payload": {}, "peer": node.peer_id()}))
            .await;
        assert_eq!(error["code"], "not_admitted", "{error}");
    }
    together(&a, &b).await;
    together(&b, &c).await;
    assert!(book(&d).await.iter().all(|entry| entry["state"] != "connected"), "{:?}", book(&d).await);
    // The old invitation opens nothing any more, a new one does.
    let late = Node::start(&dir.path().join("late"), &join).await;
    eventually("the old invitation is refused", || async {
        a.log().lines().any(|line| line.contains(late.peer_id())).then_some(())
    })
    .await;
    let e = Node::start(&dir.path().join("e"), &["--join", &invitation(&a).await]).await;
    together(&a, &e).await;
    assert!(seen(&a, late.peer_id()).await.is_none_or(|entry| entry["state"] != "connected"));
}
