//! Nodes as child processes of this one: what the demo and the measurements are made of.

use crate::node::ReadyLine;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a node may take to become ready (a million tasks are read from disk in that time).
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A node that runs as a process of its own and ends with this value.
pub(crate) struct ChildNode {
    child: Child,
    /// What it said when it was ready.
    pub(crate) ready: ReadyLine,
    /// How long it took until then.
    pub(crate) started_in: Duration,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// The process could not be made, or its output not read.
    #[error("node process: {0}")]
    Io(#[from] io::Error),
    /// It ended, or said something else.
    #[error("node in {data_dir} did not become ready; the end of its log:\n{log}")]
    NotReady {
        /// Its data directory.
        data_dir: PathBuf,
        /// The last lines of its log.
        log: String,
    },
}

impl ChildNode {
    /// Starts `meshwork run` on loopback with ports of the system's choice, and waits until it is ready.
    pub(crate) async fn start<S: AsRef<OsStr>>(data_dir: &Path, args: &[S]) -> Result<Self, ChildError> {
        Self::start_with(data_dir, args, &[]).await
    }

    /// The same with these variables beside those of this process.
    pub(crate) async fn start_with<S: AsRef<OsStr>>(
        data_dir: &Path,
        args: &[S],
        env: &[(&str, &str)],
    ) -> Result<Self, ChildError> {
        std::fs::create_dir_all(data_dir)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(data_dir))?;
        let begun = tokio::time::Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run")
            .arg("--json")
            .args(["--http", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let line = tokio::time::timeout(READY_WITHIN, BufReader::new(stdout).lines().next_line()).await;
        let ready = match line {
            Ok(Ok(Some(line))) => serde_json::from_str::<ReadyLine>(&line).ok(),
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(None)) | Err(_) => None,
        };
        let data_dir = data_dir.to_owned();
        match ready {
            Some(ready) => Ok(Self { child, ready, started_in: begun.elapsed(), data_dir }),
            None => Err(ChildError::NotReady { log: log_end(&data_dir), data_dir }),
        }
    }

    /// Its process id; 0 once it has been waited for.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Ends it at once with SIGKILL and waits for it.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// CPU time its process has used, user and system.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        cpu_time_of(self.pid())
    }

    /// Resident memory of its process in bytes.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .ok_or_else(|| io::Error::other("resident memory is not in /proc"))
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        log_end(&self.data_dir)
    }

    /// The address to dial it at.
    pub(crate) fn address(&self) -> String {
        let loopback = self.ready.listen.iter().find(|address| address.contains("/127.0.0.1/tcp/"));
        loopback.or_else(|| self.ready.listen.first()).cloned().unwrap_or_default()
    }
}

/// CPU time that a process has used, user and system.
pub(crate) fn cpu_time_of(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in brackets and may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    // Fields 14 and 15 of proc(5): a hundredth of a second each on every Linux.
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(io::Error::other("CPU time is not in /proc")),
    }
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("node.log")
}

/// The last lines of a node's log.
fn log_end(data_dir: &Path) -> String {
    let text = std::fs::read_to_string(log_path(data_dir)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
