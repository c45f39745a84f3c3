//! The thin shell around the peer book: mailbox, timer, and the exchange of advertisements.

use super::DiscoveryOptions;
use super::logic::{BookStatus, PeerBook};
use futures::future::join_all;
use meshwork_kit::{
    Actor, ActorKind, ActorRef, Clock, Ctx, Handles, Mailbox, Port, Reply, Supervision, mailbox,
};
use meshwork_proto::discovery::{
    Advertisement, Announce, Announced, CleanUp, DescribeNode, DiscoverNow, ForgetPeer, ListMembers,
    ListPeers, PeerAdvertised, PeerConnection, PeerExchange, PeerView, PeersFound, RegisterPeer, SayGoodbye,
};
use meshwork_proto::transport::{CallPeer, PeerTarget};
use meshwork_proto::wire::{MeshCall, MeshRequest};
use meshwork_proto::{PeerId, UnixMillis};
use std::time::Duration;

/// How others reach discovery.
#[derive(Clone)]
pub struct DiscoveryPorts {
    /// The peer book.
    pub list: Port<ListPeers>,
    /// Tell all peers now.
    pub announce: Port<Announce>,
    /// A peer told us.
    pub advertised: Port<PeerAdvertised>,
    /// Connection changes.
    pub connection: Port<PeerConnection>,
    /// The peer book, as it is shown.
    pub members: Port<ListMembers>,
    /// What a peer passes on.
    pub exchange: Port<PeerExchange>,
    /// Sources have found peers.
    pub found: Port<PeersFound>,
    /// Enter a peer by hand.
    pub register: Port<RegisterPeer>,
    /// Ask the sources now.
    pub discover: Port<DiscoverNow>,
    /// Forget silent peers.
    pub clean_up: Port<CleanUp>,
    /// Forget a peer.
    pub forget: Port<ForgetPeer>,
    /// Say goodbye to everybody.
    pub goodbye: Port<SayGoodbye>,
}

/// Whom discovery asks.
#[derive(Clone)]
pub struct DiscoveryDeps {
    /// The node's clock.
    pub clock: Clock,
    /// Requests to peers.
    pub call_peer: Port<CallPeer>,
    /// What to say of this node.
    pub describe: Port<DescribeNode>,
}

/// Discovery before it runs: its ports exist and queue up messages.
pub struct DiscoverySeed(Mailbox<Discovery>);

/// Makes discovery's ports.
#[must_use]
pub fn prepare() -> (DiscoveryPorts, DiscoverySeed) {
    let mailbox = mailbox::<Discovery>();
    let ports = DiscoveryPorts {
        list: mailbox.port(64),
        announce: mailbox.port(4),
        advertised: mailbox.port(256),
        // Transport coalesces these per peer, so a burst is as large as the number of peers that change at once.
        connection: mailbox.port(1024),
        members: mailbox.port(64),
        exchange: mailbox.port(256),
        found: mailbox.port(256),
        register: mailbox.port(16),
        discover: mailbox.port(8),
        clean_up: mailbox.port(4),
        forget: mailbox.port(16),
        goodbye: mailbox.port(2),
    };
    (ports, DiscoverySeed(mailbox))
}

impl DiscoverySeed {
    /// Starts the actor.
    pub fn start(self, sup: &Supervision, options: DiscoveryOptions, deps: DiscoveryDeps) -> ActorRef {
        self.0.start(sup, move || Discovery {
            book: PeerBook::new(options.max_peers),
            options: options.clone(),
            deps: deps.clone(),
        })
    }
}

struct Discovery {
    book: PeerBook,
    options: DiscoveryOptions,
    deps: DiscoveryDeps,
}

/// One peer's answer to our advertisement; none when it did not answer.
type Heard = (PeerId, Option<Advertisement>);

impl Discovery {
    /// Tells `peers` what this node offers and gives back what they said.
    fn exchange(&self, peers: Vec<PeerId>) -> impl Future<Output = (Advertisement, Vec<Heard>)> + 'static {
        let deps = self.deps.clone();
        let within = self.options.advertise_deadline;
        async move {
            let own = match deps.describe.ask(DescribeNode, within).await {
                Ok(own) => own,
                Err(error) => {
                    tracing::warn!(%error, "no advertisement: the node could not be described");
                    return (Advertisement::default(), peers.into_iter().map(|peer| (peer, None)).collect());
                }
            };
            let calls = peers.into_iter().map(|peer| tell(deps.call_peer.clone(), peer, own.clone(), within));
            let heard = join_all(calls).await;
            (own, heard)
        }
    }

    fn note(&mut self, now: UnixMillis, heard: &[Heard]) {
        for (peer, advertisement) in heard {
            if let Some(advertisement) = advertisement {
                self.book.on_advertised(now, peer, advertisement.clone());
            }
        }
    }

    fn advertise_to(&mut self, peers: Vec<PeerId>, ctx: &mut Ctx<'_, Self>) {
        if peers.is_empty() {
            return;
        }
        let exchange = self.exchange(peers);
        ctx.spawn_then(exchange, |actor, (_, heard), ctx| actor.note(ctx.now(), &heard));
    }
}

async fn tell(call_peer: Port<CallPeer>, peer: PeerId, own: Advertisement, within: Duration) -> Heard {
    let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let call =
        CallPeer { target: PeerTarget::Id(peer.clone()), request: MeshRequest::Advertise(own), deadline_ms };
    let answer = match call_peer.ask(call, within).await {
        Ok(Ok(answer)) => <Advertisement as MeshCall>::answer(answer.reply),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "peer did not take the advertisement");
            None
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "transport did not take the advertisement");
            None
        }
    };
    (peer, answer)
}

impl Actor for Discovery {
    const KIND: ActorKind = ActorKind::Discovery;
    type Status = BookStatus;

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.every(self.options.advertise_every, |actor, ctx| {
            let peers = actor.book.connected();
            actor.advertise_to(peers, ctx);
        });
    }

    fn status(&self) -> BookStatus {
        self.book.status()
    }
}

impl Handles<ListPeers> for Discovery {
    fn handle(&mut self, request: ListPeers, reply: Reply<Vec<PeerView>>, _: &mut Ctx<'_, Self>) {
        reply.send(self.book.list(&request));
    }
}

impl Handles<Announce> for Discovery {
    fn handle(&mut self, _: Announce, reply: Reply<Announced>, ctx: &mut Ctx<'_, Self>) {
        let exchange = self.exchange(self.book.connected());
        ctx.spawn_then(exchange, |actor, (advertisement, heard), ctx| {
            actor.note(ctx.now(), &heard);
            let reached = heard.iter().filter(|(_, answer)| answer.is_some()).count();
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            reply.send(Announced {
                reached: count(reached),
                missed: count(heard.len() - reached),
                advertisement,
            });
        });
    }
}

impl Handles<PeerAdvertised> for Discovery {
    fn handle(&mut self, heard: PeerAdvertised, reply: Reply<Advertisement>, ctx: &mut Ctx<'_, Self>) {
        self.book.on_advertised(self.deps.clock.now(), &heard.peer, heard.advertisement);
        let describe = self.deps.describe.clone();
        let within = self.options.advertise_deadline;
        ctx.spawn(async move {
            match describe.ask(DescribeNode, within).await {
                Ok(own) => reply.send(own),
                // Dropping the reply tells the peer that we are unavailable.
                Err(error) => tracing::warn!(%error, "a peer's advertisement stays unanswered"),
            }
        });
    }
}

impl Handles<PeerConnection> for Discovery {
    fn handle(&mut self, change: PeerConnection, reply: Reply<()>, ctx: &mut Ctx<'_, Self>) {
        let newly_up = self.book.on_connection(self.deps.clock.now(), change);
        self.advertise_to(newly_up.into_iter().collect(), ctx);
        reply.send(());
    }
}

macro_rules! not_yet {
    ($($request:ty),*) => {
        $(impl Handles<$request> for Discovery {
            fn handle(
                &mut self,
                _: $request,
                reply: Reply<<$request as meshwork_proto::Request>::Reply>,
                _: &mut Ctx<'_, Self>,
            ) {
                drop(reply);
            }
        })*
    };
}
not_yet!(ListMembers, PeerExchange, PeersFound, RegisterPeer, DiscoverNow, CleanUp, ForgetPeer, SayGoodbye);
