//! Gossip: what is believed, what is passed on, and what it costs.

mod own;
mod quiet;
mod room;
mod store;
mod talking;

use super::{Gossip, GossipRules};
use crate::discovery::DiscoveryOptions;
use crate::discovery::tests::bench::{Everybody, peer};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::Duration;

/// The time to live in these stories.
const TTL: Duration = Duration::from_secs(1800);

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn gossip_of(of: &str) -> Gossip {
    let options = DiscoveryOptions::default();
    let rules = GossipRules {
        max_records: 1000,
        ttl: Some(TTL),
        every: options.exchange_every,
        soon: options.exchange_soon,
        load_every: options.load_every,
        others: true,
    };
    Gossip::new(rules, peer(of), Arc::new(Everybody(peer(of))))
}
