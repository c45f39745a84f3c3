//! The reaper keeps the time, and a failed pass is told and followed by another one.

use super::{ReaperDeps, ReaperOptions, ReaperStatus, prepare};
use crate::discovery::Lifetimes;
use meshwork_kit::ActorRef;
use meshwork_kit::testing::{self, World, probe};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::{CleanUp, CleanedUp, Source};
use std::time::Duration;

fn status(actor: &ActorRef) -> ReaperStatus {
    actor.status().get::<ReaperStatus>().cloned().expect("it has a status")
}

#[test]
fn every_interval_the_book_is_asked_to_forget_with_the_configured_times() {
    testing::world(|world| async move {
        let (clean_up, mut asked) = probe::<CleanUp>(4);
        let mut ttl = Lifetimes::default();
        ttl.by_source.insert(Source::Mdns, Duration::from_secs(120));
        ttl.by_source.insert(Source::Manual, Duration::ZERO);
        let options = ReaperOptions { interval: Duration::from_secs(60), ttl };
        let actor = prepare().start(world.supervision(), options, ReaperDeps { clean_up });

        asked.expect_silence(Duration::from_secs(59)).await;
        let (order, reply) = asked.next().await;
        assert_eq!((order.silent_ms, order.dry_run), (None, false));
        assert_eq!(order.ttl_ms[&Source::Mdns], 120_000);
        assert_eq!(order.ttl_ms[&Source::Gossip], 1_800_000);
        assert_eq!(order.ttl_ms[&Source::Manual], 0);
        let gone: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        reply.send(CleanedUp { forgotten: vec![gone], kept: 3 });
        settle(&world).await;
        assert_eq!((status(&actor).passes, status(&actor).forgotten), (1, 1));
    });
}

#[test]
fn a_pass_without_an_answer_is_told_and_followed_by_another_one() {
    testing::world(|world| async move {
        let (clean_up, mut asked) = probe::<CleanUp>(4);
        let options = ReaperOptions { interval: Duration::from_secs(30), ..ReaperOptions::default() };
        let actor = prepare().start(world.supervision(), options, ReaperDeps { clean_up });
        let (_, reply) = asked.next().await;
        drop(reply);
        settle(&world).await;
        assert!(status(&actor).problem.unwrap().contains("clean_up"));
        let (_, reply) = asked.next().await;
        reply.send(CleanedUp::default());
        settle(&world).await;
        assert_eq!(status(&actor).problem, None);
    });
}

#[test]
fn short_times_to_live_are_looked_after_more_often_and_not_without_end() {
    for (ttl_ms, every_ms) in [(2_000, 2_000), (10, 1_000), (0, 60_000)] {
        testing::world(|world| async move {
            let (clean_up, mut asked) = probe::<CleanUp>(4);
            let default = Duration::from_millis(ttl_ms);
            let options = ReaperOptions {
                ttl: Lifetimes { default, ..Lifetimes::default() },
                ..ReaperOptions::default()
            };
            prepare().start(world.supervision(), options, ReaperDeps { clean_up });
            for _ in 0..3 {
                asked.expect_silence(Duration::from_millis(every_ms - 1)).await;
                let began = world.clock().now();
                asked.next().await.1.send(CleanedUp::default());
                assert!(world.clock().now().since(began) <= Duration::from_millis(2));
            }
        });
    }
}

async fn settle(world: &World) {
    world.advance(Duration::from_millis(300)).await;
}
