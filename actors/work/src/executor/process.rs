//! Process tools: one process group per call, from its private directory to its last member's end.
//!
//! However a call ends (by itself, cancelled, out of time, with too much output, with its lease lost, or because the
//! future is dropped with the runtime), no member of its process group is left. A member that put itself into another
//! group or session escapes this; the death of the node itself reaches the tool (`PR_SET_PDEATHSIG`), not its children: those end when the node is
//! started again ([`leftovers`]).

pub(super) mod leftovers;
mod spawner;
mod streams;
#[cfg(test)]
mod tests;

pub(super) use spawner::Spawner;

use super::metrics::Metrics;
use super::options::{ExecutorOptions, ProcessTool};
use super::progress::ProgressSink;
use super::sandbox::{self, Spec};
use super::stop::{Stop, StopReason};
use super::tool::{Ended, TaskTag};
use meshwork_proto::executor::ToolError;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;
use streams::{Log, Output};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// How the names of working directories start.
pub(super) const SCRATCH_PREFIX: &str = "meshwork-tool-";
/// The node's own binary, also when its file has been replaced since it was started.
const OWN_BINARY: &str = "/proc/self/exe";
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// After the tool has ended: how long its streams may take to end too. They stay open if a process outside of the group
/// holds them.
const STREAMS_END: Duration = Duration::from_secs(2);

/// What a call of a process tool needs.
pub(super) struct ProcessCall<'a> {
    pub(super) tool: &'a ProcessTool,
    /// Arguments, a JSON object as text.
    pub(super) arguments: &'a [u8],
    pub(super) task: Option<TaskTag>,
    pub(super) timeout: Duration,
    pub(super) stop: &'a Stop,
    pub(super) sink: &'a ProgressSink,
}

/// What all calls share.
pub(super) struct Processes {
    pub(super) spawner: Spawner,
    pub(super) metrics: Metrics,
}

/// A process group that is killed when this is dropped.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1).map(Pid::from_raw);
        Self { leader }
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // The only error that can come is that nobody is left in the group.
            let _ = killpg(leader, signal);
        }
    }

    /// The leader has ended; ends the others. The group's number may be used anew afterwards.
    fn finish(&mut self) {
        self.signal(Signal::SIGKILL);
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.finish();
    }
}

/// How the process came to its end.
#[derive(Debug)]
enum End {
    Exited(io::Result<ExitStatus>),
    Stopped(StopReason),
    TimedOut,
    Overflow,
}

impl Processes {
    /// Runs a tool to its end; the result is its standard output as it came.
    pub(super) async fn run(&self, call: ProcessCall<'_>, options: &ExecutorOptions) -> Ended<Vec<u8>> {
        let name = &call.tool.name;
        let unavailable =
            |problem: String| Ended::Failed(ToolError::Unavailable { tool: name.clone(), problem });
        let scratch = match make_scratch(options) {
            Ok(scratch) => scratch,
            Err(error) => return unavailable(format!("its working directory cannot be made: {error}")),
        };
        let command = match command(&call, options, scratch.path()) {
            Ok(command) => command,
            Err(error) => return unavailable(format!("its sandbox cannot be described: {error}")),
        };
        let mut child = match self.spawner.spawn(command).await {
            Ok(child) => child,
            Err(error) => return unavailable(format!("its launcher cannot be started: {error}")),
        };
        let (mut output, mut log) = (Output::default(), Log::default());
        let end = self.attend(&call, options, &mut child, &mut output, &mut log).await;
        // Removing what the tool left behind may take a while: not on this thread.
        tokio::task::spawn_blocking(move || drop(scratch));
        conclude(&call, end, output, &log)
    }

    /// From the start to the last member's end; collects what it writes.
    async fn attend(
        &self,
        call: &ProcessCall<'_>,
        options: &ExecutorOptions,
        child: &mut Child,
        output: &mut Output,
        log: &mut Log,
    ) -> End {
        let mut group = Group::of(child);
        let overflow = Notify::new();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut streams = pin!(async {
            tokio::join!(
                streams::feed(stdin, call.arguments),
                streams::collect(stdout, call.tool.output_bytes, output, &overflow),
                streams::follow(stderr, call.sink, log),
            )
        });
        let mut streaming = true;
        let end = {
            let mut end = pin!(watch(call, child, &overflow));
            loop {
                tokio::select! {
                    biased;
                    end = &mut end => break end,
                    _ = &mut streams, if streaming => streaming = false,
                }
            }
        };
        let grace = match &end {
            End::Exited(_) => None,
            End::Stopped(reason) => Some((reason.label(), reason.grace(options.kill_grace()))),
            End::TimedOut => Some(("timeout", options.kill_grace())),
            End::Overflow => Some(("output", Duration::ZERO)),
        };
        if let Some((reason, grace)) = grace {
            self.metrics.killed(reason);
            let mut ending = pin!(terminate(child, &group, grace, call.stop));
            loop {
                // A tool that cleans up after SIGTERM may write while it does so.
                tokio::select! {
                    biased;
                    () = &mut ending => break,
                    _ = &mut streams, if streaming => streaming = false,
                }
            }
        }
        group.finish();
        if streaming {
            // What has been read is kept either way.
            let _ = tokio::time::timeout(STREAMS_END, streams).await;
        }
        end
    }
}

async fn watch(call: &ProcessCall<'_>, child: &mut Child, overflow: &Notify) -> End {
    tokio::select! {
        biased;
        reason = call.stop.wanted() => End::Stopped(reason),
        () = overflow.notified() => End::Overflow,
        status = child.wait() => End::Exited(status),
        () = tokio::time::sleep(call.timeout) => End::TimedOut,
    }
}

/// SIGTERM, time to end, SIGKILL; at once SIGKILL when there is no time, or when the lease is lost meanwhile.
async fn terminate(child: &mut Child, group: &Group, grace: Duration, stop: &Stop) {
    if !grace.is_zero() {
        group.signal(Signal::SIGTERM);
        tokio::select! {
            biased;
            _ = child.wait() => return,
            _ = stop.lease_gone() => {}
            () = tokio::time::sleep(grace) => {}
        }
    }
    group.signal(Signal::SIGKILL);
    // A process in the kernel's uninterruptible sleep ends when it can: its slot stays taken until then.
    let _ = child.wait().await;
}

fn make_scratch(options: &ExecutorOptions) -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH_PREFIX).permissions(std::fs::Permissions::from_mode(0o700));
    match &options.scratch_dir {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
}

fn command(
    call: &ProcessCall<'_>,
    options: &ExecutorOptions,
    scratch: &Path,
) -> Result<Command, serde_json::Error> {
    let tool = call.tool;
    let mut write = tool.write_paths.clone();
    write.push(scratch.to_owned());
    let spec = Spec {
        parent: std::process::id(),
        memory_bytes: tool.memory_bytes,
        cpu_s: tool.cpu_s,
        read: tool.read_paths.clone(),
        write,
    };
    let launcher = options.launcher.as_deref().unwrap_or(Path::new(OWN_BINARY));
    let mut command = Command::new(launcher);
    command.arg(sandbox::SUBCOMMAND).arg("--").args(&tool.command).current_dir(scratch);
    command.env_clear().env("PATH", PATH).env("HOME", scratch).env("TMPDIR", scratch).envs(&tool.env);
    if let Some(task) = &call.task {
        command.env("MESHWORK_TASK_ID", task.id.to_string());
        command.env("MESHWORK_ATTEMPT", task.attempt.to_string());
        command.env("MESHWORK_FENCE", task.fence.to_string());
    }
    command.env(sandbox::SPEC, serde_json::to_string(&spec)?);
    Ok(command)
}

fn conclude(call: &ProcessCall<'_>, end: End, output: Output, log: &Log) -> Ended<Vec<u8>> {
    let tool = call.tool.name.clone();
    let status = match end {
        // The lease may have been lost while the tool was ending.
        End::Stopped(reason) => return Ended::Stopped(call.stop.requested().unwrap_or(reason)),
        End::TimedOut => {
            let after_ms = u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX);
            return Ended::Failed(ToolError::Timeout { tool, after_ms });
        }
        End::Overflow => return Ended::Failed(too_large(call.tool)),
        End::Exited(_) if output.overflow => return Ended::Failed(too_large(call.tool)),
        End::Exited(Err(error)) => {
            return Ended::Failed(ToolError::Unavailable {
                tool,
                problem: format!("its end cannot be observed: {error}"),
            });
        }
        End::Exited(Ok(status)) => status,
    };
    if status.success() {
        return Ended::Done(output.bytes);
    }
    match &log.launcher {
        Some(problem) if status.code() == Some(i32::from(sandbox::FAILED)) => {
            Ended::Failed(ToolError::Unavailable { tool, problem: problem.clone() })
        }
        _ => Ended::Failed(ToolError::Crashed { tool, how: how(status, call.tool), stderr: log.shown() }),
    }
}

fn too_large(tool: &ProcessTool) -> ToolError {
    let problem = format!(
        "it wrote more than the {} bytes it may and was killed: raise output_kb of the tool",
        tool.output_bytes
    );
    ToolError::Output { tool: tool.name.clone(), problem }
}

fn how(status: ExitStatus, tool: &ProcessTool) -> String {
    let Some(number) = status.signal() else {
        return status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
    };
    let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
    let limit = match (Signal::try_from(number), tool.cpu_s, tool.memory_bytes) {
        (Ok(Signal::SIGXCPU), Some(seconds), _) => format!(": it used more than {seconds} s of CPU time"),
        (Ok(Signal::SIGSEGV | Signal::SIGABRT | Signal::SIGBUS), _, Some(bytes)) => {
            format!(": perhaps it needs more than the {bytes} bytes of memory it may have")
        }
        _ => String::new(),
    };
    format!("killed by signal {number} ({name}){limit}")
}
