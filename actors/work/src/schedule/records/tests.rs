//! Records of version 1 as they lie in stores out there: they must be read for ever.

use super::*;
use meshwork_proto::task::TaskSpec;
use meshwork_proto::workflow::SubmitRun;
use meshwork_proto::{ErrorCode, Json, MeshError};
use std::fmt::Debug;

const ONE: UnixMillis = UnixMillis(1_700_000_000_001);
const TWO: UnixMillis = UnixMillis(1_700_000_000_002);

fn cid(text: &str) -> Cid {
    Cid::of(text.as_bytes())
}

fn peer() -> PeerId {
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap()
}

fn task() -> ScheduleRecord {
    let json = Json::from_checked(Bytes::from_static(b"{\"a\":1}"));
    ScheduleRecord {
        name: "nightly".into(),
        timing: Timing::Cron { expression: "30 2 * * *".into(), timezone: "Europe/Berlin".into() },
        missed: Missed::All,
        no_overlap: true,
        what: Scheduled::Task(TaskSpec {
            payload: Payload::Stored { cid: cid("in"), len: 1_000_000 },
            labels: ["gpu".to_owned()].into(),
            ..TaskSpec::new("echo", json, cid("in"))
        }),
        submitter: Some(peer()),
        created: ONE,
    }
}

fn workflow() -> ScheduleRecord {
    let json = |text: &'static str| Payload::Inline(Json::from_checked(Bytes::from_static(text.as_bytes())));
    ScheduleRecord {
        name: "often".into(),
        timing: Timing::Every { interval_ms: 5000 },
        missed: Missed::Skip,
        no_overlap: false,
        what: Scheduled::Workflow(SubmitRun {
            definition: json("{\"name\":\"greet\",\"steps\":[]}"),
            definition_cid: cid("definition"),
            inputs: Payload::Stored { cid: cid("inputs"), len: 7 },
            inputs_cid: cid("inputs"),
            target_peers: [peer()].into(),
            idempotency_key: None,
            allow_unknown_tools: true,
            parent: None,
        }),
        submitter: None,
        created: ONE,
    }
}

fn progress() -> ProgressRecord {
    let task = TaskId::from_bytes([3; 16]);
    let started = Started { due: ONE, at: TWO, task: Some(task), run: None, error: None };
    let error = Some(MeshError::new(ErrorCode::QueueFull, "full"));
    ProgressRecord {
        cursor: ONE,
        paused: true,
        begun: Some(Begun { due: TWO, passed: 3, extra: true }),
        made: Some(Made::Task(task)),
        last: vec![Started { task: None, error, ..started.clone() }, started],
        starts: 300,
        skipped: 2,
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
    a_schedule_of_a_task: task();
    a_schedule_of_a_workflow: workflow();
    progress_of_a_schedule: progress();
    progress_of_a_run: ProgressRecord { begun: None, made: Some(Made::Run(RunId::from_bytes([4; 16]))), ..progress() };
}

#[test]
fn a_record_of_a_newer_version_is_an_error_that_names_both() {
    let mut bytes = codec::encode(&task()).unwrap();
    bytes[0] = 9;
    let error = read::<ScheduleRecord>(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 9") && error.contains("version 1"), "{error}");
}

#[test]
fn keys_are_read_as_they_are_written_and_others_are_refused() {
    let id = ScheduleId::from_bytes([1; 16]);
    for key in [Key::Schedule(id), Key::Progress(id)] {
        assert_eq!(Key::read(&key.bytes()), Ok(key));
    }
    for wrong in [&b""[..], b"s", b"x0123456789abcdef", b"s0123456789abcdef0"] {
        assert!(matches!(Key::read(wrong), Err(StoreError::Corrupt(_))), "{wrong:?}");
    }
}

#[test]
fn artifacts_are_those_that_are_not_inline() {
    assert_eq!(task().artifacts(), [cid("in")]);
    assert_eq!(workflow().artifacts(), [cid("inputs")]);
}
