//! Exchanges over the wire: questions asked, answers read, records checked beside the mailbox.

use super::{Discovery, millis};
use crate::discovery::gossip::{Ask, Checked, Heard, Purpose, size_of_answer, size_of_question};
use crate::discovery::logic::Asked;
use futures::StreamExt;
use meshwork_kit::{Ctx, Port, Reply};
use meshwork_proto::discovery::{
    Advertisement, Announced, DescribeNode, Exchange, Exchanged, PeerExchange, SignedRecord, SourceReport,
};
use meshwork_proto::transport::{CallError, CallPeer, PeerTarget};
use meshwork_proto::wire::{MeshCall, MeshRequest};
use meshwork_proto::{Coded, ErrorCode, PeerId};
use std::sync::Arc;
use std::time::Duration;

/// So many records, and so many bytes of them, are read and checked at once; more are, beside the mailbox.
const FEW: usize = 8;
const SMALL: usize = 32 * 1024;
/// Peers that are told something at a time.
const TOLD_AT_ONCE: usize = 256;

/// How a peer took what it was told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) peer: PeerId,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// It has the record.
    Exchanged(Exchanged),
    /// It speaks only the first version of the wire, and has the advertisement.
    Advertised(Advertisement),
    /// It did not answer; `true`: it does not know such questions.
    Unheard(bool),
}

impl Discovery {
    /// Asks a peer.
    pub(super) fn ask(&mut self, ask: Ask, ctx: &mut Ctx<'_, Self>) {
        let Ask { peer, talk, purpose } = ask;
        let within = self.shared.options.exchange_deadline;
        let call = exchange_with(self.shared.call_peer.clone(), peer.clone(), talk.to_wire(), within);
        ctx.spawn_then(call, move |actor, answer, ctx| match answer {
            Ok(answer) => actor.take_answer(peer, purpose, answer, ctx),
            Err(mismatch) => {
                actor.step(ctx, |core, now, out| core.unanswered(now, &peer, purpose, mismatch, out));
            }
        });
    }

    /// Takes the answer of a peer up.
    pub(super) fn take_answer(
        &mut self,
        peer: PeerId,
        purpose: Purpose,
        answer: Exchanged,
        ctx: &mut Ctx<'_, Self>,
    ) {
        self.core.count_in(size_of_answer(&answer));
        let Exchanged { records, known, .. } = answer;
        self.check(peer.clone(), records, ctx, move |actor, checked, _, ctx| {
            actor.step(ctx, |core, now, out| core.answered(now, &peer, purpose, checked, &known, out));
        });
    }

    /// Answers the question of a peer.
    pub(super) fn take_question(
        &mut self,
        question: PeerExchange,
        reply: Reply<Exchanged>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let PeerExchange { from, exchange } = question;
        self.core.count_in(size_of_question(&exchange));
        let Exchange { records, digest, want } = exchange;
        self.check(from.clone(), records, ctx, move |actor, checked, behind, ctx| {
            let asked = Asked { checked, behind, digest, want };
            let answer = actor.step(ctx, |core, now, out| core.asked(now, &from, asked, out));
            reply.send(answer.to_wire());
        });
    }

    /// Reads records that a peer tells, leaves out what is no news, checks the signatures of the rest, and goes on with that;
    /// many of them beside the mailbox. Also gives of whom the teller is behind.
    fn check(
        &mut self,
        from: PeerId,
        records: Vec<SignedRecord>,
        ctx: &mut Ctx<'_, Self>,
        then: impl FnOnce(&mut Self, Checked, Vec<PeerId>, &mut Ctx<'_, Self>) + 'static,
    ) {
        let bytes: usize = records.iter().map(|signed| signed.record.len()).sum();
        if records.len() <= FEW && bytes <= SMALL {
            let mut heard = Heard::read(&records);
            let behind = self.core.sift(ctx.now(), &from, &mut heard);
            let checked = heard.check(self.shared.notary.as_ref());
            return then(self, checked, behind, ctx);
        }
        ctx.spawn_blocking_then(
            move || Heard::read(&records),
            move |actor, mut heard, ctx| {
                let behind = actor.core.sift(ctx.now(), &from, &mut heard);
                let notary = Arc::clone(&actor.shared.notary);
                ctx.spawn_blocking_then(
                    move || heard.check(notary.as_ref()),
                    move |actor, checked, ctx| then(actor, checked, behind, ctx),
                );
            },
        );
    }

    /// Tells a peer that signs no records what this node offers.
    pub(super) fn advertise_to(&mut self, peer: PeerId, ctx: &mut Ctx<'_, Self>) {
        let Some(own) = self.core.gossip().said().cloned() else { return };
        let within = self.shared.options.exchange_deadline;
        let telling = advertise(self.shared.call_peer.clone(), peer.clone(), own, within);
        ctx.spawn_then(telling, move |actor, said, ctx| {
            if let Some(said) = said {
                actor.step(ctx, |core, now, _| core.advertised(now, &peer, said));
            }
        });
    }

    /// Tells all connected peers what is true of this node now.
    pub(super) fn announce(&mut self, reply: Reply<Announced>, ctx: &mut Ctx<'_, Self>) {
        let describe = self.shared.describe.clone();
        let within = self.shared.options.exchange_deadline;
        let asking = async move { describe.ask(DescribeNode, within).await };
        ctx.spawn_then(asking, move |actor, own, ctx| {
            let own = match own {
                Ok(own) => own,
                // Dropping the reply says that nothing was announced.
                Err(error) => {
                    return tracing::warn!(%error, "no announcement: the node could not be described");
                }
            };
            let (peers, talk) = actor.step(ctx, |core, now, _| core.announce(now, own.clone()));
            let exchange = talk.map(|talk| talk.to_wire());
            let telling = actor.tell_all(peers, exchange, Some(own.clone()), within);
            ctx.spawn_then(telling, move |actor, told, ctx| {
                let (reached, missed) = actor.take_all(told, ctx);
                reply.send(Announced { reached, missed, advertisement: own });
            });
        });
    }

    /// Tells many peers the same, a bounded number at a time.
    pub(super) fn tell_all(
        &self,
        peers: Vec<PeerId>,
        exchange: Option<Exchange>,
        own: Option<Advertisement>,
        within: Duration,
    ) -> impl Future<Output = Vec<Told>> + use<> + 'static {
        let call_peer = self.shared.call_peer.clone();
        let plain = self.core.plain_peers();
        let telling = peers.into_iter().map(move |peer| {
            let exchange = exchange.clone().filter(|_| !plain.contains(&peer));
            tell_one(call_peer.clone(), peer, exchange, own.clone(), within)
        });
        futures::stream::iter(telling).buffer_unordered(TOLD_AT_ONCE).collect()
    }

    /// Takes up what many peers answered. Gives how many heard it, and how many did not.
    pub(super) fn take_all(&mut self, told: Vec<Told>, ctx: &mut Ctx<'_, Self>) -> (u32, u32) {
        let (mut reached, mut missed) = (0, 0);
        for Told { peer, outcome } in told {
            match outcome {
                Outcome::Exchanged(answer) => {
                    reached += 1;
                    self.take_answer(peer, Purpose::Push, answer, ctx);
                }
                Outcome::Advertised(said) => {
                    reached += 1;
                    self.step(ctx, |core, now, _| core.advertised(now, &peer, said));
                }
                Outcome::Unheard(mismatch) => {
                    missed += 1;
                    let push = Purpose::Push;
                    self.step(ctx, |core, now, out| core.unanswered(now, &peer, push, mismatch, out));
                }
            }
        }
        (reached, missed)
    }

    /// A comparison has ended that somebody may wait for.
    pub(super) fn compared(&mut self, peer: &PeerId, news: u32) {
        let known = u32::try_from(self.core.gossip().sizes().0).unwrap_or(u32::MAX);
        let source = meshwork_proto::discovery::Source::Gossip;
        for (with, reply) in std::mem::take(&mut self.comparing) {
            if with == *peer {
                // Who asked may have gone meanwhile.
                let _ = reply.send(SourceReport { source, found: known, new: news, problem: None });
            } else {
                self.comparing.push((with, reply));
            }
        }
    }
}

async fn tell_one(
    call_peer: Port<CallPeer>,
    peer: PeerId,
    exchange: Option<Exchange>,
    own: Option<Advertisement>,
    within: Duration,
) -> Told {
    let mut mismatch = false;
    if let Some(exchange) = exchange {
        match exchange_with(call_peer.clone(), peer.clone(), exchange, within).await {
            Ok(answer) => return Told { peer, outcome: Outcome::Exchanged(answer) },
            Err(false) => return Told { peer, outcome: Outcome::Unheard(false) },
            Err(true) => mismatch = true,
        }
    }
    let said = match own {
        Some(own) => advertise(call_peer, peer.clone(), own, within).await,
        None => None,
    };
    let outcome = said.map_or(Outcome::Unheard(mismatch), Outcome::Advertised);
    Told { peer, outcome }
}

/// Asks a peer. The error says whether it does not know such questions.
async fn exchange_with(
    call_peer: Port<CallPeer>,
    peer: PeerId,
    exchange: Exchange,
    within: Duration,
) -> Result<Exchanged, bool> {
    let call = CallPeer {
        target: PeerTarget::Id(peer.clone()),
        request: MeshRequest::Exchange(exchange),
        deadline_ms: millis(within),
    };
    match call_peer.ask(call, within).await {
        Ok(Ok(answer)) => <Exchange as MeshCall>::answer(answer.reply).ok_or(true),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "peer did not take part in an exchange");
            Err(knows_none(&error))
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "transport did not take an exchange");
            Err(false)
        }
    }
}

fn knows_none(error: &CallError) -> bool {
    error.code() == ErrorCode::VersionMismatch
}

async fn advertise(
    call_peer: Port<CallPeer>,
    peer: PeerId,
    own: Advertisement,
    within: Duration,
) -> Option<Advertisement> {
    let call = CallPeer {
        target: PeerTarget::Id(peer.clone()),
        request: MeshRequest::Advertise(own),
        deadline_ms: millis(within),
    };
    match call_peer.ask(call, within).await {
        Ok(Ok(answer)) => <Advertisement as MeshCall>::answer(answer.reply),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "peer did not take the advertisement");
            None
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "transport did not take the advertisement");
            None
        }
    }
}
