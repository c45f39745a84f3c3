//! Dependencies go one way: proto <- kit <- {storage, network, peers, work, gateway} <- meshwork, and each heavy
//! library is named in one place only.

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .no_deps()
        .other_options(vec!["--offline".into(), "--locked".into()])
        .exec()
        .expect("cargo metadata of this workspace")
}

/// Direct dependencies of each of our crates, tests' own excepted.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    dependencies_where(|kind| kind != DependencyKind::Development)
}

fn dependencies_where(counts: impl Fn(DependencyKind) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let of = |package: &cargo_metadata::Package| {
        let direct = package.dependencies.iter().filter(|dependency| counts(dependency.kind));
        (package.name.to_string(), direct.map(|dependency| dependency.name.clone()).collect())
    };
    metadata.packages.iter().map(of).collect()
}

#[test]
fn our_crates_depend_on_one_another_in_one_direction_only() {
    let layers: &[(&str, &[&str])] = &[
        ("meshwork-proto", &[]),
        ("meshwork-kit", &["meshwork-proto"]),
        ("meshwork-storage", &["meshwork-proto", "meshwork-kit"]),
        ("meshwork-network", &["meshwork-proto", "meshwork-kit"]),
        ("meshwork-peers", &["meshwork-proto", "meshwork-kit"]),
        ("meshwork-work", &["meshwork-proto", "meshwork-kit"]),
        ("meshwork-gateway", &["meshwork-proto", "meshwork-kit"]),
    ];
    let found = dependencies();
    assert_eq!(found.len(), layers.len() + 1, "a crate without a place in the order: {:?}", found.keys());
    for (crate_name, allowed) in layers {
        let ours: BTreeSet<_> =
            found[*crate_name].iter().filter(|name| name.starts_with("meshwork")).collect();
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{crate_name} must not depend on {dependency}");
        }
    }
}

#[test]
fn each_heavy_library_is_named_only_where_the_architecture_says() {
    let owners: &[(&str, &[&str])] = &[
        ("actix", &["meshwork-kit"]),
        ("actix-rt", &["meshwork-kit"]),
        ("rocksdb", &["meshwork-storage"]),
        ("libp2p", &["meshwork-network"]),
        ("spake2", &["meshwork-network"]),
        ("hickory-resolver", &["meshwork-peers"]),
        ("octocrab", &["meshwork-peers"]),
        ("bincode", &["meshwork-proto"]),
        ("landlock", &["meshwork-work"]),
        ("cel", &["meshwork-work"]),
        // The command line is an MCP client of the node.
        ("rmcp", &["meshwork", "meshwork-gateway"]),
    ];
    let found = dependencies();
    for (library, allowed) in owners {
        let named: Vec<_> = found
            .iter()
            .filter(|(_, needs)| needs.contains(*library))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(named, *allowed, "who names {library}");
    }
}

#[test]
fn stand_ins_and_generators_of_tests_are_in_no_program() {
    let tests = dependencies_where(|kind| kind == DependencyKind::Development);
    let programs = dependencies();
    for library in ["wiremock", "hickory-proto", "proptest", "cargo_metadata", "serde_json_canonicalizer"] {
        assert!(tests.values().any(|needs| needs.contains(library)), "no test needs {library} any more");
        let named: Vec<_> = programs.iter().filter(|(_, needs)| needs.contains(library)).collect();
        assert!(named.is_empty(), "{library} is for tests only: {named:?}");
    }
}

#[test]
fn proto_does_no_io_and_knows_no_runtime() {
    let found = dependencies();
    for library in
        ["tokio", "actix", "libp2p", "rocksdb", "futures", "reqwest", "rmcp", "nix", "tracing", "octocrab"]
    {
        assert!(!found["meshwork-proto"].contains(library), "proto must not name {library}");
    }
}
