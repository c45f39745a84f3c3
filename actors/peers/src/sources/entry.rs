//! An entry of a registry that meshwork nodes and Python nodes share: the fields of the Python nodes, unchanged.
//!
//! What the Python nodes have one field for and a node here has several of (addresses) is in `metadata`, which they keep
//! and do not look at. Whatever an entry says is a hint; here it is only made sure that it is not nonsense.

use super::{OwnCard, timestamp};
use crate::address::Address;
use crate::clip::clip;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::{PeerId, UnixMillis};
use rand::Rng;
use rand::seq::index;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Largest entry that is read, in bytes of JSON.
pub(crate) const MAX_ENTRY: usize = 16 * 1024;
/// Most addresses of one peer that are taken from one place.
pub(crate) const MAX_PER_PEER: usize = 8;
/// Most peers that a registry gives at one visit.
pub(crate) const MAX_FOUND: usize = 1_000;
/// Most of a node's tools and labels that an entry names: a registry is read by everybody all the time.
const MAX_CAPABILITIES: usize = 32;
/// After how long the Python nodes take a peer for gone: our own entry is renewed well within it.
const USUAL_TTL: Duration = Duration::from_secs(1_800);
/// What a node here writes into `metadata`.
const AGENT: &str = concat!("meshwork/", env!("CARGO_PKG_VERSION"));

/// A peer's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whose it is.
    pub(crate) peer: PeerId,
    /// The name under which it is kept; empty if it has none.
    pub(crate) runner: String,
    /// Where the peer is, the address it prefers first.
    pub(crate) addresses: Vec<String>,
    /// When it was written, by the clock of who wrote it.
    pub(crate) last_seen: Option<UnixMillis>,
}

impl Entry {
    /// Reads an entry of either kind of node.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let fields = value.as_object().ok_or("it is no JSON object")?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let peer_id = text("peer_id").ok_or("it has no peer_id")?;
        let peer: PeerId = peer_id.parse().map_err(|_| {
            let shown = clip(peer_id, 64);
            format!("{shown:?} is no peer id")
        })?;
        let addresses = addresses_of(fields, &peer)?;
        let last_seen = match fields.get("last_seen") {
            Some(Value::String(iso)) => timestamp::from_iso(iso),
            Some(Value::Number(seconds)) => seconds.as_f64().and_then(timestamp::from_seconds),
            _ => None,
        };
        let runner = text("runner_name").map_or_else(String::new, |name| clip(name, 256));
        Ok(Self { peer, runner, addresses, last_seen })
    }

    /// How long ago it was written by the clock given; none: it does not say.
    pub(crate) fn age(&self, now: UnixMillis) -> Option<Duration> {
        self.last_seen.map(|seen| now.since(seen))
    }

    /// As the peer book takes it.
    pub(crate) fn into_found(self) -> FoundPeer {
        FoundPeer { peer: Some(self.peer), addresses: self.addresses }
    }
}

/// The addresses of an entry: its one `multiaddr` and those in `metadata`.
fn addresses_of(fields: &Map<String, Value>, peer: &PeerId) -> Result<Vec<String>, String> {
    let more =
        fields.get("metadata").and_then(|metadata| metadata.get("addresses")).and_then(Value::as_array);
    let more = more.into_iter().flatten().filter_map(Value::as_str).take(MAX_PER_PEER);
    let named = fields.get("multiaddr").and_then(Value::as_str);
    let mut good: Vec<String> = Vec::new();
    let mut problem = None;
    for text in named.into_iter().chain(more) {
        match of_peer(text, peer) {
            Ok(address) if !good.contains(&address) => good.push(address),
            Ok(_) => {}
            Err(found) => problem = problem.or(Some(found)),
        }
    }
    good.truncate(MAX_PER_PEER);
    if good.is_empty() {
        good.extend(from_public_ip(fields));
    }
    if good.is_empty() {
        return Err(problem.unwrap_or_else(|| "it has no multiaddr".into()));
    }
    Ok(good)
}

/// Reads one of the addresses of a peer.
fn of_peer(text: &str, peer: &PeerId) -> Result<String, String> {
    let address: Address = text.parse::<Address>()?;
    match &address.peer {
        Some(other) if other != peer => {
            Err(format!("it is of peer {peer}, and its address is of peer {other}"))
        }
        _ => Ok(address.to_string()),
    }
}

/// Some Python nodes write the address on which they listen (`0.0.0.0`) and the one at which they are seen beside it.
fn from_public_ip(fields: &Map<String, Value>) -> Option<String> {
    let written = fields.get("multiaddr").and_then(Value::as_str)?;
    if !written.starts_with("/ip4/0.0.0.0/") && !written.starts_with("/ip6/::/") {
        return None;
    }
    let ip: std::net::IpAddr = fields.get("public_ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(fields.get("listen_port")?.as_u64()?).ok()?;
    let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
    let address: Address = format!("/{family}/{ip}/tcp/{port}").parse().ok()?;
    Some(address.to_string())
}

/// This node's entry as the Python nodes write theirs; none while the node has no address to give.
pub(crate) fn own(card: &OwnCard, runner: &str, now: UnixMillis) -> Option<Value> {
    let best: Address = card.addresses.first()?.parse().ok()?;
    Some(json!({
        "peer_id": card.peer,
        "runner_name": runner,
        "public_ip": best.ip,
        "listen_port": best.port,
        "multiaddr": best.to_string(),
        "last_seen": timestamp::to_iso(now),
        "metadata": metadata(card),
    }))
}

/// What the fields of the Python nodes have no place for.
pub(crate) fn metadata(card: &OwnCard) -> Value {
    json!({
        "agent": AGENT,
        "addresses": card.addresses.iter().take(MAX_PER_PEER).collect::<Vec<_>>(),
        "capabilities": capabilities(card),
    })
}

/// The tools and labels that an entry names.
pub(crate) fn capabilities(card: &OwnCard) -> Vec<&String> {
    card.capabilities.iter().filter(|name| name.len() <= 128).take(MAX_CAPABILITIES).collect()
}

/// The JSON of an entry as the Python nodes print it: indented by two, keys sorted.
pub(crate) fn print(entry: &Value) -> String {
    // Sorted here and not left to `serde_json`, whose maps keep another order when any crate of the build asks for it.
    serde_json::to_string_pretty(&sorted(entry)).unwrap_or_default()
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Sorted<'a> {
    Object(BTreeMap<&'a str, Sorted<'a>>),
    Other(&'a Value),
}

fn sorted(value: &Value) -> Sorted<'_> {
    match value {
        Value::Object(fields) => {
            Sorted::Object(fields.iter().map(|(name, value)| (name.as_str(), sorted(value))).collect())
        }
        other => Sorted::Other(other),
    }
}

/// Whether two entries say the same but for when they were written.
pub(crate) fn same_but_for_time(one: &Value, other: &Value) -> bool {
    let timeless = |entry: &Value| {
        let mut fields = entry.as_object().cloned().unwrap_or_default();
        fields.retain(|name, _| name != "last_seen" && name != "first_seen");
        fields
    };
    timeless(one) == timeless(other)
}

/// How old an entry of our own may become before it is renewed: a part of its time to live, or of that of the Python nodes
/// if it is shorter. A time to live of zero is none.
pub(crate) fn renew_after(ttl: Duration, part: u32) -> Duration {
    let shortest = if ttl.is_zero() { USUAL_TTL } else { ttl.min(USUAL_TTL) };
    shortest / part
}

/// Whether an entry is not too old; with a time to live of zero none is.
pub(crate) fn is_fresh(age: Duration, ttl: Duration) -> bool {
    ttl.is_zero() || age <= ttl
}

/// The name under which a node keeps its entry when another one has its own already: nodes that share a machine often
/// were given the same name.
pub(crate) fn other_name(runner: &str, own: &PeerId) -> String {
    format!("{runner}-{}", own.short())
}

/// The peers of entries that are not too old: the freshest first, each peer once, and not `own`. Of more than
/// [`MAX_FOUND`] so many are drawn: ids are made in no time, and whoever enters thousands of them could make all of them
/// the freshest.
pub(crate) fn fresh(
    mut entries: Vec<(Duration, Entry)>,
    ttl: Duration,
    own: &PeerId,
    rng: &mut impl Rng,
) -> Vec<FoundPeer> {
    entries.retain(|(age, entry)| is_fresh(*age, ttl) && entry.peer != *own);
    entries.sort_by_key(|(age, _)| *age);
    let mut seen = BTreeSet::new();
    entries.retain(|(_, entry)| seen.insert(entry.peer.clone()));
    draw(entries, MAX_FOUND, rng).into_iter().map(|(_, entry)| entry.into_found()).collect()
}

/// So many of all, drawn at random, in the order in which they are; all, if there are no more.
pub(crate) fn draw<T>(all: Vec<T>, max: usize, rng: &mut impl Rng) -> Vec<T> {
    if all.len() <= max {
        return all;
    }
    let drawn: BTreeSet<usize> = index::sample(rng, all.len(), max).into_iter().collect();
    all.into_iter().enumerate().filter(|(n, _)| drawn.contains(n)).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cards::{A, B};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn card() -> OwnCard {
        OwnCard {
            peer: A.parse().unwrap(),
            addresses: vec![
                format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}"),
                format!("/ip4/198.51.100.7/udp/4001/quic-v1/p2p/{A}"),
            ],
            capabilities: ["ocr".to_owned(), "gpu".to_owned()].into(),
        }
    }

    #[test]
    fn our_entry_has_the_fields_of_the_python_nodes_and_reads_back() {
        let entry = own(&card(), "host-1", NOW).unwrap();
        let names: Vec<_> = entry.as_object().unwrap().keys().cloned().collect();
        let mut names = names;
        names.sort();
        assert_eq!(
            names,
            ["last_seen", "listen_port", "metadata", "multiaddr", "peer_id", "public_ip", "runner_name"]
        );
        assert_eq!((&entry["public_ip"], &entry["listen_port"]), (&json!("198.51.100.7"), &json!(4001)));
        let read = Entry::read(&entry).unwrap();
        assert_eq!((read.runner.as_str(), read.age(NOW)), ("host-1", Some(Duration::ZERO)));
        assert_eq!(read.addresses, card().addresses);
    }

    #[test]
    fn a_node_without_an_address_enters_nothing() {
        assert_eq!(own(&OwnCard { addresses: vec![], ..card() }, "host-1", NOW), None);
    }

    #[test]
    fn an_entry_as_python_writes_it_is_read() {
        let entry = json!({
            "last_seen": "2023-11-14T22:03:20.123456+00:00", "listen_port": 9100, "metadata": {},
            "multiaddr": format!("/ip4/203.0.113.9/tcp/9100/p2p/{B}"), "peer_id": B,
            "public_ip": "203.0.113.9", "runner_name": "runner-7",
        });
        let read = Entry::read(&entry).unwrap();
        assert_eq!(read.peer.as_str(), B);
        assert_eq!(read.age(NOW), Some(Duration::from_millis(599_877)));
        assert_eq!(read.addresses, [format!("/ip4/203.0.113.9/tcp/9100/p2p/{B}")]);
    }

    #[test]
    fn a_listening_address_is_completed_from_the_public_one() {
        let entry = json!({
            "peer_id": B, "multiaddr": "/ip4/0.0.0.0/tcp/9100", "public_ip": "203.0.113.9", "listen_port": 9100,
        });
        assert_eq!(Entry::read(&entry).unwrap().addresses, ["/ip4/203.0.113.9/tcp/9100"]);
    }

    #[test]
    fn an_entry_that_names_one_peer_and_leads_to_another_is_not_believed() {
        let entry = json!({"peer_id": B, "multiaddr": format!("/ip4/203.0.113.9/tcp/9100/p2p/{A}")});
        let problem = Entry::read(&entry).unwrap_err();
        assert!(problem.contains(A) && problem.contains(B), "{problem}");
    }

    #[test]
    fn nonsense_is_turned_away_with_the_reason() {
        for (entry, why) in [
            (json!([]), "no JSON object"),
            (json!({}), "no peer_id"),
            (json!({"peer_id": "me", "multiaddr": "/ip4/8.8.8.8/tcp/1"}), "no peer id"),
            (json!({"peer_id": B}), "no multiaddr"),
            (json!({"peer_id": B, "multiaddr": 7}), "no multiaddr"),
            (json!({"peer_id": B, "multiaddr": "8.8.8.8:1"}), "no multiaddress"),
        ] {
            let problem = Entry::read(&entry).unwrap_err();
            assert!(problem.contains(why), "{entry}: {problem}");
        }
    }

    #[test]
    fn the_freshest_entry_of_a_peer_counts_and_our_own_and_old_ones_do_not() {
        let entry = |peer: &str, port: u16| Entry {
            peer: peer.parse().unwrap(),
            runner: String::new(),
            addresses: vec![format!("/ip4/8.8.8.8/tcp/{port}")],
            last_seen: None,
        };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let entries = vec![(minutes(9), entry(B, 1)), (minutes(2), entry(B, 2)), (minutes(0), entry(A, 3))];
        let fresh = |entries, ttl| fresh(entries, ttl, &A.parse().unwrap(), &mut StdRng::seed_from_u64(1));
        let found = fresh(entries.clone(), minutes(30));
        assert_eq!(found.iter().flat_map(|peer| &peer.addresses).collect::<Vec<_>>(), ["/ip4/8.8.8.8/tcp/2"]);
        assert!(fresh(entries.clone(), minutes(1)).is_empty());
        assert_eq!(fresh(entries, Duration::ZERO).len(), 1, "zero is no time to live at all");
    }

    #[test]
    fn a_draw_takes_so_many_each_once_in_their_order_and_other_ones_each_time() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(draw(vec![3, 1, 2], 3, &mut rng), [3, 1, 2]);
        let all: Vec<u32> = (0..1_000).collect();
        let (one, two) = (draw(all.clone(), 100, &mut rng), draw(all, 100, &mut rng));
        assert!(one.len() == 100 && one.is_sorted_by(|a, b| a < b) && two.len() == 100);
        assert_ne!(one, two);
    }

    #[test]
    fn our_entry_is_renewed_in_time_for_the_python_nodes_too() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (ttl, renewed) in
            [(minutes(30), 15), (minutes(10), 5), (minutes(10_000), 15), (Duration::ZERO, 15)]
        {
            assert_eq!(renew_after(ttl, 2), minutes(renewed));
        }
    }

    #[test]
    fn it_is_printed_with_two_blanks_and_sorted_keys() {
        let printed = print(&json!({"b": {"d": 1, "c": []}, "a": "x"}));
        assert_eq!(printed, "{\n  \"a\": \"x\",\n  \"b\": {\n    \"c\": [],\n    \"d\": 1\n  }\n}");
    }

    proptest! {
        #[test]
        fn no_entry_makes_it_panic(peer in "\\PC{0,60}", multiaddr in "/?\\PC{0,60}", seen in "\\PC{0,30}", n in any::<f64>()) {
            let _ = Entry::read(&json!({"peer_id": peer, "multiaddr": multiaddr, "last_seen": seen}));
            let _ = Entry::read(&json!({"peer_id": A, "multiaddr": multiaddr, "last_seen": n, "metadata": {"addresses": [multiaddr]}}));
        }
    }
}
