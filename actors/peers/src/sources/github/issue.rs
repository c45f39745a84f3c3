//! The registry's issue: the open one with exactly its title, the one with the lowest number if there are several, and
//! opened if there is none. All nodes come to the same issue that way, also those that opened one at the same time.

use super::super::SourceError;
use super::api::{Api, Method};
use serde_json::{Value, json};

/// Pages of a hundred open issues that are looked through before the search is asked.
const MAX_PAGES: u32 = 10;

/// As the Python nodes write it, so that people find one explanation.
const BODY: &str = "This issue is used as an automated peer registry for IPFS Accelerate P2P cache sharing.\n\n\
                    Each peer writes/updates a single comment containing its current peer info.\n";

/// Where the issue is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) repository: &'a str,
    pub(super) title: &'a str,
}

/// The number of the issue; none: there is none, and it may not be opened.
pub(super) async fn find_or_open(
    api: &Api,
    place: Place<'_>,
    may_open: bool,
) -> Result<Option<u64>, SourceError> {
    if let Some(number) = find(api, place).await? {
        return Ok(Some(number));
    }
    if !may_open {
        return Ok(None);
    }
    let path = format!("/repos/{}/issues", place.repository);
    let body = json!({ "title": place.title, "body": BODY });
    let opened = api.send(Method::Post, &path, Some(&body), None).await?.json()?;
    let opened = number_of(&opened).ok_or_else(|| {
        SourceError::Malformed("GitHub opened the registry issue and did not say its number".into())
    })?;
    tracing::info!(
        repository = place.repository,
        issue = opened,
        "opened the issue for the registry of peers"
    );
    // Another node may have opened one at the same moment: the lower number wins, for it as for us.
    Ok(Some(find(api, place).await?.map_or(opened, |found| found.min(opened))))
}

async fn find(api: &Api, place: Place<'_>) -> Result<Option<u64>, SourceError> {
    for page in 1..=MAX_PAGES {
        // The oldest first: the first that fits has the lowest number.
        let path = format!(
            "/repos/{}/issues?state=open&sort=created&direction=asc&per_page=100&page={page}",
            place.repository
        );
        let answer = api.send(Method::Get, &path, None, None).await?;
        let (more, issues) = (answer.has_next(), answer.json()?);
        let issues = issues.as_array().ok_or_else(no_list)?;
        if let Some(number) = lowest(issues, place.title) {
            return Ok(Some(number));
        }
        if !more {
            return Ok(None);
        }
    }
    search(api, place).await
}

/// For repositories with more than a thousand open issues. The search knows new issues only after a while.
async fn search(api: &Api, place: Place<'_>) -> Result<Option<u64>, SourceError> {
    let title: String =
        place.title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '+' }).collect();
    let path = format!(
        "/search/issues?q=repo:{}+type:issue+state:open+in:title+{title}&sort=created&order=asc&per_page=100",
        place.repository
    );
    let found = api.send(Method::Get, &path, None, None).await?.json()?;
    let issues = found.get("items").and_then(Value::as_array).ok_or_else(no_list)?;
    Ok(lowest(issues, place.title))
}

fn no_list() -> SourceError {
    SourceError::Malformed("GitHub answered with something else than a list of issues".into())
}

fn lowest(issues: &[Value], title: &str) -> Option<u64> {
    issues
        .iter()
        // Pull requests are issues to the API.
        .filter(|issue| issue.get("pull_request").is_none_or(Value::is_null))
        .filter(|issue| issue.get("title").and_then(Value::as_str) == Some(title))
        .filter_map(number_of)
        .min()
}

fn number_of(issue: &Value) -> Option<u64> {
    issue.get("number").and_then(Value::as_u64)
}
