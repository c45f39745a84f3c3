//! `peers discover`: asks the sources now.

use super::list;
use crate::cli::input;
use crate::client::{Answer, DiscoverArgs, NodeClient};
use crate::output::{Cell, Exit, Failure, Output, Table, Tone};

const EXAMPLES: &str = "\
Examples:
  meshwork peers discover                          by all ways that are switched on
  meshwork peers discover --source mdns --source dht --timeout 5s
  meshwork peers discover --capability gpu --json | jq -r '.peers[].peer_id'

Exit code 1: every source that was asked failed.";

/// Arguments of `peers discover`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiscoverOptions {
    /// Ask this source, may be given several times [default: all that are switched on]
    #[arg(long, value_name = "SOURCE", value_parser = super::sources())]
    pub(crate) source: Vec<String>,
    /// Show only peers that serve this tool or have this label; the DHT is asked for them too, if it is on
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// Show at most so many peers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max: Option<u32>,
    /// How long the sources may take
    #[arg(long, value_name = "TIME", value_parser = input::seconds, default_value = "10s")]
    pub(crate) timeout: f64,
    /// Have this peer (id or address) ask its sources
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(
    options: &DiscoverOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let arguments = DiscoverArgs {
        sources: options.source.clone(),
        capability: options.capability.clone(),
        max_peers: options.max,
        timeout_s: Some(options.timeout),
        peer: options.peer.clone(),
    };
    let progress = output.progress();
    progress.say(if options.source.is_empty() {
        "asking all sources".to_owned()
    } else {
        format!("asking {}", options.source.join(", "))
    });
    let answer = client.look_for_peers(&arguments).await;
    progress.finish();
    let answer = answer?;
    let reports = answer.items("sources");
    if output.is_json() {
        output.json(&answer.0)?;
    } else {
        show(&answer, options.capability.as_deref().unwrap_or_default(), output)?;
    }
    let failed = |report: &Answer| report.text("problem").is_some();
    if !reports.is_empty() && reports.iter().all(failed) { Err(Failure::Shown(Exit::Failed)) } else { Ok(()) }
}

fn show(answer: &Answer, capability: &str, output: Output) -> Result<(), Failure> {
    let (reports, peers) = (answer.items("sources"), answer.items("peers"));
    if reports.is_empty() {
        output.note("no source is switched on: see p2p.discovery in the configuration");
    } else {
        output.table(&sources(&reports))?;
    }
    for table in answer.items("providers") {
        output.note(named(&table, capability));
    }
    if peers.is_empty() {
        output.note("no peer fits");
        return Ok(());
    }
    output.line("")?;
    output.table(&list::table(&peers))
}

/// Whom a table names for a capability, in a line.
fn named(table: &Answer, capability: &str) -> String {
    let source = table.shown("source");
    match table.text("problem") {
        Some(problem) => format!("{source} could not be asked who has {capability}: {problem}"),
        None => {
            let count = |name: &str| table.whole(name).unwrap_or(0);
            format!("{source} names {} for {capability}, {} of them new", count("found"), count("new"))
        }
    }
}

fn sources(reports: &[Answer]) -> Table {
    let mut table = Table::new(["source", "found", "new", "problem"]);
    for report in reports {
        table.row([
            Cell::text(report.shown("source")),
            Cell::number(report.whole("found").unwrap_or(0)),
            Cell::number(report.whole("new").unwrap_or(0)),
            Cell::toned(report.shown("problem"), Tone::Bad),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_source_says_what_it_gave_or_why_it_gave_nothing() {
        let reports = [
            Answer(json!({"source": "mdns", "found": 3, "new": 1, "problem": null})),
            Answer(json!({"source": "github", "found": 0, "new": 0, "problem": "refuses: 401"})),
        ];
        let text = sources(&reports).render(false, false);
        assert!(text.contains("mdns") && text.contains("refuses: 401"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_table_says_how_many_it_names_for_a_capability_or_why_it_names_nobody() {
        let table = Answer(json!({"source": "dht", "found": 3, "new": 1, "problem": null}));
        assert_eq!(named(&table, "gpu"), "dht names 3 for gpu, 1 of them new");
        let table = Answer(json!({"source": "dht", "found": 0, "new": 0, "problem": "no answer"}));
        assert!(named(&table, "gpu").contains("gpu: no answer"));
    }
}
