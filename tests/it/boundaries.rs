//! Dependencies go one way: proto <- kit <- {storage, network, peers, work, gateway} <- meshwork, and each heavy
//! library is named by one crate only.

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
    let metadata = metadata();
    let of = |package: &cargo_metadata::Package| {
        let direct =
            package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
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
fn each_heavy_library_is_named_by_one_crate() {
    let owners: &[(&str, &[&str])] = &[
        ("actix", &["meshwork-kit"]),
        ("actix-rt", &["meshwork-kit"]),
        ("rocksdb", &["meshwork-storage"]),
        ("libp2p", &["meshwork-network"]),
        ("bincode", &["meshwork-proto"]),
        ("landlock", &["meshwork-work"]),
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
fn proto_does_no_io_and_knows_no_runtime() {
    let found = dependencies();
    for library in ["tokio", "actix", "libp2p", "rocksdb", "futures", "reqwest", "rmcp", "nix", "tracing"] {
        assert!(!found["meshwork-proto"].contains(library), "proto must not name {library}");
    }
}
