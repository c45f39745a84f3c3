//! Registries on a real file system, shared by several nodes, Python nodes and junk.

use super::*;
use crate::sources::cards::{A, B, C, card_at};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

fn card(peer: &str) -> OwnCard {
    card_at("198.51.100.7", peer)
}

/// A node of the registry at `path`, whose clock is `offset` seconds ahead.
fn node(path: &Path, runner: Option<&str>, ahead_s: i64) -> FileRegistry {
    let options = FileRegistryOptions { runner: runner.map(str::to_owned), ..FileRegistryOptions::at(path) };
    FileRegistry::new(options, Clock::starting_at(now(ahead_s)))
}

fn now(ahead_s: i64) -> UnixMillis {
    let now = Clock::system().now();
    UnixMillis(now.0.saturating_add_signed(ahead_s * 1_000))
}

fn iso(ahead_s: i64) -> String {
    super::super::timestamp::to_iso(now(ahead_s))
}

async fn visit(node: &mut FileRegistry, peer: &str) -> Vec<String> {
    let found = PeerSource::visit(node, &card(peer)).await.unwrap();
    found.into_iter().map(|found| found.peer.unwrap().to_string()).collect()
}

fn python(peer: &str, runner: &str, age_s: i64) -> Value {
    json!({
        "peer_id": peer, "runner_name": runner, "public_ip": "203.0.113.9", "listen_port": 9100,
        "multiaddr": format!("/ip4/203.0.113.9/tcp/9100/p2p/{peer}"), "last_seen": iso(-age_s), "metadata": {},
    })
}

fn put(directory: &TempDir, name: &str, text: &str) {
    fs::write(directory.path().join(name), text).unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn nodes_that_share_a_directory_find_one_another() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("made/when/needed");
    let (mut one, mut two) = (node(&path, Some("one"), 0), node(&path, Some("two"), 0));
    assert!(visit(&mut one, A).await.is_empty());
    assert_eq!(visit(&mut two, B).await, [A]);
    assert_eq!(visit(&mut one, A).await, [B]);
    assert_eq!(files(&path), ["peer_one.json", "peer_two.json"], "no temporary file is left");
    PeerSource::withdraw(&mut two, &card(B)).await.unwrap();
    assert!(visit(&mut one, A).await.is_empty(), "who says goodbye is gone at once");
}

#[tokio::test]
async fn a_python_node_is_found_in_a_directory_and_our_file_has_its_fields() {
    let directory = TempDir::new().unwrap();
    put(&directory, "peer_runner-7.json", &serde_json::to_string_pretty(&python(B, "runner-7", 60)).unwrap());
    let mut ours = node(directory.path(), Some("ours"), 0);
    assert_eq!(visit(&mut ours, A).await, [B]);
    let written: Value =
        serde_json::from_slice(&fs::read(directory.path().join("peer_ours.json")).unwrap()).unwrap();
    for (name, value) in [
        ("peer_id", json!(A)),
        ("runner_name", json!("ours")),
        ("public_ip", json!("198.51.100.7")),
        ("listen_port", json!(4001)),
        ("multiaddr", json!(card(A).addresses[0])),
    ] {
        assert_eq!(written[name], value);
    }
    assert!(written["last_seen"].as_str().unwrap().ends_with("+00:00"));
}

#[tokio::test]
async fn an_old_entry_is_ignored_and_only_one_that_is_dead_beyond_doubt_is_removed() {
    let directory = TempDir::new().unwrap();
    put(&directory, "peer_old.json", &python(B, "old", 31 * 60).to_string());
    // A clock that is days behind wrote it just now: it may be alive.
    put(&directory, "peer_behind.json", &python(C, "behind", 3 * 86_400).to_string());
    let mut ours = node(directory.path(), Some("ours"), 0);
    assert!(visit(&mut ours, A).await.is_empty());
    assert_eq!(files(directory.path()), ["peer_behind.json", "peer_old.json", "peer_ours.json"]);
    // Two days later by every clock.
    let mut later = node(directory.path(), Some("ours"), 2 * 86_400);
    assert!(visit(&mut later, A).await.is_empty());
    assert_eq!(files(directory.path()), ["peer_ours.json"]);
}

#[tokio::test]
async fn an_entry_from_the_future_counts_by_when_its_file_was_written() {
    let directory = TempDir::new().unwrap();
    put(&directory, "peer_ahead.json", &python(B, "ahead", -5 * 3_600).to_string());
    assert_eq!(visit(&mut node(directory.path(), Some("ours"), 0), A).await, [B]);
    assert!(visit(&mut node(directory.path(), Some("ours"), 3_600), A).await.is_empty());
}

#[tokio::test]
async fn junk_in_the_directory_is_skipped_and_the_healthy_part_is_found() {
    let directory = TempDir::new().unwrap();
    put(&directory, "peer_good.json", &python(B, "good", 0).to_string());
    put(&directory, "peer_broken.json", "{\"peer_id\": ");
    put(&directory, "peer_empty.json", "");
    put(&directory, "peer_huge.json", &"x".repeat(1_000_000));
    put(
        &directory,
        "peer_wrong.json",
        &json!({"peer_id": C, "multiaddr": format!("/ip4/8.8.8.8/tcp/1/p2p/{B}")}).to_string(),
    );
    put(&directory, "notes.txt", "no entry");
    fs::create_dir(directory.path().join("peer_directory.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("peer_link.json")).unwrap();
    let mut ours = node(directory.path(), Some("ours"), 0);
    assert_eq!(visit(&mut ours, A).await, [B]);
    assert_eq!(ours.skipped, 6);
    assert!(directory.path().join("peer_broken.json").exists(), "what is not understood is not removed");
}

#[tokio::test]
async fn a_link_in_our_place_is_replaced_and_not_followed() {
    let directory = TempDir::new().unwrap();
    let target = directory.path().join("precious");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, directory.path().join("peer_ours.json")).unwrap();
    visit(&mut node(directory.path(), Some("ours"), 0), A).await;
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(fs::symlink_metadata(directory.path().join("peer_ours.json")).unwrap().is_file());
}

#[tokio::test]
async fn two_nodes_that_were_given_one_name_do_not_take_each_others_place() {
    let directory = TempDir::new().unwrap();
    let (mut one, mut two) =
        (node(directory.path(), Some("host"), 0), node(directory.path(), Some("host"), 0));
    visit(&mut one, A).await;
    for _ in 0..3 {
        assert_eq!(visit(&mut two, B).await, [A]);
        assert_eq!(visit(&mut one, A).await, [B]);
    }
    assert_eq!(files(directory.path()).len(), 2);
    PeerSource::withdraw(&mut two, &card(B)).await.unwrap();
    assert_eq!(files(directory.path()), ["peer_host.json"], "each takes back its own");
}

#[tokio::test]
async fn a_name_with_slashes_leads_nowhere_else() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry");
    visit(&mut node(&path, Some("../../escape"), 0), A).await;
    assert_eq!(files(&path), ["peer_.._.._escape.json"]);
    assert_eq!(files(directory.path()), ["registry"]);
}

#[tokio::test]
async fn ten_thousand_entries_are_bounded() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    let peers: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("entry {n}"), python(B, &format!("r{n}"), 0))).collect();
    fs::write(&path, json!({"peers": peers}).to_string()).unwrap();
    assert_eq!(visit(&mut node(&path, None, 0), A).await, [B], "each peer once");
}

/// A well-formed id for each number: any such text is the id of some key.
fn invented(n: usize) -> String {
    crate::discovery::sim::name(n).to_string()
}

#[tokio::test]
async fn thousands_of_invented_entries_do_not_displace_the_real_ones() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    // The real one is a minute old: whoever invents the others can make all of them newer.
    let real = (B.to_owned(), python(B, "runner-7", 60));
    let peers: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (invented(n), python(&invented(n), "x", 0))).chain([real]).collect();
    fs::write(&path, json!({"peers": peers}).to_string()).unwrap();
    let mut ours = node(&path, None, 0);
    let mut visits = 0;
    loop {
        let found = visit(&mut ours, A).await;
        assert_eq!(found.len(), entry::MAX_FOUND);
        visits += 1;
        assert!(visits < 100, "a tenth of all is drawn at each visit, and never the real one");
        if found.iter().any(|peer| peer == B) {
            break;
        }
    }
    println!("found at visit {visits}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_a_single_file_from_the_future_counts_for_as_long_as_somebody_renews_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    let write = |ahead_s: i64| {
        fs::write(&path, json!({"peers": {B: python(B, "runner-7", -ahead_s)}}).to_string()).unwrap();
    };
    let mut ours = node(&path, None, 0);
    let minutes = |minutes: u64| tokio::time::advance(Duration::from_secs(60 * minutes));
    write(5 * 3_600);
    assert_eq!(visit(&mut ours, A).await, [B], "its clock may be off");
    minutes(20).await;
    assert_eq!(visit(&mut ours, A).await, [B]);
    write(5 * 3_600 + 20 * 60);
    assert_eq!(visit(&mut ours, A).await, [B], "it was renewed");
    minutes(20).await;
    assert_eq!(visit(&mut ours, A).await, [B]);
    for _ in 0..25 {
        minutes(15).await;
        assert!(visit(&mut ours, A).await.is_empty(), "nobody renews it, and it does not become young again");
    }
}

#[tokio::test]
async fn a_single_file_has_exactly_the_fields_that_python_builds_its_records_from() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    let seconds = super::super::timestamp::to_seconds(now(-60));
    let theirs = json!({
        "peer_id": B, "multiaddr": format!("/ip4/203.0.113.9/tcp/9100/p2p/{B}"), "capabilities": ["x"],
        "first_seen": seconds, "last_seen": seconds, "source": "local_file", "ttl_seconds": 3600, "metadata": {},
    });
    fs::write(&path, json!({"peers": {B: theirs}, "last_cleanup": seconds, "other": 7}).to_string()).unwrap();
    assert_eq!(visit(&mut node(&path, None, 0), A).await, [B]);
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        (&written["peers"][B], &written["other"]),
        (&theirs, &json!(7)),
        "what is not ours stays as it was"
    );
    let mut fields: Vec<_> = written["peers"][A].as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "capabilities",
            "first_seen",
            "last_seen",
            "metadata",
            "multiaddr",
            "peer_id",
            "source",
            "ttl_seconds"
        ]
    );
    assert!(written["peers"][A]["last_seen"].is_f64() && written["last_cleanup"].is_f64());
}

#[tokio::test]
async fn many_nodes_write_one_file_at_the_same_time_and_none_is_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("deep/peer_registry.json");
    let peers: Vec<String> = (0u8..20).map(peer_number).collect();
    let visits = peers.iter().map(|peer| {
        let path = path.clone();
        async move { PeerSource::visit(&mut node(&path, None, 0), &card(peer)).await.unwrap() }
    });
    futures::future::join_all(visits).await;
    let mut found = visit(&mut node(&path, None, 0), A).await;
    found.sort();
    let mut expected = peers;
    expected.sort();
    assert_eq!(found, expected);
}

/// A peer id for each number: the identity multihash of a key that is all zeros but for its end.
fn peer_number(n: u8) -> String {
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut text = A.to_owned();
    text.truncate(A.len() - 1);
    text.push(char::from(alphabet[usize::from(n)]));
    text
}

#[tokio::test]
async fn our_entry_is_renewed_only_when_it_says_something_new_or_gets_old() {
    let directory = TempDir::new().unwrap();
    for path in [directory.path().join("directory"), directory.path().join("single.json")] {
        let stamp = |path: &Path| {
            let file = if path.is_dir() { path.join("peer_ours.json") } else { path.to_owned() };
            fs::read_to_string(file).unwrap()
        };
        visit(&mut node(&path, Some("ours"), 0), A).await;
        let first = stamp(&path);
        visit(&mut node(&path, Some("ours"), 60), A).await;
        assert_eq!(stamp(&path), first, "a minute later nothing is written");
        visit(&mut node(&path, Some("ours"), 8 * 60), A).await;
        let renewed = stamp(&path);
        assert_ne!(renewed, first);
        let moved = OwnCard { addresses: vec!["/ip4/198.51.100.8/tcp/1".into()], ..card(A) };
        PeerSource::visit(&mut node(&path, Some("ours"), 8 * 60), &moved).await.unwrap();
        assert_ne!(stamp(&path), renewed, "a new address is written at once");
    }
}

#[tokio::test]
async fn a_single_file_that_cannot_be_understood_is_an_error_and_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    for text in ["{\"peers\": ", "[]", "{\"peers\": 7}"] {
        fs::write(&path, text).unwrap();
        let error = PeerSource::visit(&mut node(&path, None, 0), &card(A)).await.unwrap_err();
        assert!(matches!(error, SourceError::Malformed(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, "\n").unwrap();
    assert!(visit(&mut node(&path, None, 0), A).await.is_empty(), "an empty file is an empty registry");
}

#[tokio::test]
async fn who_waits_too_long_for_the_lock_says_so_and_the_lock_of_the_dead_is_free() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("peer_registry.json");
    let held = files::lock(&path).await.unwrap();
    let deadline = Duration::from_millis(200);
    let options = FileRegistryOptions { deadline, ..FileRegistryOptions::at(&path) };
    let mut waiting = FileRegistry::new(options, Clock::system());
    let error = PeerSource::visit(&mut waiting, &card(A)).await.unwrap_err();
    assert_eq!(error, SourceError::Timeout(deadline));
    drop(held);
    assert!(PeerSource::visit(&mut waiting, &card(A)).await.is_ok());
}

#[tokio::test]
async fn where_a_node_may_not_write_it_says_so() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "a file and no directory").unwrap();
    for path in [path.clone(), path.join("peer_registry.json")] {
        let error = PeerSource::visit(&mut node(&path, None, 0), &card(A)).await.unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
}

#[tokio::test]
async fn a_node_without_an_address_reads_and_enters_nothing() {
    let directory = TempDir::new().unwrap();
    put(&directory, "peer_runner-7.json", &python(B, "runner-7", 60).to_string());
    let nowhere = OwnCard { addresses: vec![], ..card(A) };
    let found = PeerSource::visit(&mut node(directory.path(), None, 0), &nowhere).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(files(directory.path()), ["peer_runner-7.json"]);
}
