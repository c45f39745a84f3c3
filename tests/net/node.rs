//! A node on a host of the laboratory, and its command line there.

use crate::lab::Space;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long anything may take before a test says that it never happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What all nodes of the laboratory know.
const SECRET: &str = "the secret of the laboratory mesh";
/// Where each node serves MCP: every host has a loopback of its own.
const HTTP: &str = "127.0.0.1:8000";

/// A node process; killed when dropped.
pub(crate) struct Node<'a> {
    host: &'a Space,
    _child: Child,
    dir: PathBuf,
    ready: Value,
}

impl<'a> Node<'a> {
    /// Starts a node on a host and waits until it is ready. `configuration` is YAML.
    pub(crate) async fn start(host: &'a Space, dir: &Path, configuration: &str) -> Self {
        let dir = dir.join(&host.name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("node.yaml"), configuration).unwrap();
        let log = std::fs::File::create(dir.join("node.log")).unwrap();
        let mut child = inside(host)
            .args(["run", "--json", "--http", HTTP])
            .arg("--config")
            .arg(dir.join("node.yaml"))
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env("MESHWORK_MESH_SECRET", SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let line = tokio::time::timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
        let Ok(Ok(Some(line))) = line else {
            panic!("node on {} is not ready:\n{}", host.name, read_log(&dir))
        };
        let ready = serde_json::from_str(&line).unwrap();
        Self { host, _child: child, dir, ready }
    }

    pub(crate) fn peer_id(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap()
    }

    /// Its TCP address on its host's network, with the peer id.
    pub(crate) fn at(&self, ip: &str) -> String {
        format!("/ip4/{ip}/tcp/4001/p2p/{}", self.peer_id())
    }

    /// Its QUIC address.
    pub(crate) fn quic_at(&self, ip: &str) -> String {
        format!("/ip4/{ip}/udp/4001/quic-v1/p2p/{}", self.peer_id())
    }

    /// Runs a command of the node's command line on its host, and gives what it printed as JSON.
    pub(crate) async fn cli(&self, words: &[&str]) -> Result<Value, String> {
        let mut command = inside(self.host);
        command.args(words).arg("--json").env("MESHWORK_URL", format!("http://{HTTP}/mcp"));
        let output = tokio::time::timeout(PATIENCE + PATIENCE, command.stdin(Stdio::null()).output());
        let output = output.await.map_err(|_| format!("{words:?} hangs"))?.unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{words:?}: {error}"))
    }

    /// What `peers list` says of another node; null when it is not listed.
    pub(crate) async fn peer(&self, other: &Node<'_>) -> Value {
        let listed = match self.cli(&["peers", "list"]).await {
            Ok(listed) => listed,
            Err(error) => panic!("peers list at {}: {error}\n{}", self.host.name, read_log(&self.dir)),
        };
        let peers = listed["peers"].as_array().cloned().unwrap_or_default();
        peers.into_iter().find(|peer| peer["peer_id"] == other.peer_id()).unwrap_or_default()
    }

    /// Waits until another node is in this state here, and gives what is known of it.
    pub(crate) async fn sees(&self, other: &Node<'_>, state: &str) -> Value {
        self.until(&format!("{} is {state}", other.host.name), async || {
            let peer = self.peer(other).await;
            (peer["state"] == state).then_some(peer)
        })
        .await
    }

    /// Asks again and again until there is an answer; shows the log when there never is.
    pub(crate) async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if Instant::now() >= deadline {
                let (name, log) = (&self.host.name, read_log(&self.dir));
                panic!("never happened at {name}: {what}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Submits an echo task and waits for its end: gives the result record.
    pub(crate) async fn echo(&self, payload: &Value) -> Value {
        match self.try_echo(payload, &[]).await {
            Ok(result) => result,
            Err(error) => panic!("echo at {}: {error}\n{}", self.host.name, read_log(&self.dir)),
        }
    }

    /// Submits an echo task to another node's queue and waits for its end.
    pub(crate) async fn echo_at(&self, other: &Node<'_>, payload: &Value) -> Result<Value, String> {
        self.try_echo(payload, &["--peer", other.peer_id()]).await
    }

    async fn try_echo(&self, payload: &Value, more: &[&str]) -> Result<Value, String> {
        let payload = payload.to_string();
        let mut words = vec!["task", "submit", "--type", "echo", "--payload", &payload, "--wait", "60"];
        words.extend_from_slice(more);
        self.cli(&words).await
    }
}

/// Waits until all see all others as connected.
pub(crate) async fn all_connected(nodes: &[&Node<'_>]) {
    for one in nodes {
        for other in nodes.iter().filter(|other| other.peer_id() != one.peer_id()) {
            one.sees(other, "connected").await;
        }
    }
}

/// The binary under test, on a host.
fn inside(host: &Space) -> Command {
    let [enter, inside @ ..] = host.enter();
    let mut command = Command::new(enter);
    command.args(inside).arg(env!("CARGO_BIN_EXE_meshwork")).env("NO_COLOR", "1");
    command
}

/// The end of a node's log.
fn read_log(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join("node.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
