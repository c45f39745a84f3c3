//! The one table of configuration keys: type, default, short variable, flag and meaning of each.
//!
//! Defaults live here and nowhere else; `docs/configuration.md` and the typed [`super::NodeConfig`] are compared with
//! this table by tests.

mod membership;
mod sections;
mod workflows;

pub(crate) use sections::{TOOL, UPSTREAM};

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A path; relative ones are relative to the working directory of the node.
    Path,
    /// A path from the root: what a sandbox opens must not depend on where the node was started.
    AbsolutePath,
    /// `IP:PORT`, where port 0 takes a free one.
    SocketAddress,
    /// `http://...` or `https://...`.
    Url,
    /// A libp2p address such as `/ip4/192.0.2.7/tcp/4001`.
    Multiaddress,
    /// A peer id.
    PeerId,
    /// A line beginning with `mesh1:`.
    Invitation,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number in this range.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number in this range.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// A name of a tool or server: letters, digits, `_` and `-`.
    Name,
    /// A name of a node in a registry that others share: as a name, and with `.` as host names have it.
    NodeName,
    /// A name of hosts that DNS resolves.
    DnsName,
    /// What those who look for one another have in common: 1 to 255 visible characters.
    Namespace,
    /// A repository of a forge: `owner/name`.
    Repository,
    /// A list of values.
    List(&'static Kind),
    /// A mapping of names to texts, whose values may be secrets.
    Variables,
    /// A JSON Schema, written as YAML.
    JsonSchema,
    /// A list of sections, each with these keys.
    Sections(&'static [Key]),
}

impl Kind {
    /// What a value of this kind is, in words that fit behind "expected".
    #[must_use]
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::AbsolutePath => "a path that begins with /".into(),
            Self::SocketAddress => "an address as IP:PORT, such as 127.0.0.1:8000".into(),
            Self::Url => "a URL that begins with http:// or https://".into(),
            Self::Multiaddress => "a multiaddress, such as /ip4/192.0.2.7/tcp/4001".into(),
            Self::PeerId => "a peer id, such as `meshwork id` prints".into(),
            Self::Invitation => "an invitation (mesh1:...), such as `meshwork invite` prints".into(),
            Self::Choice(words) => words.join(" or "),
            Self::Switch => "true or false".into(),
            Self::Whole { min, max: u64::MAX } => format!("a whole number of at least {min}"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Name => "a name of at most 64 letters, digits, _ or -".into(),
            Self::NodeName => "a name of at most 128 letters, digits, _, - or .".into(),
            Self::DnsName => "a name that DNS resolves, such as mesh.example.org".into(),
            Self::Namespace => "a text of 1 to 255 visible characters".into(),
            Self::Repository => "a repository as OWNER/NAME, such as octocat/hello-world".into(),
            Self::List(item) => format!("a list, each item {}", item.expected()),
            Self::Variables => "a section of NAME: text".into(),
            Self::JsonSchema => "a JSON Schema of an object, such as {type: object}".into(),
            Self::Sections(_) => "a list of sections".into(),
        }
    }
}

/// What stands when nobody says anything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fallback {
    /// This value, written as in an environment variable.
    Value(&'static str),
    /// No value: the node decides, as the meaning says.
    Unset,
    /// Found out at the start (the data directory).
    Computed,
    /// There is none: the key has to be given (in sections of a list).
    Required,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Full path with dots; in sections of a list, the name within the section.
    pub(crate) path: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// Value when not given.
    pub(crate) default: Fallback,
    /// Short environment variable beside the one made from the path.
    pub(crate) short: Option<&'static str>,
    /// Variables that belong to others and are read when none of ours gives the key; the first that is set counts.
    pub(crate) foreign: &'static [&'static str],
    /// Whether its value must not be shown.
    pub(crate) secret: bool,
    /// What it means, in one line.
    pub(crate) meaning: &'static str,
}

impl Key {
    /// The variable made from the path: `MESHWORK_SERVER__HTTP`.
    #[must_use]
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", super::environment::PREFIX, self.path.replace('.', "__").to_uppercase())
    }
}

const fn plain(path: &'static str, kind: Kind, default: Fallback, meaning: &'static str) -> Key {
    Key { path, kind, default, short: None, foreign: &[], secret: false, meaning }
}

const fn short(key: Key, short: &'static str) -> Key {
    Key { short: Some(short), ..key }
}

const fn foreign(key: Key, foreign: &'static [&'static str]) -> Key {
    Key { foreign, ..key }
}

const fn secret(key: Key) -> Key {
    Key { secret: true, ..key }
}

use Fallback::{Computed, Unset, Value};
use Kind::{
    AbsolutePath, Choice, Invitation, List, Multiaddress, Number, Path, PeerId, Sections, SocketAddress,
    Switch, Text, Whole,
};

/// Longest time that can be configured in seconds: thirty days.
const MAX_SECONDS: f64 = 30.0 * 86_400.0;
const SECONDS: Kind = Number { min: 0.1, max: MAX_SECONDS };
const HOURS: Kind = Number { min: 0.0, max: 24.0 * 3650.0 };
const MEBIBYTES: Kind = Whole { min: 1, max: 1 << 40 };

/// Every key, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &joined::<
    { GENERAL.len() + membership::KEYS.len() + WORK.len() + workflows::KEYS.len() },
>(&[GENERAL, membership::KEYS, WORK, workflows::KEYS]);

/// Tables one after another, as one table of `N` keys.
const fn joined<const N: usize>(tables: &[&[Key]]) -> [Key; N] {
    let mut all = [tables[0][0]; N];
    let (mut table, mut into) = (0, 0);
    // There are no iterators in constants.
    while table < tables.len() {
        let mut at = 0;
        while at < tables[table].len() {
            all[into] = tables[table][at];
            at += 1;
            into += 1;
        }
        table += 1;
    }
    all
}

/// The node itself, what it serves, and whom it trusts.
const GENERAL: &[Key] = &[
    short(
        plain("data_dir", Path, Computed, "where the node keeps its key, its secret and its database"),
        "MESHWORK_DATA_DIR",
    ),
    short(
        plain(
            "log.level",
            Text,
            Value("info"),
            "what is logged: error, warn, info, debug, trace, or directives such as info,meshwork_work=debug",
        ),
        "MESHWORK_LOG",
    ),
    plain("log.format", Choice(&["text", "json"]), Value("text"), "form of log lines on standard error"),
    short(
        plain(
            "server.http",
            SocketAddress,
            Value("127.0.0.1:8000"),
            "where MCP clients, health, metrics and status are served",
        ),
        "MESHWORK_HTTP",
    ),
    short(
        plain(
            "server.admin_http",
            SocketAddress,
            Unset,
            "serves health, metrics and status here instead of on server.http",
        ),
        "MESHWORK_ADMIN_HTTP",
    ),
    plain(
        "server.allow_remote",
        Switch,
        Value("false"),
        "serve HTTP on addresses other than loopback, although there is no login: whoever reaches them has all rights",
    ),
    plain(
        "server.allowed_hosts",
        List(&Text),
        Value("[]"),
        "names that clients may use for this node in the Host header, beside the loopback ones",
    ),
    plain(
        "server.allowed_origins",
        List(&Text),
        Value("[]"),
        "web pages (origins) that may call this node, beside those of the loopback names",
    ),
    short(
        plain(
            "p2p.listen",
            List(&Multiaddress),
            Value("/ip4/0.0.0.0/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1"),
            "addresses to listen on for peers",
        ),
        "MESHWORK_LISTEN",
    ),
    plain(
        "p2p.external",
        List(&Multiaddress),
        Value("[]"),
        "addresses at which peers reach this node from outside (forwarded ports)",
    ),
    short(
        plain("p2p.peers", List(&Multiaddress), Value("[]"), "peers to stay connected with"),
        "MESHWORK_PEER",
    ),
    short(
        secret(plain(
            "p2p.join",
            Invitation,
            Unset,
            "invitation to the mesh: whom to dial, and the mesh secret",
        )),
        "MESHWORK_JOIN",
    ),
    short(
        secret(plain(
            "p2p.mesh_secret",
            Text,
            Unset,
            "the mesh secret itself; better given by a file or the environment than written here",
        )),
        "MESHWORK_MESH_SECRET",
    ),
    short(
        plain(
            "p2p.mesh_secret_file",
            Path,
            Unset,
            "file with the mesh secret; without it one is made in the data directory at the first start",
        ),
        "MESHWORK_MESH_SECRET_FILE",
    ),
    short(
        plain("p2p.allow", List(&PeerId), Value("[]"), "peers admitted without the mesh secret"),
        "MESHWORK_ALLOW",
    ),
    short(
        plain(
            "p2p.admin",
            List(&PeerId),
            Value("[]"),
            "peers that may act on everybody's tasks and stop this node",
        ),
        "MESHWORK_ADMIN",
    ),
];

/// Tasks, where they are kept, and what runs them.
const WORK: &[Key] = &[
    plain(
        "p2p.taskqueue.max_tasks",
        Whole { min: 1, max: 1_000_000_000 },
        Value("1000000"),
        "most unfinished tasks",
    ),
    plain(
        "p2p.taskqueue.max_payload_bytes",
        Whole { min: 1024, max: 64 << 20 },
        Value("67108864"),
        "largest payload or result of a task, in bytes",
    ),
    plain(
        "p2p.taskqueue.lease_s",
        Number { min: 0.1, max: 3600.0 },
        Value("30"),
        "how long a worker holds a task without renewing, in seconds; it renews every third of that",
    ),
    plain(
        "p2p.taskqueue.worker_grace_s",
        Number { min: 0.0, max: 3600.0 },
        Value("5"),
        "how long after losing the connection to a worker its tasks are given to others, in seconds",
    ),
    plain(
        "p2p.taskqueue.max_lease_losses",
        Whole { min: 1, max: 1000 },
        Value("5"),
        "how often a task may lose its worker before it fails",
    ),
    plain("p2p.taskqueue.retention_h", HOURS, Value("24"), "how long finished tasks are kept, in hours"),
    plain(
        "p2p.taskqueue.backoff_s",
        Number { min: 0.0, max: 3600.0 },
        Value("1"),
        "pause before the second attempt at a failed task, in seconds; it doubles with each further one",
    ),
    plain(
        "p2p.taskqueue.backoff_max_s",
        Number { min: 0.0, max: MAX_SECONDS },
        Value("300"),
        "longest pause between attempts, in seconds",
    ),
    plain(
        "p2p.taskqueue.tenant_running",
        Whole { min: 1, max: 1_000_000 },
        Unset,
        "most tasks of one tenant that run at the same time; unset: no limit",
    ),
    plain(
        "p2p.taskqueue.payload_cache_mb",
        Whole { min: 0, max: 1 << 20 },
        Value("64"),
        "memory for payloads of waiting tasks, in MiB",
    ),
    short(
        plain(
            "store.durability",
            Choice(&["fsync", "os"]),
            Value("fsync"),
            "what an acknowledged write survives: fsync also power loss, os a killed process",
        ),
        "MESHWORK_DURABILITY",
    ),
    plain(
        "store.disk_reserve_mb",
        Whole { min: 0, max: 1 << 30 },
        Value("64"),
        "new tasks are refused when less than this is free on the disk, in MiB",
    ),
    plain("store.artifact_max_mb", MEBIBYTES, Value("256"), "largest artifact, in MiB"),
    plain("store.artifact_quota_mb", MEBIBYTES, Value("4096"), "room for all artifacts, in MiB"),
    plain(
        "store.artifact_grace_h",
        HOURS,
        Value("1"),
        "how long an artifact that no task needs is kept, in hours",
    ),
    plain(
        "store.block_cache_mb",
        Whole { min: 1, max: 1 << 20 },
        Value("8"),
        "memory for reading the database, in MiB",
    ),
    plain(
        "executor.slots",
        Whole { min: 0, max: 10_000 },
        Unset,
        "tasks and calls that run here at the same time; unset: twice the cores, at least 4; 0: none",
    ),
    short(
        plain("executor.labels", List(&Text), Value("[]"), "labels that tasks can ask for"),
        "MESHWORK_LABEL",
    ),
    plain(
        "executor.cid_paths",
        List(&AbsolutePath),
        Value("[]"),
        "directories whose files the built-in tool cid may read; none by default",
    ),
    plain("executor.tools", Sections(TOOL), Value("[]"), "tools that are programs of this machine"),
    plain("upstreams", Sections(UPSTREAM), Value("[]"), "MCP servers whose tools this node offers"),
];
