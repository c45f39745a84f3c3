//! `status`: what a node is doing.

use crate::client::{Answer, NodeClient};
use crate::output::{Cell, Failure, Output, Table, Tone, bytes, clip, duration};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  meshwork status                       counts, age of the oldest task, what nobody serves
  meshwork status --detail              also by type, and who works
  meshwork status --json | jq .counts
  meshwork status --peer 12D3KooW...    of another node";

/// Order in which states are shown.
const STATES: [&str; 5] = ["queued", "running", "completed", "failed", "cancelled"];

/// Arguments of `status`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Also show counts by type, and the workers
    #[arg(long)]
    pub(crate) detail: bool,
    /// Ask this peer (id or address) instead of the node itself
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(args: &StatusArgs, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let peer = args.peer.as_deref();
    let status = client.status(args.detail, peer).await?;
    if output.is_json() {
        return output.json(&status.0);
    }
    output.table(&summary(&status))?;
    let types = by_type(&status);
    if !types.is_empty() {
        output.line("")?;
        output.table(&types)?;
    }
    if args.detail {
        let workers = workers(&client.worker_stats(peer).await?);
        if !workers.is_empty() {
            output.line("")?;
            output.table(&workers)?;
        }
    }
    Ok(())
}

fn summary(status: &Answer) -> Table {
    let mut table = Table::default();
    if let Some(peer) = status.text("peer_id") {
        table.pair("peer", Cell::text(peer));
    }
    let counts = status.member("counts");
    for state in STATES {
        let count = counts.whole(state).unwrap_or(0);
        let tone = if state == "failed" && count > 0 { Tone::Bad } else { Tone::Plain };
        table.pair(state, Cell::toned(count.to_string(), tone));
    }
    if let Some(seconds) = status.number("oldest_age_s") {
        table.pair("oldest waits", Cell::text(duration(seconds)));
    }
    if let Some(workers) = status.whole("workers") {
        table.pair("workers", Cell::text(workers.to_string()));
    }
    let unserved = status.texts("unserved_tools");
    if !unserved.is_empty() {
        table.pair("nobody serves", Cell::toned(unserved.join(", "), Tone::Warn));
    }
    limits(status, &mut table);
    if status.is_true("draining") {
        table.pair("state", Cell::toned("draining: takes no new work", Tone::Warn));
    }
    table
}

fn limits(status: &Answer, table: &mut Table) {
    let limits = status.member("limits");
    if let Some(most) = limits.whole("max_tasks") {
        table.pair("most tasks", Cell::text(most.to_string()));
    }
    if let Some(most) = limits.whole("max_payload_bytes") {
        table.pair("largest payload", Cell::text(bytes(most)));
    }
}

fn by_type(status: &Answer) -> Table {
    let mut table = Table::new(["type", "queued", "running", "completed", "failed", "cancelled"]);
    if let Value::Object(types) = &status.member("by_type").0 {
        for (name, counts) in types {
            let counts = Answer(counts.clone());
            let mut row = vec![Cell::text(name)];
            row.extend(STATES.map(|state| Cell::number(counts.whole(state).unwrap_or(0))));
            table.row(row);
        }
    }
    table
}

fn workers(stats: &Answer) -> Table {
    let mut table = Table::new(["worker", "where", "running", "completed", "failed", "lost", "tools"]);
    for worker in stats.items("workers") {
        let place = if worker.is_true("local") { "here" } else { "peer" };
        let mut row = vec![Cell::text(worker.shown("worker_id")), Cell::text(place)];
        row.extend(
            ["running", "completed", "failed", "lost"]
                .map(|count| Cell::number(worker.whole(count).unwrap_or(0))),
        );
        row.push(Cell::text(clip(&worker.texts("tools").join(" "), 50)));
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_summary_says_what_nobody_serves() {
        let status =
            Answer(json!({"counts": {"queued": 3}, "unserved_tools": ["resize"], "draining": false}));
        let text = summary(&status).render(false, false);
        assert!(text.contains("nobody serves  resize"), "{text}");
        assert!(text.contains("queued         3"), "{text}");
        assert!(!text.contains("draining"), "{text}");
    }
}
