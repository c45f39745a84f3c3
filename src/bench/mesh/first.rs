//! From the start of a node's process to its first useful connection — admitted on both sides — by each source.
//!
//! In each case one node is there already and the other, with an empty data directory, knows nothing but that one source.

use super::page::Pages;
use super::spread::millis;
use super::{BenchError, Lab};
use crate::child::ChildNode;
use crate::cli::BenchArgs;
use crate::output::Output;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often each case is measured; the median is shown.
const ROUNDS: usize = 5;
/// Longest wait for a connection.
const WITHIN: Duration = Duration::from_secs(90);
/// Pause between looks: the precision of the figures.
const LOOK: Duration = Duration::from_millis(5);
/// Switches off every way of being found that is not measured.
const QUIET: &str = "mdns: off, gossip: false";

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

/// What the two nodes, and perhaps a third one between them, are told.
struct Case {
    source: &'static str,
    /// `p2p` section of the node that is there first; `{point}` stands for the address of the third node.
    there: String,
    /// `p2p` section of the node that comes; `{there}` stands for the other's address.
    comes: String,
    /// `p2p` section of a third node that both may name.
    point: Option<String>,
}

/// Measures every source that needs nothing outside of this machine.
pub(super) async fn measure(lab: &Lab, _: &BenchArgs, output: Output) -> Result<Vec<First>, BenchError> {
    let mut progress = output.progress();
    let cases = cases(lab);
    let total = (cases.len() * ROUNDS) as u64;
    let mut firsts = Vec::new();
    for case in cases {
        let mut times = Vec::new();
        let mut problem = None;
        for round in 0..ROUNDS {
            progress.say(format!("first connection by {}", case.source));
            match once(lab, &case, round).await? {
                Ok(time) => times.push(millis(time)),
                Err(why) => problem = Some(why),
            }
            progress.advance((firsts.len() * ROUNDS + round + 1) as u64, Some(total));
            if problem.is_some() {
                break;
            }
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

fn cases(lab: &Lab) -> Vec<Case> {
    let case = |source, there: &str, comes: &str, point: Option<&str>| Case {
        source,
        there: there.to_owned(),
        comes: comes.to_owned(),
        point: point.map(str::to_owned),
    };
    let quiet = format!("{{discovery: {{{QUIET}}}}}");
    let both = |more: &str| format!("{{discovery: {{{QUIET}, {more}}}}}");
    let registry = lab.path("registry");
    let files = both(&format!("files: {{path: {}}}", registry.display()));
    let dht = "{peers: [\"{point}\"], discovery: {mdns: off, gossip: false, dht: {enabled: true}}}";
    let rendezvous = both("rendezvous: {points: [\"{point}\"]}");
    vec![
        case(
            "configured address",
            &quiet,
            &format!("{{peers: [\"{{there}}\"], discovery: {{{QUIET}}}}}"),
            None,
        ),
        case(
            "mdns",
            "{discovery: {mdns: on, gossip: false}}",
            "{discovery: {mdns: on, gossip: false}}",
            None,
        ),
        case("file_registry", &files, &files, None),
        case(
            "bootstrap file",
            &quiet,
            &format!("{{bootstrap: {{file: \"{{file}}\"}}, discovery: {{{QUIET}}}}}"),
            None,
        ),
        case(
            "dns",
            &quiet,
            &format!(
                "{{bootstrap: {{dns: [localhost], dns_port: {{port}}}}, discovery: {{allow_private_addresses: true, {QUIET}}}}}"
            ),
            None,
        ),
        case(
            "public list",
            &quiet,
            &format!(
                "{{bootstrap: {{public: true, public_list: [\"{{there}}\"]}}, discovery: {{allow_private_addresses: true, {QUIET}}}}}"
            ),
            None,
        ),
        case("rendezvous", &rendezvous, &rendezvous, Some(&both("rendezvous: {serve: true}"))),
        case("dht", dht, dht, Some("{discovery: {mdns: off, gossip: false, dht: {enabled: true}}}")),
        case(
            "gossip",
            "{peers: [\"{point}\"], discovery: {mdns: off}}",
            "{peers: [\"{point}\"], discovery: {mdns: off}}",
            Some("{discovery: {mdns: off}}"),
        ),
    ]
}

/// One round; the inner error says why the source led to nothing.
async fn once(lab: &Lab, case: &Case, round: usize) -> Result<Result<Duration, String>, BenchError> {
    let dir = format!("first-{}-{round}", case.source.replace(' ', "-"));
    let pages = Pages::new()?;
    let mut nodes = Vec::new();
    let point = match &case.point {
        Some(p2p) => {
            let node = lab.start(&format!("{dir}/point"), &config(p2p), &[]).await?;
            let address = node.address();
            nodes.push(node);
            address
        }
        None => String::new(),
    };
    let there =
        lab.start(&format!("{dir}/there"), &config(&case.there.replace("{point}", &point)), &[]).await?;
    // With a third node in between, the two must have met it before the third is what is waited for.
    let wanted = 1 + u64::from(case.point.is_some());
    if case.point.is_some() {
        until(&pages, &there, 1).await?;
    }
    let comes = filled(lab, &dir, &case.comes, &there, &point)?;
    let begun = Instant::now();
    let node = lab.start(&format!("{dir}/comes"), &config(&comes), &[]).await?;
    let found = until(&pages, &node, wanted).await?;
    let elapsed = begun.elapsed();
    nodes.extend([there, node]);
    for node in &mut nodes {
        node.kill().await?;
    }
    std::fs::remove_dir_all(lab.path(&dir))?;
    let registry = lab.path("registry");
    if registry.exists() {
        std::fs::remove_dir_all(registry)?;
    }
    Ok(if found { Ok(elapsed) } else { Err(format!("no connection within {WITHIN:?}")) })
}

/// The configuration of the node that comes, with what it must know of the other one.
fn filled(lab: &Lab, dir: &str, p2p: &str, there: &ChildNode, point: &str) -> Result<String, BenchError> {
    let address = there.address();
    let port = address.split('/').nth(4).unwrap_or("0").to_owned();
    let file = lab.path(dir).join("peers");
    std::fs::write(&file, format!("# bootstrap peers\n{address}\n"))?;
    Ok(p2p
        .replace("{there}", &address)
        .replace("{point}", point)
        .replace("{port}", &port)
        .replace("{file}", &file.display().to_string()))
}

fn config(p2p: &str) -> String {
    format!("p2p: {p2p}\nlog: {{level: warn}}\n")
}

/// Waits until the node has so many admitted connections; false when it never had.
async fn until(pages: &Pages, node: &ChildNode, connected: u64) -> Result<bool, BenchError> {
    let deadline = Instant::now() + WITHIN;
    while pages.seen(node).await?.connected < connected {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(LOOK).await;
    }
    Ok(true)
}
