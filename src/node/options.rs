//! From the user's configuration to the options of each crate.

use super::{NodeError, membership};
use crate::config::{self, Environment, NodeConfig, ToolConfig, UpstreamConfig};
use meshwork_gateway::{GatewayOptions, HttpOptions, UpstreamOptions, WorkflowLimits};
use meshwork_network::NetworkOptions;
use meshwork_network::trust::{MeshSecret, MeshSecrets, SecretError, Trust};
use meshwork_proto::Json;
use meshwork_storage::{Durability, StoreOptions};
use meshwork_work::executor::{ExecutorOptions, ProcessTool};
use meshwork_work::queue::QueueOptions;
use meshwork_work::schedule::ScheduleOptions;
use meshwork_work::workflow::WorkflowOptions;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const DAY_S: f64 = 24.0 * 3600.0;

pub(super) fn store(config: &NodeConfig) -> StoreOptions {
    let store = &config.store;
    StoreOptions {
        durability: match store.durability {
            config::Durability::Fsync => Durability::Fsync,
            config::Durability::Os => Durability::Os,
        },
        disk_reserve_bytes: store.disk_reserve_mb * MIB,
        artifact_max_bytes: store.artifact_max_mb * MIB,
        artifact_quota_bytes: store.artifact_quota_mb * MIB,
        artifact_grace: Duration::from_secs_f64(store.artifact_grace_h * 3600.0),
        block_cache_bytes: usize::try_from(store.block_cache_mb * MIB).unwrap_or(usize::MAX),
        ..StoreOptions::at(config.data().store())
    }
}

/// Whom to trust: the secret comes with an invitation, from the configuration, from a file, or is made at the first start.
pub(super) fn trust(config: &NodeConfig) -> Result<Trust, NodeError> {
    Ok(Trust {
        secrets: secrets(config).map_err(NodeError::of)?,
        allow: config.p2p.allow.iter().cloned().collect(),
        admins: config.p2p.admin.iter().cloned().collect(),
    })
}

fn secrets(config: &NodeConfig) -> Result<MeshSecrets, SecretError> {
    let p2p = &config.p2p;
    if let Some(invitation) = p2p.invitation() {
        // Kept, so that the node comes back without the invitation.
        MeshSecret::from_bytes(&invitation.secret)?.keep(&config.data().mesh_secret())
    } else if let Some(text) = &p2p.mesh_secret {
        Ok(MeshSecret::parse(text.expose())?.into())
    } else {
        MeshSecrets::load_or_create(&secret_file(config))
    }
}

/// Where the mesh secrets of the node are, unless they come from the configuration itself.
fn secret_file(config: &NodeConfig) -> PathBuf {
    config.p2p.mesh_secret_file.clone().unwrap_or_else(|| config.data().mesh_secret())
}

/// The file with the secrets that a running node watches; none when the configuration itself holds the secret.
pub(super) fn watched_secret_file(config: &NodeConfig) -> Option<PathBuf> {
    let p2p = &config.p2p;
    match (p2p.invitation(), &p2p.mesh_secret) {
        (Some(_), _) => Some(config.data().mesh_secret()),
        (None, Some(_)) => None,
        (None, None) => Some(secret_file(config)),
    }
}

pub(super) fn network(config: &NodeConfig, environment: &Environment) -> NetworkOptions {
    NetworkOptions {
        listen: config.p2p.listen.clone(),
        external: config.p2p.external.clone(),
        seed: rand::random(),
        // A secret that comes with a pairing would not be read again if the configuration itself holds one.
        secret_file: watched_secret_file(config),
        reach: membership::reach(config, environment),
        revoked_file: Some(config.data().revoked()),
        ..NetworkOptions::default()
    }
}

pub(super) fn queue(config: &NodeConfig) -> QueueOptions {
    let queue = &config.p2p.taskqueue;
    QueueOptions {
        max_tasks: queue.max_tasks,
        max_payload_bytes: queue.max_payload_bytes,
        lease_s: queue.lease_s,
        lost_peer_grace_s: queue.worker_grace_s,
        max_lease_losses: queue.max_lease_losses,
        retention_s: queue.retention_h * 3600.0,
        backoff_min_s: queue.backoff_s,
        backoff_max_s: queue.backoff_max_s,
        tenant_limit: queue.tenant_running,
        spec_cache_bytes: queue.payload_cache_mb * MIB,
        ..QueueOptions::default()
    }
}

pub(super) fn workflows(config: &NodeConfig) -> WorkflowOptions {
    let workflows = &config.workflows;
    WorkflowOptions {
        max_running: workflows.max_running,
        max_unfinished: workflows.max_unfinished,
        max_in_flight: workflows.max_in_flight,
        max_steps: workflows.max_steps,
        max_items: workflows.max_items,
        max_depth: workflows.max_depth,
        max_definition_bytes: workflows.definition_bytes,
        max_inputs_bytes: workflows.inputs_bytes,
        max_output_bytes: workflows.output_bytes,
        retention_s: workflows.keep_days * DAY_S,
        max_finished: workflows.keep_runs,
        pure_retention_s: workflows.pure_days * DAY_S,
        max_pure: workflows.pure_results,
        ..WorkflowOptions::default()
    }
}

pub(super) fn schedules(config: &NodeConfig) -> ScheduleOptions {
    ScheduleOptions { max_schedules: config.schedules.max, ..ScheduleOptions::default() }
}

pub(super) fn executor(config: &NodeConfig) -> ExecutorOptions {
    ExecutorOptions {
        slots: config.executor.slots,
        file_roots: config.executor.cid_paths.clone(),
        tools: config.executor.tools.iter().map(process_tool).collect(),
        max_input_bytes: config.p2p.taskqueue.max_payload_bytes,
        scratch_dir: Some(config.data_dir.join("scratch")),
        ..ExecutorOptions::default()
    }
}

fn process_tool(tool: &ToolConfig) -> ProcessTool {
    ProcessTool {
        description: tool.description.clone(),
        input_schema: Json::from_value(&tool.input_schema),
        env: tool.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
        concurrency: tool.concurrency,
        timeout_s: tool.timeout_s,
        memory_bytes: tool.memory_mb.map(|mib| mib * MIB),
        cpu_s: tool.cpu_s,
        output_bytes: tool.output_kb * 1024,
        read_paths: tool.read_paths.clone(),
        write_paths: tool.write_paths.clone(),
        ..ProcessTool::new(tool.name.clone(), tool.command.clone())
    }
}

/// What upstream servers inherit of the node's own environment: where programs are, whose they are, how they speak.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"];

pub(super) fn gateway(config: &NodeConfig, environment: &Environment) -> GatewayOptions {
    let mut http = HttpOptions {
        // A payload as it stands in a call: escaped, and with the call around it.
        max_body_bytes: usize::try_from(config.p2p.taskqueue.max_payload_bytes.saturating_mul(3) / 2 + MIB)
            .unwrap_or(usize::MAX),
        ..HttpOptions::default()
    };
    http.allowed_hosts.extend(config.server.allowed_hosts.iter().cloned());
    http.allowed_origins.extend(config.server.allowed_origins.iter().cloned());
    GatewayOptions {
        http,
        workflows: WorkflowLimits {
            definition_bytes: config.workflows.definition_bytes,
            inputs_bytes: config.workflows.inputs_bytes,
        },
        upstreams: config.upstreams.iter().map(upstream).collect(),
        base_env: INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), environment.get(name)?.to_owned())))
            .collect(),
        seed: rand::random(),
        ..GatewayOptions::default()
    }
}

fn upstream(upstream: &UpstreamConfig) -> UpstreamOptions {
    let mut options = match &upstream.url {
        Some(url) => UpstreamOptions::url(&upstream.name, url),
        None => UpstreamOptions::command(&upstream.name, &upstream.command),
    };
    options.env =
        upstream.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    options.headers =
        upstream.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    options.cwd.clone_from(&upstream.cwd);
    options.startup_timeout = Duration::from_secs_f64(upstream.startup_timeout_s);
    options.call_timeout = Duration::from_secs_f64(upstream.call_timeout_s);
    options.concurrency = upstream.concurrency;
    options.tools = (!upstream.tools.is_empty()).then(|| upstream.tools.iter().cloned().collect());
    options
}
