//! `meshwork bench`: what each operation of the queue costs between two nodes on loopback, over one kept connection
//! ([`operations`]); what being a mesh costs ([`mesh`]); and what workflows cost ([`workflow`]).
//!
//! The node under test is a process of its own with an empty store; the other node is this process, so that the
//! CPU time of the first is that of serving only. Every figure comes with the disk's own rate of fsyncs, measured
//! before and after in the same run: durable writes cannot be quicker than that, but for sharing one.

mod disk;
mod drive;
mod footprint;
mod mesh;
mod operations;
mod report;
mod workflow;

use crate::child::ChildNode;
use crate::cli::{BenchArgs, BenchPart};
use crate::client::ClientError;
use crate::output::{Failure, Output};
use meshwork_network::MeshClient;
use meshwork_network::identity::NodeIdentity;
use meshwork_network::trust::MeshSecrets;
use meshwork_proto::{MeshError, WorkerId};
use report::{Cell, Report};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Files, processes.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A node did not start.
    #[error(transparent)]
    Child(#[from] crate::child::ChildError),
    /// A request failed: a figure that counts failures as work would be wrong, so the run ends.
    #[error("a request failed: {0}")]
    Request(#[from] MeshError),
    /// The same for a call of an MCP client.
    #[error("a call failed: {0}")]
    Call(#[from] ClientError),
    /// A run of a workflow is not where it must be.
    #[error("a run of a workflow went wrong: {0}")]
    Run(String),
    /// Something was not true of a simulated mesh that must be: its figures would be those of a broken one.
    #[error("the simulated mesh is broken: {0}")]
    Simulated(String),
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        Self::internal(error.to_string())
    }
}

/// Requests in flight of the three cells of each operation.
pub(crate) const IN_FLIGHT: [usize; 3] = [1, 16, 64];
/// No request of a measurement takes longer.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// Measures everything and shows the report.
pub(crate) async fn run(options: &BenchArgs, output: Output) -> Result<(), Failure> {
    let report = measure(options, output).await.map_err(Failure::from)?;
    if let Some(file) = &options.json_file {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Failure::internal(error.to_string()))?;
        std::fs::write(file, text)
            .map_err(|error| Failure::internal(format!("{}: {error}", file.display())))?;
    }
    if output.is_json() { output.json(&report) } else { output.line(report.text(output)) }
}

async fn measure(options: &BenchArgs, output: Output) -> Result<Report, BenchError> {
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let work = tempfile::Builder::new().prefix("meshwork-bench-").tempdir_in(&parent)?;
    let mut report = Report::new(options, disk::probe(work.path())?);
    if options.measures(BenchPart::Queue) {
        measure_queue(work.path(), options, output, &mut report).await?;
    }
    if options.measures(BenchPart::Mesh) {
        report.mesh = Some(mesh::measure(work.path(), options, output).await?);
    }
    if options.measures(BenchPart::Workflow) {
        report.workflow = Some(workflow::measure(work.path(), options, output).await?);
    }
    Ok(report)
}

async fn measure_queue(
    work: &Path,
    options: &BenchArgs,
    output: Output,
    report: &mut Report,
) -> Result<(), BenchError> {
    let cells = (2 * operations::Operation::ALL.len() * IN_FLIGHT.len()) as u64;
    let mut progress = output.progress();
    for durability in ["fsync", "os"] {
        for in_flight in IN_FLIGHT {
            let dir = work.join(format!("{durability}-{in_flight}"));
            let mut bench = Bench::start(&dir, durability).await?;
            for operation in operations::Operation::ALL {
                progress.say(format!("{durability}, {in_flight} in flight: {}", operation.name()));
                let cell = bench.cell(operation, in_flight, durability, options).await?;
                report.cells.push(cell);
                progress.advance(report.cells.len() as u64, Some(cells));
            }
            bench.stop(&dir).await?;
        }
    }
    progress.finish();
    report.footprint = footprint::measure(work, options, output).await?;
    report.disk_after = disk::probe(work)?;
    Ok(())
}

/// One node under test and the connection to it.
pub(crate) struct Bench {
    pub(crate) node: ChildNode,
    pub(crate) client: Arc<MeshClient>,
    /// This process as a worker.
    pub(crate) worker: WorkerId,
}

impl Bench {
    /// Starts a node that runs no tasks itself, and connects to it.
    pub(crate) async fn start(dir: &Path, durability: &str) -> Result<Self, BenchError> {
        let secret_file = dir.with_extension("secret");
        let secrets = MeshSecrets::load_or_create(&secret_file).map_err(std::io::Error::other)?;
        let secret_arg = secret_file.display().to_string();
        let args = [
            "--durability",
            durability,
            "--mesh-secret-file",
            &secret_arg,
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ];
        let node = ChildNode::start(dir, &args).await?;
        let identity = NodeIdentity::generate();
        let worker = WorkerId::of_peer(&identity.peer_id(), 1);
        let client = MeshClient::connect(identity, secrets, &node.address(), WITHIN)
            .await
            .map_err(|error| MeshError::from_coded(&error))?;
        Ok(Self { node, client: Arc::new(client), worker })
    }

    async fn cell(
        &mut self,
        operation: operations::Operation,
        in_flight: usize,
        durability: &'static str,
        options: &BenchArgs,
    ) -> Result<Cell, BenchError> {
        let prepared = operation.prepare(&self.client, &self.worker, options).await?;
        let cpu_before = self.node.cpu_time()?;
        let measured = drive::closed_loop(in_flight, Duration::from_secs_f64(options.seconds), |lane| {
            operation.step(Arc::clone(&self.client), &prepared, lane)
        })
        .await?;
        let cpu = self.node.cpu_time()?.saturating_sub(cpu_before);
        operation.clean_up(&self.client, &prepared).await?;
        Ok(Cell::new(operation.name(), durability, in_flight, &measured, cpu))
    }

    async fn stop(mut self, dir: &Path) -> Result<(), BenchError> {
        self.node.kill().await?;
        // The stores of a whole run would not fit everywhere.
        std::fs::remove_dir_all(dir)?;
        Ok(())
    }
}
