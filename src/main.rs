//! `meshwork`: one binary that is a mesh node, its command line, its demo and its measurements.
//!
//! This crate is the composition root: it reads the command line and the configuration, wires the actors together
//! (`node`), and talks to running nodes as their first MCP client (`client`, `cli`).

mod bench;
mod child;
mod cli;
mod client;
mod config;
mod demo;
mod node;
mod output;
mod yaml;

use cli::{Cli, Command};
use config::Environment;
use meshwork_work::executor::sandbox;
use output::{Failure, Output};
use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A process tool's first moments: this process limits itself and becomes the tool. Before anything else, since
    // limits apply to one thread and runtimes would not survive it.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() == Some(OsStr::new(sandbox::SUBCOMMAND)) {
        return sandbox::run(arguments);
    }
    let Cli { globals, command } = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let environment = Environment::of_process();
    let output = globals.output(&environment);
    let done = match command {
        Command::Client(command) => return cli::dispatch(&command, &globals, &environment),
        Command::Run(args) => run(&args.node, false, &environment, output),
        Command::Mcp(args) if args.embedded => run(&args.node, true, &environment, output),
        Command::Mcp(args) => args.check().and_then(|()| on_runtime(bridge(&globals.url))),
        Command::Demo(args) => on_runtime(demo::run(&args, output)),
        Command::Bench(args) => on_runtime(bench::run(&args, output)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

/// Runs a node; with `stdio`, for a client on standard input and output, and until that ends.
fn run(args: &cli::NodeArgs, stdio: bool, environment: &Environment, output: Output) -> Result<(), Failure> {
    let effective = args.load(environment)?;
    on_runtime(node::run(&effective, environment, output, stdio))
}

/// Passes standard input and output on to a node that runs already.
async fn bridge(url: &str) -> Result<(), Failure> {
    meshwork_gateway::stdio_bridge(url, tokio::io::stdin(), tokio::io::stdout())
        .await
        .map_err(|error| Failure::from_coded(&error))
}

fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("meshwork-io")
        .build()
        .map_err(|error| Failure::internal(format!("the runtime could not be started: {error}")))?;
    let done = runtime.block_on(work);
    // What may be left are blocking reads, of standard input or a tool's pipe: they must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}
