//! The registry of peers in a GitHub issue, shared with the Python nodes: one open issue, and in it one marked comment per
//! node with its entry as JSON.
//!
//! Anybody who may comment there can write an entry: what is read is a hint. The service is shared with the rest of the
//! world, so this is gentle: pages that have not changed cost nothing (they are asked for with their `ETag`), our comment
//! is written only when it says something new or half of its time to live has passed, and a rate limit is obeyed here
//! too, not only by who schedules the visits.
//!
//! How old an entry is, GitHub's own clock says (when a comment was changed last, against the `Date` of the answer): the
//! clocks of the nodes do not matter.

mod api;
mod comment;
mod issue;
mod pages;
mod token;

pub use token::GithubToken;

use super::{OwnCard, PeerSource, Schedule, SourceError, entry};
use api::{Api, Method};
use comment::Comment;
use futures::future::BoxFuture;
use meshwork_kit::{Backoff, Clock};
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::{FoundPeer, Source};
use pages::Pages;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Comments under our name that others wrote, as far as they are remembered.
const MAX_FOREIGN: usize = 64;
/// Most comments of others that one visit deletes.
const MAX_DELETED: usize = 10;
/// After how many visits the issue is looked for again: somebody may have closed it, or opened one with a lower number.
const FIND_AGAIN_AFTER: u32 = 12;

/// Settings of the registry in a GitHub issue.
#[derive(Debug, Clone)]
pub struct GithubOptions {
    /// `owner/name`.
    pub repository: String,
    /// Allows to read a private repository, and to write comments. Without one this node only reads.
    pub token: Option<GithubToken>,
    /// Where the API is; GitHub Enterprise has it at `https://<host>/api/v3`.
    pub base_url: String,
    /// Title of the issue and mark of the comments.
    pub registry: String,
    /// The name under which this node keeps its comment; if another node has it, a part of the peer id is added. None:
    /// the peer id.
    pub runner: Option<String>,
    /// Entries older than this are ignored; zero: none is. Our own is renewed after half of it.
    pub ttl: Duration,
    /// Pause between visits.
    pub interval: Duration,
    /// How long one request may take.
    pub request_deadline: Duration,
    /// How long a visit may take.
    pub deadline: Duration,
    /// Most pages of a hundred comments that are read: those with the newest comments.
    pub max_pages: u32,
    /// Deletes comments that nobody has renewed for twice the time to live.
    pub clean_up: bool,
    /// Enters addresses of private networks too: for a registry whose nodes share one.
    pub allow_private_addresses: bool,
    /// Seed of the draw among more entries than are taken at a visit.
    pub seed: u64,
}

impl GithubOptions {
    /// The usual settings for a registry in this repository (`owner/name`).
    #[must_use]
    pub fn for_repository(repository: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            token: None,
            base_url: "https://api.github.com".into(),
            registry: "p2p-peer-registry".into(),
            runner: None,
            ttl: Duration::from_secs(1_800),
            interval: Duration::from_secs(300),
            request_deadline: Duration::from_secs(15),
            deadline: Duration::from_secs(90),
            max_pages: 25,
            clean_up: false,
            allow_private_addresses: false,
            seed: 0,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubConfigError {
    /// Not `owner/name`.
    #[error("{0:?} names no repository: expected owner/name, for example octo-org/mesh")]
    Repository(String),
    /// Not a URL of the web.
    #[error(
        "{0:?} is no address of a GitHub API: expected https://api.github.com, or https://<host>/api/v3 for GitHub Enterprise"
    )]
    BaseUrl(String),
    /// It would not survive as a mark in a comment.
    #[error(
        "{0:?} cannot mark comments: expected a name of at most 253 bytes without \"-->\" and line breaks, in the title without \":\" too"
    )]
    Name(String),
}

/// The registry in a GitHub issue as a source.
pub struct Github {
    options: GithubOptions,
    clock: Clock,
    rng: StdRng,
    /// Made at the first visit: that needs the system's certificates, whose lack must not keep a node from starting.
    api: Option<Api>,
    issue: Option<u64>,
    visits: u32,
    pages: Pages,
    own_comment: Option<u64>,
    /// Comments under our name that this node may not change: somebody else wrote them.
    foreign: BTreeSet<u64>,
    /// What our comment was written with last, and when by GitHub's clock.
    written: Option<(Value, UnixMillis)>,
    /// Nobody is asked before then.
    quiet_until: Option<(Instant, String)>,
    skipped: usize,
}

impl Github {
    /// A registry; nothing is asked before the first visit.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(options: GithubOptions, clock: Clock) -> Result<Self, GithubConfigError> {
        check(&options)?;
        let (max_pages, rng) = (options.max_pages, StdRng::seed_from_u64(options.seed));
        Ok(Self {
            options,
            clock,
            rng,
            api: None,
            issue: None,
            visits: 0,
            pages: Pages::new(max_pages),
            own_comment: None,
            foreign: BTreeSet::new(),
            written: None,
            quiet_until: None,
            skipped: 0,
        })
    }

    /// The name of our comment: another one if that has an entry of another node, unless it is an old one.
    fn runner(&self, own: &OwnCard, comments: &[Comment], now: UnixMillis) -> String {
        let given = self.options.runner.as_deref().filter(|name| !name.is_empty());
        let runner = given.unwrap_or(own.peer.as_str());
        let other = entry::other_name(runner, &own.peer);
        let of_us = |comment: &Comment| comment.entry.as_ref().is_ok_and(|entry| entry.peer == own.peer);
        let ours = comments.iter().any(|comment| comment.runner == other && of_us(comment));
        // Anybody can write our name into a comment: of those that are no entry nothing is taken over.
        let taken = comments.iter().any(|comment| {
            let alive = comment.entry.is_err() || entry::is_fresh(comment.age(now), self.options.ttl);
            comment.runner == runner && !of_us(comment) && (alive || self.foreign.contains(&comment.id))
        });
        if ours || taken { other } else { runner.to_owned() }
    }

    fn api(&mut self) -> Result<Api, SourceError> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let api = Api::new(&self.options, self.clock.clone())?;
        Ok(self.api.insert(api).clone())
    }

    fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{rest}", self.options.repository)
    }

    async fn visit_once(&mut self, own: &OwnCard) -> Result<Vec<FoundPeer>, SourceError> {
        self.stay_quiet()?;
        let api = self.api()?;
        let Some(issue) = self.issue(&api).await? else {
            tracing::debug!("there is no registry issue yet, and without a token none can be opened");
            return Ok(Vec::new());
        };
        let path = self.path(&format!("issues/{issue}/comments"));
        let comments = match self.pages.read(&api, &path, &self.options.registry).await {
            Ok(comments) => comments,
            Err(error) => {
                if matches!(error, SourceError::Refused(_)) {
                    // Deleted, or moved: it is looked for again.
                    self.issue = None;
                }
                return Err(error);
            }
        };
        let now = api.now_there();
        let runner = self.runner(own, &comments, now);
        let entered = self.enter(&api, issue, own, &runner, &comments).await;
        if self.options.clean_up && self.options.token.is_some() && !self.options.ttl.is_zero() {
            self.clean_up(&api, &comments, &runner, now).await;
        }
        self.report_skipped(&comments);
        let found = self.others(comments, &runner, now, own);
        match entered {
            Err(problem @ SourceError::RateLimited { .. }) => Err(problem),
            Err(problem) if found.is_empty() => Err(problem),
            Err(problem) => {
                tracing::warn!(%problem, "this node could not be entered in the GitHub registry: tried again soon");
                Ok(found)
            }
            Ok(()) => Ok(found),
        }
    }

    fn others(
        &mut self,
        comments: Vec<Comment>,
        runner: &str,
        now: UnixMillis,
        own: &OwnCard,
    ) -> Vec<FoundPeer> {
        let entries = comments
            .into_iter()
            .filter(|comment| comment.runner != runner)
            .filter_map(|comment| Some((comment.age(now), comment.entry.ok()?)))
            .collect();
        entry::fresh(entries, self.options.ttl, &own.peer, &mut self.rng)
    }

    async fn issue(&mut self, api: &Api) -> Result<Option<u64>, SourceError> {
        let again = self.visits.is_multiple_of(FIND_AGAIN_AFTER);
        self.visits = self.visits.wrapping_add(1);
        if self.issue.is_none() || again {
            let place = issue::Place { repository: &self.options.repository, title: &self.options.registry };
            let found = issue::find_or_open(api, place, self.options.token.is_some()).await?;
            if found != self.issue {
                self.pages.forget();
                self.own_comment = None;
            }
            self.issue = found;
        }
        Ok(self.issue)
    }

    /// Writes our comment, if that is due.
    async fn enter(
        &mut self,
        api: &Api,
        issue: u64,
        own: &OwnCard,
        runner: &str,
        comments: &[Comment],
    ) -> Result<(), SourceError> {
        if self.options.token.is_none() {
            return Ok(());
        }
        let now = api.now_there();
        let public = !self.options.allow_private_addresses;
        let card = if public { comment::public_part(own) } else { own.clone() };
        let Some(entry) = entry::own(&card, runner, now) else {
            return Ok(());
        };
        let ours = |comment: &&Comment| {
            let known = self.own_comment == Some(comment.id) || comment.entry.is_ok();
            comment.runner == runner && known && !self.foreign.contains(&comment.id)
        };
        let written = comments.iter().find(ours);
        if let Some(written) = written {
            self.own_comment = Some(written.id);
            if !written.is_due(&entry, now, entry::renew_after(self.options.ttl, 2)) {
                return Ok(());
            }
        } else if self.is_written_unseen(&entry, now) {
            return Ok(());
        }
        self.write(api, issue, runner, entry, now).await
    }

    /// In a registry with too many comments ours may be on a page that is not read.
    fn is_written_unseen(&self, entry: &Value, now: UnixMillis) -> bool {
        let fresh = |(written, when): &(Value, UnixMillis)| {
            now.since(*when) < entry::renew_after(self.options.ttl, 2)
                && entry::same_but_for_time(written, entry)
        };
        !self.pages.is_complete() && self.own_comment.is_some() && self.written.as_ref().is_some_and(fresh)
    }

    async fn write(
        &mut self,
        api: &Api,
        issue: u64,
        runner: &str,
        entry: Value,
        now: UnixMillis,
    ) -> Result<(), SourceError> {
        let body = json!({ "body": comment::render(&self.options.registry, runner, &entry) });
        if let Some(id) = self.own_comment {
            let path = self.path(&format!("issues/comments/{id}"));
            let answer = match api.send(Method::Patch, &path, Some(&body), None).await {
                Ok(answer) => answer,
                Err(problem) => {
                    if matches!(problem, SourceError::Refused(_)) && self.foreign.len() < MAX_FOREIGN {
                        // Next time under another name, in a comment of our own.
                        self.foreign.insert(id);
                        self.own_comment = None;
                    }
                    return Err(problem);
                }
            };
            if !answer.is_gone() {
                self.written = Some((entry, now));
                return Ok(());
            }
            // Somebody deleted it.
            self.own_comment = None;
        }
        let path = self.path(&format!("issues/{issue}/comments"));
        let answer = api.send(Method::Post, &path, Some(&body), None).await?;
        self.own_comment = answer.json()?.get("id").and_then(Value::as_u64);
        self.written = Some((entry, now));
        Ok(())
    }

    /// Deletes comments of nodes that are long gone. A failure is no reason to give up what was found.
    async fn clean_up(&self, api: &Api, comments: &[Comment], runner: &str, now: UnixMillis) {
        let dead = self.options.ttl.saturating_mul(2);
        let stale = comments.iter().filter(|comment| comment.runner != runner && comment.age(now) > dead);
        for comment in stale.take(MAX_DELETED) {
            if let Err(problem) = self.delete(api, comment.id).await {
                tracing::warn!(comment = comment.id, %problem, "a stale comment in the GitHub registry could not be deleted");
                return;
            }
        }
    }

    async fn delete(&self, api: &Api, comment: u64) -> Result<(), SourceError> {
        // One that is gone already is as good.
        let path = self.path(&format!("issues/comments/{comment}"));
        api.send(Method::Delete, &path, None, None).await.map(drop)
    }

    fn report_skipped(&mut self, comments: &[Comment]) {
        let mut problems = comments.iter().filter_map(|comment| comment.entry.as_ref().err());
        let example = problems.next().cloned().unwrap_or_default();
        let skipped = if example.is_empty() { 0 } else { problems.count() + 1 };
        if skipped != self.skipped {
            self.skipped = skipped;
            tracing::warn!(skipped, example, "comments in the GitHub registry that are no entries");
        }
    }

    fn stay_quiet(&mut self) -> Result<(), SourceError> {
        let Some((until, problem)) = &self.quiet_until else {
            return Ok(());
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.quiet_until = None;
            return Ok(());
        }
        Err(SourceError::RateLimited { problem: problem.clone(), retry_after: left })
    }

    /// Notes a rate limit: it holds for whoever asks next.
    fn note<T>(&mut self, done: Result<T, SourceError>) -> Result<T, SourceError> {
        if let Err(SourceError::RateLimited { problem, retry_after }) = &done
            && self.quiet_until.is_none()
            && let Some(until) = Instant::now().checked_add(*retry_after)
        {
            self.quiet_until = Some((until, problem.clone()));
        }
        done
    }

    async fn withdraw_once(&mut self) -> Result<(), SourceError> {
        let Some(comment) = self.own_comment else {
            return Ok(());
        };
        self.stay_quiet()?;
        let api = self.api()?;
        self.delete(&api, comment).await?;
        self.own_comment = None;
        Ok(())
    }
}

impl PeerSource for Github {
    fn kind(&self) -> Source {
        Source::Github
    }

    fn schedule(&self) -> Schedule {
        let interval = self.options.interval;
        let longest = interval.max(Duration::from_secs(1_800));
        let backoff = Backoff::doubling(Duration::from_secs(30), longest);
        Schedule { interval, deadline: self.options.deadline, backoff }
    }

    fn visit<'a>(&'a mut self, own: &'a OwnCard) -> BoxFuture<'a, Result<Vec<FoundPeer>, SourceError>> {
        Box::pin(async move {
            let within = self.options.deadline;
            let visited = tokio::time::timeout(within, self.visit_once(own)).await;
            self.note(visited.unwrap_or(Err(SourceError::Timeout(within))))
        })
    }

    fn withdraw<'a>(&'a mut self, _: &'a OwnCard) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let within = self.options.deadline;
            let withdrawn = tokio::time::timeout(within, self.withdraw_once()).await;
            self.note(withdrawn.unwrap_or(Err(SourceError::Timeout(within))))
        })
    }
}

fn check(options: &GithubOptions) -> Result<(), GithubConfigError> {
    let name = |text: &str| {
        let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !text.is_empty() && text.len() <= 100 && text.chars().all(safe) && !text.starts_with('.')
    };
    match options.repository.split_once('/') {
        Some((owner, repository)) if name(owner) && name(repository) => {}
        _ => return Err(GithubConfigError::Repository(options.repository.clone())),
    }
    let web = options.base_url.starts_with("https://") || options.base_url.starts_with("http://");
    if !web || reqwest::Url::parse(&options.base_url).is_err() {
        return Err(GithubConfigError::BaseUrl(options.base_url.clone()));
    }
    for mark in [Some(&options.registry), options.runner.as_ref()].into_iter().flatten() {
        let fits = mark.len() <= 253 && !mark.contains("-->") && !mark.chars().any(char::is_control);
        if !fits || (mark == &options.registry && (mark.is_empty() || mark.contains(':'))) {
            return Err(GithubConfigError::Name(mark.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
