//! Events as JSON: everything that is known of them.

use crate::workflow::records::{Ended, Event, EventRecord, How};
use meshwork_proto::task::Payload;
use meshwork_proto::{Cid, MeshError, PeerId};
use serde_json::{Map, Value, json};

/// An object with what is known of an event.
pub(super) fn of(record: &EventRecord) -> Value {
    let mut members = Map::new();
    members.insert("epoch".into(), record.epoch.into());
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    if !unit(&mut set, &record.event) {
        run(&mut set, &record.event);
    }
    Value::Object(members)
}

/// What happened to a step or an item; false for anything else.
fn unit(set: &mut impl FnMut(&str, Value), event: &Event) -> bool {
    match event {
        Event::Skipped { .. } | Event::Withdrawn { .. } | Event::Dropped { .. } => {}
        Event::Items { count, items, .. } => {
            set("count", (*count).into());
            set("items", document(items));
        }
        Event::TaskBegun { input, .. } | Event::UndoBegun { input, .. } => {
            set("input", input_of(input.as_ref()));
        }
        Event::SubBegun { peer: at, inputs, .. } => {
            set("peer", at.as_str().into());
            set("inputs", input_of(inputs.as_ref()));
        }
        Event::SubPlaced { run, .. } => set("workflow_id", run.to_string().into()),
        Event::Waiting { until, .. } => set("until_ms", json!(until.map(|until| until.0))),
        Event::Completed { output, output_cid, how, ended, .. } => {
            set("output", document(output));
            set("output_cid", output_cid.to_string().into());
            set("how", how_name(*how).into());
            by_whom(set, ended);
        }
        Event::Failed { error, retry_at, ended, .. } | Event::UndoFailed { error, retry_at, ended, .. } => {
            set("error", error_of(error));
            set("retry_at_ms", json!(retry_at.map(|at| at.0)));
            by_whom(set, ended);
        }
        Event::Undone { ended, .. } => by_whom(set, ended),
        _ => return false,
    }
    true
}

/// What happened to the run.
fn run(set: &mut impl FnMut(&str, Value), event: &Event) {
    match event {
        Event::Paused { by }
        | Event::Resumed { by }
        | Event::Retried { by, .. }
        | Event::UndoGivenUp { by } => set("by", peer(by.as_ref())),
        Event::Spread { peers, by } => {
            set("peers", peers.iter().map(PeerId::as_str).collect());
            set("by", peer(by.as_ref()));
        }
        Event::Signal { name, payload, by } => {
            set("name", name.as_str().into());
            set("payload", payload.to_value());
            set("by", peer(by.as_ref()));
        }
        Event::Failing { error, compensate, .. } => {
            set("error", error_of(error));
            set("compensate", (*compensate).into());
        }
        Event::Cancelling { reason, compensate, by } => {
            set("reason", json!(reason));
            set("compensate", (*compensate).into());
            set("by", peer(by.as_ref()));
        }
        Event::Finished { state, output, output_cid, error } => {
            set("state", state.as_str().into());
            set("output", output.as_ref().map_or(Value::Null, document));
            set("output_cid", json!(output_cid.map(|cid| cid.to_string())));
            set("error", error.as_ref().map_or(Value::Null, error_of));
        }
        Event::MoveBegun { to, epoch, by } => {
            set("to", to.as_str().into());
            set("next_epoch", (*epoch).into());
            set("by", peer(by.as_ref()));
        }
        Event::MoveEnded { error, epoch } => {
            set("error", error_of(error));
            set("next_epoch", (*epoch).into());
        }
        Event::Moved { to: other, epoch } | Event::TakenOver { from: other, epoch } => {
            set("peer", other.as_str().into());
            set("next_epoch", (*epoch).into());
        }
        Event::ParentMoved { peer: to } => set("peer", to.as_str().into()),
        _ => {}
    }
}

fn by_whom(set: &mut impl FnMut(&str, Value), ended: &Ended) {
    set("task_id", json!(ended.task.map(|task| task.to_string())));
    set("peer", peer(ended.peer.as_ref()));
}

fn peer(peer: Option<&PeerId>) -> Value {
    peer.map_or(Value::Null, |peer| peer.as_str().into())
}

fn error_of(error: &MeshError) -> Value {
    json!({"code": error.code.as_str(), "message": error.message})
}

fn input_of(input: Option<&(Payload, Cid)>) -> Value {
    input.map_or(Value::Null, |(input, _)| document(input))
}

/// A document, or where it is when it is large.
fn document(payload: &Payload) -> Value {
    match payload {
        Payload::Inline(json) => json.to_value(),
        Payload::Stored { cid, len } => json!({"artifact": cid.to_string(), "bytes": len}),
    }
}

fn how_name(how: How) -> &'static str {
    match how {
        How::Ran => "ran",
        How::Cached => "cached",
        How::Waited => "waited",
        How::Signal(_) => "signal",
        How::Gathered => "items",
    }
}
