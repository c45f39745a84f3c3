//! The book: merged, bounded, and rid of what is old.

mod ages;
mod changes;
mod hostile;

use super::{Book, BookRules};
use crate::discovery::DiscoveryOptions;
use crate::discovery::tests::bench::{ME, peer};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn book() -> Book {
    book_with(|_| {})
}

fn book_with(change: impl FnOnce(&mut BookRules)) -> Book {
    let options = DiscoveryOptions::default();
    let mut rules = BookRules {
        own: peer(ME),
        max_peers: options.max_peers,
        ttl: options.ttl,
        allow_private: false,
        dial_backoff: options.dial_backoff,
        refused_pause: options.refused_pause,
    };
    change(&mut rules);
    Book::new(rules)
}
