//! `p2p_peer_bootstrap`, `p2p_bootstrap_from_file`, `_from_env`, `_from_dns`, `_from_public` and `_list`: the first
//! contacts.

use super::{FINDS, within};
use crate::node::{Node, PATIENCE, millis};
use crate::tools::record::secs;
use crate::tools::{Failure, Hints, MeshTool, READS};
use meshwork_proto::bootstrap::{
    BootstrapFrom, BootstrapNow, BootstrapReport, ContactState, ContactView, ListContacts,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest path and longest name that are passed on, in bytes.
const MAX_PLACE: usize = 4096;

/// A first contact.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ContactOut {
    /// Its address, with /p2p/ and its id when that is known.
    addr: String,
    /// How it was learned.
    source: String,
    /// connected (now), lost (it was reached, is not connected any more, and is tried again every few minutes),
    /// dialling, or waiting (for the next try; it was reached before if it has a peer_id).
    state: String,
    /// Who answered there; null = it was never reached.
    peer_id: Option<String>,
    /// Tries since the last success.
    attempts: u32,
    /// Why the last try failed.
    problem: Option<String>,
    /// Seconds until the next try.
    next_try_s: Option<f64>,
}

impl From<ContactView> for ContactOut {
    fn from(view: ContactView) -> Self {
        Self {
            addr: view.address,
            source: view.source.as_str().into(),
            state: view.state.as_str().into(),
            peer_id: view.peer.map(|peer| peer.to_string()),
            attempts: view.attempts,
            problem: view.problem,
            next_try_s: view.next_try_in_ms.map(secs),
        }
    }
}

/// An entry that is no contact.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SkippedOut {
    /// As it was found, cut.
    entry: String,
    /// What is wrong with it.
    problem: String,
}

/// What came of reading first contacts.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BootstrapOut {
    /// The peer that read them.
    peer_id: String,
    /// How many of them are connected.
    connected: usize,
    /// The contacts that were read, and how far each is. Those that are not connected yet are tried again and again.
    contacts: Vec<ContactOut>,
    /// Entries that cannot be used, each with the reason.
    skipped: Vec<SkippedOut>,
}

impl BootstrapOut {
    fn new(peer_id: String, report: BootstrapReport) -> Self {
        let skipped = report.skipped.into_iter();
        Self {
            peer_id,
            connected: connected(&report.contacts),
            contacts: report.contacts.into_iter().map(ContactOut::from).collect(),
            skipped: skipped.map(|one| SkippedOut { entry: one.entry, problem: one.problem }).collect(),
        }
    }
}

fn connected(contacts: &[ContactView]) -> usize {
    contacts.iter().filter(|contact| contact.state == ContactState::Connected).count()
}

/// Has a node read first contacts and dial them.
async fn bootstrap(
    node: &Node,
    from: BootstrapFrom,
    timeout_s: Option<f64>,
    peer: Option<&str>,
) -> Result<BootstrapOut, Failure> {
    let at = node.at(peer)?;
    let within = within(timeout_s)?;
    let now = BootstrapNow { from, within_ms: millis(within) };
    let answer = node.ask(&at, now, within.saturating_add(PATIENCE)).await?;
    Ok(BootstrapOut::new(answer.peer.to_string(), answer.value))
}

/// A path or a name that may be given.
fn place(field: &str, text: Option<String>) -> Result<Option<String>, Failure> {
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_PLACE => Err(Failure::invalid(format!(
            "{field} has {} bytes: expected 1 to {MAX_PLACE}, or leave it out to take the configured one",
            text.len()
        ))),
        text => Ok(text),
    }
}

/// Arguments of the tools that take nothing but a time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootstrapIn {
    /// Seconds that reading and the first tries may take, at most 120; 10 if absent. Tries under way go on after that.
    #[schemars(range(min = 0, max = 120))]
    timeout_s: Option<f64>,
    /// Peer that is to do so, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

macro_rules! bootstraps {
    ($(#[$doc:meta])* $tool:ident, $name:literal, $title:literal, $from:expr, $description:literal) => {
        $(#[$doc])*
        pub(crate) struct $tool;

        impl MeshTool for $tool {
            const NAME: &'static str = $name;
            const TITLE: &'static str = $title;
            const DESCRIPTION: &'static str = $description;
            const EXAMPLE: &'static str = r#"{"timeout_s": 20}"#;
            const HINTS: Hints = FINDS;
            type Input = BootstrapIn;
            type Output = BootstrapOut;

            async fn run(node: &Node, input: BootstrapIn) -> Result<BootstrapOut, Failure> {
                bootstrap(node, $from, input.timeout_s, input.peer.as_deref()).await
            }
        }
    };
}

bootstraps! {
    /// Reads everything that is configured again.
    BootstrapTool, "p2p_peer_bootstrap", "Bootstrap again", BootstrapFrom::Configured,
    "Reads all configured first contacts again (peers, invitation, file, environment, DNS names, public list) and dials \
     those that are not connected. The node does so by itself when it starts and when it is alone."
}
bootstraps! {
    /// Reads the variables.
    FromEnvTool, "p2p_bootstrap_from_env", "Bootstrap from the environment", BootstrapFrom::Environment,
    "Reads first contacts from the node's environment as it was at its start (MESHWORK_BOOTSTRAP_PEERS, \
     CACHE_BOOTSTRAP_PEERS and the other variables of the Python nodes) and dials them."
}
bootstraps! {
    /// Reads the public list.
    FromPublicTool, "p2p_bootstrap_from_public", "Bootstrap from the public list", BootstrapFrom::Public,
    "Dials the nodes of the public bootstrap list (p2p.bootstrap.public_list). They belong to everybody: they help to \
     find others through the public DHT, and never become members of the mesh."
}

/// Reads a file.
pub(crate) struct FromFileTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromFileIn {
    /// Path of the file on the node's machine; the configured one if absent.
    #[schemars(length(min = 1, max = 4096))]
    path: Option<String>,
    /// Seconds that reading and the first tries may take, at most 120; 10 if absent. Tries under way go on after that.
    #[schemars(range(min = 0, max = 120))]
    timeout_s: Option<f64>,
    /// Peer that is to do so, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

impl MeshTool for FromFileTool {
    const NAME: &'static str = "p2p_bootstrap_from_file";
    const TITLE: &'static str = "Bootstrap from a file";
    const DESCRIPTION: &'static str = "Reads first contacts from a file on the node's machine and dials them: one \
        multiaddress per line, or a JSON registry as the Python nodes write it. Entries that cannot be used are skipped \
        and named with the reason.";
    const EXAMPLE: &'static str = r#"{"path": "/etc/meshwork/peers.txt"}"#;
    const HINTS: Hints = FINDS;
    type Input = FromFileIn;
    type Output = BootstrapOut;

    async fn run(node: &Node, input: FromFileIn) -> Result<BootstrapOut, Failure> {
        let path = place("path", input.path)?;
        bootstrap(node, BootstrapFrom::File { path }, input.timeout_s, input.peer.as_deref()).await
    }
}

/// Resolves a name.
pub(crate) struct FromDnsTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromDnsIn {
    /// The name; the configured ones if absent.
    #[schemars(length(min = 1, max = 4096))]
    name: Option<String>,
    /// Seconds that resolving and the first tries may take, at most 120; 10 if absent. Tries under way go on after that.
    #[schemars(range(min = 0, max = 120))]
    timeout_s: Option<f64>,
    /// Peer that is to do so, as peer id or multiaddress; this node if absent. Needs the admin role there.
    peer: Option<String>,
}

impl MeshTool for FromDnsTool {
    const NAME: &'static str = "p2p_bootstrap_from_dns";
    const TITLE: &'static str = "Bootstrap from a DNS name";
    const DESCRIPTION: &'static str = "Resolves a DNS name to first contacts and dials them: dnsaddr texts, SRV records, or \
        the addresses of the name (a headless service of Kubernetes) with the port p2p.bootstrap.dns_port.";
    const EXAMPLE: &'static str = r#"{"name": "meshwork.default.svc.cluster.local"}"#;
    const HINTS: Hints = FINDS;
    type Input = FromDnsIn;
    type Output = BootstrapOut;

    async fn run(node: &Node, input: FromDnsIn) -> Result<BootstrapOut, Failure> {
        let name = place("name", input.name)?;
        bootstrap(node, BootstrapFrom::Dns { name }, input.timeout_s, input.peer.as_deref()).await
    }
}

/// Lists first contacts.
pub(crate) struct ContactsTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactsIn {
    /// Peer whose first contacts to list, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

/// The first contacts.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ContactsOut {
    /// The peer whose contacts they are.
    peer_id: String,
    /// How many of them are connected now.
    connected: usize,
    /// The contacts, and how far each is.
    contacts: Vec<ContactOut>,
}

impl MeshTool for ContactsTool {
    const NAME: &'static str = "p2p_bootstrap_list";
    const TITLE: &'static str = "List first contacts";
    const DESCRIPTION: &'static str = "Lists the first contacts that the node was given or has read: which are connected \
        now, which were and are lost, why the last try at one failed and when the next one is. Whom the node knows \
        altogether is in p2p_peer_list.";
    const EXAMPLE: &'static str = "{}";
    const HINTS: Hints = READS;
    type Input = ContactsIn;
    type Output = ContactsOut;

    async fn run(node: &Node, input: ContactsIn) -> Result<ContactsOut, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let answer = node.ask(&at, ListContacts, PATIENCE).await?;
        let connected = connected(&answer.value);
        let contacts = answer.value.into_iter().map(ContactOut::from).collect();
        Ok(ContactsOut { peer_id: answer.peer.to_string(), connected, contacts })
    }
}
