//! A node's comment: a mark that names the node, and its entry as JSON in a fence. Exactly as the Python nodes write it.

use super::super::entry::{self, Entry, MAX_ENTRY};
use super::super::{OwnCard, timestamp};
use crate::address::{self, Address};
use crate::clip::clip;
use meshwork_proto::UnixMillis;
use serde_json::Value;
use std::time::Duration;

/// A marked comment.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    /// GitHub's number of it.
    pub(super) id: u64,
    /// The node that its mark names.
    pub(super) runner: String,
    /// When it was written or changed last, by GitHub's clock.
    updated: Option<UnixMillis>,
    /// The entry as JSON.
    value: Value,
    /// What it says, or why it is not believed.
    pub(super) entry: Result<Entry, String>,
}

/// The text of a comment.
pub(super) fn render(registry: &str, runner: &str, entry: &Value) -> String {
    format!("<!-- {registry}:{runner} -->\n```json\n{}\n```\n", entry::print(entry))
}

/// What of this node everybody may know: an address of a private network says nothing to strangers but something about us.
pub(super) fn public_part(own: &OwnCard) -> OwnCard {
    let public = |text: &&String| {
        text.parse::<Address>().is_ok_and(|read| !read.private && read.ip.is_none_or(address::is_public))
    };
    OwnCard { addresses: own.addresses.iter().filter(public).cloned().collect(), ..own.clone() }
}

/// Reads a comment as the API gives it; none: it has no mark, so it is no business of ours.
pub(super) fn parse(registry: &str, given: &Value) -> Option<Comment> {
    let id = given.get("id")?.as_u64()?;
    let body = given.get("body")?.as_str()?.trim_start();
    let rest = body.strip_prefix("<!-- ")?.strip_prefix(registry)?.strip_prefix(':')?;
    let (runner, rest) = rest.split_once(" -->")?;
    let updated = given.get("updated_at").and_then(Value::as_str).and_then(timestamp::from_iso);
    let read = entry_in(rest).and_then(|value| Ok((Entry::read(&value)?, value)));
    let (entry, value) = match read {
        Ok((entry, value)) => (Ok(entry), value),
        Err(problem) => (Err(format!("comment {id}: {problem}")), Value::Null),
    };
    Some(Comment { id, runner: clip(runner, 256), updated, value, entry })
}

/// From the first fence to the last, as the Python nodes look for it: line ends of either kind.
fn entry_in(text: &str) -> Result<Value, String> {
    let (_, fenced) = text.split_once("```json").ok_or("it has no ```json block")?;
    let (_, fenced) = fenced.split_once('\n').ok_or("its block is empty")?;
    let (json, _) = fenced.rsplit_once("```").ok_or("its block has no end")?;
    if json.len() > MAX_ENTRY {
        return Err(format!("its entry is larger than {MAX_ENTRY} bytes"));
    }
    serde_json::from_str(json).map_err(|error| format!("its entry is no JSON: {error}"))
}

impl Comment {
    /// How long ago it was written. GitHub's word counts; the node's own only if there is no other.
    pub(super) fn age(&self, now: UnixMillis) -> Duration {
        let said = self.entry.as_ref().ok().and_then(|entry| entry.last_seen);
        self.updated.or(said).map_or(Duration::MAX, |time| now.since(time))
    }

    /// Whether our comment must be written again.
    pub(super) fn is_due(&self, entry: &Value, now: UnixMillis, after: Duration) -> bool {
        self.age(now) >= after || !entry::same_but_for_time(&self.value, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cards::B;
    use proptest::prelude::*;
    use serde_json::json;

    /// As `json.dumps(peer_info, indent=2, sort_keys=True)` prints it.
    fn python() -> String {
        format!(
            "<!-- p2p-peer-registry:runner-7 -->\n```json\n{{\n  \"last_seen\": \"2023-11-14T22:03:20.123456+00:00\",\n  \
             \"listen_port\": 9100,\n  \"metadata\": {{}},\n  \"multiaddr\": \"/ip4/203.0.113.9/tcp/9100/p2p/{B}\",\n  \
             \"peer_id\": \"{B}\",\n  \"public_ip\": \"203.0.113.9\",\n  \"runner_name\": \"runner-7\"\n}}\n```\n"
        )
    }

    fn given(body: &str) -> Value {
        json!({"id": 7, "body": body, "updated_at": "2023-11-14T22:13:20Z"})
    }

    #[test]
    fn a_comment_of_a_python_node_is_read_and_printed_the_same() {
        let comment = parse("p2p-peer-registry", &given(&python())).unwrap();
        assert_eq!((comment.id, comment.runner.as_str()), (7, "runner-7"));
        assert_eq!(comment.entry.as_ref().unwrap().peer.as_str(), B);
        assert_eq!(render("p2p-peer-registry", "runner-7", &comment.value), python());
    }

    #[test]
    fn line_ends_as_a_browser_sends_them_do_not_matter() {
        let body = python().replace('\n', "\r\n");
        assert!(parse("p2p-peer-registry", &given(&body)).unwrap().entry.is_ok());
    }

    #[test]
    fn github_says_how_old_a_comment_is_whatever_the_node_says() {
        let comment = parse("p2p-peer-registry", &given(&python())).unwrap();
        assert_eq!(comment.age(UnixMillis(1_700_000_060_000)), Duration::from_secs(60));
    }

    #[test]
    fn comments_without_our_mark_are_no_business_of_ours() {
        for other in ["hello", "", "<!-- other:runner -->\n```json\n{}\n```", "<!-- p2p-peer-registry -->"] {
            assert!(parse("p2p-peer-registry", &given(other)).is_none(), "{other}");
        }
        assert!(parse("p2p-peer-registry", &json!({"id": "x", "body": 7})).is_none());
    }

    #[test]
    fn marked_comments_that_say_nonsense_are_told_with_the_reason() {
        let mark = "<!-- p2p-peer-registry:x -->\n";
        let huge = format!("```json\n\"{}\"\n```", "x".repeat(MAX_ENTRY));
        for (text, why) in [
            ("no block", "no ```json block"),
            ("```json\n{\"peer_id\": }\n```", "no JSON"),
            ("```json\n[1]\n```", "no JSON object"),
            ("```json", "block is empty"),
            ("```json\n{}", "no end"),
            (&huge, "larger than"),
        ] {
            let problem =
                parse("p2p-peer-registry", &given(&format!("{mark}{text}"))).unwrap().entry.unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn no_comment_makes_it_panic(text in "\\PC{0,60}") {
            let _ = parse("p2p-peer-registry", &given(&text));
            let _ = parse("p2p-peer-registry", &given(&format!("<!-- p2p-peer-registry:{text} -->\n```json\n{text}\n```")));
        }
    }
}
