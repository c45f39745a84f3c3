//! The comments of the registry's issue, page by page, and only those pages again that have changed.

use super::super::SourceError;
use super::api::{Api, Method};
use super::comment::{self, Comment};
use serde_json::Value;
use std::collections::BTreeMap;

/// Comments on a page: as many as GitHub gives.
const PER_PAGE: usize = 100;

/// The pages that were read last.
#[derive(Debug)]
pub(super) struct Pages {
    max: u32,
    known: BTreeMap<u32, Page>,
    /// Whether these are all pages there are.
    complete: bool,
}

#[derive(Debug)]
struct Page {
    etag: Option<String>,
    comments: Vec<Comment>,
    /// Whether it has room for no other comment: the next one opens a page of its own, and leaves this one as it is.
    is_full: bool,
    has_next: bool,
    /// The last page there is, as far as this one or a later one has told.
    last: Option<u32>,
}

impl Pages {
    pub(super) fn new(max: u32) -> Self {
        Self { max: max.max(1), known: BTreeMap::new(), complete: false }
    }

    /// Another issue has other pages.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Whether the last reading saw every comment.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// All marked comments; in an issue with too many pages, those on its last ones: new nodes are there. What an unchanged
    /// page says of others is as old as the page itself: the pages behind it count, and the next reading begins with that.
    pub(super) async fn read(
        &mut self,
        api: &Api,
        path: &str,
        registry: &str,
    ) -> Result<Vec<Comment>, SourceError> {
        let (mut has_next, last) = self.read_page(api, path, registry, 1).await?;
        let first = match last {
            Some(last) if last > self.max => {
                tracing::debug!(pages = last, read = self.max, "the GitHub registry has many comments");
                last - self.max + 1
            }
            _ => 2,
        };
        let (mut page, mut furthest) = (first, last);
        // The first page is one of them, unless it was only asked for how many there are.
        let most = if first == 2 { self.max - 1 } else { self.max };
        let end = first.saturating_add(most);
        // One more if nobody has told of it: else it would not be known that there are too many.
        while has_next && (page < end || (page == end && furthest.is_none_or(|last| last < page))) {
            let last;
            (has_next, last) = self.read_page(api, path, registry, page).await?;
            furthest = furthest.max(last);
            page += 1;
        }
        if let Some(first_page) = self.known.get_mut(&1) {
            first_page.last = if has_next { furthest } else { Some(page - 1) };
        }
        self.complete = first == 2 && !has_next;
        self.known.retain(|number, _| *number == 1 || (first..page).contains(number));
        Ok(self.known.values().flat_map(|page| page.comments.iter().cloned()).collect())
    }

    /// Reads one page again if it has changed. Gives whether there is a next one, and which is the last.
    async fn read_page(
        &mut self,
        api: &Api,
        path: &str,
        registry: &str,
        number: u32,
    ) -> Result<(bool, Option<u32>), SourceError> {
        let etag = self.known.get(&number).and_then(|page| page.etag.clone());
        let route = format!("{path}?per_page={PER_PAGE}&page={number}");
        let answer = api.send(Method::Get, &route, None, etag.as_deref()).await?;
        if answer.is_unchanged()
            && let Some(page) = self.known.get(&number)
        {
            return Ok((page.has_next || page.is_full, page.last));
        }
        let (etag, has_next, last) = (answer.etag(), answer.has_next(), answer.last_page());
        let given = answer.json()?;
        let given = given.as_array().map(Vec::as_slice).ok_or_else(|| {
            SourceError::Malformed("GitHub answered with something else than a list of comments".into())
        })?;
        let parse = |value: &Value| comment::parse(registry, value);
        let comments = given.iter().take(PER_PAGE).filter_map(parse).collect();
        let is_full = given.len() >= PER_PAGE;
        self.known.insert(number, Page { etag, comments, is_full, has_next, last });
        Ok((has_next, last))
    }
}
