//! From the start of a node's process to its first useful connection — admitted on both sides — by each source.
//!
//! In each case one node is there already and the other, with an empty data directory, knows nothing but that one source.

mod cases;

use super::forge::Forge;
use super::page::{Pages, Seen};
use super::spread::millis;
use super::{BenchError, Lab, Setup};
use crate::child::ChildNode;
use crate::output::Output;
use cases::Case;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often each case is measured; the median is shown.
const ROUNDS: usize = 5;
/// Longest wait for a connection.
const WITHIN: Duration = Duration::from_secs(90);
/// Pause between looks: the precision of the figures.
const LOOK: Duration = Duration::from_millis(5);

/// One source.
#[derive(Debug, Clone, Serialize)]
pub(super) struct First {
    /// How the node found its first peer.
    pub(super) source: &'static str,
    /// Median from the start of its process to its first admitted connection, in milliseconds.
    pub(super) median_ms: Option<u64>,
    /// The quickest and the slowest of the rounds.
    pub(super) range_ms: Option<(u64, u64)>,
    /// Why it was not measured.
    pub(super) problem: Option<String>,
}

/// Measures every source that needs nothing outside of this machine.
pub(super) async fn measure(lab: &Lab, output: Output) -> Result<Vec<First>, BenchError> {
    let mut progress = output.progress();
    let cases = cases::all().await;
    let total = (cases.len() * ROUNDS) as u64;
    let mut firsts = Vec::new();
    for case in cases {
        let mut times = Vec::new();
        let mut problem = case.impossible.clone();
        for round in 0..ROUNDS {
            if problem.is_some() {
                break;
            }
            progress.say(format!("first connection by {}", case.source));
            match once(lab, &case, round).await? {
                Ok(time) => times.push(millis(time)),
                Err(why) => problem = Some(why),
            }
            progress.advance((firsts.len() * ROUNDS + round + 1) as u64, Some(total));
        }
        times.sort_unstable();
        firsts.push(First {
            source: case.source,
            median_ms: times.get(times.len() / 2).copied(),
            range_ms: times.first().copied().zip(times.last().copied()),
            problem,
        });
    }
    progress.finish();
    Ok(firsts)
}

/// One round; the inner error says why the source led to nothing.
async fn once(lab: &Lab, case: &Case, round: usize) -> Result<Result<Duration, String>, BenchError> {
    let pages = Pages::new()?;
    // Its own for each round: in that of another one there are entries of nodes that are gone.
    let forge = Forge::start().await?;
    let mut scene = Scene::new(lab, format!("first-{}-{round}", case.source.replace(' ', "-")), &forge);
    let mut nodes = Vec::new();
    if let Some(p2p) = &case.point {
        let node = scene.start("point", p2p, case, &[]).await?;
        scene.point = node.address();
        nodes.push(node);
    }
    let there = scene.start("there", &case.there, case, &[]).await?;
    scene.know(&there)?;
    // It has met the third node, if there is one, and is entered where it can be found: that is not what is waited for.
    let met = u64::from(case.point.is_some());
    let ready = until(&pages, &there, |seen| seen.connected >= met && seen.entered).await?;
    nodes.push(there);
    let outcome = if ready {
        let address = scene.there.clone();
        let variables: Vec<_> = case.variable.into_iter().map(|name| (name, address.as_str())).collect();
        let begun = Instant::now();
        let node = scene.start("comes", &case.comes, case, &variables).await?;
        let found = until(&pages, &node, |seen| seen.connected > met).await?;
        let elapsed = begun.elapsed();
        nodes.push(node);
        if found { Ok(elapsed) } else { Err(format!("no connection within {WITHIN:?}")) }
    } else {
        Err(format!("the node to be found was not entered within {WITHIN:?}"))
    };
    for node in &mut nodes {
        node.kill().await?;
    }
    std::fs::remove_dir_all(scene.path())?;
    Ok(outcome)
}

/// The nodes of one round, and what stands for the names in their configuration.
struct Scene<'a> {
    lab: &'a Lab,
    dir: String,
    forge: String,
    /// Address of the third node, which the others may name.
    point: String,
    /// Address of the node that is there first.
    there: String,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab, dir: String, forge: &Forge) -> Self {
        Self { lab, dir, forge: forge.url().to_owned(), point: String::new(), there: String::new() }
    }

    fn path(&self) -> PathBuf {
        self.lab.path(&self.dir)
    }

    /// The node that is to be found is there.
    fn know(&mut self, there: &ChildNode) -> Result<(), BenchError> {
        self.there = there.address();
        std::fs::write(self.path().join("peers"), format!("# bootstrap peers\n{}\n", self.there))?;
        Ok(())
    }

    /// Starts one of the nodes with this section `p2p`.
    async fn start(
        &self,
        name: &str,
        p2p: &str,
        case: &Case,
        env: &[(&str, &str)],
    ) -> Result<ChildNode, BenchError> {
        // Only a node that must say where it is before it listens needs a port that is known before.
        let own = if p2p.contains("{own}") { free_address()? } else { case.listen.to_owned() };
        let config = format!("p2p: {}\nlog: {{level: warn}}\n", self.fill(p2p, &own));
        let setup = Setup { env, listen: &own, ..Setup::of(&config) };
        self.lab.start(&format!("{}/{name}", self.dir), &setup).await
    }

    fn fill(&self, p2p: &str, own: &str) -> String {
        let at = |name: &str| self.path().join(name).display().to_string();
        p2p.replace("{own}", own)
            .replace("{point}", &self.point)
            .replace("{there}", &self.there)
            .replace("{port}", self.there.split('/').nth(4).unwrap_or_default())
            .replace("{file}", &at("peers"))
            .replace("{registry}", &at("registry"))
            .replace("{forge}", &self.forge)
    }
}

/// An address at which nobody listens at this moment.
fn free_address() -> std::io::Result<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!("/ip4/127.0.0.1/tcp/{port}"))
}

/// Waits until the node is seen so; false when it never was.
async fn until(
    pages: &Pages,
    node: &ChildNode,
    as_wanted: impl Fn(&Seen) -> bool,
) -> Result<bool, BenchError> {
    let deadline = Instant::now() + WITHIN;
    loop {
        // A machine that is busy with something else may not answer in time: it is asked again.
        let seen = pages.seen(node).await;
        if seen.as_ref().is_ok_and(&as_wanted) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return seen.map(|_| false);
        }
        sleep(LOOK).await;
    }
}
