//! The registry in a GitHub issue, against a stand-in of the API on loopback.

use super::{SECRET, call, found_by, in_state, seen, together};
use crate::support::{Around, Node, config, eventually};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, DATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the stand-in's clock reads, always; both forms of it.
const TIME: &str = "2023-11-14T22:13:20Z";
const HTTP_TIME: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const TOKEN: &str = "ghp_of_the_stand_in";

#[derive(Debug, Default)]
struct Forge {
    issues: Vec<String>,
    comments: Vec<(u64, String)>,
    next: u64,
}

type Shared = State<Arc<Mutex<Forge>>>;

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(DATE, HTTP_TIME)], body.to_string()).into_response()
}

fn comment(id: u64, body: &str) -> Value {
    json!({"id": id, "body": body, "created_at": TIME, "updated_at": TIME})
}

/// Who has no token only reads.
fn may_write(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|given| given.to_str().is_ok_and(|given| given.contains(TOKEN)))
}

fn text(body: &str, field: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()[field].as_str().unwrap().to_owned()
}

async fn issues(State(forge): Shared) -> Response {
    let forge = forge.lock().unwrap();
    let listed = forge.issues.iter().zip(1..);
    let listed: Vec<_> =
        listed.map(|(title, number)| json!({"number": number, "title": title, "state": "open"})).collect();
    answer(StatusCode::OK, &json!(listed))
}

async fn open_issue(State(forge): Shared, headers: HeaderMap, body: String) -> Response {
    if !may_write(&headers) {
        return answer(StatusCode::UNAUTHORIZED, &json!({"message": "Requires authentication"}));
    }
    let mut forge = forge.lock().unwrap();
    forge.issues.push(text(&body, "title"));
    answer(StatusCode::CREATED, &json!({"number": forge.issues.len()}))
}

async fn comments(State(forge): Shared) -> Response {
    let forge = forge.lock().unwrap();
    let listed: Vec<_> = forge.comments.iter().map(|(id, body)| comment(*id, body)).collect();
    answer(StatusCode::OK, &json!(listed))
}

async fn write_comment(State(forge): Shared, headers: HeaderMap, body: String) -> Response {
    if !may_write(&headers) {
        return answer(StatusCode::UNAUTHORIZED, &json!({"message": "Requires authentication"}));
    }
    let mut forge = forge.lock().unwrap();
    forge.next += 1;
    let (id, body) = (forge.next, text(&body, "body"));
    forge.comments.push((id, body.clone()));
    answer(StatusCode::CREATED, &comment(id, &body))
}

async fn edit_comment(State(forge): Shared, Path(id): Path<u64>, body: String) -> Response {
    let mut forge = forge.lock().unwrap();
    match forge.comments.iter_mut().find(|(known, _)| *known == id) {
        Some((_, kept)) => {
            *kept = text(&body, "body");
            answer(StatusCode::OK, &comment(id, kept))
        }
        None => answer(StatusCode::NOT_FOUND, &json!({"message": "Not Found"})),
    }
}

async fn delete_comment(State(forge): Shared, Path(id): Path<u64>) -> Response {
    forge.lock().unwrap().comments.retain(|(known, _)| *known != id);
    (StatusCode::NO_CONTENT, [(DATE, HTTP_TIME)]).into_response()
}

/// Starts the stand-in; gives its URL and what it keeps.
async fn forge() -> (String, Arc<Mutex<Forge>>) {
    let kept = Arc::new(Mutex::new(Forge::default()));
    let api = Router::new()
        .route("/repos/octo/mesh/issues", get(issues).post(open_issue))
        .route("/repos/octo/mesh/issues/{number}/comments", get(comments).post(write_comment))
        .route("/repos/octo/mesh/issues/comments/{id}", patch(edit_comment).delete(delete_comment))
        .with_state(Arc::clone(&kept));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api).await.unwrap() });
    (url, kept)
}

/// The comments that speak of a peer.
fn of(kept: &Mutex<Forge>, peer: &str) -> Vec<String> {
    let kept = kept.lock().unwrap();
    kept.comments.iter().map(|(_, body)| body.clone()).filter(|body| body.contains(peer)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_meet_in_an_issue_and_take_their_comments_back_when_they_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (url, kept) = forge().await;
    // What anybody may write there: nonsense under the mark, and no business of ours.
    kept.lock().unwrap().comments = vec![
        (1, "<!-- p2p-peer-registry:broken -->\n```json\n{\"peer_id\": \"nobody\"\n```\n".into()),
        (2, "What is this issue for?".into()),
    ];
    kept.lock().unwrap().next = 100;
    let text = format!(
        "p2p:\n  discovery:\n    allow_private_addresses: true\n    github: {{repository: octo/mesh, api_url: '{url}', interval_s: 1}}\n"
    );
    let file = config(dir.path(), "github.yaml", &text);
    let env = [SECRET, ("GITHUB_TOKEN", TOKEN), ("RUNNER_NAME", "box")];
    let around = Around { env: &env, listen: None };
    let mut a = Node::start_with(&dir.path().join("a"), &["--config", &file], around).await;
    let b = Node::start_with(&dir.path().join("b"), &["--config", &file], around).await;
    together(&a, &b).await;
    found_by(&a, &b, "github").await;
    found_by(&b, &a, "github").await;
    assert_eq!(kept.lock().unwrap().issues, ["p2p-peer-registry"], "one issue is opened for all");
    let written = of(&kept, a.peer_id());
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].starts_with("<!-- p2p-peer-registry:box"), "{written:?}");
    assert!(written[0].contains("```json\n") && written[0].contains("\"multiaddr\""), "{written:?}");
    a.stop().await;
    assert!(of(&kept, a.peer_id()).is_empty(), "{kept:?}");
    assert_eq!(of(&kept, b.peer_id()).len(), 1);
    assert_eq!(kept.lock().unwrap().comments.len(), 3, "those of others stay");
    in_state(&b, a.peer_id(), "left").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_token_reads_who_is_in_the_issue() {
    let dir = tempfile::tempdir().unwrap();
    let (url, kept) = forge().await;
    kept.lock().unwrap().issues = vec!["another issue".into(), "p2p-peer-registry".into()];
    let text = format!(
        "p2p:\n  discovery:\n    allow_private_addresses: true\n    github: {{repository: octo/mesh, api_url: '{url}', interval_s: 1}}\n"
    );
    let file = config(dir.path(), "github.yaml", &text);
    let env = [SECRET, ("GITHUB_TOKEN", TOKEN)];
    let writing = Around { env: &env, listen: None };
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], writing).await;
    eventually("a is in the issue", || async { (!of(&kept, a.peer_id()).is_empty()).then_some(()) }).await;
    let env = [SECRET, ("GITHUB_TOKEN", ""), ("GH_TOKEN", "")];
    let reading = Around { env: &env, listen: None };
    let b = Node::start_with(&dir.path().join("b"), &["--config", &file], reading).await;
    together(&a, &b).await;
    found_by(&b, &a, "github").await;
    assert!(of(&kept, b.peer_id()).is_empty(), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_that_anybody_may_write_there_are_not_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let (url, kept) = forge().await;
    let discovery = |private: bool| {
        let text = format!(
            "p2p:\n  discovery:\n    allow_private_addresses: {private}\n    github: {{repository: octo/mesh, api_url: '{url}', interval_s: 1}}\n"
        );
        config(dir.path(), &format!("{private}.yaml"), &text)
    };
    let env = [SECRET, ("GITHUB_TOKEN", TOKEN)];
    let around = Around { env: &env, listen: None };
    let a = Node::start_with(&dir.path().join("a"), &["--config", &discovery(true)], around).await;
    eventually("a is in the issue", || async { (!of(&kept, a.peer_id()).is_empty()).then_some(()) }).await;
    let b = Node::start_with(&dir.path().join("b"), &["--config", &discovery(false)], around).await;
    let looked = call(&b, "p2p_peer_discover", json!({"sources": ["github"]})).await;
    assert_eq!(looked["sources"][0]["problem"], json!(null), "{looked}");
    let addresses = |entry: Value| entry["addresses"].as_array().unwrap().len();
    assert_eq!(seen(&b, a.peer_id()).await.map_or(0, addresses), 0);
    assert!(seen(&a, b.peer_id()).await.is_none(), "b called");
    assert!(of(&kept, b.peer_id()).is_empty(), "b has no public address to enter: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_can_be_none_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let text = "p2p: {discovery: {github: {repository: octo/mesh, token: 'two words'}}}\n";
    let file = config(dir.path(), "github.yaml", text);
    let Err(log) = Node::try_start(&dir.path().join("a"), &["--config", &file]).await else {
        panic!("a token with a blank in it was taken")
    };
    assert!(log.contains("p2p.discovery.github.token"), "{log}");
    assert!(!log.contains("two words"), "the token is in the log: {log}");
}
