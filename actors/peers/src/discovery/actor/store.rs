//! Between the book and the store: read page by page at the start, written in batches when it has changed.

use super::Discovery;
use crate::discovery::records::{self, Page, ReadPeer};
use bytes::Bytes;
use meshwork_kit::Ctx;
use meshwork_proto::PeerId;
use meshwork_proto::store::{Acknowledge, Admission, Commit, Family, Scan, StoreError, WriteOp};
use std::sync::Arc;
use std::time::Duration;

/// Entries in a page.
const PAGE: u32 = 1000;
/// Changes in a batch.
const BATCH: usize = 1000;
/// A store that has not answered by then has failed.
const STORE_WITHIN: Duration = Duration::from_secs(20);
/// Between tries to read the book.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// So many tries, and the node begins with an empty book: sources and peers fill it again.
const READS: u32 = 5;

impl Discovery {
    /// Reads what is stored; connections are opened when that is through.
    pub(super) fn begin_loading(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.load_page(Bytes::new(), 1, ctx);
    }

    fn load_page(&mut self, from: Bytes, attempt: u32, ctx: &mut Ctx<'_, Self>) {
        let scan = self.shared.scan.clone();
        let after = !from.is_empty();
        let page =
            Scan { family: Family::Peers, from: from.clone(), after, to: None, limit: PAGE, reverse: false };
        let reading = async move {
            let unanswered = |error: meshwork_kit::AskError| Err(StoreError::Database(error.to_string()));
            scan.ask(page, STORE_WITHIN).await.unwrap_or_else(unanswered)
        };
        ctx.spawn_then(reading, move |actor, entries, ctx| match entries {
            Ok(entries) => actor.read_page(entries, ctx),
            Err(error) if attempt < READS => {
                tracing::warn!(%error, attempt, "the stored peer book cannot be read: trying again");
                ctx.after(READ_AGAIN, move |actor, ctx| actor.load_page(from, attempt + 1, ctx));
            }
            Err(error) => {
                tracing::error!(%error, "the stored peer book cannot be read: beginning without it");
                actor.loaded(ctx);
            }
        });
    }

    fn read_page(&mut self, entries: Vec<(Bytes, Bytes)>, ctx: &mut Ctx<'_, Self>) {
        let full = entries.len() >= PAGE as usize;
        let last = entries.last().map(|(key, _)| key.clone()).filter(|_| full);
        let notary = Arc::clone(&self.shared.notary);
        ctx.spawn_blocking_then(
            move || records::read(&entries, notary.as_ref()),
            move |actor, page, ctx| {
                actor.keep_page(page, ctx);
                match last {
                    Some(last) => actor.load_page(last, 1, ctx),
                    None => actor.loaded(ctx),
                }
            },
        );
    }

    fn keep_page(&mut self, page: Page, ctx: &mut Ctx<'_, Self>) {
        for problem in page.damaged.iter().take(10) {
            tracing::warn!(%problem, "a stored peer cannot be read and is left out");
        }
        self.shared.metrics.skipped("damaged", page.damaged.len());
        self.shared.metrics.skipped("newer", page.newer.len());
        if !page.newer.is_empty() {
            let count = page.newer.len();
            tracing::warn!(count, "stored peers were written by a newer meshwork: they are left alone");
        }
        self.untouchable.extend(page.newer);
        if let Some(sequence) = page.own {
            self.core.jump_above(sequence);
            self.saved_sequence = self.saved_sequence.max(sequence);
        }
        for ReadPeer { peer, entry, record } in page.peers {
            self.core.restore(ctx.now(), &peer, entry, record);
        }
    }

    fn loaded(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.loading = false;
        let now = ctx.now();
        self.show(now);
        tracing::info!(known = self.core.book.len(), "the peer book is loaded");
        self.step(ctx, |core, now, _| core.release(now));
    }

    /// Writes down what has changed.
    pub(super) fn save(&mut self, ctx: &mut Ctx<'_, Self>) {
        if self.saving || self.loading {
            return;
        }
        let dirty: Vec<PeerId> =
            self.core.book.take_dirty().into_iter().filter(|peer| !self.untouchable.contains(peer)).collect();
        let mut ops = Vec::with_capacity(dirty.len() + 1);
        for peer in &dirty {
            match self.op(peer) {
                Ok(op) => ops.push(op),
                Err(error) => tracing::error!(%peer, %error, "a peer cannot be written down"),
            }
        }
        let sequence = self.core.gossip().own_sequence();
        if sequence > self.saved_sequence {
            match records::put_own(sequence) {
                Ok(op) => ops.push(op),
                Err(error) => tracing::error!(%error, "this node's number cannot be written down"),
            }
        }
        if ops.is_empty() {
            return;
        }
        self.saving = true;
        let commit = self.shared.commit.clone();
        let writing = async move {
            while !ops.is_empty() {
                let rest = ops.split_off(ops.len().min(BATCH));
                // The book grows again by itself: it must not take the room that is kept for accepted work.
                let batch = Commit { ops, acknowledge: Acknowledge::Written, admission: Admission::New };
                match commit.ask(batch, STORE_WITHIN).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(error.to_string()),
                    Err(error) => return Err(error.to_string()),
                }
                ops = rest;
            }
            Ok(())
        };
        ctx.spawn_then(writing, move |actor, written, ctx| {
            actor.saving = false;
            actor.shared.metrics.wrote(written.is_ok());
            match written {
                Ok(()) => {
                    actor.saved_sequence = actor.saved_sequence.max(sequence);
                    actor.save_for_the_last_time(ctx);
                }
                Err(error) => {
                    tracing::warn!(%error, "the peer book could not be written down: trying again later");
                    actor.core.book.still_dirty(dirty);
                    actor.release_parting();
                }
            }
        });
    }

    /// When goodbye is said: writes down what has changed since, and lets the node go when nothing has.
    pub(super) fn save_for_the_last_time(&mut self, ctx: &mut Ctx<'_, Self>) {
        if self.parting.is_empty() {
            return;
        }
        self.save(ctx);
        if !self.saving {
            self.release_parting();
        }
    }

    fn release_parting(&mut self) {
        for (reply, heard) in self.parting.drain(..) {
            reply.send(heard);
        }
    }

    fn op(&self, peer: &PeerId) -> Result<WriteOp, meshwork_proto::codec::CodecError> {
        match self.core.book.get(peer) {
            Some(entry) => records::put(peer, entry, self.core.gossip().record(peer)),
            None => Ok(records::delete(peer)),
        }
    }
}
