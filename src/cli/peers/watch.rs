//! `peers watch`: a line for each peer that comes, goes or changes its state.

use super::list;
use crate::cli::input;
use crate::client::{Answer, NodeClient, PeerFilter};
use crate::output::{Failure, Output, time_of_day};
use meshwork_kit::Clock;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often the book is read.
const EVERY: Duration = Duration::from_secs(1);
/// How long the node may be away before we give up: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most peers in an answer of the node: beyond that, one that is missing may only be further down.
const LISTED: usize = 1000;
/// Most peers that are remembered.
const REMEMBERED: usize = 10_000;

const EXAMPLES: &str = "\
Examples:
  meshwork peers watch                    until Ctrl-C
  meshwork peers watch --for 5m --json | jq -c 'select(.event == \"gone\")'

Times are UTC. With --json each change is an object on a line of its own: {time, event, peer_id, state, was, address}, where
event is here (at the start), came, changed or gone.";

/// Arguments of `peers watch`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchOptions {
    /// End after so long [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = input::seconds)]
    pub(crate) within: Option<f64>,
    /// Watch the book of this peer (id or address)
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn execute(
    options: &WatchOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    tokio::select! {
        done = watch(options, client, output) => done,
        // How it is meant to end.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn watch(options: &WatchOptions, client: &NodeClient, output: Output) -> Result<(), Failure> {
    let filter = PeerFilter { peer: options.peer.clone(), ..PeerFilter::default() };
    let end = options.within.map(|within| Instant::now() + input::duration(within));
    let mut watcher = Watcher::default();
    let mut away_since: Option<Instant> = None;
    loop {
        match client.peers(&filter).await {
            Ok(answer) => {
                if away_since.take().is_some() {
                    output.note("the node is back");
                }
                let peers = answer.items("peers");
                if watcher.is_new() {
                    begin(peers.len(), output);
                }
                for change in watcher.see(&peers) {
                    show(&change, output)?;
                }
            }
            Err(error) if error.is_absence() && away_since.is_none_or(|since| since.elapsed() < PATIENCE) => {
                if away_since.is_none() {
                    output.note(format!("{error}; trying again"));
                }
                away_since.get_or_insert_with(Instant::now);
            }
            Err(error) => return Err(error.into()),
        }
        let next = Instant::now() + EVERY;
        if let Some(end) = end.filter(|end| *end <= next) {
            tokio::time::sleep_until(end).await;
            return Ok(());
        }
        tokio::time::sleep_until(next).await;
    }
}

fn begin(listed: usize, output: Output) {
    if listed >= LISTED {
        output.note(format!("there are more than {LISTED} peers: those that are not listed are not watched"));
    }
    output.note("watching; Ctrl-C ends it");
}

/// What happened to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// It was there when the watching began.
    Here,
    Came,
    Changed,
    Gone,
}

impl Event {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Came => "came",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

/// One line of the display.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    event: Event,
    peer: String,
    /// None: it is not in the book any more.
    state: Option<String>,
    was: Option<String>,
    address: String,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Watcher {
    states: BTreeMap<String, String>,
    begun: bool,
}

impl Watcher {
    fn is_new(&self) -> bool {
        !self.begun
    }

    /// What differs from what was seen before, in the order of the book; who is gone comes last.
    fn see(&mut self, peers: &[Answer]) -> Vec<Change> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut changes = Vec::new();
        let mut now = BTreeMap::new();
        for peer in peers {
            let (id, state) = (peer.shown("peer_id"), peer.shown("state"));
            let was = self.states.get(&id).cloned();
            let event = match &was {
                None if first => Some(Event::Here),
                None => Some(Event::Came),
                Some(was) if *was != state => Some(Event::Changed),
                Some(_) => None,
            };
            if let Some(event) = event {
                let (peer_id, address) = (id.clone(), list::address(peer));
                changes.push(Change { event, peer: peer_id, state: Some(state.clone()), was, address });
            }
            now.insert(id, state);
        }
        let missing = std::mem::take(&mut self.states).into_iter().filter(|(id, _)| !now.contains_key(id));
        let missing: Vec<(String, String)> = missing.collect();
        if peers.len() < LISTED {
            changes.extend(missing.into_iter().map(|(peer, was)| Change {
                event: Event::Gone,
                peer,
                state: None,
                was: Some(was),
                address: String::new(),
            }));
        } else {
            // They may only be further down than the answer goes: remembered, so that they do not come again and again.
            let room = REMEMBERED.saturating_sub(now.len());
            now.extend(missing.into_iter().take(room));
        }
        self.states = now;
        changes
    }
}

fn show(change: &Change, output: Output) -> Result<(), Failure> {
    let now = Clock::system().now().0;
    output.line(if output.is_json() { as_json(change, now) } else { as_text(change, now) })
}

fn as_json(change: &Change, now_ms: u64) -> String {
    let address = (!change.address.is_empty()).then_some(&change.address);
    json!({
        "time": now_ms as f64 / 1e3,
        "event": change.event.as_str(),
        "peer_id": change.peer,
        "state": change.state,
        "was": change.was,
        "address": address,
    })
    .to_string()
}

fn as_text(change: &Change, now_ms: u64) -> String {
    let state = match (&change.state, &change.was) {
        (Some(state), Some(was)) => format!("{was} -> {state}"),
        (Some(state), None) => state.clone(),
        (None, was) => format!("was {}", was.as_deref().unwrap_or("there")),
    };
    // Text of a peer reaches this terminal: no control characters.
    let address: String = change.address.chars().filter(|letter| !letter.is_control()).collect();
    let line = format!(
        "{}  {:<7}  {}  {state}  {address}",
        time_of_day(now_ms as f64 / 1e3),
        change.event.as_str(),
        change.peer,
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: &str, state: &str) -> Answer {
        Answer(json!({"peer_id": id, "state": state, "addresses": [{"addr": "/ip4/192.0.2.7/tcp/1"}]}))
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(|change| as_text(change, 0).replace("/ip4/192.0.2.7/tcp/1", "@")).collect()
    }

    #[test]
    fn who_comes_goes_and_changes_is_told_once() {
        let mut watcher = Watcher::default();
        let first = watcher.see(&[peer("a", "connected"), peer("b", "known")]);
        assert_eq!(told(&first), ["00:00:00  here     a  connected  @", "00:00:00  here     b  known  @"]);
        assert_eq!(watcher.see(&[peer("a", "connected"), peer("b", "known")]), []);
        let later = watcher.see(&[peer("a", "left"), peer("c", "known")]);
        let expected = [
            "00:00:00  changed  a  connected -> left  @",
            "00:00:00  came     c  known  @",
            "00:00:00  gone     b  was known",
        ];
        assert_eq!(told(&later), expected);
        assert_eq!(told(&watcher.see(&[peer("b", "known")])).len(), 3, "b came again, a and c are gone");
    }

    #[test]
    fn who_may_only_be_further_down_a_full_answer_is_not_gone_and_memory_is_bounded() {
        let mut watcher = Watcher::default();
        let page = |from: usize| {
            (from..from + LISTED).map(|n| peer(&format!("{n:05}"), "known")).collect::<Vec<_>>()
        };
        assert_eq!(watcher.see(&page(0)).len(), LISTED);
        let moved = watcher.see(&page(1));
        assert_eq!(moved.iter().map(|change| change.event).collect::<Vec<_>>(), [Event::Came]);
        assert_eq!(watcher.see(&page(0)), [], "it was remembered");
        for start in (0..30_000).step_by(LISTED) {
            watcher.see(&page(start));
        }
        assert_eq!(watcher.states.len(), REMEMBERED);
    }

    #[test]
    fn a_change_is_one_line_of_json() {
        let change = Watcher::default().see(&[peer("a", "known")]).remove(0);
        let line = as_json(&change, 1_500);
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "time": 1.5, "event": "here", "peer_id": "a", "state": "known", "was": null, "address": "/ip4/192.0.2.7/tcp/1",
        });
        assert_eq!(read, expected);
    }
}
