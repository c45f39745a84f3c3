//! Where this node runs, as far as defaults depend on it: in a container or not, and what the machine is called.

use super::check::is_node_name;
use super::environment::Environment;
use super::types::Mdns;
use std::path::Path;

/// Variables that those who start containers set in them: Kubernetes, and `systemd-nspawn` and podman.
const CONTAINER_VARIABLES: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "container"];
/// Files that Docker and podman put into containers.
const CONTAINER_FILES: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// Where Linux says what the machine is called.
const HOST_NAME_FILES: [&str; 2] = ["proc/sys/kernel/hostname", "etc/hostname"];

/// Whether mDNS is on. Multicast in a container reaches nobody but other containers, and is refused in many clusters.
#[must_use]
pub(crate) fn mdns_is_on(mdns: Mdns, environment: &Environment) -> bool {
    match mdns {
        Mdns::On => true,
        Mdns::Off => false,
        Mdns::Auto => !in_container(Path::new("/"), environment),
    }
}

fn in_container(root: &Path, environment: &Environment) -> bool {
    CONTAINER_VARIABLES.iter().any(|name| environment.get(name).is_some())
        || CONTAINER_FILES.iter().any(|file| root.join(file).exists())
}

/// The name of this node in registries that others share, when the configuration has none: `RUNNER_NAME`, as the Python
/// nodes do, or the host name. Characters that a name cannot have become `-`; none when there is no name at all.
#[must_use]
pub(crate) fn node_name(environment: &Environment) -> Option<String> {
    named(Path::new("/"), environment)
}

fn named(root: &Path, environment: &Environment) -> Option<String> {
    let host =
        || HOST_NAME_FILES.iter().find_map(|file| usable(&std::fs::read_to_string(root.join(file)).ok()?));
    let variable = |name| environment.get(name).and_then(usable);
    variable("RUNNER_NAME").or_else(host).or_else(|| variable("HOSTNAME"))
}

fn usable(text: &str) -> Option<String> {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "_-.".contains(letter) { letter } else { '-' };
    let name: String = text.trim().chars().take(128).map(plain).collect();
    is_node_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mdns_is_off_in_containers_unless_it_is_asked_for() {
        let kubernetes = Environment::of([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        assert!(!mdns_is_on(Mdns::Auto, &kubernetes));
        assert!(mdns_is_on(Mdns::On, &kubernetes));
        assert!(!mdns_is_on(Mdns::Off, &Environment::default()));
    }

    #[test]
    fn a_container_is_known_by_its_variables_and_by_its_files() {
        let root = tempfile::tempdir().unwrap();
        assert!(!in_container(root.path(), &Environment::default()));
        assert!(in_container(root.path(), &Environment::of([("container", "podman")])));
        std::fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert!(in_container(root.path(), &Environment::default()));
    }

    #[test]
    fn a_node_is_called_as_its_runner_or_its_host() {
        let root = tempfile::tempdir().unwrap();
        let runner = Environment::of([("RUNNER_NAME", "build box/7"), ("HOSTNAME", "h")]);
        assert_eq!(named(root.path(), &runner).as_deref(), Some("build-box-7"));
        assert_eq!(named(root.path(), &Environment::of([("HOSTNAME", "h")])).as_deref(), Some("h"));
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hostname"), "ada.example.org\n").unwrap();
        assert_eq!(named(root.path(), &Environment::default()).as_deref(), Some("ada.example.org"));
        assert_eq!(
            named(root.path(), &Environment::of([("RUNNER_NAME", "..")])).as_deref(),
            Some("ada.example.org")
        );
    }
}
