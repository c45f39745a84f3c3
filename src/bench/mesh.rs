//! What being a mesh costs: how soon a node has its first useful connection by each source, how soon many nodes all know
//! one another, what they say to each other when nothing happens, and what a known peer costs.
//!
//! All nodes are processes of their own on loopback. mDNS is switched off where it is not what is measured, or the nodes
//! would find each other by it.

mod book;
mod first;
mod page;
mod report;
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
    let first = first::measure(&lab, options, output).await?;
    let book = book::measure(&lab, options, output).await?;
    let spread = spread::measure(&lab, options, output).await?;
    Ok(MeshReport { first, book, spread })
}

/// Where the nodes of the measurements live, and the secret that they share.
pub(super) struct Lab {
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

    /// Starts a node with the lab's secret and this configuration (YAML) in a directory of its own.
    async fn start(&self, name: &str, config: &str, extra: &[&str]) -> Result<ChildNode, BenchError> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("config.yaml");
        std::fs::write(&file, config)?;
        let (file, secret) = (file.display().to_string(), self.secret.display().to_string());
        let mut args = vec![
            "--config",
            &file,
            "--mesh-secret-file",
            &secret,
            "--durability",
            "os",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ];
        args.extend_from_slice(extra);
        Ok(ChildNode::start(&dir, &args).await?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
