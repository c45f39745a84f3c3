//! The conformance vectors of `mcpp-jcs-v1`: every case of every file, accepted or refused as it says.
//!
//! The environment variable `MESHWORK_VECTORS` names the directory that holds `mcpp-jcs-v1/*.json`.

use cid::multibase::Base;
use meshwork_proto::Cid;
use meshwork_proto::canonical::{
    CanonicalError, Limits, canonical_cid, canonicalize, parse_canonical, parse_strict, to_canonical,
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[test]
fn every_vector_is_accepted_or_refused_as_it_says() {
    let Some(root) = std::env::var_os("MESHWORK_VECTORS") else {
        eprintln!(
            "SKIPPED: MESHWORK_VECTORS is not set, so the mcpp-jcs-v1 conformance vectors were NOT checked"
        );
        return;
    };
    let files = vector_files(&Path::new(&root).join("mcpp-jcs-v1"));
    let mut count = BTreeMap::from([("positive", 0_usize), ("negative", 0)]);
    for path in &files {
        for case in cases(path) {
            let id = text(&case, "id");
            let polarity = text(&case, "polarity");
            match polarity {
                "positive" => accepted(id, &case),
                "negative" => refused(id, &case),
                other => panic!("{id}: unknown polarity {other:?}"),
            }
            *count.entry(if polarity == "positive" { "positive" } else { "negative" }).or_default() += 1;
        }
    }
    assert!(count.values().all(|cases| *cases > 0), "no vectors of a polarity: {count:?}");
    eprintln!("mcpp-jcs-v1: {count:?} cases in {} files", files.len());
}

/// All JSON files of the directory; there must be some.
fn vector_files(dir: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(dir).unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap_or_else(|error| panic!("cannot list {}: {error}", dir.display())).path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no vectors", dir.display());
    files
}

/// The cases of one file; there must be some.
fn cases(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()));
    assert_eq!(file["algorithm"], "mcpp-jcs-v1", "{}", path.display());
    match file["cases"].as_array() {
        Some(cases) if !cases.is_empty() => cases.clone(),
        _ => panic!("{} holds no cases", path.display()),
    }
}

/// A field that every such case has.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field:?} is no string in {value}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A positive case: bytes, digest, id and signature input are those that it gives.
fn accepted(id: &str, case: &Value) {
    assert_eq!(case["expected_validator_result"]["accept"], true, "{id}");
    let source = &case["source"];
    let bytes = to_canonical(source).unwrap_or_else(|error| panic!("{id}: refused: {error}"));
    assert_eq!(std::str::from_utf8(&bytes), Ok(text(case, "canonical_utf8")), "{id}");
    assert_eq!(hex(&bytes), text(case, "canonical_bytes_hex"), "{id}");
    assert_eq!(Base::Base64Pad.encode(&bytes), text(case, "canonical_bytes_base64"), "{id}");
    assert_eq!(
        hex(&bytes),
        text(&case["signature_input"], "value"),
        "{id}: the signature is made over these bytes"
    );

    let cid = Cid::of(&bytes);
    assert_eq!(canonical_cid(source), Ok(cid), "{id}");
    assert_eq!(cid.to_string(), text(case, "cid"), "{id}");
    assert_eq!(Cid::parse(text(case, "cid")), Ok(cid), "{id}");
    assert_eq!(hex(cid.digest()), text(case, "sha256"), "{id}");

    // From any other writing of the same value, and from the canonical bytes themselves.
    let pretty = format!("{source:#}");
    assert_eq!(canonicalize(pretty.as_bytes()).as_ref(), Ok(&bytes), "{id}");
    assert_eq!(parse_canonical(&bytes, &Limits::default()).as_ref(), Ok(source), "{id}");
    assert_eq!(canonicalize(&bytes).as_ref(), Ok(&bytes), "{id}");
}

/// A negative case: refused, for the reason that it gives.
fn refused(id: &str, case: &Value) {
    let expected = &case["expected_validator_result"];
    assert_eq!(expected["accept"], false, "{id}");
    let reason = text(expected, "reason_code");
    match text(&case["rejection"], "condition") {
        "duplicate_object_keys" | "lone_surrogate" | "invalid_null_token" => {
            let source = text(case, "source_json").as_bytes();
            let error = refusal(id, parse_strict(source, &Limits::default()));
            assert_eq!(error.reason_code(), reason, "{id}: {error}");
            if let Some(path) = expected["detail"]["path"].as_str() {
                assert_eq!(error.place().map(|place| place.path.as_str()), Some(path), "{id}");
            }
            assert_eq!(canonicalize(source), Err(error), "{id}");
        }
        "insignificant_whitespace" | "unsorted_nested_keys_as_canonical" => {
            let offered = text(case, "source_json").as_bytes();
            let error = refusal(id, parse_canonical(offered, &Limits::default()));
            assert_eq!(error.reason_code(), reason, "{id}: {error}");
            let right = text(&case["rejection"], "required_canonical_utf8").as_bytes();
            assert_eq!(canonicalize(offered).as_deref(), Ok(right), "{id}");
            assert!(parse_canonical(right, &Limits::default()).is_ok(), "{id}");
        }
        "absent_key_coerced_to_null" => absent_is_not_null(id, reason, case),
        "cycle" => {
            let Err(error) = to_canonical(&Node::cycle()) else { panic!("{id}: a cycle has no JSON form") };
            assert_eq!(error.reason_code(), reason, "{id}: {error}");
        }
        other => panic!("{id}: this test does not know how to check the condition {other:?}"),
    }
}

fn refusal(id: &str, result: Result<Value, CanonicalError>) -> CanonicalError {
    match result {
        Ok(value) => panic!("{id}: accepted as {value}"),
        Err(error) => error,
    }
}

/// A missing member and a `null` one are different values, in bytes, in id, and for a verifier of either.
fn absent_is_not_null(id: &str, reason: &str, case: &Value) {
    assert_eq!(reason, "reject_absent_key_as_null", "{id}");
    let detail = &case["expected_validator_result"]["detail"];
    let source = to_canonical(&case["source"]).unwrap_or_else(|error| panic!("{id}: {error}"));
    let claim = to_canonical(&detail["incorrect_claim"]).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!(std::str::from_utf8(&source), Ok(text(detail, "correct_encoding_of_source")), "{id}");
    assert_eq!(std::str::from_utf8(&claim), Ok(text(detail, "incorrect_encoding_if_null_inserted")), "{id}");
    assert_eq!(detail["incorrect_claim"], case["rejection"]["forbidden_equivalence"], "{id}");
    assert!(Cid::of(&source).verify(&claim).is_err(), "{id}: the claim passes for the source");
    assert_ne!(
        parse_canonical(&source, &Limits::default()),
        parse_canonical(&claim, &Limits::default()),
        "{id}"
    );
}

/// An object that can hold itself: what a cyclic object graph is in Rust.
#[derive(Clone, Default)]
struct Node(Rc<RefCell<Vec<Node>>>);

impl Node {
    fn cycle() -> Self {
        let node = Self::default();
        node.0.borrow_mut().extend([node.clone(), node.clone()]);
        node
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("children", &*self.0.borrow())])
    }
}
