//! Sources: visited in time, and none of them can harm the others.

use super::actor::{Scene, Script, Scripted};
use super::bench::{A, B, ME, peer};
use crate::sources::{Dht, DirectoryPorts, Mdns, MdnsOptions, SourceError};
use meshwork_kit::testing::{self, probe};
use meshwork_proto::discovery::{DiscoverNow, FindProviders, FoundPeer, ListMembers, SayGoodbye, Source};
use meshwork_proto::transport::{Directory, ListNeighbours, LookUp, LookUpError, Neighbours};
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
fn who_provides_a_tool_is_looked_up_in_the_table_and_entered_also_while_the_table_is_being_visited() {
    testing::world(|world| async move {
        let (look_up, mut transport) = probe::<LookUp>(8);
        let (enter, entries) = probe(64);
        entries.reply_with(|_| Ok(()));
        let table = Box::new(Dht::new(Dht::usual(), DirectoryPorts { look_up, enter }));
        let (files, _) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![files, table]);
        world.advance(Duration::from_secs(1)).await;
        let (visit, held) = transport.next().await;
        assert_eq!(visit.name, "meshwork");
        let ask = |capability: &str| {
            let (port, capability) = (scene.ports.providers.clone(), capability.to_owned());
            tokio::task::spawn_local(async move {
                port.ask(FindProviders { capability, within_ms: 4_000 }, LONG).await.unwrap()
            })
        };
        let asked = ask("ocr");
        let (look, reply) = transport.next().await;
        assert_eq!((look.name.as_str(), look.deadline_ms), ("meshwork/ocr", 3_600));
        assert_eq!(look.directory, Directory::Dht);
        let mut named = found(B);
        // The node itself is among those who provide it.
        named.extend(found(ME));
        reply.send(Ok(named));
        let provided = asked.await.unwrap();
        assert_eq!((provided.len(), provided[0].peers.as_slice()), (1, &[peer(B)][..]));
        let report = &provided[0].report;
        assert_eq!((report.source, report.found, report.new, &report.problem), (Source::Dht, 1, 1, &None));
        let members = scene.members().await;
        let entered = members.iter().find(|member| member.peer == peer(B)).unwrap();
        assert_eq!(entered.found_by, [Source::Dht].into());
        let asked = ask("nobody-has-this");
        transport.next().await.1.send(Err(LookUpError::Timeout(4_000)));
        let failed = asked.await.unwrap().remove(0);
        assert!(failed.report.problem.unwrap().contains("did not answer within 4000 ms"));
        assert!(failed.peers.is_empty());
        drop(held);
    });
}

#[test]
fn where_no_table_is_switched_on_nobody_is_asked_who_provides_what() {
    testing::world(|world| async move {
        let (files, _) = Scripted::new(Source::FileRegistry, Script::Gives(found(A)));
        let scene = Scene::with(&world, Scene::store(), |_| {}, vec![files]);
        let find = FindProviders { capability: "ocr".into(), within_ms: 1_000 };
        assert_eq!(scene.ports.providers.ask(find, LONG).await.unwrap(), []);
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
