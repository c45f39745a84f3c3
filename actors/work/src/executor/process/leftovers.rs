//! Ending what the tools of a killed node left running.
//!
//! A node that is killed takes its tools with it, but not the processes those started: they would work on beside the
//! next attempt of the same task. They are known by their environment, which every process of a tool inherits: its
//! `HOME` or `TMPDIR` is a private working directory of this node. Each process is judged by itself and just before it
//! is killed, so a number that has been used anew, or another node's tool, is never hit. One that runs with an
//! environment that says nothing of this escapes.

use super::SCRATCH_PREFIX;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks around at most so often: a process may start another one while it is looked for, and dying takes a moment.
const LOOKS: u32 = 50;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills all processes of tools whose private directories are in `scratch`, an absolute path without links, and waits
/// a moment for their end. None of them may belong to a node that runs.
pub(in crate::executor) fn end(scratch: &Path) {
    let Ok(directory) = scratch.metadata() else { return };
    let mut killed = 0_usize;
    for look in 0..LOOKS {
        let found = processes().into_iter().filter(|pid| is_ours(*pid, scratch, &directory));
        let found: Vec<_> = found.filter(|pid| kill(*pid, Signal::SIGKILL) != Err(Errno::ESRCH)).collect();
        if found.is_empty() {
            break;
        }
        if look == 0 {
            killed = found.len();
        }
        if look + 1 == LOOKS {
            tracing::warn!(?found, "left running by tools of a killed node, and they do not end");
        }
        pause();
    }
    if killed > 0 {
        tracing::warn!(killed, "tools of a killed node had left processes running");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the node is being started: nothing else waits for this thread"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// All but this one.
fn processes() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.map(Pid::from_raw).filter(|pid| pid.as_raw() > 1 && *pid != Pid::this()).collect()
}

/// Whether a process came from a tool with a directory in `scratch`. Those of other users cannot be read, and those
/// that have ended have no environment.
fn is_ours(pid: Pid, scratch: &Path, directory: &Metadata) -> bool {
    let about = PathBuf::from(format!("/proc/{pid}"));
    let Ok(environment) = std::fs::read(about.join("environ")) else { return false };
    let marked = environment.split(|byte| *byte == 0).any(|entry| {
        let value = [&b"HOME="[..], b"TMPDIR="].into_iter().find_map(|name| entry.strip_prefix(name));
        value.is_some_and(|value| is_private(Path::new(OsStr::from_bytes(value)), scratch))
    });
    // In a container the same path is another directory.
    let seen = about.join("root").join(scratch.strip_prefix("/").unwrap_or(scratch));
    marked && seen.metadata().is_ok_and(|seen| (seen.dev(), seen.ino()) == (directory.dev(), directory.ino()))
}

/// Whether a path is a private working directory in `scratch`.
fn is_private(path: &Path, scratch: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes);
    path.parent() == Some(scratch) && name.is_some_and(|name| name.starts_with(SCRATCH_PREFIX.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};

    /// A shell with a child; the child's number.
    fn shell(home: &Path) -> (Child, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]).env("HOME", home).env_remove("TMPDIR");
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, Pid::from_raw(line.trim().parse().unwrap()))
    }

    /// It has neither ended nor become a corpse that nobody has collected.
    fn runs(pid: Pid) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[test]
    fn processes_of_tools_are_killed_with_their_children_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().canonicalize().unwrap();
        let (mut ours, our_child) = shell(&scratch.join("meshwork-tool-abc"));
        let (mut orphan_of, orphan) = shell(&scratch.join("meshwork-tool-def"));
        orphan_of.kill().unwrap();
        orphan_of.wait().unwrap();
        assert!(runs(orphan), "the shell alone was killed");
        let others = [scratch.join("other"), scratch.clone(), "/elsewhere/meshwork-tool-abc".into()];
        let others: Vec<_> = others.iter().map(|home| shell(home)).collect();
        end(&scratch);
        assert_eq!(ours.wait().unwrap().signal(), Some(9));
        assert!(!runs(our_child) && !runs(orphan));
        for (mut other, child) in others {
            assert!(runs(child) && other.try_wait().unwrap().is_none());
            nix::sys::signal::killpg(Pid::from_raw(i32::try_from(other.id()).unwrap()), Signal::SIGKILL)
                .unwrap();
            other.wait().unwrap();
        }
        end(&scratch);
    }
}
