//! The configuration as the node reads it: one struct per section.
//!
//! There are no defaults here: every value comes out of [`super::schema`], so a key that is missing in one of the two
//! is found by the tests.

mod membership;
mod workflows;

pub(crate) use membership::{BootstrapConfig, DiscoveryConfig, Mdns, PublicIpConfig, ReachConfig};
pub(crate) use workflows::{SchedulesConfig, WorkflowsConfig};

use meshwork_proto::PeerId;
use meshwork_proto::invite::Invitation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Text that must not be shown: neither logs nor `config print` reveal it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(String);

impl Hidden {
    /// What stands for it wherever it would be shown.
    pub(crate) const MASK: &'static str = "<hidden>";

    /// The text itself, for whoever needs it.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::MASK)
    }
}

/// Everything that can be set about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// Where the node keeps its key, its secret and its database.
    pub(crate) data_dir: PathBuf,
    /// What is logged.
    pub(crate) log: LogConfig,
    /// What is served over HTTP.
    pub(crate) server: ServerConfig,
    /// Peers, trust and the task queue.
    pub(crate) p2p: P2pConfig,
    /// The database.
    pub(crate) store: StoreConfig,
    /// Tools and how many run.
    pub(crate) executor: ExecutorConfig,
    /// MCP servers whose tools the node offers.
    pub(crate) upstreams: Vec<UpstreamConfig>,
    /// Runs of workflows.
    pub(crate) workflows: WorkflowsConfig,
    /// Schedules of tasks and workflows.
    pub(crate) schedules: SchedulesConfig,
}

impl NodeConfig {
    /// The layout of the data directory.
    #[must_use]
    pub(crate) fn data(&self) -> super::DataDir {
        super::DataDir::at(&self.data_dir)
    }
}

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// A level, or directives as `tracing_subscriber::EnvFilter` reads them.
    pub(crate) level: String,
    /// Form of the lines.
    pub(crate) format: LogFormat,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// MCP, and the rest unless `admin_http` is given.
    pub(crate) http: SocketAddr,
    /// Health, metrics and status.
    pub(crate) admin_http: Option<SocketAddr>,
    /// HTTP may be served on addresses other than loopback.
    pub(crate) allow_remote: bool,
    /// Further names for this node in the Host header.
    pub(crate) allowed_hosts: Vec<String>,
    /// Further origins of web pages.
    pub(crate) allowed_origins: Vec<String>,
}

/// Section `p2p`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct P2pConfig {
    /// Multiaddresses to listen on.
    pub(crate) listen: Vec<String>,
    /// Multiaddresses at which peers reach this node from outside.
    pub(crate) external: Vec<String>,
    /// Multiaddresses of peers to stay connected with.
    pub(crate) peers: Vec<String>,
    /// An invitation, already checked: see [`P2pConfig::invitation`].
    pub(crate) join: Option<Hidden>,
    /// The mesh secret as text.
    pub(crate) mesh_secret: Option<Hidden>,
    /// File with the mesh secret.
    pub(crate) mesh_secret_file: Option<PathBuf>,
    /// Peers admitted without the secret.
    pub(crate) allow: Vec<PeerId>,
    /// Peers with the admin role.
    pub(crate) admin: Vec<PeerId>,
    /// How peers are found, kept and forgotten.
    pub(crate) discovery: DiscoveryConfig,
    /// Where first contacts come from.
    pub(crate) bootstrap: BootstrapConfig,
    /// How others reach this node.
    pub(crate) reach: ReachConfig,
    /// How the public address is found out.
    pub(crate) public_ip: PublicIpConfig,
    /// The task queue.
    pub(crate) taskqueue: TaskqueueConfig,
}

impl P2pConfig {
    /// The invitation, if one was given. At most one of it, `mesh_secret` and `mesh_secret_file` is.
    #[must_use]
    pub(crate) fn invitation(&self) -> Option<Invitation> {
        // Checked when the configuration was loaded.
        self.join.as_ref().and_then(|text| Invitation::parse(text.expose()).ok())
    }
}

/// Section `p2p.taskqueue`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskqueueConfig {
    /// Most unfinished tasks.
    pub(crate) max_tasks: u64,
    /// Largest payload or result in bytes.
    pub(crate) max_payload_bytes: u64,
    /// Length of a lease in seconds.
    pub(crate) lease_s: f64,
    /// Seconds from a lost connection to freed leases.
    pub(crate) worker_grace_s: f64,
    /// Lost leases until a task fails.
    pub(crate) max_lease_losses: u32,
    /// Hours that finished tasks are kept.
    pub(crate) retention_h: f64,
    /// Seconds before the second attempt.
    pub(crate) backoff_s: f64,
    /// Most seconds between attempts.
    pub(crate) backoff_max_s: f64,
    /// Most running tasks of one tenant.
    pub(crate) tenant_running: Option<u32>,
    /// Memory for payloads of waiting tasks, in MiB.
    pub(crate) payload_cache_mb: u64,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// After the fsync: it survives power loss.
    Fsync,
    /// After the write: it survives a killed process.
    Os,
}

/// Section `store`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// When a write is acknowledged.
    pub(crate) durability: Durability,
    /// MiB of disk that only accepted work may use.
    pub(crate) disk_reserve_mb: u64,
    /// Largest artifact in MiB.
    pub(crate) artifact_max_mb: u64,
    /// MiB for all artifacts.
    pub(crate) artifact_quota_mb: u64,
    /// Hours that an artifact that no task needs is kept.
    pub(crate) artifact_grace_h: f64,
    /// MiB of block cache.
    pub(crate) block_cache_mb: u64,
}

/// Section `executor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecutorConfig {
    /// Runs at the same time; none: twice the cores, at least 4.
    pub(crate) slots: Option<u32>,
    /// Labels that tasks can ask for.
    pub(crate) labels: Vec<String>,
    /// Directories whose files the built-in tool `cid` may read.
    pub(crate) cid_paths: Vec<PathBuf>,
    /// Process tools.
    pub(crate) tools: Vec<ToolConfig>,
}

/// One process tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolConfig {
    /// Name.
    pub(crate) name: String,
    /// What it does.
    pub(crate) description: String,
    /// Program and arguments; at least the program.
    pub(crate) command: Vec<String>,
    /// JSON Schema of the arguments, an object.
    pub(crate) input_schema: Value,
    /// Environment of the program.
    pub(crate) env: BTreeMap<String, Hidden>,
    /// Runs at the same time.
    pub(crate) concurrency: u32,
    /// Longest run in seconds.
    pub(crate) timeout_s: f64,
    /// MiB of address space.
    pub(crate) memory_mb: Option<u64>,
    /// Seconds of processor time.
    pub(crate) cpu_s: Option<u64>,
    /// KiB of output.
    pub(crate) output_kb: u64,
    /// What it may read.
    pub(crate) read_paths: Vec<PathBuf>,
    /// What it may write.
    pub(crate) write_paths: Vec<PathBuf>,
}

/// One upstream MCP server; exactly one of `command` and `url` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamConfig {
    /// Prefix of its tools.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Address.
    pub(crate) url: Option<String>,
    /// Variables of the program.
    pub(crate) env: BTreeMap<String, Hidden>,
    /// HTTP headers of requests to `url`.
    pub(crate) headers: BTreeMap<String, Hidden>,
    /// Working directory of the program.
    pub(crate) cwd: Option<PathBuf>,
    /// Seconds until it has told its tools.
    pub(crate) startup_timeout_s: f64,
    /// Seconds that a call may take.
    pub(crate) call_timeout_s: f64,
    /// Calls at the same time.
    pub(crate) concurrency: u32,
    /// Which tools; empty: all.
    pub(crate) tools: Vec<String>,
}
