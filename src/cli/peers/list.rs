//! `peers list`, and `peers` alone.

use crate::client::{Answer, NodeClient, PeerFilter};
use crate::output::{Cell, Failure, Output, Table, Tone, clip, duration};

const EXAMPLES: &str = "\
Examples:
  meshwork peers list --state connected
  meshwork peers list --source mdns --max 10
  meshwork peers list --json | jq -r '.peers[] | select(.trust == \"refused\") | .peer_id'";

/// Arguments of `peers list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListOptions {
    /// Only peers in this state
    #[arg(long, value_name = "STATE", value_parser = super::states())]
    pub(crate) state: Option<String>,
    /// Only peers that were heard of by this way
    #[arg(long, value_name = "SOURCE", value_parser = super::sources())]
    pub(crate) source: Option<String>,
    /// Only peers that serve this tool or have this label
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max: Option<u32>,
    /// Tell all connected peers first what the node offers
    #[arg(long)]
    pub(crate) announce: bool,
    /// Ask this peer (id or address) whom it knows
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

impl ListOptions {
    fn filter(&self) -> PeerFilter {
        PeerFilter {
            state: self.state.clone(),
            capability: self.capability.clone(),
            source: self.source.clone(),
            max_peers: self.max,
            peer: self.peer.clone(),
        }
    }
}

pub(super) async fn execute(
    options: &ListOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    if options.announce {
        let announced = client.announce(options.peer.as_deref()).await?;
        output.note(format!("{} peers were told", announced.whole("reached").unwrap_or(0)));
    }
    let answer = client.peers(&options.filter()).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    if let Some(line) = reach(&answer) {
        output.note(line);
    }
    let peers = answer.items("peers");
    if peers.is_empty() {
        let filtered = options.state.is_some() || options.source.is_some() || options.capability.is_some();
        output.note(if filtered {
            "no peer fits"
        } else {
            "no peers; `meshwork peers discover` looks for some, `meshwork peers pair` lets a new node in"
        });
        return Ok(());
    }
    output.table(&table(&peers))
}

/// How well the node itself can be reached; nothing when a peer was asked.
fn reach(answer: &Answer) -> Option<String> {
    let reach = answer.member("reach");
    let how = match reach.text("reachability")? {
        "public" => "can be reached from outside of its network",
        "private" => "cannot be reached from outside of its network",
        _ => "has not been tried from outside of its network",
    };
    let mut line = format!("this node {how}");
    for (what, name) in [(" at ", "external"), ("; through relays ", "relays"), ("; seen as ", "observed")] {
        let texts = reach.texts(name);
        if !texts.is_empty() {
            line.push_str(&format!("{what}{}", texts.join(", ")));
        }
    }
    Some(line)
}

/// Peers as a table. Ids stay whole, to be copied into other commands.
pub(super) fn table(peers: &[Answer]) -> Table {
    let mut table =
        Table::new(["peer", "state", "trust", "rtt", "seen", "free", "capabilities", "found by", "address"]);
    for peer in peers {
        table.row(row(peer));
    }
    table
}

fn row(peer: &Answer) -> Vec<Cell> {
    let seconds = |name: &str| peer.number(name).map(duration).unwrap_or_default();
    let rtt = peer.number("rtt_ms").map(|millis| duration(millis / 1e3)).unwrap_or_default();
    let load = peer.member("load");
    let free = match (load.whole("free_slots"), load.whole("slots")) {
        (Some(free), Some(slots)) => format!("{free}/{slots}"),
        _ => String::new(),
    };
    vec![
        Cell::text(peer.shown("peer_id")),
        state(peer),
        trust(&peer.shown("trust")),
        Cell::number(rtt),
        Cell::number(seconds("last_seen_s")),
        Cell::number(free),
        Cell::text(clip(&peer.texts("capabilities").join(" "), 40)),
        Cell::text(peer.texts("found_by").join(" ")),
        Cell::text(address(peer)),
    ]
}

/// Where a peer stands, and whether its connection goes through a relay.
pub(super) fn state(peer: &Answer) -> Cell {
    let state = peer.shown("state");
    let tone = match state.as_str() {
        "connected" => Tone::Good,
        "stale" => Tone::Warn,
        "banned" => Tone::Bad,
        "left" => Tone::Faint,
        _ => Tone::Plain,
    };
    let relayed = if peer.is_true("relayed") { " (relayed)" } else { "" };
    Cell::toned(format!("{state}{relayed}"), tone)
}

fn trust(trust: &str) -> Cell {
    let tone = match trust {
        "refused" | "revoked" => Tone::Bad,
        "unproven" => Tone::Faint,
        _ => Tone::Plain,
    };
    Cell::toned(trust, tone)
}

/// The most promising address, and how many there are beside it.
pub(super) fn address(peer: &Answer) -> String {
    let addresses = peer.items("addresses");
    let first = addresses.first().map(|address| address.shown("addr")).unwrap_or_default();
    match addresses.len() {
        0 | 1 => first,
        several => format!("{first} (+{})", several - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_row_shows_what_is_known_of_a_peer_and_its_whole_id() {
        let known = |addr: &str| json!({"addr": addr, "source": "gossip", "confirmed_s": 2.0});
        let peer = Answer(json!({
            "peer_id": ID, "state": "connected", "trust": "member", "rtt_ms": 1.5, "last_seen_s": 0.04, "relayed": true,
            "capabilities": ["echo", "gpu"], "found_by": ["mdns", "gossip"], "load": {"free_slots": 3, "slots": 4},
            "addresses": [known("/ip4/192.0.2.7/tcp/1"), known("/ip4/192.0.2.8/tcp/1")],
        }));
        let text = table(&[peer]).render(false, false);
        for word in [
            ID,
            "connected (relayed)",
            "member",
            "2 ms",
            "40 ms",
            "3/4",
            "echo gpu",
            "mdns gossip",
            "/ip4/192.0.2.7/tcp/1 (+1)",
        ] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }

    #[test]
    fn a_row_holds_for_a_peer_of_which_nothing_is_known_but_its_id() {
        let peer = Answer(json!({
            "peer_id": ID, "state": "known", "trust": "unproven", "rtt_ms": null, "last_seen_s": null, "relayed": null,
            "capabilities": [], "found_by": [], "load": null, "addresses": [],
        }));
        assert_eq!(row(&peer).len(), 9);
        assert!(table(&[peer]).render(false, false).contains("unproven"));
    }

    #[test]
    fn only_what_was_given_is_asked_for() {
        let options = ListOptions { state: Some("known".into()), max: Some(3), ..ListOptions::default() };
        let filter = serde_json::to_value(options.filter()).unwrap();
        assert_eq!(filter, json!({"state": "known", "max_peers": 3}));
    }
}
