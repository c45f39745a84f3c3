//! A server's process and whatever it starts: one process group that ends as a whole.

use crate::options::UpstreamOptions;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// How long a server may take to end after its input was closed, and again after it was asked to by a signal.
const POLITE: Duration = Duration::from_secs(2);

/// The leader of a process group. Dropping it kills the group.
pub(super) struct Group {
    child: Child,
    group: Option<Pid>,
}

/// The streams of a server's process.
pub(super) struct Streams {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
    pub(super) errors: ChildStderr,
}

impl Group {
    /// Starts a server's command in a group of its own, with the environment given and no other.
    pub(super) fn spawn(
        options: &UpstreamOptions,
        base_env: &BTreeMap<String, String>,
    ) -> Result<(Self, Streams), String> {
        let Some((program, arguments)) = options.command.split_first() else {
            return Err("no command is configured".into());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(base_env)
            .envs(&options.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cwd) = &options.cwd {
            command.current_dir(cwd);
        }
        let mut child = command.spawn().map_err(|error| format!("{program:?} cannot be started: {error}"))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = streams else {
            return Err(format!("{program:?} has no streams"));
        };
        Ok((Self { child, group }, Streams { input, output, errors }))
    }

    /// How the leader ended, if it has.
    pub(super) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends the group, after its input was closed: waits, asks by SIGTERM, waits, kills.
    pub(super) async fn end(&mut self) {
        if self.wait(POLITE).await {
            return self.kill_rest();
        }
        self.signal(Signal::SIGTERM);
        self.wait(POLITE).await;
        self.kill_rest();
        // Killed processes end at once; this only collects the leader.
        self.wait(POLITE).await;
    }

    async fn wait(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.child.wait()).await.is_ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // ESRCH: the group has ended already.
            let _ = killpg(group, signal);
        }
    }

    /// Kills what is left of the group. Once only: later its number may belong to another.
    fn kill_rest(&mut self) {
        self.signal(Signal::SIGKILL);
        self.group = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill_rest();
    }
}
