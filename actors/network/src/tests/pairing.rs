//! Pairing over real connections: a new node and one that lets it in.

use super::world::{Node, eventually, knowing, member, quick, tcp};
use crate::trust::MeshSecrets;
use crate::{NetworkOptions, Trust};
use futures::{AsyncReadExt, AsyncWriteExt};
use meshwork_proto::transport::{OpenPairing, PairError, PairWith, PairedWith, PairingOffer};
use meshwork_proto::wire::pairing::PAIRING_PROTOCOL;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

async fn open(node: &Node, valid_ms: u64) -> Result<PairingOffer, PairError> {
    node.ports.open_pairing.ask(OpenPairing { valid_ms }, SOON).await.unwrap()
}

async fn pair_with(node: &Node, code: &str, addresses: &[String]) -> Result<PairedWith, PairError> {
    let request = PairWith { code: code.to_owned(), addresses: addresses.to_vec(), deadline_ms: 10_000 };
    node.ports.pair_with.ask(request, SOON).await.unwrap()
}

/// A code that is certainly another one.
fn another(code: &str) -> String {
    let last = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &code[..code.len() - 1])
}

/// Strangers have time for a pairing, however slow the machine that tests it.
fn patient(options: NetworkOptions) -> NetworkOptions {
    NetworkOptions { stranger_grace: Duration::from_secs(10), ..options }
}

fn tries(node: &Node, outcome: &str) -> u64 {
    node.network.core().metrics.pairings.with_label_values(&[outcome]).get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_with_the_code_joins_the_mesh_and_stays_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret_file = folder.path().join("mesh.secret");
    let own = MeshSecrets::load_or_create(&secret_file).unwrap();
    let mut host = Node::start(member(), patient(tcp())).await;
    let options = NetworkOptions { secret_file: Some(secret_file.clone()), ..patient(quick()) };
    let mut guest = Node::start(Trust { secrets: own, ..Trust::default() }, options.clone()).await;
    let offer = open(&host, 60_000).await.unwrap();
    assert_eq!((offer.code.len(), offer.valid_ms, &offer.addresses), (11, 60_000, &host.network.addresses()));
    // First an address where nobody is, then one without id; and as a person types the code.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let addresses = [format!("/ip4/127.0.0.1/tcp/{port}"), host.bare_address()];
    let paired = pair_with(&guest, &offer.code.replace(' ', "-"), &addresses).await.unwrap();
    assert_eq!(paired, PairedWith { peer: host.id(), address: host.bare_address() });
    host.until_up(&guest.id()).await;
    guest.until_up(&host.id()).await;
    guest.greet(&host.id()).await.unwrap();
    host.greet(&guest.id()).await.unwrap();
    let found = guest.found.recv().await.unwrap().into_parts().0;
    assert_eq!(found.found[0].peer, Some(host.id()));
    assert_eq!(found.found[0].addresses, host.network.addresses());
    // It comes back by what it has kept.
    let (identity, _) = guest.stop().await;
    let kept = MeshSecrets::load(&secret_file).unwrap();
    let guest = Node::start_as(identity, Trust { secrets: kept, ..Trust::default() }, options).await;
    guest.dial(&host.address(), 10_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_wrong_codes_burn_the_right_one() {
    let host = Node::start(member(), patient(tcp())).await;
    let guest = Node::start(Trust::default(), patient(quick())).await;
    let offer = open(&host, 60_000).await.unwrap();
    for n in 1..=3 {
        let wrong = pair_with(&guest, &another(&offer.code), &[host.address()]).await.unwrap_err();
        assert_eq!(wrong, PairError::WrongCode);
        eventually("the try counts", || (tries(&host, "wrong_code") == n).then_some(())).await;
    }
    let late = pair_with(&guest, &offer.code, &[host.address()]).await.unwrap_err();
    assert!(matches!(late, PairError::NobodyThere { .. }), "{late}");
    assert_eq!(tries(&host, "welcome"), 0);
    // A new code works.
    let offer = open(&host, 60_000).await.unwrap();
    pair_with(&guest, &offer.code, &[host.address()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_for_one_node_and_for_its_time() {
    let host = Node::start(member(), patient(tcp())).await;
    let (first, second) = (
        Node::start(Trust::default(), patient(quick())).await,
        Node::start(Trust::default(), patient(quick())).await,
    );
    let offer = open(&host, 60_000).await.unwrap();
    let PairError::AlreadyOpen { left_s } = open(&host, 60_000).await.unwrap_err() else { panic!() };
    assert!((1..=60).contains(&left_s));
    pair_with(&first, &offer.code, &[host.address()]).await.unwrap();
    let used = pair_with(&second, &offer.code, &[host.address()]).await.unwrap_err();
    assert!(matches!(&used, PairError::NobodyThere { tried } if tried.contains("no pairing open")), "{used}");
    let offer = open(&host, 1_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let expired = pair_with(&second, &offer.code, &[host.address()]).await.unwrap_err();
    assert!(matches!(expired, PairError::NobodyThere { .. }), "{expired}");
    assert!(second.greet(&host.id()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_pair_says_so() {
    let host = Node::start(Trust::default(), patient(tcp())).await;
    assert_eq!(open(&host, 60_000).await.unwrap_err(), PairError::NoSecret);
    let guest = Node::start(Trust::default(), patient(tcp())).await;
    let no_code = pair_with(&guest, "12345", &[host.address()]).await.unwrap_err();
    assert_eq!(no_code, PairError::NotACode);
    for (addresses, said) in [
        (vec![], "no address"),
        (vec!["nonsense".to_owned()], "nonsense"),
        (vec![guest.address()], "this node itself"),
        (vec![host.address()], "no pairing open"),
    ] {
        let error = pair_with(&guest, "123 456 789", &addresses).await.unwrap_err();
        assert!(matches!(&error, PairError::NobodyThere { tried } if tried.contains(said)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_door_says_nothing_and_garbage_neither_opens_nor_burns() {
    let host = Node::start(member(), patient(tcp())).await;
    let guest = Node::start(Trust::default(), patient(quick())).await;
    guest.dial(&host.address(), 10_000).await.unwrap_err();
    let silence = |bytes: &'static [u8]| {
        let (guest, host) = (&guest, &host);
        async move {
            let mut stream = guest.raw_stream(&host.identity, PAIRING_PROTOCOL).await;
            // A closed stream may not take them any more.
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            let mut rest = Vec::new();
            let read = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it ends");
            assert!(rest.is_empty(), "{bytes:?} was answered: {rest:?}, {read:?}");
        }
    };
    silence(&[0, 0, 0, 1, 4]).await;
    let offer = open(&host, 60_000).await.unwrap();
    for garbage in
        [&[0xff; 8][..], &[0, 0, 0, 3, 250, 250, 250], &[0, 0, 0, 2, 4, 4], &[0, 0, 0, 4, 0, 1, 1, 65]]
    {
        silence(garbage).await;
    }
    eventually("all have ended", || (tries(&host, "broke_off") == 4).then_some(())).await;
    assert_eq!(tries(&host, "wrong_code"), 0);
    pair_with(&guest, &offer.code, &[host.address()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_begins_and_says_nothing_takes_a_few_places_and_leaves_them_when_it_goes() {
    let host = Node::start(member(), patient(tcp())).await;
    let silent = Node::start(Trust::default(), patient(quick())).await;
    silent.dial(&host.address(), 10_000).await.unwrap_err();
    let offer = open(&host, 60_000).await.unwrap();
    let inviting = host.network.core().exchanges.inviting.clone();
    let mut begun = Vec::new();
    for n in 1..=2 {
        begun.push(silent.raw_stream(&host.identity, PAIRING_PROTOCOL).await);
        eventually("it has a place", || (inviting.len() == n).then_some(())).await;
    }
    let mut third = silent.raw_stream(&host.identity, PAIRING_PROTOCOL).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(SOON, third.read_to_end(&mut said)).await.expect("it ends");
    assert!(said.is_empty() && inviting.len() == 2);
    let busy = host.network.core().metrics.refused_streams.with_label_values(&["pairing_busy"]).get();
    assert_eq!(busy, 1);
    drop(begun);
    eventually("the places are free", || (inviting.len() == 0).then_some(())).await;
    let guest = Node::start(Trust::default(), patient(quick())).await;
    pair_with(&guest, &offer.code, &[host.address()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairing_gives_the_secret_that_is_shown_while_it_is_being_changed() {
    let host =
        Node::start(knowing(&["the new secret of the mesh", "the old secret of the mesh"]), patient(tcp()))
            .await;
    let guest = Node::start(Trust::default(), patient(quick())).await;
    let offer = open(&host, 60_000).await.unwrap();
    assert!(!format!("{offer:?} {:?}", host.network).contains(&offer.code));
    pair_with(&guest, &offer.code, &[host.address()]).await.unwrap();
    let secrets = &guest.network.core().trust().secrets;
    assert_eq!(secrets.shown().unwrap().expose(), b"the new secret of the mesh");
    assert_eq!(secrets.iter().count(), 1);
}
