//! Names resolved at a small real name server on loopback that says what each test wants, lies included.

use super::*;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use meshwork_proto::discovery::FoundPeer;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const P: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const Q: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

/// The records of a test's zone, by name and type.
type Zone = BTreeMap<(String, RecordType), Vec<RData>>;

fn txt(entry: &str) -> RData {
    RData::TXT(TXT::new(vec![format!("dnsaddr={entry}")]))
}

fn a(ip: [u8; 4]) -> RData {
    RData::A(A(ip.into()))
}

fn srv(port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(0, 0, port, Name::from_ascii(target).unwrap()))
}

fn zone(records: &[(&str, RData)]) -> Zone {
    let mut zone = Zone::new();
    for (name, data) in records {
        zone.entry((format!("{name}."), data.record_type())).or_default().push(data.clone());
    }
    zone
}

struct Server {
    at: SocketAddr,
    questions: Arc<AtomicUsize>,
}

/// Serves a zone over UDP and TCP; `silent` servers hear questions and say nothing.
async fn serve(zone: Zone, silent: bool) -> Server {
    let questions = Arc::new(AtomicUsize::new(0));
    // The same port for both: the one given for TCP may be taken for UDP.
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (tcp, udp);
        }
    };
    let at = tcp.local_addr().unwrap();
    let zone = Arc::new(zone);
    let (zone_of_tcp, count) = (Arc::clone(&zone), Arc::clone(&questions));
    tokio::spawn(async move {
        let mut buffer = vec![0; 4_096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut answer = answer(&zone, &buffer[..length]);
            if answer.to_vec().unwrap().len() > 1_200 {
                answer = answer.truncate();
            }
            if !silent {
                udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let zone = Arc::clone(&zone_of_tcp);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut buffer = vec![0; usize::from(length)];
                    stream.read_exact(&mut buffer).await.unwrap();
                    let mut answer = answer(&zone, &buffer);
                    // A message has no more than 64 KiB.
                    while answer.to_vec().is_ok_and(|bytes| bytes.len() > 65_000) {
                        answer.answers.truncate(answer.answers.len() / 2);
                    }
                    let bytes = answer.to_vec().unwrap();
                    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            });
        }
    });
    Server { at, questions }
}

fn answer(zone: &Zone, question: &[u8]) -> Message {
    let asked = Message::from_vec(question).unwrap();
    let query = asked.queries[0].clone();
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.recursion_desired = true;
    let name = query.name().to_string().to_ascii_lowercase();
    match zone.get(&(name.clone(), query.query_type())) {
        Some(records) => {
            for data in records {
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
            }
        }
        None if zone.keys().any(|(known, _)| *known == name) => {}
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.add_query(query);
    answer
}

fn dns(server: &Server, allow_loopback: bool) -> Dns {
    Dns::new(DnsOptions {
        servers: vec![server.at],
        question_deadline: Duration::from_secs(2),
        allow_loopback,
        ..DnsOptions::default()
    })
}

async fn found(records: &[(&str, RData)], name: &str) -> Vec<FoundPeer> {
    let server = serve(zone(records), false).await;
    dns(&server, false).resolve(name).await.unwrap().found()
}

fn addresses(found: Vec<FoundPeer>) -> Vec<String> {
    let mut addresses: Vec<_> = found.into_iter().flat_map(|contact| contact.addresses).collect();
    addresses.sort();
    addresses
}

#[tokio::test]
async fn a_headless_service_gives_the_addresses_of_all_its_pods_with_the_default_port() {
    let records = [
        ("mesh.ns.svc.cluster.local", a([10, 1, 0, 5])),
        ("mesh.ns.svc.cluster.local", a([10, 1, 0, 6])),
        ("mesh.ns.svc.cluster.local", RData::AAAA(AAAA("fd00::5".parse().unwrap()))),
    ];
    let all = addresses(found(&records, "mesh.ns.svc.cluster.local").await);
    assert_eq!(all, ["/ip4/10.1.0.5/tcp/4001", "/ip4/10.1.0.6/tcp/4001", "/ip6/fd00::5/tcp/4001"]);
    let with_port = addresses(found(&records[..1], "MESH.ns.svc.cluster.local:9000").await);
    assert_eq!(with_port, ["/ip4/10.1.0.5/tcp/9000"]);
}

#[tokio::test]
async fn service_records_give_hosts_with_their_own_ports_and_plain_addresses_do_not_count_then() {
    let records = [
        ("mesh.example", a([10, 1, 0, 5])),
        ("_meshwork._tcp.mesh.example", srv(4101, "pod-1.mesh.example.")),
        ("_meshwork._udp.mesh.example", srv(4102, "pod-1.mesh.example.")),
        ("_meshwork._tcp.mesh.example", srv(4103, ".")),
        ("pod-1.mesh.example", a([10, 1, 0, 7])),
    ];
    let all = addresses(found(&records, "mesh.example").await);
    assert_eq!(all, ["/ip4/10.1.0.7/tcp/4101", "/ip4/10.1.0.7/udp/4102/quic-v1"]);
}

#[tokio::test]
async fn dnsaddr_records_lead_to_peers_also_over_other_names_and_in_pieces() {
    let long = format!("dnsaddr=/dns4/{}.example/tcp/4001/p2p/{P}", "x".repeat(60));
    let (head, tail) = long.split_at(20);
    let records = [
        ("_dnsaddr.mesh.example", txt("/dnsaddr/eu.mesh.example")),
        ("_dnsaddr.mesh.example", RData::TXT(TXT::new(vec![head.into(), tail.into()]))),
        ("_dnsaddr.mesh.example", RData::TXT(TXT::new(vec!["v=spf1 -all".into()]))),
        ("_dnsaddr.eu.mesh.example", txt(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{Q}"))),
    ];
    let contacts = found(&records, "/dnsaddr/mesh.example").await;
    assert_eq!(contacts.len(), 2);
    assert!(contacts.iter().all(|contact| contact.peer.is_some()));
    assert_eq!(addresses(found(&records, "mesh.example").await).len(), 2, "a plain name has them too");
}

#[tokio::test]
async fn a_peer_that_is_named_is_the_only_one_that_counts() {
    let records = [
        ("_dnsaddr.mesh.example", txt(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{P}"))),
        ("_dnsaddr.mesh.example", txt(&format!("/ip4/198.51.100.8/tcp/4001/p2p/{Q}"))),
        ("_dnsaddr.mesh.example", txt("/ip4/198.51.100.9/tcp/4001")),
    ];
    let all = addresses(found(&records, &format!("/dnsaddr/mesh.example/p2p/{Q}")).await);
    assert_eq!(all, [format!("/ip4/198.51.100.8/tcp/4001/p2p/{Q}")]);
}

#[tokio::test]
async fn records_that_lead_in_a_circle_or_too_far_end_somewhere_and_are_told() {
    let records = [
        ("_dnsaddr.a.example", txt("/dnsaddr/b.example")),
        ("_dnsaddr.b.example", txt("/dnsaddr/a.example")),
        ("_dnsaddr.b.example", txt(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{P}"))),
    ];
    let server = serve(zone(&records), false).await;
    let reading = dns(&server, false).resolve("/dnsaddr/a.example").await.unwrap();
    assert_eq!(reading.found().len(), 1);
    assert!(reading.skipped[0].problem.contains("circle"), "{:?}", reading.skipped);
    let far: Vec<_> = (0..10)
        .map(|n| (format!("_dnsaddr.n{n}.example"), txt(&format!("/dnsaddr/n{}.example", n + 1))))
        .collect();
    let far: Vec<_> = far.iter().map(|(name, data)| (name.as_str(), data.clone())).collect();
    let server = serve(zone(&far), false).await;
    let reading = dns(&server, false).resolve("/dnsaddr/n0.example").await.unwrap();
    assert!(
        reading.found().is_empty() && reading.skipped[0].problem.contains("further than 3"),
        "{reading:?}"
    );
    assert_eq!(server.questions.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn thousands_of_answers_become_thirty_two() {
    let many: Vec<_> =
        (0..4_000u16).map(|n| ("mesh.example", a([10, 1, (n >> 8) as u8, (n & 255) as u8]))).collect();
    let server = serve(zone(&many), false).await;
    let (contacts, skipped) = dns(&server, false).resolve("mesh.example").await.unwrap().into_parts();
    assert_eq!(contacts.len(), 32);
    assert!(skipped.iter().any(|entry| entry.problem.contains("at most 32")), "{skipped:?}");
}

#[tokio::test]
async fn service_records_without_end_ask_only_so_many_questions() {
    let many: Vec<_> = (0..200u16)
        .map(|n| ("_meshwork._tcp.mesh.example", srv(n + 1, &format!("gone-{n}.example."))))
        .collect();
    let server = serve(zone(&many), false).await;
    let reading = dns(&server, false).resolve("mesh.example").await.unwrap();
    assert!(reading.found().is_empty() && !reading.skipped.is_empty());
    // Each host is asked for in both families.
    let questions = server.questions.load(Ordering::Relaxed);
    assert!(questions <= 200, "{questions} questions");
}

#[tokio::test]
async fn junk_in_answers_is_left_out_and_told_and_the_healthy_part_is_used() {
    let records = [
        ("mesh.example", a([0, 0, 0, 0])),
        ("mesh.example", a([224, 0, 0, 1])),
        ("mesh.example", a([127, 0, 0, 1])),
        ("mesh.example", a([10, 1, 0, 5])),
        ("_dnsaddr.mesh.example", txt("not an address")),
        ("_dnsaddr.mesh.example", txt("/ip4/999.1.1.1/tcp/1")),
    ];
    let server = serve(zone(&records), false).await;
    let reading = dns(&server, false).resolve("mesh.example").await.unwrap();
    assert_eq!(addresses(reading.found()), ["/ip4/10.1.0.5/tcp/4001"]);
    assert_eq!(reading.skipped.len(), 5, "{:?}", reading.skipped);
    assert!(reading.skipped.iter().any(|entry| entry.problem.contains("this machine itself")));
    let all = dns(&server, true).resolve("mesh.example").await.unwrap().found();
    assert_eq!(addresses(all).len(), 2, "several nodes on one machine may want that");
}

#[tokio::test]
async fn a_name_that_is_not_there_or_has_nothing_is_an_error_that_says_which() {
    let server = serve(zone(&[("empty.example", RData::TXT(TXT::new(vec!["x".into()])))]), false).await;
    let error = dns(&server, false).resolve("gone.example").await.unwrap_err().to_string();
    assert!(error.contains("gone.example") && error.contains("there is no such name"), "{error}");
    let error = dns(&server, false).resolve("gone.example:x").await.unwrap_err().to_string();
    assert!(error.contains("no port"), "{error}");
}

#[tokio::test]
async fn a_name_server_that_is_silent_or_gone_is_told_in_time() {
    let server = serve(Zone::new(), true).await;
    let options = DnsOptions {
        servers: vec![server.at],
        question_deadline: Duration::from_millis(200),
        ..DnsOptions::default()
    };
    let error = Dns::new(options).resolve("mesh.example").await.unwrap_err().to_string();
    assert!(error.contains("no name server answers"), "{error}");
}

#[tokio::test]
async fn what_is_no_name_is_refused_before_anybody_is_asked() {
    let server = serve(Zone::new(), false).await;
    let dns = dns(&server, false);
    for (name, why) in [
        ("", "no name"),
        ("mesh example", "no name"),
        ("10.0.0.1", "an address and no name"),
        ("/ip4/10.0.0.1/tcp/1", "no name"),
        ("/dnsaddr/", "a DNS name is missing"),
        ("/dnsaddr/mesh.example/p2p/nobody", "where a peer id belongs"),
    ] {
        let error = dns.resolve(name).await.unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(dns.resolve(&"x.".repeat(200)).await.is_err());
    assert_eq!(server.questions.load(Ordering::Relaxed), 0);
    assert!(host_of(&IpAddr::V4(Ipv4Addr::LOCALHOST).to_string()).is_err());
}
