//! What sources and people name: hints, looked at one by one before they are entered.

use super::Book;
use crate::address::Address;
use meshwork_proto::discovery::{FoundPeer, Source};
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most peers that are entered from one visit: a registry that lists ten thousand is not worth more.
pub(crate) const MAX_FOUND: usize = 1000;
/// Most addresses that are looked at in one entry.
const MAX_LOOKED_AT: usize = 64;
/// Most addresses without a peer id that are kept of one visit.
const MAX_NAMELESS: usize = 16;
/// After so many failures in a row only the peer itself can show that it is still there.
const UNREACHABLE: u32 = 3;
/// A source that hears the peer itself brings one back that said goodbye longer ago than its echoes last: what was
/// announced on the local network counts there for six minutes.
const ECHO: Duration = Duration::from_secs(7 * 60);

/// What a visit brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Peers that were named and looked at.
    pub(crate) named: u32,
    /// Those of them that were new.
    pub(crate) new: u32,
    /// Addresses of which nobody says whose they are.
    pub(crate) nameless: Vec<Arc<str>>,
}

impl Book {
    /// Enters what a source has found.
    pub(crate) fn found(&mut self, now: UnixMillis, source: Source, found: &[FoundPeer]) -> Found {
        let mut result = Found::default();
        for entry in found.iter().take(MAX_FOUND) {
            for (peer, addresses) in self.look_at(source, entry, &mut result.nameless) {
                result.named = result.named.saturating_add(1);
                result.new = result.new.saturating_add(u32::from(self.name(now, source, &peer, &addresses)));
            }
        }
        result
    }

    /// The usable addresses of an entry, by the peer they lead to.
    fn look_at(
        &self,
        source: Source,
        entry: &FoundPeer,
        nameless: &mut Vec<Arc<str>>,
    ) -> BTreeMap<PeerId, Vec<Arc<str>>> {
        let mut by_peer: BTreeMap<PeerId, Vec<Arc<str>>> = BTreeMap::new();
        if let Some(peer) = &entry.peer {
            by_peer.entry(peer.clone()).or_default();
        }
        for text in entry.addresses.iter().take(MAX_LOOKED_AT) {
            let Ok(address) = text.parse::<Address>() else { continue };
            if address.private && source.is_public() && !self.rules.allow_private {
                continue;
            }
            let text: Arc<str> = address.text.into();
            match (&entry.peer, address.peer) {
                // It leads to somebody else than the entry says: one of the two is wrong.
                (Some(peer), Some(named)) if *peer != named => {}
                (Some(peer), _) => by_peer.entry(peer.clone()).or_default().push(text),
                (None, Some(named)) => by_peer.entry(named).or_default().push(text),
                (None, None) if nameless.len() < MAX_NAMELESS => nameless.push(text),
                (None, None) => {}
            }
        }
        by_peer.remove(&self.rules.own);
        by_peer
    }

    /// Enters one peer. Gives whether it is new.
    fn name(&mut self, now: UnixMillis, source: Source, peer: &PeerId, addresses: &[Arc<str>]) -> bool {
        let by_hand = matches!(source, Source::Manual | Source::Invitation | Source::Configured);
        let new = !self.entries.contains_key(peer);
        // A bare id is of no use, but from a person who may know more.
        if new && addresses.is_empty() && !by_hand {
            return false;
        }
        let Some(entry) = self.entry(peer, by_hand) else { return false };
        if let Some(left) = entry.left {
            let heard = source == Source::Mdns && now.since(left) >= ECHO;
            if !by_hand && !heard {
                return false;
            }
            entry.left = None;
        }
        if by_hand || entry.dialling.failures < UNREACHABLE {
            entry.confirm(source, now);
        }
        for text in addresses {
            entry.learn(now, text, source);
        }
        if by_hand {
            entry.dialling.not_before = UnixMillis(0);
        }
        self.mark_dirty(peer);
        new
    }
}
