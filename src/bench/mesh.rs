//! What being a mesh costs: how soon a node has its first useful connection by each source, how soon many nodes all know
//! one another, what they say to each other when nothing happens, and what a known peer costs.
//!
//! All nodes are processes of their own on loopback; only for mDNS they listen on all interfaces, because multicast does
//! not reach loopback. mDNS is switched off where it is not what is measured, or the nodes would find each other by it.
//!
//! Beside the processes stands the simulator ([`simulated`]), which runs the same logic in virtual time: for sizes that
//! this machine has no room for, and for hours in which nodes come and go.

mod book;
mod first;
mod forge;
mod multicast;
mod page;
mod report;
mod simulated;
mod spread;

use super::BenchError;
use crate::child::ChildNode;
use crate::cli::BenchArgs;
use crate::output::Output;
use meshwork_network::trust::MeshSecrets;
pub(super) use report::MeshReport;
use std::path::{Path, PathBuf};

/// Measures everything about the mesh.
pub(super) async fn measure(
    work: &Path,
    options: &BenchArgs,
    output: Output,
) -> Result<MeshReport, BenchError> {
    let lab = Lab::new(&work.join("mesh"))?;
    let first = first::measure(&lab, output).await?;
    let book = book::measure(&lab, output).await?;
    let spread = spread::measure(&lab, options, output).await?;
    let simulated = simulated::measure(options, output).await?;
    Ok(MeshReport { first, book, spread, simulated })
}

/// Where nodes listen that need not be heard beyond this process tree.
const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// How a node is started, beside what all nodes of a lab have in common.
struct Setup<'a> {
    /// Its configuration, YAML.
    config: &'a str,
    /// Where it listens.
    listen: &'a str,
    /// Variables of its environment.
    env: &'a [(&'a str, &'a str)],
    /// Further flags.
    flags: &'a [&'a str],
}

impl<'a> Setup<'a> {
    /// A node on loopback with this configuration.
    fn of(config: &'a str) -> Self {
        Self { config, listen: LOOPBACK, env: &[], flags: &[] }
    }
}

/// Where the nodes of the measurements live, and the secret that they share.
struct Lab {
    dir: PathBuf,
    secret: PathBuf,
}

impl Lab {
    fn new(dir: &Path) -> Result<Self, BenchError> {
        std::fs::create_dir_all(dir)?;
        let secret = dir.join("secret");
        MeshSecrets::load_or_create(&secret).map_err(std::io::Error::other)?;
        Ok(Self { dir: dir.to_owned(), secret })
    }

    /// Starts a node with the lab's secret in a directory of its own.
    async fn start(&self, name: &str, setup: &Setup<'_>) -> Result<ChildNode, BenchError> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("config.yaml");
        std::fs::write(&file, setup.config)?;
        let (file, secret) = (file.display().to_string(), self.secret.display().to_string());
        let mut args = vec!["--config", &file, "--mesh-secret-file", &secret];
        args.extend(["--durability", "os", "--listen", setup.listen]);
        args.extend(setup.flags);
        Ok(ChildNode::start_with(&dir, &args, setup.env).await?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
