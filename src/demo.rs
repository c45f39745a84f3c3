//! `meshwork demo`: three nodes on loopback, real work over real files, one worker killed half way.
//!
//! The first node only owns the queue. The second runs an unmodified MCP server (git) and a process tool, the third the
//! same process tool and more of it. When half of the tasks are done, the third is killed with SIGKILL while it holds
//! running tasks. The demo fails, and says so, if that worker held none, if nothing was run again, or if one task
//! did not complete.

mod batch;
mod mesh;
mod report;

use crate::cli::DemoArgs;
use crate::client::{ClientOptions, NodeClient};
use crate::output::{Failure, Output, Progress};
use meshwork_proto::ErrorCode;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// The whole demo ends within this time or fails.
const WITHIN: Duration = Duration::from_secs(120);

/// What the demo runs on.
#[derive(Debug, Clone)]
struct Plan {
    /// A git repository whose files are worked on.
    repository: PathBuf,
    /// The program of an MCP server with git tools.
    git_server: PathBuf,
    /// How many tasks.
    tasks: usize,
    /// Keeps the nodes' directories.
    keep: bool,
}

/// Runs the demo and shows its report.
pub(crate) async fn run(args: &DemoArgs, output: Output) -> Result<(), Failure> {
    let plan = plan(args)?;
    let progress = output.progress();
    progress.say("starting three nodes");
    let mut mesh = mesh::Mesh::start(&plan).await?;
    let client = NodeClient::connect(&ClientOptions::at(&mesh.owner.ready.mcp_url)).await?;
    mesh.wait_until_joined(&client).await?;
    let begun = Instant::now();
    let work = play(&client, &mut mesh, &plan, output, progress);
    let (held, done) = tokio::time::timeout(WITHIN, work).await.map_err(|_| {
        Failure::new(ErrorCode::Timeout, format!("the demo did not end within {} s", WITHIN.as_secs()))
    })??;
    let report = report::Report::new(&mesh, held, done, begun.elapsed());
    report.check()?;
    if output.is_json() {
        output.json(&report.json())?
    } else {
        output.line(report.text(output.is_terminal()))?
    }
    if let Some(kept) = mesh.keep(plan.keep) {
        output.note(format!("data directories and logs are kept in {}", kept.display()));
    }
    Ok(())
}

fn plan(args: &DemoArgs) -> Result<Plan, Failure> {
    let directory = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let repository = directory
        .canonicalize()
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", directory.display())))?;
    let tasks = usize::try_from(args.tasks).unwrap_or(usize::MAX);
    Ok(Plan { repository, git_server: args.git_server.clone(), tasks, keep: args.keep })
}

/// The batch, and the kill half way. Gives the tasks that the killed worker held, and all records.
async fn play(
    client: &NodeClient,
    mesh: &mut mesh::Mesh,
    plan: &Plan,
    output: Output,
    mut progress: Progress,
) -> Result<(Vec<String>, Vec<batch::Done>), Failure> {
    progress.say("submitting through MCP, working");
    let (submitted, held) = tokio::try_join!(
        async { batch::submit(client, batch::plan(plan)?).await },
        kill_half_way(client, mesh, plan.tasks, output, &mut progress),
    )?;
    batch::wait_for_all(client, plan.tasks, &mut progress).await?;
    progress.finish();
    let done = batch::records(client, &submitted).await?;
    Ok((held, done))
}

/// Calls a tool of the first node.
async fn call(client: &NodeClient, tool: &str, arguments: Value) -> Result<Value, Failure> {
    let Value::Object(arguments) = arguments else {
        return Err(Failure::internal(format!("{tool} takes an object")));
    };
    Ok(client.call(tool, arguments).await?)
}

/// Waits until half of the tasks are done and the third node holds running tasks, and kills it at that moment. Gives the
/// ids of the tasks it held.
async fn kill_half_way(
    client: &NodeClient,
    mesh: &mut mesh::Mesh,
    tasks: usize,
    output: Output,
    progress: &mut Progress,
) -> Result<Vec<String>, Failure> {
    let all = tasks as u64;
    loop {
        let done = batch::finished(client).await?;
        progress.advance(done, Some(all));
        if done >= all {
            return Err(Failure::internal(
                "all tasks were done before the worker could be killed: give more tasks",
            ));
        }
        if done >= all / 2 {
            let held = batch::running_on(client, &mesh.victim.ready.peer_id).await?;
            if !held.is_empty() {
                let (peer, pid) = (mesh.victim.ready.peer_id.clone(), mesh.victim.pid());
                mesh.victim.kill().await.map_err(|error| Failure::internal(error.to_string()))?;
                let peer = mesh::short(&peer);
                output.note(format!(
                    "killed worker {peer} (process {pid}): it held {} running task(s)",
                    held.len()
                ));
                return Ok(held);
            }
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
