//! Artifacts from peer to peer: every size, resumed ones, dishonest peers.

use super::world::{Lies, Node, eventually, pair, tcp};
use meshwork_proto::artifact::{ARTIFACT_CHUNK, ArtifactError};
use meshwork_proto::transport::{CallError, FetchArtifact, FetchError};
use meshwork_proto::{Cid, Coded, ErrorCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

async fn offer(node: &Node, len: usize) -> Cid {
    let bytes = bytes(len);
    let cid = Cid::of(&bytes);
    node.service.artifacts.lock().unwrap().insert(cid, bytes.into());
    cid
}

async fn fetch(node: &Node, from: &Node, cid: Cid, len: usize, ms: u64) -> Result<(), FetchError> {
    let request = FetchArtifact { from: from.id(), cid, len: len as u64, deadline_ms: ms };
    node.ports.fetch.ask(request, Duration::from_secs(30)).await.expect("fetch is answered")
}

fn holds(node: &Node, cid: Cid, len: usize) -> bool {
    node.service.artifacts.lock().unwrap().get(&cid).is_some_and(|held| held[..] == bytes(len)[..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_of_every_size_arrive_whole() {
    let (server, client) = pair(tcp()).await;
    for len in [0, 1, ARTIFACT_CHUNK - 1, ARTIFACT_CHUNK, ARTIFACT_CHUNK + 1, 9 * ARTIFACT_CHUNK + 77] {
        let cid = offer(&server, len).await;
        fetch(&client, &server, cid, len, 20_000).await.unwrap();
        assert!(holds(&client, cid, len), "{len}");
        // A second time nothing is transferred.
        let read = server.service.pieces_read.lock().unwrap().len();
        fetch(&client, &server, cid, len, 20_000).await.unwrap();
        assert_eq!(server.service.pieces_read.lock().unwrap().len(), read);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_here_already_is_not_asked_for_again() {
    let (server, client) = pair(tcp()).await;
    let len = 5 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    let have = 2 * ARTIFACT_CHUNK + 10;
    client.service.partial.lock().unwrap().insert(cid, bytes(len)[..have].to_vec());
    fetch(&client, &server, cid, len, 20_000).await.unwrap();
    assert!(holds(&client, cid, len));
    assert_eq!(server.service.pieces_read.lock().unwrap().iter().min(), Some(&(have as u64)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_was_cut_off_goes_on_where_it_was() {
    let (server, client) = pair(tcp()).await;
    let len = 8 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    let silent_from = Some(3 * ARTIFACT_CHUNK as u64);
    *server.service.lies.lock().unwrap() = Lies { silent_from, ..Lies::default() };
    let error = fetch(&client, &server, cid, len, 700).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error}");
    eventually("the pieces asked for ahead are abandoned", || {
        (server.service.held.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    *server.service.lies.lock().unwrap() = Lies::default();
    server.service.pieces_read.lock().unwrap().clear();
    fetch(&client, &server, cid, len, 20_000).await.unwrap();
    assert!(holds(&client, cid, len));
    assert_eq!(server.service.pieces_read.lock().unwrap().iter().min().copied(), silent_from);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_found_out_and_not_kept() {
    let (server, client) = pair(tcp()).await;
    let len = 3 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    server.service.lies.lock().unwrap().corrupt = true;
    let error = fetch(&client, &server, cid, len, 20_000).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Artifact(ArtifactError::Mismatch { expected, .. }) if expected == cid)
    );
    assert!(client.service.partial.lock().unwrap().is_empty());
    server.service.lies.lock().unwrap().corrupt = false;
    fetch(&client, &server, cid, len, 20_000).await.unwrap();
    assert!(holds(&client, cid, len));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_contradicts_the_announcement_is_not_believed() {
    let (server, client) = pair(tcp()).await;
    let len = 2 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    let lies = [
        Lies { longer: true, ..Lies::default() },
        Lies { everything: true, ..Lies::default() },
        Lies { at_most: Some(0), ..Lies::default() },
    ];
    for lie in lies {
        *server.service.lies.lock().unwrap() = lie;
        let error = fetch(&client, &server, cid, len, 20_000).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Corrupt, "{error}");
        assert!(client.service.partial.lock().unwrap().is_empty());
    }
    let error = fetch(&client, &server, Cid::of(b"unheard of"), 10, 20_000).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownArtifact, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_small_pieces_is_only_slow() {
    let (server, client) = pair(tcp()).await;
    let len = ARTIFACT_CHUNK + 5000;
    let cid = offer(&server, len).await;
    server.service.lies.lock().unwrap().at_most = Some(50_000);
    fetch(&client, &server, cid, len, 20_000).await.unwrap();
    assert!(holds(&client, cid, len));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_want_the_same_artifact_fetch_it_once() {
    let (server, client) = pair(tcp()).await;
    let len = 6 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    let fetch = || fetch(&client, &server, cid, len, 20_000);
    let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.service.pieces_read.lock().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_lost_half_way_ends_the_fetch() {
    let (server, client) = pair(tcp()).await;
    let len = 8 * ARTIFACT_CHUNK;
    let cid = offer(&server, len).await;
    server.service.lies.lock().unwrap().silent_from = Some(ARTIFACT_CHUNK as u64);
    let request = FetchArtifact { from: server.id(), cid, len: len as u64, deadline_ms: 20_000 };
    let (fetched, _) = tokio::join!(client.ports.fetch.ask(request, Duration::from_secs(30)), async {
        eventually("it hangs", || (server.service.held.load(Ordering::SeqCst) > 0).then_some(())).await;
        server.stop().await
    });
    let error = fetched.unwrap().unwrap_err();
    assert!(matches!(error, FetchError::Call(CallError::ConnectionLost(_))), "{error}");
}
