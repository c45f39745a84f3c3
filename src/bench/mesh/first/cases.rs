//! What the nodes are told in each case: sections `p2p` of their configurations.
//!
//! In them `{there}` stands for the address of the node that is there first and `{port}` for its port, `{point}` for the
//! address of a third node, `{own}` for the node's own address, `{file}` and `{registry}` for a file and a directory that
//! they share, and `{forge}` for the API of the forge. Sections have `{` and `}` of their own.

use super::super::{LOOPBACK, multicast};

/// Switches off every way of finding peers that is not measured.
const QUIET: &str = "mdns: off, gossip: false";
/// Multicast reaches no node that listens on loopback only.
const EVERYWHERE: &str = "/ip4/0.0.0.0/tcp/0";

/// What the two nodes, and perhaps a third one between them, are told.
pub(super) struct Case {
    pub(super) source: &'static str,
    /// The node that is there first.
    pub(super) there: String,
    /// The node that comes.
    pub(super) comes: String,
    /// A third node that both may name.
    pub(super) point: Option<String>,
    /// Variable of the node that comes which holds the address of the other one.
    pub(super) variable: Option<&'static str>,
    pub(super) listen: &'static str,
    /// Why it cannot be measured on this machine.
    pub(super) impossible: Option<String>,
}

impl Case {
    fn new(source: &'static str, there: &str, comes: &str) -> Self {
        Self {
            source,
            there: there.to_owned(),
            comes: comes.to_owned(),
            point: None,
            variable: None,
            listen: LOOPBACK,
            impossible: None,
        }
    }

    /// Both nodes have only this source.
    fn both(source: &'static str, p2p: &str) -> Self {
        Self::new(source, p2p, p2p)
    }

    fn with_point(self, p2p: &str) -> Self {
        Self { point: Some(p2p.to_owned()), ..self }
    }
}

/// All cases.
pub(super) async fn all() -> Vec<Case> {
    let impossible = multicast::works().await.err();
    let on_lan = Case::both("mdns", "{discovery: {mdns: on, gossip: false}}");
    let mut cases = vec![Case { impossible, listen: EVERYWHERE, ..on_lan }];
    cases.extend(first_contacts());
    cases.extend(registries());
    cases.extend(directories());
    cases
}

/// A section that discovers nothing by itself.
fn quiet(more: &str) -> String {
    format!("{{discovery: {{{QUIET}{more}}}}}")
}

/// The other node is named, here or there.
fn first_contacts() -> Vec<Case> {
    let there = quiet("");
    // The stand-ins for public places name an address of this machine.
    let comes = |first: &str| format!("{{{first}, discovery: {{allow_private_addresses: true, {QUIET}}}}}");
    let named = |source, first: &str| Case::new(source, &there, &comes(first));
    vec![
        named("configured", "peers: [\"{there}\"]"),
        Case {
            variable: Some("CACHE_BOOTSTRAP_PEERS"),
            ..named("environment", "bootstrap: {environment: true}")
        },
        named("file", "bootstrap: {file: \"{file}\"}"),
        named("dns", "bootstrap: {dns: [localhost], dns_port: {port}}"),
        named("public list", "bootstrap: {public: true, public_list: [\"{there}\"]}"),
    ]
}

/// Both enter themselves in the same place.
fn registries() -> Vec<Case> {
    let github = ", allow_private_addresses: true, \
                  github: {repository: octo/mesh, api_url: \"{forge}\", token: of-the-stand-in}";
    vec![
        Case::both("file registry", &quiet(", files: {path: \"{registry}\"}")),
        Case::both("github", &quiet(github)),
    ]
}

/// A third node knows both.
fn directories() -> Vec<Case> {
    let dht = "{peers: [\"{point}\"], discovery: {mdns: off, gossip: false, dht: {enabled: true}}}";
    let point = "{discovery: {mdns: off, gossip: false, dht: {enabled: true}}}";
    // A node holds a part of the public table, and is entered there with an address, only where it can be reached.
    let public =
        "discovery: {mdns: off, gossip: false, allow_private_addresses: true, public_dht: {enabled: true}}";
    let begins = format!("bootstrap: {{public: true, public_list: [\"{{point}}\"]}}, {public}");
    let reached = "external: [\"{own}\"]";
    vec![
        Case::both("rendezvous", &quiet(", rendezvous: {points: [\"{point}\"]}"))
            .with_point(&quiet(", rendezvous: {serve: true}")),
        Case::both("dht", dht).with_point(point),
        Case::new("public dht", &format!("{{{reached}, {begins}}}"), &format!("{{{begins}}}"))
            .with_point(&format!("{{{reached}, {public}}}")),
        Case::both("gossip", "{peers: [\"{point}\"], discovery: {mdns: off}}")
            .with_point("{discovery: {mdns: off}}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources, load};

    #[tokio::test]
    async fn every_node_of_every_case_has_a_configuration_that_nodes_take() {
        const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let dir = tempfile::tempdir().unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/4001/p2p/{ID}");
        let file = dir.path().join("node.yaml");
        for case in all().await {
            for p2p in [Some(&case.there), Some(&case.comes), case.point.as_ref()].into_iter().flatten() {
                let filled = p2p
                    .replace("{own}", LOOPBACK)
                    .replace("{point}", &address)
                    .replace("{there}", &address)
                    .replace("{port}", "4001")
                    .replace("{file}", "/nodes/peers")
                    .replace("{registry}", "/nodes/registry")
                    .replace("{forge}", "http://127.0.0.1:8080");
                std::fs::write(&file, format!("p2p: {filled}\n")).unwrap();
                let environment = Environment::of([("HOME", "/home/ada")]);
                let sources = Sources { file: Some(file.clone()), environment, ..Sources::default() };
                let loaded = load(&sources).unwrap_or_else(|error| panic!("{}: {error:?}", case.source));
                let discovery = &loaded.node.p2p.discovery;
                assert!(discovery.github.repository.is_some() == (case.source == "github"), "{filled}");
                assert!(case.source == "gossip" || !discovery.gossip, "{}: gossip helps", case.source);
            }
        }
    }
}
