//! Sources: visited in time, and none of them can harm the others.

use super::actor::{Scene, Script, Scripted};
use super::bench::{A, B, peer};
use crate::sources::{Mdns, MdnsOptions, SourceError};
use meshwork_kit::testing::{self, probe};
use meshwork_proto::discovery::{DiscoverNow, FoundPeer, ListMembers, SayGoodbye, Source};
use meshwork_proto::transport::{ListNeighbours, Neighbours};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

fn found(of: &str) -> Vec<FoundPeer> {
    vec![FoundPeer { peer: Some(peer(of)), addresses: vec!["/ip4/198.51.100.1/tcp/1".into()] }]
}

#[test]
fn a_source_is_visited_at_the_start_and_then_at_its_interval_give_or_take_a_tenth() {
    testing::world(|world| async move {
        let (source, script) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![source]);
        world.advance(Duration::from_secs(1)).await;
        assert_eq!(script.visits(), 1);
        let members = scene.ports.members.ask(ListMembers::default(), LONG).await.unwrap();
        assert_eq!(members[0].found_by, [Source::FileRegistry].into());
        world.advance(Duration::from_secs(600)).await;
        assert!((9..=11).contains(&(script.visits() - 1)), "{} visits in ten minutes", script.visits());
        let card = script.last_card().unwrap();
        assert!(card.capabilities.contains("ocr") && card.capabilities.contains("gpu"));
        assert_eq!(card.addresses.len(), 1);
    });
}

#[test]
fn a_source_that_fails_hangs_or_panics_is_tried_again_later_and_the_others_go_on() {
    testing::world(|world| async move {
        let (failing, fails) =
            Scripted::new(Source::Github, Script::Fails(SourceError::Unavailable("offline".into())));
        let (hanging, hangs) = Scripted::new(Source::Dht, Script::Hangs);
        let (panicking, panics) = Scripted::new(Source::Rendezvous, Script::Panics);
        let (good, goes) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![failing, hanging, panicking, good]);
        world.advance(Duration::from_secs(600)).await;
        assert!(goes.visits() >= 10);
        for (name, script) in [("fails", &fails), ("hangs", &hangs), ("panics", &panics)] {
            assert!((3..12).contains(&script.visits()), "{name}: {}", script.visits());
        }
        let status = scene.status();
        let problem = |source| {
            let of = status.sources.iter().find(|status| status.source == source).unwrap();
            of.problem.clone().unwrap_or_default()
        };
        assert!(problem(Source::Github).contains("offline"));
        assert!(problem(Source::Dht).contains("did not answer within 5000 ms"));
        assert!(problem(Source::Rendezvous).contains("panicked"));
        assert_eq!(problem(Source::FileRegistry), "");
    });
}

#[test]
fn a_source_that_wants_to_be_left_alone_is_left_alone_for_so_long() {
    testing::world(|world| async move {
        let limited = SourceError::RateLimited {
            problem: "60 requests an hour".into(),
            retry_after: Duration::from_secs(3000),
        };
        let (source, script) = Scripted::new(Source::Github, Script::Fails(limited));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![source]);
        world.advance(Duration::from_secs(2990)).await;
        assert_eq!(script.visits(), 1);
        script.set(Script::Gives(found(B)));
        world.advance(Duration::from_secs(20)).await;
        assert_eq!(script.visits(), 2);
        assert_eq!(scene.status().sources[0].problem, None);
    });
}

#[test]
fn a_source_with_news_is_visited_before_its_time_but_not_without_end() {
    testing::world(|world| async move {
        let (source, script) = Scripted::new(Source::Mdns, Script::Gives(Vec::new()));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![source]);
        world.advance(Duration::from_secs(1)).await;
        assert_eq!(script.visits(), 1);
        script.set(Script::Gives(found(A)));
        script.has_news();
        world.settle().await;
        assert_eq!(script.visits(), 2);
        assert_eq!(scene.members().await[0].found_by, [Source::Mdns].into());
        let flood = async |seconds: u64| {
            let before = script.visits();
            for _ in 0..seconds * 100 {
                script.has_news();
                world.advance(Duration::from_millis(10)).await;
            }
            script.visits() - before
        };
        let visits = flood(10).await;
        assert!((30..=41).contains(&visits), "{visits} visits in ten seconds");
        let many = (1..=1_000).map(|port| format!("/ip4/198.51.100.1/tcp/{port}"));
        let many = many.map(|address| FoundPeer { peer: None, addresses: vec![address] });
        script.set(Script::Gives(many.collect()));
        let visits = flood(10).await;
        assert!((2..=4).contains(&visits), "{visits} visits in ten seconds that name a thousand each");
    });
}

#[test]
fn a_neighbour_is_in_the_book_as_soon_as_multicast_dns_hears_it_and_counted_like_all_that_is_found() {
    testing::world(|world| async move {
        let (port, mut transport) = probe::<ListNeighbours>(4);
        let source = Box::new(Mdns::new(MdnsOptions::default(), port));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![source]);
        transport.next().await.1.send(Ok(Neighbours::default()));
        let (asked, reply) = transport.next().await;
        assert_eq!(asked.known, Some(0));
        world.advance(Duration::from_secs(10)).await;
        let heard = Neighbours { news: 1, found: found(A) };
        let began = world.clock().now();
        reply.send(Ok(heard.clone()));
        let (asked, reply) = transport.next().await;
        assert_eq!(asked.known, None);
        reply.send(Ok(heard));
        world.settle().await;
        let members = scene.members().await;
        assert_eq!((&members[0].peer, &members[0].found_by), (&peer(A), &[Source::Mdns].into()));
        assert!(world.clock().now().since(began) < Duration::from_secs(1));
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        for line in [
            r#"meshwork_discovery_source_visits_total{outcome="ok",source="mdns"} 2"#,
            r#"meshwork_discovery_source_peers_total{kind="new",source="mdns"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        // The status is brought up to date with the gauges.
        world.advance(Duration::from_secs(3)).await;
        let status = &scene.status().sources[0];
        assert_eq!((status.source, status.visits, status.found), (Source::Mdns, 2, 1));
    });
}

#[test]
fn sources_are_asked_at_once_when_somebody_wants_it_and_each_reports() {
    testing::world(|world| async move {
        let (good, script) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let (bad, _) = Scripted::new(Source::Github, Script::Fails(SourceError::Refused("401".into())));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![good, bad]);
        world.advance(Duration::from_secs(1)).await;
        script.set(Script::Gives(found(B)));
        let discover = |sources: Vec<Source>| DiscoverNow { sources, within_ms: 5000 };
        let reports = scene.ports.discover.ask(discover(vec![]), LONG).await.unwrap();
        let of = |source| reports.iter().find(|report| report.source == source).unwrap();
        assert_eq!((of(Source::FileRegistry).found, of(Source::FileRegistry).new), (1, 1));
        assert!(of(Source::Github).problem.as_ref().unwrap().contains("401"));
        assert!(of(Source::Gossip).problem.as_ref().unwrap().contains("no peer is connected"));
        assert_eq!(script.visits(), 2);
        let reports = scene.ports.discover.ask(discover(vec![Source::Dht]), LONG).await.unwrap();
        assert_eq!(reports.len(), 1);
        assert!(reports[0].problem.as_ref().unwrap().contains("not switched on"));
    });
}

#[test]
fn at_the_end_entries_are_taken_back_and_nothing_is_visited_any_more() {
    testing::world(|world| async move {
        let (source, script) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![source]);
        world.advance(Duration::from_secs(1)).await;
        let heard = scene.ports.goodbye.ask(SayGoodbye { within_ms: 2000 }, LONG).await.unwrap();
        assert_eq!((heard, script.withdrawals()), (0, 1));
        let visits = script.visits();
        world.advance(Duration::from_secs(600)).await;
        assert_eq!(script.visits(), visits);
    });
}
