//! The executor: runs this node's tools, for direct calls and for tasks of this node's queue and of connected peers.
//!
//! Owns: the registry of tools, the places in which calls run, the attempts that run, and the processes of tools.
//! Accepts: [`ListTools`], [`CallTool`], [`StopTask`], [`UpstreamTools`], [`WorkSource`], [`DrainExecutor`],
//! [`GetSlots`]. Asks: this node's own service and peers (claims, renewals, reports), the store's artifacts, the
//! gateway's upstream servers; always from tasks on the runtime, never from its own thread.
//!
//! Invariants:
//! - No tool works behind a lost lease: when a lease cannot be renewed in time, or its owner says that it is lost, the
//!   tool is killed at once and nothing is reported.
//! - Every attempt that was started is reported to its owner, or its lease ends.
//! - No more calls run than there are places, in total and for each tool; claims reserve places before they ask.
//! - No process of a tool's group outlives its call.
//!
//! When the actor restarts, nothing that runs is touched: tasks, leases and places live on the board, which the next
//! incarnation takes over. When the node's process dies, its tools die with it and their leases end at the owners.

mod actor;
mod board;
mod builtin;
mod claim;
mod drain;
mod handlers;
mod leases;
mod logic;
mod metrics;
mod options;
mod payload;
mod process;
mod progress;
mod registry;
mod renew;
mod report;
pub mod sandbox;
mod stop;
mod task;
#[cfg(test)]
mod tests;
mod tool;
mod work;

pub use actor::{ExecutorStatus, RunningTask};
pub use options::{
    DEFAULT_OUTPUT_BYTES, DEFAULT_PROCESS_CONCURRENCY, ExecutorOptions, MAX_PAYLOAD_BYTES, OptionsError,
    ProcessTool,
};

use actor::Executor;
use board::Board;
use meshwork_kit::{ActorRef, Clock, Mailbox, Port, Supervision, mailbox};
use meshwork_proto::PeerId;
use meshwork_proto::artifact::{PutArtifact, ReadArtifact};
use meshwork_proto::executor::{
    CallTool, DrainExecutor, GetSlots, ListTools, StopTask, UpstreamTools, WorkSource,
};
use meshwork_proto::transport::{CallPeer, FetchArtifact, ServeRequest};
use meshwork_proto::upstream::CallUpstream;
use metrics::Metrics;
use process::Spawner;
use registry::Registry;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tool::Tools;
use work::Work;

/// Ways to the executor.
#[derive(Debug, Clone)]
pub struct ExecutorPorts {
    /// Tools of this node.
    pub list: Port<ListTools>,
    /// Run a tool now.
    pub call: Port<CallTool>,
    /// Stop an attempt.
    pub stop: Port<StopTask>,
    /// Tools of an upstream server changed.
    pub upstream_tools: Port<UpstreamTools>,
    /// A peer came or went.
    pub sources: Port<WorkSource>,
    /// Stop taking work.
    pub drain: Port<DrainExecutor>,
    /// Places and labels.
    pub slots: Port<GetSlots>,
}

/// Whom the executor needs, and who it is.
#[derive(Debug, Clone)]
pub struct ExecutorDeps {
    /// Time.
    pub clock: Clock,
    /// This node's own service: claims, renewals and reports of its own tasks.
    pub local: Port<ServeRequest>,
    /// Peers: the same for theirs.
    pub call_peer: Port<CallPeer>,
    /// Brings large payloads of peers here.
    pub fetch: Port<FetchArtifact>,
    /// Keeps large results.
    pub put_artifact: Port<PutArtifact>,
    /// Reads large payloads.
    pub read_artifact: Port<ReadArtifact>,
    /// Upstream MCP servers.
    pub upstream: Port<CallUpstream>,
    /// This node.
    pub local_peer: PeerId,
    /// Random, new at each start of the node: tells this worker from the one before.
    pub incarnation: u32,
    /// Labels of this worker.
    pub labels: BTreeSet<String>,
}

/// Why the executor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory for private working directories cannot be used.
    #[error("directory {} for the tools' working directories cannot be used: {source}", path.display())]
    Scratch {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread that starts processes cannot be made.
    #[error("thread for starting processes cannot be made: {0}")]
    Thread(io::Error),
    /// The registry has metrics of these names.
    #[error("metrics of the executor cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl meshwork_proto::Coded for StartError {
    fn code(&self) -> meshwork_proto::ErrorCode {
        match self {
            Self::Scratch { .. } => meshwork_proto::ErrorCode::Config,
            Self::Thread(_) | Self::Metrics(_) => meshwork_proto::ErrorCode::Internal,
        }
    }
}

/// An executor whose ports exist and that has not been started.
#[derive(Debug)]
pub struct ExecutorSeed {
    mailbox: Mailbox<Executor>,
    options: ExecutorOptions,
}

/// Phase 1: the ports, to hand around; messages wait until [`ExecutorSeed::start`].
///
/// # Errors
/// When an option makes no sense.
pub fn prepare(options: ExecutorOptions) -> Result<(ExecutorPorts, ExecutorSeed), OptionsError> {
    options.check()?;
    let mailbox = mailbox::<Executor>();
    let ports = ExecutorPorts {
        list: mailbox.port(256),
        call: mailbox.port(1_024),
        // What stops work must get in while work waits.
        stop: mailbox.port(4_096),
        upstream_tools: mailbox.port(256),
        sources: mailbox.port(4_096),
        drain: mailbox.port(8),
        slots: mailbox.port(64),
    };
    Ok((ports, ExecutorSeed { mailbox, options }))
}

impl ExecutorSeed {
    /// Phase 2: starts claiming and serving. Uses the file system (the directory for working directories).
    ///
    /// # Errors
    /// When that directory cannot be used, a thread cannot be made, or the metrics are there already.
    pub fn start(
        self,
        sup: &Supervision,
        deps: ExecutorDeps,
        registry: &prometheus::Registry,
    ) -> Result<ActorRef, StartError> {
        let Self { mailbox, options } = self;
        let sandbox = sandbox::support();
        match (sandbox.landlock, options.tools.is_empty()) {
            (None, false) => tracing::warn!("process tools: {sandbox}"),
            _ => tracing::info!("process tools: {sandbox}"),
        }
        let work = build(options, sup.runtime(), deps, registry)?;
        Ok(mailbox.start(sup, move || Executor { work: Arc::clone(&work), sandbox }))
    }
}

/// Everything but the actor.
fn build(
    mut options: ExecutorOptions,
    runtime: &Handle,
    deps: ExecutorDeps,
    registry: &prometheus::Registry,
) -> Result<Arc<Work>, StartError> {
    if let Some(path) = options.scratch_dir.take() {
        // A tool and its launcher have another working directory: a relative path would name something else there.
        let absolute = clean(&path).map_err(|source| StartError::Scratch { path, source })?;
        options.scratch_dir = Some(absolute);
    }
    let spawner = Spawner::start(runtime.clone()).map_err(StartError::Thread)?;
    let metrics = Metrics::register(registry)?;
    let board = Board::new(Registry::new(&options), options.slots(), metrics.clone());
    let tools = Tools::new(Arc::new(options), spawner, deps.upstream.clone(), metrics.clone());
    Ok(Work::new(board, tools, metrics, runtime.clone(), deps))
}

/// Makes the directory, for this user alone, ends what a killed node left running in it and removes what it left
/// there; its absolute path.
fn clean(path: &Path) -> io::Result<PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let path = path.canonicalize()?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    process::leftovers::end(&path);
    for entry in std::fs::read_dir(&path)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(process::SCRATCH_PREFIX.as_bytes()) {
            // A file that cannot be removed is in nobody's way.
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), "left by a tool and cannot be removed: {error}");
            }
        }
    }
    Ok(path)
}
