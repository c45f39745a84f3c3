//! A mesh over lines that are slow and lose every fifth packet.

use crate::lab::{SlowLine, Space, ready};
use crate::node::{Node, all_connected};
use serde_json::json;

/// Each way, in milliseconds.
const DELAY: u32 = 50;
const JITTER: u32 = 5;
/// Of the packets that arrive, in percent.
const LOSS: u8 = 20;
const TASKS: u32 = 20;

#[tokio::test]
async fn a_mesh_forms_and_works_with_a_fifth_of_all_packets_lost_and_fifty_milliseconds_each_way() {
    if !ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["ann", "bob", "cem"].map(Space::new);
    let addresses = ["10.88.0.1", "10.88.0.2", "10.88.0.3"];
    let line: Vec<_> = hosts.iter().zip(addresses).collect();
    let _line = SlowLine::join(&line, DELAY, JITTER);
    for host in &hosts {
        host.lose(LOSS);
    }
    // The first runs nothing itself: what is submitted there is done at the others, across the line.
    let ann = Node::start(&hosts[0], dir.path(), "executor:\n  slots: 0\n").await;
    let join = format!("p2p:\n  peers: [{}]\n", ann.at(addresses[0]));
    let bob = Node::start(&hosts[1], dir.path(), &join).await;
    let join = format!("p2p:\n  peers: [{}, {}]\n", ann.at(addresses[0]), bob.at(addresses[1]));
    let cem = Node::start(&hosts[2], dir.path(), &join).await;
    all_connected(&[&ann, &bob, &cem]).await;

    let batch = (0..TASKS).map(|number| {
        let ann = &ann;
        async move {
            let said = json!({"number": number});
            let result = ann.echo(&said).await;
            assert_eq!(result["status"], "completed", "{result}");
            assert_eq!(result["result"], said);
        }
    });
    futures::future::join_all(batch).await;
}
