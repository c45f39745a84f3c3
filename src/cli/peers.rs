//! `peers`: whom the node knows.

use crate::client::{Answer, NodeClient};
use crate::output::{Cell, Failure, Output, Table, Tone, clip, duration};

const EXAMPLES: &str = "\
Examples:
  meshwork peers                        everybody the node knows, connected ones first
  meshwork peers --capability gpu       who has that label, or serves that tool
  meshwork peers --announce             first tell all peers what this node offers";

/// Arguments of `peers`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PeersArgs {
    /// Only peers that serve this tool or have this label
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) max: Option<u32>,
    /// Tell all connected peers first what the node offers
    #[arg(long)]
    pub(crate) announce: bool,
    /// Ask this peer (id or address) whom it knows
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(args: &PeersArgs, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let peer = args.peer.as_deref();
    if args.announce {
        let announced = client.announce(peer).await?;
        output.note(format!("{} peers were told", announced.whole("reached").unwrap_or(0)));
    }
    let answer = client.discover_peers(args.capability.as_deref(), args.max, peer).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    let peers = answer.items("peers");
    if peers.is_empty() {
        output.note("no peers; `meshwork invite` prints the line with which another node joins");
        return Ok(());
    }
    let mut table = Table::new(["peer", "connected", "role", "rtt", "free", "tools", "labels", "address"]);
    for peer in &peers {
        table.row(row(peer));
    }
    output.table(&table)
}

fn row(peer: &Answer) -> Vec<Cell> {
    let offers = peer.member("offers");
    let connected = if peer.is_true("connected") {
        Cell::toned("yes", Tone::Good)
    } else {
        Cell::toned("no", Tone::Faint)
    };
    let free = match (offers.whole("free_slots"), offers.whole("slots")) {
        (Some(free), Some(slots)) => format!("{free}/{slots}"),
        _ => String::new(),
    };
    vec![
        Cell::text(peer.shown("peer_id")),
        connected,
        Cell::text(peer.shown("role")),
        Cell::number(peer.number("rtt_ms").map(|millis| duration(millis / 1e3)).unwrap_or_default()),
        Cell::number(free),
        Cell::text(clip(&offers.texts("tools").join(" "), 40)),
        Cell::text(clip(&offers.texts("labels").join(" "), 30)),
        Cell::text(dialable(&peer.texts("addresses"), &offers.texts("addresses"))),
    ]
}

/// The address to show: one that the peer announced, since that of a connection it made is a port nobody can dial.
fn dialable(known: &[String], announced: &[String]) -> String {
    let bare = |address: &str| address.split("/p2p/").next().unwrap_or(address).to_owned();
    let host = |address: &str| address.split('/').take(3).collect::<Vec<_>>().join("/");
    let Some(connected) = known.first() else { return announced.first().cloned().unwrap_or_default() };
    let same = announced.iter().find(|address| bare(address) == bare(connected));
    // Of several networks, the one over which we are connected already.
    let near = || announced.iter().find(|address| host(address) == host(connected));
    same.or_else(near).or_else(|| announced.first()).unwrap_or(connected).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Table;
    use serde_json::json;

    #[test]
    fn the_port_of_an_inbound_connection_is_not_shown_when_the_peer_announced_its_addresses() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let known = texts(&["/ip4/192.0.2.7/tcp/51234/p2p/p1", "/ip4/127.0.0.1/tcp/4001"]);
        let announced = texts(&["/ip4/127.0.0.1/tcp/4001", "/ip4/192.0.2.7/tcp/4001"]);
        assert_eq!(dialable(&known, &announced), "/ip4/192.0.2.7/tcp/4001");
        assert_eq!(dialable(&known, &announced[..1]), "/ip4/127.0.0.1/tcp/4001");
        assert_eq!(dialable(&known, &[]), known[0]);
        assert_eq!(dialable(&[], &announced), announced[0]);
    }

    #[test]
    fn a_row_shows_what_a_peer_offers_and_holds_for_one_that_said_nothing() {
        let offers = json!({"tools": ["echo"], "labels": ["gpu"], "free_slots": 3, "slots": 4});
        let talkative = json!({"peer_id": "p1", "connected": true, "role": "member", "rtt_ms": 1.5, "addresses": ["/ip4/192.0.2.7/tcp/1"], "offers": offers});
        let mut table = Table::default();
        table.row(row(&Answer(talkative)));
        table.row(row(&Answer(
            json!({"peer_id": "p2", "connected": false, "role": null, "offers": null, "addresses": []}),
        )));
        let text = table.render(false, false);
        for word in ["p1", "yes", "member", "2 ms", "3/4", "echo", "gpu", "/ip4/192.0.2.7/tcp/1", "p2", "no"]
        {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }
}
