//! The three nodes of the demo and their configuration.

use super::Plan;
use crate::child::{ChildError, ChildNode};
use crate::client::NodeClient;
use crate::output::Failure;
use meshwork_proto::ErrorCode;
use meshwork_proto::invite::Invitation;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The tool of the MCP server that the demo uses, as the mesh names it.
pub(super) const GIT_TOOL: &str = "git__git_log";
/// The process tool of the demo.
pub(super) const COMPRESS_TOOL: &str = "compress";
/// Name of the MCP server in the configuration.
const GIT_SERVER: &str = "git";

/// Three running nodes; they end with this value.
pub(super) struct Mesh {
    pub(super) owner: ChildNode,
    pub(super) git: ChildNode,
    pub(super) victim: ChildNode,
    // Removed after the nodes have ended: fields are dropped in order.
    dir: TempDir,
}

impl Mesh {
    pub(super) async fn start(plan: &Plan) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("meshwork-demo-").tempdir().map_err(io)?;
        let path = dir.path();
        let program = path.join("compress.py");
        std::fs::write(&program, include_str!("compress.py")).map_err(io)?;
        let tool = compress_tool(plan, &program);
        let owner_file = write(path, "owner", &json!({"executor": {"slots": 0}}))?;
        let git_file = write(
            path,
            "git",
            &json!({
                "executor": {"slots": 2, "tools": [tool]},
                "upstreams": [{"name": GIT_SERVER, "command": [plan.git_server]}],
            }),
        )?;
        let victim_file = write(path, "compress", &json!({"executor": {"slots": 2, "tools": [tool]}}))?;
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let owner =
            ChildNode::start(&path.join("owner-data"), &with(&listen, &["--config", &owner_file])).await;
        let owner = owner.map_err(child)?;
        let invitation = invite(&owner)?;
        let git_args = with(&listen, &["--config", &git_file, "--join", &invitation]);
        let victim_args = with(&listen, &["--config", &victim_file, "--join", &invitation]);
        let (git_dir, victim_dir) = (path.join("git-data"), path.join("compress-data"));
        let (git, victim) = tokio::try_join!(
            ChildNode::start(&git_dir, &git_args),
            ChildNode::start(&victim_dir, &victim_args)
        )
        .map_err(child)?;
        Ok(Self { owner, git, victim, dir })
    }

    /// Ends the nodes; keeps their directories if asked to, and says where they are.
    pub(super) fn keep(self, keep: bool) -> Option<PathBuf> {
        keep.then(|| self.dir.keep())
    }

    /// Waits until the owner knows both workers, and that the MCP server's tools are among theirs.
    pub(super) async fn wait_until_joined(&self, client: &NodeClient) -> Result<(), Failure> {
        for _ in 0..600 {
            let stats = super::call(client, "p2p_taskqueue_worker_stats", json!({})).await?;
            let workers = stats["workers"].as_array().cloned().unwrap_or_default();
            let serves = |peer: &str, tool: &str| {
                workers.iter().any(|worker| {
                    worker["worker_id"].as_str().is_some_and(|id| id.starts_with(peer))
                        && worker["tools"]
                            .as_array()
                            .is_some_and(|tools| tools.iter().any(|name| name == tool))
                })
            };
            if serves(&self.git.ready.peer_id, GIT_TOOL) && serves(&self.victim.ready.peer_id, COMPRESS_TOOL)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Failure::new(
            ErrorCode::Timeout,
            format!(
                "the workers did not offer their tools within 30 s: does {} run by itself? Their logs:\n{}",
                GIT_SERVER,
                self.git.log_end()
            ),
        ))
    }
}

fn compress_tool(plan: &Plan, program: &Path) -> serde_json::Value {
    json!({
        "name": COMPRESS_TOOL,
        "description": "Compresses a file with LZMA and tells how small it became",
        "command": ["/usr/bin/env", "python3", program],
        "input_schema": {
            "type": "object",
            "properties": {"path": {"type": "string", "description": "File to compress"}},
            "required": ["path"],
        },
        "concurrency": 2,
        "timeout_s": 30,
        "read_paths": [plan.repository, program],
    })
}

/// An invitation to the owner: made from its data directory, as `meshwork invite` does.
fn invite(owner: &ChildNode) -> Result<String, Failure> {
    let data = crate::config::DataDir::at(&owner.data_dir);
    let secrets = meshwork_network::trust::MeshSecrets::load_or_create(&data.mesh_secret())
        .map_err(|error| Failure::internal(error.to_string()))?;
    let secret = secrets.shown().ok_or_else(|| Failure::internal("the owner has no mesh secret"))?;
    let peer = owner.ready.peer_id.parse().map_err(|error| Failure::internal(format!("{error}")))?;
    let address = owner.address();
    let address = address.split("/p2p/").next().unwrap_or(&address).to_owned();
    Invitation { peer, addresses: vec![address], secret: secret.expose().to_vec() }
        .to_text()
        .map_err(|error| Failure::from_coded(&error))
}

/// JSON is YAML as well.
fn write(dir: &Path, name: &str, config: &serde_json::Value) -> Result<String, Failure> {
    let file = dir.join(format!("{name}.yaml"));
    std::fs::write(&file, config.to_string()).map_err(io)?;
    Ok(file.display().to_string())
}

fn with<'a>(common: &[&'a str], own: &[&'a str]) -> Vec<&'a str> {
    common.iter().chain(own).copied().collect()
}

/// The end of a peer id, enough to tell three nodes apart.
pub(super) fn short(peer_id: &str) -> &str {
    peer_id.get(peer_id.len().saturating_sub(8)..).unwrap_or(peer_id)
}

fn io(error: std::io::Error) -> Failure {
    Failure::internal(error.to_string())
}

fn child(error: ChildError) -> Failure {
    Failure::internal(error.to_string())
}
