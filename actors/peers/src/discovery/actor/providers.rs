//! Who provides a tool or label: asked of the tables that know, entered like all that is found.

use super::Discovery;
use crate::discovery::runner::outcome_of;
use crate::sources::SourceError;
use futures::future::join_all;
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::discovery::{FindProviders, FoundPeer, Providers, Source, SourceReport};
use std::time::Duration;

impl Handles<FindProviders> for Discovery {
    fn handle(&mut self, request: FindProviders, reply: Reply<Vec<Providers>>, ctx: &mut Ctx<'_, Self>) {
        let within = Duration::from_millis(request.within_ms);
        let own = self.shared.local_peer.clone();
        let tables = self.shared.runners.iter().filter_map(|runner| {
            let table = runner.providers.clone()?;
            Some((runner.source, table))
        });
        let tables: Vec<_> = tables.collect();
        let work = async move {
            let (own, capability) = (&own, request.capability.as_str());
            let asked = tables
                .iter()
                .map(|(source, table)| async move { (*source, table.find(capability, own, within).await) });
            join_all(asked).await
        };
        ctx.spawn_then(work, |actor, answers, ctx| {
            let provided = |(source, answer)| actor.provided(source, answer, ctx);
            reply.send(answers.into_iter().map(provided).collect());
        });
    }
}

impl Discovery {
    fn provided(
        &mut self,
        source: Source,
        answer: Result<Vec<FoundPeer>, SourceError>,
        ctx: &mut Ctx<'_, Self>,
    ) -> Providers {
        let mut report = SourceReport { source, found: 0, new: 0, problem: None };
        let found = match answer {
            Ok(found) => found,
            Err(error) => {
                self.shared.metrics.visited(source, outcome_of(&error));
                report.problem = Some(error.to_string());
                return Providers { report, peers: Vec::new() };
            }
        };
        let (named, new) = self.step(ctx, |core, now, _| core.found(now, source, &found));
        self.shared.metrics.visited(source, "ok");
        self.shared.metrics.found(source, named, new);
        report.found = u32::try_from(found.len()).unwrap_or(u32::MAX);
        report.new = new;
        Providers { report, peers: found.into_iter().filter_map(|found| found.peer).collect() }
    }
}
