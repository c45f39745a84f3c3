//! What a tool may open and whom it may signal, as far as the kernel has Landlock.

use super::{LaunchError, Spec};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, path_beneath_rules,
};
use nix::unistd::geteuid;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// The newest rights that are asked for; an older kernel enforces those it knows.
const NEWEST: ABI = ABI::V6;

/// What every program needs to start: programs, libraries, and the handful of settings and devices that C libraries and
/// interpreters look at. Not all of `/etc`, `/home`, `/var` and `/run`: they hold other people's secrets.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/gitconfig",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-x86_64.path",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/terminfo",
    "/etc/timezone",
    "/run/systemd/resolve",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/dev/random",
    "/dev/urandom",
];

/// Of `/proc`, for a tool of an ordinary user: all of it, because Landlock itself keeps a restricted process from looking
/// into others (memory, environment).
const PROC: &[&str] = &["/proc"];

/// Of `/proc`, for a tool of root: a kernel lets whoever may profile read the environment of others all the same, the
/// node's and its secrets included. So only the tool's own entry (not its children's), and what is about the machine.
const PROC_OF_ROOT: &[&str] = &[
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
];

/// Devices that are written to as a matter of course.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full"];

/// What this kernel can enforce on process tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SandboxReport {
    /// Version of Landlock that is enforced (1 to 6); none if the kernel has none.
    pub landlock: Option<u32>,
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Some(version) if version >= NEWEST as u32 => write!(f, "files and signals restricted (Landlock {version})"),
            Some(version) => write!(f, "files restricted (Landlock {version})"),
            None => f.write_str(
                "files NOT restricted: this kernel has no Landlock, process tools can open whatever the node's user can",
            ),
        }
    }
}

/// What this kernel can enforce; restricts nothing.
#[must_use]
pub fn support() -> SandboxReport {
    // Versions that add rights which are used here.
    let useful = [ABI::V6, ABI::V5, ABI::V3, ABI::V2, ABI::V1];
    let landlock = useful.into_iter().find(|abi| is_supported(*abi)).map(|abi| abi as u32);
    SandboxReport { landlock }
}

fn is_supported(abi: ABI) -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let Ok(ruleset) = ruleset.handle_access(AccessFs::from_all(abi)) else { return false };
    let ruleset = if abi >= ABI::V6 { ruleset.scope(Scope::from_all(abi)) } else { Ok(ruleset) };
    ruleset.is_ok_and(|ruleset| ruleset.create().is_ok())
}

/// Restricts this process and everything it starts. Without Landlock in the kernel it does nothing: the node says so
/// at its start.
pub(super) fn restrict(spec: &Spec, program: &Path) -> Result<(), LaunchError> {
    let read = AccessFs::from_read(NEWEST);
    let all = AccessFs::from_all(NEWEST);
    let proc = if geteuid().is_root() { PROC_OF_ROOT } else { PROC };
    let mut ruleset = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(proc, read))?
        .add_rules(path_beneath_rules(DEVICES, all))?
        .add_rules(path_beneath_rules([program], read))?;
    for path in &spec.read {
        ruleset = ruleset.add_rule(rule(path, read)?)?;
    }
    for path in &spec.write {
        ruleset = ruleset.add_rule(rule(path, all)?)?;
    }
    ruleset.restrict_self()?;
    Ok(())
}

/// A configured path that is not there is an error: silently granting nothing would look like a fault of the tool.
fn rule(path: &PathBuf, access: landlock::BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, LaunchError> {
    let fd = PathFd::new(path).map_err(|source| LaunchError::Path { path: path.clone(), source })?;
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    Ok(PathBeneath::new(fd, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_support_restricts_nothing_and_reads_well() {
        let report = support();
        assert!(std::fs::read_dir("/").is_ok());
        assert!(report.to_string().contains("restricted"), "{report}");
        let none = SandboxReport { landlock: None }.to_string();
        assert!(none.contains("NOT restricted"), "{none}");
    }
}
