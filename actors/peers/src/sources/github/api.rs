//! Requests to GitHub, and what its refusals mean.
//!
//! octocrab's typed calls hide the headers on which good manners depend (`ETag`, `Date`, the rate limit), so its raw
//! ones are used; it still brings TLS, redirects that do not carry the token away, and the headers GitHub wants.

use super::super::{SourceError, timestamp};
use super::GithubOptions;
use crate::clip::clip;
use meshwork_kit::Clock;
use meshwork_proto::UnixMillis;
use octocrab::Octocrab;
use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Largest answer that is read: a hundred comments of the largest size, as JSON.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Pause after a rate limit that does not say how long it lasts (GitHub asks for a minute), and the longest believed.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3_600);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

/// GitHub, or a GitHub Enterprise server.
#[derive(Clone)]
pub(super) struct Api {
    crab: Octocrab,
    clock: Clock,
    base_url: String,
    deadline: Duration,
    /// Whether requests carry a token: it decides what would help.
    has_token: bool,
    /// How far GitHub's clock is ahead of ours, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
}

/// An answer that is no refusal.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    pub(super) fn new(options: &GithubOptions, clock: Clock) -> Result<Self, SourceError> {
        // Another part of the process may have installed it before; whoever was first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed =
            |error: octocrab::Error| SourceError::Unavailable(format!("no HTTP client: {}", chain(&error)));
        let deadline = Some(options.request_deadline);
        let mut builder = Octocrab::builder()
            .base_uri(options.base_url.as_str())
            .map_err(failed)?
            .set_connect_timeout(deadline)
            .set_read_timeout(deadline)
            .set_write_timeout(deadline);
        if let Some(token) = &options.token {
            builder = builder.personal_token(token.reveal());
        }
        Ok(Self {
            crab: builder.build().map_err(failed)?,
            clock,
            base_url: options.base_url.clone(),
            deadline: options.request_deadline,
            has_token: options.token.is_some(),
            ahead_ms: Arc::new(AtomicI64::new(0)),
        })
    }

    /// The present time by GitHub's clock, as far as an answer has told it.
    pub(super) fn now_there(&self) -> UnixMillis {
        let now = self.clock.now().0;
        UnixMillis(now.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed)))
    }

    /// Sends a request; with `unless`, the answer may be that the page still has this `ETag`.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        unless: Option<&str>,
    ) -> Result<Answer, SourceError> {
        let work = self.ask(method, path, body, unless);
        let answer = tokio::time::timeout(self.deadline, work).await;
        let answer = answer.unwrap_or(Err(SourceError::Timeout(self.deadline)))?;
        self.learn_time(&answer.headers);
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_MODIFIED => Ok(answer),
            // Whoever deletes or changes something is content, or makes it anew, when it is gone.
            StatusCode::NOT_FOUND | StatusCode::GONE if matches!(method, Method::Patch | Method::Delete) => {
                Ok(answer)
            }
            _ => Err(self.refused(&answer)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        unless: Option<&str>,
    ) -> Result<Answer, SourceError> {
        let response = match method {
            Method::Get => {
                let mut headers = HeaderMap::new();
                if let Some(etag) = unless.and_then(|etag| HeaderValue::from_str(etag).ok()) {
                    headers.insert(header::IF_NONE_MATCH, etag);
                }
                self.crab._get_with_headers(path, Some(headers)).await
            }
            Method::Post => self.crab._post(path, body).await,
            Method::Patch => self.crab._patch(path, body).await,
            Method::Delete => self.crab._delete(path, body).await,
        };
        let response = response
            .map_err(|error| SourceError::Unavailable(format!("{}: {}", self.base_url, chain(&error))))?;
        // reqwest reads a body piece by piece; octocrab would take all that comes.
        let response = reqwest::Response::from(response.map(reqwest::Body::wrap));
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: read(response).await? })
    }

    fn learn_time(&self, headers: &HeaderMap) {
        if let Some(there) = text(headers, &header::DATE).and_then(timestamp::from_http) {
            let ahead = i128::from(there.0) - i128::from(self.clock.now().0);
            // The header counts whole seconds: a difference below that is none.
            let ahead = if ahead.abs() < 1_000 { 0 } else { i64::try_from(ahead).unwrap_or(0) };
            self.ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// What a refusal means, and what would help.
    fn refused(&self, answer: &Answer) -> SourceError {
        let said = answer.message();
        let status = answer.status;
        if let Some(retry_after) = self.rate_limit(answer, &said) {
            let problem = format!("GitHub's rate limit is used up ({status}): {said}");
            return SourceError::RateLimited { problem, retry_after };
        }
        let token = if self.has_token {
            "the token needs access to the repository with read and write permission for issues"
        } else {
            "give a token (GITHUB_TOKEN) with read and write permission for issues"
        };
        match status {
            StatusCode::UNAUTHORIZED => SourceError::Refused(format!(
                "GitHub does not accept the token ({status}: {said}): give a valid one"
            )),
            StatusCode::FORBIDDEN => {
                SourceError::Refused(format!("GitHub does not allow it ({status}: {said}): {token}"))
            }
            StatusCode::NOT_FOUND => SourceError::Refused(format!(
                "the repository or its registry issue is not there, or hidden ({status}: {said}): check owner/name; {token}"
            )),
            StatusCode::GONE => {
                SourceError::Refused(format!("the repository has no issues ({status}: {said})"))
            }
            status if status.is_server_error() => {
                SourceError::Unavailable(format!("GitHub is in trouble ({status}): {said}"))
            }
            status if status.is_client_error() => {
                SourceError::Refused(format!("GitHub rejects the request ({status}): {said}"))
            }
            status => SourceError::Malformed(format!("GitHub answered {status}: {said}")),
        }
    }

    fn rate_limit(&self, answer: &Answer, said: &str) -> Option<Duration> {
        if !matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
            return None;
        }
        let wait = answer.number("retry-after").map(Duration::from_secs);
        let used_up = answer.number("x-ratelimit-remaining") == Some(0);
        let secondary = said.to_ascii_lowercase().contains("rate limit");
        if wait.is_none() && !used_up && !secondary && answer.status != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let until_reset = || {
            let reset = answer.number("x-ratelimit-reset").filter(|_| used_up)?;
            // A second more: the clocks count whole ones.
            Some(UnixMillis(reset.saturating_mul(1_000)).since(self.now_there()) + Duration::from_secs(1))
        };
        let wait = wait.or_else(until_reset).unwrap_or(UNKNOWN_PAUSE);
        Some(wait.clamp(Duration::from_secs(1), LONGEST_PAUSE))
    }
}

impl Answer {
    /// Whether the page still is as it was.
    pub(super) fn is_unchanged(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// Whether what was to be changed or deleted is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE)
    }

    /// The JSON of the answer.
    pub(super) fn json(self) -> Result<Value, SourceError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| SourceError::Malformed(format!("GitHub's answer is no JSON: {error}")))
    }

    pub(super) fn etag(&self) -> Option<String> {
        text(&self.headers, &header::ETAG).filter(|etag| etag.len() <= 256).map(str::to_owned)
    }

    /// Whether there is a page after this one (RFC 8288).
    pub(super) fn has_next(&self) -> bool {
        self.link("next").is_some()
    }

    /// The number of the last page.
    pub(super) fn last_page(&self) -> Option<u32> {
        let (_, query) = self.link("last")?.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
    }

    fn link(&self, wanted: &str) -> Option<&str> {
        let relation = format!("rel=\"{wanted}\"");
        text(&self.headers, &header::LINK)?.split(',').find_map(|link| {
            let (target, parameters) = link.split_once(';')?;
            parameters
                .contains(&relation)
                .then(|| target.trim().trim_start_matches('<').trim_end_matches('>'))
        })
    }

    fn number(&self, name: &'static str) -> Option<u64> {
        text(&self.headers, &HeaderName::from_static(name))?.trim().parse().ok()
    }

    /// What GitHub says about a refusal, cut.
    fn message(&self) -> String {
        let json: Option<Value> = serde_json::from_slice(&self.body).ok();
        let said = json.as_ref().and_then(|json| json.get("message")).and_then(Value::as_str);
        said.map_or_else(|| "no reason given".into(), |said| clip(said, 200))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body of an answer, if it is not too large.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if bytes.len() + piece.len() > MAX_ANSWER => {
                return Err(SourceError::Malformed(format!(
                    "GitHub's answer is larger than {MAX_ANSWER} bytes"
                )));
            }
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return Ok(bytes),
            Err(error) => {
                return Err(SourceError::Unavailable(format!(
                    "GitHub's answer broke off: {}",
                    chain(&error)
                )));
            }
        }
    }
}

/// An error with its causes: the outermost one alone says little more than that there was one.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    clip(&text, 300)
}
