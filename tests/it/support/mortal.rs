//! Nodes that are killed and started again, and the small mesh of them that the tests with SIGKILL use.

use super::{Node, config, invitation};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::RwLock;

/// A node that is killed and started again in the same directory with the same addresses.
pub(crate) struct Mortal {
    node: RwLock<Option<Node>>,
    dir: PathBuf,
    args: Vec<String>,
}

impl Mortal {
    async fn start(dir: PathBuf, args: Vec<String>) -> Self {
        let node = Node::start(&dir, &args).await;
        Self { node: RwLock::new(Some(node)), dir, args }
    }

    pub(crate) async fn kill_and_restart(&self) {
        let mut node = self.node.write().await;
        if let Some(mut node) = node.take() {
            node.kill().await;
        }
        *node = Some(Node::start(&self.dir, &self.args).await);
    }

    /// Calls a tool; none when the node is away or died during the call.
    pub(crate) async fn try_tool(&self, tool: &str, arguments: Value) -> Option<Result<Value, Value>> {
        let node = self.node.read().await;
        match node.as_ref()?.tool(tool, arguments).await {
            Err(error) if error["code"] == "http" || error["code"] == "unavailable" => None,
            answer => Some(answer),
        }
    }

    pub(crate) async fn log(&self) -> String {
        self.node.read().await.as_ref().map(Node::log).unwrap_or_default()
    }
}

/// A seed for the moments of a test: printed, and taken from this variable to repeat a run.
pub(crate) fn seed(variable: &str) -> u64 {
    let given = std::env::var(variable).ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    eprintln!("{variable}={seed}");
    seed
}

/// An owner that executes nothing, and two workers with one process tool, which may write to `dir`.
pub(crate) async fn owner_and_workers(dir: &Path, tool: &str, script: &str) -> (Arc<Mortal>, Vec<Mortal>) {
    let owner_file =
        config(dir, "owner.yaml", "executor:\n  slots: 0\np2p:\n  taskqueue:\n    max_lease_losses: 100\n");
    let worker_file = config(
        dir,
        "worker.yaml",
        &format!(
            "executor:
  slots: 4
  tools:
    - name: {tool}
      description: Notes that it ran
      concurrency: 4
      command: [/bin/sh, -c, '{script}']
      write_paths: [{dir}]
",
            dir = dir.display(),
        ),
    );
    // A fixed port, so that the workers find the owner again after its death.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let owner =
        Mortal::start(dir.join("owner"), vec!["--config".into(), owner_file, "--listen".into(), listen])
            .await;
    let invitation = invitation(owner.node.read().await.as_ref().unwrap()).await;
    let mut workers = Vec::new();
    for name in ["one", "two"] {
        let args = vec!["--config".into(), worker_file.clone(), "--join".into(), invitation.clone()];
        workers.push(Mortal::start(dir.join(name), args).await);
    }
    (Arc::new(owner), workers)
}
