//! What a known peer costs, and how long it takes to find peers in a book that is warm.

use super::{BenchError, Lab, Setup};
use crate::bench::WITHIN;
use crate::client::{ClientError, ClientOptions, NodeClient, PeerFilter};
use crate::output::Output;
use meshwork_network::MeshClient;
use meshwork_network::identity::NodeIdentity;
use meshwork_network::trust::MeshSecrets;
use meshwork_proto::MeshError;
use meshwork_proto::discovery::{ListMembers, RegisterPeer};
use serde::Serialize;
use tokio::time::Instant;

/// Peers that are entered into the book.
const PEERS: usize = 5_000;
/// Peers in one answer, as a list for a person has them.
const LISTED: u32 = 50;
/// Questions of which the median is shown.
const QUESTIONS: usize = 500;
/// A node that connects to nobody by itself: the peers of its book are invented.
const CONFIG: &str = "p2p: {discovery: {mdns: off, target_connections: 0}}\nlog: {level: error}\n";

/// A book with many peers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Book {
    /// How many peers it holds.
    pub(super) peers: usize,
    /// Resident memory of the node for each of them, in bytes.
    pub(super) bytes_per_peer: u64,
    /// Median time in which another node is told fifty of them, over a kept connection, in microseconds.
    pub(super) list_us: u64,
    /// Median time in which it is told who has a tool that nobody has: the whole book is looked through.
    pub(super) search_us: u64,
    /// Median time in which an MCP client is told fifty of them by the tool `p2p_peer_list`.
    pub(super) tool_us: u64,
}

/// Fills a node's book and asks it.
pub(super) async fn measure(lab: &Lab, output: Output) -> Result<Book, BenchError> {
    let mut progress = output.progress();
    progress.say("a book with many peers");
    let mut node = lab.start("book", &Setup::of(CONFIG)).await?;
    let secrets = MeshSecrets::load(&lab.secret).map_err(std::io::Error::other)?;
    let client = MeshClient::connect(NodeIdentity::generate(), secrets, &node.address(), WITHIN)
        .await
        .map_err(|error| MeshError::from_coded(&error))?;
    let before = node.resident_bytes()?;
    for entered in 0..PEERS {
        let register = RegisterPeer {
            peer: Some(NodeIdentity::generate().peer_id()),
            addresses: vec!["/ip4/198.51.100.7/tcp/4001".into(), "/ip4/198.51.100.7/udp/4001/quic-v1".into()],
            connect_within_ms: 0,
        };
        client.call(register, WITHIN).await.map_err(|error| MeshError::from_coded(&error))?;
        progress.advance(entered as u64, Some(PEERS as u64));
    }
    let after = node.resident_bytes()?;
    let list = ListMembers { max_peers: LISTED, ..ListMembers::default() };
    let search = ListMembers { capability: Some("a tool that nobody has".into()), ..ListMembers::default() };
    let ask = async |question: &ListMembers| {
        client.call(question.clone(), WITHIN).await.map_err(|error| MeshError::from_coded(&error))
    };
    let reader = NodeClient::connect(&ClientOptions::at(&node.ready.mcp_url)).await.map_err(no_answer)?;
    let filter = PeerFilter { max_peers: Some(LISTED), ..PeerFilter::default() };
    let book = Book {
        peers: PEERS,
        bytes_per_peer: after.saturating_sub(before) / PEERS as u64,
        list_us: median(async || ask(&list).await.map(drop).map_err(BenchError::from)).await?,
        search_us: median(async || ask(&search).await.map(drop).map_err(BenchError::from)).await?,
        tool_us: median(async || reader.peers(&filter).await.map(drop).map_err(no_answer)).await?,
    };
    client.close().await;
    node.kill().await?;
    progress.finish();
    Ok(book)
}

/// The median time of a question that is asked many times, in microseconds.
async fn median(ask: impl AsyncFn() -> Result<(), BenchError>) -> Result<u64, BenchError> {
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        ask().await?;
        times.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok(times.get(QUESTIONS / 2).copied().unwrap_or_default())
}

fn no_answer(error: ClientError) -> BenchError {
    std::io::Error::other(error).into()
}
