//! Who is let in, and who is not any more: pairing by a code, revocation.

use super::{TRUSTING, call, in_state, is_out, refused, seen, together};
use crate::support::{Around, Node, config, eventually, pair};
use serde_json::json;

/// Runs a task of one at the other.
async fn runs_at(owner: &Node, worker: &Node) {
    let id = owner.submit("echo", json!({"n": 7})).await;
    let result = owner.result(&id).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert!(result["worker"].as_str().unwrap().starts_with(worker.peer_id()), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_read_aloud_makes_two_meshes_one_and_lasts_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let idle = config(dir.path(), "idle.yaml", "executor:\n  slots: 0\n");
    let a = Node::start(&dir.path().join("a"), &["--config", &idle]).await;
    let mut b = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    let (code, out, err) = a.cli(&["peers", "pair"]).await;
    assert_eq!(code, 0, "{err}");
    let digits = out.trim();
    assert_eq!(digits.chars().filter(char::is_ascii_digit).count(), 9, "{out}");
    assert!(err.contains(&a.place()), "the person at the other node is told where: {err}");
    let (code, out, err) = b.cli(&["peers", "pair", digits, "--at", &a.place()]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(a.peer_id()), "{out}");
    together(&a, &b).await;
    runs_at(&a, &b).await;
    assert_eq!(seen(&a, b.peer_id()).await.unwrap()["trust"], "member");
    // The code is used up.
    let stranger = Node::start::<&str>(&dir.path().join("stranger"), &[]).await;
    let again = json!({"code": digits, "addresses": [a.address()]});
    let error = refused(&stranger, "p2p_peer_pair", again).await;
    assert!(!error["code"].is_null(), "{error}");
    b.stop().await;
    let b = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    together(&a, &b).await;
    runs_at(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wrong_codes_burn_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start::<&str>(&dir.path().join("a"), &[]).await;
    let b = Node::start::<&str>(&dir.path().join("b"), &[]).await;
    let open = call(&a, "p2p_peer_pair", json!({"valid_s": 60})).await;
    assert_eq!(open["status"], "open");
    let right = open["code"].as_str().unwrap().to_owned();
    let wrong: String = right
        .chars()
        .map(|c| if c.is_ascii_digit() { char::from(b'0' + (c as u8 - b'0' + 1) % 10) } else { c })
        .collect();
    let try_with = |code: &str| json!({"code": code, "addresses": [a.address()]});
    for _ in 0..3 {
        let error = refused(&b, "p2p_peer_pair", try_with(&wrong)).await;
        assert!(!error["message"].as_str().unwrap().contains(&right), "{error}");
    }
    refused(&b, "p2p_peer_pair", try_with(&right)).await;
    // It is the code that is burned, not only who guessed.
    let c = Node::start::<&str>(&dir.path().join("c"), &[]).await;
    refused(&c, "p2p_peer_pair", try_with(&right)).await;
    let error =
        b.queue_error("submit", json!({"task_type": "echo", "payload": {}, "peer": a.address()})).await;
    assert_eq!(error["code"], "not_admitted", "{error}");
    assert!(seen(&a, b.peer_id()).await.is_none_or(|entry| entry["state"] != "connected"));
    assert!(a.log().contains("the pairing code is of no use any more"), "{}", a.log());
    // A new code is a new chance.
    let code = call(&a, "p2p_peer_pair", json!({})).await["code"].clone();
    let joined = call(&c, "p2p_peer_pair", json!({"code": code, "addresses": [a.address()]})).await;
    assert_eq!((&joined["status"], &joined["joined"]), (&json!("joined"), &json!(a.peer_id())));
    together(&a, &c).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_closes_at_once_survives_a_restart_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, b) = pair(dir.path(), &[], &[]).await;
    let at = a.place();
    let revoked = call(&a, "p2p_peer_revoke", json!({"peer_id": b.peer_id()})).await;
    assert_eq!((&revoked["changed"], &revoked["closed"]), (&json!(true), &json!(1)), "{revoked}");
    let entry = seen(&a, b.peer_id()).await.unwrap();
    assert_eq!((&entry["state"], &entry["trust"]), (&json!("banned"), &json!("revoked")), "{entry}");
    let out = async |a: &Node| {
        eventually("b is out", || async {
            let entry = seen(&b, a.peer_id()).await?;
            (entry["state"] != "connected").then_some(())
        })
        .await;
        is_out(&b, a.peer_id()).await;
    };
    out(&a).await;
    let error = refused(&a, "p2p_peer_register", json!({"address": b.address()})).await;
    assert_eq!(error["code"], "forbidden", "{error}");
    a.stop().await;
    let a =
        Node::start_with::<&str>(&dir.path().join("a"), &[], Around { listen: Some(&at), env: &[] }).await;
    out(&a).await;
    eventually("the operator is told", || async {
        let log = a.log();
        log.lines().any(|line| line.contains(b.peer_id()) && line.contains("revoked")).then_some(())
    })
    .await;
    in_state(&a, b.peer_id(), "banned").await;
    let undone = call(&a, "p2p_peer_revoke", json!({"peer_id": b.peer_id(), "undo": true})).await;
    assert_eq!((&undone["revoked"], &undone["changed"]), (&json!(false), &json!(true)), "{undone}");
    let registered = call(&a, "p2p_peer_register", json!({"address": b.address()})).await;
    assert_eq!(registered["problem"], json!(null), "{registered}");
    together(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_peer_opens_the_door_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let b = Node::start_with(&dir.path().join("b"), &["--peer", &a.address()], TRUSTING).await;
    together(&a, &b).await;
    let error = refused(&b, "p2p_peer_pair", json!({"peer": a.peer_id()})).await;
    assert!(error["message"].as_str().unwrap().contains("peer"), "{error}");
    assert!(!a.log().contains("pairing is open"), "{}", a.log());
}
