//! `config check` and `config print`.

use super::node_args::NodeArgs;
use crate::config::{self, Entry, Environment, Source, Sources};
use crate::output::{Cell, Failure, Output, Table, Tone, counted};
use serde_json::{Value, json};
use std::path::PathBuf;

const CHECK_EXAMPLES: &str = "\
Examples:
  meshwork config check node.yaml        exit code 0: fine, 2: every problem with its line
  meshwork config check --config node.yaml

Only the file is checked, not the environment.";

const PRINT_EXAMPLES: &str = "\
Examples:
  meshwork config print                                  what a node would run with here
  meshwork config print --config node.yaml --http 127.0.0.1:0
  meshwork config print --json | jq '.[] | select(.source != \"default\")'

Secrets are never printed.";

/// What can be done with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file and report everything that is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file
        #[arg(required_unless_present = "config", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// The file, as `meshwork run` takes it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print every key with its value and where it came from
    #[command(after_help = PRINT_EXAMPLES)]
    Print {
        /// The flags of the node.
        #[command(flatten)]
        node: Box<NodeArgs>,
    },
}

pub(super) fn execute(
    command: &ConfigCommand,
    output: Output,
    environment: &Environment,
) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, config } => {
            // One of the two is there: the command line was refused otherwise.
            check(file.clone().or_else(|| config.clone()).unwrap_or_default(), output)
        }
        ConfigCommand::Print { node } => {
            let effective = node.load(environment)?;
            for warning in &effective.warnings {
                output.note(format!("warning: {warning}"));
            }
            if output.is_json() {
                output.json(&effective.entries)
            } else {
                output.table(&table(&effective.entries))
            }
        }
    }
}

fn check(file: PathBuf, output: Output) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let effective = config::load(&sources)?;
    let given = effective.entries.iter().filter(|entry| entry.source != Source::Default).count();
    if output.is_json() {
        return output.json(&json!({"file": shown, "ok": true, "keys_set": given}));
    }
    output.line(format!("{shown} is fine: it sets {}", counted(given as u64, "key")))
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new(["key", "value", "source"]);
    for entry in entries {
        let tone = if entry.source == Source::Default { Tone::Faint } else { Tone::Active };
        let source = entry.source.to_string();
        table.row([Cell::text(&entry.key), Cell::text(shown(&entry.value)), Cell::toned(source, tone)]);
    }
    table
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(unset)".into(),
        Value::String(text) if text.is_empty() => "\"\"".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
