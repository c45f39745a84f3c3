//! The book as it is shown.

use super::{Book, Entry, KnownAddress};
use meshwork_proto::discovery::{
    AddressView, ListMembers, ListPeers, MemberView, PeerState, PeerView, Source,
};
use meshwork_proto::{PeerId, UnixMillis};
use serde::Serialize;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// Most peers in one answer.
const MAX_LISTED: usize = 1000;

/// The book in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BookStatus {
    /// Peers in the book.
    pub known: usize,
    /// Peers connected and admitted.
    pub connected: usize,
    /// Peers by state.
    pub by_state: BTreeMap<PeerState, usize>,
    /// Peers by who found them; one that was found in several ways counts for each.
    pub by_source: BTreeMap<&'static str, usize>,
    /// Addresses of all of them.
    pub addresses: usize,
}

fn limit(max_peers: u32) -> usize {
    match max_peers {
        0 => MAX_LISTED,
        wanted => usize::try_from(wanted).unwrap_or(MAX_LISTED).min(MAX_LISTED),
    }
}

fn offers(entry: &Entry, capability: Option<&String>) -> bool {
    capability.is_none_or(|wanted| {
        let known = entry.offers.as_ref();
        known.is_some_and(|known| known.tools.contains(wanted) || known.labels.contains(wanted))
    })
}

/// A peer with what decides its place in a list, looked at once.
struct Ranked<'a> {
    connected: bool,
    confirmed: Option<UnixMillis>,
    peer: &'a PeerId,
    entry: &'a Entry,
}

impl<'a> Ranked<'a> {
    fn of(peer: &'a PeerId, entry: &'a Entry) -> Self {
        // As its state says, which would take longer to find out.
        let connected = entry.link.is_some() && entry.left.is_none() && entry.shut_out.is_none();
        Self { connected, confirmed: entry.last_confirmed(), peer, entry }
    }

    /// Connected ones first, then by how recently they were confirmed.
    fn order(&self, other: &Self) -> Ordering {
        let key = |ranked: &Self| (Reverse(ranked.connected), Reverse(ranked.confirmed));
        key(self).cmp(&key(other)).then_with(|| self.peer.cmp(other.peer))
    }
}

impl Book {
    /// The peers asked for, connected ones first, then by id; without those that left or are shut out.
    pub(crate) fn list(&self, query: &ListPeers) -> Vec<PeerView> {
        let fits = |entry: &Entry| {
            entry.left.is_none() && entry.shut_out.is_none() && offers(entry, query.capability.as_ref())
        };
        let mut connected: Vec<&PeerId> = self.linked.iter().collect();
        connected.sort_unstable();
        let connected = connected.into_iter().filter_map(|peer| self.entries.get_key_value(peer));
        let others = self.entries.iter().filter(|(_, entry)| entry.link.is_none());
        connected
            .chain(others)
            .filter(|(_, entry)| fits(entry))
            .take(limit(query.max_peers))
            .map(|(peer, entry)| view(peer, entry))
            .collect()
    }

    /// The peers asked for, connected ones first, then by how recently they were confirmed.
    pub(crate) fn members(&self, now: UnixMillis, query: &ListMembers) -> Vec<MemberView> {
        let ttl = &self.rules.ttl;
        let fits = |entry: &Entry| {
            offers(entry, query.capability.as_ref())
                && query.source.is_none_or(|source| entry.confirmed.iter().any(|(by, _)| *by == source))
                && query.state.is_none_or(|wanted| entry.state(now, ttl) == wanted)
        };
        let fitting = self.entries.iter().filter(|(_, entry)| fits(entry));
        let mut found: Vec<Ranked<'_>> = fitting.map(|(peer, entry)| Ranked::of(peer, entry)).collect();
        let most = limit(query.max_peers);
        if found.len() > most {
            // The book may be large and few of it asked for: only those need be in order.
            found.select_nth_unstable_by(most, Ranked::order);
            found.truncate(most);
        }
        found.sort_unstable_by(Ranked::order);
        found
            .into_iter()
            .map(|Ranked { peer, entry, .. }| member(now, entry.state(now, ttl), peer, entry))
            .collect()
    }

    /// The book in numbers.
    pub(crate) fn status(&self, now: UnixMillis) -> BookStatus {
        let mut status =
            BookStatus { known: self.len(), connected: self.linked.len(), ..BookStatus::default() };
        for entry in self.entries.values() {
            *status.by_state.entry(entry.state(now, &self.rules.ttl)).or_default() += 1;
            for (source, _) in &entry.confirmed {
                *status.by_source.entry(source.as_str()).or_default() += 1;
            }
            status.addresses += entry.addresses.len();
        }
        status
    }
}

fn view(peer: &PeerId, entry: &Entry) -> PeerView {
    let linked = entry.link.as_ref().map(|link| link.address.to_string());
    let others = entry.best_first().into_iter().map(|known| known.text.to_string());
    let others = others.filter(|address| Some(address) != linked.as_ref());
    PeerView {
        peer: peer.clone(),
        addresses: linked.iter().cloned().chain(others).collect(),
        connected: entry.link.is_some(),
        role: entry.role,
        advertisement: entry.offers.as_deref().cloned(),
        rtt_us: entry.rtt_us,
        last_seen: entry.alive,
    }
}

fn ago(now: UnixMillis, at: UnixMillis) -> u64 {
    now.0.saturating_sub(at.0)
}

fn member(now: UnixMillis, state: PeerState, peer: &PeerId, entry: &Entry) -> MemberView {
    let address = |known: &KnownAddress| AddressView {
        address: known.text.to_string(),
        source: known.source,
        confirmed_ms_ago: known.confirmed.map(|at| ago(now, at)),
        successes: known.successes,
        failures: known.failures,
    };
    let mut addresses: Vec<AddressView> = entry.best_first().into_iter().map(address).collect();
    if let Some(link) = &entry.link
        && !entry.addresses.iter().any(|known| known.text == link.address)
    {
        // The peer opened the connection: it is how it is reached now, but nothing to dial, so it comes last.
        let (source, confirmed_ms_ago) = (Source::Connection, Some(0));
        let address = link.address.to_string();
        addresses.push(AddressView { address, source, confirmed_ms_ago, successes: 0, failures: 0 });
    }
    MemberView {
        peer: peer.clone(),
        state,
        trust: entry.trust(),
        addresses,
        found_by: entry.confirmed.iter().map(|(source, _)| *source).collect(),
        relayed: entry.link.as_ref().map(|link| link.relayed),
        offers: entry.offers.as_deref().cloned(),
        rtt_us: entry.rtt_us,
        last_seen_ms_ago: entry.alive.map(|at| ago(now, at)),
    }
}
