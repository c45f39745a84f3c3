//! What can be set about membership, and what is refused with which words.

use super::{File, entry, file, flag, problems_of};
use crate::config::environment::BOOTSTRAP_VARIABLES;
use crate::config::types::Mdns;
use crate::config::{Effective, Environment, Sources, load};
use meshwork_proto::discovery::Source;
use serde_json::json;

fn loaded(file: &File) -> Effective {
    load(&Sources { file: Some(file.path.clone()), ..Sources::default() }).unwrap()
}

#[test]
fn by_default_a_node_gossips_and_looks_around_and_asks_nobody_outside() {
    let p2p = load(&Sources::default()).unwrap().node.p2p;
    let discovery = &p2p.discovery;
    assert_eq!((discovery.ttl_s, discovery.target_connections, discovery.max_peers), (1800.0, 24, 10_000));
    assert!(discovery.gossip && discovery.mdns == Mdns::Auto && !discovery.allow_private_addresses);
    assert!(!discovery.dht.enabled && discovery.dht.server && !discovery.public_dht.enabled);
    assert!(discovery.rendezvous.points.is_empty() && !discovery.rendezvous.serve);
    assert_eq!((&discovery.files.path, &discovery.github.repository), (&None, &None));
    assert!(discovery.ttls().is_empty());
    assert!(p2p.bootstrap.environment && !p2p.bootstrap.public && p2p.bootstrap.dns.is_empty());
    assert_eq!((p2p.bootstrap.public_list.len(), p2p.bootstrap.dns_port), (4, 4001));
    let reach = &p2p.reach;
    assert!(!reach.upnp && !reach.relay_server && !reach.autonat_server);
    assert!(reach.autonat && reach.relay_client && reach.hole_punching);
    assert!(!p2p.public_ip.detect && p2p.public_ip.services.len() == 3);
}

#[test]
fn each_source_has_a_section_and_a_time_to_live_of_its_own() {
    let file = file(
        "p2p:\n  discovery:\n    ttl_s: 600\n    mdns: on\n    mdns_ttl_s: 120\n    dht: {enabled: true, ttl_s: 900}\n    \
         files: {path: /srv/peers, name: build-7.example.org, ttl_s: 0}\n    github: {repository: octocat/hello-world}\n  \
         bootstrap: {dns: [mesh.default.svc.cluster.local, _meshwork._tcp.example.org.]}\n",
    );
    let p2p = loaded(&file).node.p2p;
    assert_eq!(p2p.discovery.mdns, Mdns::On, "a word of YAML 1.1, but no switch here");
    let ttls = p2p.discovery.ttls();
    assert_eq!(ttls, [(Source::Mdns, 120.0), (Source::Dht, 900.0), (Source::FileRegistry, 0.0)].into());
    assert_eq!(p2p.discovery.github.repository.as_deref(), Some("octocat/hello-world"));
    assert_eq!(p2p.discovery.github.issue_title, "p2p-peer-registry");
    assert_eq!(p2p.bootstrap.dns.len(), 2);
}

#[test]
fn what_cannot_be_is_told_at_its_place_with_what_would_be_right() {
    let problems = problems_of(
        "p2p:\n  discovery:\n    mdns: maybe\n    gosip: true\n    files: {name: a/b}\n    github: {repository: hello, \
         interval_s: 0.1}\n    dht: {namespace: ''}\n  bootstrap: {dns: ['mesh example'], dns_port: 0}\n",
    );
    let expected = [
        "node.yaml:3:11: p2p.discovery.mdns is \"maybe\": expected auto or on or off",
        "node.yaml:4:5: p2p.discovery.gosip is no known key: did you mean p2p.discovery.gossip?",
        "node.yaml:5:19: p2p.discovery.files.name is \"a/b\": expected a name of at most 128 letters, digits, _, - or .",
        "node.yaml:6:26: p2p.discovery.github.repository is \"hello\": expected a repository as OWNER/NAME, such as \
         octocat/hello-world",
        "node.yaml:6:45: p2p.discovery.github.interval_s is the number 0.1: expected a number from 1 to 86400",
        "node.yaml:7:22: p2p.discovery.dht.namespace is \"\": expected a text of 1 to 255 visible characters",
        "node.yaml:8:21: p2p.bootstrap.dns is \"mesh example\": expected a name that DNS resolves, such as \
         mesh.example.org",
        "node.yaml:8:48: p2p.bootstrap.dns_port is the number 0: expected a whole number from 1 to 65535",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn values_of_membership_that_do_not_fit_together_are_told() {
    let problems = problems_of(
        "p2p:\n  discovery:\n    rendezvous:\n      points: [/ip4/192.0.2.7/tcp/4001, /p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN]\n",
    );
    assert_eq!(problems.len(), 1, "the second is no address of a peer at all: {problems:?}");
    let problems = problems_of(
        "p2p:\n  discovery:\n    rendezvous: {points: [/ip4/192.0.2.7/tcp/4001]}\n    github: {repository: a/b, \
         delete_stale: true}\n  bootstrap: {public: true, public_list: []}\n  reach: {relay_client: false, relays: \
         [/ip4/192.0.2.7/tcp/1/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN]}\n  public_ip: {services: ['https://a']}\n",
    );
    let expected = [
        "node.yaml:3: p2p.discovery.rendezvous.points has \"/ip4/192.0.2.7/tcp/4001\": expected an address that ends in \
         /p2p/<peer id>",
        "node.yaml:6: p2p.reach.relays have no effect while p2p.reach.relay_client is false: leave one of them out",
        "node.yaml:4: p2p.discovery.github.delete_stale is true, which needs p2p.discovery.github.token (or the variable \
         GITHUB_TOKEN)",
        "node.yaml:7: p2p.public_ip.services names 1: expected at least 2, since 2 must agree, or none and \
         p2p.public_ip.detect false",
        "node.yaml:5: p2p.bootstrap.public is true, but p2p.bootstrap.public_list is empty: name its nodes, or leave this \
         out",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn the_github_token_comes_from_the_usual_variables_but_what_is_said_to_this_node_counts_more() {
    let token = |sources: &Sources| {
        let effective = load(sources).unwrap();
        let token = effective.node.p2p.discovery.github.token.as_ref().map(|token| token.expose().to_owned());
        assert!(!format!("{effective:?}{}", json!(effective.entries)).contains("tok-"), "it is never shown");
        (token.unwrap_or_default(), entry(&effective, "p2p.discovery.github.token").source.to_string())
    };
    // Both are set on many build machines: that is no conflict.
    let usual = Environment::of([("GITHUB_TOKEN", "tok-1"), ("GH_TOKEN", "tok-2")]);
    let sources = Sources { environment: usual.clone(), ..Sources::default() };
    assert_eq!(token(&sources), ("tok-1".into(), "env GITHUB_TOKEN".into()));
    let sources = Sources { environment: Environment::of([("GH_TOKEN", "tok-2")]), ..Sources::default() };
    assert_eq!(token(&sources).0, "tok-2");
    let file = file("p2p: {discovery: {github: {token: tok-3}}}\n");
    let sources = Sources { file: Some(file.path.clone()), environment: usual, ..Sources::default() };
    assert_eq!(token(&sources).0, "tok-3");
    let ours = [("MESHWORK_P2P__DISCOVERY__GITHUB__TOKEN", "tok-4"), ("GITHUB_TOKEN", "tok-1")];
    let environment = Environment::of(ours);
    assert_eq!(
        token(&Sources { file: Some(file.path.clone()), environment, ..Sources::default() }).0,
        "tok-4"
    );
}

#[test]
fn a_token_that_no_request_can_carry_is_a_problem_only_where_it_is_used_and_is_not_quoted() {
    let environment = Environment::of([("GITHUB_TOKEN", "tok-\n1")]);
    assert!(load(&Sources { environment: environment.clone(), ..Sources::default() }).is_ok());
    let flags = vec![flag("--set", "p2p.discovery.github.repository", &["octocat/hello-world"])];
    let error = load(&Sources { environment, flags, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.contains("GITHUB_TOKEN: p2p.discovery.github.token cannot be used"), "{error}");
    assert!(!error.contains("tok-"), "{error}");
}

#[test]
fn the_tests_of_other_programs_can_switch_mdns_off_by_its_variable() {
    let environment = Environment::of([("MESHWORK_P2P__DISCOVERY__MDNS", "off")]);
    let effective = load(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.discovery.mdns, Mdns::Off);
}

#[test]
fn only_the_variables_with_first_contacts_are_handed_on() {
    let environment = Environment::of([
        ("CACHE_BOOTSTRAP_PEERS", "/ip4/192.0.2.7/tcp/4001"),
        ("MCPPP_P2P_BOOTSTRAP_PEERS", "off"),
        ("MESHWORK_BOOTSTRAP_PEERS", ""),
        ("MESHWORK_MESH_SECRET", "sixteen-characters"),
        ("HOME", "/h"),
    ]);
    let handed = environment.bootstrap_variables();
    assert_eq!(handed.len(), 2, "{handed:?}");
    assert_eq!(handed["CACHE_BOOTSTRAP_PEERS"], "/ip4/192.0.2.7/tcp/4001");
    let ours = Environment::of([("MESHWORK_BOOTSTRAP_PEERS", "/ip4/192.0.2.7/tcp/4001")]);
    assert!(load(&Sources { environment: ours, ..Sources::default() }).unwrap().warnings.is_empty());
    let documentation = include_str!("../../../docs/configuration.md");
    assert!(BOOTSTRAP_VARIABLES.iter().all(|name| documentation.contains(&format!("`{name}`"))));
}

#[test]
fn an_mcp_server_cannot_be_called_like_a_category_of_our_own_tools() {
    let problems = problems_of("upstreams:\n  - {name: peers, command: [x]}\n");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("a category of the node's own tools"), "{problems:?}");
}

/// Every example of the documentation, also those of a part of a configuration.
#[test]
fn the_examples_of_membership_in_the_documentation_are_valid() {
    let documentation = include_str!("../../../docs/configuration.md");
    let examples: Vec<&str> =
        documentation.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2 && examples.iter().any(|text| text.contains("github")), "{examples:?}");
    for example in examples {
        loaded(&file(example));
    }
}
