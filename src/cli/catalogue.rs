//! `tools list`, `tools schema` and `tools call`.

use super::{Globals, input};
use crate::client::{Answer, ToolEntry};
use crate::output::{Cell, Exit, Failure, Output, Table, Tone};
use serde_json::{Value, json};

const LIST_EXAMPLES: &str = "\
Examples:
  meshwork tools list
  meshwork tools list --category taskqueue";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  meshwork tools schema echo
  meshwork tools schema taskqueue/p2p_taskqueue_submit    when several categories have the name";

const CALL_EXAMPLES: &str = "\
Examples:
  meshwork tools call echo --args '{\"text\": \"hi\"}'
  meshwork tools call cid --args @arguments.json --peer 12D3KooW...
  jq -n '{seconds: 1}' | meshwork tools call sleep --args -

A call runs now and is not durable; `meshwork task submit` is.";

/// What can be done with tools.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub(crate) enum ToolsCommand {
    /// List all tools that can be reached from the node
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only those of this category
        #[arg(long, value_name = "NAME")]
        category: Option<String>,
    },
    /// Show what a tool does and the JSON Schema of its arguments
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// Name of the tool, or CATEGORY/NAME
        name: String,
    },
    /// Run a tool now and print its result
    #[command(after_help = CALL_EXAMPLES)]
    Call {
        /// Name of the tool, or CATEGORY/NAME
        name: String,
        /// Arguments: a JSON object, @FILE, or - for standard input
        #[arg(long, value_name = "JSON", default_value = "{}")]
        args: String,
        /// The peer (id or address) on which it runs
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
        /// How long to wait for the result
        #[arg(long, value_name = "SECONDS", value_parser = input::seconds, default_value = "300")]
        timeout: f64,
    },
}

pub(super) async fn execute(
    command: &ToolsCommand,
    globals: &Globals,
    output: Output,
) -> Result<(), Failure> {
    match command {
        ToolsCommand::List { category } => {
            let tools = globals.connect().await?.tools(category.as_deref()).await?;
            list(&tools, output)
        }
        ToolsCommand::Schema { name } => {
            let client = globals.connect().await?;
            let (category, _) = split(name);
            let tool = client.find_tool(name, category).await?;
            schema(&tool, &client.schema(&tool).await?, output)
        }
        ToolsCommand::Call { name, args, peer, timeout } => {
            let params = input::object("--args", args)?;
            let client = globals.connect().await?;
            let (category, _) = split(name);
            let tool = client.find_tool(name, category).await?;
            let called = client.dispatch(&tool, params, peer.as_deref(), input::duration(*timeout)).await?;
            match called.error {
                None => output.json(&called.value),
                Some(error) if output.is_json() => {
                    output.json(&called.value)?;
                    Err(Failure::Shown(Exit::for_code(error.code)))
                }
                Some(error) => Err(error.into()),
            }
        }
    }
}

/// Category and name of `CATEGORY/NAME`.
fn split(name: &str) -> (Option<&str>, &str) {
    name.rsplit_once('/').map_or((None, name), |(category, name)| (Some(category), name))
}

fn list(tools: &[ToolEntry], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        let tools = tools.iter().map(
            |tool| json!({"category": tool.category, "name": tool.name, "description": tool.description}),
        );
        return output.json(&tools.collect::<Vec<_>>());
    }
    let mut table = Table::new(["category", "tool", "description"]);
    for tool in tools {
        table.row([
            Cell::toned(&tool.category, Tone::Faint),
            Cell::text(&tool.name),
            Cell::text(&tool.description),
        ]);
    }
    output.table(&table)
}

fn schema(tool: &ToolEntry, answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&answer.0);
    }
    output.line(format!("{}/{}", tool.category, tool.name))?;
    output.line(answer.text("description").unwrap_or(&tool.description))?;
    for (title, name) in [("arguments", "input_schema"), ("result", "output_schema")] {
        let schema = answer.member(name);
        if !schema.is_null() {
            output.line(format!("\n{title}:"))?;
            output.line(pretty(&schema.0))?;
        }
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
