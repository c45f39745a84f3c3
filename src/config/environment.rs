//! The environment variables of the process, read once.

use std::collections::BTreeMap;

/// Every variable that configuration reads begins so.
pub(crate) const PREFIX: &str = "MESHWORK_";

/// Variables with first contacts, ours and those of the Python nodes, in the order in which they are read: multiaddresses
/// separated by commas; `0` or `off` for none.
pub(crate) const BOOTSTRAP_VARIABLES: [&str; 5] = [
    "MESHWORK_BOOTSTRAP_PEERS",
    "CACHE_BOOTSTRAP_PEERS",
    "IPFS_ACCELERATE_PY_TASK_P2P_BOOTSTRAP_PEERS",
    "IPFS_DATASETS_PY_TASK_P2P_BOOTSTRAP_PEERS",
    "MCPPP_P2P_BOOTSTRAP_PEERS",
];

/// A snapshot of the environment: read at the start of the process, and handed to whoever needs it.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the variables of this process. Names and values that are not UTF-8 are left out: none of ours can be.
    #[must_use]
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(text).collect() }
    }

    /// An environment of one's own.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// The value of a variable; an empty one counts as not set, as is the custom.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variables with first contacts that are set, by name. Nothing else of the environment reaches who reads them.
    #[must_use]
    pub(crate) fn bootstrap_variables(&self) -> BTreeMap<String, String> {
        let set = |name: &&str| Some(((*name).to_owned(), self.get(name)?.to_owned()));
        BOOTSTRAP_VARIABLES.iter().filter_map(set).collect()
    }

    /// The variables whose names begin with [`PREFIX`], sorted by name; empty ones are left out.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets: names only.
        f.debug_list().entries(self.variables.keys()).finish()
    }
}
