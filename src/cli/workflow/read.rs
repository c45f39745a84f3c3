//! `workflow status`, `workflow list` and `workflow graph`.

use super::tree;
use super::watch::{self, WatchOptions};
use crate::cli::input;
use crate::client::{Answer, NodeClient, RunFilter, RunStatus};
use crate::output::{Cell, Failure, Output, Table, Tone, age, clip, duration, without_code};
use clap::builder::PossibleValuesParser;
use meshwork_proto::ErrorCode;
use meshwork_proto::workflow::RunState;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Runs in one request.
const PAGE: u32 = 500;
/// How long one request waits.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Longest remark in a list.
const NOTE: usize = 60;

const STATUS_EXAMPLES: &str = "\
Examples:
  meshwork workflow status 0193...                  its steps, and its output
  meshwork workflow status 0193... --watch          as a live tree until it is finished
  meshwork workflow status 0193... --wait 60 --json | jq .state

Exit code 0, whatever became of the run; with --watch as that of `meshwork workflow run`.";

const LIST_EXAMPLES: &str = "\
Examples:
  meshwork workflow list
  meshwork workflow list --state failed --name nightly
  meshwork workflow list --json | jq -r '.runs[].workflow_id'";

const GRAPH_EXAMPLES: &str = "\
Examples:
  meshwork workflow graph 0193...
  meshwork workflow graph 0193... --format mermaid          for Markdown
  meshwork workflow graph 0193... --format dot | dot -Tsvg -o run.svg
  meshwork workflow graph 0193... --format json | jq .critical_path";

/// Arguments of `workflow status`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StatusOptions {
    /// Id of the run
    pub(crate) id: String,
    /// Wait for its end, at most so long
    #[arg(long, value_name = "TIME", value_parser = input::seconds, conflicts_with = "watch")]
    pub(crate) wait: Option<f64>,
    /// Watch it until it is finished
    #[arg(long)]
    pub(crate) watch: bool,
    /// How it is watched.
    #[command(flatten)]
    pub(crate) watching: WatchOptions,
    /// The peer (id or address) that coordinates it
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// Arguments of `workflow list`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListOptions {
    /// Only this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    pub(crate) state: Option<String>,
    /// Only runs of a workflow with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
    /// Go on where a list ended (its next_cursor)
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// The peer (id or address) whose runs are listed
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// How a graph is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GraphFormat {
    /// Lines, each step under the one that it waits for longest
    Tree,
    /// A diagram for Markdown
    Mermaid,
    /// A diagram for Graphviz
    Dot,
    /// Nodes, edges and the critical path
    Json,
}

/// Arguments of `workflow graph`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = GRAPH_EXAMPLES)]
pub(crate) struct GraphOptions {
    /// Id of the run
    pub(crate) id: String,
    /// How it is shown; with --json the answer as it came
    #[arg(long, value_enum, default_value = "tree")]
    pub(crate) format: GraphFormat,
    /// The peer (id or address) that coordinates it
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

/// The names of states, for help, checks and completions.
fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(RunState::ALL.iter().map(|state| state.as_str()))
}

pub(super) async fn status(
    options: &StatusOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let peer = options.peer.as_deref();
    if options.watch {
        return watch::watch(client, &options.id, peer, &options.watching, output).await;
    }
    if options.watching != WatchOptions::default() {
        return Err(Failure::usage("--timeout and --cancel-on-interrupt need --watch"));
    }
    let wait = options.wait.map(input::duration).unwrap_or(Duration::ZERO);
    let run = until_finished(client, &options.id, wait, peer).await?;
    if output.is_json() {
        return output.json(&run.json.0);
    }
    show(&run, output)?;
    if run.is_completed() {
        output.line("")?;
        output.json(&run.output)?;
    }
    Ok(())
}

/// The run at its end, or as it stands when the time is over.
async fn until_finished(
    client: &NodeClient,
    id: &str,
    wait: Duration,
    peer: Option<&str>,
) -> Result<RunStatus, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let run = client.run_status(id, left.min(LONG_POLL), None, peer).await?;
        if run.is_finished() || left.is_zero() {
            return Ok(run);
        }
    }
}

fn show(run: &RunStatus, output: Output) -> Result<(), Failure> {
    for line in tree::lines(run, super::now(), output.is_coloured(), None) {
        output.line(line)?;
    }
    let peers = run.json.texts("coordinating_peers");
    if !peers.is_empty() {
        output.line(format!("coordinated by {}", peers.join(", ")))?;
    }
    Ok(())
}

pub(super) async fn list(options: &ListOptions, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let mut runs: Vec<Answer> = Vec::new();
    let mut cursor = options.cursor.clone();
    loop {
        let left = options.limit.saturating_sub(u32::try_from(runs.len()).unwrap_or(u32::MAX));
        let filter = RunFilter {
            state: options.state.clone(),
            name: options.name.clone(),
            limit: Some(left.min(PAGE)),
            cursor,
            peer: options.peer.clone(),
        };
        let page = client.list_runs(&filter).await?;
        runs.extend(page.items("runs"));
        cursor = page.text("next_cursor").map(str::to_owned);
        if cursor.is_none() || runs.len() >= options.limit as usize {
            break;
        }
    }
    if output.is_json() {
        return output.json(&json!({"runs": runs, "next_cursor": cursor}));
    }
    if runs.is_empty() {
        output.note("no runs of workflows");
        return Ok(());
    }
    let mut table = Table::new(["run", "workflow", "state", "steps", "submitted", "took", "note"]);
    for run in &runs {
        table.row(row(run, super::now()));
    }
    output.table(&table)?;
    if let Some(cursor) = cursor {
        output.note(format!("there are more: --cursor {cursor}"));
    }
    Ok(())
}

fn row(run: &Answer, now: f64) -> [Cell; 7] {
    let (created, finished) = (run.number("created"), run.number("finished"));
    let took = match (created, finished) {
        (Some(created), Some(finished)) => duration((finished - created).max(0.0)),
        _ => String::new(),
    };
    let error = run.member("error");
    let code = ErrorCode::from_text(error.text("code").unwrap_or_default());
    let note = match (run.text("moved_to"), error.text("message")) {
        (Some(peer), _) => Cell::toned(format!("coordinated by {peer}"), Tone::Faint),
        (None, Some(message)) => Cell::toned(clip(without_code(message, code), NOTE), Tone::Bad),
        (None, None) => Cell::default(),
    };
    let steps = format!("{}/{}", run.whole("finished_steps").unwrap_or(0), run.whole("steps").unwrap_or(0));
    [
        Cell::text(run.shown("workflow_id")),
        Cell::text(clip(&run.shown("name"), 30)),
        Cell::status(&run.shown("state")),
        Cell::number(steps),
        Cell::text(created.map(|created| age(created, now)).unwrap_or_default()),
        Cell::number(took),
        note,
    ]
}

pub(super) async fn graph(
    options: &GraphOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let (id, peer) = (options.id.as_str(), options.peer.as_deref());
    if options.format == GraphFormat::Tree && !output.is_json() {
        let run = client.run_status(id, Duration::ZERO, None, peer).await?;
        return show(&run, output);
    }
    let format = match options.format {
        GraphFormat::Mermaid => "mermaid",
        GraphFormat::Dot => "dot",
        GraphFormat::Tree | GraphFormat::Json => "json",
    };
    let answer = client.run_dag(id, format, peer).await?;
    match answer.text("text").filter(|_| !output.is_json()) {
        Some(text) => output.line(text.trim_end()),
        None => output.json(&answer.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_a_list_says_what_became_of_it() {
        let run = Answer(json!({
            "workflow_id": "0193", "name": "greet", "state": "failed", "steps": 3, "finished_steps": 2, "moved_to": null,
            "error": {"code": "tool_failed", "message": "step a: no (tool_failed)"}, "created": 100.0, "finished": 160.0,
        }));
        let mut table = Table::default();
        table.row(row(&run, 220.0));
        let text = table.render(false, false);
        for word in ["0193", "greet", "failed", "2/3", "2 min ago", "60 s", "step a: no"] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
        assert!(!text.contains("(tool_failed)"), "{text}");
    }
}
