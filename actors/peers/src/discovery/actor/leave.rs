//! The end: goodbye to all peers and registries, and the last words to the store.

use super::Discovery;
use crate::discovery::runner::Order;
use futures::future::join_all;
use meshwork_kit::{Ctx, Reply};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A request to say goodbye that names no time has this much.
const USUAL: Duration = Duration::from_secs(2);

impl Discovery {
    /// Tells everybody connected that this node leaves, takes its entries back, and writes the book down.
    pub(super) fn say_goodbye(&mut self, within: Duration, reply: Reply<u32>, ctx: &mut Ctx<'_, Self>) {
        let within = if within.is_zero() { USUAL } else { within };
        self.shared.left.store(true, Ordering::Relaxed);
        let (peers, talk) = self.step(ctx, |core, now, _| core.leave(now));
        let asked = peers.len();
        // Who does not answer in most of the time does not cost those who did their place in the count.
        let each = within.mul_f64(0.9);
        let telling = self.tell_all(peers, talk.map(|talk| talk.to_wire()), None, each);
        let withdrawing = join_all(self.shared.runners.iter().map(|runner| {
            let orders = runner.orders.clone();
            async move { orders.ask(Order::Withdraw, within).await }
        }));
        let both = async move {
            let told = tokio::time::timeout(within, telling);
            let withdrawn = tokio::time::timeout(within, withdrawing);
            futures::join!(told, withdrawn)
        };
        // Written down beside: a slow peer must not cost the node its book.
        self.save(ctx);
        ctx.spawn_then(both, move |actor, (told, withdrawn), ctx| {
            if withdrawn.is_err() {
                tracing::warn!("not all entries of this node in registries could be taken back in time");
            }
            let heard = told.map_or(0, |told| actor.take_all(told, ctx).0);
            tracing::info!(heard, asked, "goodbye is said");
            actor.parting.push((reply, heard));
            if !actor.saving {
                actor.save_for_the_last_time(ctx);
            }
        });
    }
}
