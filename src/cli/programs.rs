//! Arguments of the commands that are programs of their own: `mcp`, `demo` and `bench`.

use super::node_args::NodeArgs;
use crate::output::Failure;
use std::path::PathBuf;

const MCP_EXAMPLES: &str = "\
Examples:
  meshwork mcp
      Serves on standard input and output what the running node offers at --url.
  meshwork mcp --embedded --data-dir ~/.mesh-desk
      Starts a node inside this process; it ends with the client.

In the settings of an MCP client:
  {\"mcpServers\": {\"meshwork\": {\"command\": \"meshwork\", \"args\": [\"mcp\"]}}}";

/// Arguments of `mcp`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = MCP_EXAMPLES)]
pub(crate) struct McpArgs {
    /// Start a node inside this process instead of connecting to one
    #[arg(long)]
    pub(crate) embedded: bool,
    /// The flags of the embedded node.
    #[command(flatten, next_help_heading = "Flags of the embedded node")]
    pub(crate) node: NodeArgs,
}

impl McpArgs {
    /// Checks that flags of a node are only given when there is one.
    ///
    /// # Errors
    /// When they would have no effect.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.embedded || self.node == NodeArgs::default() {
            return Ok(());
        }
        Err(Failure::usage(
            "flags of a node have no effect on a node that runs already: add --embedded, or leave them out",
        ))
    }
}

const DEMO_EXAMPLES: &str = "\
Examples:
  meshwork demo
  meshwork demo --tasks 400 --dir ~/src/project
  meshwork demo --keep               keep the data directories and logs, and say where they are";

/// Arguments of `demo`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub(crate) struct DemoArgs {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) tasks: u32,
    /// Git repository whose files the tasks work on [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// MCP server with git tools: mcp-server-git from PyPI, unmodified
    #[arg(long, value_name = "PROGRAM", default_value = "mcp-server-git")]
    pub(crate) git_server: PathBuf,
    /// Keep the data directories and logs of the nodes
    #[arg(long)]
    pub(crate) keep: bool,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  meshwork bench                                 the table
  meshwork bench --json > bench.json             the same as JSON
  meshwork bench queue --seconds 1 --tasks 0     a quick look
  meshwork bench mesh --nodes 10                 how soon nodes find each other
  meshwork bench mesh --simulated-hours 10       and ten hours in which they come and go
  meshwork bench workflow --quick                whether workflows run, in a minute
  meshwork bench workflow --compare              and beside Restate and DBOS, which it installs from npm and PyPI

Use a release build: `make bench` does.";

/// What `bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BenchPart {
    /// Operations of the task queue between two nodes, and what a node costs at rest
    Queue,
    /// How soon nodes find each other, by source and number, and what they say at rest
    Mesh,
    /// Runs and steps of workflows per second, many runs at once, and how soon they go on after kill -9
    Workflow,
}

/// Arguments of `bench`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure [default: everything]
    #[arg(value_name = "PART", value_enum)]
    pub(crate) parts: Vec<BenchPart>,
    /// How long each cell of the table runs
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = super::input::seconds)]
    pub(crate) seconds: f64,
    /// Payload of a task in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    pub(crate) payload: usize,
    /// Tasks in the store for the figures of memory and start; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) tasks: u64,
    /// Most nodes of a mesh of processes (of 3, 10, 50 and 200, as far as they fit into memory); all sizes are simulated too
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub(crate) nodes: u32,
    /// How long 200 simulated nodes live of which a tenth comes and goes every minute; 0 leaves it out
    #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) simulated_hours: u32,
    /// Small sizes for the part `workflow`: whether everything works, not what it costs
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also measure one-step runs of other workflow engines, with the programs in this directory of meshwork's sources
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "scripts/bench-workflows"
    )]
    pub(crate) compare: Option<PathBuf>,
    /// Where the stores are put [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Also write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,
}

impl BenchArgs {
    /// Whether this part is to be measured.
    pub(crate) fn measures(&self, part: BenchPart) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}
