//! Contacts in variables of the environment: ours and those of the Python nodes.
//!
//! The environment itself is read elsewhere, once, at the start; this gets the variables handed in.

use super::places::Reading;
use std::collections::BTreeMap;

/// Our own variable; what it says about switching off holds for all.
const OURS: &str = "MESHWORK_BOOTSTRAP_PEERS";
const CACHE: &str = "CACHE_BOOTSTRAP_PEERS";
/// The Python nodes look at the second only when the first is not set.
const TASKS: [&str; 2] =
    ["IPFS_ACCELERATE_PY_TASK_P2P_BOOTSTRAP_PEERS", "IPFS_DATASETS_PY_TASK_P2P_BOOTSTRAP_PEERS"];
const SERVER: &str = "MCPPP_P2P_BOOTSTRAP_PEERS";

/// The variables that are looked at.
pub const VARIABLES: [&str; 5] = [OURS, CACHE, TASKS[0], TASKS[1], SERVER];

/// The variables of [`VARIABLES`] that are set, as they were at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentPeers(BTreeMap<String, String>);

impl EnvironmentPeers {
    /// Takes from all variables those that matter here.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| VARIABLES.contains(name));
        Self(ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Whether any of them says anything at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.values().any(|value| !value.trim().is_empty())
    }

    /// The contacts: lists with commas. `0`, `off`, `false` and `no` switch a variable off, and ours switches off all.
    pub(super) fn read(&self) -> Reading {
        let mut reading = Reading::default();
        let value = |name: &str| self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        if value(OURS).is_some_and(is_off) {
            return reading;
        }
        let tasks = TASKS.into_iter().find(|name| value(name).is_some());
        for name in [Some(OURS), Some(CACHE), tasks, Some(SERVER)].into_iter().flatten() {
            let Some(list) = value(name).filter(|value| !is_off(value)) else {
                continue;
            };
            for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                reading.add(entry, name);
            }
        }
        reading
    }
}

fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "0" | "off" | "false" | "no")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/ip4/198.51.100.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "/ip4/198.51.100.8/tcp/9100";

    fn found(variables: &[(&str, &str)]) -> Vec<String> {
        let reading = EnvironmentPeers::of(variables.iter().copied()).read();
        reading.found().into_iter().flat_map(|contact| contact.addresses).collect()
    }

    #[test]
    fn every_variable_is_read_and_lists_have_commas() {
        for name in VARIABLES {
            assert_eq!(found(&[(name, &format!(" {A} , {B},, "))]), [A, B], "{name}");
        }
        assert_eq!(found(&[(OURS, A), (CACHE, A), (SERVER, B)]), [A, B], "the same contact counts once");
    }

    #[test]
    fn a_variable_can_be_switched_off_and_ours_switches_off_all() {
        for off in ["0", "off", "FALSE", "no"] {
            assert_eq!(found(&[(CACHE, off), (SERVER, B)]), [B]);
            assert!(found(&[(OURS, off), (CACHE, A), (SERVER, B)]).is_empty());
        }
    }

    #[test]
    fn the_second_variable_of_the_python_nodes_counts_only_without_the_first() {
        assert_eq!(found(&[(TASKS[0], A), (TASKS[1], B)]), [A]);
        assert_eq!(found(&[(TASKS[0], ""), (TASKS[1], B)]), [B]);
        assert!(found(&[(TASKS[0], "off"), (TASKS[1], B)]).is_empty());
    }

    #[test]
    fn nonsense_is_skipped_and_told_with_the_name_of_its_variable() {
        let reading =
            EnvironmentPeers::of([(CACHE, "node.example:9100,/ip4/1.2.3.4/tcp/1"), ("HOME", "/root")]).read();
        assert_eq!(reading.found().len(), 1);
        assert_eq!(reading.skipped.len(), 1);
        assert!(reading.skipped[0].entry.contains(CACHE), "{:?}", reading.skipped);
    }

    #[test]
    fn nothing_set_is_nothing() {
        let nothing = EnvironmentPeers::of([("PATH", "/bin"), (OURS, " ")]);
        assert!(!nothing.is_set() && nothing.read().found().is_empty());
    }
}
