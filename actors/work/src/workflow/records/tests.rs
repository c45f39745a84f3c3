//! Records of version 1 as they lie in stores out there: they must be read for ever.

use super::*;
use meshwork_proto::{ErrorCode, Json, TaskId};
use std::fmt::Debug;

const ONE: UnixMillis = UnixMillis(1_700_000_000_001);
const TWO: UnixMillis = UnixMillis(1_700_000_000_002);

fn cid(text: &str) -> Cid {
    Cid::of(text.as_bytes())
}

fn peer() -> PeerId {
    "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap()
}

fn inline(text: &'static str) -> Payload {
    Payload::Inline(Json::from_checked(Bytes::from_static(text.as_bytes())))
}

fn error() -> MeshError {
    MeshError::new(ErrorCode::ToolFailed, "it broke")
}

fn ended() -> Ended {
    Ended { task: Some(TaskId::from_bytes([7; 16])), peer: Some(peer()) }
}

fn header() -> HeaderRecord {
    HeaderRecord {
        name: "greet".into(),
        steps: 2,
        definition: inline("{\"name\":\"greet\"}"),
        definition_cid: cid("definition"),
        inputs: Payload::Stored { cid: cid("inputs"), len: 70_000 },
        inputs_cid: cid("inputs"),
        given_cid: cid("given"),
        submitter: Some(peer()),
        target_peers: [peer()].into(),
        key: Some("key".into()),
        parent: Some(ParentStep {
            peer: peer(),
            run: RunId::from_bytes([5; 16]),
            step: "sub".into(),
            depth: 2,
        }),
        created: ONE,
    }
}

fn summary() -> SummaryRecord {
    SummaryRecord {
        name: "greet".into(),
        state: RunState::Failed,
        steps: 2,
        finished_steps: 1,
        moved_to: Some(peer()),
        epoch: 3,
        error: Some(error()),
        submitter: Some(peer()),
        parent: Some(peer()),
        created: ONE,
        finished: TWO,
    }
}

/// Every event there is, one after the other; new ones are added at the end.
fn events() -> Vec<Event> {
    let (unit, item) = (Unit::step(1), Unit::item(1, 300));
    let completed = |how| Event::Completed {
        unit: item,
        output: inline("[1]"),
        output_cid: cid("[1]"),
        how,
        ended: ended(),
    };
    let retry_at = Some(TWO);
    let by = Some(peer());
    vec![
        Event::Submitted,
        Event::Started,
        Event::Paused { by: None },
        Event::Resumed { by: by.clone() },
        Event::Spread { peers: [peer()].into(), by: by.clone() },
        Event::Skipped { unit },
        Event::Items { step: 1, count: 400, items: Payload::Stored { cid: cid("items"), len: 99_999 } },
        Event::TaskBegun { unit: item, input: Some((inline("{}"), cid("{}"))) },
        Event::SubBegun { unit, peer: peer(), inputs: None },
        Event::SubPlaced { unit, run: RunId::from_bytes([9; 16]) },
        Event::Waiting { unit, until: retry_at },
        completed(How::Ran),
        completed(How::Cached),
        completed(How::Waited),
        completed(How::Signal(17)),
        completed(How::Gathered),
        Event::Failed { unit, error: error(), retry_at, ended: ended() },
        Event::Withdrawn { unit },
        Event::Dropped { unit: item },
        Event::Signal { name: "go".into(), payload: Json::from_checked(Bytes::from_static(b"1")), by: None },
        Event::Failing { step: Some(1), error: error(), compensate: true },
        Event::Cancelling { reason: Some("enough".into()), compensate: false, by: by.clone() },
        Event::UndoBegun { unit, input: None },
        Event::UndoFailed { unit, error: error(), retry_at: None, ended: Ended::default() },
        Event::Undone { unit, ended: ended() },
        Event::Finished {
            state: RunState::Completed,
            output: Some(inline("null")),
            output_cid: Some(cid("null")),
            error: None,
        },
        Event::Retried { from: Some(0), by: by.clone() },
        Event::MoveBegun { to: peer(), epoch: 2, by },
        Event::MoveEnded { error: error(), epoch: 3 },
        Event::Moved { to: peer(), epoch: 2 },
        Event::TakenOver { from: peer(), epoch: 2 },
        Event::ParentMoved { peer: peer() },
        Event::UndoGivenUp { by: None },
        Event::Exported,
    ]
}

/// The bytes are read as `expected`, and are what this build writes.
fn is_version_1<R: Record + PartialEq + Debug>(hex: &str, expected: &R) {
    let written: String = codec::encode(expected).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, hex, "what this build writes as version 1 of {}: {expected:?}", R::KIND);
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
    a_header: header();
    a_header_of_a_plain_run: HeaderRecord {
        submitter: None, target_peers: BTreeSet::new(), key: None, parent: None, ..header()
    };
    a_summary: summary();
    an_idempotency_key: KeyRecord {
        run: RunId::from_bytes([8; 16]), definition_cid: cid("definition"), given_cid: cid("given")
    };
    a_result_of_a_pure_step: PureRecord { output: inline("[1,2]"), output_cid: cid("[1,2]"), at: ONE };
    counts: CountsRecord { completed: 300, failed: 2, cancelled: 1, moved: 4, pure: 70_000 };
}

#[test]
fn every_event() {
    let lines: Vec<&str> = include_str!("v1/events.hex").lines().collect();
    let events = events();
    assert_eq!(lines.len(), events.len());
    for (line, event) in lines.into_iter().zip(events) {
        is_version_1(line, &EventRecord { at: ONE, epoch: 2, event });
    }
}

#[test]
fn a_record_of_a_newer_version_is_an_error_that_names_both() {
    let mut bytes = codec::encode(&header()).unwrap();
    bytes[0] = 9;
    let error = read::<HeaderRecord>(&bytes).unwrap_err().to_string();
    assert!(error.contains("version 9") && error.contains("version 1"), "{error}");
}

#[test]
fn an_export_gives_back_what_went_in_and_names_its_artifacts() {
    let records = events().into_iter().map(|event| EventRecord { at: ONE, epoch: 2, event });
    let export = Export { header: header(), events: (1..).zip(records).collect() };
    let bytes = export.encode().unwrap();
    assert_eq!(Export::decode(&bytes), Ok(export.clone()));
    let artifacts: Vec<u64> = export.artifacts().into_values().collect();
    assert_eq!(artifacts.iter().sum::<u64>(), 70_000 + 99_999);
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    assert!(Export::decode(&newer).unwrap_err().to_string().contains("version 2"));
}
