//! `id` and `invite`: what a node keeps in its data directory, read without asking the node.

use super::node_args::NodeArgs;
use crate::config::{DataDir, Effective, Environment, NodeConfig, NodeFile};
use crate::output::{Exit, Failure, Output};
use meshwork_network::identity::NodeIdentity;
use meshwork_network::trust::{MeshSecret, MeshSecrets, SecretError};
use meshwork_proto::invite::Invitation;
use meshwork_proto::{ErrorCode, PeerId};
use serde_json::json;
use std::path::{Path, PathBuf};

const ID_EXAMPLES: &str = "\
Examples:
  meshwork id                                the node in the default data directory
  meshwork id --data-dir /srv/mesh --create  make the key now, to allow the node elsewhere before its first start";

/// Arguments of `id`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = ID_EXAMPLES)]
pub(crate) struct IdArgs {
    /// Which node.
    #[command(flatten)]
    pub(crate) place: Place,
    /// Make the key if there is none yet
    #[arg(long)]
    pub(crate) create: bool,
}

const INVITE_EXAMPLES: &str = "\
Examples:
  meshwork invite                                          on the machine of the node
  meshwork run --join \"$(meshwork invite)\" --data-dir ./second --http 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0
  meshwork invite --address /dns/mesh.example.org/tcp/4001  a name instead of the node's own addresses

Whoever has the line can join the mesh: it contains the mesh secret.";

/// Arguments of `invite`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = INVITE_EXAMPLES)]
pub(crate) struct InviteArgs {
    /// Which node.
    #[command(flatten)]
    pub(crate) place: Place,
    /// Address to dial instead of those the node listens on, may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) address: Vec<String>,
    /// File with the mesh secret, if the node was given one
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_secret_file: Option<String>,
}

/// Where a node keeps its things.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct Place {
    /// Data directory of the node [default: ~/.local/share/meshwork]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Configuration file of the node; also MESHWORK_CONFIG
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Place {
    fn load(
        &self,
        mesh_secret_file: Option<String>,
        environment: &Environment,
    ) -> Result<NodeConfig, Failure> {
        Ok(self.effective(mesh_secret_file, environment)?.node)
    }

    /// The configuration of a node in this place, with where each value came from.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn effective(
        &self,
        mesh_secret_file: Option<String>,
        environment: &Environment,
    ) -> Result<Effective, Failure> {
        let flags = NodeArgs {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            mesh_secret_file,
            ..NodeArgs::default()
        };
        flags.load(environment)
    }
}

pub(super) fn id(args: &IdArgs, output: Output, environment: &Environment) -> Result<(), Failure> {
    let config = args.place.load(None, environment)?;
    let peer = identity(&config.data(), args.create)?;
    if output.is_json() { output.json(&json!({"peer_id": peer})) } else { output.line(peer.as_str()) }
}

/// The peer id of the key in a data directory.
fn identity(dir: &DataDir, create: bool) -> Result<PeerId, Failure> {
    let path = dir.identity();
    let exists =
        path.try_exists().map_err(|error| Failure::internal(format!("{}: {error}", path.display())))?;
    if !exists && !create {
        let message = format!(
            "no node has been started in {}: name its directory with --data-dir, or make a key with `meshwork id --create`",
            dir.path().display()
        );
        // What is missing is a node, as with every other "not found"; no peer was asked for.
        return Err(Failure::new(ErrorCode::Config, message).exiting(Exit::NotFound));
    }
    if !exists {
        std::fs::create_dir_all(dir.path())
            .map_err(|error| Failure::usage(format!("{} cannot be made: {error}", dir.path().display())))?;
    }
    let identity = NodeIdentity::load_or_create(&path).map_err(|error| Failure::from_coded(&error))?;
    Ok(identity.peer_id())
}

pub(super) fn invite(args: &InviteArgs, output: Output, environment: &Environment) -> Result<(), Failure> {
    let config = args.place.load(args.mesh_secret_file.clone(), environment)?;
    let dir = config.data();
    let peer = identity(&dir, false)?;
    let addresses = if args.address.is_empty() { addresses(&dir)? } else { args.address.clone() };
    let addresses =
        addresses.iter().map(|address| without_peer(address, &peer)).collect::<Result<Vec<_>, _>>()?;
    let secret = secret(&config)?;
    let invitation = Invitation { peer: peer.clone(), addresses, secret: secret.expose().to_vec() };
    let text = invitation
        .to_text()
        .map_err(|error| Failure::internal(format!("invitation cannot be written: {error}")))?;
    if output.is_json() {
        return output.json(&json!({"invitation": text, "peer_id": peer, "addresses": invitation.addresses}));
    }
    output.line(text)
}

/// The addresses of the running node that others can dial; loopback ones only when there are no others.
fn addresses(dir: &DataDir) -> Result<Vec<String>, Failure> {
    let file = NodeFile::read(dir)
        .map_err(|error| Failure::internal(format!("{} cannot be read: {error}", dir.node_file().display())))?
        .ok_or_else(|| {
            let message = format!(
                "no node runs in {}, so its addresses are not known: start it, or give --address",
                dir.path().display()
            );
            Failure::new(ErrorCode::Unavailable, message)
        })?;
    let (local, others): (Vec<String>, Vec<String>) =
        file.listen.into_iter().partition(|address| is_loopback(address));
    let addresses = if others.is_empty() { local } else { others };
    if addresses.is_empty() {
        return Err(Failure::usage(
            "the node listens on no address: give one with --address, at which others reach it",
        ));
    }
    Ok(addresses)
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.")
        || address.starts_with("/ip6/::1/")
        || address.starts_with("/dns/localhost/")
}

/// The address without `/p2p/<id>`, which an invitation says once for all.
fn without_peer(address: &str, peer: &PeerId) -> Result<String, Failure> {
    let wrong = |problem: &str| Err(Failure::usage(format!("address {address:?} {problem}")));
    if !address.starts_with('/') {
        return wrong("is no multiaddress: expected something like /ip4/192.0.2.7/tcp/4001");
    }
    match address.split_once("/p2p/") {
        None => Ok(address.to_owned()),
        Some((base, id)) if id == peer.as_str() => Ok(base.to_owned()),
        Some(_) => wrong("belongs to another peer than the node of this data directory"),
    }
}

/// The mesh secret that the node in this data directory shows: given in the configuration, or its own.
fn secret(config: &NodeConfig) -> Result<MeshSecret, Failure> {
    shown_secret(config).map_err(|error| Failure::from_coded(&error))
}

fn shown_secret(config: &NodeConfig) -> Result<MeshSecret, SecretError> {
    let kept = config.data().mesh_secret();
    let first = |path: &Path| {
        let missing = SecretError::Missing { path: path.to_owned() };
        MeshSecrets::load(path)?.shown().cloned().ok_or(missing)
    };
    if let Some(invitation) = config.p2p.invitation() {
        let invited = MeshSecret::from_bytes(&invitation.secret)?;
        // The mesh may have changed its secret since the invitation.
        return if MeshSecrets::load(&kept).is_ok_and(|kept| kept.contains(&invited)) {
            first(&kept)
        } else {
            Ok(invited)
        };
    }
    match &config.p2p.mesh_secret {
        Some(text) => MeshSecret::parse(text.expose()),
        None => first(config.p2p.mesh_secret_file.as_ref().unwrap_or(&kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn node_in(dir: &DataDir) -> PeerId {
        let peer = identity(dir, true).unwrap();
        MeshSecrets::load_or_create(&dir.mesh_secret()).unwrap();
        let listen =
            ["/ip4/127.0.0.1/tcp/4001", "/ip4/192.0.2.7/tcp/4001"].map(|base| format!("{base}/p2p/{peer}"));
        let file =
            json!({"peer_id": peer, "listen": listen, "mcp_url": "http://127.0.0.1:8000/mcp", "pid": 1});
        std::fs::write(dir.node_file(), file.to_string()).unwrap();
        peer
    }

    #[test]
    fn the_id_is_that_of_the_key_and_is_only_made_when_asked_for() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::at(temporary.path());
        let failure = identity(&dir, false).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotFound);
        assert!(failure.render(false).unwrap().ends_with("(config)"), "{failure:?}");
        let made = identity(&dir, true).unwrap();
        assert_eq!(identity(&dir, false).unwrap(), made);
    }

    #[test]
    fn an_invitation_names_the_addresses_that_others_reach() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::at(temporary.path());
        let peer = node_in(&dir);
        let found = addresses(&dir).unwrap();
        assert_eq!(found, [format!("/ip4/192.0.2.7/tcp/4001/p2p/{peer}")]);
        assert_eq!(without_peer(&found[0], &peer).unwrap(), "/ip4/192.0.2.7/tcp/4001");
        let other: PeerId = PEER.parse().unwrap();
        assert_eq!(without_peer(&found[0], &other).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn without_a_running_node_the_addresses_are_asked_for() {
        let temporary = tempfile::tempdir().unwrap();
        let failure = addresses(&DataDir::at(temporary.path())).unwrap_err();
        assert!(failure.render(false).unwrap().contains("--address"));
        assert_eq!(failure.exit(), Exit::Unreachable);
    }
}
