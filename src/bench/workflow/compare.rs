//! One-step runs beside those of workflow engines written by others, on the same machine and in the same run: so many
//! clients, each of which starts a run with the same input, waits for its result, and starts the next one.
//!
//! In each round every engine has its turn at each number of clients, with an empty store; each round begins with another
//! engine. Medians over the rounds are shown. What each of them has made durable when it answers is said in
//! [`System::durability`], and how its clients reach it in [`System::clients`].

mod others;

use super::{Lab, one_step};
use crate::bench::BenchError;
use crate::bench::disk;
use crate::bench::drive::Measured;
use crate::bench::report::quotient;
use others::{Dbos, Restate, install};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum System {
    Meshwork,
    Restate,
    RestateBare,
    Dbos,
    DbosWal,
}

impl System {
    const ALL: [Self; 5] = [Self::Meshwork, Self::Restate, Self::RestateBare, Self::Dbos, Self::DbosWal];

    /// As people read it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meshwork => "meshwork",
            Self::Restate => "Restate, one step",
            Self::RestateBare => "Restate, no step",
            Self::Dbos => "DBOS, SQLite",
            Self::DbosWal => "DBOS, SQLite WAL",
        }
    }

    /// What is durable when a client has its answer, and by which setting.
    pub(super) const fn durability(self) -> &'static str {
        match self {
            Self::Meshwork => {
                "store.durability: fsync (the default): the run, its step and its result are in the write-ahead log of \
                 RocksDB and fsynced; writers that wait at the same time share an fsync"
            }
            Self::Restate | Self::RestateBare => {
                "one node as it comes: every entry of its replicated log is in the write-ahead log of RocksDB and fsynced \
                 (rocksdb-disable-wal-fsync = false); writers that wait at the same time share an fsync"
            }
            Self::Dbos => {
                "SQLite as DBOS opens it (journal_mode=DELETE, synchronous=FULL): every transaction is fsynced by itself"
            }
            Self::DbosWal => {
                "SQLite with journal_mode=WAL, set before DBOS opens it, and synchronous=FULL: every transaction is fsynced \
                 by itself"
            }
        }
    }

    /// How it is reached, and where the step is done.
    pub(super) const fn clients(self) -> &'static str {
        match self {
            Self::Meshwork => {
                "MCP over HTTP, one connection for each client; the definition is sent and checked each time, the step is \
                 a task that the node executes"
            }
            Self::Restate => {
                "HTTP ingress, one connection for each client; the service is a process of its own (Node.js), called over \
                 HTTP/2, and has one ctx.run"
            }
            Self::RestateBare => {
                "the same with a handler that returns its input: no step, the call alone is durable"
            }
            Self::Dbos | Self::DbosWal => {
                "no connection: clients are threads of the process that DBOS is a library of, and call the workflow"
            }
        }
    }
}

/// One engine at one number of clients.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Compared {
    /// Which engine.
    pub(super) system: System,
    /// How many clients.
    pub(super) clients: usize,
    /// Runs per second of each round, in order.
    pub(super) rounds_per_second: Vec<f64>,
    /// Their median.
    pub(super) per_second: f64,
    /// Median over the rounds of the median time of a run, in microseconds.
    pub(super) p50_us: u64,
    /// The same of the 99th percentile.
    pub(super) p99_us: u64,
    /// The same of the processor time of a run, in microseconds: of the engine's processes, and for DBOS of its clients too.
    pub(super) cpu_us: f64,
    /// How many times as many runs per second meshwork had.
    pub(super) meshwork_is: f64,
}

/// An engine, described.
#[derive(Debug, Clone, Serialize)]
pub(super) struct About {
    pub(super) system: System,
    pub(super) version: String,
    pub(super) durability: &'static str,
    pub(super) clients: &'static str,
}

/// The whole comparison.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Comparison {
    pub(super) rounds: usize,
    /// Fsyncs per second of the disk before each round.
    pub(super) fsyncs_per_second: Vec<f64>,
    pub(super) systems: Vec<About>,
    pub(super) cells: Vec<Compared>,
}

/// What one engine did at one number of clients in one round.
struct Round {
    system: System,
    clients: usize,
    measured: Measured,
    cpu: Duration,
    version: String,
}

/// Measures all of them with the programs of this directory.
pub(super) async fn measure(lab: &Lab<'_>, scripts: &Path) -> Result<Comparison, BenchError> {
    let mut progress = lab.output.progress();
    progress.say("installing the engines to compare with");
    let installed = install(scripts).await?;
    let total = lab.sizes.rounds * System::ALL.len() * lab.sizes.clients.len();
    let (mut rounds, mut fsyncs_per_second) = (Vec::new(), Vec::new());
    for round in 0..lab.sizes.rounds {
        fsyncs_per_second.push(disk::probe(&lab.dir)?.fsyncs_per_second);
        let turns = System::ALL.iter().cycle().skip(round).take(System::ALL.len());
        for system in turns {
            for clients in lab.sizes.clients {
                progress.say(format!("round {}: {}, {clients} clients", round + 1, system.name()));
                rounds.push(turn(lab, &installed, *system, *clients).await?);
                progress.advance(rounds.len() as u64, Some(total as u64));
            }
        }
    }
    progress.finish();
    let about = |system: System| About {
        system,
        version: rounds
            .iter()
            .find(|round| round.system == system)
            .map(|round| round.version.clone())
            .unwrap_or_default(),
        durability: system.durability(),
        clients: system.clients(),
    };
    Ok(Comparison {
        rounds: lab.sizes.rounds,
        fsyncs_per_second,
        systems: System::ALL.into_iter().map(about).collect(),
        cells: cells(&rounds, lab.sizes.clients),
    })
}

/// One engine, started with an empty store and ended.
async fn turn(lab: &Lab<'_>, installed: &Path, system: System, clients: usize) -> Result<Round, BenchError> {
    let dir = lab.path("compared");
    std::fs::create_dir_all(&dir)?;
    let (measured, cpu, version) = match system {
        System::Meshwork => {
            let (measured, cpu) = one_step::cell(lab, &dir, clients).await?;
            (measured, cpu, env!("CARGO_PKG_VERSION").to_owned())
        }
        System::Restate | System::RestateBare => {
            let handler = if system == System::Restate { "step" } else { "bare" };
            let restate = Restate::start(installed, &dir).await?;
            let result = restate.cell(lab, handler, clients).await;
            restate.stop().await?;
            result?
        }
        System::Dbos | System::DbosWal => {
            Dbos { installed, wal: system == System::DbosWal }.cell(lab, &dir, clients).await?
        }
    };
    match std::fs::remove_dir_all(&dir) {
        // The node's directory is removed with it.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Round { system, clients, measured, cpu, version })
}

fn cells(rounds: &[Round], clients: &[usize]) -> Vec<Compared> {
    let mut cells: Vec<Compared> = Vec::new();
    for clients in clients {
        let ours = of(rounds, System::Meshwork, *clients).map(|round| round.measured.per_second());
        let ours = middle(ours.collect(), f64::total_cmp).unwrap_or_default();
        for system in System::ALL {
            let all = || of(rounds, system, *clients);
            let quantile = |quantile: f64| {
                let each = all().map(|round| round.measured.latencies.value_at_quantile(quantile));
                middle(each.collect(), Ord::cmp).unwrap_or_default()
            };
            let cpu = |round: &Round| quotient(round.cpu.as_secs_f64() * 1e6, round.measured.operations);
            let rounds_per_second: Vec<f64> = all().map(|round| round.measured.per_second()).collect();
            let per_second = middle(rounds_per_second.clone(), f64::total_cmp).unwrap_or_default();
            cells.push(Compared {
                system,
                clients: *clients,
                rounds_per_second,
                per_second,
                p50_us: quantile(0.50),
                p99_us: quantile(0.99),
                cpu_us: middle(all().map(cpu).collect(), f64::total_cmp).unwrap_or_default(),
                meshwork_is: ours / per_second,
            });
        }
    }
    cells
}

fn of(rounds: &[Round], system: System, clients: usize) -> impl Iterator<Item = &Round> {
    rounds.iter().filter(move |round| round.system == system && round.clients == clients)
}

/// The one in the middle.
fn middle<T: Copy>(mut values: Vec<T>, order: impl FnMut(&T, &T) -> std::cmp::Ordering) -> Option<T> {
    values.sort_unstable_by(order);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(system: System, millis: u64) -> Round {
        let measured = Measured::of(&[1_000, 2_000, 3_000, 4_000], Duration::from_millis(millis));
        Round { system, clients: 1, measured, cpu: Duration::from_millis(8), version: "1".into() }
    }

    #[test]
    fn medians_are_of_the_rounds_and_are_compared_with_ours() {
        let mut rounds: Vec<Round> = [100, 50, 40].map(|millis| round(System::Meshwork, millis)).into();
        rounds.extend([200, 800, 400].map(|millis| round(System::Restate, millis)));
        let cells = cells(&rounds, &[1]);
        let cell = |system| cells.iter().find(|cell| cell.system == system).unwrap();
        assert_eq!(cell(System::Meshwork).per_second, 80.0);
        assert_eq!(cell(System::Meshwork).meshwork_is, 1.0);
        let other = cell(System::Restate);
        assert_eq!((other.per_second, other.meshwork_is, other.cpu_us), (10.0, 8.0, 2_000.0));
        assert_eq!(other.rounds_per_second, [20.0, 5.0, 10.0]);
        assert_eq!(other.p99_us / 10, 400);
    }
}
