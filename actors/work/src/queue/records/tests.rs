//! Records of version 1 as they lie in stores out there: they must be read for ever.

use super::*;
use meshwork_proto::ErrorCode;
use std::fmt::Debug;

const ONE: UnixMillis = UnixMillis(1_700_000_000_001);
const TWO: UnixMillis = UnixMillis(1_700_000_000_002);

fn cid(text: &str) -> Cid {
    Cid::of(text.as_bytes())
}

fn peer() -> PeerId {
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap()
}

fn json(text: &'static str) -> Json {
    Json::from_checked(Bytes::from_static(text.as_bytes()))
}

fn spec() -> TaskSpec {
    TaskSpec {
        tool: "cut".into(),
        model_name: Some("m".into()),
        priority: 7,
        idempotency_key: Some("key".into()),
        max_attempts: 4,
        delay_ms: 5,
        timeout_ms: Some(6),
        expires_ms: Some(7),
        labels: ["gpu".to_owned()].into(),
        target_peers: [peer()].into(),
        queue: Some("q".into()),
        tenant: Some("t".into()),
        concurrency_key: Some("c".into()),
        metadata: Some(json("{}")),
        parents: vec![TaskId::from_bytes([3; 16])],
        ..TaskSpec::new("tool.call", json("{\"a\":1}"), cid("in"))
    }
}

fn route() -> RouteRecord {
    RouteRecord {
        seq: 9,
        queued_at: ONE,
        updated: TWO,
        not_before: UnixMillis(3),
        task_type: "tool.call".into(),
        tool: "cut".into(),
        labels: ["gpu".to_owned()].into(),
        target_peers: [peer()].into(),
        tenant: Some("t".into()),
        concurrency_key: Some("c".into()),
        submitter: Some(peer()),
        priority: 7,
        max_attempts: 4,
        timeout_ms: Some(6),
        expires_ms: Some(7),
        changed: true,
    }
}

fn state() -> StateRecord {
    let error = MeshError::new(ErrorCode::ToolFailed, "it broke");
    let attempt = Attempt {
        attempt: 1,
        fence: Fence::new(1, 2),
        worker: WorkerId::of_peer(&peer(), 5),
        started: ONE,
        ended: Some(TWO),
        error: Some(error.clone()),
    };
    StateRecord {
        status: TaskStatus::Failed,
        attempts: 1,
        failures: 1,
        lease_losses: 2,
        fence: Fence::new(1, 2),
        reported: Fence::new(1, 2),
        worker: Some(WorkerId::of_peer(&peer(), 5)),
        history: vec![attempt],
        error: Some(error),
        cancel: Some("why".into()),
        not_before: UnixMillis(4),
        lease_timeout_ms: Some(6),
        queued_at: ONE,
        updated: TWO,
        finished: Some(TWO),
        output_cid: Some(cid("out")),
        stored_output: Some(cid("out")),
        task_type: "tool.call".into(),
        submitter: Some(peer()),
        changes: Some(SpecChanges {
            labels: ["gpu".to_owned()].into(),
            priority: 3,
            max_attempts: 2,
            timeout_ms: None,
            expires_ms: Some(8),
        }),
    }
}

/// The bytes are read as `expected`, and are what this build writes.
fn is_version_1<R: Record + PartialEq + Debug>(hex: &str, expected: &R) {
    let written: String = codec::encode(expected).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, hex, "what this build writes as version 1 of {}", R::KIND);
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    assert_eq!(bytes[0], 1);
    assert_eq!(&read::<R>(&bytes).unwrap(), expected);
}

macro_rules! version_1 {
    ($($name:ident: $record:expr;)*) => {
        $(#[test]
        fn $name() {
            is_version_1(include_str!(concat!("v1/", stringify!($name), ".hex")).trim(), &$record);
        })*
    };
}

version_1! {
    a_specification: SpecRecord { spec: spec(), submitter: Some(peer()), created: ONE };
    a_specification_with_a_stored_payload: SpecRecord {
        spec: TaskSpec { payload: Payload::Stored { cid: cid("in"), len: 1_000_000 }, ..TaskSpec::new("echo", json("1"), cid("in")) },
        submitter: None,
        created: ONE,
    };
    a_route: route();
    a_state: state();
    metadata: MetadataRecord { metadata: json("{\"note\":\"x\"}") };
    a_result: OutputRecord { output: Payload::Inline(json("[1,2]")) };
    an_idempotency_key: IdempotencyRecord::of(TaskId::from_bytes([8; 16]), &spec());
    counts: CountsRecord { completed: 300, failed: 2, cancelled: 1 };
}

#[test]
fn a_record_of_a_newer_version_is_an_error_that_names_both() {
    let mut bytes = codec::encode(&route()).unwrap();
    bytes[0] = 9;
    let error = read::<RouteRecord>(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 9") && error.contains("version 1"), "{error}");
}

#[test]
fn keys_of_different_things_never_meet() {
    let id = TaskId::from_bytes([1; 16]);
    let keys = [
        spec_key(id),
        metadata_key(id),
        finished_key(id),
        counts_key(),
        status_key(TaskStatus::Completed, id),
        status_key(TaskStatus::Failed, id),
        status_key(TaskStatus::Cancelled, id),
    ];
    let distinct: BTreeSet<&Bytes> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(read_prune_key(&prune_key(ONE, id)), Some((ONE, id)));
    assert!(prune_key(ONE, id) < prune_key(TWO, id));
    assert_ne!(idempotency_key(None, "a"), idempotency_key(Some(&peer()), "a"));
}
