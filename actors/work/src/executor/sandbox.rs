//! The launcher: a short-lived stage of the node's own binary that restricts itself and then becomes the tool.
//!
//! A process can only be restricted from the inside, between fork and exec, and code that runs there in a program with
//! threads is `unsafe`. So the node starts *itself* anew with a hidden subcommand; that process has one thread, sets its
//! limits with ordinary safe calls and then replaces itself with the tool. It sets, in this order: death with its node
//! (`PR_SET_PDEATHSIG`), no new privileges, what it may open (Landlock), the
//! mode of files it makes (umask 077), CPU time, core dumps and address space.
//!
//! The specification comes in the environment variable [`SPEC`] (removed before the tool starts), the tool's command
//! as arguments, its environment as the launcher's own. What goes wrong before the tool runs is one line on standard
//! error that starts with [`MARK`], and exit code [`FAILED`].

mod files;

pub use files::{SandboxReport, support};

use landlock::RulesetError;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The hidden subcommand of the node's binary: `meshwork sandbox-exec -- PROGRAM ARGS...`.
pub const SUBCOMMAND: &str = "sandbox-exec";
/// Environment variable with the specification.
pub const SPEC: &str = "MESHWORK_SANDBOX";
/// How a line on standard error starts that comes from the launcher and not from the tool.
pub const MARK: &str = "meshwork sandbox: ";
/// Exit code of a launcher that could not start the tool (as `env`, `nice` and others use it).
pub const FAILED: u8 = 125;
/// Least address space that may be configured: below it not even the dynamic loader runs.
pub const LEAST_MEMORY: u64 = 8 * 1024 * 1024;

/// What the launcher is to set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Process id of the node: without it the tool must not start.
    pub(super) parent: u32,
    /// Most address space in bytes.
    pub(super) memory_bytes: Option<u64>,
    /// Most CPU time in seconds.
    pub(super) cpu_s: Option<u64>,
    /// May be read and executed, beside system files.
    pub(super) read: Vec<PathBuf>,
    /// May be read and written.
    pub(super) write: Vec<PathBuf>,
}

/// Why the tool could not be started.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("this subcommand is for the node itself: {0}")]
    Usage(&'static str),
    #[error("specification cannot be read: {0}")]
    Spec(#[from] serde_json::Error),
    #[error("the node that started this tool has gone")]
    Orphan,
    #[error("{what} cannot be set: {source}")]
    Limit { what: &'static str, source: nix::Error },
    #[error("{} cannot be opened for the tool: {source}", path.display())]
    Path { path: PathBuf, source: landlock::PathFdError },
    #[error("file system cannot be restricted: {0}")]
    Landlock(#[from] RulesetError),
    #[error("{program:?} cannot be run: {source}")]
    Exec { program: OsString, source: io::Error },
}

/// Becomes the tool; `args` are those after [`SUBCOMMAND`]. Returns only if that failed.
///
/// To be called first thing in `main`, before there is a second thread: limits apply to the calling thread.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Err(error) = launch(args.into_iter().collect());
    // Nobody is there to tell if standard error is closed; the exit code says it too.
    let _ = writeln!(io::stderr(), "{MARK}{error}");
    ExitCode::from(FAILED)
}

fn launch(mut args: Vec<OsString>) -> Result<std::convert::Infallible, LaunchError> {
    if args.first().is_some_and(|arg| arg == "--") {
        args.remove(0);
    }
    let Some((name, arguments)) = args.split_first() else {
        return Err(LaunchError::Usage("no command was given"));
    };
    let Some(text) = std::env::var_os(SPEC) else {
        return Err(LaunchError::Usage("no specification was given"));
    };
    let spec: Spec = serde_json::from_slice(text.as_encoded_bytes())?;
    let program = find(name).map_err(|source| LaunchError::Exec { program: name.clone(), source })?;
    let mut command = Command::new(&program);
    command.arg0(name).args(arguments).env_remove(SPEC);
    restrict(&spec, &program)?;
    // On success this does not return.
    let source = command.exec();
    Err(LaunchError::Exec { program: name.clone(), source })
}

fn restrict(spec: &Spec, program: &Path) -> Result<(), LaunchError> {
    let limit = |what| move |source| LaunchError::Limit { what, source };
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(limit("death with the node"))?;
    // The node may have died before the line above: then nobody would ever send that signal.
    if i64::from(getppid().as_raw()) != i64::from(spec.parent) {
        return Err(LaunchError::Orphan);
    }
    prctl::set_no_new_privs().map_err(limit("no_new_privs"))?;
    files::restrict(spec, program)?;
    // What a tool makes belongs to the node's user alone, unless the tool itself opens it to others.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(limit("size of core dumps"))?;
    if let Some(seconds) = spec.cpu_s {
        // SIGXCPU at the soft limit says what happened; one second later there is SIGKILL.
        setrlimit(Resource::RLIMIT_CPU, seconds, seconds.saturating_add(1)).map_err(limit("CPU time"))?;
    }
    if let Some(bytes) = spec.memory_bytes {
        setrlimit(Resource::RLIMIT_AS, bytes, bytes).map_err(limit("address space"))?;
    }
    Ok(())
}

/// The program's file: as it is if it is a path, else the first in `PATH` that can be executed.
fn find(name: &OsStr) -> io::Result<PathBuf> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let direct = Path::new(name);
    if direct.is_absolute() {
        direct.metadata()?;
        return Ok(direct.to_owned());
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .map(|directory| directory.join(name))
        .find(|path| is_program(path))
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("not found in PATH ({})", search.display()))
        })
}
