//! Where a step runs, and how often it is tried.

use super::document::{PlaceDoc, RetryDoc, StepDoc};
use super::problems::At;
use super::step::{check_text, find};
use super::{Place, Retry};
use crate::workflow::expression::Names;
use meshwork_proto::task::{MAX_ATTEMPTS, MAX_LABELS};
use std::collections::BTreeSet;

/// Attempts of a step that says `retry` and not how many.
const ATTEMPTS: u32 = 3;
/// Largest factor between two pauses.
const MAX_FACTOR: f64 = 100.0;

impl Place {
    /// Reads where a step runs, as it is written under `place` and beside it.
    pub(super) fn read(step: &mut StepDoc, names: &Names<'_>, at: &mut At<'_>) -> Self {
        let nested = step.place.take().unwrap_or_default();
        let flat = PlaceDoc {
            peer: step.peer.take(),
            capability: step.capability.take(),
            label: step.label.take(),
            labels: step.labels.take(),
            same_as: step.same_as.take(),
        };
        for (field, twice) in [
            ("peer", nested.peer.is_some() && flat.peer.is_some()),
            ("capability", nested.capability.is_some() && flat.capability.is_some()),
            ("same_as", nested.same_as.is_some() && flat.same_as.is_some()),
        ] {
            if twice {
                at.add(field, "is there under place, too: write one of them");
            }
        }
        let peer = nested.peer.or(flat.peer).and_then(|peer| match peer.parse() {
            Ok(peer) => Some(peer),
            Err(problem) => {
                at.add("place.peer", format!("{problem}"));
                None
            }
        });
        let capability = nested.capability.or(flat.capability);
        if let Some(capability) = &capability {
            at.check("place.capability", check_text(capability));
        }
        // All of them have to be there, wherever they are written.
        let labels = [nested.label, nested.labels, flat.label, flat.labels].into_iter().flatten();
        let labels: BTreeSet<String> = labels.flat_map(|labels| labels.texts).collect();
        if labels.len() > MAX_LABELS {
            at.add("place.labels", format!("has {} entries: at most {MAX_LABELS}", labels.len()));
        }
        for label in &labels {
            at.check("place.labels", check_text(label));
        }
        let same_as = nested.same_as.or(flat.same_as).and_then(|id| match find(&id, names) {
            Ok(step) => Some(step),
            Err(problem) => {
                at.add("place.same_as", problem);
                None
            }
        });
        if peer.is_some() && same_as.is_some() {
            at.add("place.same_as", "is there beside peer: a step has one place");
        }
        Self { peer, capability, labels, same_as }
    }
}

impl Retry {
    /// Reads how often a step is tried.
    pub(super) fn read(document: &RetryDoc, at: &mut At<'_>) -> Self {
        let usual = Self::default();
        let retry = Self {
            max_attempts: document.max_attempts.unwrap_or(ATTEMPTS),
            backoff_ms: document.backoff_s.map_or(usual.backoff_ms, |time| time.ms),
            max_backoff_ms: document.max_backoff_s.map_or(usual.max_backoff_ms, |time| time.ms),
            factor: document.factor.unwrap_or(usual.factor),
        };
        if !(1..=MAX_ATTEMPTS).contains(&retry.max_attempts) {
            let message = format!("{} is out of range: expected 1 to {MAX_ATTEMPTS}", retry.max_attempts);
            at.add("retry.max_attempts", message);
        }
        if !(1.0..=MAX_FACTOR).contains(&retry.factor) {
            at.add("retry.factor", format!("{} is out of range: expected 1 to {MAX_FACTOR}", retry.factor));
        }
        // A pause that was asked for is not cut short by a limit that nobody gave.
        let longest = if document.max_backoff_s.is_none() { retry.backoff_ms } else { 0 };
        if document.max_backoff_s.is_some() && retry.max_backoff_ms < retry.backoff_ms {
            at.add("retry.max_backoff_s", "is less than backoff_s: expected at least as many seconds");
        }
        Self { max_backoff_ms: retry.max_backoff_ms.max(longest), ..retry }
    }
}
