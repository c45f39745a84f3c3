//! Addresses, good ones and all kinds of bad ones.

use super::*;
use proptest::prelude::*;

const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn problem(text: &str) -> String {
    text.parse::<Address>().expect_err(text).to_string()
}

#[test]
fn an_address_gives_its_place_and_whom_it_leads_to_and_is_shown_whole() {
    let whole = format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}");
    let read = address(&format!(" {whole}\n"));
    assert_eq!((read.text.as_str(), read.to_string()), ("/ip4/198.51.100.7/tcp/4001", whole));
    assert_eq!(read.peer, Some(A.parse().unwrap()));
    assert_eq!((read.ip, read.port), (Some([198, 51, 100, 7].into()), Some(4001)));
    assert!(!read.private && !read.relayed);
    for nobody in [
        "/ip6/2001:db8::1/udp/4001/quic-v1",
        "/dns4/mesh.example.org/tcp/443",
        "/dnsaddr/mesh.example.org",
        "/ip6/2001:4860:4860::8888/tcp/9710",
    ] {
        let read = address(nobody);
        assert_eq!((read.peer.as_ref(), read.to_string().as_str()), (None, nobody));
    }
}

#[test]
fn addresses_of_the_python_nodes_and_of_public_lists_are_read() {
    let public = "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";
    assert_eq!(address(public).to_string(), public);
    let old_name = address(&format!("/ip4/198.51.100.7/tcp/9710/ipfs/{A}"));
    assert_eq!(old_name.to_string(), format!("/ip4/198.51.100.7/tcp/9710/p2p/{A}"));
}

#[test]
fn a_circuit_keeps_its_relay_and_gives_whom_it_leads_to() {
    let read = address(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit/p2p/{B}"));
    assert_eq!(read.text, format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit"));
    assert_eq!(read.peer, Some(B.parse().unwrap()));
    assert!(read.relayed);
    let nobody = address(&format!("/ip4/198.51.100.7/tcp/4001/p2p/{A}/p2p-circuit"));
    assert_eq!((nobody.peer, nobody.relayed), (None, true));
    let bare = address(&format!("/p2p/{A}/p2p-circuit"));
    assert_eq!((bare.peer, bare.relayed), (None, true));
}

#[test]
fn what_means_something_only_here_is_private() {
    for private in [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.1.2.3/tcp/1",
        "/ip4/172.31.0.1/tcp/1",
        "/ip4/192.168.1.1/udp/1/quic-v1",
        "/ip4/169.254.1.1/tcp/1",
        "/ip4/100.64.0.1/tcp/1",
        "/ip6/::1/tcp/1",
        "/ip6/fe80::1/tcp/1",
        "/ip6/fd00::1/tcp/1",
        "/ip6/::ffff:10.0.0.1/tcp/1",
        "/ip6zone/eth0/ip6/fe80::1/tcp/1",
        "/dns/localhost/tcp/1",
        "/dns4/printer.LOCAL/tcp/1",
        "/memory/7",
    ] {
        assert!(address(private).private, "{private}");
    }
    for public in ["/ip4/198.51.100.1/tcp/1", "/ip4/100.128.0.1/tcp/1", "/ip6/2001:db8::1/tcp/1"] {
        assert!(!address(public).private, "{public}");
    }
}

#[test]
fn what_cannot_be_dialled_is_refused_with_the_reason() {
    for (text, part) in [
        ("", "no multiaddress"),
        ("192.0.2.7:4001", "no multiaddress"),
        ("http://example.com", "no multiaddress"),
        ("/", "a place is missing"),
        ("/ip4/0.0.0.0/tcp/4001", "unspecified"),
        ("/ip6/::/tcp/4001", "unspecified"),
        ("/ip4/224.0.0.251/udp/5353/quic-v1", "multicast"),
        ("/ip4/255.255.255.255/tcp/1", "broadcast"),
        ("/ip4/0.1.2.3/tcp/1", "reserved"),
        ("/ip4/240.0.0.1/tcp/1", "reserved"),
        ("/ip4/192.0.2.7/tcp/0", "port 0"),
        ("/ip4/192.0.2.7/tcp/70000", "a port"),
        ("/ip4/192.0.2.7", "tcp or udp is missing"),
        ("/ip4/192.0.2/tcp/1", "an IPv4 address"),
        ("/ip4/192.0.2.700/tcp/1", "an IPv4 address"),
        ("/ip4/192.0.2.7//tcp/1", "tcp or udp is missing"),
        ("/ip4/192.0.2.7/udp/1", "quic-v1 is missing"),
        ("/ip4/192.0.2.7/tcp/1/ws", "\"ws\" is not understood"),
        ("/ip4/192.0.2.7/tcp/443/tls/sni/node.example/ws", "\"tls\" is not understood"),
        ("/ip4/192.0.2.7/tcp/1/", "missing"),
        ("/ip4/192.0.2.7/tcp/1/p2p", "a peer id is missing"),
        ("/ip4/192.0.2.7/tcp/1/p2p/nobody", "a peer id"),
        ("/ip4/192.0.2.7/tcp/1 /x", "blanks"),
        ("/ip6zone/\u{1b}[2J/ip6/fe80::1/tcp/1", "characters"),
        ("/dns4", "a DNS name is missing"),
        ("/dns/bad..name/tcp/1", "a DNS name"),
        ("/unix/tmp", "ip4"),
    ] {
        assert!(problem(text).contains(part), "{text:?}: {}", problem(text));
    }
    assert!(problem(&format!("/p2p/{A}")).contains("a place"));
    assert!(problem("/ip4/192.0.2.7/tcp/1/p2p-circuit").contains("relay"));
    assert!(problem(&format!("/dns/{}/tcp/1", "a".repeat(300))).contains("311 bytes"));
}

proptest! {
    #[test]
    fn whatever_is_read_reads_the_same_again(text in "(/[a-z0-9:.-]{0,12}){0,8}") {
        if let Ok(read) = text.parse::<Address>() {
            prop_assert_eq!(read.text.parse::<Address>().unwrap().text, read.text);
        }
    }

    #[test]
    fn hostile_text_never_panics(text in any::<String>()) {
        let _ = text.parse::<Address>();
        let _ = format!("/{text}").parse::<Address>();
        let _ = format!("/ip4/{text}").parse::<Address>();
    }
}
