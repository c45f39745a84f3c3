//! The registry against a stand-in of GitHub: what it writes, what it believes, and every way in which GitHub can fail.

mod faults;
mod live;
mod stand_in;

use super::*;
use crate::sources::cards::{A, B, C, card_at};
use stand_in::{ENTERPRISE, NOW, StandIn, start};
use wiremock::MockServer;

fn card(peer: &str) -> OwnCard {
    card_at("93.184.216.34", peer)
}

fn options(server: &MockServer) -> GithubOptions {
    GithubOptions {
        base_url: server.uri(),
        token: GithubToken::new("ghp_secret"),
        runner: Some("ours".into()),
        ..GithubOptions::for_repository("octo/mesh")
    }
}

/// A node whose clock is three hours behind GitHub's.
fn registry(options: GithubOptions) -> Github {
    let clock = Clock::starting_at(UnixMillis(NOW.0 - 3 * 3_600_000));
    Github::new(options, clock).unwrap()
}

async fn visit(registry: &mut Github) -> Vec<String> {
    let found = registry.visit(&card(A)).await.unwrap();
    found.into_iter().map(|found| found.peer.unwrap().to_string()).collect()
}

/// A comment as the Python nodes write it.
fn python(peer: &str, runner: &str) -> String {
    format!(
        "<!-- p2p-peer-registry:{runner} -->\n```json\n{{\n  \"last_seen\": \"2023-11-14T22:03:20.123456+00:00\",\n  \
         \"listen_port\": 9100,\n  \"metadata\": {{}},\n  \"multiaddr\": \"/ip4/203.0.113.9/tcp/9100/p2p/{peer}\",\n  \
         \"peer_id\": \"{peer}\",\n  \"public_ip\": \"203.0.113.9\",\n  \"runner_name\": \"{runner}\"\n}}\n```\n"
    )
}

fn open(stand_in: &StandIn) {
    stand_in.with(|state| state.issues.push((7, "p2p-peer-registry".into(), false)));
}

fn our_body(stand_in: &StandIn) -> String {
    stand_in
        .with(|state| state.comments.iter().find(|comment| comment.body.contains(A)).unwrap().body.clone())
}

#[tokio::test]
async fn the_first_node_opens_the_issue_and_enters_itself() {
    let (server, stand_in) = start().await;
    assert!(visit(&mut registry(options(&server))).await.is_empty());
    stand_in.with(|state| assert_eq!(state.issues, [(1, "p2p-peer-registry".into(), false)]));
    let body = our_body(&stand_in);
    assert!(body.starts_with("<!-- p2p-peer-registry:ours -->\n```json\n{\n  \"last_seen\": \""), "{body}");
    assert!(body.ends_with("\n}\n```\n"), "{body}");
    assert!(body.contains("\"last_seen\": \"2023-11-14T22:13:2"), "GitHub's time, not ours: {body}");
    stand_in.with(|state| {
        assert!(state.authorization.iter().all(|header| header.as_deref() == Some("Bearer ghp_secret")));
    });
}

#[tokio::test]
async fn the_open_issue_with_exactly_the_title_and_the_lowest_number_is_the_one() {
    let (server, stand_in) = start().await;
    stand_in.with(|state| {
        state.issues = vec![
            (2, "p2p-peer-registry".into(), true),
            (3, "about p2p-peer-registry".into(), false),
            (9, "p2p-peer-registry".into(), false),
            (5, "p2p-peer-registry".into(), false),
        ];
    });
    visit(&mut registry(options(&server))).await;
    let comments: Vec<_> = stand_in.asked().into_iter().filter(|asked| asked.contains("/comments")).collect();
    assert!(
        !comments.is_empty() && comments.iter().all(|asked| asked.contains("/issues/5/comments")),
        "{comments:?}"
    );
}

#[tokio::test]
async fn an_issue_behind_hundreds_of_others_is_found() {
    let (server, stand_in) = start().await;
    stand_in.with(|state| {
        state.issues = (1..=350).map(|number| (number, format!("bug {number}"), false)).collect();
        state.issues.push((351, "p2p-peer-registry".into(), false));
    });
    visit(&mut registry(options(&server))).await;
    assert!(stand_in.asked().iter().any(|asked| asked.contains("/issues/351/comments")));
    stand_in.with(|state| assert_eq!(state.issues.len(), 351, "no second one is opened"));
}

#[tokio::test]
async fn an_issue_behind_more_than_a_thousand_others_is_found_by_the_search() {
    let (server, stand_in) = start().await;
    stand_in.with(|state| {
        state.issues = (1..=1_100).map(|number| (number, format!("bug {number}"), false)).collect();
        state.issues.push((1_101, "which p2p-peer-registry is it?".into(), false));
        state.issues.push((1_103, "p2p-peer-registry".into(), false));
        state.issues.push((1_102, "p2p-peer-registry".into(), false));
    });
    stand_in.comment(&python(B, "runner-7"), 60);
    assert_eq!(visit(&mut registry(options(&server))).await, [B]);
    let asked = stand_in.asked();
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("GET /repos/octo/mesh/issues?")).count(), 10);
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("GET /search/issues?")).count(), 1, "{asked:?}");
    assert!(asked.iter().any(|asked| asked.contains("/issues/1102/comments")), "{asked:?}");
}

#[tokio::test]
async fn a_github_whose_api_is_below_a_path_is_asked_there_for_everything() {
    for slash in ["", "/"] {
        let (server, stand_in) = start().await;
        let base_url = format!("{}{ENTERPRISE}{slash}", server.uri());
        let mut ours = registry(GithubOptions { base_url, ..options(&server) });
        visit(&mut ours).await;
        let moved = OwnCard { addresses: vec!["/ip4/93.184.216.35/tcp/4001".into()], ..card(A) };
        ours.visit(&moved).await.unwrap();
        ours.withdraw(&moved).await.unwrap();
        let asked = stand_in.asked();
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            let of_method = |asked: &&String| asked.starts_with(&format!("{method} "));
            assert!(asked.iter().any(|asked| of_method(&asked)), "{asked:?}");
            let path = format!("{method} {ENTERPRISE}/repos/octo/mesh/issues");
            assert!(asked.iter().filter(of_method).all(|asked| asked.starts_with(&path)), "{asked:?}");
        }
    }
}

#[test]
fn a_comment_as_github_sends_it_is_read_with_its_time() {
    let recorded = serde_json::from_str(include_str!("tests/recorded/comment.json")).unwrap();
    let comment = comment::parse("p2p-peer-registry", &recorded).unwrap();
    assert_eq!((comment.id, comment.runner.as_str()), (1_811_027_013, "runner-7"));
    assert_eq!(comment.age(NOW), Duration::from_secs(10), "when it was changed, not when it was made");
    let entry = comment.entry.unwrap();
    assert_eq!(entry.peer.as_str(), B);
    assert_eq!(entry.addresses, [format!("/ip4/203.0.113.9/tcp/9100/p2p/{B}")]);
}

#[tokio::test]
async fn nodes_of_both_kinds_find_one_another() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    stand_in.comment(&python(B, "runner-7"), 60);
    let mut ours = registry(options(&server));
    let found = ours.visit(&card(A)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].addresses, [format!("/ip4/203.0.113.9/tcp/9100/p2p/{B}")]);
    let mut other = registry(GithubOptions { runner: None, ..options(&server) });
    let mut found: Vec<_> = other
        .visit(&card(C))
        .await
        .unwrap()
        .into_iter()
        .map(|found| found.peer.unwrap().to_string())
        .collect();
    found.sort();
    assert_eq!(found, [A, B]);
}

#[tokio::test]
async fn our_comment_is_written_again_only_when_that_says_something_new() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let mut ours = registry(options(&server));
    visit(&mut ours).await;
    stand_in.asked();
    visit(&mut ours).await;
    assert!(stand_in.asked().iter().all(|asked| asked.starts_with("GET")));
    let moved = OwnCard { addresses: vec!["/ip4/93.184.216.35/tcp/4001".into()], ..card(A) };
    ours.visit(&moved).await.unwrap();
    let written: Vec<_> = stand_in.asked().into_iter().filter(|asked| !asked.starts_with("GET")).collect();
    assert_eq!(written.len(), 1);
    assert!(written[0].starts_with("PATCH /repos/octo/mesh/issues/comments/"), "{written:?}");
    // Half of its time to live later.
    stand_in.with(|state| state.comments[0].updated = UnixMillis(NOW.0 - 16 * 60_000));
    ours.visit(&moved).await.unwrap();
    assert!(stand_in.asked().iter().any(|asked| asked.starts_with("PATCH")));
    stand_in.with(|state| assert_eq!(state.comments.len(), 1));
}

#[tokio::test]
async fn a_node_that_comes_back_takes_its_old_comment_and_one_that_was_deleted_is_made_anew() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    visit(&mut registry(options(&server))).await;
    let mut again = registry(options(&server));
    visit(&mut again).await;
    stand_in.with(|state| assert_eq!(state.comments.len(), 1));
    stand_in.with(|state| state.comments.clear());
    visit(&mut again).await;
    stand_in.with(|state| assert_eq!(state.comments.len(), 1));
}

#[tokio::test]
async fn two_nodes_that_were_given_one_name_do_not_take_each_others_comment() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    stand_in.comment(&python(B, "ours"), 60);
    let mut ours = registry(options(&server));
    for _ in 0..3 {
        assert_eq!(visit(&mut ours).await, [B]);
    }
    stand_in.with(|state| {
        assert_eq!(state.comments.len(), 2);
        assert_eq!(state.comments[0].body, python(B, "ours"));
        assert!(state.comments[1].body.starts_with("<!-- p2p-peer-registry:ours-4kx6nXTN -->"));
    });
}

#[tokio::test]
async fn a_comment_of_somebody_else_with_our_name_is_not_written_over_and_does_not_keep_us_out() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let nonsense = "<!-- p2p-peer-registry:ours -->\n```json\nnot json\n```\n";
    stand_in.comment(nonsense, 60);
    let mut ours = registry(options(&server));
    for _ in 0..3 {
        visit(&mut ours).await;
    }
    stand_in.with(|state| {
        assert_eq!(state.comments.len(), 2, "one of theirs and one of ours, however often we come");
        assert_eq!(state.comments[0].body, nonsense);
    });
}

#[tokio::test]
async fn an_old_comment_that_may_not_be_changed_is_left_and_another_one_made() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    stand_in.comment(&python(B, "ours"), 7_200);
    stand_in.with(|state| state.fault_of_writes = Some(wiremock::ResponseTemplate::new(403)));
    let mut ours = registry(options(&server));
    assert!(matches!(ours.visit(&card(A)).await, Err(SourceError::Refused(_))));
    stand_in.with(|state| state.fault_of_writes = None);
    visit(&mut ours).await;
    stand_in.with(|state| {
        assert_eq!(state.comments[0].body, python(B, "ours"));
        assert!(state.comments[1].body.starts_with("<!-- p2p-peer-registry:ours-4kx6nXTN -->"));
    });
}

#[tokio::test]
async fn all_pages_are_read_and_those_that_have_not_changed_cost_nothing() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    for n in 0..249 {
        stand_in.comment(&format!("chatter {n}"), 60);
    }
    stand_in.comment(&python(B, "runner-7"), 60);
    let mut ours = registry(GithubOptions { token: None, ..options(&server) });
    assert_eq!(visit(&mut ours).await, [B]);
    stand_in.asked();
    assert_eq!(visit(&mut ours).await, [B], "what was read before is still known");
    stand_in.with(|state| assert_eq!(state.unchanged, 3, "three pages, three answers without a body"));
    assert_eq!(stand_in.asked().len(), 3);
    stand_in.comment(&python(C, "runner-8"), 0);
    let mut found = visit(&mut ours).await;
    found.sort();
    assert_eq!(found, [C, B], "a page that changed is read again");
}

#[tokio::test]
async fn the_comment_that_opens_a_new_page_is_found_although_the_page_before_it_has_not_changed() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    for n in 0..99 {
        stand_in.comment(&format!("chatter {n}"), 60);
    }
    stand_in.comment(&python(B, "runner-7"), 60);
    let mut ours = registry(GithubOptions { token: None, ..options(&server) });
    assert_eq!(visit(&mut ours).await, [B]);
    assert_eq!(visit(&mut ours).await, [B]);
    stand_in.comment(&python(C, "runner-8"), 0);
    let mut found = visit(&mut ours).await;
    found.sort();
    assert_eq!(found, [C, B]);
    stand_in.asked();
    visit(&mut ours).await;
    assert_eq!(stand_in.asked().len(), 2, "and costs no more than a question for each page");
}

#[tokio::test]
async fn an_issue_that_grows_to_too_many_pages_is_still_read_at_its_end() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let chatter = |n| {
        for n in 0..n {
            stand_in.comment(&format!("chatter {n}"), 60);
        }
    };
    chatter(300);
    let reader = GithubOptions { token: None, max_pages: 3, ..options(&server) };
    let mut ours = registry(reader);
    assert!(visit(&mut ours).await.is_empty());
    chatter(299);
    stand_in.comment(&python(B, "runner-7"), 60);
    // The first page is as it was, with its word that it is one of three; the new ones tell of more.
    visit(&mut ours).await;
    assert_eq!(visit(&mut ours).await, [B]);
    stand_in.with(|state| state.comments.truncate(150));
    stand_in.comment(&python(C, "runner-8"), 60);
    visit(&mut ours).await;
    assert_eq!(visit(&mut ours).await, [C], "and one that shrinks is read from its beginning again");
}

#[tokio::test]
async fn of_too_many_pages_the_newest_are_read() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    for n in 0..10_000 {
        stand_in.comment(&format!("<!-- p2p-peer-registry:spam-{n} -->\n```json\n{{}}\n```"), 60);
    }
    stand_in.comment(&python(B, "runner-7"), 60);
    let mut ours = registry(options(&server));
    assert_eq!(visit(&mut ours).await, [B]);
    assert!(stand_in.asked().len() <= 30, "bounded");
    // Our own comment is on the page that was read last or not read at all: it is not written again and again.
    visit(&mut ours).await;
    visit(&mut ours).await;
    assert!(stand_in.asked().iter().all(|asked| asked.starts_with("GET")));
}

#[tokio::test]
async fn old_entries_our_own_and_entries_of_clocks_that_are_off_count_by_githubs_time() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    stand_in.comment(&python(B, "gone"), 31 * 60);
    // It says it is of the year 2099, but nobody has renewed it.
    stand_in.comment(&python(C, "forged").replace("2023-11-14", "2099-01-01"), 3_600);
    assert!(visit(&mut registry(options(&server))).await.is_empty());
    // Its clock is a day behind, and it was renewed just now.
    stand_in.comment(&python(C, "behind").replace("2023-11-14", "2023-11-13"), 5);
    assert_eq!(visit(&mut registry(options(&server))).await, [C]);
}

#[tokio::test]
async fn hostile_comments_are_skipped_and_the_healthy_part_is_found() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let mark = "<!-- p2p-peer-registry:x -->\n";
    for body in [
        format!("{mark}```json\n{{\"peer_id\": \n```"),
        format!(
            "{mark}```json\n{{\"peer_id\": \"{B}\", \"multiaddr\": \"/ip4/8.8.8.8/tcp/1/p2p/{C}\"}}\n```"
        ),
        format!("{mark}```json\n\"{}\"\n```", "x".repeat(60_000)),
        format!("{mark}```json\n{}1{}\n```", "[".repeat(5_000), "]".repeat(5_000)),
        "```json\n{}\n```".into(),
        "\u{0}\u{202e}".into(),
    ] {
        stand_in.comment(&body, 1);
    }
    stand_in.comment(&python(B, "good"), 1);
    let mut ours = registry(options(&server));
    assert_eq!(visit(&mut ours).await, [B]);
    assert_eq!(ours.skipped, 4);
}

#[tokio::test]
async fn addresses_of_private_networks_are_not_told_to_strangers_unless_that_is_wanted() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let private = format!("/ip4/192.168.1.7/tcp/4001/p2p/{A}");
    let home = OwnCard { addresses: vec![private.clone()], ..card(A) };
    registry(options(&server)).visit(&home).await.unwrap();
    stand_in.with(|state| assert!(state.comments.is_empty(), "nothing public, no entry"));
    let both = OwnCard { addresses: vec![private.clone(), card(A).addresses[0].clone()], ..card(A) };
    registry(options(&server)).visit(&both).await.unwrap();
    assert!(!our_body(&stand_in).contains("192.168"));
    let options = GithubOptions { allow_private_addresses: true, ..options(&server) };
    registry(options).visit(&both).await.unwrap();
    assert!(our_body(&stand_in).contains(&private));
}

#[tokio::test]
async fn who_says_goodbye_takes_its_comment_back() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let mut ours = registry(options(&server));
    ours.withdraw(&card(A)).await.unwrap();
    assert!(stand_in.asked().is_empty(), "nothing was entered");
    visit(&mut ours).await;
    ours.withdraw(&card(A)).await.unwrap();
    stand_in.with(|state| assert!(state.comments.is_empty()));
}

#[tokio::test]
async fn without_a_token_a_node_reads_and_writes_nothing() {
    let (server, stand_in) = start().await;
    let mut reader = registry(GithubOptions { token: None, ..options(&server) });
    assert!(visit(&mut reader).await.is_empty(), "no issue, and none is opened");
    open(&stand_in);
    stand_in.comment(&python(B, "runner-7"), 60);
    assert_eq!(visit(&mut reader).await, [B]);
    assert!(stand_in.asked().iter().all(|asked| asked.starts_with("GET")));
    stand_in.with(|state| assert!(state.authorization.iter().all(Option::is_none)));
}

#[tokio::test]
async fn comments_of_the_gone_are_deleted_only_when_that_is_wanted() {
    let (server, stand_in) = start().await;
    open(&stand_in);
    let (gone, person) =
        (stand_in.comment(&python(B, "gone"), 7_200), stand_in.comment("a person wrote this", 7_200));
    let recent = stand_in.comment(&python(C, "recent"), 45 * 60);
    visit(&mut registry(options(&server))).await;
    stand_in.with(|state| assert!(state.comments.iter().any(|comment| comment.id == gone)));
    visit(&mut registry(GithubOptions { clean_up: true, ..options(&server) })).await;
    stand_in.with(|state| {
        let left: Vec<_> = state.comments.iter().map(|comment| comment.id).collect();
        assert!(!left.contains(&gone) && left.contains(&person) && left.contains(&recent), "{left:?}");
    });
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    let with = |change: fn(&mut GithubOptions)| {
        let mut options = GithubOptions::for_repository("octo/mesh");
        change(&mut options);
        Github::new(options, Clock::system()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(with(|_| {}), "");
    for repository in ["mesh", "octo/mesh/x", "octo/", "/mesh", "octo/me sh", "octo/../x", "octo/.."] {
        let options = GithubOptions::for_repository(repository);
        assert!(Github::new(options, Clock::system()).is_err(), "{repository}");
    }
    assert!(with(|options| options.base_url = "api.github.com".into()).contains("https://api.github.com"));
    assert!(with(|options| options.runner = Some("a --> b".into())).contains("cannot mark"));
    assert!(with(|options| options.registry = "a:b".into()).contains("cannot mark"));
    let shown = format!(
        "{:?}",
        GithubOptions { token: GithubToken::new("ghp_secret"), ..GithubOptions::for_repository("o/r") }
    );
    assert!(!shown.contains("ghp_secret"), "{shown}");
}
