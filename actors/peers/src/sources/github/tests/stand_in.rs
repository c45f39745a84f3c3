//! A stand-in of the part of the GitHub API that the registry uses, with the shapes and headers of the real one: what it
//! answers are the issue and the comment in `recorded/`, with everything that GitHub sends and its documentation describes,
//! and other numbers, texts and times in them.

use crate::sources::timestamp;
use meshwork_proto::UnixMillis;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Mutex};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// What GitHub's clock reads.
pub(super) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
/// GitHub Enterprise has its API below this path.
pub(super) const ENTERPRISE: &str = "/api/v3";

static ISSUE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("recorded/issue.json")).unwrap());
static COMMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("recorded/comment.json")).unwrap());

#[derive(Debug, Clone)]
pub(super) struct StoredComment {
    pub(super) id: u64,
    pub(super) body: String,
    pub(super) updated: UnixMillis,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Number and title of the open issues, pull requests among them.
    pub(super) issues: Vec<(u64, String, bool)>,
    pub(super) comments: Vec<StoredComment>,
    pub(super) next_id: u64,
    /// Answers everything instead.
    pub(super) fault: Option<ResponseTemplate>,
    /// Answers everything that changes something instead.
    pub(super) fault_of_writes: Option<ResponseTemplate>,
    /// Requests as `METHOD path?query status`.
    pub(super) log: Vec<String>,
    /// How many pages were said to be unchanged.
    pub(super) unchanged: usize,
    pub(super) authorization: Vec<Option<String>>,
}

#[derive(Clone)]
pub(super) struct StandIn(Arc<Mutex<State>>);

/// Starts one on loopback.
pub(super) async fn start() -> (MockServer, StandIn) {
    let server = MockServer::start().await;
    let stand_in = StandIn(Arc::new(Mutex::new(State { next_id: 1_000, ..State::default() })));
    Mock::given(any()).respond_with(stand_in.clone()).mount(&server).await;
    (server, stand_in)
}

impl StandIn {
    /// Looks at it, or changes it behind everybody's back.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    pub(super) fn fail_with(&self, fault: ResponseTemplate) {
        self.with(|state| state.fault = Some(fault));
    }

    pub(super) fn recover(&self) {
        self.with(|state| state.fault = None);
    }

    /// Somebody else's comment, written so many seconds ago.
    pub(super) fn comment(&self, body: &str, age_s: u64) -> u64 {
        self.with(|state| {
            state.next_id += 1;
            let updated = UnixMillis(NOW.0 - age_s * 1_000);
            state.comments.push(StoredComment { id: state.next_id, body: body.into(), updated });
            state.next_id
        })
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.log))
    }
}

impl Respond for StandIn {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.with(|state| {
            let header =
                |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            state.authorization.push(header("authorization"));
            let writes = state.fault_of_writes.clone().filter(|_| request.method.as_str() != "GET");
            let answer = match state.fault.clone().or(writes) {
                Some(fault) => fault,
                None => state.answer(request, header("if-none-match")),
            };
            let (path, query) = (request.url.path(), request.url.query().unwrap_or_default());
            state.log.push(format!("{} {path}?{query}", request.method));
            answer.insert_header("date", DATE)
        })
    }
}

impl State {
    fn answer(&mut self, request: &Request, etag: Option<String>) -> ResponseTemplate {
        let path = request.url.path();
        let path = path.strip_prefix(ENTERPRISE).unwrap_or(path);
        let path: Vec<_> = path.trim_matches('/').split('/').collect();
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["repos", "octo", "mesh", "issues"]) => {
                page(request, &self.issues, issue, etag, &mut self.unchanged)
            }
            ("GET", ["search", "issues"]) => {
                let items = self.searched(&query(request, "q").unwrap_or_default());
                ResponseTemplate::new(200).set_body_json(
                    json!({"total_count": items.len(), "incomplete_results": false, "items": items}),
                )
            }
            ("POST", ["repos", "octo", "mesh", "issues"]) => {
                let number = self.issues.iter().map(|(number, ..)| *number).max().unwrap_or(0) + 1;
                self.issues.push((number, body()["title"].as_str().unwrap().into(), false));
                ResponseTemplate::new(201).set_body_json(issue(&self.issues[self.issues.len() - 1]))
            }
            ("GET", ["repos", "octo", "mesh", "issues", _, "comments"]) => {
                page(request, &self.comments, shown, etag, &mut self.unchanged)
            }
            ("POST", ["repos", "octo", "mesh", "issues", _, "comments"]) => {
                self.next_id += 1;
                let body = body()["body"].as_str().unwrap().to_owned();
                let comment = StoredComment { id: self.next_id, body, updated: NOW };
                self.comments.push(comment.clone());
                ResponseTemplate::new(201).set_body_json(shown(&comment))
            }
            ("PATCH", ["repos", "octo", "mesh", "issues", "comments", id]) => {
                match self.comments.iter_mut().find(|comment| comment.id.to_string() == *id) {
                    Some(comment) => {
                        comment.body = body()["body"].as_str().unwrap().into();
                        comment.updated = NOW;
                        ResponseTemplate::new(200).set_body_json(shown(comment))
                    }
                    None => refusal(404, "Not Found"),
                }
            }
            ("DELETE", ["repos", "octo", "mesh", "issues", "comments", id]) => {
                let before = self.comments.len();
                self.comments.retain(|comment| comment.id.to_string() != *id);
                if self.comments.len() < before {
                    ResponseTemplate::new(204)
                } else {
                    refusal(404, "Not Found")
                }
            }
            _ => refusal(404, "Not Found"),
        }
    }

    /// Open issues of this repository whose title has all words that are asked for, whatever else it has.
    fn searched(&self, asked: &str) -> Vec<Value> {
        let (qualifiers, words): (Vec<_>, Vec<_>) = asked.split(' ').partition(|word| word.contains(':'));
        for wanted in ["repo:octo/mesh", "type:issue", "state:open", "in:title"] {
            assert!(qualifiers.contains(&wanted), "{asked}");
        }
        let fits =
            |(_, title, pull): &&(u64, String, bool)| !pull && words.iter().all(|word| title.contains(word));
        self.issues.iter().filter(fits).map(issue).collect()
    }
}

fn issue((number, title, pull): &(u64, String, bool)) -> Value {
    let mut issue = ISSUE.clone();
    issue["number"] = json!(number);
    issue["title"] = json!(title);
    if *pull {
        issue["pull_request"] =
            json!({"url": format!("https://api.github.com/repos/octo/mesh/pulls/{number}")});
    }
    issue
}

fn shown(comment: &StoredComment) -> Value {
    let updated = timestamp::to_iso(comment.updated).replace(".000000+00:00", "Z");
    let mut shown = COMMENT.clone();
    shown["id"] = json!(comment.id);
    shown["body"] = json!(comment.body);
    shown["created_at"] = json!(updated);
    shown["updated_at"] = json!(updated);
    shown
}

fn query(request: &Request, name: &str) -> Option<String> {
    request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A page of a list, with the links and the `ETag` of the real API: the tag says nothing of other pages.
fn page<T>(
    request: &Request,
    all: &[T],
    show: fn(&T) -> Value,
    etag: Option<String>,
    unchanged: &mut usize,
) -> ResponseTemplate {
    let number_in = |name: &str| query(request, name).and_then(|value| value.parse::<usize>().ok());
    let (number, size) = (number_in("page").unwrap_or(1), number_in("per_page").unwrap_or(30));
    let last = all.len().div_ceil(size).max(1);
    let items: Vec<_> = all.iter().skip((number - 1) * size).take(size).map(show).collect();
    let tag = format!("W/\"{:x}\"", hash(&items));
    if etag.as_deref() == Some(tag.as_str()) {
        *unchanged += 1;
        return ResponseTemplate::new(304).insert_header("etag", tag.as_str());
    }
    let mut links = Vec::new();
    let link = |page: usize, relation: &str| {
        format!(
            "<https://api.github.com{}?per_page={size}&page={page}>; rel=\"{relation}\"",
            request.url.path()
        )
    };
    if number < last {
        links.extend([link(number + 1, "next"), link(last, "last")]);
    }
    let answer = ResponseTemplate::new(200).set_body_json(items).insert_header("etag", tag.as_str());
    if links.is_empty() { answer } else { answer.insert_header("link", links.join(", ")) }
}

fn hash(items: &[Value]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    Value::from(items.to_vec()).to_string().hash(&mut hasher);
    hasher.finish()
}

/// A refusal as GitHub words it.
pub(super) fn refusal(status: u16, message: &str) -> ResponseTemplate {
    let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest"});
    ResponseTemplate::new(status).set_body_json(body)
}
