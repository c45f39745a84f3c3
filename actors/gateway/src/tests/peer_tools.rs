//! The tools of membership, as a client uses them.

use super::client::Era;
use super::fakes::membership::{FOUND, SHUT_OUT};
use super::fakes::{LOCAL, Node, PEER, keys};
use crate::GatewayOptions;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_the_agreed_shape() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        let client = node.client(era).await;
        let list = client.call("p2p_peer_list", json!({})).await;
        assert_eq!((&list["peer_id"], &list["count"]), (&json!(LOCAL), &json!(3)));
        let first = &list["peers"][0];
        let agreed = [
            "peer_id",
            "state",
            "addresses",
            "capabilities",
            "rtt_ms",
            "last_seen_s",
            "trust",
            "found_by",
            "relayed",
            "agent",
            "load",
        ];
        assert!(agreed.iter().all(|name| keys(first).contains(name)), "{first}");
        assert_eq!(keys(first).len(), agreed.len());
        assert_eq!((&first["peer_id"], &first["state"]), (&json!(PEER), &json!("connected")));
        assert_eq!(first["capabilities"], json!(["far", "gpu"]), "each name once");
        assert_eq!((&first["rtt_ms"], &first["last_seen_s"]), (&json!(1.5), &json!(0.04)));
        assert_eq!((&first["trust"], &first["relayed"]), (&json!("member"), &json!(false)));
        assert_eq!(first["load"], json!({"free_slots": 3, "slots": 4, "running": 1, "queued": 7}));
        let address = &first["addresses"][0];
        assert_eq!((&address["source"], &address["confirmed_s"]), (&json!("gossip"), &json!(2.0)));
        assert_eq!(address["addr"], "/ip4/192.0.2.7/tcp/4001");
        let found = &list["peers"][1];
        assert_eq!((&found["state"], &found["trust"]), (&json!("known"), &json!("unproven")));
        assert_eq!((&found["last_seen_s"], &found["load"]), (&Value::Null, &Value::Null));
        assert_eq!(list["peers"][2]["trust"], "revoked");
        let reach = &list["reach"];
        assert_eq!((&reach["reachability"], &reach["relays"]), (&json!("public"), &json!([PEER])));
        assert_eq!(reach["external"], json!(["/ip4/192.0.2.1/tcp/4001"]));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_where_the_book_is() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let known = client.call("p2p_peer_list", json!({"state": "known"})).await;
    assert_eq!((&known["count"], &known["peers"][0]["peer_id"]), (&json!(1), &json!(FOUND)));
    let found = client.call("p2p_peer_list", json!({"source": "mdns", "max_peers": 1})).await;
    assert_eq!(found["peers"][0]["peer_id"], FOUND);
    client.call("p2p_peer_list", json!({"capability": "gpu"})).await;
    assert_eq!(node.state.logged("capability: Some(\"gpu\")"), 1);
    let there = client.call("p2p_peer_list", json!({"peer": PEER})).await;
    assert_eq!((&there["peer_id"], &there["count"]), (&json!(PEER), &json!(0)));
    assert_eq!(there["reach"], Value::Null, "how a peer is reached is its own to say");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discovering_reports_each_source_and_gives_the_peers_that_may_be_reached() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let all = client.call("p2p_peer_discover", json!({})).await;
    assert_eq!(all["sources"][0], json!({"source": "mdns", "found": 2, "new": 1, "problem": null}));
    assert_eq!(all["sources"][1]["problem"], "refuses: 401");
    assert_eq!(node.state.logged("discover [] within 10000"), 1);
    let ids = |answer: &Value| {
        let peers = answer["peers"].as_array().unwrap();
        peers.iter().map(|peer| peer["peer_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&all), [PEER, FOUND], "who is shut out is no discovery");
    let arguments = json!({"sources": ["mdns", "dht", "mdns"], "timeout_s": 1.5, "max_peers": 5});
    let mdns = client.call("p2p_peer_discover", arguments).await;
    assert_eq!(ids(&mdns), [FOUND]);
    assert_eq!(node.state.logged("discover [Mdns, Dht] within 1500"), 1);
    assert_eq!(ids(&client.call("p2p_peer_discover", json!({"max_peers": 1})).await), [PEER]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_provides_a_capability_is_looked_up_in_the_table_too_and_shown_with_where_that_is_from() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let ids = |answer: &Value| -> Vec<String> {
        let peers = answer["peers"].as_array().unwrap();
        peers.iter().map(|peer| peer["peer_id"].as_str().unwrap().to_owned()).collect()
    };
    let gpu = client.call("p2p_peer_discover", json!({"capability": "gpu", "timeout_s": 2})).await;
    assert_eq!(node.state.logged("providers gpu within 2000"), 1);
    assert_eq!(ids(&gpu), [PEER, FOUND], "who says so itself, and who is named and may be reached");
    assert_eq!(
        gpu["providers"],
        json!([{"source": "dht", "found": 2, "new": 1, "problem": null, "peer_ids": [FOUND, SHUT_OUT]}])
    );
    let here = client.call("p2p_peer_discover", json!({"capability": "gpu", "sources": ["mdns"]})).await;
    assert_eq!((&here["providers"], ids(&here)), (&json!([]), vec![]), "the table was not to be asked");
    let all = client.call("p2p_peer_discover", json!({})).await;
    assert_eq!(all["providers"], json!([]), "without a capability there is nothing to look up");
    assert_eq!(node.state.logged("providers"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_entered_by_address_by_id_or_by_both() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let by_address = client.call("p2p_peer_register", json!({"address": "/ip4/192.0.2.7/tcp/1"})).await;
    assert_eq!(
        by_address,
        json!({"peer_id": LOCAL, "target": PEER, "state": "connected", "new": true, "problem": null})
    );
    assert_eq!(node.state.logged("register [\"/ip4/192.0.2.7/tcp/1\"] within 10000"), 1);
    let both = json!({"peer_id": FOUND, "addresses": ["/ip4/192.0.2.8/tcp/1"], "connect": false});
    assert_eq!(client.call("p2p_peer_register", both).await["target"], FOUND);
    assert_eq!(node.state.logged("register [\"/ip4/192.0.2.8/tcp/1\"] within 0"), 1);
    let banned = client.refused("p2p_peer_register", json!({"peer_id": SHUT_OUT})).await;
    assert_eq!(banned["code"], "forbidden");
    assert!(banned["message"].as_str().unwrap().contains("--undo"), "{banned}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_forgotten_and_revoked_here_and_only_by_admins_elsewhere() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let cleaned = client.call("p2p_peer_cleanup", json!({"silent_s": 600, "dry_run": true})).await;
    assert_eq!((&cleaned["forgotten"], &cleaned["count"]), (&json!([PEER]), &json!(1)));
    assert_eq!((&cleaned["kept"], &cleaned["dry_run"]), (&json!(3), &json!(true)));
    assert_eq!(node.state.logged("clean_up Some(600000) true"), 1);
    client.call("p2p_peer_cleanup", json!({})).await;
    assert_eq!(node.state.logged("clean_up None false"), 1);

    let forgotten = client.call("p2p_peer_forget", json!({"peer_id": PEER})).await;
    assert_eq!(forgotten, json!({"peer_id": LOCAL, "target": PEER, "known": true}));
    assert_eq!(client.call("p2p_peer_forget", json!({"peer_id": FOUND})).await["known"], false);

    let revoked = client.call("p2p_peer_revoke", json!({"peer_id": PEER})).await;
    let expected = json!({"peer_id": LOCAL, "target": PEER, "revoked": true, "changed": true, "closed": 1});
    assert_eq!(revoked, expected);
    let undone = client.call("p2p_peer_revoke", json!({"peer_id": PEER, "undo": true})).await;
    assert_eq!(undone["revoked"], false);
    assert_eq!(
        client.refused("p2p_peer_revoke", json!({"peer_id": LOCAL})).await["code"],
        "invalid_argument"
    );
    for (tool, mut arguments) in [
        ("p2p_peer_cleanup", json!({})),
        ("p2p_peer_forget", json!({"peer_id": FOUND})),
        ("p2p_peer_revoke", json!({"peer_id": FOUND})),
        ("p2p_peer_bootstrap", json!({})),
    ] {
        arguments["peer"] = json!(PEER);
        assert_eq!(client.refused(tool, arguments).await["code"], "forbidden", "{tool}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_contacts_come_from_everywhere_and_are_listed() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    for (tool, arguments, from) in [
        ("p2p_peer_bootstrap", json!({"timeout_s": 5}), "Configured within 5000"),
        ("p2p_bootstrap_from_env", json!({}), "Environment within 10000"),
        ("p2p_bootstrap_from_public", json!({}), "Public within 10000"),
        (
            "p2p_bootstrap_from_file",
            json!({"path": "/p.txt"}),
            "File { path: Some(\"/p.txt\") } within 10000",
        ),
        ("p2p_bootstrap_from_dns", json!({}), "Dns { name: None } within 10000"),
    ] {
        let done = client.call(tool, arguments).await;
        assert_eq!(node.state.logged(&format!("bootstrap {from}")), 1, "{tool}");
        assert_eq!((&done["connected"], &done["contacts"][0]["peer_id"]), (&json!(1), &json!(PEER)));
        assert_eq!(done["skipped"], json!([{"entry": "nonsense", "problem": "is no multiaddress"}]));
    }
    let list = client.call("p2p_bootstrap_list", json!({})).await;
    assert_eq!((&list["peer_id"], &list["connected"]), (&json!(LOCAL), &json!(1)));
    let waiting = &list["contacts"][1];
    assert_eq!((&waiting["state"], &waiting["next_try_s"]), (&json!("waiting"), &json!(8.0)));
    assert_eq!((&waiting["attempts"], &waiting["source"]), (&json!(3), &json!("dns")));
    let lost = &list["contacts"][2];
    assert_eq!((&lost["state"], &lost["peer_id"]), (&json!("lost"), &json!(FOUND)));

    let none = client.refused("p2p_bootstrap_from_file", json!({})).await;
    assert!(none["message"].as_str().unwrap().contains("p2p.bootstrap.file"), "{none}");
    let wrong = client.refused("p2p_bootstrap_from_dns", json!({"name": "gone.example"})).await;
    assert_eq!(wrong["code"], "unreachable");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_is_what_services_agree_on() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let found = client.call("p2p_peer_get_public_ip", json!({})).await;
    assert_eq!((&found["ipv4"], &found["ipv6"]), (&json!("192.0.2.7"), &Value::Null));
    assert_eq!((found["agreed_by"].as_array().unwrap().len(), &found["age_s"]), (2, &json!(1.5)));
    let differ = client.refused("p2p_peer_get_public_ip", json!({"refresh": true})).await;
    assert_eq!(differ["code"], "unavailable");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pairing_gives_a_code_here_or_joins_with_one_at_whom_was_found() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let open = client.call("p2p_peer_pair", json!({"valid_s": 60})).await;
    assert_eq!((&open["status"], &open["code"]), (&json!("open"), &json!("123-456-789")));
    assert_eq!((&open["valid_s"], &open["joined"]), (&json!(60.0), &Value::Null));
    assert!(open["addresses"][0].as_str().unwrap().ends_with(LOCAL));
    client.call("p2p_peer_pair", json!({})).await;
    assert_eq!(node.state.logged("open_pairing 600000"), 1);

    let joined = client.call("p2p_peer_pair", json!({"code": "123-456-789"})).await;
    assert_eq!((&joined["status"], &joined["joined"]), (&json!("joined"), &json!(PEER)));
    assert_eq!(joined["code"], Value::Null);
    let only_who_was_found = format!("pair [\"/ip4/198.51.100.9/tcp/4001/p2p/{FOUND}\"]");
    assert_eq!(node.state.logged(&only_who_was_found), 1);
    let at = json!({"code": "123-456-789", "addresses": ["/ip4/192.0.2.7/tcp/4001"]});
    client.call("p2p_peer_pair", at).await;
    assert_eq!(node.state.logged("pair [\"/ip4/192.0.2.7/tcp/4001\"]"), 1);
    assert_eq!(client.refused("p2p_peer_pair", json!({"code": "1"})).await["code"], "not_admitted");
    assert_eq!(client.refused("p2p_peer_pair", json!({"code": "nine"})).await["code"], "invalid_argument");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_with_what_would_be_right_before_anybody_is_asked() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let many = vec!["/ip4/192.0.2.7/tcp/1"; 65];
    let cases = [
        ("p2p_peer_list", json!({"state": "gone"}), "expected connected, known, stale, left or banned"),
        ("p2p_peer_list", json!({"source": "pigeon"}), "expected one of configured"),
        ("p2p_peer_list", json!({"max_peers": 0}), "expected 1 to 1000"),
        ("p2p_peer_list", json!({"sate": "known"}), "did you mean \"state\"?"),
        ("p2p_peer_discover", json!({"sources": []}), "leave it out to ask all"),
        ("p2p_peer_discover", json!({"sources": ["mdns", "pigeon"]}), "sources[1]"),
        ("p2p_peer_discover", json!({"timeout_s": 121}), "expected 0 to 120 seconds"),
        ("p2p_peer_discover", json!({"timeout_s": 0}), "more than 0"),
        ("p2p_peer_register", json!({}), "give peer_id, address or both"),
        ("p2p_peer_register", json!({"peer_id": "me"}), "peer_id: peer id \"me\""),
        ("p2p_peer_register", json!({"addresses": many}), "at most 64"),
        ("p2p_peer_register", json!({"address": "/ip4/192.0.2.7/tcp/1", "connect": false}), "/p2p/<peer id>"),
        ("p2p_peer_cleanup", json!({"silent_s": 0}), "more than 0"),
        ("p2p_peer_cleanup", json!({"silent_s": -1}), "silent_s is -1"),
        ("p2p_peer_forget", json!({}), "missing field `peer_id`"),
        ("p2p_peer_revoke", json!({"peer_id": "x"}), "base58"),
        ("p2p_bootstrap_from_file", json!({"path": ""}), "leave it out"),
        ("p2p_bootstrap_from_dns", json!({"name": "x".repeat(5_000)}), "5000 bytes"),
        ("p2p_peer_pair", json!({"valid_s": 5}), "expected 30 to 3600"),
        ("p2p_peer_pair", json!({"addresses": ["/ip4/192.0.2.7/tcp/1"]}), "give its code too"),
        ("p2p_peer_pair", json!({"code": "123-456-789", "valid_s": 60}), "leave it out to join"),
        ("p2p_peer_pair", json!({"peer": PEER}), "unknown field \"peer\""),
    ];
    for (tool, arguments, part) in cases {
        let error = client.refused(tool, arguments.clone()).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], "invalid_argument", "{tool} {arguments}: {message}");
        assert!(message.contains(part), "{tool} {arguments}: {message}");
    }
    assert_eq!(*node.state.log.lock().unwrap(), Vec::<String>::new());
    node.stop().await;
}
