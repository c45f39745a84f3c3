//! The flags of a node, and how they become the last layer of its configuration.

use crate::config::{self, Effective, Environment, FlagValue, Sources};
use crate::output::Failure;
use std::path::PathBuf;

/// Environment variable with the path of the configuration file.
const CONFIG_VARIABLE: &str = "MESHWORK_CONFIG";

const EXAMPLES: &str = "\
Examples:
  meshwork run
      A node on the default addresses; strangers may connect, but get nothing.
  meshwork run --data-dir /srv/mesh --http 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0
      Free ports; the real ones are in the `ready` line.
  meshwork run --join mesh1:...
      Joins the mesh whose node printed that line (`meshwork invite`).
  meshwork run --config node.yaml --label gpu
      Flags go over the environment (MESHWORK_...), that over the file.

When the node is ready it prints one line to standard output (JSON with --json); logs go to standard error.";

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The flags of the node.
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// The flags of a node. What is not given comes from the environment, the file, or the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct NodeArgs {
    /// Configuration file (YAML); also MESHWORK_CONFIG
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for the key, the secret and the database [default: ~/.local/share/meshwork]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Where MCP, health, metrics and status are served; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http: Option<String>,
    /// Address for peers, may be given several times [default: all interfaces, port 4001, TCP and QUIC]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) listen: Vec<String>,
    /// Join a mesh with the line that `meshwork invite` printed there
    #[arg(long, value_name = "INVITE")]
    pub(crate) join: Option<String>,
    /// Stay connected with this peer, may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) peer: Vec<String>,
    /// File with the mesh secret [default: made in the data directory at the first start]
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_secret_file: Option<String>,
    /// Admit this peer without the mesh secret, may be given several times
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) allow: Vec<String>,
    /// Let this peer act on everybody's tasks and stop this node, may be given several times
    #[arg(long, value_name = "PEER_ID")]
    pub(crate) admin: Vec<String>,
    /// Serve health, metrics and status here instead of on --http
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin_http: Option<String>,
    /// A label that tasks can ask for, may be given several times
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// What an acknowledged task survives: also power loss (fsync), or a killed process (os) [default: fsync]
    #[arg(long, value_name = "fsync|os")]
    pub(crate) durability: Option<String>,
    /// What is logged: a level, or directives such as info,meshwork_work=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Set any key of the configuration, may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl NodeArgs {
    /// The effective configuration of a node with these flags.
    ///
    /// # Errors
    /// Everything that is wrong with it, in all layers.
    pub(crate) fn load(&self, environment: &Environment) -> Result<Effective, Failure> {
        let file = self.config.clone().or_else(|| environment.get(CONFIG_VARIABLE).map(PathBuf::from));
        let sources = Sources { file, environment: environment.clone(), flags: self.flags()? };
        Ok(config::load(&sources)?)
    }

    /// The flags that were given, each with its key.
    fn flags(&self) -> Result<Vec<FlagValue>, Failure> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let given = [
            ("--data-dir", "data_dir", one(&self.data_dir)),
            ("--http", "server.http", one(&self.http)),
            ("--listen", "p2p.listen", self.listen.clone()),
            ("--join", "p2p.join", one(&self.join)),
            ("--peer", "p2p.peers", self.peer.clone()),
            ("--mesh-secret-file", "p2p.mesh_secret_file", one(&self.mesh_secret_file)),
            ("--allow", "p2p.allow", self.allow.clone()),
            ("--admin", "p2p.admin", self.admin.clone()),
            ("--admin-http", "server.admin_http", one(&self.admin_http)),
            ("--label", "executor.labels", self.label.clone()),
            ("--durability", "store.durability", one(&self.durability)),
            ("--log", "log.level", one(&self.log)),
        ];
        let mut flags: Vec<FlagValue> = given
            .into_iter()
            .filter(|(_, _, values)| !values.is_empty())
            .map(|(flag, path, values)| FlagValue { flag: flag.into(), path: path.into(), values })
            .collect();
        for set in &self.set {
            let (path, value) = set.split_once('=').ok_or_else(|| {
                Failure::usage(format!(
                    "--set {set:?} has no =: expected KEY=VALUE, such as executor.slots=8"
                ))
            })?;
            flags.push(FlagValue {
                flag: format!("--set {path}"),
                path: path.into(),
                values: vec![value.into()],
            });
        }
        Ok(flags)
    }
}
