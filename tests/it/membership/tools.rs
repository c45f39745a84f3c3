//! The tools about peers: what each does is seen at another node than the one it was called at.

use super::{TRUSTING, book, call, identity, in_state, is_out, refused, seen, together};
use crate::support::{Node, binary, config, eventually, invitation, pair};
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_registered_lists_who_registered_it() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let registered = call(&a, "p2p_peer_register", json!({"address": b.place()})).await;
    assert_eq!((&registered["target"], &registered["new"]), (&json!(b.peer_id()), &json!(true)));
    assert_eq!(registered["problem"], json!(null), "{registered}");
    let entry = in_state(&b, a.peer_id(), "connected").await;
    assert_eq!((&entry["trust"], &entry["relayed"]), (&json!("member"), &json!(false)), "{entry}");
    let entry = in_state(&a, b.peer_id(), "connected").await;
    assert!(entry["found_by"].as_array().unwrap().contains(&json!("manual")), "{entry}");
    let at = &entry["addresses"][0];
    assert_eq!(at["addr"], b.place(), "{entry}");
    assert!(at["confirmed_s"].as_f64().unwrap() < 60.0 && entry["last_seen_s"].as_f64().unwrap() < 60.0);
    // The third is entered by the first into the book of the second, and only there a connection comes of it at once.
    let c = Node::start_with::<&str>(&dir.path().join("c"), &[], TRUSTING).await;
    let at_b = json!({"address": c.address(), "peer": b.peer_id()});
    let registered = call(&a, "p2p_peer_register", at_b).await;
    assert_eq!((&registered["peer_id"], &registered["target"]), (&json!(b.peer_id()), &json!(c.peer_id())));
    together(&b, &c).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_leads_to_a_stranger_or_nowhere_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let stranger = Node::start::<&str>(&dir.path().join("stranger"), &[]).await;
    let registered = call(&a, "p2p_peer_register", json!({"address": stranger.address()})).await;
    assert!(registered["problem"].as_str().unwrap().contains("secret"), "{registered}");
    assert!(seen(&stranger, a.peer_id()).await.is_none_or(|entry| entry["state"] != "connected"));
    let error = refused(&a, "p2p_peer_register", json!({"address": "node.example:4001"})).await;
    assert_eq!(error["code"], "invalid_argument", "{error}");
    let error = refused(&a, "p2p_peer_register", json!({"address": a.address()})).await;
    assert!(error["message"].as_str().unwrap().contains("this node itself"), "{error}");
    let error = refused(&a, "p2p_peer_register", json!({"address": "/ip4/127.0.0.1/tcp/1"})).await;
    assert_eq!(error["code"], "unreachable", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_of_a_peer_is_read_and_has_what_its_peers_offer() {
    let dir = tempfile::tempdir().unwrap();
    let labelled = config(dir.path(), "labelled.yaml", "executor:\n  labels: [gpu]\n  slots: 3\n");
    let (a, b) = pair(dir.path(), &["--config", &labelled], &[]).await;
    let there = eventually("b knows what a offers", || async {
        let list = json!({"peer": b.peer_id(), "capability": "gpu", "state": "connected"});
        let listed = call(&a, "p2p_peer_list", list).await;
        (listed["count"] == 1).then_some(listed)
    })
    .await;
    assert_eq!(there["peer_id"], b.peer_id());
    let entry = &there["peers"][0];
    assert_eq!(entry["peer_id"], a.peer_id(), "{there}");
    assert_eq!((&entry["load"]["slots"], &entry["trust"]), (&json!(3), &json!("member")), "{entry}");
    assert!(entry["agent"].as_str().unwrap().starts_with("meshwork/"), "{entry}");
    eventually("the round trip is measured", || async {
        seen(&b, a.peer_id()).await?["rtt_ms"].as_f64().filter(|rtt| *rtt < 10_000.0)
    })
    .await;
    let nobody = json!({"peer": b.peer_id(), "capability": "no such thing"});
    assert_eq!(call(&a, "p2p_peer_list", nobody).await["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_asked_to_look_for_peers_finds_those_of_its_registry() {
    let dir = tempfile::tempdir().unwrap();
    let registry = dir.path().join("registry");
    // It visits the registry at its start and then not for a day: what comes later is found because it is asked.
    let files = |name: &str| {
        let text = format!(
            "p2p:\n  discovery:\n    files: {{path: {}, name: {name}, interval_s: 86400}}\n",
            registry.display()
        );
        config(dir.path(), &format!("{name}.yaml"), &text)
    };
    let b = Node::start_with(&dir.path().join("b"), &["--config", &files("b")], TRUSTING).await;
    let a = Node::start_with::<&str>(&dir.path().join("a"), &["--peer", &b.address()], TRUSTING).await;
    together(&a, &b).await;
    eventually("b is in the registry", || async { registry.join("peer_b.json").exists().then_some(()) })
        .await;
    let c = Node::start_with(&dir.path().join("c"), &["--config", &files("c")], TRUSTING).await;
    eventually("c is in the registry", || async { registry.join("peer_c.json").exists().then_some(()) })
        .await;
    let look = json!({"peer": b.peer_id(), "sources": ["file_registry"]});
    let looked = call(&a, "p2p_peer_discover", look).await;
    assert_eq!(looked["peer_id"], b.peer_id());
    let source = &looked["sources"][0];
    assert_eq!((&source["source"], &source["found"]), (&json!("file_registry"), &json!(1)), "{looked}");
    assert_eq!(source["problem"], json!(null), "{looked}");
    assert!(looked["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == c.peer_id()));
    together(&b, &c).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_cleans_up_and_forgets_at_another_node_and_a_member_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let admin = identity(&dir.path().join("admin")).await;
    let host = Node::start_with(&dir.path().join("host"), &["--admin", &admin], TRUSTING).await;
    let contact = ["--peer", &host.address()];
    let admin = Node::start_with(&dir.path().join("admin"), &contact, TRUSTING).await;
    let member = Node::start_with(&dir.path().join("member"), &contact, TRUSTING).await;
    let mut gone = Node::start_with(&dir.path().join("gone"), &contact, TRUSTING).await;
    for peer in [&admin, &member, &gone] {
        together(&host, peer).await;
    }
    gone.kill().await;
    in_state(&host, gone.peer_id(), "known").await;
    let error = refused(&member, "p2p_peer_cleanup", json!({"peer": host.peer_id(), "silent_s": 0.5})).await;
    assert_eq!(error["code"], "forbidden", "{error}");
    let dry = json!({"peer": host.peer_id(), "silent_s": 0.5, "dry_run": true});
    eventually("it has been silent for half a second", || async {
        let would = call(&admin, "p2p_peer_cleanup", dry.clone()).await;
        assert_eq!((&would["peer_id"], &would["dry_run"]), (&json!(host.peer_id()), &json!(true)));
        (would["forgotten"] == json!([gone.peer_id()])).then_some(())
    })
    .await;
    assert!(seen(&host, gone.peer_id()).await.is_some(), "a dry run forgot it");
    let cleaned = call(&admin, "p2p_peer_cleanup", json!({"peer": host.peer_id(), "silent_s": 0.5})).await;
    assert_eq!(cleaned["forgotten"], json!([gone.peer_id()]), "{cleaned}");
    assert_eq!(cleaned["kept"], 2, "connected peers are never forgotten: {cleaned}");
    assert!(seen(&host, gone.peer_id()).await.is_none());
    // Forgetting one that lives closes the connection, and it comes back by itself.
    let forget = json!({"peer": host.peer_id(), "peer_id": member.peer_id()});
    assert_eq!(refused(&member, "p2p_peer_forget", forget.clone()).await["code"], "forbidden");
    let forgotten = call(&admin, "p2p_peer_forget", forget).await;
    assert_eq!((&forgotten["known"], &forgotten["target"]), (&json!(true), &json!(member.peer_id())));
    together(&host, &member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_revokes_at_another_node_and_a_member_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let admin = identity(&dir.path().join("admin")).await;
    let host = Node::start_with(&dir.path().join("host"), &["--admin", &admin], TRUSTING).await;
    let contact = ["--peer", &host.address()];
    let admin = Node::start_with(&dir.path().join("admin"), &contact, TRUSTING).await;
    let member = Node::start_with(&dir.path().join("member"), &contact, TRUSTING).await;
    together(&host, &admin).await;
    together(&host, &member).await;
    let revoke = json!({"peer": host.peer_id(), "peer_id": member.peer_id()});
    assert_eq!(refused(&member, "p2p_peer_revoke", revoke.clone()).await["code"], "forbidden");
    let revoked = call(&admin, "p2p_peer_revoke", revoke).await;
    assert_eq!((&revoked["revoked"], &revoked["peer_id"]), (&json!(true), &json!(host.peer_id())));
    in_state(&host, member.peer_id(), "banned").await;
    is_out(&member, host.peer_id()).await;
    assert_eq!(host.queue("status", json!({})).await["counts"]["queued"].as_u64().unwrap_or(0), 0);
}

/// A service that says from where it is asked, as those on the internet do; gives its URL.
async fn public_ip_service(says: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let service = Router::new().route("/ip", get(move || async move { format!("{says}\n") }));
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    format!("http://{at}/ip")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_of_a_peer_is_what_two_of_its_services_agree_on() {
    let dir = tempfile::tempdir().unwrap();
    let liar = public_ip_service("8.8.4.4").await;
    let (one, other) = (public_ip_service("9.9.9.9").await, public_ip_service("9.9.9.9").await);
    let services = |list: &[&str], name: &str| {
        config(dir.path(), name, &format!("p2p:\n  public_ip:\n    services: [{}]\n", list.join(", ")))
    };
    let agreeing = services(&[&liar, &one, &other], "agreeing.yaml");
    let arguing = services(&[&liar, &one], "arguing.yaml");
    let (a, b) = pair(dir.path(), &["--config", &arguing], &["--config", &agreeing]).await;
    let told = call(&a, "p2p_peer_get_public_ip", json!({"peer": b.peer_id()})).await;
    assert_eq!((&told["peer_id"], &told["ipv4"]), (&json!(b.peer_id()), &json!("9.9.9.9")), "{told}");
    let agreed: Vec<&str> =
        told["agreed_by"].as_array().unwrap().iter().filter_map(|by| by.as_str()).collect();
    assert!(agreed.len() == 2 && !agreed.contains(&liar.as_str()), "{told}");
    let error = refused(&b, "p2p_peer_get_public_ip", json!({"peer": a.peer_id()})).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("8.8.4.4") && message.contains("9.9.9.9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_found_out_at_the_start_is_tried_out_and_not_believed_before() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (public_ip_service("9.9.9.9").await, public_ip_service("9.9.9.9").await);
    let text = format!("p2p:\n  public_ip:\n    detect: true\n    services: [{one}, {other}]\n");
    let file = config(dir.path(), "a.yaml", &text);
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    let place = a.place();
    let candidate = format!("/ip4/9.9.9.9/tcp/{}", place.rsplit('/').next().unwrap());
    eventually("the address is tried out", || async { a.log().contains(&candidate).then_some(()) }).await;
    let reach = call(&a, "p2p_peer_list", json!({})).await["reach"].clone();
    assert_eq!((&reach["external"], &reach["reachability"]), (&json!([]), &json!("unknown")), "{reach}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_about_peers_work_against_a_running_node() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let run = async |args: &[&str], expected: i32| {
        let (code, out, err) = a.cli(args).await;
        assert_eq!(code, expected, "{args:?}: {out}{err}");
        out
    };
    assert!(run(&["peers", "add", &b.address()], 0).await.contains("connected"));
    together(&a, &b).await;
    assert!(run(&["peers", "list"], 0).await.contains(b.peer_id()));
    assert!(run(&["peers", "discover", "--json"], 0).await.contains(b.peer_id()));
    run(&["peers", "contacts"], 0).await;
    run(&["peers", "cleanup", "--dry-run"], 0).await;
    assert!(run(&["peers", "revoke", b.peer_id()], 0).await.contains("1 connection closed"));
    in_state(&a, b.peer_id(), "banned").await;
    assert!(run(&["peers", "revoke", b.peer_id(), "--undo"], 0).await.contains("let in again"));
    run(&["peers", "add", &b.address()], 0).await;
    together(&a, &b).await;
    assert!(run(&["peers", "forget", b.peer_id()], 0).await.contains("is forgotten"));
    let nobody = identity(&dir.path().join("nobody")).await;
    run(&["peers", "forget", &nobody], 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_a_peer_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let mut watch = Command::new(binary())
        .args(["peers", "watch", "--for", "60s", "--json"])
        .env("MESHWORK_URL", a.mcp_url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut b = Node::start_with(&dir.path().join("b"), &["--peer", &a.address()], TRUSTING).await;
    let mut until = async |state: &str| loop {
        let line = lines.next_line().await.unwrap().expect("the watch goes on until a line says so");
        let change: Value = serde_json::from_str(&line).unwrap();
        if change["peer_id"] == b.peer_id() && change["state"] == state {
            return;
        }
    };
    until("connected").await;
    b.terminate();
    until("left").await;
    assert_eq!(b.wait().await, Some(0), "{}", b.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_found_are_worked_with_like_those_that_were_named() {
    let dir = tempfile::tempdir().unwrap();
    let idle = config(dir.path(), "idle.yaml", "executor:\n  slots: 0\n");
    let (a, b) = pair(dir.path(), &["--config", &idle], &["--config", &idle]).await;
    let c = Node::start(&dir.path().join("c"), &["--join", &invitation(&b).await]).await;
    together(&a, &c).await;
    let id = a.submit("echo", json!({"n": 1})).await;
    let result = a.result(&id).await;
    assert!(result["worker"].as_str().unwrap().starts_with(c.peer_id()), "{result}");
    assert_eq!(book(&a).await.len(), 2);
}
