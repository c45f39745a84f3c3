//! What discovery answers.

use super::Discovery;
use crate::discovery::runner::{Order, Runner};
use futures::future::join_all;
use meshwork_kit::{Ctx, Handles, Port, Reply};
use meshwork_proto::discovery::{
    Advertisement, Announce, Announced, CleanUp, CleanedUp, DescribeNode, DiscoverNow, Exchanged, ForgetPeer,
    ListMembers, ListPeers, MemberView, PeerAdvertised, PeerConnection, PeerExchange, PeerView, PeersFound,
    RegisterError, RegisterPeer, Registered, SayGoodbye, Source, SourceReport,
};
use std::time::Duration;

/// A request to discover that names no time has this much.
const DISCOVER_WITHIN: Duration = Duration::from_secs(10);

impl Handles<ListPeers> for Discovery {
    fn handle(&mut self, request: ListPeers, reply: Reply<Vec<PeerView>>, _: &mut Ctx<'_, Self>) {
        reply.send(self.core.book.list(&request));
    }
}

impl Handles<ListMembers> for Discovery {
    fn handle(&mut self, request: ListMembers, reply: Reply<Vec<MemberView>>, ctx: &mut Ctx<'_, Self>) {
        reply.send(self.core.book.members(ctx.now(), &request));
    }
}

impl Handles<Announce> for Discovery {
    fn handle(&mut self, _: Announce, reply: Reply<Announced>, ctx: &mut Ctx<'_, Self>) {
        self.announce(reply, ctx);
    }
}

impl Handles<PeerAdvertised> for Discovery {
    fn handle(&mut self, heard: PeerAdvertised, reply: Reply<Advertisement>, ctx: &mut Ctx<'_, Self>) {
        let PeerAdvertised { peer, advertisement } = heard;
        self.step(ctx, |core, now, _| core.advertised(now, &peer, advertisement));
        let describe = self.shared.describe.clone();
        let within = self.shared.options.exchange_deadline;
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
        self.step(ctx, |core, now, out| core.connection(now, change, out));
        reply.send(());
    }
}

impl Handles<PeerExchange> for Discovery {
    fn handle(&mut self, question: PeerExchange, reply: Reply<Exchanged>, ctx: &mut Ctx<'_, Self>) {
        self.take_question(question, reply, ctx);
    }
}

impl Handles<PeersFound> for Discovery {
    fn handle(
        &mut self,
        PeersFound { source, found }: PeersFound,
        reply: Reply<u32>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let (named, new) = self.step(ctx, |core, now, _| core.found(now, source, &found));
        self.shared.metrics.found(source, named, new);
        reply.send(new);
    }
}

impl Handles<RegisterPeer> for Discovery {
    fn handle(
        &mut self,
        request: RegisterPeer,
        reply: Reply<Result<Registered, RegisterError>>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        self.register(request, reply, ctx);
    }
}

impl Handles<CleanUp> for Discovery {
    fn handle(&mut self, order: CleanUp, reply: Reply<CleanedUp>, ctx: &mut Ctx<'_, Self>) {
        let cleaned = self.step(ctx, |core, now, _| core.clean_up(now, &order));
        if !order.dry_run && !cleaned.forgotten.is_empty() {
            tracing::info!(
                forgotten = cleaned.forgotten.len(),
                kept = cleaned.kept,
                "silent peers are forgotten"
            );
        }
        reply.send(cleaned);
    }
}

impl Handles<ForgetPeer> for Discovery {
    fn handle(&mut self, ForgetPeer { peer }: ForgetPeer, reply: Reply<bool>, ctx: &mut Ctx<'_, Self>) {
        reply.send(self.step(ctx, |core, now, out| core.forget(now, &peer, out)));
    }
}

impl Handles<SayGoodbye> for Discovery {
    fn handle(&mut self, request: SayGoodbye, reply: Reply<u32>, ctx: &mut Ctx<'_, Self>) {
        self.say_goodbye(Duration::from_millis(request.within_ms), reply, ctx);
    }
}

impl Handles<DiscoverNow> for Discovery {
    fn handle(&mut self, request: DiscoverNow, reply: Reply<Vec<SourceReport>>, ctx: &mut Ctx<'_, Self>) {
        let within = match request.within_ms {
            0 => DISCOVER_WITHIN,
            ms => Duration::from_millis(ms),
        };
        let all = request.sources.is_empty();
        let wanted = |source: Source| all || request.sources.contains(&source);
        let mut reports = Vec::new();
        let runners: Vec<Runner> =
            self.shared.runners.iter().filter(|runner| wanted(runner.source)).cloned().collect();
        for source in &request.sources {
            let visited = self.shared.runners.iter().any(|runner| runner.source == *source);
            if !visited && *source != Source::Gossip {
                let problem = Some("it is not switched on at this node".to_owned());
                reports.push(SourceReport { source: *source, found: 0, new: 0, problem });
            }
        }
        let gossip = wanted(Source::Gossip).then(|| self.compare_now(ctx));
        ctx.spawn(async move {
            let visits = runners.into_iter().map(|runner| visit(runner.source, runner.orders, within));
            let gossip = async move {
                match gossip {
                    Some(waiting) => Some(compared(waiting, within).await),
                    None => None,
                }
            };
            let (visited, compared) = futures::join!(join_all(visits), gossip);
            reports.extend(visited);
            reports.extend(compared);
            reply.send(reports);
        });
    }
}

/// A comparison that was asked for: its report comes, or the reason why there is none.
type Comparison = Result<tokio::sync::oneshot::Receiver<SourceReport>, &'static str>;

impl Discovery {
    /// Compares with one connected peer now.
    fn compare_now(&mut self, ctx: &mut Ctx<'_, Self>) -> Comparison {
        let peer = self.step(ctx, |core, now, out| core.compare_now(now, out));
        let peer = peer.ok_or("no peer is connected with whom to compare")?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A comparison whose peer was lost never ends: who waited for it has gone.
        self.comparing.retain(|(_, waiting)| !waiting.is_closed());
        self.comparing.push((peer, sender));
        Ok(receiver)
    }
}

async fn visit(source: Source, orders: Port<Order>, within: Duration) -> SourceReport {
    match orders.ask(Order::Visit, within).await {
        Ok(report) => report,
        Err(error) => {
            let problem = Some(format!("the visit has not ended: {error}"));
            SourceReport { source, found: 0, new: 0, problem }
        }
    }
}

async fn compared(waiting: Comparison, within: Duration) -> SourceReport {
    let failed = |problem: &str| {
        let problem = Some(problem.to_owned());
        SourceReport { source: Source::Gossip, found: 0, new: 0, problem }
    };
    match waiting {
        Err(problem) => failed(problem),
        Ok(receiver) => match tokio::time::timeout(within, receiver).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => failed("discovery was restarted meanwhile"),
            Err(_) => failed("the peer has not answered in time"),
        },
    }
}
