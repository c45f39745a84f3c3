//! The node under test and what its clients ask of it, all of it through MCP.

use crate::bench::BenchError;
use crate::child::ChildNode;
use crate::client::{Answer, ClientOptions, NodeClient};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Steps that the node executes at the same time: as many as there are clients at most.
pub(super) const SLOTS: u32 = 64;
/// Clients of everything that is not measured by the number of its clients.
pub(super) const CLIENTS: usize = 64;
/// How long one call waits for the end of a run: the longest that nodes allow.
const LONG_POLL: Duration = Duration::from_secs(60);
/// How long a run may take.
const WITHIN: Duration = Duration::from_secs(900);
/// Runs on a page of the list: the most that nodes allow.
const PAGE: u32 = 1_000;
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(20);
/// Arguments of a tool.
pub(super) type Arguments = Map<String, Value>;

/// One node that coordinates and executes, alone.
pub(super) struct Engine {
    pub(super) node: ChildNode,
    dir: PathBuf,
}

impl Engine {
    /// Starts it on this directory, which may have its store from before.
    pub(super) async fn start(dir: &Path) -> Result<Self, BenchError> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("bench.yaml");
        let config = format!(
            "p2p: {{discovery: {{mdns: off}}}}\nexecutor: {{slots: {SLOTS}}}\nlog: {{level: warn}}\n"
        );
        std::fs::write(&file, config)?;
        let file = file.display().to_string();
        let args = ["--config", &file, "--durability", "fsync", "--listen", "/ip4/127.0.0.1/tcp/0"];
        Ok(Self { node: ChildNode::start(dir, &args).await?, dir: dir.to_owned() })
    }

    /// So many clients, each with a connection of its own.
    pub(super) async fn clients(&self, count: usize) -> Result<Vec<NodeClient>, BenchError> {
        try_join_all((0..count).map(|_| self.client())).await
    }

    /// One client.
    pub(super) async fn client(&self) -> Result<NodeClient, BenchError> {
        Ok(NodeClient::connect(&ClientOptions::at(&self.node.ready.mcp_url)).await?)
    }

    /// Kills it with SIGKILL, and leaves its store.
    pub(super) async fn kill(mut self) -> Result<(), BenchError> {
        Ok(self.node.kill().await?)
    }

    /// Ends it and removes its store: those of a whole run would not fit everywhere.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        self.node.kill().await?;
        Ok(std::fs::remove_dir_all(&self.dir)?)
    }
}

/// What is sent to start a run, and to wait for its end with the same call if `wait` says so.
pub(super) fn submission(definition: Value, wait: bool) -> Arguments {
    let wait_s = if wait { LONG_POLL.as_secs() } else { 0 };
    arguments(json!({"workflow": definition, "wait_s": wait_s}))
}

/// Starts a run; gives its id as soon as it is durable.
pub(super) async fn submit(client: &NodeClient, submission: &Arguments) -> Result<String, BenchError> {
    id_of(&Answer(client.call("p2p_workflow_submit", submission.clone()).await?))
}

/// Starts a run and waits for its end, in one call.
pub(super) async fn run_through(client: &NodeClient, submission: &Arguments) -> Result<(), BenchError> {
    let answer = client.call_waiting("p2p_workflow_submit", submission.clone(), LONG_POLL).await?;
    completed(&Answer(answer))
}

/// Waits until a run has completed.
pub(super) async fn ended(client: &NodeClient, id: &str) -> Result<(), BenchError> {
    let deadline = Instant::now() + WITHIN;
    let question = arguments(json!({"workflow_id": id, "wait_s": LONG_POLL.as_secs(), "steps": false}));
    loop {
        let run = Answer(client.call_waiting("p2p_workflow_status", question.clone(), LONG_POLL).await?);
        let goes_on = matches!(run.text("state"), Some("pending" | "running"));
        if !goes_on || Instant::now() > deadline {
            return completed(&run);
        }
    }
}

/// Where a run stands, with its steps if they are asked for.
pub(super) async fn status(client: &NodeClient, id: &str, steps: bool) -> Result<Answer, BenchError> {
    let question = arguments(json!({"workflow_id": id, "steps": steps}));
    Ok(Answer(client.call("p2p_workflow_status", question).await?))
}

/// Waits until each of these runs has completed its first step.
pub(super) async fn begun(clients: &[NodeClient], ids: &[String]) -> Result<(), BenchError> {
    let deadline = Instant::now() + WITHIN;
    spread(clients, ids.len(), async |client, at| {
        let Some(id) = ids.get(at) else { return Ok(()) };
        loop {
            let run = status(&client, id, false).await?;
            if run.member("counts").whole("completed").is_some_and(|steps| steps > 0) {
                return Ok(());
            }
            if run.text("state") == Some("failed") || Instant::now() > deadline {
                return Err(unexpected(&run));
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
    .map(drop)
}

/// How many runs are under way.
pub(super) async fn running(client: &NodeClient) -> Result<usize, BenchError> {
    let mut count = 0;
    let mut cursor = Value::Null;
    loop {
        let mut question = json!({"state": "running", "limit": PAGE});
        if !cursor.is_null() {
            question["cursor"] = cursor;
        }
        let page = Answer(client.call("p2p_workflow_list", arguments(question)).await?);
        count += page.items("runs").len();
        cursor = page.member("next_cursor").0;
        if cursor.is_null() {
            return Ok(count);
        }
    }
}

/// Does something so many times, spread over the clients, each of which does one at a time; the results are in order.
pub(super) async fn spread<T>(
    clients: &[NodeClient],
    count: usize,
    work: impl AsyncFn(NodeClient, usize) -> Result<T, BenchError>,
) -> Result<Vec<T>, BenchError> {
    let each = clients.iter().cycle().zip(0..count);
    stream::iter(each)
        .map(|(client, at)| work(client.clone(), at))
        .buffered(clients.len())
        .try_collect()
        .await
}

fn id_of(run: &Answer) -> Result<String, BenchError> {
    run.text("workflow_id").map(str::to_owned).ok_or_else(|| unexpected(run))
}

fn completed(run: &Answer) -> Result<(), BenchError> {
    if run.text("state") == Some("completed") { Ok(()) } else { Err(unexpected(run)) }
}

/// A run that is not as it must be: its figures would be those of something else.
pub(super) fn unexpected(run: &Answer) -> BenchError {
    BenchError::Run(run.0.to_string())
}

/// A JSON object as the arguments of a tool.
fn arguments(members: Value) -> Arguments {
    match members {
        Value::Object(members) => members,
        // All that are made here are objects.
        _ => Map::new(),
    }
}
