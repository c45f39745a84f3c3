//! `kill -9` of the node with many runs under way: how soon it has them again, and that each of them comes to its end.

use super::Lab;
use super::at_once::{finish_all, submit_all};
use super::definitions::Shape;
use super::engine::{self, CLIENTS, Engine, begun, ended, spread, submission};
use crate::bench::BenchError;
use crate::bench::footprint::millis;
use crate::client::NodeClient;
use serde::Serialize;
use tokio::time::Instant;

/// Steps of each run that is killed in the middle of them.
const STEPS: usize = 10;

/// What the runs were doing when the node was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Doing {
    /// They had done a step and waited for a signal.
    Waiting,
    /// They were in the middle of a chain of steps, some of which were being executed.
    Working,
}

impl Doing {
    /// As people read it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "wait for a signal",
            Self::Working => "in a chain of 10 steps",
        }
    }
}

/// One kill.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Recovered {
    /// What the runs were doing.
    pub(super) doing: Doing,
    /// Runs that were started.
    pub(super) runs: usize,
    /// Those of them that were under way when the node was back.
    pub(super) unfinished: usize,
    /// From the start of the new process until it was ready, in milliseconds.
    pub(super) ready_ms: u64,
    /// From its start until a client had been told all runs that are under way.
    pub(super) listed_ms: u64,
    /// From its start until every run had completed; those that wait were sent their signal as soon as they were listed.
    pub(super) completed_ms: u64,
}

/// Both kinds.
pub(super) async fn measure(lab: &Lab<'_>) -> Result<Vec<Recovered>, BenchError> {
    let progress = lab.output.progress();
    let mut all = Vec::new();
    for doing in [Doing::Waiting, Doing::Working] {
        progress.say(format!("kill -9: {} runs that {}", lab.sizes.recovered, doing.name()));
        all.push(one(lab, doing).await?);
    }
    progress.finish();
    Ok(all)
}

async fn one(lab: &Lab<'_>, doing: Doing) -> Result<Recovered, BenchError> {
    let (dir, runs) = (lab.path("recovery"), lab.sizes.recovered);
    let engine = Engine::start(&dir).await?;
    let clients = engine.clients(CLIENTS).await?;
    let ids = match doing {
        Doing::Waiting => {
            let ids = submit_all(&clients, runs).await?;
            begun(&clients, &ids).await?;
            ids
        }
        Doing::Working => start_working(&clients, runs).await?,
    };
    drop(clients);
    engine.kill().await?;

    let started = Instant::now();
    let engine = Engine::start(&dir).await?;
    let ready_ms = millis(engine.node.started_in);
    let clients = engine.clients(CLIENTS).await?;
    let unfinished = engine::running(&engine.client().await?).await?;
    let listed_ms = millis(started.elapsed());
    match doing {
        Doing::Waiting => finish_all(&clients, &ids).await?,
        Doing::Working => {
            let ids = &ids;
            let wait = async |client: NodeClient, at: usize| match ids.get(at) {
                Some(id) => ended(&client, id).await,
                None => Ok(()),
            };
            spread(&clients, ids.len(), wait).await?;
        }
    }
    let completed_ms = millis(started.elapsed());
    drop(clients);
    engine.stop().await?;
    if doing == Doing::Waiting && unfinished != runs {
        return Err(BenchError::Run(format!(
            "{unfinished} of {runs} runs that waited were there after a kill"
        )));
    }
    Ok(Recovered { doing, runs, unfinished, ready_ms, listed_ms, completed_ms })
}

async fn start_working(clients: &[NodeClient], runs: usize) -> Result<Vec<String>, BenchError> {
    let submission = submission(Shape::Chain.definition(STEPS), false);
    let submission = &submission;
    spread(clients, runs, async |client, _| engine::submit(&client, submission).await).await
}
