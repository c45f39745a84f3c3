//! `workflow history`: everything that happened in a run, as it was written down.

use crate::client::{Answer, NodeClient, RunWatcher, Seen};
use crate::output::{Failure, Output, clip, time_of_day};
use serde_json::json;

/// Entries in one request.
const PAGE: u32 = 500;
/// Longest sentence that is shown.
const TEXT: usize = 400;

const EXAMPLES: &str = "\
Examples:
  meshwork workflow history 0193...
  meshwork workflow history 0193... --follow          goes on until the run is finished
  meshwork workflow history 0193... --json | jq -c '.entries[] | select(.kind == \"step_failed\")'

Times are UTC. With --json --follow each entry is an object on a line of its own.";

/// Arguments of `workflow history`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryOptions {
    /// Id of the run
    pub(crate) id: String,
    /// Go on until the run is finished, or Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what happened after the entry with this number
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,
    /// At most so many entries [default: all]
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub(crate) limit: Option<u64>,
    /// The peer (id or address) that coordinates it
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(
    options: &HistoryOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    if options.follow {
        return tokio::select! {
            done = follow(options, client, output) => done,
            // How it is meant to end.
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
    }
    let mut reader = Reader { options, client, after: options.after };
    let mut entries = Vec::new();
    let mut left = options.limit.unwrap_or(u64::MAX);
    loop {
        let (page, more) = reader.page(left).await?;
        left = left.saturating_sub(page.len() as u64);
        if output.is_json() {
            entries.extend(page);
        } else {
            page.iter().try_for_each(|entry| output.line(line(entry)))?;
        }
        if !more || left == 0 {
            break;
        }
    }
    if output.is_json() { output.json(&json!({"entries": entries, "last": reader.after})) } else { Ok(()) }
}

/// Shows what is there, then what comes, until the run is finished.
async fn follow(options: &HistoryOptions, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let mut reader = Reader { options, client, after: options.after };
    let mut watcher = RunWatcher::new(client, &options.id, options.peer.as_deref());
    loop {
        // First where the run stands, then its history: nothing that belongs to its end is missed.
        let finished = match watcher.next().await? {
            Seen::Run(run) => run.is_finished(),
            Seen::NodeAway(error) => {
                output.note(format!("{error}; trying again"));
                continue;
            }
        };
        loop {
            let (page, more) = reader.page(u64::MAX).await?;
            for entry in &page {
                // One object on a line, also on a terminal: lines are what is followed.
                output.line(if output.is_json() { entry.0.to_string() } else { line(entry) })?;
            }
            if !more {
                break;
            }
        }
        if finished {
            return Ok(());
        }
    }
}

/// Reads page after page.
struct Reader<'a> {
    options: &'a HistoryOptions,
    client: &'a NodeClient,
    /// The last entry that was read.
    after: Option<u64>,
}

impl Reader<'_> {
    /// The next entries, at most so many, and whether there are more by now.
    async fn page(&mut self, most: u64) -> Result<(Vec<Answer>, bool), Failure> {
        let limit = u32::try_from(most).unwrap_or(u32::MAX).min(PAGE);
        let peer = self.options.peer.as_deref();
        let page = self.client.run_history(&self.options.id, self.after, Some(limit), peer).await?;
        let entries = page.items("entries");
        if let Some(last) = entries.iter().filter_map(|entry| entry.whole("seq")).max() {
            self.after = Some(last);
        }
        let more = !page.member("next_after").is_null() && !entries.is_empty();
        Ok((entries, more))
    }
}

/// Number, time, what, where, and the sentence.
fn line(entry: &Answer) -> String {
    let time = entry.number("at").map(time_of_day).unwrap_or_default();
    let place = match (entry.text("step"), entry.whole("item")) {
        (Some(step), Some(item)) => format!("{step}[{item}]"),
        (Some(step), None) => step.to_owned(),
        (None, _) => String::new(),
    };
    let (seq, kind) = (entry.shown("seq"), entry.shown("kind"));
    let text = clip(&entry.shown("text"), TEXT);
    let line = format!("{seq:>5}  {time}  {kind:<20}  {place:<20}  {text}");
    // Text of tools reaches this terminal: no control characters.
    line.trim_end().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_line_with_its_step_and_its_item() {
        let entry = Answer(json!({
            "seq": 7, "at": 3661.5, "kind": "step_started", "step": "each", "item": 2, "text": "attempt 1\nat \u{1b}[1mx",
            "detail": {},
        }));
        let line = line(&entry);
        assert_eq!(line, "    7  01:01:01  step_started          each[2]               attempt 1 at  [1mx");
        let bare = super::line(&Answer(json!({"seq": 1, "at": 0.0, "kind": "run_submitted"})));
        assert_eq!(bare, "    1  00:00:00  run_submitted");
    }
}
