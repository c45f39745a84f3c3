//! A stand-in for the API of GitHub, as far as the registry of peers uses it: issues of one repository, and the comments
//! of one issue, in memory and on loopback.

use crate::bench::BenchError;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::DATE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

/// What its clock reads, always, in both forms of it: an entry does not grow old while it is measured.
const TIME: &str = "2023-11-14T22:13:20Z";
const HTTP_TIME: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

/// What is kept.
#[derive(Debug, Default)]
struct Kept {
    /// Titles; the number of an issue is its place, from 1.
    issues: Vec<String>,
    /// Texts; the number of a comment is its place, from 1. None: it was deleted.
    comments: Vec<Option<String>>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Kept>>);

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing that holds the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stand-in; it ends with this value.
pub(super) struct Forge {
    url: String,
    _serving: AbortOnDropHandle<()>,
}

impl Forge {
    /// Starts it, with nothing in it.
    pub(super) async fn start() -> Result<Self, BenchError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes()).await {
                tracing::warn!(%error, "the stand-in for the forge has ended");
            }
        });
        Ok(Self { url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Where its API is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

fn routes() -> Router {
    Router::new()
        .route("/repos/{owner}/{name}/issues", get(issues).post(open_issue))
        .route("/repos/{owner}/{name}/issues/{number}/comments", get(comments).post(write_comment))
        .route("/repos/{owner}/{name}/issues/comments/{id}", patch(edit_comment).delete(delete_comment))
        .with_state(Shared::default())
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(DATE, HTTP_TIME)], body.to_string()).into_response()
}

fn not_found() -> Response {
    answer(StatusCode::NOT_FOUND, &json!({"message": "Not Found"}))
}

fn comment(id: usize, body: &str) -> Value {
    json!({"id": id, "body": body, "created_at": TIME, "updated_at": TIME})
}

/// A field of what was sent; a refusal when it is not there.
fn text(body: &str, field: &str) -> Result<String, Box<Response>> {
    let sent: Option<Value> = serde_json::from_str(body).ok();
    let text = sent.as_ref().and_then(|sent| sent[field].as_str()).map(str::to_owned);
    text.ok_or_else(|| {
        let message = format!("Invalid request: {field} is no text");
        Box::new(answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({"message": message})))
    })
}

async fn issues(State(shared): State<Shared>) -> Response {
    let kept = shared.kept();
    let issue =
        |(number, title): (usize, &String)| json!({"number": number, "title": title, "state": "open"});
    answer(StatusCode::OK, &(1..).zip(&kept.issues).map(issue).collect())
}

async fn open_issue(State(shared): State<Shared>, body: String) -> Response {
    let title = match text(&body, "title") {
        Ok(title) => title,
        Err(refusal) => return *refusal,
    };
    let mut kept = shared.kept();
    kept.issues.push(title);
    answer(StatusCode::CREATED, &json!({"number": kept.issues.len()}))
}

async fn comments(State(shared): State<Shared>) -> Response {
    let kept = shared.kept();
    let there = (1..).zip(&kept.comments).filter_map(|(id, body)| Some(comment(id, body.as_ref()?)));
    answer(StatusCode::OK, &there.collect())
}

async fn write_comment(State(shared): State<Shared>, body: String) -> Response {
    let body = match text(&body, "body") {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let mut kept = shared.kept();
    kept.comments.push(Some(body.clone()));
    answer(StatusCode::CREATED, &comment(kept.comments.len(), &body))
}

async fn edit_comment(
    State(shared): State<Shared>,
    Path((_, _, id)): Path<(String, String, usize)>,
    body: String,
) -> Response {
    let body = match text(&body, "body") {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let mut kept = shared.kept();
    match id.checked_sub(1).and_then(|place| kept.comments.get_mut(place)) {
        Some(Some(there)) => {
            there.clone_from(&body);
            answer(StatusCode::OK, &comment(id, &body))
        }
        _ => not_found(),
    }
}

async fn delete_comment(
    State(shared): State<Shared>,
    Path((_, _, id)): Path<(String, String, usize)>,
) -> Response {
    let mut kept = shared.kept();
    match id.checked_sub(1).and_then(|place| kept.comments.get_mut(place)).and_then(Option::take) {
        Some(_) => (StatusCode::NO_CONTENT, [(DATE, HTTP_TIME)]).into_response(),
        None => not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::{Client, Method};

    /// Asks; gives the status and what was answered.
    async fn ask(method: Method, url: String, body: &Value) -> (u16, Value) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = Client::new().request(method, url).body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    #[tokio::test]
    async fn issues_and_comments_are_kept_as_the_registry_expects_them() {
        let forge = Forge::start().await.unwrap();
        let at = |path: &str| format!("{}/repos/octo/mesh/{path}", forge.url());
        let nothing = json!({});
        assert_eq!(ask(Method::GET, at("issues?state=open"), &nothing).await, (200, json!([])));
        assert_eq!(ask(Method::POST, at("issues"), &nothing).await.0, 422);
        let opened = ask(Method::POST, at("issues"), &json!({"title": "registry"})).await;
        assert_eq!(opened, (201, json!({"number": 1})));
        let listed = ask(Method::GET, at("issues?state=open"), &nothing).await.1;
        assert_eq!(listed, json!([{"number": 1, "title": "registry", "state": "open"}]));
        let written = ask(Method::POST, at("issues/1/comments"), &json!({"body": "here"})).await;
        assert_eq!((written.0, &written.1["id"]), (201, &json!(1)));
        assert_eq!(ask(Method::PATCH, at("issues/comments/1"), &json!({"body": "there"})).await.0, 200);
        let comments = ask(Method::GET, at("issues/1/comments?page=1"), &nothing).await.1;
        assert_eq!(comments, json!([comment(1, "there")]));
        assert_eq!(ask(Method::DELETE, at("issues/comments/1"), &nothing).await.0, 204);
        for (method, path) in [(Method::DELETE, "issues/comments/1"), (Method::PATCH, "issues/comments/7")] {
            assert_eq!(ask(method, at(path), &json!({"body": "?"})).await.0, 404);
        }
        assert_eq!(ask(Method::GET, at("issues/1/comments?page=1"), &nothing).await.1, json!([]));
    }
}
