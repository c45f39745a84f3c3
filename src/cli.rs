//! The command line: what can be typed, and the commands that talk to a node.
//!
//! Four commands are programs of their own ([`Command::Run`], `Mcp`, `Demo`, `Bench`) and are only read here; all
//! others are [`ClientCommand`]s, which [`dispatch`] executes. Each family has a file with its arguments, its help and
//! what it does.

mod catalogue;
mod completions;
mod configuration;
mod document;
mod identity;
mod input;
mod many;
mod node_args;
mod peers;
mod programs;
mod schedule;
mod secret;
mod status;
mod stop;
mod task;
mod workflow;

pub(crate) use node_args::{NodeArgs, RunArgs};
pub(crate) use programs::{BenchArgs, BenchPart, DemoArgs, McpArgs};

use crate::client::{ClientOptions, DEFAULT_URL, NodeClient};
use crate::config::Environment;
use crate::output::{ColorChoice, EXIT_CODES, Exit, Failure, Output};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  meshwork run                                   start a node here
  meshwork invite                                print the line with which another node joins
  meshwork run --join mesh1:...                  join with that line, on another machine
  meshwork task submit --type echo --payload '{\"text\": \"hi\"}' --wait
  meshwork task list --status failed             what went wrong
  meshwork workflow run greet.yaml               run a workflow and watch it
  meshwork status                                what the node is doing
  meshwork peers pair                            let another node in with a code of nine digits

Every command has its own --help with examples; `meshwork help exit-codes` lists the exit codes.";

/// A peer-to-peer mesh node for MCP: durable tasks and tools that live on any peer.
///
/// `meshwork run` is the node. All other commands talk to a running node through MCP, at --url.
#[derive(Debug, Parser)]
#[command(name = "meshwork", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Write results as JSON to standard output, and errors as one JSON object to standard error
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,
    /// Where the node serves MCP
    #[arg(long, global = true, display_order = 101, env = "MESHWORK_URL", default_value = DEFAULT_URL)]
    pub(crate) url: String,
    /// When to use colours: auto, always or never; auto respects NO_COLOR
    #[arg(long, global = true, display_order = 102, default_value = "auto", value_name = "WHEN")]
    #[arg(hide_possible_values = true)]
    pub(crate) color: ColorChoice,
}

impl Globals {
    /// How this process shows things.
    #[must_use]
    pub(crate) fn output(&self, environment: &Environment) -> Output {
        Output::new(self.json, self.color, environment)
    }

    async fn connect(&self) -> Result<NodeClient, Failure> {
        Ok(NodeClient::connect(&ClientOptions::at(&self.url)).await?)
    }
}

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a node and keep it running
    Run(RunArgs),
    /// Serve MCP on standard input and output, for MCP clients that start their servers
    Mcp(McpArgs),
    /// Three nodes, 200 tasks, one killed worker: see in a minute what it is for
    Demo(DemoArgs),
    /// Measure throughput and latency of two nodes on this machine
    Bench(BenchArgs),
    /// Commands that [`dispatch`] executes.
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands for a node that runs, or for what it keeps on disk.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Show what the node is doing
    Status(status::StatusArgs),
    /// Submit tasks, read their results, cancel and retry them
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Run workflows, watch and steer them
    #[command(subcommand)]
    Workflow(workflow::WorkflowCommand),
    /// Start tasks and workflows at times
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// List, describe and call the tools of the mesh
    #[command(subcommand)]
    Tools(catalogue::ToolsCommand),
    /// List the peers that the node knows; find, add, pair with and revoke peers
    Peers(peers::PeersArgs),
    /// Print the line with which another node joins this mesh; keep it secret
    Invite(identity::InviteArgs),
    /// Change the mesh secret without downtime
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Print the peer id of the node in a data directory
    Id(identity::IdArgs),
    /// Check and show configurations
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Stop the node: running tasks may end first
    Stop(stop::StopArgs),
    /// Take no new work, but keep running
    Drain(stop::StopArgs),
    /// Print a script that completes commands in a shell
    Completions(completions::CompletionsArgs),
    /// List the exit codes
    #[command(after_help = exit_codes_help())]
    ExitCodes,
}

/// Reads the arguments of the process. Help and usage errors are already shown when it fails.
///
/// # Errors
/// The exit code: 0 for help and version, 2 for a wrong command line.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    parse_from(&arguments).map_err(|error| {
        show_usage(&error, &arguments);
        if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
    })
}

fn parse_from(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Cli::command().color(early_color(arguments));
    command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches))
}

/// The choice of colours, before the command line is understood: its errors are coloured too.
fn early_color(arguments: &[OsString]) -> clap::ColorChoice {
    let mut texts = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .skip_while(|text| !text.starts_with("--color"));
    match texts.next().map(|text| text.strip_prefix("--color=").or_else(|| texts.next()).unwrap_or("")) {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
}

fn show_usage(error: &clap::Error, arguments: &[OsString]) {
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let no_command = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && wants_json && !no_command {
        let text = error.render().to_string();
        // What is wrong and perhaps a tip; the usage that follows is for people.
        let first = text
            .split("Usage:")
            .next()
            .unwrap_or_default()
            .split("For more information")
            .next()
            .unwrap_or_default();
        let message =
            first.strip_prefix("error: ").unwrap_or(first).split_whitespace().collect::<Vec<_>>().join(" ");
        let output = Output::new(true, ColorChoice::Never, &Environment::default());
        let _ = output.fail(&Failure::usage(message));
    } else {
        // A closed pipe (`meshwork --help | head -1`) is no error.
        let _ = error.print();
    }
}

/// Executes a command and gives the exit code; everything is already shown.
#[must_use]
pub(crate) fn dispatch(command: &ClientCommand, globals: &Globals, environment: &Environment) -> ExitCode {
    let output = globals.output(environment);
    let done = match offline(command, output, environment) {
        Some(done) => done,
        // One thread is enough for a client, and starts quicker.
        None => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(online(command, globals, output)),
            Err(error) => Err(Failure::internal(format!("cannot start: {error}"))),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

/// Commands that need no running node; none for the others.
fn offline(
    command: &ClientCommand,
    output: Output,
    environment: &Environment,
) -> Option<Result<(), Failure>> {
    Some(match command {
        ClientCommand::Config(command) => configuration::execute(command, output, environment),
        ClientCommand::Id(args) => identity::id(args, output, environment),
        ClientCommand::Invite(args) => identity::invite(args, output, environment),
        ClientCommand::Secret(command) => secret::execute(command, output, environment),
        ClientCommand::Completions(args) => completions::execute(args, output),
        ClientCommand::ExitCodes => exit_codes(output),
        ClientCommand::Workflow(command) => return workflow::offline(command, output),
        _ => return None,
    })
}

async fn online(command: &ClientCommand, globals: &Globals, output: Output) -> Result<(), Failure> {
    match command {
        ClientCommand::Status(args) => status::execute(args, &globals.connect().await?, output).await,
        ClientCommand::Task(command) => task::execute(command, globals, output).await,
        ClientCommand::Workflow(command) => workflow::execute(command, globals, output).await,
        ClientCommand::Schedule(command) => schedule::execute(command, globals, output).await,
        ClientCommand::Tools(command) => catalogue::execute(command, globals, output).await,
        ClientCommand::Peers(args) => peers::execute(args, globals, output).await,
        ClientCommand::Stop(args) => stop::execute(args, true, &globals.connect().await?, output).await,
        ClientCommand::Drain(args) => stop::execute(args, false, &globals.connect().await?, output).await,
        ClientCommand::Config(_)
        | ClientCommand::Id(_)
        | ClientCommand::Invite(_)
        | ClientCommand::Secret(_)
        | ClientCommand::Completions(_)
        | ClientCommand::ExitCodes => Ok(()),
    }
}

fn exit_codes_help() -> String {
    let lines = EXIT_CODES.iter().map(|(exit, meaning)| format!("  {}  {meaning}\n", exit.number()));
    let errors = "\nErrors are written to standard error as `error: MESSAGE (CODE)`, with --json as one line\n\
                  {\"error\": {\"code\": CODE, \"message\": MESSAGE}}. Codes are stable, messages are for people.";
    format!("Exit codes:\n{}{errors}", lines.collect::<String>())
}

fn exit_codes(output: Output) -> Result<(), Failure> {
    if output.is_json() {
        let codes = EXIT_CODES
            .iter()
            .map(|(exit, meaning)| serde_json::json!({"exit": exit.number(), "meaning": meaning}));
        return output.json(&codes.collect::<Vec<_>>());
    }
    output.line(exit_codes_help())
}

#[cfg(test)]
mod tests;
